//! Gradients of weights: against central differences, against PyTorch, and the same for any number of threads.

use bertology_checkpoint::{
    Affine, Checkpoint, LayerParameter, NormPlacement, OpenOptions, Parameter,
};
use bertology_model::{
    Capture, Error, Gradients, Interests, LayerSite, Model, ModelSite, Observer, PassOptions, Real,
    Sequence, Tap, Target, TaughtStates, TrainingOptions, TrainingWorkspace, Workspace,
};
use bertology_testkit::{Tensors, golden};

use crate::fixture::{Fixture, distance, scale};

/// Every family, every task head, every mechanism with weights of its own.
const ALL: [&str; 61] = [
    "albert",
    "albert-answers",
    "albert-groups-tokens",
    "albert-mlm",
    "albert-pretraining",
    "bert-absolute",
    "bert-absolute-pruned",
    "bert-answers",
    "bert-mlm",
    "bert-nsp",
    "bert-pretraining",
    "bert-regression",
    "bert-relative-key",
    "bert-relative-key-query",
    "bert-tokens",
    "deberta",
    "deberta-answers",
    "deberta-mlm",
    "deberta-renamed-mlm",
    "deberta-tokens",
    "distilbert",
    "distilbert-answers",
    "distilbert-mlm",
    "electra",
    "electra-discriminator",
    "electra-generator",
    "electra-tokens",
    "esm",
    "esm-mlm",
    "esm-tokens",
    "esmc",
    "esmc-mlm",
    "esmc-tokens",
    "eurobert",
    "eurobert-bos",
    "eurobert-mean",
    "eurobert-mlm",
    "eurobert-tokens",
    "gpt",
    "gpt-lm",
    "gpt2",
    "gpt2-inverse-layer",
    "gpt2-lm",
    "gpt2-token-types",
    "gte",
    "gte-mlm",
    "gte-tokens",
    "jinabert",
    "jinabert-mlm",
    "modernbert",
    "modernbert-answers",
    "modernbert-biases",
    "modernbert-mlm",
    "modernbert-tokens",
    "mpnet",
    "mpnet-mlm",
    "nomic",
    "nomic-mlm",
    "nomic-tokens",
    "roberta",
    "roberta-mlm",
];

struct Case<R> {
    fixture: Fixture,
    model: Model<R>,
    sequences: Vec<Sequence>,
    targets: Vec<Target>,
    weights: Vec<f64>,
    /// Of a teacher: `[sequence][layer]`, each `[tokens, hidden]`.
    states: Option<Vec<Vec<Vec<f32>>>>,
}

/// How much a teacher's hidden states count.
const SHOWN: f64 = 0.7;

impl<R: Real> Case<R> {
    fn open(name: &str) -> Self {
        let fixture = Fixture::open(name);
        let model = fixture.model();
        let sequences = fixture.sequences();
        // Unlike one another, so that a sequence cannot take another's.
        let weights = (0..sequences.len())
            .map(|i| 0.5 + 0.25 * i as f64)
            .collect();
        // A folder without a loss of its own has classes all the same.
        let classes = |b: usize| Target::Label(b % model.architecture().labels.len());
        let targets = if fixture.has("labels") || fixture.has("start_positions") {
            fixture.targets()
        } else {
            (0..sequences.len()).map(classes).collect()
        };
        Self {
            targets,
            fixture,
            model,
            sequences,
            weights,
            states: None,
        }
    }

    /// A text that attention takes in several tiles, and whose every position tells its token, and one of one tile.
    fn long(name: &str) -> Self {
        let mut case = Self::open(name);
        let told = !case.model.architecture().positions.ignores_ids();
        let text = |n: u32| Sequence {
            positions: (0..n).filter(|_| told).map(|i| i % 16).collect(),
            ..Sequence::new((0..n).map(|i| 5 + (i * i * 7 + n) % 50).collect())
        };
        case.sequences = vec![text(260), text(9)];
        case.weights = vec![0.01, 0.3];
        let causal = case.model.architecture().causal;
        let target = |text: &Sequence| match causal {
            true => Target::next_tokens(&text.ids),
            false => Target::Tokens(text.ids.iter().map(|id| Some(*id)).collect()),
        };
        case.targets = case.sequences.iter().map(target).collect();
        case
    }

    /// With hidden states that no model has.
    fn taught(name: &str) -> Self {
        let mut case = Self::open(name);
        let (layers, width) = (
            case.model.architecture().num_layers,
            case.model.architecture().hidden_size,
        );
        let state = |number: usize, layer: usize, tokens: usize| -> Vec<f32> {
            let at = |i: usize| (i * 37 + layer * 11 + number * 5) % 17;
            (0..tokens * width)
                .map(|i| at(i) as f32 / 8.0 - 1.0)
                .collect()
        };
        let sequences = case.sequences.iter().enumerate();
        let states = sequences.map(|(number, sequence)| {
            let of = |layer| state(number, layer, sequence.len());
            (0..layers).map(of).collect()
        });
        case.states = Some(states.collect());
        case
    }

    fn gradients(&self, dropout: Option<(u64, u64)>, threads: usize) -> (f64, Gradients<R>) {
        let mut gradients = Gradients::new(&self.model);
        let loss = self.add(&self.model, dropout, threads, &mut gradients);
        (loss, gradients)
    }

    fn add(
        &self,
        model: &Model<R>,
        dropout: Option<(u64, u64)>,
        threads: usize,
        gradients: &mut Gradients<R>,
    ) -> f64 {
        let options = TrainingOptions {
            targets: &self.targets,
            weights: &self.weights,
            dropout,
            stop: None,
            states: self.states.as_ref().map(|states| TaughtStates {
                states,
                weight: SHOWN,
            }),
        };
        let mut workspace = TrainingWorkspace::new(threads).expect("threads");
        let outputs = model
            .add_gradients(&self.sequences, &options, &mut workspace, gradients)
            .expect("a pass");
        let losses = outputs.iter().map(|output| output.loss.expect("a loss"));
        losses.zip(&self.weights).map(|(l, w)| l * w).sum()
    }
}

/// Changes one number of a parameter.
fn nudged(model: &Model<f64>, which: Parameter, at: usize, by: f64) -> Model<f64> {
    let mut model = model.clone();
    model.each_parameter_mut(|parameter, _, values| {
        if parameter == which {
            values[at] += by;
        }
    });
    model
}

/// Of every parameter the number with the largest gradient and two others, in f64; the error of a central difference is of
/// the order of its step's square.
fn are_central_differences(name: &str, dropout: Option<(u64, u64)>) {
    check_differences(name, &Case::open(name), dropout);
}

fn check_differences(name: &str, case: &Case<f64>, dropout: Option<(u64, u64)>) {
    let (_, gradients) = case.gradients(dropout, 1);
    let pad = case.model.architecture().pad_id;
    let width = case.model.architecture().embedding_size;
    let mut scrap = Gradients::new(&case.model);
    for place in gradients.layout().places().to_vec() {
        let own = &gradients.values()[place.range.clone()];
        let size = scale(own);
        let largest = own.iter().position(|g| g.abs() == size).unwrap_or(0);
        if own.is_empty() {
            // Of a layer without heads.
            continue;
        }
        for at in [largest, own.len() / 3, own.len() - 1] {
            let table = matches!(
                place.parameter,
                Parameter::WordEmbeddings | Parameter::PositionEmbeddings
            );
            // A row that is not to move.
            if table && pad.is_some_and(|pad| at / width == pad as usize) {
                continue;
            }
            let step = 1e-4;
            let mut loss = |by| {
                let model = nudged(&case.model, place.parameter, at, by);
                case.add(&model, dropout, 1, &mut scrap)
            };
            let slope = (loss(step) - loss(-step)) / (2.0 * step);
            assert!(
                (own[at] - slope).abs() <= 1e-6 * size.max(1e-2),
                "{name} {:?}[{at}]: {} where the difference is {slope}",
                place.parameter,
                own[at]
            );
        }
    }
}

#[test]
fn they_are_central_differences() {
    for name in ALL {
        are_central_differences(name, None);
    }
}

/// Layers that had their weights in common and lost different heads have weights of their own.
#[test]
fn layers_parted_by_pruning_have_gradients_of_their_own() {
    let mut case = Case::<f64>::open("albert");
    let head = bertology_model::HeadId { layer: 1, head: 0 };
    case.model = case.model.without_heads([head]).expect("pruned");
    check_differences("albert", &case, None);
}

/// Maps of distances lose the rows of heads that are gone; a layer without heads has none. Queries and keys that go through one
/// norm stay, and have gradients.
#[test]
fn without_some_heads_they_are_central_differences() {
    for name in ["deberta", "deberta-tokens", "esmc", "esmc-tokens"] {
        let mut case = Case::<f64>::open(name);
        let heads = (0..case.model.architecture().num_heads).map(|head| (1, head));
        let gone = heads.chain([(0, 1)]);
        let gone = gone.map(|(layer, head)| bertology_model::HeadId { layer, head });
        case.model = case.model.without_heads(gone).expect("pruned");
        check_differences(name, &case, None);
    }
}

#[test]
fn with_dropout_they_are_central_differences_of_what_is_left() {
    for name in [
        "albert-pretraining",
        "bert-relative-key-query",
        "bert-tokens",
        "deberta",
        "deberta-tokens",
        "distilbert",
        "electra",
        "esmc",
        "gpt2-lm",
        "gte",
        "jinabert",
        "modernbert-tokens",
        "roberta",
    ] {
        are_central_differences(name, Some((7, 3)));
    }
}

/// With masks of what is dropped that count keys of a window from the first of the text.
#[test]
fn of_long_texts_they_are_central_differences() {
    for name in [
        "eurobert-mlm",
        "gpt2-lm",
        "jinabert-mlm",
        "modernbert-mlm",
        "mpnet-mlm",
        "nomic-mlm",
    ] {
        let mut case = Case::long(name);
        check_differences(name, &case, None);
        let folder = tempfile::tempdir().expect("a folder");
        for file in std::fs::read_dir(&case.fixture.folder).expect("a folder") {
            let file = file.expect("a file");
            let copy = folder.path().join(file.file_name());
            std::fs::copy(file.path(), copy).expect("a copy");
        }
        let config = folder.path().join("config.json");
        let text = std::fs::read_to_string(&config).expect("a file");
        let text = text.replace("\"attention_dropout\": 0.0", "\"attention_dropout\": 0.1");
        std::fs::write(&config, text).expect("a file");
        case.fixture.folder = folder.path().to_owned();
        case.model = case.fixture.model();
        check_differences(name, &case, Some((7, 3)));
    }
}

/// Norms before and after the blocks and behind the last, heads over one token and over all, layers with heads pruned away.
const TAUGHT: [&str; 8] = [
    "albert-groups-tokens",
    "bert-absolute",
    "bert-absolute-pruned",
    "bert-mlm",
    "distilbert",
    "eurobert",
    "gpt2-lm",
    "gpt2",
];

#[test]
fn with_a_teachers_states_they_are_central_differences() {
    for name in TAUGHT {
        check_differences(name, &Case::taught(name), None);
    }
    check_differences("bert-tokens", &Case::taught("bert-tokens"), Some((7, 3)));
}

/// What the distance adds to the loss is told from the hidden states that a watched pass shows.
#[test]
fn distances_are_those_of_the_states_of_a_pass() {
    for name in TAUGHT {
        let (case, plain) = (Case::<f64>::taught(name), Case::<f64>::open(name));
        let batch = case.fixture.batch(&case.model);
        let final_norm = case.model.architecture().norm == NormPlacement::Pre;
        let wanted = Interests::none().value(LayerSite::HiddenState);
        let wanted = if final_norm {
            wanted.value(ModelSite::LastResidual)
        } else {
            wanted
        };
        let mut capture = Capture::new(wanted);
        let observers: &mut [&mut dyn Observer<f64>] = &mut [&mut capture];
        let options = PassOptions::default();
        let workspace = &mut Workspace::new();
        case.model
            .run(&batch, &options, workspace, observers)
            .expect("a pass");
        let states = case.states.as_ref().expect("a teacher");
        let layers = case.model.architecture().num_layers;
        let mut expected = 0.0;
        for (_, tap, sequence, _, value) in capture.iter() {
            let layer = match tap {
                Tap::Layer(layer, _) if final_norm && layer + 1 == layers => continue,
                Tap::Layer(layer, _) => layer,
                Tap::Model(_) => layers - 1,
            };
            let of = &states[sequence][layer];
            assert_eq!(of.len(), value.data.len(), "{name}");
            let squares = value.data.iter().zip(of);
            let squares = squares.map(|(own, of)| (own - f64::from(*of)).powi(2));
            expected += case.weights[sequence] * squares.sum::<f64>() / (layers * of.len()) as f64;
        }
        let found = case.gradients(None, 2).0 - plain.gradients(None, 2).0;
        assert!(
            (found - SHOWN * expected).abs() < 1e-9,
            "{name}: {found} {expected}"
        );
    }
}

/// Without dropout a training pass computes what every pass computes.
#[test]
fn its_losses_are_those_of_a_pass() {
    for name in ALL {
        let case = Case::<f32>::open(name);
        let batch = case.fixture.batch(&case.model);
        let options = PassOptions {
            targets: Some(&case.targets),
            ..PassOptions::default()
        };
        let pass = case
            .model
            .run(&batch, &options, &mut Workspace::new(), &mut [])
            .expect("a pass");
        let losses = pass
            .sequences
            .iter()
            .map(|output| output.loss.expect("a loss"));
        let sum: f64 = losses.zip(&case.weights).map(|(l, w)| l * w).sum();
        let (loss, _) = case.gradients(None, 1);
        assert!((loss - sum).abs() < 1e-5, "{name}: {loss} {sum}");
    }
}

#[test]
fn threads_change_no_bit_and_calls_add_up() {
    for name in [
        "albert-groups-tokens",
        "bert-relative-key-query",
        "bert-mlm",
        "deberta",
        "deberta-tokens",
        "electra-discriminator",
        "gpt2-lm",
    ] {
        let case = Case::<f32>::open(name);
        let (_, once) = case.gradients(Some((1, 2)), 1);
        for threads in [2, 3, 5] {
            let (_, again) = case.gradients(Some((1, 2)), threads);
            assert_eq!(once.values(), again.values(), "{name}, {threads} threads");
        }
        let mut twice = once.clone();
        case.add(&case.model, Some((1, 2)), 2, &mut twice);
        let largest = scale(&as_f64(once.values()));
        for (one, two) in once.values().iter().zip(twice.values()) {
            assert!(
                f64::from((2.0 * one - two).abs()) < 1e-5 * largest,
                "{name}"
            );
        }
        let (_, other) = case.gradients(Some((1, 3)), 1);
        assert_ne!(
            once.values(),
            other.values(),
            "{name}: another step drops others"
        );
    }
}

/// A number in the canonical layout, from the tensor of a file: queries, keys and values are one parameter here, as
/// are the halves of a gated block's first map.
fn ours<R: Real>(gradients: &Gradients<R>, parameter: Parameter) -> &[R] {
    let whole = |parameter| gradients.of(parameter).expect("a parameter");
    let third = |layer, affine: Affine, part: usize| {
        let all = whole(Parameter::Layer(
            layer,
            LayerParameter::QueryKeyValue(affine),
        ));
        let size = all.len() / 3;
        &all[part * size..(part + 1) * size]
    };
    let half = |layer, affine: Affine, part: usize| {
        let all = whole(Parameter::Layer(layer, LayerParameter::MlpIn(affine)));
        let size = all.len() / 2;
        &all[part * size..(part + 1) * size]
    };
    // Queries of distances before their keys, where there are both.
    let distances = |layer, affine: Affine, part: usize| {
        let all = whole(Parameter::Layer(
            layer,
            LayerParameter::DistanceMaps(affine),
        ));
        let one = whole(Parameter::Layer(
            layer,
            LayerParameter::QueryKeyValue(affine),
        ))
        .len()
            / 3;
        let start = if all.len() > one { part * one } else { 0 };
        &all[start..start + one]
    };
    match parameter {
        Parameter::Layer(layer, LayerParameter::DistanceQuery(affine)) => {
            distances(layer, affine, 0)
        }
        Parameter::Layer(layer, LayerParameter::DistanceKey(affine)) => distances(layer, affine, 1),
        Parameter::Layer(layer, LayerParameter::MlpActivated(affine)) => half(layer, affine, 0),
        Parameter::Layer(layer, LayerParameter::MlpGate(affine)) => half(layer, affine, 1),
        Parameter::Layer(layer, LayerParameter::Query(affine)) => third(layer, affine, 0),
        Parameter::Layer(layer, LayerParameter::Key(affine)) => third(layer, affine, 1),
        Parameter::Layer(layer, LayerParameter::Value(affine)) => third(layer, affine, 2),
        other => whole(other),
    }
}

/// PyTorch's autograd in f64 and ours in f32: what is asked is 1e-4 of a parameter's largest gradient. A parameter whose
/// gradient is nothing but rounding (a key's bias moves no softmax) is compared with the model's largest.
#[test]
fn they_are_those_of_pytorch() {
    for name in ALL {
        let case = Case::<f32>::open(name);
        let theirs = Tensors::read(&golden(&format!("training/{name}.safetensors")));
        let checkpoint = Checkpoint::open(&case.fixture.folder, &OpenOptions::default())
            .expect("golden checkpoint");
        let (loss, gradients) = case.gradients(None, 2);
        assert!((loss - theirs.f64("loss")[0]).abs() < 1e-4, "{name}");
        let largest = scale(&as_f64(gradients.values()));
        let mut compared = 0;
        for (parameter, tensor) in checkpoint.parameters() {
            let expected = theirs.f64(tensor.name());
            if matches!(parameter, Parameter::ContactHead(_)) {
                assert_eq!(scale(&expected), 0.0, "no loss reads it");
                continue;
            }
            let own = ours(&gradients, parameter);
            let worst = distance(own, &expected);
            let admitted = 1e-4 * scale(&expected).max(1e-2 * largest);
            assert!(
                worst <= admitted,
                "{name} {}: off by {worst:e}, {admitted:e} admitted",
                tensor.name()
            );
            compared += own.len();
        }
        assert_eq!(compared, case.model.parameters(), "{name}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let case = Case::<f32>::open("bert-absolute");
    let mut workspace = TrainingWorkspace::new(1).expect("threads");
    let mut gradients = Gradients::new(&case.model);
    let options = TrainingOptions {
        targets: &case.targets,
        weights: &[1.0],
        dropout: None,
        stop: None,
        states: None,
    };
    let run = |options: &TrainingOptions<'_>, workspace: &mut _, gradients: &mut _| {
        case.model
            .add_gradients(&case.sequences, options, workspace, gradients)
            .expect_err("refused")
    };
    let error = run(&options, &mut workspace, &mut gradients);
    assert!(
        matches!(
            error,
            Error::TargetCount {
                targets: 1,
                sequences: 4
            }
        ),
        "{error}"
    );
    let mut other = Gradients::new(&Case::<f32>::open("gpt2").model);
    let options = TrainingOptions {
        weights: &case.weights,
        ..options
    };
    let error = run(&options, &mut workspace, &mut other);
    assert!(matches!(error, Error::GradientCount { .. }), "{error}");
    let missing = vec![vec![Vec::new()]; case.sequences.len()];
    let options = TrainingOptions {
        states: Some(TaughtStates {
            states: &missing,
            weight: 1.0,
        }),
        ..options
    };
    let error = run(&options, &mut workspace, &mut gradients);
    assert!(error.to_string().contains("have 1 layers"), "{error}");
    let options = TrainingOptions {
        states: None,
        ..options
    };
    let raised = std::sync::atomic::AtomicBool::new(true);
    let options = TrainingOptions {
        stop: Some(&raised),
        ..options
    };
    let error = run(&options, &mut workspace, &mut gradients);
    assert!(matches!(error, Error::Stopped), "{error}");
}

fn as_f64(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

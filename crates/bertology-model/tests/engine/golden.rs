//! Parity with transformers 4.57.6 (eager, f32) on small random checkpoints.

use bertology_model::{
    Capture, HeadId, Interests, LayerSite, Masking, ModelSite, Pass, PassOptions, Real, Tap,
    Workspace,
};

use crate::fixture::{Fixture, Golden, distance, scale};

/// Hidden states, attention and logits, absolute: both sides round in f32 through three layers of
/// values of order 1.
const VALUE: f64 = 2e-5;
/// Losses, absolute.
const LOSS: f64 = 1e-5;
/// Gradients, relative to the largest entry of their golden tensor (one site of one layer): the
/// gradient of a nearly saturated softmax is a difference of nearly equal numbers, so single heads
/// have less relative precision in the reference too.
const GRADIENT: f64 = 1e-4;

const HEAD_SITES: [(LayerSite, &str); 6] = [
    (LayerSite::Query, "query"),
    (LayerSite::Key, "key"),
    (LayerSite::Value, "value"),
    (LayerSite::AttentionScores, "attention_scores"),
    (LayerSite::AttentionProbs, "attention_probs"),
    (LayerSite::HeadOutput, "head_output"),
];
const ROW_SITES: [(LayerSite, &str); 2] = [
    (LayerSite::AttentionOutput, "attention_output"),
    (LayerSite::MlpOutput, "mlp_output"),
];

fn everything(gradients: bool) -> Interests {
    let layer = HEAD_SITES.iter().chain(&ROW_SITES).map(|(site, _)| *site);
    let mut all = Interests::none();
    for site in layer.chain([LayerSite::HiddenState]) {
        all = all.value(site);
        if gradients {
            all = all.gradient(site);
        }
    }
    for site in [ModelSite::Embeddings, ModelSite::Pooled, ModelSite::Logits] {
        all = all.value(site);
        if gradients {
            all = all.gradient(site);
        }
    }
    all
}

/// Compares a captured tensor with its golden twin and names the place if they differ.
struct Judge<'a, R> {
    fixture: &'a Fixture,
    capture: &'a Capture<R>,
    lengths: Vec<usize>,
    compared: usize,
}

impl<R: Real> Judge<'_, R> {
    fn check(&mut self, pass: Pass, what: &str, ours: &[R], theirs: &[f64], scale: f64) {
        let worst = distance(ours, theirs);
        let limit = match pass {
            Pass::Forward => VALUE,
            Pass::Backward => GRADIENT * scale,
        };
        assert!(
            worst <= limit,
            "{} {what}: off by {worst:e}, {limit:e} admitted; ours {:?} theirs {:?}",
            self.fixture.name,
            &ours[..ours.len().min(6)],
            &theirs[..theirs.len().min(6)]
        );
        self.compared += 1;
    }

    fn rows(&mut self, pass: Pass, name: &str, tap: Tap) {
        if !self.fixture.has(name) {
            return;
        }
        let golden = self.fixture.get(name);
        for (b, n) in self.lengths.clone().into_iter().enumerate() {
            let one = golden.first(b);
            let captured = self
                .capture
                .get(pass, tap, b)
                .unwrap_or_else(|| panic!("no {name}"));
            let theirs = if one.shape.len() == 2 {
                assert_eq!(captured.rows, n, "{name} sees true lengths");
                one.corner(n, one.shape[1])
            } else {
                one.data
            };
            self.check(
                pass,
                &format!("{name} of sequence {b}"),
                &captured.data,
                &theirs,
                scale(&golden.data),
            );
        }
    }

    fn heads(&mut self, pass: Pass, name: &str, layer: usize, site: LayerSite) {
        if !self.fixture.has(name) {
            return;
        }
        let golden = self.fixture.get(name);
        for (b, n) in self.lengths.clone().into_iter().enumerate() {
            let one = golden.first(b);
            for head in 0..one.shape[0] {
                let matrix = one.first(head);
                let id = HeadId { layer, head };
                let captured = self.capture.get_head(pass, id, site, b).expect("captured");
                let square = matches!(site, LayerSite::AttentionProbs | LayerSite::AttentionScores);
                let cols = if square { n } else { matrix.shape[1] };
                let theirs = matrix.corner(n, cols);
                let what = format!("{name} {id} of sequence {b}");
                self.check(pass, &what, &captured.data, &theirs, scale(&golden.data));
            }
        }
    }
}

/// Every value, loss and gradient of one folder under one head mask. Returns comparisons made.
fn compare(fixture: &Fixture, variant: &str) -> usize {
    let model = fixture.model::<f32>();
    let batch = fixture.batch(&model);
    let mask = fixture
        .has(&format!("{variant}.head_mask"))
        .then(|| fixture.mask(variant));
    let targets = fixture
        .has(&format!("{variant}.loss"))
        .then(|| fixture.targets());
    let mut capture = Capture::new(everything(targets.is_some()));
    let options = PassOptions {
        masking: mask.as_ref().map_or(Masking::None, Masking::Shared),
        targets: targets.as_deref(),
        mask_gradients: targets.is_some(),
        token_logits: true,
        threads: 1,
    };
    let output = model
        .run(&batch, &options, &mut Workspace::new(), &mut [&mut capture])
        .expect("a pass over golden inputs");

    let lengths: Vec<usize> = batch.ranges().map(|r| r.len()).collect();
    let mut judge = Judge {
        fixture,
        capture: &capture,
        lengths,
        compared: 0,
    };
    let layers = model.architecture().num_layers;
    for (pass, prefix) in [(Pass::Forward, ""), (Pass::Backward, "grad.")] {
        let name = |what: &str| format!("{variant}.{prefix}{what}");
        let embeddings = Tap::Model(ModelSite::Embeddings);
        judge.rows(pass, &name("hidden_states.0"), embeddings);
        for layer in 0..layers {
            for (site, what) in HEAD_SITES {
                judge.heads(pass, &name(&format!("{what}.{layer}")), layer, site);
            }
            for (site, what) in ROW_SITES {
                judge.rows(
                    pass,
                    &name(&format!("{what}.{layer}")),
                    Tap::Layer(layer, site),
                );
            }
            let hidden = Tap::Layer(layer, LayerSite::HiddenState);
            judge.rows(pass, &name(&format!("hidden_states.{}", layer + 1)), hidden);
        }
        if model.architecture().pooler {
            judge.rows(pass, &name("pooled"), Tap::Model(ModelSite::Pooled));
        }
    }
    check_logits(&mut judge, variant, &output.sequences);
    check_losses(&mut judge, variant, &output.sequences);
    judge.compared
}

fn check_logits(
    judge: &mut Judge<'_, f32>,
    variant: &str,
    sequences: &[bertology_model::SequenceOutput<f32>],
) {
    let name = format!("{variant}.logits");
    if !judge.fixture.has(&name) {
        return;
    }
    let logits = judge.fixture.get(&name);
    for (b, output) in sequences.iter().enumerate() {
        let theirs: Golden = logits.first(b);
        match &output.token_logits {
            Some(ours) => {
                let theirs = theirs.corner(judge.lengths[b], theirs.shape[1]);
                judge.check(Pass::Forward, &name, ours, &theirs, 1.0);
            }
            None => judge.check(Pass::Forward, &name, &output.logits, &theirs.data, 1.0),
        }
        let next = format!("{variant}.seq_relationship_logits");
        if judge.fixture.has(&next) {
            let theirs = judge.fixture.get(&next).first(b).data;
            judge.check(Pass::Forward, &next, &output.logits, &theirs, 1.0);
        }
    }
}

fn check_losses(
    judge: &mut Judge<'_, f32>,
    variant: &str,
    sequences: &[bertology_model::SequenceOutput<f32>],
) {
    let name = format!("{variant}.loss");
    if !judge.fixture.has(&name) {
        return;
    }
    let (losses, gradients) = (
        judge.fixture.get(&name),
        judge.fixture.get(&format!("{variant}.mask_grad")),
    );
    for (b, output) in sequences.iter().enumerate() {
        let loss = output.loss.expect("a loss");
        let name = &judge.fixture.name;
        assert!(
            (loss - losses.data[b]).abs() <= LOSS,
            "{name} loss {loss} {}",
            losses.data[b]
        );
        let ours = output.mask_gradient.as_ref().expect("a mask gradient");
        let theirs = gradients.first(b).data;
        assert!(scale(&theirs) > 1e-4, "a zero gradient would pass");
        let worst = distance(ours, &theirs);
        let limit = GRADIENT * scale(&theirs);
        assert!(
            worst <= limit,
            "{name} {variant} mask gradient off by {worst:e}"
        );
        judge.compared += 2;
    }
}

#[test]
fn classifiers_agree_under_every_mask() {
    for name in [
        "bert-absolute",
        "bert-relative-key",
        "bert-relative-key-query",
        "roberta",
    ] {
        let fixture = Fixture::open(name);
        // 3 layers × 4 sequences × (6 sites × 4 heads + 3) values alone are 324.
        assert!(compare(&fixture, "ones") > 600, "{name}");
        assert!(compare(&fixture, "some") > 120, "{name}");
        assert!(compare(&fixture, "layer_off") > 120, "{name}");
    }
}

#[test]
fn other_heads_agree() {
    for name in [
        "bert-regression",
        "bert-mlm",
        "roberta-mlm",
        "bert-nsp",
        "bert-pretraining",
    ] {
        assert!(compare(&Fixture::open(name), "ones") > 100, "{name}");
    }
}

#[test]
fn bare_encoders_agree() {
    for name in ["bert-bare", "roberta-bare"] {
        assert!(compare(&Fixture::open(name), "ones") > 100, "{name}");
    }
}

#[test]
fn checkpoints_pruned_by_transformers_agree() {
    for name in ["bert-absolute-pruned", "roberta-pruned"] {
        let fixture = Fixture::open(name);
        assert!(compare(&fixture, "ones") >= 20, "{name}");
        assert_eq!(
            fixture.model::<f32>().heads().count(),
            7,
            "12 heads less 2 and 3"
        );
    }
}

#[test]
fn every_storage_form_gives_the_same_logits() {
    for name in [
        "bert-sharded",
        "bert-bin",
        "bert-bin-sharded",
        "bert-legacy-names",
        "bert-noprefix",
        "bert-f16",
        "bert-bf16",
    ] {
        assert_eq!(compare(&Fixture::open(name), "ones"), 4, "{name}");
    }
}

#[test]
fn roberta_positions_skip_padding_inside_the_text() {
    let fixture = Fixture::open("roberta");
    if !fixture.has("position_ids_example.input_ids") {
        panic!("the golden file lacks its position example");
    }
    let model = fixture.model::<f32>();
    let (ids, positions) = (
        fixture.get("position_ids_example.input_ids"),
        fixture.get("position_ids_example.position_ids"),
    );
    let sequences: Vec<_> = (0..ids.shape[0])
        .map(|b| {
            let ids = ids.first(b).data.iter().map(|v| *v as u32).collect();
            bertology_model::Sequence::new(ids)
        })
        .collect();
    let batch = bertology_model::PackedBatch::new(model.architecture(), &sequences).expect("batch");
    let ours: Vec<f64> = batch.positions().iter().map(|p| f64::from(*p)).collect();
    assert_eq!(ours, positions.data);
}

/// The same passes in f64 against the same f32 goldens: what is left is the reference's rounding.
#[test]
fn double_precision_agrees_too() {
    let fixture = Fixture::open("bert-absolute");
    let model = fixture.model::<f64>();
    let batch = fixture.batch(&model);
    let targets = fixture.targets();
    let options = PassOptions {
        targets: Some(&targets),
        mask_gradients: true,
        ..PassOptions::default()
    };
    let output = model
        .run(&batch, &options, &mut Workspace::new(), &mut [])
        .expect("pass");
    let gradients = fixture.get("ones.mask_grad");
    for (b, sequence) in output.sequences.iter().enumerate() {
        let ours = sequence.mask_gradient.as_ref().expect("gradient");
        let theirs = gradients.first(b).data;
        assert!(distance(ours, &theirs) <= GRADIENT * scale(&theirs));
    }
}

//! Parity with transformers 4.57.6 (eager, f32) on small random checkpoints.

use bertology_checkpoint::{NormPlacement, Positions, ScoreBias, TaskHead};
use bertology_model::{
    Capture, HeadId, Interests, LayerSite, Masking, ModelSite, PackedBatch, Pass, PassOptions,
    Real, Tap, Workspace,
};
use bertology_testkit::Tensors;

use crate::fixture::{Fixture, Golden, Padding, distance, scale};

/// Hidden states, attention and logits, absolute: both sides round in f32 through three layers of
/// values of order 1.
const VALUE: f64 = 2e-5;
/// Losses, absolute.
const LOSS: f64 = 1e-5;
/// Gradients, relative to the largest entry of their golden tensor (one site of one layer): the
/// gradient of a nearly saturated softmax is a difference of nearly equal numbers, so single heads
/// have less relative precision in the reference too.
const GRADIENT: f64 = 1e-4;

const HEAD_SITES: [(LayerSite, &str); 8] = [
    (LayerSite::Query, "query"),
    (LayerSite::Key, "key"),
    (LayerSite::Value, "value"),
    (LayerSite::RotatedQuery, "rotated_query"),
    (LayerSite::RotatedKey, "rotated_key"),
    (LayerSite::AttentionScores, "attention_scores"),
    (LayerSite::AttentionProbs, "attention_probs"),
    (LayerSite::HeadOutput, "head_output"),
];
const ROW_SITES: [(LayerSite, &str); 3] = [
    (LayerSite::AttentionOutput, "attention_output"),
    (LayerSite::MlpInner, "mlp_inner"),
    (LayerSite::MlpOutput, "mlp_output"),
];

fn everything(gradients: bool, final_norm: bool, rotary: bool) -> Interests {
    let layer = HEAD_SITES.iter().chain(&ROW_SITES).map(|(site, _)| *site);
    let turned = [LayerSite::RotatedQuery, LayerSite::RotatedKey];
    let layer = layer.filter(|site| rotary || !turned.contains(site));
    let mut all = Interests::none();
    for site in layer.chain([LayerSite::HiddenState]) {
        all = all.value(site);
        if gradients {
            all = all.gradient(site);
        }
    }
    let mut sites = vec![ModelSite::Embeddings, ModelSite::Pooled, ModelSite::Logits];
    if final_norm {
        sites.push(ModelSite::LastResidual);
    }
    for site in sites {
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
    causal: bool,
    /// How far a query sees, by layer.
    reach: Vec<Option<usize>>,
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
                let mut theirs = matrix.corner(n, cols);
                let mut ours = captured.data.clone();
                let reach = self.reach[layer];
                let causal = self.causal;
                let unseen = move |at: &usize| {
                    let (i, j) = (at / n, at % n);
                    (causal && j > i) || reach.is_some_and(|reach| i.abs_diff(j) > reach)
                };
                if site == LayerSite::AttentionScores && pass == Pass::Forward {
                    // The reference keeps what no softmax sees; here it is −∞.
                    for at in (0..n * n).filter(unseen) {
                        assert_eq!(ours[at].to_f64(), f64::NEG_INFINITY, "{name} {id}");
                        (ours[at], theirs[at]) = (R::ZERO, 0.0);
                    }
                }
                let what = format!("{name} {id} of sequence {b}");
                self.check(pass, &what, &ours, &theirs, scale(&golden.data));
                if site == LayerSite::AttentionProbs && pass == Pass::Forward {
                    assert!((0..n * n).filter(unseen).all(|at| ours[at] == R::ZERO));
                }
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
    let arch = model.architecture();
    let final_norm = arch.norm == NormPlacement::Pre;
    let mut capture = Capture::new(everything(
        targets.is_some(),
        final_norm,
        matches!(arch.positions, Positions::Rotary(_)),
    ));
    let options = PassOptions {
        masking: mask.as_ref().map_or(Masking::None, Masking::Shared),
        targets: targets.as_deref(),
        mask_gradients: targets.is_some(),
        token_logits: true,
        threads: 1,
        target_logits: false,
        ..PassOptions::default()
    };
    let output = model
        .run(&batch, &options, &mut Workspace::new(), &mut [&mut capture])
        .expect("a pass over golden inputs");

    let lengths: Vec<usize> = batch.ranges().map(|r| r.len()).collect();
    let mut judge = Judge {
        fixture,
        capture: &capture,
        lengths,
        causal: arch.causal,
        reach: (0..arch.num_layers)
            .map(|layer| arch.reach(layer))
            .collect(),
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
        if arch.pooler || matches!(arch.head, TaskHead::SequenceClassification { .. }) {
            judge.rows(pass, &name("pooled"), Tap::Model(ModelSite::Pooled));
        }
        let before = Tap::Model(ModelSite::LastResidual);
        judge.rows(pass, &name("last_residual"), before);
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
                // One score a token has no axis of its own there.
                let theirs = match theirs.shape.get(1) {
                    Some(width) => theirs.corner(judge.lengths[b], *width),
                    None => theirs.data[..judge.lengths[b]].to_vec(),
                };
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
        "distilbert",
        "electra",
        "mpnet",
        "modernbert",
        "albert",
        "esm",
        "esmc",
        "eurobert",
        "nomic",
        "jinabert",
        "gte",
        "deberta",
    ] {
        let fixture = Fixture::open(name);
        let sequences = fixture.sequences().len();
        // 3 layers × (6 sites × 4 heads + 3) values of a sequence alone are 81.
        assert!(compare(&fixture, "ones") > 150 * sequences, "{name}");
        assert!(compare(&fixture, "some") > 30 * sequences, "{name}");
        assert!(compare(&fixture, "layer_off") > 30 * sequences, "{name}");
    }
}

/// Which row of MPNet's table a distance reads, far beyond the texts of the golden files.
#[test]
fn distances_fall_into_the_same_buckets() {
    let file = Fixture::open("mpnet").folder.join("buckets.safetensors");
    let buckets = Tensors::read(&file).f64("buckets");
    let farthest = buckets.len() as isize / 2;
    for (offset, bucket) in (-farthest..).zip(&buckets) {
        assert_eq!(ScoreBias::bucket(offset) as f64, *bucket, "{offset}");
    }
    assert_eq!(buckets.len(), 601);
}

/// Behind the activation of every feed-forward block, values and gradients.
#[test]
fn neurons_agree() {
    for name in [
        "bert-absolute",
        "roberta",
        "distilbert",
        "electra",
        "gpt",
        "gpt2",
    ] {
        let fixture = Fixture::with_values_of(name, &format!("neurons/{name}"));
        // 3 layers × 4 sequences, both ways, and losses and mask gradients.
        assert_eq!(compare(&fixture, "some"), 32, "{name}");
        if fixture.has("ones.loss") {
            assert_eq!(compare(&fixture, "ones"), 32, "{name}");
        }
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
        "distilbert-mlm",
        "electra-generator",
        "xlm-roberta",
        "camembert-mlm",
        "mpnet-mlm",
        "modernbert-mlm",
        "modernbert-biases",
        "modernbert-answers",
        "albert-mlm",
        "albert-answers",
        "albert-pretraining",
        "esm-mlm",
        "eurobert-bos",
        "eurobert-mean",
        "deberta-answers",
        "deberta-mlm",
        "deberta-renamed-mlm",
    ] {
        assert!(compare(&Fixture::open(name), "ones") > 100, "{name}");
    }
}

#[test]
fn scores_of_single_tokens_agree() {
    for name in [
        "bert-tokens",
        "roberta-tokens",
        "electra-tokens",
        "electra-discriminator",
        "albert-groups-tokens",
        "modernbert-tokens",
        "esm-tokens",
        "esmc-tokens",
        "eurobert-tokens",
        "nomic-tokens",
        "gte-tokens",
        "deberta-tokens",
    ] {
        let fixture = Fixture::open(name);
        assert!(compare(&fixture, "ones") > 100, "{name}");
        if fixture.has("some.logits") {
            assert!(compare(&fixture, "some") > 60, "{name}");
            assert!(compare(&fixture, "layer_off") > 60, "{name}");
        }
    }
    for name in ["bert-answers", "distilbert-answers"] {
        // Logits, loss and mask gradients of four texts.
        assert_eq!(compare(&Fixture::open(name), "ones"), 12, "{name}");
    }
}

#[test]
fn bare_encoders_agree() {
    for name in [
        "bert-bare",
        "roberta-bare",
        "distilbert-bare",
        "electra-bare",
        "mpnet-bare",
        "modernbert-bare",
        "albert-bare",
        "esm-bare",
        "esmc-bare",
        "eurobert-bare",
        "nomic-bare",
        "jinabert-bare",
        "gte-bare",
        "deberta-bare",
        "gpt2-bare",
        "gpt-bare",
    ] {
        assert!(compare(&Fixture::open(name), "ones") > 100, "{name}");
    }
}

#[test]
fn masked_language_models_agree_under_every_mask() {
    let each = |name: &str| {
        let fixture = Fixture::open(name);
        assert!(compare(&fixture, "ones") > 100, "{name}");
        assert!(compare(&fixture, "some") > 40, "{name}");
        assert!(compare(&fixture, "layer_off") > 40, "{name}");
    };
    each("eurobert-mlm");
    each("esmc-mlm");
    each("jinabert-mlm");
    // Of each head a half is turned.
    each("nomic-mlm");
    // A factor slows the angles down.
    each("gte-mlm");
}

#[test]
fn causal_classifiers_and_language_models_agree_under_every_mask() {
    for name in ["gpt2", "gpt2-lm", "gpt", "gpt-lm"] {
        let fixture = Fixture::open(name);
        assert!(compare(&fixture, "ones") > 600, "{name}");
        assert!(compare(&fixture, "some") > 120, "{name}");
        assert!(compare(&fixture, "layer_off") > 120, "{name}");
    }
}

#[test]
fn options_of_gpt2_are_obeyed() {
    for name in [
        "gpt2-no-scale",
        "gpt2-inverse-layer",
        "gpt2-upcast",
        "gpt2-all-options",
        "gpt2-untied",
        "gpt2-inner",
        "gpt2-token-types",
    ] {
        assert!(compare(&Fixture::open(name), "ones") > 60, "{name}");
    }
}

#[test]
fn without_a_padding_token_the_last_token_is_read() {
    assert!(compare(&Fixture::open("gpt2-no-pad"), "ones") > 20);
}

#[test]
fn checkpoints_pruned_by_transformers_agree() {
    for name in [
        "bert-absolute-pruned",
        "roberta-pruned",
        "distilbert-pruned",
        "electra-pruned",
        "albert-pruned",
        "esm-pruned",
        "gpt2-pruned",
        "gpt-pruned",
    ] {
        let fixture = Fixture::open(name);
        // Logits and four hidden states of each text.
        let texts = fixture.sequences().len();
        assert!(compare(&fixture, "ones") >= 5 * texts, "{name}");
        // 12 heads less 2 and 3; in ALBERT, whose layers share their weights, less 2 in each.
        let left = if name == "albert-pruned" { 6 } else { 7 };
        assert_eq!(fixture.model::<f32>().heads().count(), left);
    }
}

#[test]
fn every_storage_form_gives_the_same_logits() {
    for name in [
        "bert-sharded",
        "bert-bin",
        "bert-bin-sharded",
        "bert-bin-legacy",
        "bert-legacy-names",
        "bert-noprefix",
        "bert-f16",
        "bert-bf16",
    ] {
        assert_eq!(compare(&Fixture::open(name), "ones"), 4, "{name}");
    }
    // Four logits, and the hidden states of three or four places.
    for name in ["gpt2-noprefix-buffers", "gpt-noprefix-buffers"] {
        assert!(compare(&Fixture::open(name), "ones") >= 16, "{name}");
    }
}

/// Padding on the left does not exist here, as none does. Where transformers is given position ids
/// that skip it, both agree as they are; where it is not, it counts the padding, and so do explicit
/// position ids.
#[test]
fn texts_padded_on_the_left_agree() {
    for name in ["gpt2", "gpt2-lm", "gpt", "gpt-lm"] {
        let fixture = Fixture::open(name);
        let model = fixture.model::<f32>();
        let targets = fixture.targets();
        for prefix in ["left.", "left_positions."] {
            let mut sequences = fixture.inputs("left.", Padding::Left);
            let width = fixture.get("left.input_ids").shape[1];
            for sequence in sequences.iter_mut().filter(|_| prefix == "left.") {
                let shift = (width - sequence.len()) as u32;
                sequence.positions = (shift..width as u32).collect();
            }
            let batch = PackedBatch::new(model.architecture(), &sequences).expect("batch");
            let options = PassOptions {
                targets: Some(&targets),
                mask_gradients: true,
                token_logits: true,
                threads: 1,
                ..PassOptions::default()
            };
            let hidden = Interests::none()
                .value(ModelSite::Embeddings)
                .value(LayerSite::HiddenState);
            let mut capture = Capture::new(hidden);
            let output = model
                .run(&batch, &options, &mut Workspace::new(), &mut [&mut capture])
                .expect("pass");
            let golden = |what: &str| fixture.get(&format!("{prefix}{what}"));
            for (b, sequence) in output.sequences.iter().enumerate() {
                let n = sequences[b].len();
                let real = |one: Golden| -> Vec<f64> {
                    one.data[(one.shape[0] - n) * one.shape[1]..].to_vec()
                };
                for state in 0..=model.architecture().num_layers {
                    let tap = match state.checked_sub(1) {
                        None => Tap::Model(ModelSite::Embeddings),
                        Some(layer) => Tap::Layer(layer, LayerSite::HiddenState),
                    };
                    let ours = capture.get(Pass::Forward, tap, b).expect("captured");
                    let theirs = real(golden(&format!("hidden_states.{state}")).first(b));
                    assert!(
                        distance(&ours.data, &theirs) <= VALUE,
                        "{name} {prefix}{state}"
                    );
                }
                let logits = golden("logits").first(b);
                let off = match &sequence.token_logits {
                    Some(ours) => distance(ours, &real(logits)),
                    None => distance(&sequence.logits, &logits.data),
                };
                assert!(off <= VALUE, "{name} {prefix} logits off by {off:e}");
                let loss = sequence.loss.expect("loss");
                assert!(
                    (loss - golden("loss").data[b]).abs() <= LOSS,
                    "{name} {prefix}"
                );
                let theirs = golden("mask_grad").first(b).data;
                let ours = sequence.mask_gradient.as_ref().expect("gradient");
                assert!(scale(&theirs) > 1e-4, "a zero gradient would pass");
                assert!(
                    distance(ours, &theirs) <= GRADIENT * scale(&theirs),
                    "{name} {prefix}"
                );
            }
        }
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

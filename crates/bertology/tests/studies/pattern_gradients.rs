//! Gradients with respect to attention: G = D Vᵀ, its identities, and what the study makes of it.
//!
//! That G is what the loss does when a probability changes is tested in the engine, by central differences in f64.

use bertology::attention::patterns::{
    Gradients, KeyClass, PatternOptions, PatternsState, TokenClasses,
};
use bertology::attention::{Fate, TextItem, TextOptions, TextPassages};
use bertology::data::{Documents, LabelOrder};
use bertology::drive::{Contribution, Lens, Study, Work};
use bertology::model::{
    Capture, Captured, Interests, LayerSite, Matrix, PackedBatch, Pass, PassOptions,
};
use bertology::{HeadId, LoadedModel, Objective, Sequence, Source, Target};

use super::fixture::{Fixture, HEAD_DIM, HIDDEN, driven, golden, seen};
use super::patterns::classes;

const FAMILIES: [&str; 5] = ["bert-absolute", "roberta", "distilbert", "gpt2", "gpt"];
const IDS: [u32; 7] = [7, 13, 21, 8, 44, 31, 50];

/// Values and gradients at the sites inside attention, for one sequence and its label.
fn captured(model: &LoadedModel, ids: &[u32]) -> Capture<f32> {
    let sites = [
        LayerSite::Value,
        LayerSite::AttentionScores,
        LayerSite::AttentionProbs,
        LayerSite::HeadOutput,
    ];
    let wishes = sites.into_iter().fold(Interests::none(), |all, site| {
        all.value(site).gradient(site)
    });
    let mut capture = Capture::new(wishes);
    let sequences = [Sequence::new(ids.to_vec())];
    let batch = PackedBatch::new(model.architecture(), &sequences).unwrap();
    let targets = [Target::Label(1)];
    let options = PassOptions {
        targets: Some(&targets),
        ..PassOptions::default()
    };
    let mut workspace = bertology::model::Workspace::default();
    let run = model.model();
    run.run(&batch, &options, &mut workspace, &mut [&mut capture])
        .unwrap();
    capture
}

struct Head<'a> {
    probs: &'a Captured<f32>,
    gradient: &'a Captured<f32>,
    values: &'a Captured<f32>,
    output: &'a Captured<f32>,
    output_gradient: &'a Captured<f32>,
    score_gradient: &'a Captured<f32>,
}

fn head(capture: &Capture<f32>, id: HeadId) -> Head<'_> {
    let at = |pass, site| capture.get_head(pass, id, site, 0).unwrap();
    Head {
        probs: at(Pass::Forward, LayerSite::AttentionProbs),
        gradient: at(Pass::Backward, LayerSite::AttentionProbs),
        values: at(Pass::Forward, LayerSite::Value),
        output: at(Pass::Forward, LayerSite::HeadOutput),
        output_gradient: at(Pass::Backward, LayerSite::HeadOutput),
        score_gradient: at(Pass::Backward, LayerSite::AttentionScores),
    }
}

fn row(of: &Captured<f32>, i: usize) -> &[f32] {
    &of.data[i * of.cols..(i + 1) * of.cols]
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
    products.sum()
}

/// α is a leaf: `G_ij = D_i · v_j` also where a causal query does not look, `Σ_j α_ij G_ij = D_i · o_i`, and the
/// rows of the gradient of the scores sum to 0. 1e-5 of the head's largest gradient: products of a few f32.
#[test]
fn gradients_are_products_of_output_gradients_and_values() {
    for family in FAMILIES {
        let model = LoadedModel::open(golden(family)).unwrap();
        let capture = captured(&model, &IDS);
        for id in model.model().heads() {
            let head = head(&capture, id);
            let scale = head
                .gradient
                .data
                .iter()
                .fold(0.0_f32, |m, g| m.max(g.abs()));
            let allowed = 1e-5 * f64::from(scale).max(1e-30);
            for i in 0..IDS.len() {
                let d = row(head.output_gradient, i);
                for (j, g) in row(head.gradient, i).iter().enumerate() {
                    let expected = dot(d, row(head.values, j));
                    assert!((f64::from(*g) - expected).abs() <= allowed, "{family} {id}");
                }
                let weighted = dot(row(head.probs, i), row(head.gradient, i));
                let expected = dot(d, row(head.output, i));
                assert!(
                    (weighted - expected).abs() <= 4.0 * allowed,
                    "{family} {id}"
                );
                let sum: f64 = row(head.score_gradient, i)
                    .iter()
                    .map(|s| f64::from(*s))
                    .sum();
                assert!(sum.abs() <= 4.0 * allowed, "{family} {id}: {sum}");
            }
        }
        let causal = model.architecture().causal;
        let future = head(&capture, HeadId { layer: 0, head: 0 });
        assert_eq!(row(future.probs, 0)[1] == 0.0, causal, "{family}");
        assert!(row(future.gradient, 0)[1] != 0.0, "{family}");
    }
}

/// What is not passed on has no gradient: the columns of the output projection that read the head are 0.
#[test]
fn a_head_that_nobody_reads_has_no_gradient() {
    let fixture = Fixture::with_weights(|name, values| {
        if name.contains("encoder.layer.1.attention.output.dense.weight") {
            for row in values.chunks_exact_mut(HIDDEN) {
                row[2 * HEAD_DIM..3 * HEAD_DIM].fill(0.0);
            }
        }
    });
    let capture = captured(&fixture.model(), &IDS);
    for other in 0..4 {
        let gradient = head(
            &capture,
            HeadId {
                layer: 1,
                head: other,
            },
        )
        .gradient;
        assert_eq!(gradient.data.iter().all(|g| *g == 0.0), other == 2);
    }
}

/// The study's numbers against sums by hand over the captured maps.
#[test]
fn the_study_adds_up_what_the_engine_gives() {
    for family in ["bert-absolute", "gpt2"] {
        let model = LoadedModel::open(golden(family)).unwrap();
        let causal = model.architecture().causal;
        // [CLS] w . w , w [SEP] by the ids that the planted tests use.
        let ids = [2, 20, 10, 21, 11, 22, 3];
        let n = ids.len();
        let capture = captured(&model, &ids);
        let options = PatternOptions {
            gradients: Gradients::TimesAttention,
            ..PatternOptions::default()
        };
        let mut state = PatternsState::new(&model, classes(causal), options).unwrap();
        let lens = state.lens();
        let item = TextItem {
            ids: ids.to_vec(),
            special: vec![false; n],
            cut: 0,
        };
        let mut part = lens.begin(&item, &Sequence::new(ids.to_vec())).unwrap();
        for pass in [Pass::Forward, Pass::Backward] {
            for id in model.model().heads() {
                let head = head(&capture, id);
                let of = match pass {
                    Pass::Forward => head.probs,
                    Pass::Backward => head.gradient,
                };
                let event = seen(pass, id, Matrix::new(&of.data, n, n));
                lens.see(&item, &mut part, &event);
            }
        }
        let found = Contribution {
            item: &item,
            part,
            tokens: n,
        };
        state.add(Fate::Studied(found)).unwrap();
        let found = state.finish().unwrap();
        let class = |j: usize| match (causal, ids[j]) {
            (true, _) if j == 0 => KeyClass::First,
            (false, 2) => KeyClass::Cls,
            (false, 3) => KeyClass::Sep,
            (_, 10 | 11) => KeyClass::Punctuation,
            _ => KeyClass::Other,
        };
        for of in &found.gradients {
            for id in model.model().heads() {
                let head = head(&capture, id);
                let (mut sum, mut weighted, mut pairs) = (0.0, 0.0, 0.0);
                for i in 0..n {
                    for j in (0..n).filter(|j| class(*j) == of.target && (!causal || *j <= i)) {
                        let g = f64::from(row(head.gradient, i)[j]);
                        sum += g.abs();
                        weighted += (g * f64::from(row(head.probs, i)[j])).abs();
                        pairs += 1.0;
                    }
                }
                let near = |average: &bertology::attention::patterns::Average, expected: f64| {
                    let found = average.mean.get(id).unwrap();
                    let off = (found - expected).abs();
                    assert!(off <= 1e-12 * expected, "{found} {expected}");
                };
                let rows = n as f64;
                near(&of.mean, sum / pairs);
                near(&of.row_sum, sum / rows);
                let [mean, row_sum] = of.times_attention.as_ref().unwrap();
                near(mean, weighted / pairs);
                near(row_sum, weighted / rows);
            }
        }
    }
}

/// Through the driver, with the loss of every next token: the same as the model's own account.
#[test]
fn the_driver_hands_over_the_gradients_of_the_loss() {
    let model = super::fixture::embedded("tiny-gpt2");
    let text = "Mary says that the boy sleeps.";
    let fixture = Fixture::new();
    let source = Source::text(&fixture.write("one.txt", text), Documents::Lines);
    let passages = TextPassages::new(&model, source, TextOptions::default()).unwrap();
    let passages = passages
        .objective(Objective::CausalLm { bos: false }, LabelOrder::Task)
        .unwrap();
    let options = PatternOptions {
        gradients: Gradients::Plain,
        ..PatternOptions::default()
    };
    let classes = TokenClasses::of_model(&model, Some(".")).unwrap();
    let state = PatternsState::new(&model, classes, options).unwrap();
    let state = driven(&model, &passages, state, &Work::default());
    let found = state.finish().unwrap();

    let ids = model.encode(text, None, None).unwrap().ids;
    let targets = [Target::next_tokens(&ids)];
    let gradients = model.attention_gradients(&[text], &targets).unwrap();
    let first = &found.gradients[0];
    assert_eq!(first.target, KeyClass::First);
    for (id, map) in gradients[0].iter() {
        let to_first = (0..ids.len()).map(|i| f64::from(map.data[i * map.cols]).abs());
        let expected = to_first.sum::<f64>() / ids.len() as f64;
        let got = first.mean.mean.get(id).unwrap();
        assert!(
            (got - expected).abs() <= 1e-5 * expected,
            "{id}: {got} {expected}"
        );
    }
}

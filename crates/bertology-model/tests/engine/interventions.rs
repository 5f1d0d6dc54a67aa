//! Interventions: what they change, what flows past them, and what they refuse. Since they set any
//! value, they also give every gradient an independent judge: the central difference at its own site.

use bertology_model::{
    Capture, Captured, Error, HeadId, HeadMask, Interests, Intervention, LayerSite, Masking,
    MatrixMut, Model, ModelSite, Observer, Pass, PassOptions, PassOutput, Place, Replaced,
    Replacements, Sequence, Site, Tap, Workspace,
};

use crate::fixture::{Fixture, distance};

/// One of each kind: post-norm with pooler, relative positions, a bias by distance, pre-norm, causal without final norm,
/// language models.
const MODELS: [&str; 20] = [
    "bert-absolute",
    "bert-relative-key-query",
    "bert-mlm",
    "mpnet",
    "modernbert",
    "modernbert-mlm",
    "modernbert-tokens",
    "albert-mlm",
    "esm-mlm",
    "esmc-mlm",
    "eurobert-mlm",
    "nomic-mlm",
    "gte-mlm",
    "jinabert-mlm",
    "deberta-mlm",
    "deberta-renamed-mlm",
    "gpt2",
    "gpt2-lm",
    "gpt2-all-options",
    "gpt-lm",
];

const HEAD_SITES: [LayerSite; 6] = [
    LayerSite::Query,
    LayerSite::Key,
    LayerSite::Value,
    LayerSite::AttentionScores,
    LayerSite::AttentionProbs,
    LayerSite::HeadOutput,
];
const ROW_SITES: [LayerSite; 4] = [
    LayerSite::AttentionOutput,
    LayerSite::MlpInner,
    LayerSite::MlpOutput,
    LayerSite::HiddenState,
];

struct Run {
    capture: Capture<f64>,
    output: PassOutput<f64>,
}

impl Run {
    fn loss(&self) -> f64 {
        let losses = self.output.sequences.iter().map(|o| o.loss.expect("loss"));
        losses.sum()
    }

    fn value(&self, pass: Pass, place: &Place) -> &Captured<f64> {
        let found = self.capture.iter().find(|(p, tap, sequence, head, _)| {
            (*p, *tap, *sequence, *head) == (pass, place.tap, place.sequence, place.head)
        });
        found.expect("captured").4
    }
}

/// A pass over all texts of the fixture, with values and gradients at `site` and at the embeddings.
fn run(
    fixture: &Fixture,
    model: &Model<f64>,
    site: Site,
    interventions: &mut [&mut dyn Intervention<f64>],
) -> Result<Run, Error> {
    let targets = fixture.targets();
    let options = PassOptions {
        targets: Some(&targets),
        mask_gradients: true,
        ..PassOptions::default()
    };
    let mut interests = Interests::none()
        .value(ModelSite::Embeddings)
        .gradient(ModelSite::Embeddings);
    interests = match site {
        Site::Layer(site) => interests.value(site).gradient(site),
        Site::Model(site) => interests.value(site).gradient(site),
    };
    let mut capture = Capture::new(interests);
    let batch = fixture.batch(model);
    let output = {
        let observers: &mut [&mut dyn Observer<f64>] = &mut [&mut capture];
        model.run_with(
            &batch,
            &options,
            &mut Workspace::new(),
            observers,
            interventions,
        )?
    };
    Ok(Run { capture, output })
}

/// Every kind of place in a model, in its middle layer and in its last.
fn places(model: &Model<f64>, sequence: usize) -> Vec<Place> {
    let last = model.architecture().num_layers - 1;
    let mut places = Vec::new();
    let turned = [LayerSite::RotatedQuery, LayerSite::RotatedKey];
    let rotary = matches!(
        model.architecture().positions,
        bertology_checkpoint::Positions::Rotary(_)
    );
    for layer in [1, last] {
        for site in HEAD_SITES
            .into_iter()
            .chain(turned.into_iter().filter(|_| rotary))
        {
            places.push(Place {
                tap: Tap::Layer(layer, site),
                sequence,
                head: Some(1),
            });
        }
        for site in ROW_SITES {
            places.push(Place {
                tap: Tap::Layer(layer, site),
                sequence,
                head: None,
            });
        }
    }
    let mut models = vec![ModelSite::Embeddings];
    if model.architecture().norm == bertology_checkpoint::NormPlacement::Pre {
        models.push(ModelSite::LastResidual);
    }
    for site in models {
        places.push(Place {
            tap: Tap::Model(site),
            sequence,
            head: None,
        });
    }
    places
}

/// At every site of every kind of model: the gradient is the slope of the loss along the value.
#[test]
fn gradients_at_every_site_are_central_differences() {
    let mut checked = 0;
    for name in MODELS {
        let fixture = Fixture::open(name);
        let model = fixture.model::<f64>();
        for place in places(&model, 1) {
            let site = place.tap.site();
            let plain = run(&fixture, &model, site, &mut []).expect("pass");
            let value = plain.value(Pass::Forward, &place).clone();
            let gradient = plain.value(Pass::Backward, &place);
            let mut nonzero = 0;
            for at in (0..value.data.len()).step_by(value.data.len() / 7 + 1) {
                if value.data[at].is_infinite() {
                    continue;
                }
                let loss = |step: f64| {
                    let mut moved = value.clone();
                    moved.data[at] += step;
                    let mut replacement = Replacements::new().value(place, moved);
                    run(&fixture, &model, site, &mut [&mut replacement])
                        .expect("pass")
                        .loss()
                };
                let slope = (loss(1e-4) - loss(-1e-4)) / 2e-4;
                let error = (slope - gradient.data[at]).abs();
                assert!(
                    error < 1e-6 * (1.0 + slope.abs()),
                    "{name} {place:?} [{at}]: slope {slope}, gradient {}",
                    gradient.data[at]
                );
                nonzero += usize::from(slope.abs() > 1e-6);
                checked += 1;
            }
            // A classifier reads one position of the last layer only.
            assert!(
                nonzero > 0
                    || name == "gpt2"
                    || name.starts_with("bert-")
                    || name == "mpnet"
                    || name == "modernbert",
                "{name} {place:?}"
            );
        }
    }
    assert!(checked > 500, "{checked}");
}

/// Replaces two rows by something of its own, wherever it is told to.
struct TwoRows(Place);

impl Intervention<f64> for TwoRows {
    fn interests(&self) -> Interests {
        match self.0.tap.site() {
            Site::Layer(site) => Interests::none().value(site),
            Site::Model(site) => Interests::none().value(site),
        }
    }

    fn intervene(
        &mut self,
        place: &Place,
        mut value: MatrixMut<'_, f64>,
    ) -> Result<Replaced, Error> {
        if *place != self.0 {
            return Ok(Replaced::Nothing);
        }
        for i in 1..3 {
            for (j, v) in value.row_mut(i).iter_mut().enumerate() {
                *v = 0.1 * ((i + 2 * j) % 5) as f64;
            }
        }
        Ok(Replaced::Rows(1..3))
    }
}

/// With rows replaced at any site, the gradient at the embeddings is still the slope: it takes every
/// way round what was replaced and none through it.
#[test]
fn nothing_flows_below_what_was_replaced() {
    for name in MODELS {
        let fixture = Fixture::open(name);
        let model = fixture.model::<f64>();
        for place in places(&model, 2) {
            if place.tap == Tap::Model(ModelSite::Embeddings) {
                continue;
            }
            let below = Place {
                tap: Tap::Model(ModelSite::Embeddings),
                sequence: 2,
                head: None,
            };
            let site = place.tap.site();
            let plain = run(&fixture, &model, site, &mut [&mut TwoRows(place)]).expect("pass");
            let value = plain.value(Pass::Forward, &below).clone();
            let gradient = plain.value(Pass::Backward, &below);
            for at in (0..value.data.len()).step_by(value.data.len() / 5 + 1) {
                let loss = |step: f64| {
                    let mut moved = value.clone();
                    moved.data[at] += step;
                    let mut embeddings = Replacements::new().value(below, moved);
                    let mut rows = TwoRows(place);
                    run(&fixture, &model, site, &mut [&mut embeddings, &mut rows])
                        .expect("pass")
                        .loss()
                };
                let slope = (loss(1e-4) - loss(-1e-4)) / 2e-4;
                let error = (slope - gradient.data[at]).abs();
                assert!(
                    error < 1e-6 * (1.0 + slope.abs()),
                    "{name} {place:?} [{at}]: slope {slope}, gradient {}",
                    gradient.data[at]
                );
            }
        }
    }
}

/// A head whose output is replaced by zero is a masked head; by its own output, nothing changes.
#[test]
fn zero_ablation_is_a_mask_of_zero() {
    for name in MODELS {
        let fixture = Fixture::open(name);
        let model = fixture.model::<f64>();
        let id = HeadId { layer: 1, head: 2 };
        let site = Site::Layer(LayerSite::HeadOutput);
        let mut zero = Replacements::new().zero(id);
        let ablated = run(&fixture, &model, site, &mut [&mut zero]).expect("pass");
        let mut mask = HeadMask::ones(&model);
        mask.set(id, 0.0);
        let targets = fixture.targets();
        let options = PassOptions {
            masking: Masking::Shared(&mask),
            targets: Some(&targets),
            mask_gradients: true,
            ..PassOptions::default()
        };
        let batch = fixture.batch(&model);
        let masked = model
            .run(&batch, &options, &mut Workspace::new(), &mut [])
            .expect("pass");
        for (a, b) in ablated.output.sequences.iter().zip(&masked.sequences) {
            assert!(
                (a.loss.expect("loss") - b.loss.expect("loss")).abs() < 1e-12,
                "{name}"
            );
            let (a, b) = (a.mask_gradient.as_ref(), b.mask_gradient.as_ref());
            let (a, mut b) = (a.expect("gradient").clone(), b.expect("gradient").clone());
            // The head's own factor: times zero it changes nothing, masked it would.
            let own = id.layer * mask.heads() + id.head;
            assert_eq!(a[own], 0.0);
            b[own] = 0.0;
            assert!(distance(&a, &b) < 1e-12, "{name}");
        }
    }
}

/// A mean taken over one token's outputs is that token's output.
#[test]
fn mean_ablation_puts_the_row_everywhere() {
    let fixture = Fixture::open("gpt2-lm");
    let model = fixture.model::<f64>();
    let id = HeadId { layer: 0, head: 3 };
    let row = vec![0.25, -1.0, 0.0, 2.0, 0.5, 1.0];
    let mut mean = Replacements::new().mean(id, row.clone());
    let site = Site::Layer(LayerSite::HeadOutput);
    let found = run(&fixture, &model, site, &mut [&mut mean]).expect("pass");
    for sequence in 0..4 {
        let place = Place {
            tap: Tap::Layer(0, LayerSite::HeadOutput),
            sequence,
            head: Some(3),
        };
        let value = found.value(Pass::Forward, &place);
        assert!(value.data.chunks(6).all(|r| r == row));
    }
}

/// Activation patching: the last hidden state of another text gives that text's logits.
#[test]
fn the_state_of_another_run_gives_its_result() {
    for name in ["bert-absolute", "gpt2", "gpt2-lm", "gpt"] {
        let fixture = Fixture::open(name);
        let model = fixture.model::<f64>();
        let arch = model.architecture();
        let text = |first: u32| Sequence::new((0..6).map(|i| 5 + first + i * 3).collect());
        let tap = Tap::Layer(arch.num_layers - 1, LayerSite::HiddenState);
        let pass = |sequence: Sequence, replacement: &mut Replacements<f64>| {
            let batch = bertology_model::PackedBatch::new(arch, &[sequence]).expect("batch");
            let mut capture = Capture::new(Interests::none().value(LayerSite::HiddenState));
            let options = PassOptions {
                token_logits: true,
                ..PassOptions::default()
            };
            let observers: &mut [&mut dyn Observer<f64>] = &mut [&mut capture];
            let mut output = model
                .run_with(
                    &batch,
                    &options,
                    &mut Workspace::new(),
                    observers,
                    &mut [replacement],
                )
                .expect("pass");
            let state = capture.get(Pass::Forward, tap, 0).expect("state").clone();
            (output.sequences.remove(0), state)
        };
        let (other, state) = pass(text(1), &mut Replacements::new());
        let (before, _) = pass(text(20), &mut Replacements::new());
        let place = Place {
            tap,
            sequence: 0,
            head: None,
        };
        let (patched, _) = pass(text(20), &mut Replacements::new().value(place, state));
        assert_ne!(before, other, "{name}");
        assert_eq!(patched, other, "{name}");
    }
}

#[test]
fn what_cannot_be_changed_is_refused() {
    let fixture = Fixture::open("bert-absolute");
    let model = fixture.model::<f64>();
    let site = Site::Layer(LayerSite::HeadOutput);
    let refusal = |mut replacement: Replacements<f64>| {
        run(&fixture, &model, site, &mut [&mut replacement])
            .err()
            .expect("refused")
            .to_string()
    };
    let place = |tap, sequence, head| Place {
        tap,
        sequence,
        head,
    };
    let one = Captured {
        rows: 1,
        cols: 1,
        data: vec![0.0],
    };
    let given = |place| Replacements::new().value(place, one.clone());
    let contribution = Tap::Layer(0, LayerSite::HeadContribution);
    let hidden = Tap::Layer(0, LayerSite::HiddenState);
    for (replacement, says) in [
        (
            Replacements::new().zero(HeadId { layer: 3, head: 0 }),
            "L3H0 does not exist",
        ),
        (
            given(place(contribution, 0, Some(0))),
            "change HeadOutput or AttentionOutput",
        ),
        (
            given(place(Tap::Model(ModelSite::Logits), 0, None)),
            "Logits cannot be changed",
        ),
        (
            given(place(Tap::Model(ModelSite::LastResidual), 0, None)),
            "no final norm",
        ),
        (given(place(hidden, 4, None)), "sequence 4, the batch has 4"),
        (
            given(place(hidden, 0, None)),
            "does not have the value's shape [8, 32]",
        ),
        (
            Replacements::new().mean(HeadId { layer: 0, head: 0 }, vec![1.0; 3]),
            "shape [8, 8]",
        ),
    ] {
        let text = refusal(replacement);
        assert!(text.contains(says), "`{text}` does not say `{says}`");
    }
    let pruned = Fixture::open("bert-absolute-pruned");
    let model = pruned.model::<f64>();
    let mut gone = Replacements::new().zero(HeadId { layer: 0, head: 0 });
    let batch = pruned.batch(&model);
    let error = model
        .run_with(
            &batch,
            &PassOptions::default(),
            &mut Workspace::new(),
            &mut [],
            &mut [&mut gone],
        )
        .expect_err("pruned away");
    assert!(error.to_string().contains("L0H0 is pruned away"), "{error}");
}

//! Experiments on single inputs, and attribution of the loss to heads.

use bertology::attribution::{AttributionOptions, integrated_gradients};
use bertology::model::{Interests, LayerSite, Tap};
use bertology::{HeadId, HeadMask, Target};

use super::fixture::embedded;

const TEXTS: [&str; 3] = [
    "The horses were admired.",
    "Every horse behind some houses runs.",
    "Mary says that the boy sleeps.",
];

/// Completeness: attributions sum to the difference of the losses at the ends of the path. 1e-4 nats:
/// some forty f32 passes, each with a loss good to about 1e-6.
#[test]
fn attributions_sum_to_the_loss_difference() {
    let bert = embedded("tiny-bert");
    let labels = [Target::Label(1), Target::Label(1), Target::Label(0)];
    let options = AttributionOptions::default();
    let found = integrated_gradients(&bert, &TEXTS, &labels, &options).unwrap();
    for one in &found {
        assert!((one.loss - one.baseline_loss).abs() > 0.05, "{one:?}");
        assert!(one.gap() < 1e-4, "gap {} of {one:?}", one.gap());
    }
    for name in ["tiny-gpt", "tiny-gpt2"] {
        let model = embedded(name);
        let targets = TEXTS.map(|text| {
            let experiment = model.experiment(&text).unwrap();
            Target::next_tokens(&experiment.sequence().ids)
        });
        let found = integrated_gradients(&model, &TEXTS, &targets, &options).unwrap();
        for one in &found {
            assert!(
                one.baseline_loss > one.loss + 0.2,
                "{name}: heads help, {one:?}"
            );
            assert!(one.gap() < 1e-4, "{name}: gap {} of {one:?}", one.gap());
        }
        // The ends of the path are what evaluation finds there.
        let plain = model.experiment(&TEXTS[0]).unwrap().next_tokens();
        assert!((plain.run().unwrap().loss().unwrap() - found[0].loss).abs() < 1e-5);
        let none = HeadMask::from_values(4, 4, vec![0.0; 16]).unwrap();
        let off = model
            .experiment(&TEXTS[0])
            .unwrap()
            .next_tokens()
            .mask(none);
        let off = off.run().unwrap().loss().unwrap();
        assert!((off - found[0].baseline_loss).abs() < 1e-5);
    }
}

/// Along a path that moves one head only, the whole difference is that head's; where nothing moves,
/// nothing is attributed.
#[test]
fn one_moving_head_gets_the_whole_difference() {
    let model = embedded("tiny-gpt2");
    let id = HeadId { layer: 1, head: 0 };
    let mut options = AttributionOptions::default();
    let mut baseline = HeadMask::ones(model.model());
    baseline.set(id, 0.0);
    options.baseline = Some(baseline);
    options.nodes = Some(12);
    let target = {
        let experiment = model.experiment(&TEXTS[2]).unwrap();
        Target::next_tokens(&experiment.sequence().ids)
    };
    let found = integrated_gradients(&model, &TEXTS[2..], &[target], &options).unwrap();
    let plain = model.experiment(&TEXTS[2]).unwrap().next_tokens();
    let without = plain.clone().zero(id).run().unwrap().loss().unwrap();
    let whole = plain.run().unwrap().loss().unwrap();
    for (head, value) in found[0].heads.iter() {
        let expected = if head == id { whole - without } else { 0.0 };
        assert!(
            (value - expected).abs() < 1e-5,
            "{head}: {value} {expected}"
        );
    }
    assert!((whole - without).abs() > 1e-4);
}

#[test]
fn ablation_by_the_mean_of_one_text_with_one_token_is_no_ablation() {
    let model = embedded("tiny-gpt");
    let id = HeadId { layer: 0, head: 1 };
    let one = bertology::Sequence::new(vec![7]);
    let mean = model
        .mean_head_output(id, std::slice::from_ref(&one))
        .unwrap();
    let look = |experiment: bertology::experiment::Experiment<'_>| {
        let seen = experiment.token_logits().run().unwrap();
        seen.token_logits().unwrap().to_vec()
    };
    let plain = model.experiment(&one).unwrap();
    let logits = look(plain.clone());
    assert_eq!(look(plain.clone().mean(id, mean.clone())), logits);
    assert_ne!(look(plain.zero(id)), logits);
    let two = bertology::Sequence::new(vec![7, 9]);
    let means = model.mean_head_output(id, &[one, two.clone()]).unwrap();
    let seen = model
        .experiment(&two)
        .unwrap()
        .observe(Interests::none().value(LayerSite::HeadOutput))
        .run()
        .unwrap();
    let output = seen.head_value(id, LayerSite::HeadOutput).unwrap();
    for (i, mean_of_three) in means.iter().enumerate() {
        let rows = [mean[i], output.data[i], output.data[output.cols + i]];
        let expected = rows.iter().sum::<f32>() / 3.0;
        assert!((mean_of_three - expected).abs() < 1e-6);
    }
}

#[test]
fn patching_a_head_from_another_text_moves_the_loss_that_far() {
    let model = embedded("tiny-gpt2");
    let tap = Tap::Layer(2, LayerSite::HiddenState);
    let (a, b) = ("The boy sleeps.", "The man sleeps.");
    let keep = Interests::none().value(LayerSite::HiddenState);
    let seen = model.experiment(&a).unwrap().observe(keep).token_logits();
    let seen = seen.run().unwrap();
    let state = seen.value(tap).unwrap().clone();
    let patched = model
        .experiment(&b)
        .unwrap()
        .replace(tap, None, state)
        .token_logits();
    let patched = patched.run().unwrap();
    // Everything above the state is a function of it alone.
    assert_eq!(
        patched.token_logits().unwrap(),
        seen.token_logits().unwrap()
    );
}

#[test]
fn what_was_not_observed_is_said() {
    let model = embedded("tiny-bert");
    let seen = model.experiment(&TEXTS[0]).unwrap().run().unwrap();
    let id = HeadId { layer: 0, head: 0 };
    for (error, says) in [
        (seen.loss().unwrap_err(), "give the experiment a target"),
        (
            seen.mask_gradients().unwrap_err(),
            "give the experiment a target",
        ),
        (seen.token_logits().unwrap_err(), "ask a language model"),
        (
            seen.head_value(id, LayerSite::Query).unwrap_err(),
            "name the site in observe()",
        ),
    ] {
        assert!(error.to_string().contains(says), "{error}");
    }
    let label = model.experiment(&TEXTS[0]).unwrap().next_tokens().run();
    let text = label.unwrap_err().to_string();
    assert!(text.contains("a token target needs"), "{text}");
    let mut options = AttributionOptions::default();
    options.nodes = Some(0);
    let error = integrated_gradients(&model, &TEXTS[..1], &[Target::Label(0)], &options);
    assert!(error.unwrap_err().to_string().contains("at least 1"));
}

//! A model's values in a few lines.

use bertology::model::Target as T;
use bertology::{Error, HeadId, LoadedModel};

use super::fixture::{Fixture, HEAD_DIM, HEADS, HIDDEN, LAYERS, golden};

#[test]
fn shapes_are_those_of_transformers() {
    let model = Fixture::new().model();
    let texts = ["w5 w6 w7", "w8"];
    let states = model.hidden_states(&texts).unwrap();
    assert_eq!(
        states.iter().map(Vec::len).collect::<Vec<_>>(),
        [LAYERS + 1; 2]
    );
    assert_eq!((states[0][0].rows, states[0][0].cols), (5, HIDDEN));
    assert_eq!(
        (states[1][LAYERS].rows, states[1][LAYERS].cols),
        (3, HIDDEN)
    );
    // Each layer changes them.
    assert!(states[0].windows(2).all(|pair| pair[0] != pair[1]));

    let attentions = model.attentions(&texts).unwrap();
    assert_eq!(attentions[0].iter().count(), LAYERS * HEADS);
    for (_, map) in attentions[0].iter() {
        assert_eq!((map.rows, map.cols), (5, 5));
        for row in map.data.chunks(5) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        }
    }
    let heads: Vec<usize> = attentions[1].layer(2).map(|(head, _)| head).collect();
    assert_eq!(heads, [0, 1, 2, 3]);
    let outputs = model.head_outputs(&texts).unwrap();
    let id = HeadId { layer: 2, head: 3 };
    assert_eq!((outputs[1][id].rows, outputs[1][id].cols), (3, HEAD_DIM));
    assert_eq!(outputs[1].get(HeadId { layer: 3, head: 0 }), None);

    let targets = [T::Label(0), T::Label(2)];
    let gradients = model.hidden_state_gradients(&texts, &targets).unwrap();
    assert_eq!(gradients[0].len(), LAYERS + 1);
    // A classifier reads the first position of the last layer alone.
    let last = &gradients[0][LAYERS];
    assert!(last.data[..HIDDEN].iter().any(|g| *g != 0.0));
    assert!(last.data[HIDDEN..].iter().all(|g| *g == 0.0));
    let gradients = model.head_output_gradients(&texts, &targets).unwrap();
    let last = &gradients[0][id];
    assert!(last.data[..HEAD_DIM].iter().any(|g| *g != 0.0));
    assert!(last.data[HEAD_DIM..].iter().all(|g| *g == 0.0));
    let gradients = model.attention_gradients(&texts, &targets).unwrap();
    assert_eq!((gradients[0][id].rows, gradients[0][id].cols), (5, 5));
    assert_eq!(model.logits(&texts).unwrap()[1].len(), 3);
}

#[test]
fn a_batch_and_its_parts_say_the_same() {
    let model = Fixture::new().model();
    let texts = ["w5 w6 w7", "w8", "w9 w10 w11 w12"];
    let together = model.hidden_states(&texts).unwrap();
    for (text, states) in texts.iter().zip(&together) {
        assert_eq!(&model.hidden_states(&[*text]).unwrap()[0], states);
    }
    let pair = model.logits(&[("w5 w6", "w7")]).unwrap();
    assert_ne!(pair, model.logits(&["w5 w6 w7"]).unwrap());
    let owned = ["w8".to_owned()];
    assert_eq!(
        model.logits(&owned).unwrap(),
        model.logits(&["w8"]).unwrap()
    );
    assert!(model.logits::<&str>(&[]).unwrap().is_empty());
}

#[test]
fn what_does_not_fit_is_refused() {
    let model = Fixture::new().model();
    let error = model.mask_gradients(&["w5"], &[]).unwrap_err();
    assert!(matches!(error, Error::Model(_)), "{error}");
    let error = model.mask_gradients(&["w5"], &[T::Label(3)]).unwrap_err();
    assert!(error.to_string().contains("label"), "{error}");
    let long = vec!["w5"; 40].join(" ");
    let error = model.hidden_states(&[long.as_str()]).unwrap_err();
    assert!(error.to_string().contains("42 tokens"), "{error}");
    assert_eq!(model.encode(&long, None, None).unwrap().truncated, 18);
    let error = model.encode("w5", None, Some(30)).unwrap_err();
    assert!(
        matches!(
            error,
            Error::MaxLength {
                requested: 30,
                limit: 24
            }
        ),
        "{error}"
    );
    let bare = LoadedModel::open(golden("bert-absolute")).unwrap();
    let error = bare.logits(&["w5"]).unwrap_err();
    assert!(matches!(error, Error::NoTokenizer { .. }), "{error}");
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn a_pruned_head_has_no_values() {
    let model = Fixture::new().model();
    let gone = HeadId { layer: 1, head: 0 };
    let fewer = model.without_heads([gone]).unwrap();
    let attentions = fewer.attentions(&["w5 w6"]).unwrap();
    assert_eq!(attentions[0].get(gone), None);
    let heads: Vec<usize> = attentions[0].layer(1).map(|(head, _)| head).collect();
    assert_eq!(heads, [1, 2, 3]);
    let slopes = fewer.mask_gradients(&["w5 w6"], &[T::Label(1)]).unwrap();
    assert_eq!(slopes[0].get(gone), None);
}

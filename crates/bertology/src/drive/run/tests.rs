//! What a device has no room for.

use bertology_model::bertology_device::{self as device, Host};

use super::{Work, drive};
use crate::attention::patterns::{PatternOptions, PatternsState, TokenClasses};
use crate::attention::{TextOptions, TextPassages};
use crate::drive::Progress;
use crate::{Error, LoadedModel, Source};

const TOKENS: usize = 2048;

fn model() -> LoadedModel {
    LoadedModel::open(bertology_testkit::workspace().join("assets/tiny-bert")).expect("a model")
}

fn study(model: &LoadedModel) -> Result<String, Error> {
    let file = bertology_testkit::workspace().join("assets/grammar/dev.txt");
    let source = Source::lines(&file).with_limit(Some(300));
    let texts = TextPassages::new(model, source, TextOptions::default()).expect("texts");
    let classes = TokenClasses::of_model(model, None).expect("classes");
    let state = PatternsState::new(model, classes, PatternOptions::default()).expect("a study");
    let mut progress = Progress::new(state);
    let work = Work {
        threads: 1,
        batch_tokens: Some(TOKENS),
    };
    drive(model, &texts, &mut progress, &work, &mut ())?;
    Ok(serde_json::to_string(&progress.into_study()).expect("JSON"))
}

/// A batch that no buffer holds is computed a half at a time, as often as it takes.
#[test]
fn a_batch_without_room_is_halved() {
    let arch = model().architecture().clone();
    let limit = arch.intermediate_size * arch.hidden_size * 4;
    assert!(TOKENS / 2 * 3 * arch.hidden_size * 4 > limit);
    let on = |limit: usize| {
        let host = Host::with_limits(limit as u64, limit as u64);
        model().with_device(host).expect("placed")
    };
    let whole = study(&on(64 << 20)).expect("a pass");
    assert_eq!(whole, study(&on(limit)).expect("passes"));
    // One text alone.
    let error = study(&on(64)).expect_err("one text alone");
    assert!(
        matches!(
            error,
            Error::Model(bertology_model::Error::Device(
                device::Error::TooLarge { .. }
            ))
        ),
        "{error}"
    );
}

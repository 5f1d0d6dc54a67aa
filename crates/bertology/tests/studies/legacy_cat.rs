//! The scores of the paper's released code against a transcription of it (tools/golden/make_cat_legacy_golden.py).

use std::collections::BTreeMap;
use std::fs;

use bertology::LoadedModel;
use bertology::attention::cat::{LegacyChoice, LegacyScores, legacy_scores};
use bertology::drive::Work;
use bertology::input::legacy::LegacyPassages;
use bertology_code::Functions;
use serde_json::Value;

const COUNT: usize = 60;
/// A cell whose attention is a threshold but for the last bits of f32 is one of 144 or more of one of 16 functions.
const SCORE: f64 = 1e-3;
/// All but such scores are the same to the last bits of f64.
const SAME: f64 = 1e-12;

fn found() -> LegacyScores {
    let model = LoadedModel::open(bertology_testkit::workspace().join("assets/tiny-code")).unwrap();
    let assets = bertology_testkit::workspace().join("assets/code/functions.jsonl");
    let read = |path| fs::read_to_string(path).unwrap();
    let mut lines: Vec<String> = read(assets)
        .lines()
        .take(COUNT)
        .map(str::to_owned)
        .collect();
    let cases = bertology_testkit::golden("studies/cat/legacy.jsonl");
    lines.extend(read(cases).lines().map(str::to_owned));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.jsonl");
    fs::write(&path, lines.join("\n")).unwrap();
    let functions = Functions::new(&path, None).unwrap();
    let passages = LegacyPassages::new(&model, functions).unwrap();
    assert_eq!(passages.max_length(), 256);
    legacy_scores(&model, &passages, &Work::default(), &mut ()).unwrap()
}

#[test]
fn scores_are_those_of_the_released_code() {
    let golden = fs::read(bertology_testkit::golden("studies/cat/legacy.json")).unwrap();
    let golden: BTreeMap<String, Value> = serde_json::from_slice(&golden).unwrap();
    let found = found();
    let (mut same, mut all) = (0, 0);
    for (language, golden) in &golden {
        let own = |kinds: &BTreeMap<String, Vec<String>>| Value::from(kinds[language].clone());
        let kinds: Vec<Value> = found.kinds.iter().map(own).collect();
        assert_eq!(Value::from(kinds), golden["top"], "{language}");
        for choice in [LegacyChoice::All, LegacyChoice::Static, LegacyChoice::Top] {
            let of = found.scores.iter();
            let of = of.filter(|score| score.language == *language && score.choice == choice);
            for score in of {
                let at = format!("{language} {choice:?} {}", score.layer);
                let expected = &golden["scores"][choice.name()][score.layer];
                assert_eq!(score.functions, expected[0].as_u64().unwrap(), "{at}");
                let functions = score.functions + score.skipped;
                assert_eq!(functions, golden["functions"].as_u64().unwrap(), "{at}");
                let apart = (score.cat.unwrap() - expected[1].as_f64().unwrap()).abs();
                assert!(apart < SCORE, "{at}: {apart}");
                let share = golden["found"][choice.name()][score.layer]
                    .as_f64()
                    .unwrap();
                assert!((score.found.unwrap() - share).abs() < 1e-12, "{at}");
                same += usize::from(apart < SAME);
                all += 1;
            }
        }
    }
    assert_eq!(all, 4 * 4 * 3);
    assert!(10 * same > 8 * all, "{same} of {all}");
}

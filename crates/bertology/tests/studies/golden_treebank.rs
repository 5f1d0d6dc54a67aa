//! Word maps, syntax and coreference against transformers' maps and numpy (tools/golden/make_attention_golden.py).

use std::fs;
use std::path::PathBuf;

use bertology::attention::coref::{
    AntecedentRule, Candidates, Category, CorefCounts, DocumentPassages,
};
use bertology::attention::syntax::{Direction, SyntaxCounts, SyntaxOptions};
use bertology::attention::{
    Fate, InputMode, RowMode, SentencePassages, Supply, TreebankOptions, WordMap,
};
use bertology::data::conllu::Treebank;
use bertology::drive::Work;
use bertology::model::Matrix;
use bertology::{HeadId, LoadedModel};
use bertology_testkit::Tensors;
use serde_json::Value;

use super::fixture::driven;
use super::syntax::{assets, model};

/// Maps in f32 from two programs; both add in f64.
const WORD_MAPS: f32 = 1e-6;
const MODELS: [&str; 3] = ["tiny-bert", "tiny-gpt2", "tiny-gpt"];
const OPTIONS: TreebankOptions = TreebankOptions {
    input: Some(InputMode::Words),
    max_length: None,
    too_long: None,
    bos: false,
};

fn golden() -> PathBuf {
    bertology_testkit::golden("studies/attention")
}

struct Golden {
    names: Value,
    arrays: Tensors,
}

impl Golden {
    fn of(model: &str) -> Self {
        let names = fs::read(golden().join(format!("{model}.json"))).unwrap();
        Self {
            names: serde_json::from_slice(&names).unwrap(),
            arrays: Tensors::read(&golden().join(format!("{model}.safetensors"))),
        }
    }

    fn counts(&self, name: &str) -> (Vec<usize>, Vec<u64>) {
        (self.arrays.shape(name), self.arrays.whole(name))
    }

    fn list(&self, name: &str) -> Vec<String> {
        let list = self.names[name].as_array().unwrap().iter();
        list.map(|name| name.as_str().map_or(name.to_string(), str::to_owned))
            .collect()
    }
}

fn sentences(model: &LoadedModel) -> SentencePassages {
    let treebank = Treebank::new(&assets().join("grammar/dev.conllu")).with_limit(Some(40));
    SentencePassages::new(model, treebank, OPTIONS).unwrap()
}

#[test]
fn word_maps_are_numpys() {
    for name in MODELS {
        let (golden, model) = (Golden::of(name), model(name));
        let passages = sentences(&model);
        let at = golden.names["word_map_of"].as_u64().unwrap() as usize;
        let raw = passages.open(0).unwrap().nth(at).unwrap().unwrap();
        let Fate::Studied(mut given) = passages.prepare(raw).unwrap() else {
            panic!("it fits");
        };
        let passage = given.remove(0);
        let maps = model
            .attentions(std::slice::from_ref(&passage.sequence))
            .unwrap();
        for (mode, rows) in [
            ("mean", RowMode::Mean),
            ("first", RowMode::First),
            ("last", RowMode::Last),
            ("max", RowMode::Max),
        ] {
            let of_mode = format!("word_maps.{mode}");
            let (shape, expected) = (golden.arrays.shape(&of_mode), golden.arrays.f32(&of_mode));
            let units = passage.item.words.units();
            assert_eq!(shape[2..], [units, units]);
            let mut largest = 0.0_f32;
            for (id, map) in maps[0].iter() {
                let matrix = Matrix::new(&map.data, map.rows, map.cols);
                let merged = WordMap::new(matrix, &passage.item.words, rows);
                let first = (id.layer * shape[1] + id.head) * units * units;
                for unit in 0..units {
                    let row = &expected[first + unit * units..][..units];
                    for (found, expected) in merged.row(unit).iter().zip(row) {
                        largest = largest.max((*found as f32 - expected).abs());
                    }
                }
            }
            assert!(largest <= WORD_MAPS, "{name} {mode} {largest:e}");
        }
    }
}

#[test]
fn syntax_counts_are_numpys() {
    for name in MODELS {
        let (golden, model) = (Golden::of(name), model(name));
        let passages = sentences(&model);
        let counts = SyntaxCounts::new(&passages, &SyntaxOptions::default());
        let counts = driven(&model, &passages, counts, &Work::default());
        let relations = golden.list("relations");
        assert_eq!(counts.rows().names(), relations);
        assert_eq!(
            golden.list("directions"),
            Direction::ALL.map(Direction::name)
        );
        let (shape, correct) = golden.counts("dependencies.correct");
        let (_, total) = golden.counts("dependencies.total");
        let (_, reachable) = golden.counts("dependencies.reachable");
        let (_, baseline) = golden.counts("dependencies.baseline");
        let (_, abstained) = golden.counts("dependencies.abstained");
        let (layers, heads) = (shape[2], shape[3]);
        let place =
            |direction: usize, head: HeadId| (direction * layers + head.layer) * heads + head.head;
        for (row, relation) in relations.iter().enumerate() {
            assert_eq!(counts.total(row), total[row], "{name} {relation}");
            for (at, direction) in Direction::ALL.into_iter().enumerate() {
                let expected = reachable[row * 3 + at];
                assert_eq!(
                    counts.reachable(direction, row),
                    expected,
                    "{name} {relation}"
                );
                for head in counts.live() {
                    let expected = correct[row * 3 * layers * heads + place(at, head)];
                    let found = counts.score(direction, head, row).part;
                    assert_eq!(found, expected, "{name} {relation} {direction:?} {head}");
                }
            }
            for offset in -5..=5 {
                let expected = baseline[row * 11 + (offset + 5) as usize];
                let found = counts.offset(offset, row).unwrap().part;
                assert_eq!(found, expected, "{name} {relation} {offset}");
            }
        }
        for (at, direction) in Direction::ALL.into_iter().enumerate() {
            for head in counts.live() {
                let found = counts.abstained(direction, head);
                assert_eq!(
                    found,
                    abstained[place(at, head)],
                    "{name} {direction:?} {head}"
                );
            }
        }
    }
}

#[test]
fn coreference_counts_are_numpys() {
    for name in MODELS {
        let (golden, model) = (Golden::of(name), model(name));
        let grammar = Treebank::new(&assets().join("grammar/dev.conllu")).with_limit(Some(40));
        let by_hand = Treebank::new(&self::golden().join("coreference.conllu"));
        let counts = [grammar, by_hand].map(|treebank| {
            let passages = DocumentPassages::new(&model, treebank, OPTIONS).unwrap();
            let counts = CorefCounts::new(&passages, RowMode::Mean);
            let counts = driven(&model, &passages, counts, &Work::default());
            assert_eq!(counts.tally().cut, 0);
            counts
        });
        let both = |count: &dyn Fn(&CorefCounts) -> u64| counts.iter().map(count).sum::<u64>();
        let (shape, correct) = golden.counts("coreference.correct");
        let (_, total) = golden.counts("coreference.total");
        let (_, rules) = golden.counts("coreference.baselines");
        assert_eq!(
            golden.list("candidates"),
            Candidates::ALL.map(Candidates::name)
        );
        assert_eq!(golden.list("categories"), Category::ALL.map(Category::name));
        let (layers, heads) = (shape[2], shape[3]);
        for (c, category) in Category::ALL.into_iter().enumerate() {
            assert_eq!(both(&|counts| counts.total(category)), total[c], "{name}");
            for (at, rule) in AntecedentRule::ALL.into_iter().enumerate() {
                let found = both(&|counts| counts.rule(rule, category).part);
                assert_eq!(found, rules[at * 4 + c], "{name} {rule:?} {category:?}");
            }
            for (at, candidates) in Candidates::ALL.into_iter().enumerate() {
                for head in counts[0].live() {
                    let found = both(&|counts| counts.score(candidates, head, category).part);
                    let place = ((at * 4 + c) * layers + head.layer) * heads + head.head;
                    assert_eq!(
                        found, correct[place],
                        "{name} {candidates:?} {category:?} {head}"
                    );
                }
            }
        }
    }
}

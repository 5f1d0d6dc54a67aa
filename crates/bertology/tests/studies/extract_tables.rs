//! Parquet tables, read by another reader, hold the numbers of the arrays.

use std::fs;
use std::path::Path;

use bertology::extract::{
    ExtractOptions, Extraction, Format, GradientOf, Heads, Layers, Pool, Request, Texts,
};
use bertology::{HeadId, LoadedModel};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use tempfile::TempDir;

use super::fixture::{Fixture, rows, spread};

const TEXTS: usize = 7;

fn written(model: &LoadedModel, pool: Pool, request: &Request) -> TempDir {
    let mut options = ExtractOptions::default();
    // One sequence a batch, as the library runs them.
    (options.format, options.pool) = (Format::Parquet, pool);
    options.shard_size = 4;
    let work = spread(0, 1);
    let texts = Texts::given(sentences());
    let extraction = Extraction::new(model, texts, request, options, &work, &mut ());
    let folder = tempfile::tempdir().unwrap();
    extraction
        .unwrap()
        .write(folder.path(), &work, &mut ())
        .unwrap();
    folder
}

fn sentences() -> Vec<String> {
    rows(TEXTS).into_iter().map(|(text, _)| text).collect()
}

/// The rows of all shards of a table.
fn table(folder: &TempDir, name: &str) -> Vec<Row> {
    let folder = folder.path().join(name);
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    files.iter().flat_map(|path| read(path)).collect()
}

fn read(path: &Path) -> Vec<Row> {
    let reader = SerializedFileReader::new(fs::File::open(path).unwrap()).unwrap();
    reader
        .get_row_iter(None)
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

fn field<'a>(row: &'a Row, name: &str) -> &'a Field {
    let mut columns = row.get_column_iter();
    let found = columns.find(|(found, _)| *found == name);
    found.unwrap_or_else(|| panic!("no {name} in {row}")).1
}

fn int(row: &Row, name: &str) -> i64 {
    match field(row, name) {
        Field::Int(value) => i64::from(*value),
        Field::Long(value) => *value,
        other => panic!("{name} is {other}"),
    }
}

fn list(row: &Row, name: &str) -> Vec<f32> {
    let Field::ListInternal(list) = field(row, name) else {
        panic!("{name} is no list: {row}");
    };
    let value = |element: &Field| match element {
        Field::Float(value) => *value,
        other => panic!("{other}"),
    };
    list.elements().iter().map(value).collect()
}

#[test]
fn a_row_is_a_token_or_a_token_and_head() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let request = Request::new()
        .hidden_states(Layers::parse("0,3").unwrap())
        .attentions(Heads::parse("1 2.3", model.architecture()).unwrap())
        .head_outputs(Heads::parse("0.1", model.architecture()).unwrap())
        .logits()
        .gradients(GradientOf::Class(1));
    let folder = written(&model, Pool::None, &request);
    let sentences = sentences();
    let states = model.hidden_states(&sentences).unwrap();
    let attentions = model.attentions(&sentences).unwrap();
    let outputs = model.head_outputs(&sentences).unwrap();
    let logits = model.logits(&sentences).unwrap();

    let tokens = table(&folder, "tokens");
    let mut at = 0;
    for (text, sentence) in sentences.iter().enumerate() {
        let encoding = model.encode(sentence, None, None).unwrap();
        for token in 0..encoding.len() {
            let row = &tokens[at];
            assert_eq!(int(row, "example"), text as i64);
            assert_eq!(int(row, "token"), token as i64);
            assert_eq!(int(row, "input_id"), i64::from(encoding.ids[token]));
            let string = model.tokenizer().unwrap().id_to_token(encoding.ids[token]);
            assert_eq!(field(row, "string"), &Field::Str(string.unwrap()));
            let word = encoding.words[token].map_or(-1, i64::from);
            assert_eq!(int(row, "word_id"), word);
            for (column, layer) in [("hidden_states_0", 0), ("hidden_states_3", 3)] {
                let expected = &states[text][layer].data[token * 32..][..32];
                assert_eq!(list(row, column), expected);
            }
            at += 1;
        }
    }
    assert_eq!(at, tokens.len());
    for (text, row) in table(&folder, "examples").iter().enumerate() {
        // Where only logits are wanted, products have another height and round in another order.
        for (found, expected) in list(row, "logits").iter().zip(&logits[text]) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
        assert_eq!(int(row, "line"), text as i64 + 1);
    }
    let mut seen = 0;
    for (name, values, heads) in [
        ("attentions", &attentions, 5),
        ("head_outputs", &outputs, 1),
    ] {
        let found = table(&folder, name);
        assert_eq!(found.len(), tokens.len() * heads);
        for row in &found {
            let id = HeadId {
                layer: int(row, "layer") as usize,
                head: int(row, "head") as usize,
            };
            let map = &values[int(row, "example") as usize][id];
            let token = int(row, "token") as usize;
            assert_eq!(list(row, name), map.data[token * map.cols..][..map.cols]);
            seen += 1;
        }
    }
    assert_eq!(seen, tokens.len() * 6);
    assert_eq!(
        table(&folder, "gradients_attentions").len(),
        tokens.len() * 5
    );
}

#[test]
fn pooled_rows_are_words() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let request = Request::new()
        .hidden_states(Layers::parse("2").unwrap())
        .head_outputs(Heads::parse("0.1", model.architecture()).unwrap());
    let folder = written(&model, Pool::First, &request);
    let sentences = sentences();
    let states = model.hidden_states(&sentences).unwrap();
    let outputs = model.head_outputs(&sentences).unwrap();
    let words = table(&folder, "words");
    let heads = table(&folder, "head_outputs");
    assert_eq!(words.len(), heads.len());
    let mut at = 0;
    for (text, sentence) in sentences.iter().enumerate() {
        // Every word of these sentences is one token, behind [CLS].
        for word in 0..sentence.split(' ').count() {
            let (row, head) = (&words[at], &heads[at]);
            assert_eq!(
                (int(row, "example"), int(row, "word_id")),
                (text as i64, word as i64)
            );
            let expected = &states[text][2].data[(word + 1) * 32..][..32];
            assert_eq!(list(row, "hidden_states_2"), expected);
            let expected = &outputs[text][HeadId { layer: 0, head: 1 }].data[(word + 1) * 8..][..8];
            assert_eq!(
                (int(head, "example"), int(head, "word_id")),
                (text as i64, word as i64)
            );
            assert_eq!(list(head, "head_outputs"), expected);
            at += 1;
        }
    }
    assert_eq!(at, words.len());
}

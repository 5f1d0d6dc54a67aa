//! Treebanks: their sentences, their text, their coreference, and every fault.

mod entities;
mod faults;
mod sentences;
mod written;

use std::path::{Path, PathBuf};

use bertology_data::DataError;
use bertology_data::conllu::{Document, Sentence, Treebank, TreebankInfo};

use crate::Fixture;

/// Lines of a sentence from rows `id form head relation misc`, separated by spaces (one left out is
/// `_`), and the blank line behind. A row that begins with `#` is a comment.
fn lines(rows: &[&str]) -> String {
    let mut text = String::new();
    for row in rows {
        if row.starts_with('#') {
            text.push_str(row);
        } else {
            let mut cells = row.split(' ');
            let mut cell = || cells.next().unwrap_or("_");
            let (id, form, head, relation, misc) = (cell(), cell(), cell(), cell(), cell());
            text.push_str(&format!(
                "{id}\t{form}\t_\t_\t_\t_\t{head}\t{relation}\t_\t{misc}"
            ));
        }
        text.push('\n');
    }
    text.push('\n');
    text
}

fn read(content: impl AsRef<[u8]>) -> Result<(Vec<Sentence>, TreebankInfo), DataError> {
    let fixture = Fixture::new("a.conllu", content);
    let mut reader = Treebank::new(fixture.file()).open()?;
    let sentences = reader.by_ref().collect::<Result<_, _>>()?;
    Ok((sentences, reader.finish()?))
}

/// The only sentence of these rows.
fn sentence(rows: &[&str]) -> Sentence {
    let (mut sentences, _) = read(lines(rows)).expect("the sentence can be read");
    assert_eq!(sentences.len(), 1);
    sentences.remove(0)
}

fn documents(content: impl AsRef<[u8]>) -> Result<Vec<Document>, DataError> {
    let fixture = Fixture::new("a.conllu", content);
    Treebank::new(fixture.file()).open_documents()?.collect()
}

/// The message of an error, without the folder of the fixture.
fn message(error: &DataError) -> String {
    let text = error.to_string();
    let at = text
        .find("a.conllu")
        .unwrap_or_else(|| panic!("the message names the file: {text}"));
    text[at..].to_owned()
}

/// The path under which [`message`] finds a fault of a sentence.
fn path() -> &'static Path {
    Path::new("a.conllu")
}

fn grammar() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/grammar/dev.conllu")
}

//! Which texts are asked for.

use std::path::Path;

use bertology::data::{Documents, Source};

use crate::args::ViewArgs;
use crate::data::note_words;
use crate::failure::Failure;
use crate::show::Screen;
use crate::show::text::plural;

/// Texts of one page: all are computed before the page is written, and a page is a file to be mailed.
const MOST: usize = 100;

/// A text, or a pair.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) text: String,
    pub(super) pair: Option<String>,
    /// What it is called when it is one of several: `line 3 of a.txt`.
    pub(super) place: Option<String>,
}

impl Given {
    /// A fault of this text, as a sentence.
    pub(super) fn fault(&self, what: &str) -> Failure {
        Failure::input(match &self.place {
            Some(place) => format!("{place}: {what}"),
            None => what.to_owned(),
        })
    }

    pub(super) fn texts(&self) -> Vec<String> {
        let both = [Some(&self.text), self.pair.as_ref()];
        both.into_iter().flatten().cloned().collect()
    }
}

/// The texts, at least one.
pub(super) fn given(args: &mut ViewArgs, screen: &Screen) -> Result<Vec<Given>, Failure> {
    args.model.give_back(&mut args.texts);
    let texts = &args.texts;
    if let Some(file) = &args.text {
        if !texts.is_empty() {
            return Err(Failure::input(format!(
                "{} behind MODEL and the texts of --text {} are given; leave one of them out",
                plural(texts.len() as u64, "text"),
                file.display()
            )));
        }
        return of_file(file, screen);
    }
    match texts.as_slice() {
        [] => Err(Failure::input(
            "no text given: write it behind MODEL, in quotes, and a second one to make a pair; --text FILE reads \
             several",
        )),
        texts if args.each => {
            limit(texts.len(), "leave some out")?;
            note_words(texts, "read as a text each", screen);
            let several = texts.len() > 1;
            let given = texts.iter().enumerate().map(|(at, text)| Given {
                text: text.clone(),
                pair: None,
                place: several.then(|| format!("text {at}, counted from 0")),
            });
            Ok(given.collect())
        }
        [_, _, _, ..] => Err(Failure::input(format!(
            "{} texts are given, and two make a pair; --each shows each on its own, and quotes make them one text: \
             bertology view MODEL \"{}\"",
            texts.len(),
            texts.join(" ")
        ))),
        [text, rest @ ..] => {
            if !rest.is_empty() {
                note_words(texts, "read as a pair", screen);
            }
            Ok(vec![Given {
                text: text.clone(),
                pair: rest.first().cloned(),
                place: None,
            }])
        }
    }
}

fn limit(found: usize, remedy: &str) -> Result<(), Failure> {
    if found <= MOST {
        return Ok(());
    }
    Err(Failure::input(format!(
        "{found} texts are given, and a page takes {MOST}; {remedy}"
    )))
}

fn of_file(file: &Path, screen: &Screen) -> Result<Vec<Given>, Failure> {
    if Documents::of_file(file) == Documents::Fasta {
        return of_fasta(file);
    }
    let content = bertology_file::read_to_string(file).map_err(|error| {
        Failure::input(format!(
            "--text {}: cannot be read: {error}",
            file.display()
        ))
    })?;
    let (given, blank) = of_lines(&content, &file.display().to_string())?;
    if blank > 0 {
        let lines = plural(blank, "blank line");
        screen.note(&format!("{lines} of {} skipped", file.display()));
    }
    if given.is_empty() {
        return Err(Failure::input(format!(
            "--text {}: there is no text in it; write one a line",
            file.display()
        )));
    }
    let remedy = format!(
        "put those that you want to see into a file of their own, such as the first: head -n {MOST} {} > some.txt",
        file.display()
    );
    limit(given.len(), &remedy)?;
    Ok(given)
}

/// The records of a file of sequences.
fn of_fasta(file: &Path) -> Result<Vec<Given>, Failure> {
    let records = Source::text(file, Documents::Fasta)
        .load()
        .map_err(|error| Failure::input(error.to_string()))?;
    limit(
        records.len(),
        "put those that you want to see into a file of their own",
    )?;
    let several = records.len() > 1;
    let given = records.examples.into_iter().map(|record| Given {
        place: several.then(|| format!("line {} of {}", record.line, file.display())),
        text: record.text,
        pair: None,
    });
    Ok(given.collect())
}

/// The texts of lines, and how many lines are blank.
fn of_lines(content: &str, file: &str) -> Result<(Vec<Given>, u64), Failure> {
    // Some editors write a mark in front of the first line.
    let content = content.strip_prefix('\u{feff}').unwrap_or(content);
    let mut given = Vec::new();
    let mut blank = 0;
    for (at, line) in content.lines().enumerate() {
        if line.trim().is_empty() {
            blank += 1;
            continue;
        }
        let place = format!("line {} of {file}", at + 1);
        let parts: Vec<&str> = line.split('\t').map(str::trim).collect();
        let (text, pair) = match parts.as_slice() {
            [text] => (text, None),
            [first, second] if !first.is_empty() && !second.is_empty() => (first, Some(second)),
            [_, _] => {
                return Err(Failure::input(format!(
                    "{place}: there is a tab, but no text on one of its sides; a tab stands between the two texts of \
                     a pair"
                )));
            }
            parts => {
                return Err(Failure::input(format!(
                    "{place}: there are {} tabs; one makes a pair, and a text without a pair has none",
                    parts.len() - 1
                )));
            }
        };
        given.push(Given {
            text: (*text).to_owned(),
            pair: pair.map(|pair| (*pair).to_owned()),
            place: Some(place),
        });
    }
    Ok((given, blank))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_texts_and_tabs_make_pairs() {
        let content = "\u{feff}the cat runs\r\n\n a horse \t it sleeps\r\n  \n";
        let (given, blank) = of_lines(content, "a.txt").unwrap();
        assert_eq!(blank, 2);
        let texts: Vec<Vec<String>> = given.iter().map(Given::texts).collect();
        assert_eq!(texts, [vec!["the cat runs"], vec!["a horse", "it sleeps"]]);
        assert_eq!(given[1].place.as_deref(), Some("line 3 of a.txt"));
        for (line, said) in [
            ("a\tb\tc", "line 1 of a.txt: there are 2 tabs"),
            ("\tb", "no text"),
        ] {
            let failure = of_lines(line, "a.txt").unwrap_err().to_string();
            assert!(failure.contains(said), "{failure}");
        }
    }
}

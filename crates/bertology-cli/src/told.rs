//! What is written down of every unit of the input while a study runs.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

#[cfg(feature = "code")]
use bertology::attention::cat::Measure;
use bertology::data::Target;
use bertology::predict::{Answer, Prediction};
use bertology::watch::SnippetMeasures;
use bertology::{Corpus, Outcome};
use bertology_run::rows::{PredictionRow, WindowRow};
use bertology_run::studies::cat::CatSnippetRow;
use bertology_run::studies::predict::{SaidRow, SaidValueRow, SaidWordRow};
use bertology_run::table::{self, More, Row as _};

use crate::failure::Failure;
use crate::run_folder::PREDICTIONS;

/// Every file of such rows: a run has one of them at most.
pub(crate) const FILES: [&str; 2] = [PREDICTIONS, CatSnippetRow::FILE];

/// Of what there are rows.
#[derive(Debug, Clone)]
pub(crate) enum Rows {
    /// Of labelled examples: names of the classes, empty for regression; and how many logits there are.
    Examples(Vec<String>, usize),
    /// Of windows of language models, which have no labels.
    Windows,
    /// Of texts without labels: what is said, and the names of classes or numbers.
    Predictions(Answer, Vec<String>),
    /// Of programs.
    #[cfg(feature = "code")]
    Snippets,
}

impl Rows {
    /// Of the examples or windows of a corpus.
    pub(crate) fn of(corpus: &Corpus) -> Self {
        match corpus.labels() {
            Some(labels) => Self::Examples(labels.names().to_vec(), corpus.classes()),
            None => Self::Windows,
        }
    }

    /// Where they are.
    pub(crate) fn file(&self) -> &'static str {
        match self {
            Self::Examples(..) | Self::Windows | Self::Predictions(..) => PREDICTIONS,
            #[cfg(feature = "code")]
            Self::Snippets => CatSnippetRow::FILE,
        }
    }

    fn header(&self) -> String {
        match self {
            Self::Examples(_, logits) => {
                let logits = (0..*logits).map(|at| format!("logit_{at}"));
                table::header::<PredictionRow>(&logits.collect::<Vec<String>>())
            }
            Self::Windows => table::header::<WindowRow>(&[]),
            Self::Predictions(answer, names) => {
                let more = columns(*answer, names);
                match answer {
                    Answer::Value => table::header::<SaidValueRow>(&more),
                    Answer::Words => table::header::<SaidWordRow>(&more),
                    _ => table::header::<SaidRow>(&more),
                }
            }
            #[cfg(feature = "code")]
            Self::Snippets => {
                let measures = Measure::ALL.map(|measure| measure.name().to_owned());
                table::header::<CatSnippetRow>(&measures)
            }
        }
    }
}

/// Columns of probabilities and logits, or of numbers where there are several. Classes of one name are told apart by
/// their numbers.
fn columns(answer: Answer, names: &[String]) -> Vec<String> {
    let unique: BTreeSet<&String> = names.iter().collect();
    let named = |start: &str| -> Vec<String> {
        let all = names.iter().enumerate();
        all.map(|(at, name)| match unique.len() == names.len() {
            true => format!("{start}_{name}"),
            false => format!("{start}_{at}"),
        })
        .collect()
    };
    match answer {
        Answer::Value if names.len() < 2 => Vec::new(),
        Answer::Value => named("value"),
        _ => [named("p"), named("logit")].concat(),
    }
}

/// A number of the model with as many digits as its type has.
pub(crate) fn as_written(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

/// The table while it grows.
#[derive(Debug)]
pub(crate) struct Told {
    file: BufWriter<File>,
    path: PathBuf,
    bytes: u64,
    rows: Rows,
    line: String,
    /// Nothing more comes, whatever is told.
    closed: bool,
}

impl Told {
    /// Begins the file, or goes on after its first `bytes`.
    pub(crate) fn open(path: &Path, rows: Rows, bytes: Option<u64>) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::io("write", path, &error);
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        if bytes.is_some_and(|bytes| bytes > length) {
            return Err(Failure::input(format!(
                "{}: {length} bytes, but the saved state speaks of {}; start again with \
                 --overwrite",
                path.display(),
                bytes.unwrap_or_default()
            )));
        }
        file.set_len(bytes.unwrap_or(0)).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        let mut told = Self {
            file: BufWriter::new(file),
            path: path.into(),
            bytes: bytes.unwrap_or(0),
            line: String::new(),
            closed: false,
            rows,
        };
        if bytes.is_none() {
            told.line = told.rows.header();
            told.write_line()?;
        }
        Ok(told)
    }

    /// Takes no more rows: what follows is the same input once more.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    pub(crate) fn example(&mut self, outcome: &Outcome<'_>) -> Result<(), Failure> {
        let names = match &self.rows {
            Rows::Examples(names, _) => names.as_slice(),
            _ => &[],
        };
        let name = |target: Target| match target {
            Target::Class(class) => match names.get(class) {
                Some(name) => name.clone(),
                None => class.to_string(),
            },
            Target::Value(value) => value.to_string(),
        };
        self.line.clear();
        match &outcome.verdict {
            Some(verdict) => {
                let row = PredictionRow {
                    index: outcome.index,
                    line: outcome.line,
                    label: name(verdict.label),
                    prediction: name(verdict.prediction),
                    loss: outcome.loss,
                    tokens: outcome.tokens as u64,
                    logits: More(outcome.logits.iter().copied().map(Some).collect()),
                };
                table::line(&mut self.line, &row);
            }
            None => {
                let row = WindowRow {
                    index: outcome.index,
                    line: outcome.line,
                    window: outcome.window as u64,
                    tokens: outcome.tokens as u64,
                    targets: outcome.targets as u64,
                    loss: outcome.loss,
                };
                table::line(&mut self.line, &row);
            }
        }
        self.write_line()
    }

    pub(crate) fn prediction(&mut self, said: &Prediction) -> Result<(), Failure> {
        let Rows::Predictions(answer, names) = &self.rows else {
            return Ok(());
        };
        self.line.clear();
        let logits = said.logits.iter().copied().map(as_written);
        let labels: Vec<&str> = said
            .classes
            .iter()
            .filter_map(|class| names.get(*class).map(String::as_str))
            .collect();
        let probability = match (answer, said.classes.first()) {
            (Answer::Class | Answer::Words, Some(class)) => said.probabilities.get(*class).copied(),
            _ => None,
        };
        let all = |logits: &mut dyn Iterator<Item = f64>| {
            let probabilities = said.probabilities.iter().copied();
            More(probabilities.chain(logits).map(Some).collect())
        };
        let mut logits = logits;
        match (answer, said.word) {
            (Answer::Value, _) => {
                let values: Vec<f64> = logits.collect();
                let row = SaidValueRow {
                    index: said.index,
                    line: said.line,
                    tokens: said.tokens as u64,
                    value: values.first().copied().unwrap_or(f64::NAN),
                    more: match values.len() {
                        0 | 1 => More(Vec::new()),
                        _ => More(values.into_iter().map(Some).collect()),
                    },
                };
                table::line(&mut self.line, &row);
            }
            (_, Some(word)) => {
                let row = SaidWordRow {
                    index: said.index,
                    line: said.line,
                    text: u64::from(word.text),
                    word: u64::from(word.number),
                    start: word.start as u64,
                    end: word.end as u64,
                    label: labels.join(";"),
                    probability,
                    more: all(&mut logits),
                };
                table::line(&mut self.line, &row);
            }
            (_, None) => {
                let row = SaidRow {
                    index: said.index,
                    line: said.line,
                    tokens: said.tokens as u64,
                    label: labels.join(";"),
                    probability,
                    more: all(&mut logits),
                };
                table::line(&mut self.line, &row);
            }
        }
        self.write_line()
    }

    pub(crate) fn snippet(&mut self, found: &SnippetMeasures<'_>) -> Result<(), Failure> {
        self.line.clear();
        for (layer, measures) in found.measures.chunks_exact(found.width).enumerate() {
            let defined = |value: &f64| value.is_finite().then_some(*value);
            let row = CatSnippetRow {
                index: found.index,
                line: found.line,
                name: found.name.to_owned(),
                language: found.language.to_owned(),
                tokens: found.tokens as u64,
                leaves: found.leaves as u64,
                layer,
                measures: More(measures.iter().map(defined).collect()),
            };
            table::line(&mut self.line, &row);
        }
        self.write_line()
    }

    fn write_line(&mut self) -> Result<(), Failure> {
        if self.closed {
            return Ok(());
        }
        self.bytes += self.line.len() as u64;
        self.file
            .write_all(self.line.as_bytes())
            .map_err(|error| Failure::io("write", &self.path, &error))
    }

    /// Where the finished table is.
    pub(crate) fn name(&self) -> &'static str {
        self.rows.file()
    }

    /// Appends the rows of a finished file of the same columns.
    pub(crate) fn append(&mut self, text: &str) -> Result<(), Failure> {
        // The line of names stands there already.
        let rows = text.split_once('\n').map_or("", |(_, rows)| rows);
        self.line = rows.to_owned();
        self.write_line()
    }

    /// Everything is on disk; the number of bytes from which the file can be continued.
    pub(crate) fn save(&mut self) -> Result<u64, Failure> {
        self.file
            .flush()
            .and_then(|()| self.file.get_ref().sync_data())
            .map_err(|error| Failure::io("write", &self.path, &error))?;
        Ok(self.bytes)
    }

    /// Gives the finished file its name in a folder.
    pub(crate) fn finish(mut self, folder: &Path) -> Result<(), Failure> {
        self.save()?;
        let path = folder.join(self.rows.file());
        fs::rename(&self.path, &path).map_err(|error| Failure::io("write", &path, &error))
    }
}

//! What a classifier says of texts, which need no labels: classes with their probabilities, a number, or a class of every
//! word.
//!
//! ```
//! use bertology::drive::{Progress, Study, Work, drive};
//! use bertology::evaluate::MaskedModel;
//! use bertology::extract::Texts;
//! use bertology::predict::{PredictOptions, PredictState, Unlabelled};
//! use bertology::LoadedModel;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/tiny-bert");
//! let model = LoadedModel::open(folder)?;
//! let texts = Texts::given(["The woman faints.", "The woman faint."]);
//! let texts = Unlabelled::new(&model, texts, &PredictOptions::default())?;
//! let mut progress = Progress::new(PredictState::new(&MaskedModel::new(&model, None, false)?, &texts));
//! drive(&model, &texts, &mut progress, &Work::default(), &mut ())?;
//! let found = progress.study().finish()?;
//! let labels: Vec<&str> = found.first.iter().map(|said| found.classes[said.classes[0]].as_str()).collect();
//! assert_eq!(labels, ["LABEL_1", "LABEL_0"]); // CoLA: 1 is acceptable
//! # Ok(())
//! # }
//! ```

use std::ops::Range;
use std::path::Path;

use bertology_checkpoint::{Problem, TaskHead};
use bertology_data::{DatasetInfo, Example, Mark, argmax};
use bertology_model::{HeadId, Sequence, SequenceOutput};
use serde::{Deserialize, Serialize};

use crate::drive::{Contribution, Lens, Study, Wants};
use crate::input::account::SequenceCounts;
use crate::input::corpus::DEFAULT_MAX_LENGTH;
use crate::input::marks::Marks;
use crate::input::prepare::{Piece, PrepareOptions, Preparer};
use crate::input::supply::{Fate, Passage, Supply, Units, after};
use crate::input::windows::TooLong;
use crate::studies::evaluate::{Factors, MaskedModel};
use crate::studies::extract::Texts;
use crate::watch::Purpose;
pub use crate::watch::{Prediction, WordPlace};
use crate::{Architecture, Error, LoadedModel, Watch};

/// Predictions that a result keeps; all are told to whoever looks on.
pub const FIRST: usize = 100;

/// From this probability on a class of a multi-label classifier is given.
const HALF: f64 = 0.5;

/// What a model's head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// One class of each text; probabilities are the softmax of the logits.
    Class,
    /// Any number of classes of each text; each probability is the logistic function of its logit.
    Labels,
    /// A number for each text, or several.
    Value,
    /// One class of each word, read at its first token, as token classifiers are trained.
    Words,
}

impl Answer {
    /// What the head of a model says.
    ///
    /// # Errors
    /// [`Error::NothingSaid`] for a head that says neither a class nor a number.
    pub fn of(model: &LoadedModel) -> Result<Self, Error> {
        match &model.architecture().head {
            TaskHead::SequenceClassification { problem, .. } => Ok(match problem {
                Problem::SingleLabel => Self::Class,
                Problem::MultiLabel => Self::Labels,
                Problem::Regression => Self::Value,
            }),
            TaskHead::TokenClassification { .. } => Ok(Self::Words),
            head => Err(Error::NothingSaid {
                path: model.checkpoint().folder().to_owned(),
                found: head.description(),
            }),
        }
    }

    /// Probabilities of the classes; none of a number.
    #[must_use]
    pub fn probabilities(self, logits: &[f32]) -> Vec<f64> {
        let logits = logits.iter().copied().map(f64::from);
        match self {
            Self::Value => Vec::new(),
            Self::Labels => logits.map(|logit| 1.0 / (1.0 + (-logit).exp())).collect(),
            Self::Class | Self::Words => {
                let most = logits.clone().fold(f64::NEG_INFINITY, f64::max);
                let powers: Vec<f64> = logits.map(|logit| (logit - most).exp()).collect();
                let sum: f64 = powers.iter().sum();
                powers.into_iter().map(|power| power / sum).collect()
            }
        }
    }

    /// The classes that are given.
    fn classes(self, logits: &[f32], probabilities: &[f64]) -> Result<Vec<usize>, Error> {
        Ok(match self {
            Self::Value => Vec::new(),
            Self::Class | Self::Words => vec![argmax(logits)?],
            Self::Labels => {
                let all = probabilities.iter().enumerate();
                all.filter(|(_, p)| **p >= HALF).map(|(at, _)| at).collect()
            }
        })
    }
}

/// How texts are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PredictOptions {
    /// Longest sequence in tokens, special ones included; `None`: the smaller of [`DEFAULT_MAX_LENGTH`] and the model's
    /// limit, as where labels are scored.
    pub max_length: Option<usize>,
    /// What is done with longer ones. Windows are refused: a text has one answer.
    pub too_long: TooLong,
    /// Put the model's beginning-of-text token before texts whose tokenizer does not (GPT-2).
    pub bos: bool,
}

impl Default for PredictOptions {
    fn default() -> Self {
        Self {
            max_length: None,
            too_long: TooLong::Cut,
            bos: false,
        }
    }
}

/// What is known of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnlabelledItem {
    /// Place in the input, zero-based.
    index: u64,
    line: u64,
    /// Tokens cut off.
    cut: usize,
    /// With their first tokens, where words have answers.
    words: Vec<(WordPlace, usize)>,
}

/// Texts of a file or in memory as sequences of one model; labels that the file may have are not read.
#[derive(Debug)]
pub struct Unlabelled {
    preparer: Preparer,
    texts: Texts,
    answer: Answer,
    info: Option<DatasetInfo>,
    total: u64,
    marks: Marks<Mark>,
}

impl Unlabelled {
    /// Reads the texts once to the end.
    ///
    /// # Errors
    /// A model whose head gives no answers; rows that are wrong, no text at all, a maximum length out of range, a model
    /// without tokenizer.
    pub fn new(model: &LoadedModel, texts: Texts, options: &PredictOptions) -> Result<Self, Error> {
        let answer = Answer::of(model)?;
        if options.too_long == TooLong::Window {
            return options.too_long.refused(
                "a text has one answer; cut texts that are too long, leave them out, or make them an error",
            );
        }
        let usual = model.max_length().min(DEFAULT_MAX_LENGTH);
        let preparer = Preparer::new(
            model,
            &PrepareOptions {
                max_length: Some(options.max_length.unwrap_or(usual)),
                too_long: options.too_long,
                stride: None,
                bos: options.bos,
                token_ids: texts.has_token_ids(),
            },
        )?;
        let (_, mut reading) = texts.open(0, &Marks::default())?;
        let mut marks = Marks::default();
        let mut total = 0;
        loop {
            reading.offer(total, &mut marks);
            match reading.next() {
                None => break,
                Some(example) => example?,
            };
            total += 1;
        }
        if total == 0 {
            return Err(Error::NoTexts {
                path: texts.path().to_owned(),
            });
        }
        Ok(Self {
            preparer,
            answer,
            info: reading.finish()?,
            total,
            marks,
            texts,
        })
    }

    /// What the model says of them.
    #[must_use]
    pub fn answer(&self) -> Answer {
        self.answer
    }

    /// The account of the file; nothing for texts in memory.
    #[must_use]
    pub fn info(&self) -> Option<&DatasetInfo> {
        self.info.as_ref()
    }

    /// The longest sequence in tokens.
    #[must_use]
    pub fn max_length(&self) -> usize {
        self.preparer.max_length()
    }

    fn passage(&self, index: u64, line: u64, piece: Piece) -> Passage<UnlabelledItem> {
        let encoding = piece.encoding;
        let mut words: Vec<(WordPlace, usize)> = Vec::new();
        let wanted = self.answer == Answer::Words;
        for at in (0..encoding.len()).filter(|at| wanted && !encoding.special[*at]) {
            let (Some(text), Some(number)) = (encoding.sequence[at], encoding.words[at]) else {
                continue;
            };
            let (start, end) = encoding.offsets[at];
            match words.last_mut() {
                Some((last, _)) if (last.text, last.number) == (text, number) => last.end = end,
                _ => words.push((
                    WordPlace {
                        text,
                        number,
                        start,
                        end,
                    },
                    at,
                )),
            }
        }
        Passage {
            item: UnlabelledItem {
                index,
                line,
                cut: encoding.truncated,
                words,
            },
            target: None,
            sequence: LoadedModel::sequence(encoding),
        }
    }
}

impl Supply for Unlabelled {
    type Raw = (u64, Example);
    type Item = UnlabelledItem;

    fn path(&self) -> &Path {
        self.texts.path()
    }

    fn total(&self) -> u64 {
        self.total
    }

    fn open(&self, first: u64) -> Result<Units<'_, Self::Raw>, Error> {
        let (begun, reading) = self.texts.open(first, &self.marks)?;
        let numbered = (begun..).zip(reading);
        let numbered = numbered.map(|(index, example)| Ok((index, example?)));
        after(first - begun, numbered)
    }

    fn size(&self, (_, example): &Self::Raw) -> usize {
        match &example.token_ids {
            Some(ids) => ids.len(),
            // English has about four bytes a token.
            None => {
                let bytes = example.text.len() + example.pair.as_ref().map_or(0, String::len);
                (3 + bytes / 4).min(self.max_length())
            }
        }
    }

    fn line(&self, (_, example): &Self::Raw) -> u64 {
        example.line
    }

    fn prepare(
        &self,
        (index, example): Self::Raw,
    ) -> Result<Fate<Vec<Passage<UnlabelledItem>>>, Error> {
        Ok(match self.preparer.pieces(&example)? {
            Fate::LeftOut(why) => Fate::LeftOut(why),
            Fate::Studied(pieces) => {
                let passages = pieces.map(|piece| self.passage(index, example.line, piece));
                Fate::Studied(passages.collect())
            }
        })
    }
}

/// Predictions on their way: they can be saved, loaded and continued.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PredictState {
    factors: Factors,
    answer: Answer,
    classes: Vec<String>,
    counts: SequenceCounts,
    predictions: u64,
    given: Vec<u64>,
    first: Vec<Prediction>,
}

/// What a model said.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    /// What its head says.
    pub answer: Answer,
    /// Names of the classes, or of the numbers.
    pub classes: Vec<String>,
    /// What became of the texts.
    pub counts: SequenceCounts,
    /// Texts with an answer, or words.
    pub predictions: u64,
    /// How often each class was given; zeros for numbers.
    pub given: Vec<u64>,
    /// The first [`FIRST`].
    pub first: Vec<Prediction>,
}

impl PredictState {
    /// Names of the classes, or of the numbers.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Nothing said yet.
    #[must_use]
    pub fn new(model: &MaskedModel, texts: &Unlabelled) -> Self {
        let classes = names(model.model().architecture());
        Self {
            factors: model.factors().clone(),
            answer: texts.answer,
            counts: SequenceCounts::default(),
            predictions: 0,
            given: vec![0; classes.len()],
            classes,
            first: Vec::new(),
        }
    }
}

/// The names of a model's classes, or of its numbers: its config's, or `LABEL_0` and so on.
fn names(architecture: &Architecture) -> Vec<String> {
    let number = match &architecture.head {
        TaskHead::SequenceClassification { num_labels, .. }
        | TaskHead::TokenClassification { num_labels } => *num_labels,
        _ => 0,
    };
    let name = |at: usize| match architecture.labels.get(at) {
        Some(name) => name.clone(),
        None => format!("LABEL_{at}"),
    };
    (0..number).map(name).collect()
}

/// Hears what the model says.
#[derive(Debug)]
pub struct PredictLens {
    factors: Factors,
    answer: Answer,
    classes: usize,
}

/// What the model says of one text.
#[derive(Debug, Default)]
pub struct Said {
    tokens: usize,
    predictions: Vec<Prediction>,
}

impl PredictLens {
    fn prediction(
        &self,
        item: &UnlabelledItem,
        (word, tokens): (Option<WordPlace>, usize),
        logits: &[f32],
    ) -> Result<Prediction, Error> {
        if let Some(value) = logits.iter().find(|value| !value.is_finite()) {
            return Err(Error::NotFinite {
                what: "logit".to_owned(),
                value: f64::from(*value),
            });
        }
        let probabilities = self.answer.probabilities(logits);
        Ok(Prediction {
            index: item.index,
            line: item.line,
            word,
            classes: self.answer.classes(logits, &probabilities)?,
            probabilities,
            logits: logits.to_vec(),
            tokens,
            cut: item.cut,
        })
    }
}

impl Lens for PredictLens {
    type Item = UnlabelledItem;
    type Part = Said;

    fn wants(&self) -> Wants<'_> {
        Wants {
            outputs: true,
            token_scores: self.answer == Answer::Words,
            masking: self.factors.get(),
            ..Wants::default()
        }
    }

    fn begin(&self, _: &UnlabelledItem, sequence: &Sequence) -> Result<Said, Error> {
        Ok(Said {
            tokens: sequence.ids.len(),
            predictions: Vec::new(),
        })
    }

    fn output(
        &self,
        item: &UnlabelledItem,
        part: &mut Said,
        _: Option<HeadId>,
        output: &SequenceOutput<f32>,
    ) -> Result<(), Error> {
        if self.answer != Answer::Words {
            let said = self.prediction(item, (None, part.tokens), &output.logits)?;
            part.predictions.push(said);
            return Ok(());
        }
        let scores = output.token_logits.as_deref().unwrap_or_default();
        for (word, token) in &item.words {
            let own = token * self.classes..(token + 1) * self.classes;
            let own = scores.get(own).unwrap_or_default();
            let said = self.prediction(item, (Some(*word), part.tokens), own)?;
            part.predictions.push(said);
        }
        Ok(())
    }
}

impl Study for PredictState {
    type Lens = PredictLens;
    type Found = Predictions;

    const PURPOSE: Purpose = Purpose::Prediction;

    fn lens(&self) -> PredictLens {
        PredictLens {
            factors: self.factors.clone(),
            answer: self.answer,
            classes: self.classes.len(),
        }
    }

    fn empty(&self) -> Self {
        Self {
            factors: self.factors.clone(),
            answer: self.answer,
            classes: self.classes.clone(),
            counts: SequenceCounts::default(),
            predictions: 0,
            given: vec![0; self.classes.len()],
            first: Vec::new(),
        }
    }

    fn agrees(&self, fresh: &Self) -> Result<(), Error> {
        self.factors.agrees(&fresh.factors)?;
        if (self.answer, &self.classes) != (fresh.answer, &fresh.classes) {
            let say = |of: &Self| format!("{:?} {}", of.answer, of.classes.join(", "));
            return Error::state_mismatch("what the model says", say(self), say(fresh));
        }
        self.counts.check()?;
        let classes = self.classes.len();
        let fits = |of: &Prediction| {
            of.classes.iter().all(|class| *class < classes)
                && (of.probabilities.len() == classes || self.answer == Answer::Value)
                && of.logits.len() == classes
        };
        Error::unless_possible(
            self.given.len() == classes
                && self.given.iter().all(|given| *given <= self.predictions)
                && self.first.len() as u64 == self.predictions.min(FIRST as u64)
                && self.first.iter().all(fits),
            "predictions",
            "no texts give their counts",
        )
    }

    fn covers(&self, units: Range<u64>) -> Result<(), Error> {
        self.counts.covers(&units)
    }

    fn add(&mut self, fate: Fate<Contribution<'_, Self>>) -> Result<(), Error> {
        let found = match fate {
            Fate::Studied(found) => found,
            Fate::LeftOut(why) => {
                self.counts.leave_out(why);
                return Ok(());
            }
        };
        self.counts.study(found.tokens, found.item.cut);
        for said in found.part.predictions {
            self.predictions += 1;
            for class in &said.classes {
                self.given[*class] += 1;
            }
            if self.first.len() < FIRST {
                self.first.push(said);
            }
        }
        Ok(())
    }

    fn tell(found: &Contribution<'_, Self>, watch: &mut dyn Watch) {
        for said in &found.part.predictions {
            watch.prediction(said);
        }
    }

    fn merge(&mut self, next: Self) -> Result<(), Error> {
        if (self.answer, &self.classes) != (next.answer, &next.classes) {
            return Err(Error::Merge {
                reason: "they are of models with different classes",
            });
        }
        self.counts = self.counts.and(next.counts);
        self.predictions += next.predictions;
        for (given, more) in self.given.iter_mut().zip(&next.given) {
            *given += more;
        }
        let room = FIRST.saturating_sub(self.first.len());
        self.first.extend(next.first.into_iter().take(room));
        Ok(())
    }

    fn finish(&self) -> Result<Predictions, Error> {
        Ok(Predictions {
            answer: self.answer,
            classes: self.classes.clone(),
            counts: self.counts,
            predictions: self.predictions,
            given: self.given.clone(),
            first: self.first.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// torch 2.9.1: `torch.softmax(torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64), 0)` and `torch.sigmoid`.
    #[test]
    fn probabilities_are_those_of_torch() {
        let near = |found: Vec<f64>, expected: [f64; 3]| {
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-15, "{found} {expected}");
            }
        };
        let logits = [2.0, -1.0, 0.5];
        near(
            Answer::Class.probabilities(&logits),
            [0.7855970345892759, 0.039112573270687456, 0.1752903921400367],
        );
        near(
            Answer::Labels.probabilities(&logits),
            [0.8807970779778823, 0.2689414213699951, 0.6224593312018546],
        );
        assert_eq!(Answer::Value.probabilities(&logits), [0.0; 0]);
        // However large the logits are.
        near(
            Answer::Words.probabilities(&[1e30, -1e30, 1e30]),
            [0.5, 0.0, 0.5],
        );
        let labels = Answer::Labels.probabilities(&[1e30, -1e30, 0.0]);
        assert_eq!(labels, [1.0, 0.0, 0.5]);
        assert_eq!(
            Answer::Labels
                .classes(&[1e30, -1e30, 0.0], &labels)
                .unwrap(),
            [0, 2]
        );
        // The first of equals.
        assert_eq!(
            Answer::Class.classes(&[0.5, 0.5], &[0.5, 0.5]).unwrap(),
            [0]
        );
    }
}

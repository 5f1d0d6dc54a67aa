//! Questions about texts: windows of a text behind its question.

use std::ops::Range;
use std::sync::Arc;

use bertology_data::{Answers, Example, Source};
use bertology_model::Target;
use bertology_tokenizer::Encoding;

use super::{Corpus, CorpusOptions, ExampleItem, Gold, Scoring, first_reading};
use crate::input::prepare::{Piece, Preparer};
use crate::input::supply::{Fate, Passage};
use crate::input::windows::TooLong;
use crate::objective::Objective;
use crate::{Error, LoadedModel};

/// Longest sequence of a question and its text, as `run_qa.py`.
pub const DEFAULT_QUESTION_LENGTH: usize = 384;

/// Tokens of a text that two windows share (`doc_stride`), as `run_qa.py`.
pub const DEFAULT_SHARED: usize = 128;

/// How questions are scored.
#[derive(Debug, Clone)]
pub(super) struct Questions {
    pub(super) shared: usize,
    pub(super) may_lack: bool,
    pub(super) misplaced: u64,
}

/// A text and how people answered a question about it.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) text: String,
    pub(crate) answers: Answers,
}

/// A window of a text.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) question: Arc<Question>,
    /// The characters of the text that each token stands for; nothing for tokens that are not of it.
    pub(crate) places: Vec<Option<(usize, usize)>>,
    /// Whether it is the text's last.
    pub(crate) last: bool,
    pub(crate) may_lack: bool,
}

/// Why no question is left out or cut.
const WHOLE: &str = "an answer may stand anywhere in a text; read texts that are too long through windows, or make \
                     them an error";

impl Corpus {
    pub(super) fn asked(
        model: &LoadedModel,
        source: Source,
        options: &CorpusOptions,
    ) -> Result<Self, Error> {
        Self::check_head(model, &source)?;
        let too_long = options.too_long.unwrap_or(TooLong::Window);
        if let TooLong::Skip | TooLong::Cut = too_long {
            return too_long.refused(WHOLE);
        }
        if let Some(stride) = options.stride {
            return Err(Error::StrideOfQuestions { stride });
        }
        let shared = options.shared.unwrap_or(DEFAULT_SHARED);
        let max_length = options.max_length;
        let max_length = max_length.unwrap_or(model.max_length().min(DEFAULT_QUESTION_LENGTH));
        let preparer = Preparer::questions(model, max_length, too_long, shared)?;
        let mut questions = Questions {
            shared,
            may_lack: false,
            misplaced: 0,
        };
        let (info, marks) = first_reading(&source, &preparer, |example| {
            if let Some(answers) = &example.answers {
                questions.may_lack |= answers.may_lack || answers.given.is_empty();
                let text = example.pair.as_deref().unwrap_or_default();
                questions.misplaced += misplaced(text, answers);
            }
            Ok(())
        })?;
        Ok(Self {
            examples: info.examples,
            info,
            marks,
            preparer,
            source,
            objective: Objective::Answers,
            scoring: Scoring::Answers(questions),
        })
    }

    /// The windows of a question's text, each with the span of the first answer in it, or else its first token.
    pub(super) fn question_passages(
        &self,
        questions: &Questions,
        index: u64,
        mut example: Example,
    ) -> Result<Fate<Vec<Passage<ExampleItem>>>, Error> {
        let pieces = match self.preparer.pieces(&example)? {
            Fate::Studied(pieces) => pieces,
            Fate::LeftOut(why) => return Ok(Fate::LeftOut(why)),
        };
        let question = Arc::new(Question {
            text: example.pair.take().unwrap_or_default(),
            answers: example.answers.take().unwrap_or_default(),
        });
        let pieces: Vec<Piece> = pieces.collect();
        let windows = pieces.len();
        let passage = |piece: Piece| {
            let (start, end) = span(&piece.encoding, &question.answers);
            Passage {
                item: ExampleItem {
                    gold: Gold::Answer(Asked {
                        question: Arc::clone(&question),
                        places: places(&piece.encoding),
                        last: piece.number + 1 == windows,
                        may_lack: questions.may_lack,
                    }),
                    ..ExampleItem::of(index, &example, &piece)
                },
                sequence: LoadedModel::sequence(piece.encoding),
                target: Some(Target::Span { start, end }),
            }
        };
        Ok(Fate::Studied(pieces.into_iter().map(passage).collect()))
    }
}

/// Answers whose text is not what stands at their place.
fn misplaced(text: &str, answers: &Answers) -> u64 {
    let wrong = answers.given.iter().filter(|answer| {
        let there = text.chars().skip(answer.start);
        !there
            .take(answer.text.chars().count())
            .eq(answer.text.chars())
    });
    wrong.count() as u64
}

/// The characters of the text that each token stands for.
fn places(encoding: &Encoding) -> Vec<Option<(usize, usize)>> {
    let tokens = encoding.sequence.iter().zip(&encoding.offsets);
    tokens
        .map(|(side, place)| (*side == Some(1)).then_some(*place))
        .collect()
}

/// The first and the last token of the first answer, if all of it is in this window; the first token of the sequence
/// twice if not.
fn span(encoding: &Encoding, answers: &Answers) -> (usize, usize) {
    let side = |at: &usize| encoding.sequence[*at] == Some(1);
    let text: Range<usize> = match (
        (0..encoding.len()).find(side),
        (0..encoding.len()).rfind(side),
    ) {
        (Some(first), Some(last)) => first..last + 1,
        _ => return (0, 0),
    };
    let Some(answer) = answers.given.first() else {
        return (0, 0);
    };
    let (from, to) = (answer.start, answer.start + answer.text.chars().count());
    let offsets = &encoding.offsets;
    if offsets[text.start].0 > from || offsets[text.end - 1].1 < to {
        return (0, 0);
    }
    let begun = text.clone().take_while(|at| offsets[*at].0 <= from);
    let ended = text.clone().rev().take_while(|at| offsets[*at].1 >= to);
    (
        begun.last().unwrap_or(text.start),
        ended.last().unwrap_or(text.end - 1),
    )
}

//! Answers to questions: the span that a model names, and how it agrees with those that people gave.
//!
//! Sources: `utils_qa.postprocess_qa_predictions` of transformers' examples (with its defaults: the 20 best starts
//! and ends, at most 30 tokens, threshold 0), and the evaluation scripts of SQuAD 1.1 and 2.0.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::example::Answers;

/// So many starts and ends are tried.
const N_BEST: usize = 20;

/// Most tokens of an answer.
const MAX_ANSWER: usize = 30;

/// What a model answers, seen from some windows of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpanGuess {
    /// The lowest score of no answer: both logits of the first token.
    none: f32,
    /// The best span.
    best: Option<Span>,
    /// The best span with a character in it.
    best_written: Option<Span>,
}

/// Characters of a text, and the logits of their first and last token.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Span {
    start: usize,
    end: usize,
    logits: (f32, f32),
}

impl Span {
    fn score(&self) -> f32 {
        self.logits.0 + self.logits.1
    }
}

/// The better one; the first of equals.
fn better(first: Option<Span>, second: Option<Span>) -> Option<Span> {
    match (first, second) {
        (Some(a), Some(b)) if b.score() > a.score() => second,
        (None, second) => second,
        (first, _) => first,
    }
}

impl SpanGuess {
    /// Of one window. `logits [tokens, 2]` are those of starts and ends, `places` says which characters of the text
    /// each token stands for; nothing for those of the question and special ones.
    #[must_use]
    pub fn of(logits: &[f32], places: &[Option<(usize, usize)>]) -> Self {
        let side = |side: usize| {
            logits
                .iter()
                .skip(side)
                .step_by(2)
                .copied()
                .collect::<Vec<f32>>()
        };
        let (starts, ends) = (side(0), side(1));
        let first = |logits: &[f32]| logits.first().copied().unwrap_or(0.0);
        let mut guess = Self {
            none: first(&starts) + first(&ends),
            best: None,
            best_written: None,
        };
        let place = |at: usize| places.get(at).copied().flatten();
        let best_ends = highest(&ends);
        for start in highest(&starts) {
            for end in best_ends.iter().copied() {
                let (Some((from, _)), Some((_, to))) = (place(start), place(end)) else {
                    continue;
                };
                if end < start || end - start >= MAX_ANSWER {
                    continue;
                }
                let logits = starts.get(start).zip(ends.get(end)).map(|(a, b)| (*a, *b));
                let span = logits.map(|logits| Span {
                    start: from,
                    end: to,
                    logits,
                });
                guess.best = better(guess.best, span);
                guess.best_written = better(guess.best_written, span.filter(|_| to > from));
            }
        }
        guess
    }

    /// With the windows that follow.
    #[must_use]
    pub fn and(self, next: Self) -> Self {
        Self {
            none: if self.none > next.none {
                next.none
            } else {
                self.none
            },
            best: better(self.best, next.best),
            best_written: better(self.best_written, next.best_written),
        }
    }

    /// The answer: a piece of `text`, or nothing where `may_lack` says that there may be none. Where the model names
    /// no span at all, the word that the source puts there.
    #[must_use]
    pub fn answer(&self, text: &str, may_lack: bool) -> String {
        let piece = |span: Span| {
            let characters = text.chars().skip(span.start);
            characters
                .take(span.end.saturating_sub(span.start))
                .collect()
        };
        let named = if may_lack {
            self.best_written
        } else {
            self.best
        };
        let (start, end) = named.map_or((0.0, 0.0), |span| span.logits);
        if may_lack && self.none - start - end > 0.0 {
            return String::new();
        }
        named.map_or_else(|| "empty".to_owned(), piece)
    }
}

/// The places of the highest logits, the highest first.
fn highest(logits: &[f32]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..logits.len()).collect();
    let of = |at: usize| logits.get(at).copied().unwrap_or(f32::NEG_INFINITY);
    places.sort_by(|a, b| of(*b).total_cmp(&of(*a)).then(b.cmp(a)));
    places.truncate(N_BEST);
    places
}

/// How an answer agrees with the given one that it agrees with best.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AnswerScore {
    /// The same words.
    pub exact: bool,
    /// F1 over words.
    pub f1: f64,
}

impl AnswerScore {
    /// Compares an answer with those that people gave, both without case, punctuation and articles. `may_lack`: by
    /// the rules of SQuAD 2.0, where no answer is an answer.
    #[must_use]
    pub fn of(answer: &str, given: &Answers, may_lack: bool) -> Self {
        let mut wanted: Vec<Vec<String>> = given
            .given
            .iter()
            .map(|answer| words(&answer.text))
            .collect();
        if may_lack {
            wanted.retain(|words| !words.is_empty());
            if wanted.is_empty() {
                wanted.push(Vec::new());
            }
        }
        let found = words(answer);
        let mut best = Self {
            exact: false,
            f1: 0.0,
        };
        for wanted in &wanted {
            best.exact |= *wanted == found;
            best.f1 = best.f1.max(overlap(wanted, &found, may_lack));
        }
        best
    }
}

/// F1 over words.
fn overlap(wanted: &[String], found: &[String], may_lack: bool) -> f64 {
    if may_lack && (wanted.is_empty() || found.is_empty()) {
        return f64::from(u8::from(wanted.is_empty() && found.is_empty()));
    }
    let mut left: HashMap<&str, usize> = HashMap::new();
    for word in wanted {
        *left.entry(word).or_default() += 1;
    }
    let mut same = 0;
    for word in found {
        if let Some(count) = left.get_mut(word.as_str()).filter(|count| **count > 0) {
            *count -= 1;
            same += 1;
        }
    }
    if same == 0 {
        return 0.0;
    }
    let (precision, recall) = (
        f64::from(same) / found.len() as f64,
        f64::from(same) / wanted.len() as f64,
    );
    2.0 * precision * recall / (precision + recall)
}

/// The words that are compared: `normalize_answer` of SQuAD's scripts, split.
fn words(answer: &str) -> Vec<String> {
    let lower = answer.to_lowercase();
    let mut plain = String::new();
    let mut word = String::new();
    for letter in lower
        .chars()
        .filter(|letter| !letter.is_ascii_punctuation())
        .chain([' '])
    {
        if letter.is_alphanumeric() {
            word.push(letter);
            continue;
        }
        if ["a", "an", "the"].contains(&word.as_str()) {
            plain.push(' ');
        } else {
            plain.push_str(&word);
        }
        word.clear();
        plain.push(letter);
    }
    // As Python's `split`.
    let blank = |letter: char| letter.is_whitespace() || ('\x1c'..='\x1f').contains(&letter);
    let words = plain.split(blank).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

/// Scores of questions, which can be added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct AnswerSums {
    /// Questions with an answer.
    with: Sums,
    /// Questions that have none.
    without: Sums,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Sums {
    questions: u64,
    exact: u64,
    f1: f64,
}

impl Sums {
    fn add(&mut self, more: Self) {
        self.questions += more.questions;
        self.exact += more.exact;
        self.f1 += more.f1;
    }

    fn possible(&self) -> bool {
        self.exact <= self.questions && (0.0..=self.questions as f64).contains(&self.f1)
    }

    /// In percent; not a number if there was no question.
    fn shares(self) -> [f64; 2] {
        let all = self.questions as f64;
        [100.0 * self.exact as f64 / all, 100.0 * self.f1 / all]
    }
}

impl AnswerSums {
    /// What [`AnswerSums::metrics`] gives where every question has an answer, as SQuAD's script names it.
    pub const METRICS: &'static [&'static str] = &["exact_match", "f1"];

    /// What it gives where questions may have none.
    pub const METRICS_WITH_NONE: &'static [&'static str] = &[
        "exact_match",
        "f1",
        "HasAns_exact",
        "HasAns_f1",
        "NoAns_exact",
        "NoAns_f1",
    ];

    /// One more question; `answered`: it has an answer.
    pub fn observe(&mut self, score: AnswerScore, answered: bool) {
        let sums = if answered {
            &mut self.with
        } else {
            &mut self.without
        };
        sums.add(Sums {
            questions: 1,
            exact: u64::from(score.exact),
            f1: score.f1,
        });
    }

    /// Adds those of more questions.
    pub fn add(&mut self, more: Self) {
        self.with.add(more.with);
        self.without.add(more.without);
    }

    /// How many questions there were.
    #[must_use]
    pub fn questions(&self) -> u64 {
        self.with.questions.saturating_add(self.without.questions)
    }

    /// Whether questions can give these sums.
    #[must_use]
    pub fn possible(&self) -> bool {
        self.with.possible() && self.without.possible()
    }

    /// Exact match and F1 in percent: of all questions, of those with an answer, of those without.
    #[must_use]
    pub fn metrics(&self) -> [f64; 6] {
        let mut all = self.with;
        all.add(self.without);
        let [[a, b], [c, d], [e, f]] = [all, self.with, self.without].map(Sums::shares);
        [a, b, c, d, e, f]
    }
}

//! The counters of a treebank.

use std::ops::Range;

use bertology_model::HeadId;
use serde::{Deserialize, Serialize};

use super::arcs::{Question, Rows};
use super::study::{DIRECTIONS, SyntaxLens, SyntaxPart};
use super::{Direction, SyntaxOptions};
use crate::Error;
use crate::drive::{Contribution, Study};
use crate::input::account::MOST;
use crate::input::supply::{Fate, LeftOut};
use crate::input::treebank::{SentenceItem, SentencePassages};
use crate::studies::proportion::{Proportion, add_all, within};
use crate::watch::Purpose;

/// What was read, and what was made of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Sentences done, those left out included.
    pub sentences: u64,
    /// Sentences left out because they have more tokens than may be.
    pub too_long: u64,
    /// Sentences left out because they have no token.
    pub empty: u64,
    /// Tokens of the sentences studied, special ones included.
    pub tokens: u64,
    /// Their words.
    pub words: u64,
    /// Words without any token: no head can name them or be asked for them.
    pub without_tokens: u64,
    /// Tokens with characters of two words, given to the one that has more of them (if equal, the left one).
    pub straddling: u64,
    /// Words that have their tokens in common with others of a multiword token.
    pub shared: u64,
    /// Arcs that are not counted because both of their words have the same tokens.
    pub internal: u64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.sentences += other.sentences;
        self.too_long += other.too_long;
        self.empty += other.empty;
        self.tokens += other.tokens;
        self.words += other.words;
        self.without_tokens += other.without_tokens;
        self.straddling += other.straddling;
        self.shared += other.shared;
        self.internal += other.internal;
    }

    /// Sentences that were studied.
    #[must_use]
    pub fn studied(&self) -> u64 {
        self.sentences - self.too_long - self.empty
    }
}

/// How often every head is right, by relation; also the state of a study that is not finished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyntaxCounts {
    options: SyntaxOptions,
    rows: Rows,
    layers: usize,
    heads: usize,
    /// Layer and head of those that the model has.
    live: Vec<(usize, usize)>,
    causal: bool,
    tally: Tally,
    /// `[rows]`
    total: Vec<u64>,
    /// `[directions, rows]`
    reachable: Vec<u64>,
    /// `[directions, layers · heads, rows]`
    correct: Vec<u64>,
    /// `[directions, layers · heads]`
    abstained: Vec<u64>,
    /// `[offsets, rows]`
    baselines: Vec<u64>,
}

impl SyntaxCounts {
    /// Nothing counted yet of a treebank.
    #[must_use]
    pub fn new(passages: &SentencePassages, options: &SyntaxOptions) -> Self {
        let model = passages.model();
        let arch = model.architecture();
        let rows = Rows::new(passages.relations(), options);
        Self::of_shape(
            *options,
            rows,
            (arch.num_layers, arch.num_heads),
            model.heads(),
            arch.causal,
        )
    }

    /// Nothing counted yet: for maps that come from elsewhere. `shape` is layers and heads of the unpruned model,
    /// `causal` whether no word sees those behind it.
    #[must_use]
    pub fn of_shape(
        options: SyntaxOptions,
        rows: Rows,
        shape: (usize, usize),
        live: &[HeadId],
        causal: bool,
    ) -> Self {
        let (layers, heads) = shape;
        let count = rows.names().len();
        Self {
            total: vec![0; count],
            reachable: vec![0; DIRECTIONS * count],
            correct: vec![0; DIRECTIONS * layers * heads * count],
            abstained: vec![0; DIRECTIONS * layers * heads],
            baselines: vec![0; options.all_offsets().len() * count],
            tally: Tally::default(),
            options,
            rows,
            layers,
            heads,
            live: live.iter().map(|head| (head.layer, head.head)).collect(),
            causal,
        }
    }

    /// Refuses counts that no treebank gives.
    fn check(&self) -> Result<(), Error> {
        let Tally {
            sentences,
            too_long,
            empty,
            tokens,
            words,
            without_tokens,
            straddling,
            shared,
            internal,
        } = self.tally;
        let left_out = too_long.checked_add(empty);
        let counts = [
            sentences,
            tokens,
            words,
            without_tokens,
            straddling,
            shared,
            internal,
        ];
        Error::unless_possible(
            counts.iter().all(|count| *count <= MOST)
                && left_out.is_some_and(|left_out| left_out <= sentences),
            "tally",
            "more sentences are left out than there are",
        )?;
        // `all` and `all without punct` ask once a word, other rows at most as often.
        let most = self.total.iter().max().copied().unwrap_or_default();
        Error::unless_possible(
            within(&self.reachable, &self.total)
                && within(&self.correct, &self.total)
                && within(&self.baselines, &self.total)
                && self.abstained.iter().all(|count| *count <= most),
            "correct",
            "a head or a baseline is right more often than it was asked",
        )
    }

    fn same_model(&self, other: &Self) -> bool {
        (self.layers, self.heads, self.causal) == (other.layers, other.heads, other.causal)
            && self.live == other.live
    }

    fn same_sizes(&self, other: &Self) -> bool {
        let sizes = |counts: &Self| {
            [
                &counts.total,
                &counts.reachable,
                &counts.correct,
                &counts.abstained,
                &counts.baselines,
            ]
            .map(Vec::len)
        };
        sizes(self) == sizes(other)
    }

    fn shape(&self) -> String {
        let (layers, heads, live) = (self.layers, self.heads, self.live.len());
        let causal = if self.causal { "causal, " } else { "" };
        format!("{causal}{layers} layers of {heads} heads, {live} of them present")
    }

    fn count_words(&mut self, item: &SentenceItem, part: &SyntaxPart) {
        let tally = &mut self.tally;
        tally.words += item.sentence.len() as u64;
        tally.without_tokens += item.without_tokens as u64;
        tally.straddling += item.straddling as u64;
        tally.shared += item.shared.iter().flatten().count() as u64;
        tally.internal += part.questions.internal;
    }

    fn count_answers(&mut self, part: &SyntaxPart) {
        let questions = &part.questions.list;
        if questions.is_empty() {
            return;
        }
        let (count, all) = (self.rows.names().len(), self.layers * self.heads);
        for (cell, right) in part.right.chunks_exact(questions.len()).enumerate() {
            let (head, direction) = (cell / DIRECTIONS, cell % DIRECTIONS);
            let place = direction * all + head;
            self.abstained[place] += u64::from(part.abstained[cell]);
            let row = &mut self.correct[place * count..(place + 1) * count];
            for (right, question) in right.iter().zip(questions) {
                if *right {
                    for at in rows_of(question) {
                        row[at] += 1;
                    }
                }
            }
        }
    }

    /// What can be known of a question without any model.
    fn count_question(&mut self, question: &Question, words: usize) {
        let count = self.rows.names().len();
        for row in rows_of(question) {
            self.total[row] += 1;
        }
        for (at, direction) in Direction::ALL.into_iter().enumerate() {
            let reached = question
                .head
                .is_some_and(|head| !self.causal || direction.reaches(question.asked, head));
            if reached {
                for row in rows_of(question) {
                    self.reachable[at * count + row] += 1;
                }
            }
        }
        for (at, offset) in self.options.all_offsets().into_iter().enumerate() {
            if baseline(question.asked, offset, words) == question.head {
                for row in rows_of(question) {
                    self.baselines[at * count + row] += 1;
                }
            }
        }
    }

    /// What is counted, and how.
    #[must_use]
    pub fn options(&self) -> &SyntaxOptions {
        &self.options
    }

    /// The rows.
    #[must_use]
    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// What was read.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Whether no word sees those behind it.
    #[must_use]
    pub fn is_causal(&self) -> bool {
        self.causal
    }

    /// Heads that the model has.
    #[must_use]
    pub fn live(&self) -> Vec<HeadId> {
        let live = self.live.iter();
        live.map(|&(layer, head)| HeadId { layer, head }).collect()
    }

    /// The words of a row.
    #[must_use]
    pub fn total(&self, row: usize) -> u64 {
        self.total[row]
    }

    /// Those of them whose head a direction can name: all but roots; in causal models only those on the side that
    /// is seen.
    #[must_use]
    pub fn reachable(&self, direction: Direction, row: usize) -> u64 {
        self.reachable[direction as usize * self.total.len() + row]
    }

    /// How often a head is right.
    #[must_use]
    pub fn score(&self, direction: Direction, head: HeadId, row: usize) -> Proportion {
        let place = self.place(direction, head);
        Proportion {
            part: self.correct[place * self.total.len() + row],
            whole: self.total[row],
        }
    }

    /// For how many words a head names nobody.
    #[must_use]
    pub fn abstained(&self, direction: Direction, head: HeadId) -> u64 {
        self.abstained[self.place(direction, head)]
    }

    /// How often the word at an offset is the head; none for an offset that is not counted.
    #[must_use]
    pub fn offset(&self, offset: i64, row: usize) -> Option<Proportion> {
        let offsets = self.options.all_offsets();
        let at = offsets.iter().position(|other| *other == offset)?;
        Some(Proportion {
            part: self.baselines[at * self.total.len() + row],
            whole: self.total[row],
        })
    }

    /// Right answers of all heads, `[directions, layers, heads, rows]`, 0 for heads that are pruned away.
    #[must_use]
    pub fn all_correct(&self) -> ([usize; 4], &[u64]) {
        let shape = [DIRECTIONS, self.layers, self.heads, self.total.len()];
        (shape, &self.correct)
    }

    fn place(&self, direction: Direction, head: HeadId) -> usize {
        (direction as usize * self.layers + head.layer) * self.heads + head.head
    }
}

impl Study for SyntaxCounts {
    type Lens = SyntaxLens;
    type Found = Self;

    const PURPOSE: Purpose = Purpose::Attention;

    fn lens(&self) -> SyntaxLens {
        SyntaxLens::new(self.options, self.rows.clone(), self.layers, self.heads)
    }

    fn empty(&self) -> Self {
        let (options, rows) = (self.options, self.rows.clone());
        let shape = (self.layers, self.heads);
        Self::of_shape(options, rows, shape, &self.live(), self.causal)
    }

    fn agrees(&self, fresh: &Self) -> Result<(), Error> {
        let differs = if fresh.rows != self.rows {
            let say = |counts: &Self| format!("{:?}", counts.rows);
            Some(("the treebank", say(self), say(fresh)))
        } else if fresh.options != self.options {
            let say = |counts: &Self| format!("{:?}", counts.options);
            Some(("the options", say(self), say(fresh)))
        } else if !fresh.same_model(self) || !fresh.same_sizes(self) {
            Some(("the model", self.shape(), fresh.shape()))
        } else {
            None
        };
        match differs {
            None => self.check(),
            Some((what, saved, requested)) => Error::state_mismatch(what, saved, requested),
        }
    }

    fn covers(&self, units: Range<u64>) -> Result<(), Error> {
        Error::unless_possible(
            self.tally.sentences == units.end.saturating_sub(units.start),
            "tally",
            "there are not as many sentences as are done",
        )
    }

    fn add(&mut self, fate: Fate<Contribution<'_, Self>>) -> Result<(), Error> {
        self.tally.sentences += 1;
        match fate {
            Fate::LeftOut(LeftOut::TooLong { .. }) => self.tally.too_long += 1,
            Fate::LeftOut(_) => self.tally.empty += 1,
            Fate::Studied(found) => {
                self.tally.tokens += found.tokens as u64;
                self.count_words(found.item, &found.part);
                self.count_answers(&found.part);
                for question in &found.part.questions.list {
                    self.count_question(question, found.item.sentence.len());
                }
            }
        }
        Ok(())
    }

    fn merge(&mut self, next: Self) -> Result<(), Error> {
        next.agrees(self)?;
        self.tally.add(&next.tally);
        for (mine, theirs) in [
            (&mut self.total, &next.total),
            (&mut self.reachable, &next.reachable),
            (&mut self.correct, &next.correct),
            (&mut self.abstained, &next.abstained),
            (&mut self.baselines, &next.baselines),
        ] {
            add_all(mine, theirs);
        }
        Ok(())
    }

    fn finish(&self) -> Result<Self, Error> {
        Ok(self.clone())
    }
}

/// The rows in which a question counts.
fn rows_of(question: &Question) -> impl Iterator<Item = usize> {
    let (all, without_punct) = question.counts;
    let overall = [all.then_some(0), without_punct.then_some(1)];
    overall.into_iter().flatten().chain([question.row])
}

/// The word at an offset, none for the root: beyond the end it is the last word, before the beginning the root.
fn baseline(word: usize, offset: i64, words: usize) -> Option<usize> {
    let place = word as i64 + offset;
    let last = words as i64 - 1;
    usize::try_from(place.min(last)).ok()
}

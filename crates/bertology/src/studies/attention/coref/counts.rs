//! The counters of a treebank's documents.

use std::ops::Range;

use bertology_model::HeadId;
use serde::{Deserialize, Serialize};

use super::study::{Answer, CorefLens, READINGS};
use super::{AntecedentRule, Candidates, Category};
use crate::Error;
use crate::drive::{Contribution, Study};
use crate::input::documents::DocumentPassages;
use crate::input::supply::{Fate, LeftOut};
use crate::input::words::RowMode;
use crate::studies::proportion::{Proportion, add_all, within};
use crate::watch::Purpose;

const CATEGORIES: usize = Category::ALL.len();
const RULES: usize = AntecedentRule::ALL.len();

/// What was read, and what was made of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorefTally {
    /// Documents done, those without a token included.
    pub documents: u64,
    /// Documents without a token.
    pub empty: u64,
    /// Documents left out because they have more tokens than may be.
    #[serde(default)]
    pub too_long: u64,
    /// Documents of which only the beginning fits.
    pub cut: u64,
    /// Words beyond the windows.
    pub words_beyond: u64,
    /// Words in the windows.
    pub words: u64,
    /// Tokens of the windows, special ones included.
    pub tokens: u64,
    /// Words of the windows without any token.
    pub without_tokens: u64,
    /// Tokens with characters of two words.
    pub straddling: u64,
    /// Mentions in the windows, one a head word.
    pub mentions: u64,
    /// Mentions that have the head word of a longer one.
    pub same_head: u64,
    /// Mentions that are not wholly in a window.
    pub outside: u64,
    /// Mentions in the windows that have no antecedent there and are not scored: the first of their entity.
    pub first: u64,
}

/// How often every head finds an antecedent; also the state of a study that is not finished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorefCounts {
    row_mode: RowMode,
    layers: usize,
    heads: usize,
    /// Layer and head of those that the model has.
    live: Vec<(usize, usize)>,
    tally: CorefTally,
    /// `[categories]`
    total: Vec<u64>,
    /// `[readings, layers · heads, categories]`
    correct: Vec<u64>,
    /// `[readings, layers · heads]`
    abstained: Vec<u64>,
    /// `[rules, categories]`
    rules: Vec<u64>,
}

impl CorefCounts {
    /// Nothing counted yet of a treebank.
    #[must_use]
    pub fn new(passages: &DocumentPassages, rows: RowMode) -> Self {
        let model = passages.model();
        let arch = model.architecture();
        Self::of_shape(rows, (arch.num_layers, arch.num_heads), model.heads())
    }

    /// Nothing counted yet: for maps that come from elsewhere. `shape` is layers and heads of the unpruned model.
    #[must_use]
    pub fn of_shape(rows: RowMode, shape: (usize, usize), live: &[HeadId]) -> Self {
        let (layers, heads) = shape;
        Self {
            row_mode: rows,
            layers,
            heads,
            live: live.iter().map(|head| (head.layer, head.head)).collect(),
            tally: CorefTally::default(),
            total: vec![0; CATEGORIES],
            correct: vec![0; READINGS * layers * heads * CATEGORIES],
            abstained: vec![0; READINGS * layers * heads],
            rules: vec![0; RULES * CATEGORIES],
        }
    }

    /// Refuses counts that no treebank gives.
    fn check(&self) -> Result<(), Error> {
        let all = self.total(Category::All);
        Error::unless_possible(
            within(&self.correct, &self.total)
                && within(&self.rules, &self.total)
                && self.abstained.iter().all(|count| *count <= all),
            "correct",
            "a head or a rule is right more often than it was asked",
        )
    }

    fn shape(&self) -> String {
        let (layers, heads, live) = (self.layers, self.heads, self.live.len());
        format!("{layers} layers of {heads} heads, {live} of them present")
    }

    /// What was read.
    #[must_use]
    pub fn tally(&self) -> &CorefTally {
        &self.tally
    }

    /// What the attention from a head word of several tokens is.
    #[must_use]
    pub fn row_mode(&self) -> RowMode {
        self.row_mode
    }

    /// Heads that the model has.
    #[must_use]
    pub fn live(&self) -> Vec<HeadId> {
        let live = self.live.iter();
        live.map(|&(layer, head)| HeadId { layer, head }).collect()
    }

    /// Scored mentions.
    #[must_use]
    pub fn total(&self, category: Category) -> u64 {
        self.total[category as usize]
    }

    /// How often a head finds an antecedent.
    #[must_use]
    pub fn score(&self, candidates: Candidates, head: HeadId, category: Category) -> Proportion {
        Proportion {
            part: self.correct[self.place(candidates, head) * CATEGORIES + category as usize],
            whole: self.total(category),
        }
    }

    /// For how many mentions a head names no word.
    #[must_use]
    pub fn abstained(&self, candidates: Candidates, head: HeadId) -> u64 {
        self.abstained[self.place(candidates, head)]
    }

    /// How often a rule finds an antecedent.
    #[must_use]
    pub fn rule(&self, rule: AntecedentRule, category: Category) -> Proportion {
        Proportion {
            part: self.rules[rule as usize * CATEGORIES + category as usize],
            whole: self.total(category),
        }
    }

    /// The head that is right most often about mentions of any kind, the first of equals; none if the model has no heads.
    #[must_use]
    pub fn best(&self, candidates: Candidates) -> Option<HeadId> {
        let score = |head: &HeadId| self.score(candidates, *head, Category::All).part;
        // Of equals `max_by_key` takes the last.
        self.live().into_iter().rev().max_by_key(score)
    }

    fn place(&self, candidates: Candidates, head: HeadId) -> usize {
        (candidates as usize * self.layers + head.layer) * self.heads + head.head
    }
}

impl CorefTally {
    fn add(&mut self, other: &Self) {
        self.documents += other.documents;
        self.empty += other.empty;
        self.too_long += other.too_long;
        self.cut += other.cut;
        self.words_beyond += other.words_beyond;
        self.words += other.words;
        self.tokens += other.tokens;
        self.without_tokens += other.without_tokens;
        self.straddling += other.straddling;
        self.mentions += other.mentions;
        self.same_head += other.same_head;
        self.outside += other.outside;
        self.first += other.first;
    }
}

impl Study for CorefCounts {
    type Lens = CorefLens;
    type Found = Self;

    const PURPOSE: Purpose = Purpose::Attention;

    fn lens(&self) -> CorefLens {
        CorefLens::new(self.row_mode, self.layers, self.heads)
    }

    fn empty(&self) -> Self {
        Self::of_shape(self.row_mode, (self.layers, self.heads), &self.live())
    }

    fn agrees(&self, fresh: &Self) -> Result<(), Error> {
        let sizes = |counts: &Self| {
            let all = [
                &counts.total,
                &counts.correct,
                &counts.abstained,
                &counts.rules,
            ];
            all.map(Vec::len)
        };
        let model = |counts: &Self| (counts.layers, counts.heads, counts.live.clone());
        if model(self) != model(fresh) || sizes(self) != sizes(fresh) {
            return Error::state_mismatch("the model", self.shape(), fresh.shape());
        }
        if self.row_mode != fresh.row_mode {
            let say = |counts: &Self| format!("{:?}", counts.row_mode);
            return Error::state_mismatch("what attention from a word is", say(self), say(fresh));
        }
        self.check()
    }

    fn covers(&self, units: Range<u64>) -> Result<(), Error> {
        Error::unless_possible(
            self.tally.documents == units.end.saturating_sub(units.start),
            "tally",
            "there are not as many documents as are done",
        )
    }

    fn add(&mut self, fate: Fate<Contribution<'_, Self>>) -> Result<(), Error> {
        self.tally.documents += 1;
        let Contribution { item, part, tokens } = match fate {
            Fate::Studied(found) => found,
            Fate::LeftOut(LeftOut::TooLong { .. }) => {
                self.tally.too_long += 1;
                return Ok(());
            }
            Fate::LeftOut(_) => {
                self.tally.empty += 1;
                return Ok(());
            }
        };
        let tally = &mut self.tally;
        tally.cut += u64::from(item.words_beyond > 0);
        tally.words_beyond += item.words_beyond as u64;
        tally.words += item.words.len() as u64;
        tally.tokens += tokens as u64;
        tally.without_tokens += item.without_tokens as u64;
        tally.straddling += item.straddling as u64;
        tally.mentions += item.mentions.mentions.len() as u64;
        tally.same_head += item.mentions.same_head;
        tally.outside += item.mentions.outside;
        tally.first += (item.mentions.mentions.len() - part.scored.len()) as u64;
        for mention in &part.scored {
            for category in [Category::All, mention.category] {
                self.total[category as usize] += 1;
                for (at, rule) in AntecedentRule::ALL.into_iter().enumerate() {
                    let right = rule.is_right(&item.mentions, mention.mention);
                    self.rules[at * CATEGORIES + category as usize] += u64::from(right);
                }
            }
        }
        if part.scored.is_empty() {
            return Ok(());
        }
        let all = self.layers * self.heads;
        for (cell, answers) in part.answers.chunks_exact(part.scored.len()).enumerate() {
            let (head, reading) = (cell / READINGS, cell % READINGS);
            let place = reading * all + head;
            for (answer, mention) in answers.iter().zip(&part.scored) {
                match answer {
                    Answer::None => self.abstained[place] += 1,
                    Answer::Wrong => {}
                    Answer::Right => {
                        self.correct[place * CATEGORIES] += 1;
                        self.correct[place * CATEGORIES + mention.category as usize] += 1;
                    }
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
            (&mut self.correct, &next.correct),
            (&mut self.abstained, &next.abstained),
            (&mut self.rules, &next.rules),
        ] {
            add_all(mine, theirs);
        }
        Ok(())
    }

    fn finish(&self) -> Result<Self, Error> {
        Ok(self.clone())
    }
}

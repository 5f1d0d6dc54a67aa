//! Maps held against related pairs, over a whole file.

use std::ops::Range;
use std::sync::Arc;

use bertology_model::HeadId;
use serde::{Deserialize, Serialize};

use super::lens::RelationLens;
use super::regression::HeadRegression;
use super::sums::{HeadSums, Scored, Share};
use super::{RelationPassages, RelationSettings};
use crate::drive::{Contribution, Study};
use crate::input::account::{MOST, SequenceCounts};
use crate::input::supply::Fate;
use crate::watch::Purpose;
use crate::{Error, HeadTable, LoadedModel};

/// What was read, beside the texts themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelationTally {
    /// Units of the texts studied, those without tokens included.
    pub units: u64,
    /// Units that were cut off.
    pub beyond: u64,
    /// Units without a token.
    pub without_tokens: u64,
    /// Tokens with characters of two units.
    pub straddling: u64,
    /// Related pairs that were looked at, in whatever range.
    pub pairs: u64,
    /// Related pairs with a unit that was cut off, has no token or of which nothing is known.
    pub lost: u64,
}

impl RelationTally {
    fn add(&mut self, other: &Self) {
        self.units += other.units;
        self.beyond += other.beyond;
        self.without_tokens += other.without_tokens;
        self.straddling += other.straddling;
        self.pairs += other.pairs;
        self.lost += other.lost;
    }
}

/// A text with what a regression finds in it: the first of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RelationExample {
    /// The line of the record.
    pub line: u64,
    /// What the file calls it.
    pub name: Option<String>,
    /// Units.
    pub units: u64,
    /// The label: the first that occurs.
    pub label: String,
    /// Pairs that are related, both units of which take part.
    pub related: Vec<(u32, u32)>,
    /// The pairs that the regression finds most probable, with their probability: as many as there are units.
    pub strongest: Vec<(u32, u32, f64)>,
}

/// Maps held against related pairs; also the state of a study that is not finished.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Relations {
    settings: RelationSettings,
    /// Zeros; says which heads there are.
    heads: HeadTable,
    labels: Vec<String>,
    /// Names of the regressions.
    names: Vec<String>,
    #[serde(skip)]
    regressions: Arc<Vec<HeadRegression>>,
    counts: SequenceCounts,
    tally: RelationTally,
    /// Pairs of each range.
    pairs: Vec<u64>,
    /// Weight of the related ones, `[labels, ranges]`.
    related: Vec<f64>,
    /// `[labels, ranges, layers · heads]`
    sums: Vec<HeadSums>,
    /// `[regressions, labels, ranges]`
    scored: Vec<Scored>,
    example: Option<RelationExample>,
}

/// How a head follows a label in a range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeadFound {
    /// The part of attention that goes along related pairs; none for a head without any.
    pub share: Option<Share>,
    /// What of it is more than along unrelated pairs of the same texts and distances.
    pub excess: Option<Share>,
    /// The rest.
    pub scored: Scored,
}

impl Relations {
    /// Nothing seen yet.
    ///
    /// # Errors
    /// Settings that ask for nothing; a regression for another model, or of other values.
    pub fn new(
        model: &LoadedModel,
        passages: &RelationPassages,
        settings: RelationSettings,
        regressions: Vec<HeadRegression>,
    ) -> Result<Self, Error> {
        settings.check()?;
        let heads = HeadTable::zeros(model.model());
        for regression in &regressions {
            regression.check(&heads, settings.symmetric, settings.apc)?;
        }
        let (labels, ranges) = (passages.labels().len(), settings.distances.len());
        let views = labels * ranges;
        Ok(Self {
            labels: passages.labels().to_vec(),
            names: regressions.iter().map(|of| of.name.clone()).collect(),
            counts: SequenceCounts::default(),
            tally: RelationTally::default(),
            pairs: vec![0; ranges],
            related: vec![0.0; views],
            sums: vec![HeadSums::default(); views * heads.values().len()],
            scored: vec![Scored::default(); regressions.len() * views],
            regressions: Arc::new(regressions),
            example: None,
            settings,
            heads,
        })
    }

    /// What was read, and what was left out.
    #[must_use]
    pub fn counts(&self) -> &SequenceCounts {
        &self.counts
    }

    /// What was read, beside the texts themselves.
    #[must_use]
    pub fn tally(&self) -> &RelationTally {
        &self.tally
    }

    /// What is made of the maps.
    #[must_use]
    pub fn settings(&self) -> &RelationSettings {
        &self.settings
    }

    /// All labels.
    #[must_use]
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Names of the regressions.
    #[must_use]
    pub fn regressions(&self) -> &[String] {
        &self.names
    }

    /// The heads that the model has.
    #[must_use]
    pub fn heads(&self) -> &HeadTable {
        &self.heads
    }

    /// The first text, where a regression was held against it.
    #[must_use]
    pub fn example(&self) -> Option<&RelationExample> {
        self.example.as_ref()
    }

    /// Of all pairs of a range, the part that is related by a label: the share of a head that looks everywhere alike, as far as
    /// all texts are of one length.
    #[must_use]
    pub fn background(&self, label: usize, range: usize) -> Option<f64> {
        let pairs = self.pairs[range];
        (pairs > 0).then(|| self.related[self.view(label, range)] / pairs as f64)
    }

    /// Weight of the related pairs.
    #[must_use]
    pub fn related(&self, label: usize, range: usize) -> f64 {
        self.related[self.view(label, range)]
    }

    /// What a head has to do with a label.
    #[must_use]
    pub fn head(&self, label: usize, range: usize, head: HeadId) -> HeadFound {
        let cell = head.layer * self.heads.heads() + head.head;
        let sums = &self.sums[self.view(label, range) * self.heads.values().len() + cell];
        HeadFound {
            share: Share::of(&sums.share),
            excess: Share::of(&sums.excess),
            scored: sums.scored,
        }
    }

    /// How a regression finds a label.
    #[must_use]
    pub fn regression(&self, number: usize, label: usize, range: usize) -> Scored {
        let views = self.related.len();
        self.scored[number * views + self.view(label, range)]
    }

    fn view(&self, label: usize, range: usize) -> usize {
        label * self.settings.distances.len() + range
    }
}

impl Study for Relations {
    type Lens = RelationLens;
    type Found = Self;

    const PURPOSE: Purpose = Purpose::Attention;

    fn lens(&self) -> RelationLens {
        RelationLens {
            settings: self.settings.clone(),
            labels: self.labels.clone(),
            regressions: Arc::clone(&self.regressions),
            layers: self.heads.layers(),
            heads: self.heads.heads(),
        }
    }

    fn empty(&self) -> Self {
        Self {
            settings: self.settings.clone(),
            heads: self.heads.clone(),
            labels: self.labels.clone(),
            names: self.names.clone(),
            regressions: Arc::clone(&self.regressions),
            counts: SequenceCounts::default(),
            tally: RelationTally::default(),
            pairs: vec![0; self.pairs.len()],
            related: vec![0.0; self.related.len()],
            sums: vec![HeadSums::default(); self.sums.len()],
            scored: vec![Scored::default(); self.scored.len()],
            example: None,
        }
    }

    fn agrees(&self, fresh: &Self) -> Result<(), Error> {
        if self.heads != fresh.heads {
            let (was, is) = (self.heads.describe(), fresh.heads.describe());
            return Error::state_mismatch("the set of heads that the model has", was, is);
        }
        let asked = |study: &Self| {
            let names = match study.names.is_empty() {
                true => "no regression".to_owned(),
                false => study.names.join(", "),
            };
            let labels = study.labels.join(", ");
            format!("{labels}, {}, {names}", study.settings.describe())
        };
        let sizes = |study: &Self| {
            let (sums, scored) = (study.sums.len(), study.scored.len());
            (study.pairs.len(), study.related.len(), sums, scored)
        };
        if asked(self) != asked(fresh) || sizes(self) != sizes(fresh) {
            return Error::state_mismatch("what is asked of relations", asked(self), asked(fresh));
        }
        self.counts.check()?;
        let tally = self.tally;
        let counted = [
            tally.units,
            tally.beyond,
            tally.without_tokens,
            tally.straddling,
            tally.pairs,
            tally.lost,
        ];
        Error::unless_possible(
            self.pairs
                .iter()
                .chain(&counted)
                .all(|count| *count <= MOST),
            "tally",
            "a number is larger than any corpus",
        )?;
        let texts = self.counts.sequences;
        Error::unless_possible(
            self.sums.iter().all(|sums| sums.scored.possible(texts))
                && self.scored.iter().all(|scored| scored.possible(texts)),
            "sums",
            "a mean is not one of as many texts, or a head is right more often than it was asked",
        )
    }

    fn covers(&self, units: Range<u64>) -> Result<(), Error> {
        Error::unless_possible(
            self.counts.units() == units.end.saturating_sub(units.start),
            "counts",
            "there are not as many texts as are done",
        )
    }

    fn adopt(&mut self, fresh: &Self) -> bool {
        self.regressions = Arc::clone(&fresh.regressions);
        true
    }

    fn add(&mut self, fate: Fate<Contribution<'_, Self>>) -> Result<(), Error> {
        let Contribution { item, part, tokens } = match fate {
            Fate::Studied(found) => found,
            Fate::LeftOut(why) => {
                self.counts.leave_out(why);
                return Ok(());
            }
        };
        self.counts.study(tokens, item.beyond);
        let looked_at = part.frame.labels.iter().map(|(label, relates)| {
            let views = part.frame.views.iter().filter(|view| view.label == *label);
            let mut places: Vec<u32> = views
                .flat_map(|view| view.related.iter().map(|of| of.0))
                .collect();
            places.sort_unstable();
            places.dedup();
            debug_assert!(places.iter().all(|place| relates[*place as usize]));
            places.len() as u64
        });
        self.tally.add(&RelationTally {
            units: (item.takes_part.len() + item.beyond) as u64,
            beyond: item.beyond as u64,
            without_tokens: item.without_tokens as u64,
            straddling: item.straddling as u64,
            pairs: looked_at.sum(),
            lost: item.lost as u64,
        });
        let (cells, ranges) = (self.heads.values().len(), self.settings.distances.len());
        for (pairs, more) in self.pairs.iter_mut().zip(&part.frame.pairs) {
            *pairs += more.len() as u64;
        }
        // A text without any related pair counts for what its attention is, too.
        let mut views = part.frame.views.iter().enumerate().peekable();
        for label in 0..self.labels.len() {
            for range in 0..ranges {
                let place = label * ranges + range;
                let view = views.next_if(|(_, view)| (view.label, view.range) == (label, range));
                if let Some((_, view)) = view {
                    self.related[place] +=
                        view.related.iter().map(|(_, weight)| weight).sum::<f64>();
                }
                for cell in 0..cells {
                    let all = part.all[range * cells + cell];
                    let found = view.map(|(number, _)| &part.found[number * cells + cell]);
                    let sums = &mut self.sums[place * cells + cell];
                    if all > 0.0 {
                        sums.share.add(found.map_or(0.0, |of| of.related), all);
                        sums.excess
                            .add(found.map_or(0.0, |of| of.matched - of.expected), all);
                    }
                    if let Some(found) = found {
                        sums.scored.add(&found.judged);
                    }
                }
                if let Some((number, _)) = view {
                    let scored = part.scored.chunks(part.frame.views.len());
                    for (at, of_regression) in scored.enumerate() {
                        if let Some(judged) = &of_regression[number] {
                            self.scored[at * self.related.len() + place].add(judged);
                        }
                    }
                }
            }
        }
        if self.example.is_none() && !part.strongest.is_empty() {
            let (label, relates) = &part.frame.labels[0];
            let (units, places) = (part.frame.units as u32, 0..relates.len() as u32);
            let related = places.filter(|place| relates[*place as usize]);
            self.example = Some(RelationExample {
                line: item.line,
                name: item.name.clone(),
                units: u64::from(units),
                label: self.labels[*label].clone(),
                related: related
                    .map(|place| (place / units, place % units))
                    .collect(),
                strongest: part.strongest,
            });
        }
        Ok(())
    }

    fn merge(&mut self, next: Self) -> Result<(), Error> {
        next.agrees(self)?;
        self.counts = self.counts.and(next.counts);
        self.tally.add(&next.tally);
        for (mine, theirs) in self.pairs.iter_mut().zip(&next.pairs) {
            *mine += theirs;
        }
        for (mine, theirs) in self.related.iter_mut().zip(&next.related) {
            *mine += theirs;
        }
        for (mine, theirs) in self.sums.iter_mut().zip(&next.sums) {
            mine.merge(theirs);
        }
        for (mine, theirs) in self.scored.iter_mut().zip(&next.scored) {
            mine.merge(theirs);
        }
        if self.example.is_none() {
            self.example = next.example;
        }
        Ok(())
    }

    fn finish(&self) -> Result<Self, Error> {
        Ok(self.clone())
    }
}

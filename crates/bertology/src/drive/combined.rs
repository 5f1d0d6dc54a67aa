//! Several studies in one pass, and studies that may not be asked for.

use std::ops::Range;

use bertology_model::reduction::{Reduction, Table};
use bertology_model::{
    Event, HeadId, HeadMask, Interests, LayerSite, Pass, Sequence, SequenceOutput,
};

use super::lens::{Lens, Wants};
use super::study::{Contribution, Study};
use crate::Error;
use crate::input::supply::Fate;
use crate::watch::Purpose;

/// Whether a lens asked for what passes by.
fn asked(interests: Interests, event: &Event<'_, f32>) -> bool {
    interests.contains(event.pass, event.tap.site())
}

/// How many tables a lens makes do with in the place of maps; nothing where it wants the maps.
fn tables(lens: &impl Lens) -> Option<usize> {
    let wanted = lens.wants().interests;
    let maps = [Pass::Forward, Pass::Backward]
        .iter()
        .any(|pass| wanted.contains(*pass, LayerSite::AttentionProbs));
    match lens.tables() {
        _ if !maps => Some(0),
        0 => None,
        some => Some(some),
    }
}

/// Two lenses on the same inputs. Each sees the sites that it wants.
impl<A: Lens, B: Lens<Item = A::Item>> Lens for (A, B) {
    type Item = A::Item;
    type Part = (A::Part, B::Part);

    fn wants(&self) -> Wants<'_> {
        self.0.wants().and(self.1.wants())
    }

    fn begin(&self, item: &A::Item, sequence: &Sequence) -> Result<Self::Part, Error> {
        Ok((self.0.begin(item, sequence)?, self.1.begin(item, sequence)?))
    }

    fn see(&self, item: &A::Item, part: &mut Self::Part, event: &Event<'_, f32>) {
        if asked(self.0.wants().interests, event) {
            self.0.see(item, &mut part.0, event);
        }
        if asked(self.1.wants().interests, event) {
            self.1.see(item, &mut part.1, event);
        }
    }

    fn tables(&self) -> usize {
        let both = tables(&self.0).zip(tables(&self.1));
        both.map_or(0, |(first, second)| first + second)
    }

    fn reductions(&self, item: &A::Item, part: &Self::Part) -> Vec<Reduction> {
        let mut all = Vec::new();
        if tables(&self.0).is_some_and(|some| some > 0) {
            all.extend(self.0.reductions(item, &part.0));
        }
        if tables(&self.1).is_some_and(|some| some > 0) {
            all.extend(self.1.reductions(item, &part.1));
        }
        all
    }

    fn see_table(&self, item: &A::Item, part: &mut Self::Part, table: &Table<'_, f32>) {
        match table.which.checked_sub(tables(&self.0).unwrap_or(0)) {
            None => self.0.see_table(item, &mut part.0, table),
            Some(which) => {
                let table = Table { which, ..*table };
                self.1.see_table(item, &mut part.1, &table);
            }
        }
    }

    fn output(
        &self,
        item: &A::Item,
        part: &mut Self::Part,
        without: Option<HeadId>,
        output: &SequenceOutput<f32>,
    ) -> Result<(), Error> {
        self.0.output(item, &mut part.0, without, output)?;
        self.1.output(item, &mut part.1, without, output)
    }

    fn close(&self, item: &A::Item, part: &mut Self::Part) -> Result<(), Error> {
        self.0.close(item, &mut part.0)?;
        self.1.close(item, &mut part.1)
    }

    fn bytes(&self, tokens: u64) -> u64 {
        self.0.bytes(tokens).saturating_add(self.1.bytes(tokens))
    }
}

/// Two studies of the same inputs in one pass; [`Wants::and`] says which cannot share one.
impl<A, B> Study for (A, B)
where
    A: Study,
    B: Study,
    B::Lens: Lens<Item = <A::Lens as Lens>::Item>,
{
    type Lens = (A::Lens, B::Lens);
    type Found = (A::Found, B::Found);

    const PURPOSE: Purpose = A::PURPOSE;

    fn lens(&self) -> Self::Lens {
        (self.0.lens(), self.1.lens())
    }

    fn empty(&self) -> Self {
        (self.0.empty(), self.1.empty())
    }

    fn chunk(&self, wanted: u64) -> u64 {
        let chunk = self.1.chunk(self.0.chunk(wanted));
        if self.0.chunk(chunk) == chunk {
            chunk
        } else {
            u64::MAX
        }
    }

    fn agrees(&self, fresh: &Self) -> Result<(), Error> {
        self.0.agrees(&fresh.0)?;
        self.1.agrees(&fresh.1)
    }

    fn covers(&self, units: Range<u64>) -> Result<(), Error> {
        self.0.covers(units.clone())?;
        self.1.covers(units)
    }

    fn add(&mut self, fate: Fate<Contribution<'_, Self>>) -> Result<(), Error> {
        let (first, second) = match fate {
            Fate::LeftOut(why) => (Fate::LeftOut(why), Fate::LeftOut(why)),
            Fate::Studied(found) => {
                let Contribution { item, part, tokens } = found;
                let (first, second) = part;
                (
                    Fate::Studied(Contribution {
                        item,
                        part: first,
                        tokens,
                    }),
                    Fate::Studied(Contribution {
                        item,
                        part: second,
                        tokens,
                    }),
                )
            }
        };
        self.0.add(first)?;
        self.1.add(second)
    }

    fn adopt(&mut self, fresh: &Self) -> bool {
        self.0.adopt(&fresh.0) & self.1.adopt(&fresh.1)
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.0.flush()?;
        self.1.flush()
    }

    fn close_chunk(&mut self) -> Result<(), Error> {
        self.0.close_chunk()?;
        self.1.close_chunk()
    }

    fn merge(&mut self, next: Self) -> Result<(), Error> {
        self.0.merge(next.0)?;
        self.1.merge(next.1)
    }

    fn finish(&self) -> Result<Self::Found, Error> {
        Ok((self.0.finish()?, self.1.finish()?))
    }
}

/// A lens that may not be there.
impl<L: Lens> Lens for Option<L> {
    type Item = L::Item;
    type Part = Option<L::Part>;

    fn wants(&self) -> Wants<'_> {
        self.as_ref().map_or_else(Wants::default, Lens::wants)
    }

    fn begin(&self, item: &L::Item, sequence: &Sequence) -> Result<Self::Part, Error> {
        let lens = self.as_ref();
        lens.map(|lens| lens.begin(item, sequence)).transpose()
    }

    fn see(&self, item: &L::Item, part: &mut Self::Part, event: &Event<'_, f32>) {
        if let (Some(lens), Some(part)) = (self, part) {
            lens.see(item, part, event);
        }
    }

    fn tables(&self) -> usize {
        self.as_ref().map_or(0, Lens::tables)
    }

    fn reductions(&self, item: &L::Item, part: &Self::Part) -> Vec<Reduction> {
        let both = self.as_ref().zip(part.as_ref());
        both.map_or_else(Vec::new, |(lens, part)| lens.reductions(item, part))
    }

    fn see_table(&self, item: &L::Item, part: &mut Self::Part, table: &Table<'_, f32>) {
        if let (Some(lens), Some(part)) = (self, part) {
            lens.see_table(item, part, table);
        }
    }

    fn masks(&self, item: &L::Item) -> Vec<HeadMask> {
        self.as_ref().map_or_else(Vec::new, |lens| lens.masks(item))
    }

    fn output(
        &self,
        item: &L::Item,
        part: &mut Self::Part,
        without: Option<HeadId>,
        output: &SequenceOutput<f32>,
    ) -> Result<(), Error> {
        match (self, part) {
            (Some(lens), Some(part)) => lens.output(item, part, without, output),
            _ => Ok(()),
        }
    }

    fn close(&self, item: &L::Item, part: &mut Self::Part) -> Result<(), Error> {
        match (self, part) {
            (Some(lens), Some(part)) => lens.close(item, part),
            _ => Ok(()),
        }
    }

    fn bytes(&self, tokens: u64) -> u64 {
        self.as_ref().map_or(0, |lens| lens.bytes(tokens))
    }
}

/// A study that may not have been asked for.
impl<S: Study> Study for Option<S> {
    type Lens = Option<S::Lens>;
    type Found = Option<S::Found>;

    const PURPOSE: Purpose = S::PURPOSE;

    fn lens(&self) -> Self::Lens {
        self.as_ref().map(Study::lens)
    }

    fn empty(&self) -> Self {
        self.as_ref().map(Study::empty)
    }

    fn chunk(&self, wanted: u64) -> u64 {
        self.as_ref().map_or(wanted, |study| study.chunk(wanted))
    }

    fn agrees(&self, fresh: &Self) -> Result<(), Error> {
        match (self, fresh) {
            (Some(study), Some(fresh)) => study.agrees(fresh),
            (None, None) => Ok(()),
            (was, _) => {
                let say = |there: bool| String::from(if there { "there" } else { "not there" });
                Error::state_mismatch("one of the studies", say(was.is_some()), say(was.is_none()))
            }
        }
    }

    fn covers(&self, units: Range<u64>) -> Result<(), Error> {
        self.as_ref().map_or(Ok(()), |study| study.covers(units))
    }

    fn add(&mut self, fate: Fate<Contribution<'_, Self>>) -> Result<(), Error> {
        let Some(study) = self else {
            return Ok(());
        };
        match fate {
            Fate::LeftOut(why) => study.add(Fate::LeftOut(why)),
            Fate::Studied(Contribution {
                item,
                part: Some(part),
                tokens,
            }) => study.add(Fate::Studied(Contribution { item, part, tokens })),
            Fate::Studied(_) => Ok(()),
        }
    }

    fn adopt(&mut self, fresh: &Self) -> bool {
        match (self, fresh) {
            (Some(study), Some(fresh)) => study.adopt(fresh),
            _ => true,
        }
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.as_mut().map_or(Ok(()), Study::flush)
    }

    fn close_chunk(&mut self) -> Result<(), Error> {
        self.as_mut().map_or(Ok(()), Study::close_chunk)
    }

    fn merge(&mut self, next: Self) -> Result<(), Error> {
        match (self, next) {
            (Some(study), Some(next)) => study.merge(next),
            _ => Ok(()),
        }
    }

    fn finish(&self) -> Result<Self::Found, Error> {
        self.as_ref().map(Study::finish).transpose()
    }
}

//! Places in a file, so that its later units can be read without those before.

/// Units from one mark to the next, or a few more where units come in groups.
const EVERY: u64 = 1024;

/// Places remembered while a file is read for the first time, each before a unit.
#[derive(Debug, Clone)]
pub(crate) struct Marks<M> {
    /// Units before each place, ascending.
    places: Vec<(u64, M)>,
    /// The next place is not wanted before so many units.
    next: u64,
}

impl<M> Default for Marks<M> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            next: EVERY,
        }
    }
}

impl<M> Marks<M> {
    /// Remembers the place before unit `unit` if the last one is far enough behind.
    pub(crate) fn offer(&mut self, unit: u64, place: impl FnOnce() -> M) {
        if unit >= self.next {
            self.places.push((unit, place()));
            self.next = (unit / EVERY + 1) * EVERY;
        }
    }

    /// The last place at or before unit `first`, with the number of the unit there; none if that is the
    /// beginning of the file.
    pub(crate) fn before(&self, first: u64) -> Option<(u64, &M)> {
        let behind = self.places.partition_point(|(unit, _)| *unit <= first);
        let (unit, place) = self.places.get(behind.checked_sub(1)?)?;
        Some((*unit, place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_place_before_is_found() {
        let mut marks = Marks::default();
        for unit in (0..5000).step_by(3) {
            marks.offer(unit, || unit * 10);
        }
        assert_eq!(marks.before(0), None);
        assert_eq!(marks.before(1025), None);
        assert_eq!(marks.before(1026), Some((1026, &10260)));
        assert_eq!(marks.before(2048), Some((1026, &10260)));
        assert_eq!(marks.before(2049), Some((2049, &20490)));
        assert_eq!(marks.before(u64::MAX), Some((4098, &40980)));
    }
}

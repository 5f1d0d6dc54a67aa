//! Targets by what makes them hard: how far apart their spans are, how high their constituent is.

use super::texts::Place;

/// How targets are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    /// Words strictly between the two spans; 0 where they touch or overlap.
    Distance,
    /// `info.height` of the target: 1 is a word, as `edge-data` and the papers' converters write it.
    Height,
    /// Whether the training data have the texts of the spans.
    Seen,
}

/// Where a number of each division begins, with the name of what begins there.
const DISTANCES: [(u64, &str); 5] = [(0, "0"), (1, "1"), (2, "2"), (3, "3-5"), (6, "6+")];
const HEIGHTS: [(u64, &str); 6] = [
    (0, "1"),
    (2, "2"),
    (3, "3"),
    (4, "4"),
    (5, "5-7"),
    (8, "8+"),
];
const SEEN: [(u64, &str); 2] = [(0, "no"), (1, "yes")];

/// No stratum.
const NONE: u16 = u16::MAX;

/// The strata of the targets of a split. A target is in one of each division that applies to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Strata {
    names: Vec<(By, &'static str)>,
    divisions: Vec<By>,
    /// `[target][division]`, [`NONE`] where one does not apply.
    of: Vec<u16>,
    /// Targets of each stratum.
    sizes: Vec<u64>,
}

impl Strata {
    /// Of places in texts: by distance where targets have two spans, by height where they have one noted.
    pub(super) fn of_places(places: impl Iterator<Item = Place>) -> Self {
        let mut strata = Self::of_divisions(&[(By::Distance, &DISTANCES), (By::Height, &HEIGHTS)]);
        for place in places {
            let mut values = Vec::new();
            values.extend(place.distance.map(|words| (By::Distance, words as u64)));
            values.extend(place.height.map(|height| (By::Height, height)));
            strata.add(&values);
        }
        strata
    }

    /// Of whether the texts of each target are known.
    pub(super) fn of_seen(seen: &[bool]) -> Self {
        let mut strata = Self::of_divisions(&[(By::Seen, &SEEN)]);
        for seen in seen {
            strata.add(&[(By::Seen, u64::from(*seen))]);
        }
        strata
    }

    fn of_divisions(divisions: &[(By, &[(u64, &'static str)])]) -> Self {
        let name = |(by, of): &(By, &[(u64, &'static str)])| -> Vec<(By, &'static str)> {
            of.iter().map(|(_, name)| (*by, *name)).collect()
        };
        let names: Vec<_> = divisions.iter().flat_map(name).collect();
        Self {
            sizes: vec![0; names.len()],
            names,
            divisions: divisions.iter().map(|(by, _)| *by).collect(),
            of: Vec::new(),
        }
    }

    fn add(&mut self, values: &[(By, u64)]) {
        for division in &self.divisions {
            let value = values.iter().find(|(by, _)| by == division);
            let stratum = value.and_then(|(by, value)| {
                let starts: &[(u64, &str)] = match by {
                    By::Distance => &DISTANCES,
                    By::Height => &HEIGHTS,
                    By::Seen => &SEEN,
                };
                let within = starts.partition_point(|(start, _)| start <= value);
                let first = self.names.iter().position(|(other, _)| other == by)?;
                Some(first + within.saturating_sub(1))
            });
            if let Some(stratum) = stratum {
                self.sizes[stratum] += 1;
            }
            // A handful of strata.
            self.of.push(stratum.map_or(NONE, |stratum| stratum as u16));
        }
    }

    /// Division, name and number of targets of each stratum; those without targets, too.
    pub fn rows(&self) -> impl Iterator<Item = (By, &'static str, u64)> {
        let sizes = self.sizes.iter();
        self.names
            .iter()
            .zip(sizes)
            .map(|((by, name), size)| (*by, *name, *size))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Those of a target, by their place in [`Strata::rows`]; none past the last target.
    pub fn of(&self, target: usize) -> impl Iterator<Item = usize> {
        let many = self.divisions.len();
        let own = self.of.iter().skip(target * many).take(many);
        own.filter(|at| **at != NONE).map(|at| usize::from(*at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_in_one_stratum_of_each_division() {
        let place = |distance, height| Place {
            line: 1,
            spans: Vec::new(),
            distance,
            height,
        };
        let places = [
            place(Some(3), None),
            place(None, Some(1)),
            place(Some(8), Some(7)),
            place(None, None),
            place(None, Some(80)),
        ];
        let strata = Strata::of_places(places.into_iter());
        let named = |target: usize| -> Vec<(By, &str)> {
            let rows: Vec<_> = strata.rows().collect();
            let of = strata.of(target).map(|at| rows[at]);
            of.map(|(by, name, _)| (by, name)).collect()
        };
        assert_eq!(named(0), [(By::Distance, "3-5")]);
        assert_eq!(named(1), [(By::Height, "1")]);
        assert_eq!(named(2), [(By::Distance, "6+"), (By::Height, "5-7")]);
        assert_eq!(named(3), []);
        assert_eq!(named(4), [(By::Height, "8+")]);
        let sizes: u64 = strata.rows().map(|(_, _, size)| size).sum();
        assert_eq!(sizes, 5);
        let seen = Strata::of_seen(&[true, false, true]);
        let sizes: Vec<_> = seen.rows().collect();
        assert_eq!(sizes, [(By::Seen, "no", 1), (By::Seen, "yes", 2)]);
    }
}

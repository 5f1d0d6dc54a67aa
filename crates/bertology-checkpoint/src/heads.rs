//! Sets of attention heads, and how people write them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::{Architecture, Error};

/// Heads by layer, both counted from 0, heads under their numbers in the unpruned model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeadSet(BTreeMap<usize, BTreeSet<usize>>);

impl HeadSet {
    /// No heads.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads heads as people write them: `3.5`, `L3H5` and `3:5` all mean head 5 of layer 3;
    /// `0:1,3` and `5:0-4` name several heads of a layer. Items stand side by side with spaces,
    /// semicolons or commas between them; repetition does no harm.
    ///
    /// # Errors
    /// [`Error::HeadSyntax`] for anything else, [`Error::NoSuchHead`] for a head outside
    /// `layers` × `heads`.
    pub fn parse(text: &str, layers: usize, heads: usize) -> Result<Self, Error> {
        let mut set = Self::new();
        for item in text
            .split([' ', '\t', '\n', '\r', ';'])
            .filter(|item| !item.is_empty())
        {
            // `0:1,3`: what follows the comma belongs to layer 0.
            let mut layer = None;
            for piece in item.split(',') {
                let heads_text = if let Some((number, rest)) = piece.split_once(':') {
                    layer = Some(index(text, number)?);
                    rest
                } else if let Some((number, rest)) = joined(piece) {
                    layer = Some(index(text, number)?);
                    rest
                } else {
                    piece
                };
                let Some(layer) = layer else {
                    return Err(syntax(text, format!("`{piece}` names no layer")));
                };
                let (first, last) = match heads_text.split_once('-') {
                    Some((first, last)) => (index(text, first)?, index(text, last)?),
                    None => (index(text, heads_text)?, index(text, heads_text)?),
                };
                if first > last {
                    return Err(syntax(text, format!("`{heads_text}` runs backwards")));
                }
                // Checked before the range is walked: it may claim billions.
                if layer >= layers as u64 || last >= heads as u64 {
                    return Err(Error::NoSuchHead {
                        layer,
                        head: last,
                        layers,
                        heads,
                    });
                }
                set.0
                    .entry(layer as usize)
                    .or_default()
                    .extend(first as usize..=last as usize);
            }
        }
        Ok(set)
    }

    /// The heads that a mask `[layers, heads]`, row by row, switches off: `true` keeps a head.
    ///
    /// # Errors
    /// [`Error::MaskSize`] if the mask has another number of entries.
    pub fn from_mask(keep: &[bool], layers: usize, heads: usize) -> Result<Self, Error> {
        if layers.checked_mul(heads) != Some(keep.len()) {
            return Err(Error::MaskSize {
                found: keep.len(),
                layers,
                heads,
            });
        }
        let removed = keep.iter().enumerate().filter(|(_, keep)| !**keep);
        Ok(removed.map(|(at, _)| (at / heads, at % heads)).collect())
    }

    /// Adds a head; says whether it was new.
    pub fn insert(&mut self, layer: usize, head: usize) -> bool {
        self.0.entry(layer).or_default().insert(head)
    }

    /// Whether the set has the head.
    #[must_use]
    pub fn contains(&self, layer: usize, head: usize) -> bool {
        self.0
            .get(&layer)
            .is_some_and(|heads| heads.contains(&head))
    }

    /// Number of heads.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.values().all(BTreeSet::is_empty)
    }

    /// All `(layer, head)`, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (usize, usize)> {
        self.0
            .iter()
            .flat_map(|(&layer, heads)| heads.iter().map(move |&head| (layer, head)))
    }

    /// Heads by layer; a layer may have an empty set.
    #[must_use]
    pub fn by_layer(&self) -> &BTreeMap<usize, BTreeSet<usize>> {
        &self.0
    }

    /// Verifies that a checkpoint without these heads can be written: layers that have their weights in common lose the same.
    ///
    /// # Errors
    /// [`Error::SharedHead`] with the first that one of them would lose and another keep.
    pub(crate) fn check_shared(&self, architecture: &Architecture) -> Result<(), Error> {
        let gone = |layer: usize, head: usize| {
            let of = |set: &BTreeMap<usize, BTreeSet<usize>>| {
                set.get(&layer).is_some_and(|heads| heads.contains(&head))
            };
            self.contains(layer, head)
                || of(&architecture.pruned_heads)
                || of(&architecture.zeroed_heads)
        };
        for layer in 0..architecture.num_layers {
            let first = architecture.weights_of(layer);
            let differs = |head: &usize| gone(layer, *head) != gone(first, *head);
            let Some(head) = (0..architecture.num_heads).find(differs) else {
                continue;
            };
            let (lost, kept) = if gone(layer, head) {
                (layer, first)
            } else {
                (first, layer)
            };
            let all = (0..architecture.num_layers).filter(|l| architecture.weights_of(*l) == first);
            return Err(Error::SharedHead {
                head,
                lost,
                kept,
                all: all
                    .map(|layer| format!("{layer}:{head}"))
                    .collect::<Vec<_>>()
                    .join(" "),
            });
        }
        Ok(())
    }

    /// Verifies that the unpruned model has every head of the set.
    ///
    /// # Errors
    /// [`Error::NoSuchHead`] with the first that it has not.
    pub fn check(&self, architecture: &Architecture) -> Result<(), Error> {
        let (layers, heads) = (architecture.num_layers, architecture.num_heads);
        match self
            .iter()
            .find(|&(layer, head)| layer >= layers || head >= heads)
        {
            None => Ok(()),
            Some((layer, head)) => Err(Error::NoSuchHead {
                layer: layer as u64,
                head: head as u64,
                layers,
                heads,
            }),
        }
    }
}

impl FromIterator<(usize, usize)> for HeadSet {
    fn from_iter<I: IntoIterator<Item = (usize, usize)>>(heads: I) -> Self {
        let mut set = Self::new();
        set.extend(heads);
        set
    }
}

impl Extend<(usize, usize)> for HeadSet {
    fn extend<I: IntoIterator<Item = (usize, usize)>>(&mut self, heads: I) {
        for (layer, head) in heads {
            self.insert(layer, head);
        }
    }
}

impl From<BTreeMap<usize, BTreeSet<usize>>> for HeadSet {
    fn from(heads: BTreeMap<usize, BTreeSet<usize>>) -> Self {
        Self(heads)
    }
}

/// As [`HeadSet::parse`] reads it: `0:1,3 5:0-4`.
impl fmt::Display for HeadSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layers = self.0.iter().filter(|(_, heads)| !heads.is_empty());
        for (position, (layer, heads)) in layers.enumerate() {
            let gap = if position == 0 { "" } else { " " };
            write!(f, "{gap}{layer}:")?;
            for (position, (first, last)) in runs(heads).into_iter().enumerate() {
                let comma = if position == 0 { "" } else { "," };
                match last - first {
                    0 => write!(f, "{comma}{first}")?,
                    1 => write!(f, "{comma}{first},{last}")?,
                    _ => write!(f, "{comma}{first}-{last}")?,
                }
            }
        }
        Ok(())
    }
}

/// Maximal runs of consecutive numbers.
fn runs(heads: &BTreeSet<usize>) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &head in heads {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == head => *last = head,
            _ => runs.push((head, head)),
        }
    }
    runs
}

/// Splits `L3H5` or `3.5` into layer and head.
fn joined(piece: &str) -> Option<(&str, &str)> {
    match piece.strip_prefix(['L', 'l']) {
        Some(rest) => rest.split_once(['H', 'h']),
        None => piece.split_once('.'),
    }
}

fn index(text: &str, number: &str) -> Result<u64, Error> {
    // `u64::from_str` would accept a plus sign.
    if !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && let Ok(number) = number.parse()
    {
        return Ok(number);
    }
    Err(syntax(
        text,
        format!("`{number}` is not a number from 0 up"),
    ))
}

fn syntax(text: &str, problem: String) -> Error {
    Error::HeadSyntax {
        text: text.into(),
        problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heads(text: &str) -> Vec<(usize, usize)> {
        HeadSet::parse(text, 12, 12).unwrap().iter().collect()
    }

    #[test]
    fn the_three_spellings_mean_the_same() {
        for text in ["3.5", "L3H5", "l3h5", "3:5", " 3:5 3.5;L3H5 ", "3.5,L3H5"] {
            assert_eq!(heads(text), [(3, 5)], "{text}");
        }
        assert_eq!(heads("0:1,3"), [(0, 1), (0, 3)]);
        assert_eq!(
            heads("5:0-2,4 0:1"),
            [(0, 1), (5, 0), (5, 1), (5, 2), (5, 4)]
        );
        assert_eq!(heads("1.2,3.4"), [(1, 2), (3, 4)]);
        assert_eq!(heads("0:1,2:3"), [(0, 1), (2, 3)]);
        assert_eq!(heads(""), []);
    }

    #[test]
    fn what_is_no_head_is_an_error_that_says_why() {
        for text in [
            "5", "a", "3:", ":3", "3:-1", "-1:3", "3:4-2", "3.+5", "L3", "LH", "3:1-", "3,",
        ] {
            let error = HeadSet::parse(text, 12, 12).unwrap_err();
            assert!(matches!(error, Error::HeadSyntax { .. }), "{text}: {error}");
        }
        for text in ["12:0", "0:12", "0:0-99999999999", "3:18446744073709551615"] {
            let error = HeadSet::parse(text, 12, 12).unwrap_err();
            assert!(matches!(error, Error::NoSuchHead { .. }), "{text}: {error}");
            let message = error.to_string();
            assert!(
                message.ends_with("layers 0 to 11 and heads 0 to 11"),
                "{message}"
            );
        }
    }

    #[test]
    fn printed_sets_read_back() {
        let set = HeadSet::parse("0:1,3 5:0-4 7:2,3", 12, 12).unwrap();
        assert_eq!(set.to_string(), "0:1,3 5:0-4 7:2,3");
        assert_eq!(HeadSet::parse(&set.to_string(), 12, 12).unwrap(), set);
        assert_eq!(HeadSet::new().to_string(), "");
    }

    #[test]
    fn masks_keep_where_they_are_true() {
        let set = HeadSet::from_mask(&[true, false, true, true, true, false], 2, 3).unwrap();
        assert_eq!(set.iter().collect::<Vec<_>>(), [(0, 1), (1, 2)]);
        let error = HeadSet::from_mask(&[true; 5], 2, 3).unwrap_err();
        assert!(error.to_string().contains("has 5 entries"), "{error}");
    }
}

//! Whose queries and keys there is room for.

use std::collections::{BTreeMap, BTreeSet};

use bertology_report::page::Packed;
use bertology_report::viewer::Viewer;

use crate::failure::Failure;
use crate::pages;

/// Puts queries and keys, text by text, into the page: all of them if they were `asked` for by name, else those of as
/// many layers as fit, spread from the first to the last, the same of every text. Gives the layers left out for want
/// of room. `rest` is kept free.
pub(super) fn choose_vectors(
    viewer: &mut Viewer,
    vectors: Vec<BTreeMap<usize, Packed>>,
    asked: bool,
    limit: u64,
    rest: u64,
) -> Result<Vec<usize>, Failure> {
    let layers: BTreeSet<usize> = vectors.iter().flat_map(|its| its.keys().copied()).collect();
    let layers: Vec<usize> = layers.into_iter().collect();
    let size = |layer: &usize| -> u64 {
        let its = vectors.iter().filter_map(|its| its.get(layer));
        its.map(|packed| packed.size() as u64).sum()
    };
    let sizes: Vec<u64> = layers.iter().map(size).collect();
    let mut chosen: BTreeSet<usize> = (0..layers.len()).collect();
    if !asked {
        let room = limit.saturating_sub(viewer.size() as u64 + rest);
        while chosen.iter().map(|at| sizes[*at]).sum::<u64>() > room {
            chosen = spread(layers.len(), chosen.len() - 1);
        }
    }
    let chosen: BTreeSet<usize> = chosen.into_iter().map(|at| layers[at]).collect();
    for (text, its) in vectors.into_iter().enumerate() {
        for (layer, packed) in its {
            if chosen.contains(&layer) {
                viewer
                    .add_vectors(text, layer, packed)
                    .map_err(|error| pages::failure(&error))?;
            }
        }
    }
    Ok(layers
        .into_iter()
        .filter(|layer| !chosen.contains(layer))
        .collect())
}

/// So many of `0..all`, as far apart as can be, the first and the last among them.
fn spread(all: usize, some: usize) -> BTreeSet<usize> {
    match some {
        0 => BTreeSet::new(),
        1 => BTreeSet::from([0]),
        _ => (0..some)
            .map(|at| (at * (all - 1) + (some - 1) / 2) / (some - 1))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_spread_from_the_first_to_the_last() {
        let list = |all, some| spread(all, some).into_iter().collect::<Vec<_>>();
        assert_eq!(list(12, 3), [0, 6, 11]);
        assert_eq!(list(12, 12), (0..12).collect::<Vec<_>>());
        assert_eq!(list(12, 1), [0]);
        assert_eq!(list(12, 0), [0; 0]);
        for some in 2..12 {
            assert_eq!(spread(12, some).len(), some);
        }
    }
}

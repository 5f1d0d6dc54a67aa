//! Watches a pass and stores each map as it comes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use bertology::model::{Event, Interests, LayerSite, Observer, Tap};
use bertology::{Architecture, HeadId};
use bertology_report::viewer::{Focus, MapForm, Maps, Text, Token, Vectors};

use crate::failure::Failure;
use crate::pages;
use crate::show::Screen;

/// What was seen, by layer.
pub(super) struct Found {
    pub(super) maps: BTreeMap<usize, Maps>,
    pub(super) vectors: BTreeMap<usize, Vectors>,
}

/// The maps, queries and keys of the heads that are wanted.
pub(super) struct Look<'a> {
    heads: BTreeSet<HeadId>,
    maps: BTreeMap<usize, Maps>,
    vectors: BTreeMap<usize, Vectors>,
    tokens: &'a [Token],
    focus: &'a mut Focus,
    seen: u64,
    wrong: Option<bertology_report::Error>,
    screen: &'a Screen,
}

impl<'a> Look<'a> {
    pub(super) fn new(
        heads: &BTreeSet<HeadId>,
        tokens: &'a [Token],
        arch: &Architecture,
        form: MapForm,
        focus: &'a mut Focus,
        screen: &'a Screen,
    ) -> Self {
        let n = tokens.len();
        let layers: BTreeSet<usize> = heads.iter().map(|head| head.layer).collect();
        Self {
            heads: heads.clone(),
            maps: layers
                .iter()
                .map(|layer| (*layer, Maps::new(n, arch.causal, form)))
                .collect(),
            vectors: layers
                .iter()
                .map(|layer| (*layer, Vectors::new(n, arch.head_dim())))
                .collect(),
            tokens,
            focus,
            seen: 0,
            wrong: None,
            screen,
        }
    }

    /// What was wrong with a value, if anything.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match &self.wrong {
            Some(error) => Err(pages::failure(error)),
            None => Ok(()),
        }
    }

    pub(super) fn found(self) -> Found {
        Found {
            maps: self.maps,
            vectors: self.vectors,
        }
    }
}

/// Puts the maps into what is shown of a text.
pub(super) fn put(maps: &BTreeMap<usize, Maps>, text: &mut Text) -> Result<(), Failure> {
    for (layer, maps) in maps {
        text.add_maps(*layer, maps)
            .map_err(|error| pages::failure(&error))?;
    }
    Ok(())
}

impl Observer<f32> for Look<'_> {
    fn interests(&self) -> Interests {
        Interests::none()
            .value(LayerSite::AttentionProbs)
            .value(LayerSite::Query)
            .value(LayerSite::Key)
    }

    fn observe(&mut self, event: &Event<'_, f32>) -> ControlFlow<()> {
        let (Tap::Layer(layer, site), Some(head)) = (event.tap, event.head) else {
            return ControlFlow::Continue(());
        };
        if !self.heads.contains(&HeadId { layer, head }) {
            return ControlFlow::Continue(());
        }
        let (Some(maps), Some(vectors)) = (self.maps.get_mut(&layer), self.vectors.get_mut(&layer))
        else {
            return ControlFlow::Continue(());
        };
        let flat = event.value.to_vec();
        let stored = match site {
            LayerSite::Query => vectors.push_queries(&flat),
            LayerSite::Key => vectors.push_keys(&flat),
            _ => {
                self.seen += 1;
                self.screen.advance_to(self.seen);
                maps.push(&flat)
                    .and_then(|()| self.focus.push((layer, head), &flat, self.tokens))
            }
        };
        match stored {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.wrong = Some(error);
                ControlFlow::Break(())
            }
        }
    }
}

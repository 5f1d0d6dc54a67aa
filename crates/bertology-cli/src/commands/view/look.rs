//! Watches a pass and stores each map as it comes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use bertology::model::{Event, Interests, LayerSite, Observer, Tap};
use bertology::{Architecture, HeadId};
use bertology_report::viewer::{LayerHeads, MapForm, Maps, Vectors, Viewer};

use crate::failure::Failure;
use crate::pages;
use crate::show::Screen;

/// The maps, queries and keys of the heads that are wanted.
pub(super) struct Look<'a> {
    heads: BTreeSet<HeadId>,
    maps: BTreeMap<usize, Maps>,
    vectors: BTreeMap<usize, Vectors>,
    seen: u64,
    wrong: Option<bertology_report::Error>,
    screen: &'a Screen,
}

impl<'a> Look<'a> {
    pub(super) fn new(
        heads: &BTreeSet<HeadId>,
        tokens: usize,
        arch: &Architecture,
        form: MapForm,
        screen: &'a Screen,
    ) -> Self {
        let layers: BTreeSet<usize> = heads.iter().map(|head| head.layer).collect();
        Self {
            heads: heads.clone(),
            maps: layers
                .iter()
                .map(|layer| (*layer, Maps::new(tokens, arch.causal, form)))
                .collect(),
            vectors: layers
                .iter()
                .map(|layer| (*layer, Vectors::new(tokens, arch.head_dim())))
                .collect(),
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

    /// Puts the maps into the page; gives the queries and keys of each layer.
    pub(super) fn put(
        self,
        viewer: &mut Viewer,
        arch: &Architecture,
    ) -> Result<BTreeMap<usize, Vectors>, Failure> {
        for (layer, maps) in self.maps {
            let heads = self.heads.iter().filter(|head| head.layer == layer);
            let shown = LayerHeads {
                layer,
                heads: heads.map(|head| head.head).collect(),
                score_scale: arch.score_scale.factor(arch.head_dim(), layer),
            };
            viewer
                .add_layer(shown, maps)
                .map_err(|error| pages::failure(&error))?;
        }
        Ok(self.vectors)
    }
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

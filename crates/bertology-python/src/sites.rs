//! Names of sites, as Python writes them.

use bertology::model::{LayerSite, ModelSite, Site, Tap};
use pyo3::prelude::*;

use crate::errors;

/// Every site of a layer.
const OF_LAYERS: [(&str, LayerSite); 16] = [
    ("query", LayerSite::Query),
    ("key", LayerSite::Key),
    ("value", LayerSite::Value),
    ("rotated_query", LayerSite::RotatedQuery),
    ("rotated_key", LayerSite::RotatedKey),
    ("attention_scores", LayerSite::AttentionScores),
    ("attention", LayerSite::AttentionProbs),
    ("attention_entropy", LayerSite::AttentionEntropy),
    ("head_output", LayerSite::HeadOutput),
    ("head_contribution", LayerSite::HeadContribution),
    ("attention_output", LayerSite::AttentionOutput),
    ("mlp_inner", LayerSite::MlpInner),
    ("mlp_output", LayerSite::MlpOutput),
    ("hidden_state", LayerSite::HiddenState),
    ("head_mask", LayerSite::HeadMask),
    ("neuron_mask", LayerSite::NeuronMask),
];

/// Every site outside of them.
const OF_MODEL: [(&str, ModelSite); 6] = [
    ("embeddings", ModelSite::Embeddings),
    ("pooled", ModelSite::Pooled),
    ("logits", ModelSite::Logits),
    ("token_logits", ModelSite::TokenLogits),
    ("loss", ModelSite::Loss),
    ("last_residual", ModelSite::LastResidual),
];

/// The site of this name.
pub(crate) fn site(py: Python<'_>, name: &str) -> PyResult<Site> {
    let layers = OF_LAYERS
        .iter()
        .map(|(name, site)| (*name, Site::Layer(*site)));
    let model = OF_MODEL
        .iter()
        .map(|(name, site)| (*name, Site::Model(*site)));
    let mut all = layers.chain(model);
    let found = all.clone().find(|(known, _)| *known == name);
    found.map(|(_, site)| site).ok_or_else(|| {
        let first = all.next().map_or("", |(name, _)| name);
        let rest = all.map(|(name, _)| name);
        let known = rest.fold(first.to_owned(), |list, name| list + ", " + name);
        errors::input(py, format!("there is no site {name:?}; there are {known}"))
    })
}

/// The name of a place in a pass, and its layer if it is in one.
pub(crate) fn name(tap: Tap) -> (&'static str, Option<usize>) {
    match tap {
        Tap::Layer(layer, site) => {
            let found = OF_LAYERS.iter().find(|(_, known)| *known == site);
            (found.map_or("", |(name, _)| name), Some(layer))
        }
        Tap::Model(site) => {
            let found = OF_MODEL.iter().find(|(_, known)| *known == site);
            (found.map_or("", |(name, _)| name), None)
        }
    }
}

/// The place of a site; in a layer, if it is one of a layer.
pub(crate) fn tap(py: Python<'_>, name: &str, layer: Option<usize>) -> PyResult<Tap> {
    match (site(py, name)?, layer) {
        (Site::Layer(site), Some(layer)) => Ok(Tap::Layer(layer, site)),
        (Site::Model(site), None) => Ok(Tap::Model(site)),
        (Site::Layer(_), None) => Err(errors::input(
            py,
            format!("{name} is in a layer: say which"),
        )),
        (Site::Model(_), Some(_)) => Err(errors::input(
            py,
            format!("{name} is in no layer: give none"),
        )),
    }
}

//! A model under a mask, and what of the mask is left for the pass.

use bertology_model::HeadMask;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Error, LoadedModel};

/// A model ready for a mask: masked heads taken out of its weights, other factors left for the pass.
#[derive(Debug, Clone)]
pub struct MaskedModel {
    model: LoadedModel,
    factors: Factors,
}

/// Factors of heads that a pass applies; none where every head counts as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Factors(Option<HeadMask>);

impl MaskedModel {
    /// Under a mask, if there is one. With `compute_masked` masked heads are computed: their output counts for
    /// nothing, but they have a gradient.
    ///
    /// # Errors
    /// A mask that does not fit.
    pub fn new(
        model: &LoadedModel,
        mask: Option<&HeadMask>,
        compute_masked: bool,
    ) -> Result<Self, Error> {
        let Some(mask) = mask else {
            return Ok(Self {
                model: model.clone(),
                factors: Factors::default(),
            });
        };
        mask.check(model.model())?;
        let model = if compute_masked {
            model.clone()
        } else {
            model.without_heads(mask.masked())?
        };
        let trivial = model.model().heads().all(|id| mask.get(id) == 1.0);
        Ok(Self {
            model,
            factors: Factors((!trivial).then(|| mask.clone())),
        })
    }

    /// What runs.
    #[must_use]
    pub fn model(&self) -> &LoadedModel {
        &self.model
    }

    pub(crate) fn factors(&self) -> &Factors {
        &self.factors
    }
}

impl Factors {
    pub(crate) fn get(&self) -> Option<&HeadMask> {
        self.0.as_ref()
    }

    /// Refuses a state of another mask.
    pub(crate) fn agrees(&self, fresh: &Self) -> Result<(), Error> {
        if self == fresh {
            return Ok(());
        }
        let say = |factors: &Self| match &factors.0 {
            None => "none".to_owned(),
            Some(mask) => format!("{:?}", mask.values()),
        };
        Error::state_mismatch("the head mask", say(self), say(fresh))
    }
}

/// As a file may hold them: layers, heads, values.
type Written = Option<(usize, usize, Vec<f64>)>;

impl Serialize for Factors {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let written = self.0.as_ref();
        let written: Written =
            written.map(|mask| (mask.layers(), mask.heads(), mask.values().to_vec()));
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Factors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Written::deserialize(deserializer)?;
        let mask =
            written.map(|(layers, heads, values)| HeadMask::from_values(layers, heads, values));
        mask.transpose().map(Self).map_err(serde::de::Error::custom)
    }
}

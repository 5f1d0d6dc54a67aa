//! What a study wants of a pass, and what it sees of one sequence.

use bertology_model::reduction::{Reduction, Table};
use bertology_model::{Event, HeadId, HeadMask, Interests, Sequence, SequenceOutput};

use serde::{Deserialize, Serialize};

use crate::Error;

/// What a study sees of one input. Stateless, shared by all workers.
pub trait Lens: Sync {
    /// What is known of an input: words, label, leaves ...
    type Item: Send;
    /// What one input contributes.
    type Part: Send;

    /// Sites, gradients, heads to leave out.
    fn wants(&self) -> Wants<'_>;

    /// Nothing seen yet of a sequence.
    ///
    /// # Errors
    /// A sequence that cannot be studied; the message names its line.
    fn begin(&self, item: &Self::Item, sequence: &Sequence) -> Result<Self::Part, Error>;

    /// Sees what passes by at a site of [`Wants::interests`]: layers and heads ascending in the forward pass,
    /// layers descending in the backward pass.
    fn see(&self, item: &Self::Item, part: &mut Self::Part, event: &Event<'_, f32>) {
        let _ = (item, part, event);
    }

    /// How many tables of attention maps are all that is wanted of them, so that a device makes these and keeps the maps: as many as
    /// [`Lens::reductions`] has of every input. 0: the maps are wanted.
    fn tables(&self) -> usize {
        0
    }

    /// What a device may make of the attention maps of a sequence; [`Lens::see_table`] then sees it, and [`Lens::see`] no map. On the
    /// processor maps are seen.
    fn reductions(&self, item: &Self::Item, part: &Self::Part) -> Vec<Reduction> {
        let _ = (item, part);
        Vec::new()
    }

    /// Sees one of [`Lens::reductions`], in the order of [`Lens::see`].
    fn see_table(&self, item: &Self::Item, part: &mut Self::Part, table: &Table<'_, f32>) {
        let _ = (item, part, table);
    }

    /// The masks under each of which the sequence is put through the model instead of once, with [`Wants::own_masks`];
    /// [`Lens::output`] hears of each in order. Nothing inside such passes can be seen.
    fn masks(&self, item: &Self::Item) -> Vec<HeadMask> {
        let _ = item;
        Vec::new()
    }

    /// What came out for the sequence; with [`Wants::without`] also for each of those heads, in the order of
    /// (layer, head) behind the whole.
    ///
    /// # Errors
    /// Results that cannot be trusted; the message names the sequence's line.
    fn output(
        &self,
        item: &Self::Item,
        part: &mut Self::Part,
        without: Option<HeadId>,
        output: &SequenceOutput<f32>,
    ) -> Result<(), Error> {
        let _ = (item, part, without, output);
        Ok(())
    }

    /// Everything of the sequence was seen; still on the thread of a worker.
    ///
    /// # Errors
    /// A contribution that cannot be trusted; the message names the sequence's line.
    fn close(&self, item: &Self::Item, part: &mut Self::Part) -> Result<(), Error> {
        let _ = (item, part);
        Ok(())
    }

    /// About how many bytes a sequence of so many tokens contributes. Little for sums; studies that keep values
    /// say it, so that a job ends before it holds too much.
    fn bytes(&self, tokens: u64) -> u64 {
        let _ = tokens;
        0
    }
}

/// What is left out when it is a head's turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ablated {
    /// The head: Michel, Levy and Neubig 2019, section 3.2.
    #[default]
    Head,
    /// All other heads of its layer: section 3.3. Other layers keep theirs.
    Others,
}

/// What a lens wants of a pass.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Wants<'a> {
    /// Sites whose values or gradients are seen.
    pub interests: Interests,
    /// Whether logits and losses are looked at ([`Lens::output`]); what nobody looks at is not computed.
    pub outputs: bool,
    /// Logits of every token, where the head scores tokens; with [`Self::outputs`] alone they are computed where there are
    /// targets.
    pub token_scores: bool,
    /// Gradients with respect to the mask factor of every head.
    pub mask_gradients: bool,
    /// Factors of the heads.
    pub masking: Option<&'a HeadMask>,
    /// Results for each of these heads in turn, too, as [`Self::ablated`] says. Nothing inside such passes can be seen.
    pub without: Option<&'a [HeadId]>,
    /// What is left out for each of [`Self::without`]: the head, or all others of its layer.
    pub ablated: Ablated,
    /// Every sequence is put through under masks of its own ([`Lens::masks`]).
    pub own_masks: bool,
    /// One sequence at a time, for studies that keep maps until a sequence is closed.
    pub one_at_a_time: bool,
    /// Values that are NaN or infinite, which otherwise end the pass.
    pub allow_nonfinite: bool,
    /// Why this is more than a pass can give.
    pub(crate) apart: Option<&'static str>,
}

impl<'a> Wants<'a> {
    /// These sites and nothing else.
    #[must_use]
    pub fn sites(interests: Interests) -> Self {
        Self {
            interests,
            ..Self::default()
        }
    }

    /// What two studies want of the same pass. Studies of masks, or with heads left out, want passes of their
    /// own; that is refused when the pass is made, with [`Error::Apart`].
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let reason = if self.without.or(other.without).is_some() {
            Some("one of them leaves heads out, which is not one pass but many")
        } else if self.masking.or(other.masking).is_some() || self.own_masks || other.own_masks {
            Some("one of them weighs heads by a mask")
        } else {
            None
        };
        Self {
            interests: self.interests.union(other.interests),
            outputs: self.outputs || other.outputs,
            token_scores: self.token_scores || other.token_scores,
            mask_gradients: self.mask_gradients || other.mask_gradients,
            one_at_a_time: self.one_at_a_time || other.one_at_a_time,
            allow_nonfinite: self.allow_nonfinite && other.allow_nonfinite,
            apart: reason.or(self.apart).or(other.apart),
            ..Self::default()
        }
    }

    /// Refuses what no single pass can give.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.apart {
            None => Ok(()),
            Some(reason) => Err(Error::Apart { reason }),
        }
    }

    /// Whether there is a backward pass.
    pub(crate) fn any_gradient(&self) -> bool {
        self.mask_gradients || self.interests.any_gradient()
    }
}

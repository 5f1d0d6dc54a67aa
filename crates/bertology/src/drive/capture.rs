//! What a model computes for a few texts, kept whole.

use std::collections::BTreeMap;
use std::ops::Index;

use bertology_model::taps::Captured;
use bertology_model::{
    Capture, HeadId, Interests, LayerSite, ModelSite, Observer, PackedBatch, Pass, PassOptions,
    Site, Tap, Target,
};

use super::each::each;
use crate::model::loaded::{Input, all_threads};
use crate::{Error, HeadTable, LoadedModel};

impl LoadedModel {
    /// Hidden states of every input: `[input][layer]`, each `[tokens, hidden]`. `L + 1` entries an
    /// input, the embeddings first, as transformers' `hidden_states`.
    ///
    /// ```
    /// use bertology::{LoadedModel};
    /// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/tiny-bert");
    /// let model = LoadedModel::open(folder)?;
    /// let texts = ["The horses were admired."];
    /// let states = model.hidden_states(&texts)?;
    /// let last = &states[0][model.architecture().num_layers];
    /// assert_eq!((last.rows, last.cols), (7, 128)); // [tokens, hidden]
    /// # Ok::<(), bertology::Error>(())
    /// ```
    ///
    /// # Errors
    /// Inputs that cannot be encoded or do not fit the model.
    pub fn hidden_states<I: Input>(&self, inputs: &[I]) -> Result<Vec<Vec<Captured<f32>>>, Error> {
        self.rows(inputs, None, Pass::Forward)
    }

    /// Gradients of each input's loss with respect to [`LoadedModel::hidden_states`], same shape.
    ///
    /// ```
    /// use bertology::{LoadedModel, Target};
    /// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/tiny-bert");
    /// let model = LoadedModel::open(folder)?;
    /// let texts = ["The horses were admired."];
    /// let gradients = model.hidden_state_gradients(&texts, &[Target::Label(1)])?;
    /// // A classifier reads the first token of the last layer only.
    /// let last = &gradients[0][model.architecture().num_layers];
    /// assert!(last.data[last.cols..].iter().all(|g| *g == 0.0));
    /// # Ok::<(), bertology::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`LoadedModel::hidden_states`]; targets that do not fit the inputs or the task head.
    pub fn hidden_state_gradients<I: Input>(
        &self,
        inputs: &[I],
        targets: &[Target],
    ) -> Result<Vec<Vec<Captured<f32>>>, Error> {
        self.rows(inputs, Some(targets), Pass::Backward)
    }

    /// Attention probabilities of every input and head, `[query, key]`: the softmax, before any head
    /// mask.
    ///
    /// ```
    /// use bertology::{HeadId, LoadedModel};
    /// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/tiny-bert");
    /// let model = LoadedModel::open(folder)?;
    /// let texts = ["The horses were admired."];
    /// let attentions = model.attentions(&texts)?;
    /// let map = &attentions[0][HeadId { layer: 1, head: 2 }];
    /// let row: f32 = map.data[..map.cols].iter().sum();
    /// assert!((row - 1.0).abs() < 1e-6); // a distribution over keys for every query
    /// # Ok::<(), bertology::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`LoadedModel::hidden_states`].
    pub fn attentions<I: Input>(&self, inputs: &[I]) -> Result<Vec<PerHead>, Error> {
        self.per_head(inputs, None, Pass::Forward, LayerSite::AttentionProbs)
    }

    /// Gradients of each input's loss with respect to [`LoadedModel::attentions`].
    ///
    /// ```
    /// use bertology::{HeadId, LoadedModel, Target};
    /// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/tiny-bert");
    /// let model = LoadedModel::open(folder)?;
    /// let texts = ["The horses were admired."];
    /// let gradients = model.attention_gradients(&texts, &[Target::Label(1)])?;
    /// assert_eq!(gradients[0].layer(0).count(), 4); // heads of layer 0
    /// assert_eq!(gradients[0][HeadId { layer: 0, head: 3 }].rows, 7);
    /// # Ok::<(), bertology::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`LoadedModel::hidden_state_gradients`].
    pub fn attention_gradients<I: Input>(
        &self,
        inputs: &[I],
        targets: &[Target],
    ) -> Result<Vec<PerHead>, Error> {
        let site = LayerSite::AttentionProbs;
        self.per_head(inputs, Some(targets), Pass::Backward, site)
    }

    /// Outputs of every input and head, `[tokens, head_dim]`: attention probabilities times values,
    /// before the output projection.
    ///
    /// ```
    /// use bertology::{HeadId, LoadedModel};
    /// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/tiny-bert");
    /// let model = LoadedModel::open(folder)?;
    /// let texts = ["The horses were admired."];
    /// let outputs = model.head_outputs(&texts)?;
    /// let output = &outputs[0][HeadId { layer: 2, head: 0 }];
    /// assert_eq!((output.rows, output.cols), (7, 32)); // [tokens, head_dim]
    /// # Ok::<(), bertology::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`LoadedModel::hidden_states`].
    pub fn head_outputs<I: Input>(&self, inputs: &[I]) -> Result<Vec<PerHead>, Error> {
        self.per_head(inputs, None, Pass::Forward, LayerSite::HeadOutput)
    }

    /// Gradients of each input's loss with respect to [`LoadedModel::head_outputs`].
    ///
    /// ```
    /// use bertology::{LoadedModel, Target};
    /// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/tiny-bert");
    /// let model = LoadedModel::open(folder)?;
    /// let texts = ["The horses were admired."];
    /// let gradients = model.head_output_gradients(&texts, &[Target::Label(1)])?;
    /// assert_eq!(gradients[0].iter().count(), 16); // 4 layers of 4 heads
    /// # Ok::<(), bertology::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`LoadedModel::hidden_state_gradients`].
    pub fn head_output_gradients<I: Input>(
        &self,
        inputs: &[I],
        targets: &[Target],
    ) -> Result<Vec<PerHead>, Error> {
        let site = LayerSite::HeadOutput;
        self.per_head(inputs, Some(targets), Pass::Backward, site)
    }

    /// Signed gradient of each input's loss with respect to the mask factor of every head: the
    /// importance of a head is the mean of its absolute value.
    ///
    /// ```
    /// use bertology::{LoadedModel, Target};
    /// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/tiny-bert");
    /// let model = LoadedModel::open(folder)?;
    /// let texts = ["The horses were admired."];
    /// let slopes = model.mask_gradients(&texts, &[Target::Label(1)])?;
    /// assert!(slopes[0].iter().all(|(_, slope)| slope != 0.0));
    /// # Ok::<(), bertology::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`LoadedModel::hidden_state_gradients`].
    pub fn mask_gradients<I: Input>(
        &self,
        inputs: &[I],
        targets: &[Target],
    ) -> Result<Vec<HeadTable>, Error> {
        let mut tables = Vec::with_capacity(inputs.len());
        self.for_each(inputs, Some(targets), true, Interests::none(), |found| {
            let zeros = HeadTable::zeros(self.model());
            let gradient = found.mask_gradient.unwrap_or_default();
            let heads = zeros.heads();
            tables.push(zeros.map(|id, _| gradient[id.layer * heads + id.head]));
        })?;
        Ok(tables)
    }

    /// Logits of the sequence-level head for every input, `[labels]`; empty if the model has none.
    ///
    /// # Errors
    /// As [`LoadedModel::hidden_states`].
    pub fn logits<I: Input>(&self, inputs: &[I]) -> Result<Vec<Vec<f32>>, Error> {
        let mut logits = Vec::with_capacity(inputs.len());
        self.for_each(inputs, None, false, Interests::none(), |found| {
            logits.push(found.logits);
        })?;
        Ok(logits)
    }

    fn rows<I: Input>(
        &self,
        inputs: &[I],
        targets: Option<&[Target]>,
        pass: Pass,
    ) -> Result<Vec<Vec<Captured<f32>>>, Error> {
        let sites = [
            Site::from(ModelSite::Embeddings),
            Site::from(LayerSite::HiddenState),
        ];
        let mut all = Vec::with_capacity(inputs.len());
        self.for_each(inputs, targets, false, interests(pass, &sites), |found| {
            // A pass emits the layers in the order of its computation.
            let mut layers: Vec<(usize, Captured<f32>)> = found
                .captured
                .iter()
                .map(|(_, tap, _, _, value)| match tap {
                    Tap::Layer(layer, _) => (layer + 1, value.clone()),
                    Tap::Model(_) => (0, value.clone()),
                })
                .collect();
            layers.sort_by_key(|(layer, _)| *layer);
            all.push(layers.into_iter().map(|(_, value)| value).collect());
        })?;
        Ok(all)
    }

    fn per_head<I: Input>(
        &self,
        inputs: &[I],
        targets: Option<&[Target]>,
        pass: Pass,
        site: LayerSite,
    ) -> Result<Vec<PerHead>, Error> {
        let mut all = Vec::with_capacity(inputs.len());
        let interests = interests(pass, &[Site::from(site)]);
        self.for_each(inputs, targets, false, interests, |found| {
            let mut maps = BTreeMap::new();
            for (_, tap, _, head, value) in found.captured.iter() {
                if let (Tap::Layer(layer, _), Some(head)) = (tap, head) {
                    maps.insert(HeadId { layer, head }, value.clone());
                }
            }
            all.push(PerHead { maps });
        })?;
        Ok(all)
    }

    /// Runs every input by itself, on all cores, and hands over what was asked for in order.
    fn for_each<I: Input>(
        &self,
        inputs: &[I],
        targets: Option<&[Target]>,
        mask_gradients: bool,
        interests: Interests,
        mut each_found: impl FnMut(Found),
    ) -> Result<(), Error> {
        if let Some(targets) = targets
            && targets.len() != inputs.len()
        {
            return Err(Error::Model(bertology_model::Error::TargetCount {
                targets: targets.len(),
                sequences: inputs.len(),
            }));
        }
        let sequences = inputs
            .iter()
            .map(|input| input.sequence(self))
            .collect::<Result<Vec<_>, _>>()?;
        each(
            all_threads().min(inputs.len()),
            sequences.iter().enumerate(),
            |workspace, (i, sequence)| {
                let batch = PackedBatch::new(self.architecture(), std::slice::from_ref(sequence))?;
                let mut captured = Capture::new(interests);
                let options = PassOptions {
                    targets: targets.map(|t| &t[i..=i]),
                    mask_gradients,
                    ..PassOptions::default()
                };
                let observers: &mut [&mut dyn Observer<f32>] = &mut [&mut captured];
                let mut output = self.model().run(&batch, &options, workspace, observers)?;
                let output = output.sequences.pop().unwrap_or_default();
                Ok(Found {
                    logits: output.logits,
                    mask_gradient: output.mask_gradient,
                    captured,
                })
            },
            |found| {
                each_found(found);
                Ok(())
            },
        )
    }
}

fn interests(pass: Pass, sites: &[Site]) -> Interests {
    sites
        .iter()
        .fold(Interests::none(), |set, site| match pass {
            Pass::Forward => set.value(*site),
            Pass::Backward => set.gradient(*site),
        })
}

/// What one input gave.
struct Found {
    logits: Vec<f32>,
    mask_gradient: Option<Vec<f64>>,
    captured: Capture<f32>,
}

/// One matrix per head of one input; pruned heads have none.
#[derive(Debug, Clone, PartialEq)]
pub struct PerHead {
    maps: BTreeMap<HeadId, Captured<f32>>,
}

impl PerHead {
    /// The matrix of a head, if the model has the head.
    #[must_use]
    pub fn get(&self, id: HeadId) -> Option<&Captured<f32>> {
        self.maps.get(&id)
    }

    /// All heads and their matrices, in order.
    pub fn iter(&self) -> impl Iterator<Item = (HeadId, &Captured<f32>)> {
        self.maps.iter().map(|(id, value)| (*id, value))
    }

    /// The heads of one layer and their matrices, in order.
    pub fn layer(&self, layer: usize) -> impl Iterator<Item = (usize, &Captured<f32>)> {
        let heads = HeadId { layer, head: 0 }..HeadId {
            layer: layer.saturating_add(1),
            head: 0,
        };
        self.maps.range(heads).map(|(id, value)| (id.head, value))
    }
}

impl Index<HeadId> for PerHead {
    type Output = Captured<f32>;

    /// # Panics
    /// If the model has no such head.
    #[track_caller]
    fn index(&self, id: HeadId) -> &Captured<f32> {
        match self.get(id) {
            Some(value) => value,
            None => panic!("{id} is not a head of this model"),
        }
    }
}

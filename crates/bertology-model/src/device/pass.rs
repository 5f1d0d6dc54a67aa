//! A pass over a batch on a device.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use bertology_checkpoint::Architecture;
use bertology_device::{Columns, Reduce, Shape};
use bertology_kernels::Real;

use super::Asked;
use super::groups::{Extent, Shapes};
use super::reduce;
use super::watch::Flags;
use super::weights::{Attention, Layer, Rest, Shell, Weights, Words};
use crate::block::BlockPass;
use crate::rows::Rows;
use crate::taps::{LayerSite, ModelSite, Pass, Tap, Taps};
use crate::{Error, Model, PackedBatch, PassOptions, PassOutput, SequenceOutput};

/// Flags of values that nobody looks at: so many a layer, both ways, and some outside the layers.
const FLAGS_OF_LAYER: usize = 6;
const FLAGS_BESIDE: usize = 4;

/// One pass: the device, what is on it, and the batch.
pub(super) struct DevicePass<'a, R: Real, D: Reduce<R>> {
    pub(super) device: &'a D,
    pub(super) model: &'a Model<R>,
    pub(super) batch: &'a PackedBatch,
    pub(super) options: &'a PassOptions<'a>,
    shell: Arc<Shell<D::Buffer>>,
    layers: Vec<Layer<D::Buffer>>,
    pub(super) extent: Extent,
    /// `[distances, hidden]`: what the distances of this batch are, where they have queries and keys.
    pub(super) distance_rows: Option<D::Buffer>,
    /// All sequences, without heads.
    pub(super) sequences: D::Shape,
    pub(super) flags: Flags<D::Buffer>,
    /// What is made of maps, in the place of handing them out.
    pub(super) reducing: Vec<reduce::Asked<D::Buffer, D::Indices>>,
    /// By the slots of the heads that are present.
    shapes: RefCell<BTreeMap<Vec<usize>, SharedShapes<D::Shape>>>,
    positions: OnceCell<D::Indices>,
    columns: OnceCell<D::Indices>,
}

/// What heads of tasks give, and the gradient of the last hidden state.
type Outputs<R, B> = (Vec<SequenceOutput<R>>, Option<B>);
type SharedShapes<S> = Rc<Shapes<S>>;

impl<'a, R: Real, D: Reduce<R>> DevicePass<'a, R, D> {
    pub(super) fn new(
        device: &'a D,
        weights: &Weights<R, D::Buffer>,
        asked: &Asked<'a, R>,
    ) -> Result<Self, Error> {
        let (model, batch) = (asked.model, asked.batch);
        let arch = model.architecture();
        let longest = batch.ranges().map(|range| range.len()).max();
        let longest = longest.unwrap_or(1);
        let shell = weights.shell(device, &model.shell, arch)?;
        let layers = (0..model.depth())
            .map(|layer| weights.layer(device, model.layer(layer)))
            .collect::<Result<_, _>>()?;
        let read = arch
            .disentangled
            .map(|rule| crate::distances::rows_within(rule, longest));
        let distances = match &read {
            Some(rows) => rows.len(),
            None if arch.positions.is_relative() => 2 * longest - 1,
            None => 0,
        };
        let distance_rows = match (&shell.relative, read) {
            (Some(table), Some(rows)) => {
                let width = arch.hidden_size;
                let mut some = device.zeros(rows.len() * width)?;
                let from = Columns {
                    first: rows.start * width,
                    ..Columns::all(width)
                };
                device.copy(&mut some, Columns::all(width), table, from, rows.len());
                Some(some)
            }
            _ => None,
        };
        let all = Shape::new(batch.ranges(), Vec::new(), 0, longest, 0);
        let room = FLAGS_OF_LAYER * model.depth() + FLAGS_BESIDE;
        Ok(Self {
            device,
            model,
            batch,
            options: asked.options,
            shell,
            layers,
            extent: Extent {
                dim: arch.head_dim(),
                longest,
                distances,
            },
            distance_rows,
            sequences: device.shape(&all)?,
            flags: Flags::new(device, room, batch.len())?,
            reducing: Vec::new(),
            shapes: RefCell::new(BTreeMap::new()),
            positions: OnceCell::new(),
            columns: OnceCell::new(),
        })
    }

    pub(super) fn arch(&self) -> &'a Architecture {
        self.model.architecture()
    }

    pub(super) fn layer(&self, layer: usize) -> (&Attention<D::Buffer>, &Rest<D::Buffer>) {
        let (attention, rest) = &self.layers[layer];
        (attention, rest)
    }

    /// The same block as the engine's own pass sees it, with all rows.
    pub(super) fn host_block(&self, layer: usize) -> BlockPass<'a, R> {
        self.model
            .block(layer, self.batch, &Rows::All, self.options)
    }

    pub(super) fn shapes(&self, layer: usize) -> Result<SharedShapes<D::Shape>, Error> {
        let attention = &self.model.layer(layer).attention;
        let places = 0..attention.heads.len();
        let slots: Vec<usize> = places.map(|place| attention.slot(place)).collect();
        if let Some(shapes) = self.shapes.borrow().get(&slots) {
            return Ok(Rc::clone(shapes));
        }
        let shapes = Rc::new(Shapes::new(
            self.device,
            self.batch,
            slots.clone(),
            self.extent,
        )?);
        self.shapes.borrow_mut().insert(slots, Rc::clone(&shapes));
        Ok(shapes)
    }

    /// Cosines and sines that turn queries and keys of this layer, and half the numbers that are turned.
    pub(super) fn angles(&self, layer: usize) -> Option<(&[D::Buffer; 2], usize)> {
        let rotary = self.model.shell.rotary.as_ref()?;
        let (place, half) = rotary.table_of(self.arch().reach(layer));
        Some((&self.shell.angles[place], half))
    }

    /// The position of every token.
    pub(super) fn positions(&self) -> Result<&D::Indices, Error> {
        self.once(&self.positions, || self.batch.positions.clone())
    }

    /// The column of a spread for each `query - key`.
    pub(super) fn columns(&self) -> Result<&D::Indices, Error> {
        self.once(&self.columns, || {
            let far = self.extent.longest as isize - 1;
            match self.arch().disentangled {
                Some(rule) => {
                    let first = crate::distances::rows_within(rule, self.extent.longest).start;
                    let row = |offset| (rule.row(offset) - first) as u32;
                    (-far..=far).map(row).collect()
                }
                None => (0..2 * self.extent.longest as u32 - 1).collect(),
            }
        })
    }

    fn once<'s>(
        &self,
        cell: &'s OnceCell<D::Indices>,
        rows: impl FnOnce() -> Vec<u32>,
    ) -> Result<&'s D::Indices, Error> {
        if let Some(found) = cell.get() {
            return Ok(found);
        }
        let made = self.device.indices(&rows())?;
        Ok(cell.get_or_init(|| made))
    }

    /// Where a layer's gradients of the head mask begin.
    pub(super) fn mask_gradients_of(&self, layer: usize) -> usize {
        layer * self.batch.len() * self.arch().num_heads
    }

    /// The whole pass.
    pub(super) fn run(
        &self,
        asked: &Asked<'_, R>,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<PassOutput<R>, Error> {
        let depth = self.model.depth();
        let mut hidden = self.embed(taps)?;
        let mut traces = Vec::new();
        for layer in 0..depth {
            self.options.go_on()?;
            let mut trace = self.trace(layer)?;
            self.block(layer, &mut hidden, &mut trace, taps)?;
            if asked.backward {
                traces.push(trace);
            }
        }
        let last = self.final_norm(&mut hidden, taps)?;
        self.tables_of_all(taps)?;
        if asked.headless {
            self.settle(taps)?;
            return Ok(PassOutput {
                sequences: vec![SequenceOutput::default(); self.batch.len()],
            });
        }
        let (mut sequences, gradient) = self.outputs(&hidden, asked, taps)?;
        if let Some(mut gradient) = gradient {
            self.final_norm_backward(&mut gradient, last.as_ref(), taps)?;
            self.backward(gradient, &traces, taps, &mut sequences)?;
        }
        Ok(PassOutput { sequences })
    }

    /// `[tokens, hidden]`: what tokens are below all layers.
    pub(super) fn embed(&self, taps: &mut Taps<'_, '_, '_, R>) -> Result<D::Buffer, Error> {
        let (device, arch, shell) = (self.device, self.arch(), &self.shell);
        let (tokens, width) = (self.batch.tokens(), arch.embedding_size);
        let mut sum = device.zeros(tokens * width)?;
        let ids = device.indices(&self.batch.ids)?;
        device.gather(&mut sum, &shell.words, &ids, width, false);
        if let Some(rule) = arch.token_dropout {
            let factors: Vec<R> = (0..self.batch.len())
                .flat_map(|sequence| {
                    let ids = self.batch.ids(sequence);
                    let factor = R::from_f64(rule.factor(ids));
                    let of = move |id: &u32| if *id == rule.mask_id { R::ZERO } else { factor };
                    ids.iter().map(of)
                })
                .collect();
            let factors = device.upload(&factors)?;
            device.scale_rows(&mut sum, &factors, tokens, width);
        }
        let segments = self.batch.segments.iter();
        let segments: Vec<u32> = segments
            .map(|segment| segment.unwrap_or(u32::MAX))
            .collect();
        if segments.iter().any(|segment| *segment != u32::MAX) {
            let table = shell.segments.as_ref().unwrap_or(&shell.words);
            let segments = device.indices(&segments)?;
            device.gather(&mut sum, table, &segments, width, true);
        }
        if let Some(table) = &shell.positions {
            device.gather(&mut sum, table, self.positions()?, width, true);
        }
        if let Some(norm) = &shell.norm {
            let mut y = device.zeros(tokens * width)?;
            let mut rstd = device.zeros(tokens)?;
            self.normalise(&mut y, &mut sum, &mut rstd, norm, [tokens, width]);
            sum = y;
        }
        if let Some(map) = &shell.projection {
            let mut wide = device.zeros(tokens * map.outputs)?;
            self.linear(&mut wide, &sum, map, tokens);
            sum = wide;
        }
        let tap = Tap::Model(ModelSite::Embeddings);
        self.pass_by(tap, &mut sum, arch.hidden_size, taps)?;
        Ok(sum)
    }

    /// The norm after the last block, where there is one; gives what its backward pass needs.
    pub(super) fn final_norm(
        &self,
        hidden: &mut D::Buffer,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<Option<[D::Buffer; 2]>, Error> {
        let Some(norm) = &self.shell.final_norm else {
            return Ok(None);
        };
        let (tokens, width) = (self.batch.tokens(), self.arch().hidden_size);
        let mut hat = self.device.zeros(tokens * width)?;
        let mut rstd = self.device.zeros(tokens)?;
        let mut y = self.device.zeros(tokens * width)?;
        self.norm(&mut y, hidden, &mut hat, &mut rstd, norm, width);
        *hidden = y;
        self.pass_by(self.last_state(), hidden, width, taps)?;
        Ok(Some([hat, rstd]))
    }

    fn last_state(&self) -> Tap {
        Tap::Layer(self.arch().num_layers - 1, LayerSite::HiddenState)
    }

    fn final_norm_backward(
        &self,
        gradient: &mut D::Buffer,
        last: Option<&[D::Buffer; 2]>,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<(), Error> {
        if let (Some(norm), Some([hat, rstd])) = (&self.shell.final_norm, last) {
            let width = self.arch().hidden_size;
            self.look_back(self.last_state(), gradient, width, taps)?;
            self.norm_backward(gradient, hat, rstd, norm, width);
        }
        Ok(())
    }

    fn backward(
        &self,
        mut gradient: D::Buffer,
        traces: &[super::block::Trace<D::Buffer>],
        taps: &mut Taps<'_, '_, '_, R>,
        sequences: &mut [SequenceOutput<R>],
    ) -> Result<(), Error> {
        let (arch, depth) = (self.arch(), self.model.depth());
        let numbers = self.mask_gradients_of(depth);
        let mut mask_gradients = self.device.zeros(numbers)?;
        let floor = self.model.backward_floor(taps.interests());
        for layer in (floor.layer..depth).rev() {
            self.options.go_on()?;
            let deeper = layer > floor.layer || floor.through;
            let (trace, gradients) = (&traces[layer], &mut mask_gradients);
            self.block_backward(layer, &mut gradient, trace, deeper, gradients, taps)?;
        }
        self.settle(taps)?;
        if self.options.mask_gradients || !self.options.allow_nonfinite {
            let found = self.device.read(&mask_gradients, 0..numbers)?;
            for (sequence, output) in sequences.iter_mut().enumerate() {
                let mut all = vec![0.0; arch.num_layers * arch.num_heads];
                for layer in floor.layer..depth {
                    let heads = &self.model.layer(layer).attention.heads;
                    let first = self.mask_gradients_of(layer) + sequence * heads.len();
                    for (head, value) in heads.iter().zip(&found[first..]) {
                        all[layer * arch.num_heads + head] = value.to_f64();
                    }
                }
                output.mask_gradient = Some(all);
            }
            self.model.check_mask_gradients(self.options, sequences)?;
        }
        let site = Tap::Model(ModelSite::Embeddings);
        if taps.wants(Pass::Backward, site.site()) {
            let gradient = self.rows_of(&gradient, arch.hidden_size)?;
            taps.emit_rows(
                Pass::Backward,
                site,
                self.batch,
                &gradient,
                arch.hidden_size,
            )?;
        }
        if !self.options.mask_gradients {
            for output in sequences {
                output.mask_gradient = None;
            }
        }
        Ok(())
    }

    /// From the input of a layer to what heads of tasks give, without a way back: `[tokens, hidden]` becomes results.
    pub(super) fn rise(
        &self,
        layer: usize,
        mut hidden: D::Buffer,
        asked: &Asked<'_, R>,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<Vec<SequenceOutput<R>>, Error> {
        for layer in layer..self.model.depth() {
            self.options.go_on()?;
            let mut trace = self.trace(layer)?;
            self.block(layer, &mut hidden, &mut trace, taps)?;
        }
        self.final_norm(&mut hidden, taps)?;
        Ok(self.outputs(&hidden, asked, taps)?.0)
    }

    /// What heads of tasks give, and the gradient of `hidden [tokens, hidden]`, if that is asked for.
    pub(super) fn outputs(
        &self,
        hidden: &D::Buffer,
        asked: &Asked<'_, R>,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<Outputs<R, D::Buffer>, Error> {
        let width = self.arch().hidden_size;
        let (mut words, mut gradient) = (None, None);
        if self.finds_words(taps) {
            self.settle(taps)?;
            let targets = asked.targets.unwrap_or_default();
            let found = self.losses_of_words(hidden, targets, asked.backward, taps)?;
            (words, gradient) = (Some(found.0), found.1);
        }
        // Of a language model whose losses are found nothing is read here.
        let targets = asked.targets.filter(|_| words.is_none());
        let rows = self
            .model
            .rows_of_heads(self.batch, self.options, targets, taps);
        let states = self.rows_read(hidden, &rows, width)?;
        self.settle(taps)?;
        let mut below = vec![R::ZERO; if asked.backward { states.len() } else { 0 }];
        let sequences = self.model.task_outputs(
            self.batch,
            &rows,
            self.options,
            asked.targets,
            words.as_deref(),
            &states,
            asked.backward.then_some(below.as_mut_slice()),
            taps,
        )?;
        if asked.backward {
            let below = self.spread_rows(&below, &rows, width)?;
            match &mut gradient {
                Some(gradient) => self
                    .device
                    .add(gradient, &below, self.batch.tokens() * width),
                None => gradient = Some(below),
            }
        }
        Ok((sequences, gradient))
    }

    /// The head of a language model.
    pub(super) fn words(&self) -> Option<&Words<D::Buffer>> {
        self.shell.lm.as_ref()
    }

    /// What a language model multiplies states by, `[vocab, embedding size]`.
    pub(super) fn decoder<'s>(&'s self, words: &'s Words<D::Buffer>) -> &'s D::Buffer {
        words.decoder.as_ref().unwrap_or(&self.shell.words)
    }
}

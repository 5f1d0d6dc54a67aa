//! Compares what the taps show, value by value as it passes, with the tensors of the file.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bertology_checkpoint::{Architecture, TaskHead};
use bertology_model::{
    Event, HeadId, Interests, LayerSite, ModelSite, Observer, Pass, Real, SequenceOutput, Tap,
};

use super::inputs::Inputs;
use super::names::{Named, Quantity};
use super::reference::Tensor;
use super::{Comparison, HeadError, Place, ReferenceError, Tolerances, Worst};

/// How a tensor of the file is laid out.
#[derive(Debug)]
enum Layout {
    /// `[batch, positions, width]`
    Rows,
    /// `[batch, heads, positions, width]`; `slots[head]` is the place of a head.
    Heads {
        slots: Vec<Option<usize>>,
        slots_in_file: usize,
    },
    /// `[batch, width]`
    Vectors,
    /// One number, or one a sequence.
    Loss,
    /// `[layers, heads]`, or `[batch, layers, heads]`
    Mask,
}

/// What is known so far of a tensor or of one head's part.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    compared: u64,
    /// Largest absolute values.
    theirs: f64,
    ours: f64,
    worst: Option<(f64, Place, f64, f64)>,
}

impl Tally {
    fn add(&mut self, ours: f64, theirs: f64, place: Place) {
        self.compared += 1;
        self.theirs = self.theirs.max(theirs.abs());
        self.ours = self.ours.max(ours.abs());
        let error = (ours - theirs).abs();
        // A value that is not a number cannot agree with anything.
        let error = if error.is_nan() { f64::INFINITY } else { error };
        if self.worst.is_none_or(|(worst, ..)| error > worst) {
            self.worst = Some((error, place, ours, theirs));
        }
    }

    fn worst(&self, scale: f64) -> Worst {
        let (absolute, place, ours, theirs) = self.worst.unwrap_or_default();
        Worst {
            absolute,
            relative: if absolute == 0.0 {
                0.0
            } else {
                absolute / scale
            },
            place,
            ours,
            theirs,
        }
    }
}

/// One tensor of the file on its way to a [`Comparison`].
#[derive(Debug)]
struct Judged<'a> {
    name: &'a str,
    quantity: Quantity,
    tensor: &'a Tensor,
    layout: Layout,
    tally: Tally,
    heads: BTreeMap<HeadId, Tally>,
    left_out: u64,
    not_finite: Option<(Place, f64)>,
}

impl Judged<'_> {
    fn add(&mut self, ours: f64, index: usize, head: Option<HeadId>, place: Place) {
        let theirs = self.tensor.float(index);
        if !theirs.is_finite() {
            self.not_finite.get_or_insert((place, theirs));
            return;
        }
        self.tally.add(ours, theirs, place);
        if let Some(head) = head {
            let tally = self.heads.entry(head).or_default();
            tally.add(ours, theirs, place);
        }
    }

    fn finish(self, tolerances: &Tolerances) -> Result<Comparison, ReferenceError> {
        let name = self.name.to_owned();
        if let Some((place, value)) = self.not_finite {
            let place = Box::new(place);
            return Err(ReferenceError::NotFinite { name, place, value });
        }
        if self.tally.compared + self.left_out == 0 {
            return Err(ReferenceError::NotComputed {
                name,
                reason: "the model gave no such value in this pass; leave it out".into(),
            });
        }
        if self.tally.theirs == 0.0 && self.tally.ours != 0.0 {
            return Err(ReferenceError::AllZero { name });
        }
        let tap = self.quantity.tap();
        let logits = matches!(
            tap,
            Some((
                Pass::Forward,
                Tap::Model(ModelSite::Logits | ModelSite::TokenLogits)
            ))
        );
        let unit = if logits || self.quantity == Quantity::Loss {
            1.0
        } else {
            0.0
        };
        let scale = self.tally.theirs.max(unit);
        let tolerance = match self.quantity {
            Quantity::Loss => tolerances.loss,
            quantity if quantity.is_gradient() => tolerances.gradients,
            _ => tolerances.values,
        };
        let worst = self.tally.worst(scale);
        let heads = self.heads.iter().map(|(id, tally)| HeadError {
            layer: id.layer,
            head: id.head,
            worst: tally.worst(scale),
        });
        Ok(Comparison {
            name,
            layer: self.quantity.layer(),
            compared: self.tally.compared,
            left_out: self.left_out,
            scale,
            tolerance,
            agrees: worst.absolute <= tolerance * scale,
            worst,
            heads: heads.collect(),
        })
    }
}

/// The observer that compares.
#[derive(Debug)]
pub(super) struct Judge<'a> {
    inputs: &'a Inputs,
    arch: Architecture,
    tensors: Vec<Judged<'a>>,
    by_tap: BTreeMap<(Pass, Tap), Vec<usize>>,
    interests: Interests,
}

impl<'a> Judge<'a> {
    /// Checks the shape of every result; `results` in the order of the computation.
    pub(super) fn new(
        results: Vec<(Quantity, Named<'a>)>,
        inputs: &'a Inputs,
        arch: &Architecture,
    ) -> Result<Self, ReferenceError> {
        let mut judge = Self {
            inputs,
            arch: arch.clone(),
            tensors: Vec::new(),
            by_tap: BTreeMap::new(),
            interests: Interests::none(),
        };
        for (quantity, named) in results {
            let layout = Expected { arch, inputs }.layout(quantity, named)?;
            if let Some((pass, tap)) = quantity.tap() {
                let place = judge.by_tap.entry((pass, tap)).or_default();
                place.push(judge.tensors.len());
                judge.interests = match pass {
                    Pass::Forward => judge.interests.value(tap.site()),
                    Pass::Backward => judge.interests.gradient(tap.site()),
                };
            }
            let left_out = of_absent_heads(quantity, &layout, named, inputs, arch);
            judge.tensors.push(Judged {
                name: named.name,
                quantity,
                tensor: named.floats()?,
                layout,
                tally: Tally::default(),
                heads: BTreeMap::new(),
                left_out,
                not_finite: None,
            });
        }
        Ok(judge)
    }

    /// Whether the gradient of the head mask is compared.
    pub(super) fn wants_mask_gradients(&self) -> bool {
        self.tensors
            .iter()
            .any(|t| t.quantity == Quantity::MaskGradient)
    }

    /// Compares what a pass returns instead of showing it: losses and gradients of the head mask.
    pub(super) fn outputs<R>(&mut self, outputs: &[SequenceOutput<R>], arch: &Architecture) {
        let inputs = self.inputs;
        for judged in &mut self.tensors {
            match judged.quantity {
                Quantity::Loss => {
                    let own = outputs.iter().map(|o| o.loss.unwrap_or(f64::NAN));
                    if inputs.mean {
                        // A sequence without a target has no loss, and no share either.
                        let parts = own.zip(&inputs.shares).filter(|(_, share)| **share > 0.0);
                        let mean = parts.map(|(loss, share)| loss * share).sum();
                        judged.add(mean, 0, None, Place::default());
                    } else {
                        for (sequence, loss) in own.enumerate() {
                            let place = Place {
                                sequence: Some(sequence),
                                ..Place::default()
                            };
                            judged.add(loss, sequence, None, place);
                        }
                    }
                }
                Quantity::MaskGradient => mask_gradients(judged, outputs, inputs, arch),
                Quantity::Tap(..) | Quantity::MaskedAttention(..) => {}
            }
        }
    }

    pub(super) fn finish(self, tolerances: &Tolerances) -> Result<Vec<Comparison>, ReferenceError> {
        let zeros = |t: &Judged<'_>| t.tally.theirs == 0.0 && t.tally.ours == 0.0;
        let nothing = self.tensors.iter().all(zeros);
        let each = self.tensors.into_iter().map(|t| t.finish(tolerances));
        let compared = each.collect::<Result<_, _>>()?;
        if nothing {
            return Err(ReferenceError::NothingToCompare {
                reason: "the reference and the model have zeros only".into(),
            });
        }
        Ok(compared)
    }
}

/// Numbers at real tokens that the file has of heads that the model has not, and so never gives.
fn of_absent_heads(
    quantity: Quantity,
    layout: &Layout,
    named: Named<'_>,
    inputs: &Inputs,
    arch: &Architecture,
) -> u64 {
    let (Some((_, Tap::Layer(layer, site))), Layout::Heads { slots, .. }) =
        (quantity.tap(), layout)
    else {
        return 0;
    };
    let present = arch.heads(layer);
    let heads = slots.iter().enumerate();
    let absent = heads.filter(|(head, slot)| slot.is_some() && !present.contains(head));
    let square = matches!(site, LayerSite::AttentionScores | LayerSite::AttentionProbs);
    let columns = named.tensor.shape.last().copied().unwrap_or_default();
    let of_head = inputs.kept.iter().map(|kept| {
        let columns = if square { kept.len() } else { columns };
        (kept.len() * columns) as u64
    });
    absent.count() as u64 * of_head.sum::<u64>()
}

fn mask_gradients<R>(
    judged: &mut Judged<'_>,
    outputs: &[SequenceOutput<R>],
    inputs: &Inputs,
    arch: &Architecture,
) {
    let heads = arch.num_heads;
    let size = arch.num_layers * heads;
    let own = |sequence: usize, cell: usize| {
        let gradient = outputs[sequence].mask_gradient.as_ref();
        gradient.map_or(f64::NAN, |g| g[cell])
    };
    let each = judged.tensor.shape.len() == 3;
    for row in 0..if each { outputs.len() } else { 1 } {
        for cell in 0..size {
            let id = HeadId {
                layer: cell / heads,
                head: cell % heads,
            };
            if !arch.heads(id.layer).contains(&id.head) {
                judged.left_out += 1;
                continue;
            }
            let place = Place {
                sequence: each.then_some(row),
                layer: Some(id.layer),
                head: Some(id.head),
                ..Place::default()
            };
            let ours = if each {
                own(row, cell)
            } else {
                (0..outputs.len())
                    .map(|b| inputs.weight(b) * own(b, cell))
                    .sum()
            };
            judged.add(ours, row * size + cell, Some(id), place);
        }
    }
}

impl<R: Real> Observer<R> for Judge<'_> {
    fn interests(&self) -> Interests {
        self.interests
    }

    fn observe(&mut self, event: &Event<'_, R>) -> ControlFlow<()> {
        let Some(tensors) = self.by_tap.get(&(event.pass, event.tap)) else {
            return ControlFlow::Continue(());
        };
        for index in tensors {
            let judged = &mut self.tensors[*index];
            see(judged, event, self.inputs, &self.arch);
        }
        ControlFlow::Continue(())
    }
}

/// Compares one value of a pass.
fn see<R: Real>(
    judged: &mut Judged<'_>,
    event: &Event<'_, R>,
    inputs: &Inputs,
    arch: &Architecture,
) {
    let (rows, cols) = (event.value.rows(), event.value.cols());
    let (b, width) = (event.sequence, inputs.width);
    let kept = &inputs.kept[b];
    let (square, id) = match event.tap {
        Tap::Layer(layer, site) => (
            matches!(site, LayerSite::AttentionScores | LayerSite::AttentionProbs),
            event.head.map(|head| HeadId { layer, head }),
        ),
        Tap::Model(_) => (false, None),
    };
    let row_length = if square { width } else { cols };
    let first = match (&judged.layout, id) {
        (Layout::Rows, _) => b * width,
        (
            Layout::Heads {
                slots,
                slots_in_file,
            },
            Some(id),
        ) => match slots[id.head] {
            Some(slot) => (b * slots_in_file + slot) * width,
            None => return,
        },
        _ => b,
    };
    let Some(factor) = factor(judged.quantity, inputs, b, id) else {
        judged.left_out += (rows * cols) as u64;
        return;
    };
    let vector = matches!(judged.layout, Layout::Vectors);
    // What no softmax sees has a score in the file all the same.
    let unseen = |query: usize, key: usize| match (event.pass, event.tap) {
        (Pass::Forward, Tap::Layer(layer, LayerSite::AttentionScores)) => {
            let far = |reach| query.abs_diff(key) > reach;
            (arch.causal && key > query) || arch.reach(layer).is_some_and(far)
        }
        _ => false,
    };
    for (r, values) in event.value.iter_rows().enumerate() {
        let position = kept.get(r).copied().filter(|_| !vector);
        let row = first + position.unwrap_or(0);
        for (c, ours) in values.iter().enumerate() {
            if unseen(r, c) {
                judged.left_out += 1;
                continue;
            }
            let column = if square { kept[c] } else { c };
            let place = Place {
                sequence: Some(b),
                layer: None,
                head: event.head,
                position,
                key: square.then_some(column),
                column: (!square).then_some(column),
            };
            judged.add(factor * ours.to_f64(), row * row_length + column, id, place);
        }
    }
}

/// What the tap's value is multiplied by to give the file's; nothing where that cannot be known.
fn factor(quantity: Quantity, inputs: &Inputs, b: usize, id: Option<HeadId>) -> Option<f64> {
    let mask = match (&inputs.mask, id) {
        (Some(mask), Some(id)) => mask.get(id),
        _ => 1.0,
    };
    match quantity {
        Quantity::MaskedAttention(Pass::Forward, _) => Some(mask),
        // The tap's gradient is that of the softmax, which has the mask's factor in it.
        Quantity::MaskedAttention(Pass::Backward, _) => {
            (mask != 0.0).then(|| inputs.weight(b) / mask)
        }
        Quantity::Tap(Pass::Backward, _) => Some(inputs.weight(b)),
        _ => Some(1.0),
    }
}

/// What the shapes of results must be.
struct Expected<'a> {
    arch: &'a Architecture,
    inputs: &'a Inputs,
}

impl Expected<'_> {
    fn layout(&self, quantity: Quantity, named: Named<'_>) -> Result<Layout, ReferenceError> {
        let arch = self.arch;
        let (batch, width) = (self.inputs.kept.len(), self.inputs.width);
        let shape = named.tensor.shape.as_slice();
        let fits = |expected: &[usize], layout, advice: &str| {
            if shape == expected {
                Ok(layout)
            } else {
                Err(named.wrong_shape(format!("this model gives {expected:?}{advice}")))
            }
        };
        let Some((_, tap)) = quantity.tap() else {
            let (layers, heads) = (arch.num_layers, arch.num_heads);
            return match (quantity, shape) {
                (Quantity::Loss, [] | [1]) => Ok(Layout::Loss),
                (Quantity::Loss, [b]) if *b == batch => Ok(Layout::Loss),
                (Quantity::Loss, _) => Err(named.wrong_shape(format!(
                    "it must be one number, or one a sequence, [{batch}]"
                ))),
                (_, [l, h]) if (*l, *h) == (layers, heads) => Ok(Layout::Mask),
                (_, [b, l, h]) if (*b, *l, *h) == (batch, layers, heads) => Ok(Layout::Mask),
                _ => Err(named.wrong_shape(format!(
                    "it must be [layers, heads], [{layers}, {heads}], or that for every sequence"
                ))),
            };
        };
        match tap {
            Tap::Layer(layer, site) => match site {
                LayerSite::HiddenState | LayerSite::AttentionOutput | LayerSite::MlpOutput => {
                    fits(&[batch, width, arch.hidden_size], Layout::Rows, "")
                }
                LayerSite::MlpInner => fits(&[batch, width, arch.neurons(layer)], Layout::Rows, ""),
                LayerSite::AttentionScores | LayerSite::AttentionProbs => {
                    self.heads(named, layer, width)
                }
                _ => self.heads(named, layer, arch.head_dim()),
            },
            Tap::Model(ModelSite::Embeddings | ModelSite::LastResidual) => {
                fits(&[batch, width, arch.hidden_size], Layout::Rows, "")
            }
            Tap::Model(ModelSite::Pooled) => {
                let classifier = matches!(arch.head, TaskHead::SequenceClassification { .. });
                if !arch.pooler && !classifier {
                    return Err(no_such(named, "this model has no pooler; leave it out"));
                }
                fits(&[batch, arch.hidden_size], Layout::Vectors, "")
            }
            Tap::Model(ModelSite::TokenLogits) => match arch.head {
                TaskHead::MaskedLm | TaskHead::CausalLm | TaskHead::PreTraining => {
                    let expected = [batch, width, arch.vocab_size];
                    fits(&expected, Layout::Rows, &self.other_head())
                }
                TaskHead::ReplacedTokens => fits(&[batch, width], Layout::Rows, &self.other_head()),
                _ => match arch.head.token_scores() {
                    Some(scores) => fits(&[batch, width, scores], Layout::Rows, &self.other_head()),
                    None => Err(self.no_head(named)),
                },
            },
            Tap::Model(_) => {
                let labels = match arch.head {
                    TaskHead::SequenceClassification { num_labels, .. } => num_labels,
                    TaskHead::NextSentence | TaskHead::PreTraining => 2,
                    _ => return Err(self.no_head(named)),
                };
                fits(&[batch, labels], Layout::Vectors, &self.other_head())
            }
        }
    }

    fn heads(&self, named: Named<'_>, layer: usize, cols: usize) -> Result<Layout, ReferenceError> {
        let (batch, width, all) = (
            self.inputs.kept.len(),
            self.inputs.width,
            self.arch.num_heads,
        );
        // Other programs compute heads of zeros, too, and number what their file holds anew.
        let present = self.arch.heads_in_file(layer);
        let heads = match named.tensor.shape.as_slice() {
            [b, n, s, c] if (*b, *s, *c) == (batch, width, cols) => *n,
            _ => 0,
        };
        if heads == present.len() {
            let slot = |head| present.iter().position(|h| *h == head);
            return Ok(Layout::Heads {
                slots: (0..all).map(slot).collect(),
                slots_in_file: heads,
            });
        }
        let expected = [batch, present.len(), width, cols];
        if heads != all {
            return Err(named.wrong_shape(format!("this model gives {expected:?}")));
        }
        let masked = |head: usize| {
            let id = HeadId { layer, head };
            self.inputs.mask.as_ref().is_some_and(|m| m.get(id) == 0.0)
        };
        match (0..all).find(|head| !present.contains(head) && !masked(*head)) {
            Some(head) => Err(named.wrong_shape(format!(
                "L{layer}H{head} is pruned away in this model, which gives {expected:?}; write \
                 the reference with the pruned model, or with head_mask 0 at the heads that are \
                 gone"
            ))),
            None => Ok(Layout::Heads {
                slots: (0..all).map(Some).collect(),
                slots_in_file: all,
            }),
        }
    }

    fn class(&self) -> &'static str {
        match self.arch.head {
            TaskHead::None => "AutoModel",
            TaskHead::SequenceClassification { .. } => "AutoModelForSequenceClassification",
            TaskHead::MaskedLm => "AutoModelForMaskedLM",
            TaskHead::CausalLm => "AutoModelForCausalLM",
            TaskHead::NextSentence => "AutoModelForNextSentencePrediction",
            TaskHead::PreTraining | TaskHead::ReplacedTokens => "AutoModelForPreTraining",
            TaskHead::TokenClassification { .. } => "AutoModelForTokenClassification",
            TaskHead::QuestionAnswering => "AutoModelForQuestionAnswering",
        }
    }

    fn other_head(&self) -> String {
        format!(
            "; it has {}: write the reference with {}",
            self.arch.head.description(),
            self.class()
        )
    }

    fn no_head(&self, named: Named<'_>) -> ReferenceError {
        let reason = format!(
            "this model has {}; write the reference with {} or leave it out",
            self.arch.head.description(),
            self.class()
        );
        no_such(named, &reason)
    }
}

fn no_such(named: Named<'_>, reason: &str) -> ReferenceError {
    ReferenceError::NotComputed {
        name: named.name.to_owned(),
        reason: reason.to_owned(),
    }
}

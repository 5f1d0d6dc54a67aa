//! Golden folders: a real checkpoint and the values that transformers computes with it.

use std::path::PathBuf;

use bertology_checkpoint::{Checkpoint, OpenOptions};
use bertology_model::{HeadMask, Model, PackedBatch, Real, Sequence, Target};
use bertology_testkit::{Tensors, golden};

pub(crate) struct Fixture {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    tensors: Tensors,
}

/// On which side of a text its padding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Padding {
    Left,
    Right,
}

/// A golden tensor: its shape and its numbers.
#[derive(Debug)]
pub(crate) struct Golden {
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<f64>,
}

impl Golden {
    /// The part of a `[B, …, S, …]` tensor that belongs to one index of its first axis.
    pub(crate) fn first(&self, index: usize) -> Golden {
        let size = self.shape[1..].iter().product::<usize>();
        Golden {
            shape: self.shape[1..].to_vec(),
            data: self.data[index * size..(index + 1) * size].to_vec(),
        }
    }

    /// The first `rows × cols` of a matrix: what is not padding.
    pub(crate) fn corner(&self, rows: usize, cols: usize) -> Vec<f64> {
        assert_eq!(self.shape.len(), 2, "a corner of {:?}", self.shape);
        (0..rows)
            .flat_map(|i| self.data[i * self.shape[1]..][..cols].to_vec())
            .collect()
    }
}

impl Fixture {
    pub(crate) fn open(name: &str) -> Self {
        Self::with_values_of(name, &format!("engine/{name}"))
    }

    /// An engine's checkpoint and the values of another place.
    pub(crate) fn with_values_of(name: &str, values: &str) -> Self {
        Self {
            name: name.to_owned(),
            folder: golden(&format!("engine/{name}")),
            tensors: Tensors::read(&golden(values).join("golden.safetensors")),
        }
    }

    pub(crate) fn model<R: Real>(&self) -> Model<R> {
        let checkpoint =
            Checkpoint::open(&self.folder, &OpenOptions::default()).expect("golden checkpoint");
        placed(Model::from_checkpoint(&checkpoint).expect("golden model"))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.has(name)
    }

    pub(crate) fn get(&self, name: &str) -> Golden {
        Golden {
            shape: self.tensors.shape(name),
            data: self.tensors.f64(name),
        }
    }

    /// The inputs without their padding, which is on the right.
    pub(crate) fn sequences(&self) -> Vec<Sequence> {
        self.inputs("", Padding::Right)
    }

    /// The inputs whose names start with `prefix`, without their padding.
    pub(crate) fn inputs(&self, prefix: &str, padding: Padding) -> Vec<Sequence> {
        let input = |name: &str| {
            let name = format!("{prefix}{name}");
            self.has(&name).then(|| self.get(&name))
        };
        let ids = input("input_ids").expect("ids");
        let mask = input("attention_mask").expect("mask");
        let (segments, positions) = (input("token_type_ids"), input("position_ids"));
        (0..ids.shape[0])
            .map(|b| {
                let n = mask.first(b).data.iter().filter(|m| **m == 1.0).count();
                let columns = match padding {
                    Padding::Right => 0..n,
                    Padding::Left => ids.shape[1] - n..ids.shape[1],
                };
                let take = |g: &Golden| -> Vec<u32> {
                    let row = g.first(b).data;
                    row[columns.clone()].iter().map(|v| *v as u32).collect()
                };
                Sequence {
                    ids: take(&ids),
                    segments: segments.as_ref().map(take).unwrap_or_default(),
                    positions: positions.as_ref().map(take).unwrap_or_default(),
                }
            })
            .collect()
    }

    pub(crate) fn batch<R: Real>(&self, model: &Model<R>) -> PackedBatch {
        PackedBatch::new(model.architecture(), &self.sequences()).expect("batch")
    }

    pub(crate) fn mask(&self, variant: &str) -> HeadMask {
        let golden = self.get(&format!("{variant}.head_mask"));
        HeadMask::from_values(golden.shape[0], golden.shape[1], golden.data).expect("mask")
    }

    /// One target per sequence, of the kind that the folder's head takes.
    fn scores_tokens(&self) -> bool {
        self.name.ends_with("-tokens") || self.name.ends_with("-discriminator")
    }

    pub(crate) fn targets(&self) -> Vec<Target> {
        if self.has("start_positions") {
            let (starts, ends) = (self.get("start_positions"), self.get("end_positions"));
            let sides = starts.data.iter().zip(&ends.data);
            return sides
                .map(|(start, end)| Target::Span {
                    start: *start as usize,
                    end: *end as usize,
                })
                .collect();
        }
        // A causal language model's labels one place to the left.
        let name = if self.has("targets") {
            "targets"
        } else {
            "labels"
        };
        let labels = self.get(name);
        let next = self
            .has("next_sentence_label")
            .then(|| self.get("next_sentence_label"));
        let lengths: Vec<usize> = self.sequences().iter().map(Sequence::len).collect();
        (0..lengths.len())
            .map(|b| {
                if labels.shape.len() == 2 {
                    let tokens: Vec<Option<u32>> = labels.first(b).data[..lengths[b]]
                        .iter()
                        .map(|v| if *v < 0.0 { None } else { Some(*v as u32) })
                        .collect();
                    match &next {
                        Some(next) => {
                            let next_sentence = next.data[b] as usize;
                            Target::PreTraining {
                                tokens,
                                next_sentence,
                            }
                        }
                        None if self.scores_tokens() => Target::TokenLabels(tokens),
                        None => Target::Tokens(tokens),
                    }
                } else if self.name.contains("regression") {
                    Target::Value(labels.data[b])
                } else if self.name.contains("nsp") {
                    Target::NextSentence(labels.data[b] as usize)
                } else {
                    Target::Label(labels.data[b] as usize)
                }
            })
            .collect()
    }
}

/// The model on the device that `BERTOLOGY_TEST_DEVICE` names: all of these tests hold there, too.
pub(crate) fn placed<R: Real>(model: Model<R>) -> Model<R> {
    match std::env::var("BERTOLOGY_TEST_DEVICE").as_deref() {
        Err(_) => model,
        #[cfg(feature = "device")]
        Ok("host") => {
            let device = bertology_model::bertology_device::Host::new();
            model.on_device(device).expect("a model on a device")
        }
        #[cfg(feature = "wgpu")]
        Ok("gpu") => on_a_card(model),
        Ok(other) => panic!("no device {other}; host and gpu need the features device and wgpu"),
    }
}

/// A model in f32 on the best card there is; one in f64, which no card computes in, as it was.
#[cfg(feature = "wgpu")]
fn on_a_card<R: Real>(model: Model<R>) -> Model<R> {
    use std::any::Any;
    use std::sync::OnceLock;

    use bertology_model::bertology_device::wgpu::{Wgpu, Which};

    // Its programs are compiled once for all tests.
    static CARD: OnceLock<Wgpu> = OnceLock::new();

    let mut model: Box<dyn Any> = Box::new(model);
    if let Some(single) = model.downcast_mut::<Model<f32>>() {
        let open = || Wgpu::open(Which::Best).expect("a card, or Mesa's program that acts as one");
        let card = CARD.get_or_init(open).clone();
        *single = single.clone().on_device(card).expect("a model on a card");
    }
    *model.downcast().expect("a model")
}

/// Largest absolute difference; infinite where something is not a number.
pub(crate) fn distance<R: Real>(ours: &[R], theirs: &[f64]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter()
        .zip(theirs)
        .map(|(a, b)| (a.to_f64() - b).abs())
        .fold(0.0, |max, d| {
            if d.is_nan() {
                f64::INFINITY
            } else {
                max.max(d)
            }
        })
}

/// Largest absolute value: the scale of a tensor.
pub(crate) fn scale(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |max, v| max.max(v.abs()))
}

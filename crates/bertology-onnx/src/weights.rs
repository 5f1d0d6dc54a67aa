//! Initializers, and where their values come from: read from the checkpoint when the file is written, one at a time.

use std::borrow::Cow;

use bertology_checkpoint::{Checkpoint, Parameter, Tensor, transpose};

use crate::Error;
use crate::graph::Element;
use crate::proto::Message;

/// Which units, such as heads, of an axis stay.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    /// Rows or columns of a unit.
    pub(crate) width: usize,
    /// Their places among those of the file, ascending.
    pub(crate) slots: Vec<usize>,
}

impl Kept {
    fn pick(&self, values: &[f32], stride: usize) -> Vec<f32> {
        let block = self.width * stride;
        let units = self.slots.iter();
        units
            .flat_map(|slot| &values[slot * block..][..block])
            .copied()
            .collect()
    }
}

/// A parameter of the checkpoint, or a part of it, as the graph wants it.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) parameter: Parameter,
    /// Sizes of the part in the canonical layout, `[outputs, inputs]` of a map, `[rows, width]` of a table; a vector has one
    /// input.
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
    /// Whether it has one dimension.
    pub(crate) vector: bool,
    /// Which one it is of so many parts that lie below each other.
    pub(crate) part: (usize, usize),
    pub(crate) kept_outputs: Option<Kept>,
    pub(crate) kept_inputs: Option<Kept>,
    /// Wanted as `[inputs, outputs]`.
    pub(crate) transposed: bool,
}

/// The values of an initializer.
#[derive(Debug)]
pub(crate) enum Data {
    Piece(Piece),
    Floats(Vec<f32>),
    Ints(Vec<i64>),
}

/// A tensor of the file.
#[derive(Debug)]
pub(crate) struct Initializer {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Data,
}

/// Where the bytes of an initializer are when they are not in the model's file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct External<'a> {
    pub(crate) file: &'a str,
    pub(crate) offset: u64,
}

impl Initializer {
    fn element(&self) -> Element {
        match self.data {
            Data::Piece(_) | Data::Floats(_) => Element::Float,
            Data::Ints(_) => Element::Int,
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        let each = match self.element() {
            Element::Float => 4,
            Element::Int => 8,
        };
        self.shape.iter().product::<usize>() as u64 * each
    }

    /// `TensorProto` up to its bytes, or with the place of these.
    pub(crate) fn message(&self, external: Option<External<'_>>) -> Message {
        let shape: Vec<i64> = self.shape.iter().map(|size| *size as i64).collect();
        let tensor = Message::new()
            .ints(1, &shape)
            .int(2, self.element().code())
            .text(8, &self.name);
        let Some(External { file, offset }) = external else {
            return tensor.announce(9, self.bytes());
        };
        let (offset, length) = (offset.to_string(), self.bytes().to_string());
        let entries = [("location", file), ("offset", &offset), ("length", &length)];
        let entries = entries.iter().fold(tensor, |tensor, (key, value)| {
            tensor.message(13, &Message::new().text(1, key).text(2, value))
        });
        entries.int(14, 1)
    }
}

/// Reads pieces; one that is a part of the same tensor as the last is read once.
#[derive(Debug)]
pub(crate) struct Reader<'c> {
    checkpoint: &'c Checkpoint,
    held: Option<(Parameter, Vec<f32>)>,
}

impl<'c> Reader<'c> {
    pub(crate) fn new(checkpoint: &'c Checkpoint) -> Self {
        Self {
            checkpoint,
            held: None,
        }
    }

    /// Hands the bytes of an initializer on, little-endian.
    pub(crate) fn write(
        &mut self,
        initializer: &Initializer,
        mut sink: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        match &initializer.data {
            Data::Ints(values) => encode(values, i64::to_le_bytes, &mut sink),
            Data::Floats(values) => encode(values, f32::to_le_bytes, &mut sink),
            Data::Piece(piece) => {
                let values = self.piece(piece)?;
                if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                    return Err(Error::NotFinite {
                        parameter: piece.parameter.to_string(),
                        value: *value,
                    });
                }
                encode(&values, f32::to_le_bytes, &mut sink)?;
                if let Some(tensor) = self.checkpoint.parameter(piece.parameter) {
                    tensor.release();
                }
                Ok(())
            }
        }
    }

    /// All values of the tensor that a piece is of.
    fn whole(&mut self, piece: &Piece) -> Result<Cow<'_, [f32]>, Error> {
        let (checkpoint, parameter) = (self.checkpoint, piece.parameter);
        if let Some(values) = checkpoint
            .in_place(parameter)
            .and_then(Tensor::as_f32_slice)
        {
            return Ok(values.into());
        }
        let held = self.held.take();
        let values = match held.filter(|(of, _)| *of == parameter) {
            Some((_, values)) => values,
            None => checkpoint
                .values(parameter)?
                .ok_or_else(|| Error::Missing {
                    parameter: parameter.to_string(),
                })?,
        };
        if piece.part.1 == 1 {
            return Ok(values.into());
        }
        Ok(Cow::Borrowed(&self.held.insert((parameter, values)).1))
    }

    fn piece(&mut self, piece: &Piece) -> Result<Cow<'_, [f32]>, Error> {
        let (count, (part, parts)) = (piece.outputs * piece.inputs, piece.part);
        let mut values = self.whole(piece)?;
        if values.len() != count * parts {
            return Err(Error::Shape {
                parameter: piece.parameter.to_string(),
                found: values.len(),
                expected: count * parts,
            });
        }
        if let Cow::Borrowed(all) = values {
            values = Cow::Borrowed(&all[part * count..][..count]);
        }
        let mut rows = piece.outputs;
        if let Some(kept) = &piece.kept_outputs {
            values = Cow::Owned(kept.pick(&values, piece.inputs));
            rows = kept.slots.len() * kept.width;
        }
        let mut columns = piece.inputs;
        if let Some(kept) = &piece.kept_inputs {
            let of_row = |row: &[f32]| kept.pick(row, 1);
            let picked = values.chunks_exact(columns.max(1)).flat_map(of_row);
            values = Cow::Owned(picked.collect());
            columns = kept.slots.len() * kept.width;
        }
        if piece.transposed {
            values = Cow::Owned(transpose(&values, rows, columns));
        }
        Ok(values)
    }
}

fn encode<T: Copy, const N: usize>(
    values: &[T],
    bytes: impl Fn(T) -> [u8; N],
    sink: &mut impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut buffer = Vec::with_capacity(N << 14);
    for chunk in values.chunks(1 << 14) {
        buffer.clear();
        buffer.extend(chunk.iter().flat_map(|value| bytes(*value)));
        sink(&buffer)?;
    }
    Ok(())
}

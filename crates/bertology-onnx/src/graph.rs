//! An ONNX graph while it is built: nodes in the order in which they can be computed, inputs, outputs and initializers.

use std::collections::{BTreeMap, BTreeSet};

use crate::proto::Message;
use crate::weights::{Data, Initializer};

/// The name of a value.
pub(crate) type Name = String;

/// An attribute of a node.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Attr<'a> {
    Int(i64),
    Float(f32),
    Ints(&'a [i64]),
}

/// A size of an input or output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Texts of a batch: `batch_size`.
    Batch,
    /// Tokens of the longest of them: `sequence_length`.
    Length,
    /// Always the same.
    Fixed(usize),
}

/// The type of the elements of an input or output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// `float32`.
    Float,
    /// `int64`.
    Int,
}

/// An input or output of the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Type of its elements.
    pub element: Element,
    /// Its sizes, outermost first.
    pub shape: Vec<Size>,
}

impl Element {
    /// As `TensorProto.DataType` numbers it.
    pub(crate) fn code(self) -> i64 {
        match self {
            Self::Float => 1,
            Self::Int => 7,
        }
    }

    /// The name of the type.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Float => "float32",
            Self::Int => "int64",
        }
    }
}

/// `TensorProto.DataType` of booleans.
pub(crate) const BOOL: i64 = 9;

impl Port {
    /// `ValueInfoProto`.
    pub(crate) fn message(&self) -> Message {
        let shape = self.shape.iter().fold(Message::new(), |shape, size| {
            let size = match size {
                Size::Batch => Message::new().text(2, "batch_size"),
                Size::Length => Message::new().text(2, "sequence_length"),
                Size::Fixed(size) => Message::new().int(1, *size as i64),
            };
            shape.message(1, &size)
        });
        let tensor = Message::new()
            .int(1, self.element.code())
            .message(2, &shape);
        let kind = Message::new().message(1, &tensor);
        Message::new().text(1, &self.name).message(2, &kind)
    }
}

/// A graph that grows. What has been computed is not computed again: a node like an earlier one is the earlier one.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    pub(crate) inputs: Vec<Port>,
    pub(crate) outputs: Vec<Port>,
    pub(crate) initializers: Vec<Initializer>,
    /// `NodeProto`s.
    pub(crate) nodes: Vec<Message>,
    /// What nodes that are made now belong to, the start of their names.
    pub(crate) scope: String,
    known: BTreeSet<Name>,
    /// Results by operator, inputs and attributes.
    made: BTreeMap<(String, Vec<Name>, Vec<u8>), Vec<Name>>,
    numbers: BTreeMap<String, usize>,
}

impl Graph {
    /// `AttributeProto`.
    fn attribute(name: &str, value: Attr<'_>) -> Message {
        let message = Message::new().text(1, name);
        match value {
            Attr::Float(value) => message.float(2, value).int(20, 1),
            Attr::Int(value) => message.int(3, value).int(20, 2),
            Attr::Ints(values) => message.ints(8, values).int(20, 7),
        }
    }

    /// The results of an operator.
    pub(crate) fn several(
        &mut self,
        operator: &str,
        inputs: &[&str],
        attributes: &[(&str, Attr<'_>)],
        outputs: usize,
    ) -> Vec<Name> {
        let attributes = attributes
            .iter()
            .fold(Message::new(), |all, (name, value)| {
                all.message(5, &Self::attribute(name, *value))
            });
        let key = (
            operator.to_owned(),
            inputs.iter().map(|&name| name.to_owned()).collect(),
            attributes.as_bytes().to_vec(),
        );
        if let Some(made) = self.made.get(&key) {
            return made.clone();
        }
        let stem = format!("{}/{operator}", self.scope);
        let number = self.numbers.entry(stem.clone()).or_default();
        let name = match *number {
            0 => stem,
            number => format!("{stem}_{number}"),
        };
        *number += 1;
        let results: Vec<Name> = (0..outputs)
            .map(|at| format!("{name}_output_{at}"))
            .collect();
        self.node(operator, inputs, &results, &name, &attributes);
        self.made.insert(key, results.clone());
        results
    }

    fn node(
        &mut self,
        operator: &str,
        inputs: &[&str],
        outputs: &[Name],
        name: &str,
        attributes: &Message,
    ) {
        let node = Message::new()
            .texts(1, inputs.iter().copied())
            .texts(2, outputs.iter().map(String::as_str))
            .text(3, name)
            .text(4, operator)
            .and(attributes);
        self.nodes.push(node);
    }

    /// The result of an operator.
    pub(crate) fn with(
        &mut self,
        operator: &str,
        inputs: &[&str],
        attributes: &[(&str, Attr<'_>)],
    ) -> Name {
        self.several(operator, inputs, attributes, 1).swap_remove(0)
    }

    /// The result of an operator without attributes.
    pub(crate) fn op(&mut self, operator: &str, inputs: &[&str]) -> Name {
        self.with(operator, inputs, &[])
    }

    pub(crate) fn input(&mut self, name: &str, element: Element, shape: Vec<Size>) -> Name {
        self.inputs.push(Port {
            name: name.into(),
            element,
            shape,
        });
        name.into()
    }

    /// Gives a value out under a name.
    pub(crate) fn output(&mut self, name: String, value: &str, shape: Vec<Size>) {
        let outputs = [name];
        let node = format!("outputs/{}", outputs[0]);
        self.node("Identity", &[value], &outputs, &node, &Message::new());
        let [name] = outputs;
        self.outputs.push(Port {
            name,
            element: Element::Float,
            shape,
        });
    }

    /// An initializer, which is there once whoever asks for it.
    pub(crate) fn initializer(
        &mut self,
        name: String,
        shape: &[usize],
        data: impl FnOnce() -> Data,
    ) -> Name {
        if self.known.insert(name.clone()) {
            self.initializers.push(Initializer {
                name: name.clone(),
                shape: shape.to_vec(),
                data: data(),
            });
        }
        name
    }

    /// `[values]`
    pub(crate) fn ints(&mut self, values: &[i64]) -> Name {
        let text: Vec<String> = values.iter().map(i64::to_string).collect();
        let name = format!("constants/ints_{}", text.join("_"));
        self.initializer(name, &[values.len()], || Data::Ints(values.to_vec()))
    }

    /// A whole number without dimensions.
    pub(crate) fn int(&mut self, value: i64) -> Name {
        let name = format!("constants/int_{value}");
        self.initializer(name, &[], || Data::Ints(vec![value]))
    }

    /// A number without dimensions.
    pub(crate) fn float(&mut self, value: f32) -> Name {
        let name = format!("constants/float_{value:e}");
        self.initializer(name, &[], || Data::Floats(vec![value]))
    }

    pub(crate) fn reshape(&mut self, value: &str, shape: &[i64]) -> Name {
        let shape = self.ints(shape);
        self.op("Reshape", &[value, &shape])
    }

    pub(crate) fn transpose(&mut self, value: &str, order: &[i64]) -> Name {
        self.with("Transpose", &[value], &[("perm", Attr::Ints(order))])
    }

    pub(crate) fn unsqueeze(&mut self, value: &str, axes: &[i64]) -> Name {
        let axes = self.ints(axes);
        self.op("Unsqueeze", &[value, &axes])
    }

    pub(crate) fn cast(&mut self, value: &str, to: i64) -> Name {
        self.with("Cast", &[value], &[("to", Attr::Int(to))])
    }

    /// Elements from `start` to `end`, both `[1]`, along an axis.
    pub(crate) fn slice(&mut self, value: &str, start: &str, end: &str, axis: i64) -> Name {
        let axis = self.ints(&[axis]);
        self.op("Slice", &[value, start, end, &axis])
    }

    pub(crate) fn gather(&mut self, table: &str, places: &str, axis: i64) -> Name {
        self.with("Gather", &[table, places], &[("axis", Attr::Int(axis))])
    }

    pub(crate) fn concat(&mut self, parts: &[&str], axis: i64) -> Name {
        self.with("Concat", parts, &[("axis", Attr::Int(axis))])
    }

    pub(crate) fn add(&mut self, a: &str, b: &str) -> Name {
        self.op("Add", &[a, b])
    }

    pub(crate) fn mul(&mut self, a: &str, b: &str) -> Name {
        self.op("Mul", &[a, b])
    }

    pub(crate) fn matmul(&mut self, a: &str, b: &str) -> Name {
        self.op("MatMul", &[a, b])
    }

    /// A value times a number; itself where that is 1.
    pub(crate) fn scaled(&mut self, value: &str, factor: f64) -> Name {
        if factor == 1.0 {
            return value.to_owned();
        }
        let factor = self.float(factor as f32);
        self.mul(value, &factor)
    }
}

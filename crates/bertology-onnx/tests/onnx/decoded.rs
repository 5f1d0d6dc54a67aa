//! A reader of protocol buffers, as far as these tests look at ONNX files.

use std::collections::BTreeMap;

/// A value of a field.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Four,
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (&byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return value;
        }
        shift += 7;
    }
}

/// The fields of a message, which it fills to its last byte.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Value<'_>)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let value = match tag & 7 {
            0 => Value::Number(varint(&mut bytes)),
            2 => {
                let length = varint(&mut bytes) as usize;
                let (value, rest) = bytes.split_at(length);
                bytes = rest;
                Value::Bytes(value)
            }
            5 => {
                bytes = &bytes[4..];
                Value::Four
            }
            other => panic!("a field of kind {other}"),
        };
        found.push((tag >> 3, value));
    }
    found
}

fn bytes(message: &[u8], field: u64) -> Vec<&[u8]> {
    let all = fields(message).into_iter();
    all.filter_map(|(of, value)| match value {
        Value::Bytes(value) if of == field => Some(value),
        _ => None,
    })
    .collect()
}

fn numbers(message: &[u8], field: u64) -> Vec<u64> {
    let all = fields(message).into_iter();
    all.filter_map(|(of, value)| match value {
        Value::Number(value) if of == field => Some(value),
        _ => None,
    })
    .collect()
}

fn texts(message: &[u8], field: u64) -> Vec<String> {
    let all = bytes(message, field).into_iter();
    all.map(|text| String::from_utf8(text.to_vec()).unwrap())
        .collect()
}

fn text(message: &[u8], field: u64) -> String {
    texts(message, field).pop().unwrap_or_default()
}

/// `StringStringEntryProto`s.
fn entries(message: &[u8], field: u64) -> BTreeMap<String, String> {
    let all = bytes(message, field).into_iter();
    all.map(|entry| (text(entry, 1), text(entry, 2))).collect()
}

pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) kind: u64,
    pub(crate) data: Vec<u8>,
    pub(crate) external: BTreeMap<String, String>,
}

pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) operator: String,
    pub(crate) inputs: Vec<String>,
    pub(crate) outputs: Vec<String>,
}

pub(crate) struct Port {
    pub(crate) name: String,
    pub(crate) kind: u64,
    /// Names and numbers.
    pub(crate) shape: Vec<String>,
}

pub(crate) struct Model {
    pub(crate) format: u64,
    pub(crate) opset: u64,
    pub(crate) producer: String,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) inputs: Vec<Port>,
    pub(crate) outputs: Vec<Port>,
}

fn port(message: &[u8]) -> Port {
    let kind = bytes(message, 2)[0];
    let tensor = bytes(kind, 1)[0];
    let shape = bytes(tensor, 2)[0];
    let size = |size: &[u8]| match numbers(size, 1).first() {
        Some(size) => size.to_string(),
        None => text(size, 2),
    };
    Port {
        name: text(message, 1),
        kind: numbers(tensor, 1)[0],
        shape: bytes(shape, 1).into_iter().map(size).collect(),
    }
}

impl Model {
    pub(crate) fn read(file: &[u8]) -> Self {
        let graph = bytes(file, 7)[0];
        let node = |node: &[u8]| Node {
            name: text(node, 3),
            operator: text(node, 4),
            inputs: texts(node, 1),
            outputs: texts(node, 2),
        };
        let tensor = |tensor: &[u8]| Tensor {
            name: text(tensor, 8),
            shape: numbers(tensor, 1)
                .iter()
                .map(|size| *size as usize)
                .collect(),
            kind: numbers(tensor, 2)[0],
            data: bytes(tensor, 9).concat(),
            external: entries(tensor, 13),
        };
        Self {
            format: numbers(file, 1)[0],
            opset: numbers(bytes(file, 8)[0], 2)[0],
            producer: text(file, 2),
            metadata: entries(file, 14),
            nodes: bytes(graph, 1).into_iter().map(node).collect(),
            tensors: bytes(graph, 5).into_iter().map(tensor).collect(),
            inputs: bytes(graph, 11).into_iter().map(port).collect(),
            outputs: bytes(graph, 12).into_iter().map(port).collect(),
        }
    }

    pub(crate) fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }
}

impl Tensor {
    pub(crate) fn floats(&self) -> Vec<f32> {
        let (whole, rest) = self.data.as_chunks::<4>();
        assert!(rest.is_empty());
        whole.iter().map(|four| f32::from_le_bytes(*four)).collect()
    }
}

//! The pickle of a PyTorch state dict, interpreted by a machine that can build dictionaries and
//! descriptions of tensors and nothing else. No name in the file is ever looked up or called.
//!
//! Containers live in arenas and values are handles of sixteen bytes; texts stay in the file. So a hostile
//! file can neither nest deep enough to exhaust the call stack nor multiply memory through shared
//! references: each opcode adds a bounded amount, and what can be repeated by an opcode of one byte is bounded.

mod found;
mod reading;

use std::collections::HashMap;

use safetensors::Dtype;

/// The longest pickle that is read, in bytes. A state dict's takes a few hundred for a tensor.
pub(super) const MOST_BYTES: usize = 16 << 20;
/// Values on the stack, values remembered: Python's own pickler puts a thousand items on the stack.
const MOST_VALUES: usize = 1 << 20;
/// Dimensions of a tensor. Parameters of a transformer have two.
const MOST_DIMENSIONS: usize = 8;
/// Bytes of a storage's name: PyTorch numbers them.
const MOST_KEY: usize = 64;

/// A tensor as the pickle describes it; counts are in elements, not bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TensorSpec {
    pub(super) dtype: Dtype,
    /// Name of the storage record in the archive.
    pub(super) storage: String,
    pub(super) storage_len: usize,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// Why a pickle was not read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is broken.
    Malformed(String),
    /// It is sound, but no dictionary of tensors.
    Other(String),
    /// It asks for this callable or class.
    Refused(String),
}

pub(super) fn malformed<T>(problem: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Malformed(problem.into()))
}

/// A stretch of the input or of the items.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    start: u32,
    len: u32,
}

impl Span {
    fn of<T>(self, all: &[T]) -> &[T] {
        let start = self.start as usize;
        all.get(start..start + self.len as usize)
            .unwrap_or_default()
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Value {
    Mark,
    None,
    Bool(bool),
    Int(i64),
    /// An integer of more than eight bytes, little-endian.
    Long(Span),
    Float,
    Text(Span),
    Global(u32),
    Tuple(Span),
    List(u32),
    Dict(u32),
    Storage(u32),
    Tensor(u32),
}

impl Value {
    fn kind(self) -> &'static str {
        match self {
            Self::Mark => "a mark",
            Self::None => "None",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "an integer",
            Self::Long(_) => "a large integer",
            Self::Float => "a float",
            Self::Text(_) => "a string",
            Self::Global(_) => "a class",
            Self::Tuple(_) => "a tuple",
            Self::List(_) => "a list",
            Self::Dict(_) => "a dictionary",
            Self::Storage(_) => "a storage",
            Self::Tensor(_) => "a tensor",
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Storage {
    dtype: Dtype,
    key: Span,
    len: usize,
}

/// A call of `_rebuild_tensor_v2`.
#[derive(Debug, Clone, Copy)]
struct Call {
    storage: u32,
    offset: usize,
    shape: Span,
    strides: Span,
}

/// What was put into a list (without a key) or a dictionary.
#[derive(Debug, Clone, Copy)]
struct Entry {
    container: u32,
    key: Value,
    value: Value,
}

#[derive(Debug)]
pub(super) struct Machine<'a> {
    input: &'a [u8],
    /// Bytes of the input that were read.
    at: usize,
    stack: Vec<Value>,
    memo: HashMap<u32, Value>,
    /// Module and name.
    globals: Vec<(Span, Span)>,
    /// Of all tuples.
    items: Vec<Value>,
    /// Lists and dictionaries that there are.
    containers: u32,
    entries: Vec<Entry>,
    storages: Vec<Storage>,
    calls: Vec<Call>,
}

/// The entries of the dictionary that the pickle holds, in its order.
pub(super) fn state_dict(input: &[u8]) -> Result<Vec<(String, TensorSpec)>, Fault> {
    let mut machine = Machine::new(input);
    let top = machine.run()?;
    machine.tensors_of(top)
}

impl<'a> Machine<'a> {
    /// A machine that reads the beginning of `input`, up to [`MOST_BYTES`].
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self {
            input: input.get(..MOST_BYTES).unwrap_or(input),
            at: 0,
            stack: Vec::new(),
            memo: HashMap::new(),
            globals: Vec::new(),
            items: Vec::new(),
            containers: 0,
            entries: Vec::new(),
            storages: Vec::new(),
            calls: Vec::new(),
        }
    }

    /// Bytes that were read.
    pub(super) fn taken(&self) -> usize {
        self.at
    }

    /// Reads one pickle to its end; gives what it holds.
    pub(super) fn run(&mut self) -> Result<Value, Fault> {
        loop {
            match self.byte()? {
                b'.' => return self.pop(),
                0x80 => {
                    let protocol = self.byte()?;
                    if protocol > 5 {
                        return malformed(format!("pickle protocol {protocol} is unknown"));
                    }
                }
                // Frames only group bytes.
                0x95 => drop(self.take(8)?),
                opcode => self.step(opcode)?,
            }
            if self.stack.len() > MOST_VALUES || self.memo.len() > MOST_VALUES {
                return malformed(format!(
                    "it holds more than {MOST_VALUES} values at once, which no state dict needs"
                ));
            }
        }
    }

    fn step(&mut self, opcode: u8) -> Result<(), Fault> {
        match opcode {
            b'(' => self.stack.push(Value::Mark),
            b'0' => drop(self.pop()?),
            b'N' => self.stack.push(Value::None),
            0x88 | 0x89 => self.stack.push(Value::Bool(opcode == 0x88)),
            b'K' => self.integer(1)?,
            b'M' => self.integer(2)?,
            b'J' => self.integer(4)?,
            0x8a => {
                let length = self.byte()?;
                self.integer(usize::from(length))?;
            }
            b'G' => {
                self.take(8)?;
                self.stack.push(Value::Float);
            }
            b'X' => self.string(4)?,
            0x8c | b'U' => self.string(1)?,
            b'T' => self.string(4)?,
            0x8d => self.string(8)?,
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name);
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(name), Value::Text(module)) = (name, module) else {
                    return malformed("a class is named by something other than strings");
                };
                self.global(module, name);
            }
            b')' => self.stack.push(Value::Tuple(Span { start: 0, len: 0 })),
            0x85..=0x87 => {
                let count = usize::from(opcode - 0x84);
                let Some(from) = self.stack.len().checked_sub(count) else {
                    return malformed("the stack is empty");
                };
                let items = self.stack.split_off(from);
                self.tuple(&items);
            }
            b't' => {
                let items = self.since_mark()?;
                self.tuple(&items);
            }
            b']' => {
                let list = self.container();
                self.stack.push(Value::List(list));
            }
            b'l' => {
                let items = self.since_mark()?;
                let list = self.container();
                self.stack.push(Value::List(list));
                self.extend_list(&items)?;
            }
            b'a' => {
                let item = self.pop()?;
                self.extend_list(&[item])?;
            }
            b'e' => {
                let items = self.since_mark()?;
                self.extend_list(&items)?;
            }
            b'}' => {
                let dict = self.container();
                self.stack.push(Value::Dict(dict));
            }
            b'd' => {
                let items = self.since_mark()?;
                let dict = self.container();
                self.stack.push(Value::Dict(dict));
                self.extend_dict(&items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.extend_dict(&[key, value])?;
            }
            b'u' => {
                let items = self.since_mark()?;
                self.extend_dict(&items)?;
            }
            b'q' => {
                let id = u32::from(self.byte()?);
                self.remember(id)?;
            }
            b'r' => {
                let id = self.unsigned(4)? as u32;
                self.remember(id)?;
            }
            0x94 => {
                let id = self.memo.len() as u32;
                self.remember(id)?;
            }
            b'h' => {
                let id = u32::from(self.byte()?);
                self.recall(id)?;
            }
            b'j' => {
                let id = self.unsigned(4)? as u32;
                self.recall(id)?;
            }
            b'Q' => self.persistent()?,
            b'R' => self.reduce()?,
            // Attributes of the dictionary, such as `_metadata`, carry no tensors.
            b'b' => {
                let (_, object) = (self.pop()?, self.top()?);
                if !matches!(object, Value::Dict(_)) {
                    return malformed(format!("it sets attributes of {}", object.kind()));
                }
            }
            0x81 | 0x92 => {
                let class = self.stack.iter().rev().find_map(|value| match value {
                    Value::Global(at) => Some(self.name(*at)),
                    _ => None,
                });
                return Err(Fault::Refused(class.unwrap_or_else(|| "an object".into())));
            }
            other => {
                return malformed(format!("opcode 0x{other:02x} has no place in a state dict"));
            }
        }
        Ok(())
    }

    /// `REDUCE`: the few calls by which PyTorch describes tensors; any other is refused by name.
    fn reduce(&mut self) -> Result<(), Fault> {
        let (args, callable) = (self.pop()?, self.pop()?);
        let args = self.first_of(args)?;
        let Value::Global(at) = callable else {
            return malformed(format!("it calls {}", callable.kind()));
        };
        let name = self.name(at);
        let result = match (name.as_str(), args.as_slice()) {
            ("collections.OrderedDict", []) => Value::Dict(self.container()),
            ("torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor", args) => {
                self.tensor(args)?
            }
            ("torch._utils._rebuild_parameter", [data @ Value::Tensor(_), ..])
            | ("torch._utils._rebuild_parameter_with_state", [data @ Value::Tensor(_), ..]) => {
                *data
            }
            ("torch._tensor._rebuild_from_type_v2", [Value::Global(inner), _, inner_args, ..]) => {
                let inner = self.name(*inner);
                if inner != "torch._utils._rebuild_tensor_v2" {
                    return Err(Fault::Refused(inner));
                }
                let args = self.first_of(*inner_args)?;
                self.tensor(&args)?
            }
            _ => return Err(Fault::Refused(name)),
        };
        self.stack.push(result);
        Ok(())
    }

    /// `_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)`; `_rebuild_tensor` of the
    /// first versions ends with the strides.
    fn tensor(&mut self, args: &[Value]) -> Result<Value, Fault> {
        let [Value::Storage(storage), offset, shape, strides, ..] = args else {
            return malformed("a tensor is described by the wrong arguments");
        };
        let (Value::Tuple(shape), Value::Tuple(strides)) = (*shape, *strides) else {
            return malformed("a tensor is described by the wrong arguments");
        };
        if shape.len != strides.len {
            return malformed("a tensor has more or fewer strides than sizes");
        }
        if shape.len as usize > MOST_DIMENSIONS {
            return malformed(format!(
                "a tensor has {} dimensions; up to {MOST_DIMENSIONS} are read",
                shape.len
            ));
        }
        self.calls.push(Call {
            storage: *storage,
            offset: size(*offset)?,
            shape,
            strides,
        });
        Ok(Value::Tensor(self.calls.len() as u32 - 1))
    }

    /// `("storage", class, key, location, number of elements)`, and in old files whether it is a part of
    /// another storage.
    fn persistent(&mut self) -> Result<(), Fault> {
        let id = self.pop()?;
        let parts = self.first_of(id)?;
        let [
            kind,
            Value::Global(class),
            Value::Text(key),
            _,
            len,
            view @ ..,
        ] = parts.as_slice()
        else {
            return malformed("a storage is described by the wrong parts");
        };
        if self.text(*kind)? != "storage" {
            return malformed("a persistent object is not a storage");
        }
        if !matches!(view, [] | [Value::None]) {
            return malformed("a storage is a part of another one, which is not read");
        }
        let class = self.name(*class);
        let dtype = match class.strip_prefix("torch.") {
            Some("FloatStorage") => Dtype::F32,
            Some("DoubleStorage") => Dtype::F64,
            Some("HalfStorage") => Dtype::F16,
            Some("BFloat16Storage") => Dtype::BF16,
            Some("LongStorage") => Dtype::I64,
            Some("IntStorage") => Dtype::I32,
            Some("ShortStorage") => Dtype::I16,
            Some("CharStorage") => Dtype::I8,
            Some("ByteStorage") => Dtype::U8,
            Some("BoolStorage") => Dtype::BOOL,
            _ => return Err(Fault::Refused(class)),
        };
        if key.len as usize > MOST_KEY {
            return malformed("the name of a storage is too long");
        }
        self.storages.push(Storage {
            dtype,
            key: *key,
            len: size(*len)?,
        });
        let storage = self.storages.len() as u32 - 1;
        self.stack.push(Value::Storage(storage));
        Ok(())
    }

    fn inside(&self, container: u32) -> impl Iterator<Item = &Entry> {
        let all = self.entries.iter();
        all.filter(move |entry| entry.container == container)
    }

    fn name(&self, global: u32) -> String {
        /// A name of a class is shown in messages; a file may claim one of megabytes.
        const MOST: usize = 100;
        let Some(&(module, name)) = self.globals.get(global as usize) else {
            return String::new();
        };
        let part = |span: Span| {
            let bytes = span.of(self.input);
            String::from_utf8_lossy(bytes.get(..MOST).unwrap_or(bytes)).into_owned()
        };
        format!("{}.{}", part(module), part(name))
    }

    fn global(&mut self, module: Span, name: Span) {
        self.globals.push((module, name));
        self.stack
            .push(Value::Global(self.globals.len() as u32 - 1));
    }

    fn tuple(&mut self, items: &[Value]) {
        let start = self.items.len() as u32;
        self.items.extend_from_slice(items);
        self.stack.push(Value::Tuple(Span {
            start,
            len: items.len() as u32,
        }));
    }

    fn container(&mut self) -> u32 {
        self.containers += 1;
        self.containers - 1
    }

    fn extend_list(&mut self, items: &[Value]) -> Result<(), Fault> {
        let top = self.top()?;
        let Value::List(container) = top else {
            return malformed(format!("it appends to {}", top.kind()));
        };
        self.entries.extend(items.iter().map(|&value| Entry {
            container,
            key: Value::None,
            value,
        }));
        Ok(())
    }

    fn extend_dict(&mut self, items: &[Value]) -> Result<(), Fault> {
        let (pairs, rest) = items.as_chunks::<2>();
        let top = self.top()?;
        let (Value::Dict(container), []) = (top, rest) else {
            return malformed(format!("it sets items of {} wrongly", top.kind()));
        };
        self.entries.extend(pairs.iter().map(|&[key, value]| Entry {
            container,
            key,
            value,
        }));
        Ok(())
    }

    fn text(&self, value: Value) -> Result<&str, Fault> {
        let Value::Text(span) = value else {
            return malformed(format!("a string is expected, not {}", value.kind()));
        };
        std::str::from_utf8(span.of(self.input))
            .map_err(|_| Fault::Malformed("a string is not UTF-8".into()))
    }

    /// The items of a tuple: as many as any call here takes, so that a long one costs nothing.
    fn first_of(&self, value: Value) -> Result<Vec<Value>, Fault> {
        const MOST: usize = 8;
        let Value::Tuple(span) = value else {
            return malformed(format!("a tuple is expected, not {}", value.kind()));
        };
        Ok(span.of(&self.items).iter().take(MOST).copied().collect())
    }

    fn remember(&mut self, id: u32) -> Result<(), Fault> {
        let top = self.top()?;
        self.memo.insert(id, top);
        Ok(())
    }

    fn recall(&mut self, id: u32) -> Result<(), Fault> {
        let Some(&value) = self.memo.get(&id) else {
            return malformed(format!("it recalls entry {id}, which was never stored"));
        };
        self.stack.push(value);
        Ok(())
    }

    fn top(&self) -> Result<Value, Fault> {
        let top = self.stack.last().copied();
        top.map_or_else(|| malformed("the stack is empty"), Ok)
    }

    fn pop(&mut self) -> Result<Value, Fault> {
        let top = self.stack.pop();
        top.map_or_else(|| malformed("the stack is empty"), Ok)
    }

    fn since_mark(&mut self) -> Result<Vec<Value>, Fault> {
        let mark = self
            .stack
            .iter()
            .rposition(|value| matches!(value, Value::Mark));
        let Some(mark) = mark else {
            return malformed("a mark is missing");
        };
        let items = self.stack.split_off(mark + 1);
        self.stack.truncate(mark);
        Ok(items)
    }
}

fn size(value: Value) -> Result<usize, Fault> {
    match value {
        Value::Int(number) => {
            usize::try_from(number).map_err(|_| Fault::Malformed(format!("a size is {number}")))
        }
        other => malformed(format!("a size is {}", other.kind())),
    }
}

#[cfg(test)]
mod tests;

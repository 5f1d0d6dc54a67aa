//! The pickle of a PyTorch state dict, interpreted by a machine that can build dictionaries and
//! descriptions of tensors and nothing else. No name in the file is ever looked up or called.
//!
//! Containers live in arenas and values are small handles, so a hostile file can neither nest deep
//! enough to exhaust the call stack nor multiply memory through shared references: each opcode adds
//! a bounded amount.

use std::collections::HashMap;

use safetensors::Dtype;

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

fn malformed<T>(problem: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Malformed(problem.into()))
}

#[derive(Debug, Clone, Copy)]
enum Value {
    Mark,
    None,
    Bool,
    Int(i64),
    Float,
    Text(usize),
    Global(usize),
    Tuple(usize),
    List(usize),
    Dict(usize),
    Storage(usize),
    Tensor(usize),
}

impl Value {
    fn kind(self) -> &'static str {
        match self {
            Self::Mark => "a mark",
            Self::None => "None",
            Self::Bool => "a boolean",
            Self::Int(_) => "an integer",
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

#[derive(Debug, Clone)]
struct Storage {
    dtype: Dtype,
    key: String,
    len: usize,
}

#[derive(Debug, Default)]
struct Machine<'a> {
    input: &'a [u8],
    stack: Vec<Value>,
    memo: HashMap<u32, Value>,
    texts: Vec<String>,
    globals: Vec<String>,
    /// Tuples and lists.
    sequences: Vec<Vec<Value>>,
    dicts: Vec<Vec<(Value, Value)>>,
    storages: Vec<Storage>,
    tensors: Vec<TensorSpec>,
}

/// The entries of the dictionary that the pickle holds, in its order.
pub(super) fn state_dict(input: &[u8]) -> Result<Vec<(String, TensorSpec)>, Fault> {
    let mut machine = Machine {
        input,
        ..Machine::default()
    };
    let Value::Dict(dict) = machine.run()? else {
        return Err(Fault::Other(
            "the pickle does not hold a dictionary of tensors".into(),
        ));
    };
    let entries = machine
        .dicts
        .get(dict)
        .map(Vec::as_slice)
        .unwrap_or_default();
    entries
        .iter()
        .map(|&(key, value)| {
            let Value::Text(_) = key else {
                return Err(Fault::Other(format!("it has a key that is {}", key.kind())));
            };
            let key = machine.text(key)?;
            let Value::Tensor(at) = value else {
                return Err(Fault::Other(format!(
                    "entry `{key}` is {}, not a tensor",
                    value.kind()
                )));
            };
            let spec = machine.tensors.get(at).cloned();
            Ok((
                key.to_owned(),
                spec.ok_or_else(|| Fault::Malformed("lost tensor".into()))?,
            ))
        })
        .collect()
}

impl Machine<'_> {
    fn run(&mut self) -> Result<Value, Fault> {
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
        }
    }

    fn step(&mut self, opcode: u8) -> Result<(), Fault> {
        match opcode {
            b'(' => self.stack.push(Value::Mark),
            b'0' => drop(self.pop()?),
            b'N' => self.stack.push(Value::None),
            0x88 | 0x89 => self.stack.push(Value::Bool),
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
                let module = self.line()?;
                let name = self.line()?;
                self.global(&module, &name);
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (name, module) = (self.text(name)?.to_owned(), self.text(module)?.to_owned());
                self.global(&module, &name);
            }
            b')' => self.sequence(Vec::new(), Value::Tuple),
            0x85..=0x87 => {
                let count = usize::from(opcode - 0x84);
                let Some(start) = self.stack.len().checked_sub(count) else {
                    return malformed("the stack is empty");
                };
                let items = self.stack.split_off(start);
                self.sequence(items, Value::Tuple);
            }
            b't' => {
                let items = self.since_mark()?;
                self.sequence(items, Value::Tuple);
            }
            b']' => self.sequence(Vec::new(), Value::List),
            b'l' => {
                let items = self.since_mark()?;
                self.sequence(items, Value::List);
            }
            b'a' => {
                let item = self.pop()?;
                self.extend_list(vec![item])?;
            }
            b'e' => {
                let items = self.since_mark()?;
                self.extend_list(items)?;
            }
            b'}' => self.dict(Vec::new()),
            b'd' => {
                let items = self.since_mark()?;
                self.dict(Vec::new());
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
                    Value::Global(at) => self.globals.get(*at).cloned(),
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
        let args = self.tuple(args)?.to_vec();
        let Value::Global(at) = callable else {
            return malformed(format!("it calls {}", callable.kind()));
        };
        let name = self.globals.get(at).cloned().unwrap_or_default();
        let result = match (name.as_str(), args.as_slice()) {
            ("collections.OrderedDict", []) => {
                self.dict(Vec::new());
                return Ok(());
            }
            ("torch._utils._rebuild_tensor_v2", args) => self.tensor(args)?,
            ("torch._utils._rebuild_parameter", [data @ Value::Tensor(_), ..])
            | ("torch._utils._rebuild_parameter_with_state", [data @ Value::Tensor(_), ..]) => {
                *data
            }
            ("torch._tensor._rebuild_from_type_v2", [Value::Global(inner), _, inner_args, ..]) => {
                let inner = self.globals.get(*inner).cloned().unwrap_or_default();
                if inner != "torch._utils._rebuild_tensor_v2" {
                    return Err(Fault::Refused(inner));
                }
                let args = self.tuple(*inner_args)?.to_vec();
                self.tensor(&args)?
            }
            _ => return Err(Fault::Refused(name)),
        };
        self.stack.push(result);
        Ok(())
    }

    /// `_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)`.
    fn tensor(&mut self, args: &[Value]) -> Result<Value, Fault> {
        let [Value::Storage(storage), offset, shape, strides, ..] = args else {
            return malformed("a tensor is described by the wrong arguments");
        };
        let Some(storage) = self.storages.get(*storage).cloned() else {
            return malformed("a tensor has no storage");
        };
        let spec = TensorSpec {
            dtype: storage.dtype,
            storage: storage.key,
            storage_len: storage.len,
            offset: size(*offset)?,
            shape: self.sizes(*shape)?,
            strides: self.sizes(*strides)?,
        };
        if spec.shape.len() != spec.strides.len() {
            return malformed("a tensor has more or fewer strides than sizes");
        }
        self.tensors.push(spec);
        Ok(Value::Tensor(self.tensors.len() - 1))
    }

    /// `("storage", class, key, location, number of elements)`.
    fn persistent(&mut self) -> Result<(), Fault> {
        let id = self.pop()?;
        let parts = self.tuple(id)?.to_vec();
        let [kind, Value::Global(class), key, _, len] = parts.as_slice() else {
            return malformed("a storage is described by the wrong parts");
        };
        if self.text(*kind)? != "storage" {
            return malformed("a persistent object is not a storage");
        }
        let class = self
            .globals
            .get(*class)
            .map(String::as_str)
            .unwrap_or_default();
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
            _ => return Err(Fault::Refused(class.to_owned())),
        };
        let storage = Storage {
            dtype,
            key: self.text(*key)?.to_owned(),
            len: size(*len)?,
        };
        self.storages.push(storage);
        self.stack.push(Value::Storage(self.storages.len() - 1));
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) {
        self.globals.push(format!("{module}.{name}"));
        self.stack.push(Value::Global(self.globals.len() - 1));
    }

    fn sequence(&mut self, items: Vec<Value>, make: fn(usize) -> Value) {
        self.sequences.push(items);
        self.stack.push(make(self.sequences.len() - 1));
    }

    fn dict(&mut self, entries: Vec<(Value, Value)>) {
        self.dicts.push(entries);
        self.stack.push(Value::Dict(self.dicts.len() - 1));
    }

    fn extend_list(&mut self, items: Vec<Value>) -> Result<(), Fault> {
        let top = self.top()?;
        match top {
            Value::List(at) => {
                if let Some(list) = self.sequences.get_mut(at) {
                    list.extend(items);
                }
                Ok(())
            }
            other => malformed(format!("it appends to {}", other.kind())),
        }
    }

    fn extend_dict(&mut self, items: &[Value]) -> Result<(), Fault> {
        let (pairs, rest) = items.as_chunks::<2>();
        let top = self.top()?;
        match top {
            Value::Dict(at) if rest.is_empty() => {
                if let Some(dict) = self.dicts.get_mut(at) {
                    dict.extend(pairs.iter().map(|&[key, value]| (key, value)));
                }
                Ok(())
            }
            other => malformed(format!("it sets items of {} wrongly", other.kind())),
        }
    }

    fn text(&self, value: Value) -> Result<&str, Fault> {
        let Value::Text(at) = value else {
            return malformed(format!("a string is expected, not {}", value.kind()));
        };
        Ok(self.texts.get(at).map(String::as_str).unwrap_or_default())
    }

    fn tuple(&self, value: Value) -> Result<&[Value], Fault> {
        let Value::Tuple(at) = value else {
            return malformed(format!("a tuple is expected, not {}", value.kind()));
        };
        Ok(self
            .sequences
            .get(at)
            .map(Vec::as_slice)
            .unwrap_or_default())
    }

    fn sizes(&self, value: Value) -> Result<Vec<usize>, Fault> {
        self.tuple(value)?
            .iter()
            .map(|&value| size(value))
            .collect()
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
        self.stack
            .last()
            .copied()
            .map_or_else(|| malformed("the stack is empty"), Ok)
    }

    fn pop(&mut self) -> Result<Value, Fault> {
        self.stack
            .pop()
            .map_or_else(|| malformed("the stack is empty"), Ok)
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

    /// A little-endian two's-complement number of `length` bytes; `BININT1` and `BININT2` are
    /// unsigned.
    fn integer(&mut self, length: usize) -> Result<(), Fault> {
        let bytes = self.take(length)?;
        let mut buffer = [0; 8];
        let Some(low) = buffer.get_mut(..length) else {
            return malformed("an integer is longer than eight bytes");
        };
        low.copy_from_slice(bytes);
        let negative = length > 2 && bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        if negative {
            buffer.iter_mut().skip(length).for_each(|byte| *byte = 0xff);
        }
        self.stack.push(Value::Int(i64::from_le_bytes(buffer)));
        Ok(())
    }

    /// An unsigned little-endian number of at most eight bytes.
    fn unsigned(&mut self, length: usize) -> Result<u64, Fault> {
        let bytes = self.take(length)?;
        Ok(bytes
            .iter()
            .rev()
            .fold(0, |number, &byte| (number << 8) | u64::from(byte)))
    }

    fn string(&mut self, length_bytes: usize) -> Result<(), Fault> {
        let length = usize::try_from(self.unsigned(length_bytes)?).unwrap_or(usize::MAX);
        let bytes = self.take(length)?;
        let text = std::str::from_utf8(bytes)
            .map_err(|_| Fault::Malformed("a string is not UTF-8".into()))?;
        self.texts.push(text.to_owned());
        self.stack.push(Value::Text(self.texts.len() - 1));
        Ok(())
    }

    fn line(&mut self) -> Result<String, Fault> {
        let end = self.input.iter().position(|&byte| byte == b'\n');
        let Some(end) = end else {
            return malformed("it ends inside a name");
        };
        let line = self.take(end)?;
        let line = String::from_utf8_lossy(line)
            .trim_end_matches('\r')
            .to_owned();
        self.take(1)?;
        Ok(line)
    }

    fn byte(&mut self) -> Result<u8, Fault> {
        let Some((&first, rest)) = self.input.split_first() else {
            return malformed("the pickle ends too early");
        };
        self.input = rest;
        Ok(first)
    }
}

impl<'a> Machine<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let Some((taken, rest)) = self.input.split_at_checked(length) else {
            return malformed("the pickle ends too early");
        };
        self.input = rest;
        Ok(taken)
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

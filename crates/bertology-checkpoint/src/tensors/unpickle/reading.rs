//! The bytes of a pickle: numbers, names, and where it ends.

use super::{Fault, MOST_BYTES, Machine, Span, Value, malformed};

impl Machine<'_> {
    /// A little-endian two's-complement number of `length` bytes; `BININT1` and `BININT2` are
    /// unsigned.
    pub(super) fn integer(&mut self, length: usize) -> Result<(), Fault> {
        let span = self.take(length)?;
        let bytes = span.of(self.input);
        let mut buffer = [0; 8];
        let Some(low) = buffer.get_mut(..length) else {
            self.stack.push(Value::Long(span));
            return Ok(());
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
    pub(super) fn unsigned(&mut self, length: usize) -> Result<u64, Fault> {
        let span = self.take(length)?;
        let bytes = span.of(self.input).iter().rev();
        Ok(bytes.fold(0, |number, &byte| (number << 8) | u64::from(byte)))
    }

    pub(super) fn string(&mut self, length_bytes: usize) -> Result<(), Fault> {
        let length = usize::try_from(self.unsigned(length_bytes)?).unwrap_or(usize::MAX);
        let span = self.take(length)?;
        self.text(Value::Text(span))?;
        self.stack.push(Value::Text(span));
        Ok(())
    }

    pub(super) fn line(&mut self) -> Result<Span, Fault> {
        let rest = self.input.get(self.at..).unwrap_or_default();
        let Some(end) = rest.iter().position(|&byte| byte == b'\n') else {
            return malformed("it ends inside a name");
        };
        let mut line = self.take(end)?;
        if line.of(self.input).last() == Some(&b'\r') {
            line.len -= 1;
        }
        self.take(1)?;
        Ok(line)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Fault> {
        let span = self.take(1)?;
        let byte = span.of(self.input).first().copied();
        byte.map_or_else(|| malformed("the pickle ends too early"), Ok)
    }

    pub(super) fn take(&mut self, length: usize) -> Result<Span, Fault> {
        let end = self.at.checked_add(length);
        let Some(end) = end.filter(|end| *end <= self.input.len()) else {
            return malformed(if self.input.len() == MOST_BYTES {
                "the pickle is longer than any state dict's"
            } else {
                "the pickle ends too early"
            });
        };
        let span = Span {
            start: self.at as u32,
            len: length as u32,
        };
        self.at = end;
        Ok(span)
    }
}

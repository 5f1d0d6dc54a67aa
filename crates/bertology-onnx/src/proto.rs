//! Protocol buffers, as far as writing ONNX asks for them: fields of a message, one after the other.

/// The bytes of a message, to which fields are added.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message(Vec<u8>);

/// How a field's value is written, in the lowest bits of its tag.
const VARINT: u64 = 0;
const LENGTH: u64 = 2;
const FOUR_BYTES: u64 = 5;

impl Message {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn tag(&mut self, field: u64, kind: u64) {
        self.varint(field << 3 | kind);
    }

    /// `int32`, `int64` and enumerations.
    pub(crate) fn int(mut self, field: u64, value: i64) -> Self {
        self.tag(field, VARINT);
        self.varint(value.cast_unsigned());
        self
    }

    /// A field that repeats.
    pub(crate) fn ints(self, field: u64, values: &[i64]) -> Self {
        values
            .iter()
            .fold(self, |message, value| message.int(field, *value))
    }

    pub(crate) fn float(mut self, field: u64, value: f32) -> Self {
        self.tag(field, FOUR_BYTES);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// The tag and the length of a field whose bytes follow from elsewhere.
    pub(crate) fn announce(mut self, field: u64, length: u64) -> Self {
        self.tag(field, LENGTH);
        self.varint(length);
        self
    }

    fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self = self.announce(field, value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    pub(crate) fn text(self, field: u64, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    pub(crate) fn texts<'t>(self, field: u64, values: impl IntoIterator<Item = &'t str>) -> Self {
        values
            .into_iter()
            .fold(self, |message, value| message.text(field, value))
    }

    pub(crate) fn message(self, field: u64, value: &Self) -> Self {
        self.bytes(field, &value.0)
    }

    /// Fields of another message behind these.
    pub(crate) fn and(mut self, other: &Self) -> Self {
        self.0.extend_from_slice(&other.0);
        self
    }
}

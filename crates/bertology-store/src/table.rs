//! Rows for data-frame users: Parquet tables made from the arrays of a shard.
//!
//! A table's groups of rows follow each other; a group may have constants, such as the layer and the
//! head that its rows are about, and readers can skip the groups that they do not want. Nothing is
//! compressed: activations do not shrink, and the sizes stay predictable.

use std::io::BufWriter;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, Type as PhysicalType};
use parquet::data_type::{
    ByteArray, ByteArrayType, DataType, DoubleType, FixedLenByteArray, FixedLenByteArrayType,
    FloatType, Int32Type, Int64Type,
};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{ColumnPath, PrimitiveTypeBuilder, Type};

use crate::shard::{flushed, persist, temporary};
use crate::{Element, Float, FullShard, StoreError};

/// Numbers held in memory at once while a table is written.
const PIECE: u64 = 1 << 16;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole number of 32 bits.
    I32,
    /// A whole number of 64 bits.
    I64,
    /// A number in double precision.
    F64,
    /// A string.
    Text,
    /// A list of computed values.
    List(Float),
}

/// A column: its name and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
}

impl Column {
    /// A column.
    pub fn new(name: impl Into<String>, kind: Kind) -> Self {
        Self {
            name: name.into(),
            kind,
        }
    }
}

/// How long the lists of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lengths {
    /// All alike.
    Fixed(u64),
    /// One number a row, from this `I32` array of the shard.
    Each(usize),
}

/// Where the values of a column come from, in one group of rows.
#[derive(Debug, Clone)]
pub enum Values {
    /// The same number in every row.
    Constant(i32),
    /// An array of the shard with one number a row.
    Array(usize),
    /// Strings, by an `I32` array of their numbers.
    Text {
        /// The array.
        array: usize,
        /// The strings.
        strings: Arc<[String]>,
    },
    /// An array of the shard whose numbers follow each other row by row.
    Lists {
        /// The array.
        array: usize,
        /// Length of each row's list.
        lengths: Lengths,
    },
}

/// Rows that follow each other.
#[derive(Debug, Clone)]
pub struct Group {
    /// How many.
    pub rows: u64,
    /// One source a column.
    pub values: Vec<Values>,
}

/// A table.
#[derive(Debug, Clone)]
pub struct Table {
    /// Columns.
    pub columns: Vec<Column>,
    /// Rows, group by group.
    pub groups: Vec<Group>,
}

/// Refuses what Parquet cannot express.
///
/// # Errors
/// [`StoreError::NoSuchElement`] for bfloat16.
pub fn check(float: Float) -> Result<(), StoreError> {
    match float {
        Float::F32 | Float::F16 => Ok(()),
        Float::Bf16 => Err(StoreError::NoSuchElement {
            format: "Parquet",
            element: Element::Float(float),
            instead: "float32, float16 or the format safetensors",
        }),
    }
}

impl Table {
    /// Saves the table, by way of a temporary file in `scratch`; gives the file's size.
    ///
    /// # Errors
    /// [`StoreError::NoSuchElement`] for bfloat16, [`StoreError::Column`] for a source that does not
    /// fit its column, [`StoreError::Io`], [`StoreError::Parquet`].
    pub fn save(&self, shard: &FullShard, scratch: &Path, path: &Path) -> Result<u64, StoreError> {
        for column in &self.columns {
            if let Kind::List(float) = column.kind {
                check(float)?;
            }
        }
        let failed = |source| StoreError::Parquet {
            path: path.to_owned(),
            source,
        };
        let file = BufWriter::new(temporary(scratch)?);
        let schema = self.schema().map_err(failed)?;
        let mut writer =
            SerializedFileWriter::new(file, schema, Arc::new(self.properties())).map_err(failed)?;
        for group in &self.groups {
            let mut rows = writer.next_row_group().map_err(failed)?;
            for (column, values) in self.columns.iter().zip(&group.values) {
                let Some(to) = rows.next_column().map_err(failed)? else {
                    break;
                };
                let mut chunk = Chunk {
                    shard,
                    column,
                    rows: group.rows,
                    path,
                    to,
                };
                chunk.write(values)?;
                chunk.to.close().map_err(failed)?;
            }
            rows.close().map_err(failed)?;
        }
        let file = writer.into_inner().map_err(failed)?;
        persist(flushed(file).map_err(StoreError::io("write", path))?, path)
    }

    fn schema(&self) -> Result<Arc<Type>, ParquetError> {
        let fields = self
            .columns
            .iter()
            .map(|column| column.schema().map(Arc::new))
            .collect::<Result<Vec<_>, _>>()?;
        let schema = Type::group_type_builder("schema").with_fields(fields);
        Ok(Arc::new(schema.build()?))
    }

    fn properties(&self) -> WriterProperties {
        let mut properties = WriterProperties::builder()
            .set_created_by(concat!("bertology ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::None)
            .set_offset_index_disabled(true);
        for (at, column) in self.columns.iter().enumerate() {
            let constant = self
                .groups
                .iter()
                .any(|group| matches!(group.values.get(at), Some(Values::Constant(_))));
            if constant || column.kind == Kind::Text {
                let path = ColumnPath::from(column.name.as_str());
                properties = properties
                    .set_column_dictionary_enabled(path.clone(), true)
                    .set_column_statistics_enabled(path, EnabledStatistics::Chunk);
            }
        }
        properties.build()
    }
}

impl Column {
    fn schema(&self) -> Result<Type, ParquetError> {
        fn plain(name: &str, kind: PhysicalType) -> PrimitiveTypeBuilder<'_> {
            Type::primitive_type_builder(name, kind).with_repetition(Repetition::REQUIRED)
        }
        match self.kind {
            Kind::I32 => plain(&self.name, PhysicalType::INT32).build(),
            Kind::I64 => plain(&self.name, PhysicalType::INT64).build(),
            Kind::F64 => plain(&self.name, PhysicalType::DOUBLE).build(),
            Kind::Text => plain(&self.name, PhysicalType::BYTE_ARRAY)
                .with_logical_type(Some(LogicalType::String))
                .build(),
            Kind::List(float) => {
                let element = match float {
                    Float::F16 => plain("element", PhysicalType::FIXED_LEN_BYTE_ARRAY)
                        .with_length(2)
                        .with_logical_type(Some(LogicalType::Float16)),
                    Float::F32 | Float::Bf16 => plain("element", PhysicalType::FLOAT),
                };
                let list = Type::group_type_builder("list")
                    .with_repetition(Repetition::REPEATED)
                    .with_fields(vec![Arc::new(element.build()?)]);
                Type::group_type_builder(&self.name)
                    .with_repetition(Repetition::REQUIRED)
                    .with_logical_type(Some(LogicalType::List))
                    .with_fields(vec![Arc::new(list.build()?)])
                    .build()
            }
        }
    }
}

/// One column of one group of rows.
struct Chunk<'a, 'w> {
    shard: &'a FullShard,
    column: &'a Column,
    rows: u64,
    path: &'a Path,
    to: SerializedColumnWriter<'w>,
}

impl Chunk<'_, '_> {
    fn write(&mut self, values: &Values) -> Result<(), StoreError> {
        match (self.column.kind, values) {
            (Kind::I32, Values::Constant(value)) => {
                let mut left = self.rows;
                while left > 0 {
                    let rows = left.min(PIECE);
                    self.put::<Int32Type>(&vec![*value; rows as usize])?;
                    left -= rows;
                }
                Ok(())
            }
            (Kind::I32, Values::Array(array)) => self.each(*array, Element::I32, |chunk, bytes| {
                chunk.put::<Int32Type>(&decode(bytes, i32::from_le_bytes))
            }),
            (Kind::I64, Values::Array(array)) => self.each(*array, Element::I64, |chunk, bytes| {
                chunk.put::<Int64Type>(&decode(bytes, i64::from_le_bytes))
            }),
            (Kind::F64, Values::Array(array)) => self.each(*array, Element::F64, |chunk, bytes| {
                chunk.put::<DoubleType>(&decode(bytes, f64::from_le_bytes))
            }),
            (Kind::Text, Values::Text { array, strings }) => {
                self.each(*array, Element::I32, |chunk, bytes| {
                    let texts = decode(bytes, i32::from_le_bytes)
                        .into_iter()
                        .map(|id| {
                            let text = usize::try_from(id).ok().and_then(|id| strings.get(id));
                            text.map(|text| ByteArray::from(text.as_str()))
                                .ok_or_else(|| chunk.wrong(format!("there is no string {id}")))
                        })
                        .collect::<Result<Vec<_>, _>>()?;
                    chunk.put::<ByteArrayType>(&texts)
                })
            }
            (Kind::List(float), Values::Lists { array, lengths }) => {
                self.lists(*array, float, *lengths)
            }
            (kind, values) => Err(self.wrong(format!("{kind:?} cannot come from {values:?}"))),
        }
    }

    /// Walks through an array with one number a row.
    fn each(
        &mut self,
        array: usize,
        element: Element,
        mut put: impl FnMut(&mut Self, &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let spec = &self.shard.arrays()[array];
        if spec.element != element || spec.bytes() != self.rows * element.size() {
            return Err(self.wrong(format!("{spec:?} is not one number in {} rows", self.rows)));
        }
        let mut bytes = Vec::new();
        let mut row = 0;
        while row < self.rows {
            let rows = (self.rows - row).min(PIECE);
            bytes.resize((rows * element.size()) as usize, 0);
            self.shard.read(array, row * element.size(), &mut bytes)?;
            put(self, &bytes)?;
            row += rows;
        }
        Ok(())
    }

    fn lists(&mut self, array: usize, float: Float, lengths: Lengths) -> Result<(), StoreError> {
        let spec = &self.shard.arrays()[array];
        if spec.element != Element::Float(float) {
            return Err(self.wrong(format!("{spec:?} does not hold {float:?}")));
        }
        let (mut row, mut at) = (0, 0);
        let mut bytes = Vec::new();
        while row < self.rows {
            let lengths = self.lengths(lengths, row)?;
            let numbers: u64 = lengths.iter().sum();
            bytes.resize((numbers * spec.element.size()) as usize, 0);
            if at + bytes.len() as u64 > spec.bytes() {
                return Err(self.wrong(format!("{spec:?} ends before its rows do")));
            }
            self.shard.read(array, at, &mut bytes)?;
            at += bytes.len() as u64;
            row += lengths.len() as u64;
            self.put_lists(float, &lengths, &bytes)?;
        }
        if at != spec.bytes() {
            return Err(self.wrong(format!("{spec:?} goes on after its rows")));
        }
        Ok(())
    }

    /// Lengths of the lists from `row` on that are written together: at least one list, and no more
    /// than a piece of numbers if one list is not more by itself.
    fn lengths(&self, lengths: Lengths, row: u64) -> Result<Vec<u64>, StoreError> {
        let left = self.rows - row;
        match lengths {
            Lengths::Fixed(width) => {
                let rows = left.min((PIECE / width.max(1)).max(1));
                Ok(vec![width; rows as usize])
            }
            Lengths::Each(array) => {
                let mut bytes = vec![0; (left.min(1024) * 4) as usize];
                self.shard.read(array, row * 4, &mut bytes)?;
                let mut numbers = 0;
                decode(&bytes, i32::from_le_bytes)
                    .into_iter()
                    .enumerate()
                    .take_while(|(at, length)| {
                        numbers += u64::from(length.unsigned_abs());
                        *at == 0 || numbers <= PIECE
                    })
                    .map(|(_, length)| {
                        u64::try_from(length)
                            .map_err(|_| self.wrong(format!("a list of {length} numbers")))
                    })
                    .collect()
            }
        }
    }

    fn put_lists(&mut self, float: Float, lengths: &[u64], bytes: &[u8]) -> Result<(), StoreError> {
        // Definition 0 is an empty list, 1 a number; repetition 0 begins a list, 1 goes on with it.
        let (mut defined, mut repeated) = (Vec::new(), Vec::new());
        for &length in lengths {
            let numbers = length.max(1) as usize;
            defined.extend(std::iter::repeat_n(i16::from(length > 0), numbers));
            repeated.push(0);
            repeated.extend(std::iter::repeat_n(1, numbers - 1));
        }
        let levels = Some((defined.as_slice(), repeated.as_slice()));
        match float {
            Float::F16 => {
                let shared = ByteArray::from(bytes.to_vec());
                let halves: Vec<FixedLenByteArray> = (0..bytes.len() / 2)
                    .map(|at| FixedLenByteArray::from(shared.slice(2 * at, 2)))
                    .collect();
                self.put_levels::<FixedLenByteArrayType>(&halves, levels)
            }
            Float::F32 | Float::Bf16 => {
                self.put_levels::<FloatType>(&decode(bytes, f32::from_le_bytes), levels)
            }
        }
    }

    fn put<T: DataType>(&mut self, values: &[T::T]) -> Result<(), StoreError> {
        self.put_levels::<T>(values, None)
    }

    fn put_levels<T: DataType>(
        &mut self,
        values: &[T::T],
        levels: Option<(&[i16], &[i16])>,
    ) -> Result<(), StoreError> {
        let (defined, repeated) = levels.unzip();
        self.to
            .typed::<T>()
            .write_batch(values, defined, repeated)
            .map(drop)
            .map_err(|source| StoreError::Parquet {
                path: self.path.to_owned(),
                source,
            })
    }

    fn wrong(&self, reason: String) -> StoreError {
        StoreError::Column {
            column: self.column.name.clone(),
            reason,
        }
    }
}

/// Little-endian numbers of `N` bytes.
fn decode<const N: usize, T>(bytes: &[u8], number: fn([u8; N]) -> T) -> Vec<T> {
    bytes
        .as_chunks::<N>()
        .0
        .iter()
        .map(|chunk| number(*chunk))
        .collect()
}

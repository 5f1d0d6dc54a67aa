//! What other people's readers find in our files.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Read;

use bertology_store::{ArraySpec, Element, Float, FullShard, ShardWriter, StoreError};
use half::f16;
use safetensors::SafeTensors;

const F32: Element = Element::Float(Float::F32);
const F16: Element = Element::Float(Float::F16);

/// Values that arrive in pieces, arrays taking turns: `a` [4, 3], `b` [5] halves, `ids` [4], `n` [2].
fn shard(folder: &std::path::Path) -> FullShard {
    let arrays = vec![
        ArraySpec::new("b", F16, [5]),
        ArraySpec::new("a.0", F32, [4, 3]),
        ArraySpec::new("ids", Element::I32, [4]),
        ArraySpec::new("n", Element::I64, [2]),
        ArraySpec::new("loss", Element::F64, [2]),
    ];
    let mut writer = ShardWriter::create(folder, arrays).unwrap();
    let mut bytes = Vec::new();
    for piece in [&a()[..3], &a()[3..]] {
        bytes.clear();
        Float::F32.encode(piece, &mut bytes);
        writer.append(1, &bytes).unwrap();
        bytes.clear();
        let halves = if piece.len() == 3 {
            &b()[..2]
        } else {
            &b()[2..]
        };
        assert_eq!(Float::F16.encode(halves, &mut bytes), 0);
        writer.append(0, &bytes).unwrap();
    }
    let ids: Vec<u8> = [2_i32, 0, 1, 2]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    writer.append(2, &ids).unwrap();
    let n: Vec<u8> = [7_i64, -1].iter().flat_map(|v| v.to_le_bytes()).collect();
    writer.append(3, &n).unwrap();
    let loss: Vec<u8> = [0.1_f64, 0.2]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    writer.append(4, &loss).unwrap();
    writer.finish().unwrap()
}

fn a() -> Vec<f32> {
    (0_u8..12).map(|v| f32::from(v) * 0.5 - 2.0).collect()
}

fn b() -> Vec<f32> {
    vec![0.5, -1.25, 3.0, 65504.0, 1.0e-7]
}

fn halves() -> Vec<f16> {
    b().into_iter().map(f16::from_f32).collect()
}

fn names(folder: &std::path::Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn the_safetensors_crate_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let full = shard(folder.path());
    let expected = bertology_store::shard::safetensors_bytes(full.arrays());
    assert_eq!(full.save_safetensors(&path).unwrap(), expected);
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes.len() as u64, expected);
    let read = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(read.len(), 5);
    let view = read.tensor("a.0").unwrap();
    assert_eq!(
        (view.dtype(), view.shape()),
        (safetensors::Dtype::F32, &[4, 3][..])
    );
    let expected: Vec<u8> = a().iter().flat_map(|v| v.to_le_bytes()).collect();
    assert_eq!(view.data(), expected);
    let view = read.tensor("b").unwrap();
    assert_eq!(
        (view.dtype(), view.shape()),
        (safetensors::Dtype::F16, &[5][..])
    );
    let expected: Vec<u8> = halves().iter().flat_map(|v| v.to_le_bytes()).collect();
    assert_eq!(view.data(), expected);
    assert_eq!(
        read.tensor("n").unwrap().data()[8..],
        (-1_i64).to_le_bytes()
    );
    assert_eq!(names(folder.path()), ["x.safetensors"]);
}

#[test]
fn the_npyz_crate_reads_it_and_the_bytes_do_not_depend_on_the_day() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npz");
    let full = shard(folder.path());
    let estimate = bertology_store::npz::npz_bytes(full.arrays());
    let size = full.save_npz(&path).unwrap();
    assert!(
        size <= estimate && estimate < size + 1000,
        "{size} {estimate}"
    );
    let mut archive = zip::ZipArchive::new(fs::File::open(&path).unwrap()).unwrap();
    let mut entry = |name: &str| {
        let mut file = archive.by_name(name).unwrap();
        assert_eq!(file.compression(), zip::CompressionMethod::Stored);
        assert_eq!(file.last_modified().unwrap().year(), 1980);
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    };
    let array = entry("a.0.npy");
    let array = npyz::NpyFile::new(&array[..]).unwrap();
    assert_eq!(array.shape(), [4, 3]);
    assert_eq!(array.into_vec::<f32>().unwrap(), a());
    let array = entry("n.npy");
    let array = npyz::NpyFile::new(&array[..]).unwrap();
    assert_eq!(array.shape(), [2]);
    assert_eq!(array.into_vec::<i64>().unwrap(), [7, -1]);
    let array = entry("b.npy");
    let array = npyz::NpyFile::new(&array[..]).unwrap();
    assert_eq!(array.dtype().descr(), "'<f2'");
    let again = folder.path().join("y.npz");
    shard(folder.path()).save_npz(&again).unwrap();
    assert!(fs::read(&path).unwrap() == fs::read(&again).unwrap());
}

#[test]
fn a_shard_that_is_not_full_does_not_appear() {
    let folder = tempfile::tempdir().unwrap();
    let arrays = vec![ArraySpec::new("a", F32, [2])];
    let mut writer = ShardWriter::create(folder.path(), arrays.clone()).unwrap();
    writer.append(0, &[0; 4]).unwrap();
    let error = writer.finish().unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::Size {
                expected: 8,
                given: 4,
                ..
            }
        ),
        "{error}"
    );
    let mut writer = ShardWriter::create(folder.path(), arrays).unwrap();
    let error = writer.append(0, &[0; 12]).unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::Size {
                expected: 8,
                given: 12,
                ..
            }
        ),
        "{error}"
    );
    drop(writer);
    assert!(names(folder.path()).is_empty());
}

#[test]
fn formats_refuse_numbers_that_they_do_not_have() {
    for error in [
        bertology_store::npz::check(Float::Bf16).unwrap_err(),
        #[cfg(feature = "parquet")]
        bertology_store::table::check(Float::Bf16).unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(
            text.contains("bfloat16") && text.contains("safetensors"),
            "{text}"
        );
    }
}

#[cfg(feature = "parquet")]
mod parquet_tables {
    use std::sync::Arc;

    use bertology_store::{Column, Group, Kind, Lengths, Table, Values};
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::{Field, Row};

    use super::*;

    fn rows(path: &std::path::Path) -> Vec<Row> {
        let reader = SerializedFileReader::new(fs::File::open(path).unwrap()).unwrap();
        reader
            .get_row_iter(None)
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }

    fn field<'a>(row: &'a Row, name: &str) -> &'a Field {
        row.get_column_iter()
            .find(|(found, _)| *found == name)
            .unwrap()
            .1
    }

    fn list(row: &Row, name: &str) -> Vec<f32> {
        let Field::ListInternal(list) = field(row, name) else {
            panic!("{row}");
        };
        list.elements()
            .iter()
            .map(|element| match element {
                Field::Float(value) => *value,
                Field::Float16(value) => value.to_f32(),
                other => panic!("{other}"),
            })
            .collect()
    }

    #[test]
    fn the_parquet_crate_reads_rows_lists_and_strings() {
        let folder = tempfile::tempdir().unwrap();
        let full = shard(folder.path());
        let strings: Arc<[String]> = ["zero", "", "##é"].map(str::to_owned).into();
        let values = |head| {
            vec![
                Values::Constant(head),
                Values::Text {
                    array: 2,
                    strings: Arc::clone(&strings),
                },
                Values::Array(2),
                Values::Lists {
                    array: 1,
                    lengths: Lengths::Fixed(3),
                },
            ]
        };
        let table = Table {
            columns: vec![
                Column::new("head", Kind::I32),
                Column::new("token", Kind::Text),
                Column::new("id", Kind::I32),
                Column::new("a_0", Kind::List(Float::F32)),
            ],
            groups: [3, 5]
                .map(|head| Group {
                    rows: 4,
                    values: values(head),
                })
                .into(),
        };
        let path = folder.path().join("x.parquet");
        table.save(&full, folder.path(), &path).unwrap();
        let found = rows(&path);
        assert_eq!(found.len(), 8);
        for (at, row) in found.iter().enumerate() {
            let head = if at < 4 { 3 } else { 5 };
            assert_eq!(field(row, "head"), &Field::Int(head));
            let id = [2, 0, 1, 2][at % 4];
            assert_eq!(field(row, "id"), &Field::Int(id));
            let token = strings[usize::try_from(id).unwrap()].clone();
            assert_eq!(field(row, "token"), &Field::Str(token));
            assert_eq!(list(row, "a_0"), a()[at % 4 * 3..at % 4 * 3 + 3]);
        }
    }

    /// Lists of 2, 0, 1 and 2 numbers, by an array of lengths.
    #[test]
    fn lists_may_differ_in_length_and_be_halves() {
        let folder = tempfile::tempdir().unwrap();
        let full = shard(folder.path());
        let table = Table {
            columns: vec![Column::new("b", Kind::List(Float::F16))],
            groups: vec![Group {
                rows: 4,
                values: vec![Values::Lists {
                    array: 0,
                    lengths: Lengths::Each(2),
                }],
            }],
        };
        let path = folder.path().join("x.parquet");
        table.save(&full, folder.path(), &path).unwrap();
        let b: Vec<f32> = halves().into_iter().map(f16::to_f32).collect();
        let found: Vec<Vec<f32>> = rows(&path).iter().map(|row| list(row, "b")).collect();
        assert_eq!(
            found,
            [b[..2].to_vec(), vec![], b[2..3].to_vec(), b[3..].to_vec()]
        );
        drop(full);
        assert_eq!(names(folder.path()), ["x.parquet"]);
    }

    #[test]
    fn sources_that_do_not_fit_are_refused_and_leave_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let full = shard(folder.path());
        let path = folder.path().join("x.parquet");
        for (kind, rows, values) in [
            (Kind::I32, 4, Values::Array(1)),
            (Kind::I32, 3, Values::Array(2)),
            (
                Kind::List(Float::F32),
                3,
                Values::Lists {
                    array: 1,
                    lengths: Lengths::Fixed(3),
                },
            ),
            (
                Kind::List(Float::F32),
                5,
                Values::Lists {
                    array: 1,
                    lengths: Lengths::Fixed(3),
                },
            ),
            (
                Kind::List(Float::F16),
                4,
                Values::Lists {
                    array: 1,
                    lengths: Lengths::Fixed(3),
                },
            ),
            (
                Kind::Text,
                4,
                Values::Text {
                    array: 2,
                    strings: Arc::new([]),
                },
            ),
            (Kind::F64, 4, Values::Constant(1)),
        ] {
            let table = Table {
                columns: vec![Column::new("x", kind)],
                groups: vec![Group {
                    rows,
                    values: vec![values],
                }],
            };
            let error = table.save(&full, folder.path(), &path).unwrap_err();
            assert!(matches!(error, StoreError::Column { .. }), "{error}");
        }
        drop(full);
        assert!(names(folder.path()).is_empty());
    }
}

//! Proteins whose contacts are known.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::RelationFault;
use super::reader::{RelationCounts, RelationInfo};
use super::record::{RelatedPair, RelationRecord, RelationText, there};
use crate::content::Content;
use crate::error::DataError;
use crate::example::Example;
use crate::line::LineReader;
use crate::source::{ReadOptions, Source};
use crate::text::Documents;

/// The label of residues that touch.
pub const CONTACT: &str = "contact";

/// Residues touch whose coordinates are nearer than that, in the unit of coordinates: 8 Å between C-beta atoms is usual.
pub const CONTACT_DISTANCE: f64 = 8.0;

/// The contacts of proteins, by name: JSON lines of `{"id": …, "contacts": [[i, j], …]}`, residues counted from 0, or of
/// `{"id": …, "coordinates": [[x, y, z], null, …]}`, one a residue (of C-beta atoms, as a rule) and `null` where none is known.
#[derive(Debug, Clone)]
pub struct ContactFile {
    path: PathBuf,
    known: HashMap<String, (u64, Known)>,
    sha256: String,
}

#[derive(Debug, Clone)]
enum Known {
    Contacts(Vec<(u32, u32)>),
    Coordinates(Vec<Option<[f32; 3]>>),
}

impl ContactFile {
    /// Reads all contacts.
    ///
    /// # Errors
    /// A file that cannot be read, lines that are not what they should be, a name that is there twice.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let content = Content::default();
        let mut lines = LineReader::open(path, ReadOptions::default().max_line_bytes, &content)?;
        let mut known = HashMap::new();
        while let Some(line) = lines.next_line()? {
            if line.text.trim().is_empty() {
                continue;
            }
            let number = line.number;
            let object = crate::json::object(line.text, path, number)?;
            let (name, of) = parse(object).map_err(|fault| wrong(path, number, fault))?;
            if known.contains_key(&name) {
                return Err(wrong(path, number, RelationFault::SameName { name }));
            }
            known.insert(name, (number, of));
        }
        if known.is_empty() {
            let path = path.to_owned();
            return Err(DataError::EmptyFile { path });
        }
        Ok(Self {
            path: path.to_owned(),
            known,
            sha256: lines.finish()?.1,
        })
    }
}

fn wrong(path: &Path, line: u64, fault: RelationFault) -> DataError {
    DataError::Relation {
        path: path.to_owned(),
        line,
        fault: Box::new(fault),
    }
}

fn parse(mut object: Map<String, Value>) -> Result<(String, Known), RelationFault> {
    let text = "the name that stands behind `>`";
    let name = match object.remove("id") {
        None => {
            return Err(RelationFault::Missing {
                key: "id",
                expected: text,
            });
        }
        Some(Value::String(name)) => name,
        Some(_) => {
            return Err(RelationFault::Type {
                key: "id",
                expected: text,
            });
        }
    };
    object.remove("info");
    let (contacts, coordinates) = (object.remove("contacts"), object.remove("coordinates"));
    if let Some(key) = object.keys().next() {
        return Err(RelationFault::UnknownKey {
            key: key.clone(),
            known: "`id`, `contacts`, `coordinates` and `info`",
        });
    }
    let known = match (contacts, coordinates) {
        (Some(contacts), None) => serde_json::from_value(contacts).map(Known::Contacts).ok(),
        (None, Some(coordinates)) => serde_json::from_value(coordinates)
            .map(Known::Coordinates)
            .ok(),
        _ => {
            return Err(RelationFault::Missing {
                key: "contacts",
                expected: "either `contacts`, as [[0, 7], …], or `coordinates`, as [[x, y, z], …]",
            });
        }
    };
    let known = known.ok_or(RelationFault::Type {
        key: "contacts` or `coordinates",
        expected: "`contacts` as [[0, 7], …], or `coordinates` as [[x, y, z], null, …]",
    })?;
    Ok((name, known))
}

/// Sequences of FASTA with what is known of their contacts.
#[derive(Debug, Clone)]
pub struct Proteins {
    fasta: Source,
    contacts: Arc<ContactFile>,
    limit: Option<usize>,
}

impl Proteins {
    /// Takes a file of sequences and one of their contacts.
    ///
    /// # Errors
    /// As [`ContactFile::read`]; [`DataError::ZeroLimit`].
    pub fn new(fasta: &Path, contacts: &Path, limit: Option<usize>) -> Result<Self, DataError> {
        if limit == Some(0) {
            return Err(DataError::ZeroLimit);
        }
        Ok(Self {
            fasta: Source::text(fasta, Documents::Fasta).with_limit(limit),
            contacts: Arc::new(ContactFile::read(contacts)?),
            limit,
        })
    }

    /// The file of sequences.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.fasta.path()
    }

    /// The proteins in the order of their sequences.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn open(
        &self,
    ) -> Result<impl Iterator<Item = Result<RelationRecord, DataError>> + Send + use<>, DataError>
    {
        let (path, contacts) = (self.path().to_owned(), Arc::clone(&self.contacts));
        let records = self.fasta.open()?;
        Ok(records.map(move |example| record(example?, &path, &contacts)))
    }

    /// Reads all once: the account.
    ///
    /// # Errors
    /// A sequence without a name or contacts, or with those of another sequence; [`DataError::NoPairs`].
    pub fn info(&self) -> Result<RelationInfo, DataError> {
        let mut counts = RelationCounts::default();
        let mut names = BTreeSet::new();
        let mut reader = self.fasta.open()?;
        for example in reader.by_ref() {
            let record = record(example?, self.path(), &self.contacts)?;
            counts.add(&record);
            let name = record.name.unwrap_or_default();
            if !names.insert(name.clone()) {
                let fault = RelationFault::SameName { name };
                return Err(wrong(self.path(), record.line, fault));
            }
        }
        let path = self.path().to_owned();
        if counts.pairs() == 0 {
            return Err(DataError::NoPairs {
                path,
                records: counts.records,
            });
        }
        counts.unused = (self.contacts.known.len() - names.len()) as u64;
        let of_fasta = reader.finish()?.sha256;
        let both = Sha256::digest(format!("{of_fasta}{}", self.contacts.sha256));
        Ok(RelationInfo {
            path,
            limit: self.limit,
            counts,
            sha256: both.iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }
}

fn record(
    example: Example,
    path: &Path,
    contacts: &ContactFile,
) -> Result<RelationRecord, DataError> {
    let line = example.line;
    let record = known(example.text, line, example.name, contacts);
    record.map_err(|fault| wrong(path, line, fault))
}

/// What is known of a sequence.
fn known(
    residues: String,
    line: u64,
    name: Option<String>,
    contacts: &ContactFile,
) -> Result<RelationRecord, RelationFault> {
    let name = name.ok_or(RelationFault::NoName)?;
    let Some((_, known)) = contacts.known.get(&name) else {
        let contacts = contacts.path.display().to_string();
        return Err(RelationFault::NoContacts { contacts, name });
    };
    let units = residues.chars().count();
    let (touching, unknown) = match known {
        Known::Contacts(contacts) => (ordered(contacts, units)?, Vec::new()),
        Known::Coordinates(places) if places.len() != units => {
            return Err(RelationFault::Coordinates {
                found: places.len(),
                residues: units,
            });
        }
        Known::Coordinates(places) => {
            let unknown = (0..units).filter(|at| places[*at].is_none()).collect();
            (near(places), unknown)
        }
    };
    let pair = |(from, to)| RelatedPair {
        from,
        to,
        label: CONTACT.to_owned(),
        weight: 1.0,
    };
    Ok(RelationRecord {
        line,
        name: Some(name),
        text: RelationText::Residues(residues),
        pairs: touching.into_iter().map(pair).collect(),
        unknown,
    })
}

/// Each contact once, the smaller residue first: files give them once or both ways.
fn ordered(
    contacts: &[(u32, u32)],
    units: usize,
) -> Result<BTreeSet<(usize, usize)>, RelationFault> {
    let mut ordered = BTreeSet::new();
    for (at, (a, b)) in contacts.iter().enumerate() {
        let (number, from, to) = (at + 1, *a.min(b) as usize, *a.max(b) as usize);
        there(number, from, to, units)?;
        ordered.insert((from, to));
    }
    Ok(ordered)
}

fn near(places: &[Option<[f32; 3]>]) -> BTreeSet<(usize, usize)> {
    let mut near = BTreeSet::new();
    for (from, a) in places.iter().enumerate() {
        for (to, b) in places.iter().enumerate().skip(from + 1) {
            let (Some(a), Some(b)) = (a, b) else {
                continue;
            };
            let squares = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2));
            if squares.sum::<f64>() < CONTACT_DISTANCE * CONTACT_DISTANCE {
                near.insert((from, to));
            }
        }
    }
    near
}

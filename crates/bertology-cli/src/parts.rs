//! Parts of a run: written by `--part K/N`, put together by `bertology merge`.
//!
//! A finished part is a folder with `part.json`, which says what it is a part of, and `chunks.jsonl`, a saved
//! state a chunk. To merge is to run the command once more with these states in the place of its corpus, so that a
//! merged run is written by what writes a whole one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use bertology::Error;
use bertology::drive::{Part, PartState};
use bertology_run::{read_json, sha256};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::failure::{Failure, sentence};
use crate::record::Run;
use crate::run_folder::{CHUNKS, Identity, PART, RUN, RunFolder, subject};
use crate::told::{self, Told};

/// The layout of `part.json` and `chunks.jsonl`.
const FORMAT: u64 = 1;

/// `part.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    format: u64,
    part: Part,
    /// What must be the same in all parts.
    identity: Identity,
    /// What was typed, and in which folder.
    arguments: Vec<String>,
    directory: PathBuf,
    stages: Vec<Span>,
    /// Where it was computed; parts of older versions do not say so, and were computed on the processor.
    #[serde(default = "processor")]
    device: Value,
    /// SHA-256 of the files that are merged, by name; parts of older versions have none.
    #[serde(default)]
    files: BTreeMap<String, String>,
}

fn processor() -> Value {
    json!({ "name": "cpu", "kind": "cpu", "through": "" })
}

impl Record {
    /// The kind of device that it was computed on.
    fn device_kind(&self) -> &str {
        self.device["kind"].as_str().unwrap_or("cpu")
    }

    /// The content of a file of the part, as the part wrote it.
    fn read(&self, folder: &Path, name: &str) -> Result<String, Failure> {
        let path = folder.join(name);
        let text = fs::read_to_string(&path).map_err(|error| Failure::io("read", &path, &error))?;
        match self.files.get(name) {
            Some(sum) if *sum != sha256(text.as_bytes()) => Err(Failure::input(format!(
                "{}: its checksum is not the one in {PART}, so it is not what `--part {}` wrote; make the part again",
                path.display(),
                self.part
            ))),
            _ => Ok(text),
        }
    }
}

/// The units of a stage that a part holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Span {
    first: u64,
    end: u64,
    total: u64,
    chunk: u64,
}

/// A line of `chunks.jsonl`.
#[derive(Debug, Serialize, Deserialize)]
struct Chunk {
    stage: usize,
    state: Value,
}

/// Writes what a part came to; `part.json` comes last. Gives it.
pub(crate) fn write(
    folder: &RunFolder,
    run: &Run,
    part: Part,
    states: &[PartState],
) -> Result<Value, Failure> {
    let mut lines = folder.stream(CHUNKS)?;
    for (stage, state) in states.iter().enumerate() {
        for state in &state.chunks {
            let mut line = json!({ "stage": stage, "state": state }).to_string();
            line.push('\n');
            lines.put(line.as_bytes())?;
        }
    }
    lines.finish()?;
    let mut files = BTreeMap::new();
    for name in [CHUNKS].into_iter().chain(told::FILES) {
        let path = folder.path().join(name);
        if path.exists() {
            let bytes =
                bertology_file::read(&path).map_err(|error| Failure::io("read", &path, &error))?;
            files.insert(name.to_owned(), sha256(&bytes));
        }
    }
    let directory = std::env::current_dir()
        .map_err(|error| Failure::work(format!("there is no working directory: {error}")))?;
    let record = json!(Record {
        format: FORMAT,
        part,
        identity: run.identity.clone(),
        arguments: crate::call::words(),
        directory,
        stages: states
            .iter()
            .map(|state| Span {
                first: state.first,
                end: state.end,
                total: state.total,
                chunk: state.chunk,
            })
            .collect(),
        device: run.device.clone(),
        files,
    });
    folder.write_json(PART, &record)?;
    folder.remove_state()?;
    Ok(record)
}

/// All parts of one run, finished.
#[derive(Debug)]
pub(crate) struct Parts {
    folders: Vec<PathBuf>,
    records: Vec<Record>,
}

impl Parts {
    /// Opens the parts of one run, in whatever order they are named.
    pub(crate) fn open(folders: &[PathBuf]) -> Result<Self, Failure> {
        let mut found = Vec::new();
        for folder in folders {
            found.push((folder.clone(), record(folder)?));
        }
        found.sort_by_key(|(_, record)| record.part.number);
        let Some((first, of)) = found
            .first()
            .map(|(folder, record)| (folder.clone(), record.part.of))
        else {
            return Err(Failure::input("no part is named"));
        };
        let identity = found[0].1.identity.clone();
        let mut next = 1;
        for (folder, record) in &found {
            if record.part.of != of {
                return Err(Failure::input(format!(
                    "{} is part {}, but {} is one of {of}; name the parts of one run",
                    folder.display(),
                    record.part,
                    first.display()
                )));
            }
            // Before gaps: the parts of two runs have gaps, too.
            same(folder, &record.identity, &first, &identity)?;
            if record.part.number < next {
                return Err(Failure::input(format!(
                    "part {} is there twice, the second time in {}; name each part once",
                    record.part,
                    folder.display()
                )));
            }
            if record.part.number > next {
                return Err(missing(next, record.part.number - 1, of));
            }
            next += 1;
        }
        if next <= of {
            return Err(missing(next, of, of));
        }
        let (folders, records) = found.into_iter().unzip();
        Ok(Self { folders, records })
    }

    /// The folders, in the order of the parts.
    pub(crate) fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// What was typed to make the first part, and where.
    pub(crate) fn command_line(&self) -> (&[String], &Path) {
        let record = &self.records[0];
        (&record.arguments, &record.directory)
    }

    /// The device of the first part.
    pub(crate) fn device(&self) -> Value {
        self.records[0].device.clone()
    }

    /// The kinds of devices that parts were computed on, if there is more than one.
    pub(crate) fn different_devices(&self) -> Option<String> {
        let kinds: BTreeSet<&str> = self.records.iter().map(Record::device_kind).collect();
        let kinds: Vec<&str> = kinds.into_iter().collect();
        (kinds.len() > 1).then(|| kinds.join(", "))
    }

    /// Refuses parts that were made of other things than those opened now.
    pub(crate) fn agree(&self, identity: &Identity) -> Result<(), Failure> {
        match self.records[0].identity.difference(identity) {
            None => Ok(()),
            Some(found) => Err(Failure::input(format!(
                "{}: when the part was made, {} was {}, now it is {}; merge with the same model and data",
                self.folders[0].display(),
                subject(&found.subject),
                found.was,
                found.is
            ))),
        }
    }

    /// The states of a stage.
    pub(crate) fn states(&self, stage: usize) -> Result<Vec<PartState>, Failure> {
        let parts = self.folders.iter().zip(&self.records);
        parts
            .map(|(folder, record)| {
                let path = folder.join(CHUNKS);
                let damaged = |why: &str| {
                    Failure::input(format!(
                        "{}: {why}, so it is not what `--part {}` wrote; make the part again",
                        path.display(),
                        record.part
                    ))
                };
                let span = record
                    .stages
                    .get(stage)
                    .ok_or_else(|| damaged("a stage is missing"))?;
                let text = record.read(folder, CHUNKS)?;
                let mut chunks = Vec::new();
                for (at, line) in text.lines().enumerate() {
                    let chunk: Chunk = serde_json::from_str(line)
                        .map_err(|error| damaged(&format!("line {}: {error}", at + 1)))?;
                    if chunk.stage == stage {
                        chunks.push(chunk.state);
                    }
                }
                if chunks.len() as u64 != (span.end - span.first).div_ceil(span.chunk) {
                    return Err(damaged("chunks are missing"));
                }
                Ok(PartState {
                    first: span.first,
                    end: span.end,
                    total: span.total,
                    chunk: span.chunk,
                    chunks,
                })
            })
            .collect()
    }

    /// Which part's states a check refuses, and why.
    pub(crate) fn blame(
        &self,
        stage: usize,
        check: impl Fn(&PartState) -> Result<(), Error>,
    ) -> Option<Failure> {
        let states = self.states(stage).ok()?;
        let mut all = self.folders.iter().zip(&self.records).zip(&states);
        all.find_map(|((folder, record), state)| {
            let error = check(state).err()?;
            let why = sentence(&error);
            let path = folder.join(CHUNKS);
            Some(Failure::input(format!(
                "{}: {why}; make part {} again",
                path.display(),
                record.part
            )))
        })
    }

    /// The rows of all parts, one after the other.
    pub(crate) fn told(&self, told: &mut Told) -> Result<(), Failure> {
        for (folder, record) in self.folders.iter().zip(&self.records) {
            told.append(&record.read(folder, told.name())?)?;
        }
        Ok(())
    }
}

/// Refuses a folder that another process is just writing into.
pub(crate) fn at_rest(folder: &Path) -> Result<(), Failure> {
    let free = RunFolder::check_free(folder);
    free.map_err(|error| Failure::work(format!("{error}; wait for its end")))
}

/// Refuses two parts of different runs.
pub(crate) fn same(
    folder: &Path,
    found: &Identity,
    first: &Path,
    wanted: &Identity,
) -> Result<(), Failure> {
    match found.difference(wanted) {
        None => Ok(()),
        Some(differs) => Err(Failure::input(format!(
            "{} and {} are parts of different runs: {} is {} in the first and {} in the second; name the \
             parts of one run",
            folder.display(),
            first.display(),
            subject(&differs.subject),
            differs.was,
            differs.is
        ))),
    }
}

/// Refuses to take a complete folder for another part than it holds, or a part for the whole.
pub(crate) fn same_part(
    folder: &RunFolder,
    document: &Value,
    wanted: Option<Part>,
) -> Result<(), Failure> {
    // Only `part.json` says a part at its top.
    let found: Option<Part> = document
        .get("part")
        .and_then(|part| serde_json::from_value(part.clone()).ok());
    if found == wanted {
        return Ok(());
    }
    let say = |part: Option<Part>| match part {
        Some(part) => format!("part {part}"),
        None => "the whole run".to_owned(),
    };
    Err(Failure::input(format!(
        "--output {}: it holds {}, and {} is asked for; choose another folder, or replace its results with \
         --overwrite",
        folder.path().display(),
        say(found),
        say(wanted)
    )))
}

fn missing(first: u64, last: u64, of: u64) -> Failure {
    Failure::input(if first == last {
        format!(
            "part {first}/{of} is missing; make it with the same command and --part {first}/{of}, then name \
             all parts"
        )
    } else {
        format!(
            "parts {first}/{of} to {last}/{of} are missing; make them with the same command and --part, then \
             name all parts"
        )
    })
}

/// What a folder says that it is a part of.
fn record(folder: &Path) -> Result<Record, Failure> {
    let path = folder.join(PART);
    if !path.exists() {
        let why = match RunFolder::saved(folder)? {
            Some(_) => "a part that is not finished; continue it with its command and --resume",
            None if folder.join(RUN).exists() => "a whole run, and no part of one (--part K/N)",
            None => "not the folder of a part: it has no part.json",
        };
        return Err(Failure::input(format!("{}: {why}", folder.display())));
    }
    let value = read_json(&path)?;
    match value.get("format").and_then(Value::as_u64) {
        Some(FORMAT) => {}
        Some(found) => {
            return Err(Failure::input(format!(
                "{}: its format is {found}, this version of bertology knows {FORMAT}; take the \
                 version that wrote it",
                path.display()
            )));
        }
        None => {
            return Err(Failure::input(format!(
                "{}: not a part of a run",
                path.display()
            )));
        }
    }
    let record: Record = serde_json::from_value(value).map_err(|error| {
        Failure::input(format!("{}: not a part of a run ({error})", path.display()))
    })?;
    let well = |span: &Span| span.first <= span.end && span.end <= span.total && span.chunk > 0;
    if !record.stages.iter().all(well) || !(1..=record.part.of).contains(&record.part.number) {
        return Err(Failure::input(format!(
            "{}: it claims units that cannot be; make the part again",
            path.display()
        )));
    }
    Ok(record)
}

/// How far the part in a folder is.
#[derive(Debug)]
pub(crate) struct Standing {
    /// Which part it is.
    pub(crate) part: Part,
    /// Units done, and units in all.
    pub(crate) units: (u64, u64),
    pub(crate) finished: bool,
    pub(crate) identity: Identity,
}

impl Standing {
    /// Of a finished part, or of one that was interrupted or is still going on; `None` of an empty folder, which
    /// a part leaves that failed, or that is just opening its files.
    pub(crate) fn of(folder: &Path) -> Result<Option<Self>, Failure> {
        if !folder.join(PART).exists()
            && let Some(saved) = RunFolder::saved(folder)?
        {
            let read = |key: &str| saved.state.get(key).cloned().unwrap_or_default();
            let part = serde_json::from_value(read("part")).ok().flatten();
            let units = serde_json::from_value(read("units"));
            if let (Some(part), Ok(units)) = (part, units) {
                return Ok(Some(Self {
                    part,
                    units,
                    finished: false,
                    identity: saved.identity,
                }));
            }
        }
        if folder.is_dir() && RunFolder::check_content(folder, false, false).is_ok() {
            return Ok(None);
        }
        let record = record(folder)?;
        let units = record.stages.iter().map(|span| span.end - span.first).sum();
        Ok(Some(Self {
            part: record.part,
            units: (units, units),
            finished: true,
            identity: record.identity,
        }))
    }
}

//! Which tasks: one from the options, or many from a file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bertology::data::edge::Records;
use bertology_train::edge::experiment::Task;
use serde::{Deserialize, Serialize};

use super::args::{EdgeProbeArgs, ScoreArg};
use crate::failure::Failure;
use crate::session;

/// A suite file is no larger than this.
const MOST: u64 = 1 << 20;

/// A suite file: `[[task]]` tables.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Suite {
    #[serde(default)]
    task: Vec<TaskTable>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TaskTable {
    name: Option<String>,
    train: PathBuf,
    dev: PathBuf,
    test: Option<PathBuf>,
    #[serde(default)]
    score: ScoreArg,
    #[serde(default)]
    one_span: bool,
}

/// The tasks that are asked for; paths of a suite file are relative to its folder.
pub(super) fn tasks(args: &EdgeProbeArgs) -> Result<Vec<Task>, Failure> {
    let tables = match (&args.suite, &args.train, &args.dev) {
        (Some(path), ..) => read(path)?,
        (None, Some(train), Some(dev)) => vec![TaskTable {
            name: args.task.clone(),
            train: train.clone(),
            dev: dev.clone(),
            test: args.test.clone(),
            score: args.score,
            one_span: false,
        }],
        _ => {
            return Err(Failure::input(
                "give --train and --dev, or --suite with many tasks",
            ));
        }
    };
    let mut names = BTreeSet::new();
    let mut tasks = Vec::new();
    for table in tables {
        let stem = |path: &Path| {
            path.file_stem()
                .map(|stem| stem.to_string_lossy().into_owned())
        };
        let name = table
            .name
            .or_else(|| stem(&table.train))
            .unwrap_or_else(|| "task".into());
        if !names.insert(name.clone()) {
            return Err(Failure::input(format!(
                "two tasks have the name {name}; give each a `name` of its own"
            )));
        }
        let records = |path: &Path| {
            let records = args.reading.records(path);
            if table.one_span {
                records.with_one_span()
            } else {
                records
            }
        };
        tasks.push(Task {
            name,
            judged: table.score.value(),
            train: records(&table.train),
            dev: records(&table.dev),
            test: table.test.as_deref().map(records),
        });
    }
    Ok(tasks)
}

fn read(path: &Path) -> Result<Vec<TaskTable>, Failure> {
    let bytes = bertology_file::read_up_to(path, MOST)
        .map_err(|error| Failure::io("read", path, &error))?;
    let said = |what: String| Failure::input(format!("{}: {what}", path.display()));
    let text = String::from_utf8(bytes).map_err(|_| said("is not UTF-8 text".into()))?;
    let suite: Suite = toml::from_str(&text).map_err(|error| {
        let line = error
            .span()
            .map(|span| text[..span.start].lines().count().max(1));
        let at = line.map_or_else(String::new, |line| format!("line {line}: "));
        said(format!("{at}{}", error.message()))
    })?;
    if suite.task.is_empty() {
        return Err(said(
            "has no [[task]]; give each task a table with `train` and `dev`".into(),
        ));
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let tables = suite.task.into_iter().map(|table| TaskTable {
        train: folder.join(table.train),
        dev: folder.join(table.dev),
        test: table.test.map(|test| folder.join(test)),
        ..table
    });
    Ok(tables.collect())
}

/// What a task is made of, for the record.
#[derive(Debug, Serialize)]
pub(super) struct Hashed {
    name: String,
    train: File,
    dev: File,
    test: Option<File>,
}

#[derive(Debug, Serialize)]
struct File {
    path: PathBuf,
    sha256: String,
}

/// The contents of all files.
pub(super) fn hashes(tasks: &[Task]) -> Result<Vec<Hashed>, Failure> {
    let of = |records: &Records| -> Result<File, Failure> {
        let failed = |error| session::failure(&bertology::Error::from(error));
        let mut reader = records.open().map_err(failed)?;
        for record in &mut reader {
            drop(record.map_err(failed)?);
        }
        let info = reader.finish().map_err(failed)?;
        Ok(File {
            path: info.path,
            sha256: info.sha256,
        })
    };
    let hashed = |task: &Task| {
        Ok(Hashed {
            name: task.name.clone(),
            train: of(&task.train)?,
            dev: of(&task.dev)?,
            test: task.test.as_ref().map(of).transpose()?,
        })
    };
    tasks.iter().map(hashed).collect()
}

/// One hash of all of them.
pub(super) fn digest(hashed: &[Hashed]) -> String {
    let mut all = Vec::new();
    for task in hashed {
        all.extend(task.name.as_bytes());
        for file in [Some(&task.train), Some(&task.dev), task.test.as_ref()] {
            all.push(0);
            all.extend(file.map_or("", |file| file.sha256.as_str()).as_bytes());
        }
    }
    bertology_run::sha256(&all)
}

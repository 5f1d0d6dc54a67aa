//! `bertology edge-data`: corpora as records of labelled spans, and a look at records.

mod check;

use std::fmt::Write as _;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use bertology::Error;
use bertology::data::DataError;
use bertology::data::edge::LabelCounts;
use bertology::data::edge::convert::{
    Conversion, DependencyOptions, Punctuation, Root, SemEvalPart, Singletons, Subtypes, UdTask,
};
use serde_json::{Map, Value, json};

use super::Done;
use crate::args::{
    ConvertArgs, EdgeData, EdgeDataArgs, KeepArg, PartArg, RootArg, SubtypesArg, UdDepsArgs,
};
use crate::failure::Failure;
use crate::interrupt::{self, Graceful};
use crate::pages::{self, NewFile};
use crate::session::failure;
use crate::show::Screen;
use crate::show::text::{count, plural};

/// Labels named in the text.
const NAMED: usize = 8;

pub(crate) fn run(args: &EdgeDataArgs, screen: &Screen) -> Result<Done, Failure> {
    type Begin<'a> = Box<dyn FnOnce(&Path) -> Result<Conversion, DataError> + 'a>;
    let (task, convert, begin): (&str, &ConvertArgs, Begin<'_>) = match &args.what {
        EdgeData::Check(args) => return check::run(args, screen),
        EdgeData::UdDeps(args) => {
            let task = UdTask::Dependencies(dependencies(args));
            (
                "ud-deps",
                &args.convert,
                Box::new(|file| Conversion::ud(file, task)),
            )
        }
        EdgeData::UdPos(args) => (
            "ud-pos",
            args,
            Box::new(|file| Conversion::ud(file, UdTask::Xpos)),
        ),
        EdgeData::UdUpos(args) => (
            "ud-upos",
            args,
            Box::new(|file| Conversion::ud(file, UdTask::Upos)),
        ),
        EdgeData::UdFeats(args) => {
            let task = UdTask::Features(args.feature.clone());
            (
                "ud-feats",
                &args.convert,
                Box::new(|file| Conversion::ud(file, task)),
            )
        }
        EdgeData::Coref(args) => {
            let singletons = match args.singletons {
                KeepArg::Keep => Singletons::Keep,
                KeepArg::Drop => Singletons::Drop,
            };
            (
                "coref",
                &args.convert,
                Box::new(move |file| Conversion::coref(file, singletons)),
            )
        }
        EdgeData::Semeval(args) => {
            let part = match args.part {
                PartArg::All => SemEvalPart::All,
                PartArg::Train => SemEvalPart::Train,
                PartArg::Dev => SemEvalPart::Dev,
            };
            (
                "semeval",
                &args.convert,
                Box::new(move |file| Conversion::semeval(file, part)),
            )
        }
        EdgeData::Spr1(args) => {
            let split = args.split.as_deref();
            (
                "spr1",
                &args.convert,
                Box::new(move |file| Conversion::spr1(file, split)),
            )
        }
        EdgeData::Spr2(args) => {
            let (trees, split) = (&args.conllu, args.split.as_deref());
            (
                "spr2",
                &args.convert,
                Box::new(move |file| Conversion::spr2(file, trees, split)),
            )
        }
        EdgeData::Dpr(args) => {
            let split = args.split.as_deref();
            (
                "dpr",
                &args.convert,
                Box::new(move |file| Conversion::dpr(file, split)),
            )
        }
    };
    pages::check("--output", &convert.output, convert.overwrite)?;
    let conversion = begin(&convert.file).map_err(|error| failure(&error.into()))?;
    write(task, conversion, &convert.output, screen)
}

fn dependencies(args: &UdDepsArgs) -> DependencyOptions {
    DependencyOptions {
        subtypes: match args.subtypes {
            SubtypesArg::Keep => Subtypes::Keep,
            SubtypesArg::Strip => Subtypes::Strip,
        },
        root: match args.root {
            RootArg::Itself => Root::Itself,
            RootArg::Drop => Root::Drop,
        },
        punctuation: match args.punct {
            KeepArg::Keep => Punctuation::Keep,
            KeepArg::Drop => Punctuation::Drop,
        },
        published_faults: args.published_faults,
    }
}

/// Writes all records, or no file.
fn write(
    task: &str,
    mut conversion: Conversion,
    output: &Path,
    screen: &Screen,
) -> Result<Done, Failure> {
    // The file that is being written goes with whoever stops it.
    let _graceful = Graceful::begin();
    let mut file = BufWriter::new(NewFile::create(output)?);
    let failed = |error: &std::io::Error| Failure::io("write", output, error);
    for record in conversion.by_ref() {
        if interrupt::requested() {
            return Err(Failure::Interrupted(format!(
                "interrupted; {} was not written",
                output.display()
            )));
        }
        let record = record.map_err(|error| failure(&Error::from(error)))?;
        writeln!(file, "{}", record.to_line()).map_err(|error| failed(&error))?;
    }
    let file = file.into_inner().map_err(|error| failed(error.error()))?;
    let labels = conversion.labels().clone();
    let info = conversion
        .finish()
        .map_err(|error| failure(&error.into()))?;
    file.keep()?;

    let counts = &info.counts;
    let mut text = format!(
        "{task:<12} {}, {}, {}",
        plural(counts.records, "record"),
        plural(counts.words, "word"),
        plural(counts.targets, "target")
    );
    let _ = write!(text, "\n{:<12} {}", "labels", most(&labels));
    for (at, (reason, number)) in info.left_out.iter().enumerate() {
        let title = if at == 0 { "left out" } else { "" };
        let _ = write!(text, "\n{title:<12} {reason}: {}", count(number));
    }
    let _ = write!(text, "\nThe records are in {}", output.display());
    screen.say(&text);
    let mut document = json!({ "command": "edge-data", "task": task, "output": output });
    if let (Some(document), Ok(Value::Object(info))) =
        (document.as_object_mut(), serde_json::to_value(&info))
    {
        document.extend(info);
        document.insert("labels".to_owned(), numbers(&labels));
    }
    Ok(document.into())
}

/// How many labels there are, and the most frequent ones.
fn most(labels: &LabelCounts) -> String {
    let mut all: Vec<(&str, u64)> = labels.iter().collect();
    all.sort_by_key(|(label, number)| (std::cmp::Reverse(*number), *label));
    let named = all.iter().take(NAMED);
    let named: Vec<String> = named
        .map(|(label, number)| format!("{label} {}", count(*number)))
        .collect();
    let more = match all.len().checked_sub(NAMED) {
        None | Some(0) => String::new(),
        Some(more) => format!(" and {more} more"),
    };
    format!("{}: {}{more}", all.len(), named.join(", "))
}

fn numbers(labels: &LabelCounts) -> Value {
    let numbers = labels
        .iter()
        .map(|(label, number)| (label.to_owned(), number.into()));
    numbers.collect::<Map<String, Value>>().into()
}

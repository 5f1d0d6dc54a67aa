//! `bertology edge-data check`: records as a model would read them.

use std::fmt::Write as _;

use bertology::OpenAs;
use bertology::data::edge::{LabelCounts, Records, Vocabulary};
use bertology::drive::Work;
use bertology::input::spans::{LongRecords, SpanAligner};
use bertology_train::Precision;
use bertology_train::edge::{Gathering, MOST_DROPPED, StateStore};
use serde_json::json;

use super::{most, numbers};
use crate::args::EdgeCheckArgs;
use crate::commands::Done;
use crate::failure::Failure;
use crate::session::{self, Opened};
use crate::show::Screen;
use crate::show::text::{bytes, count, percent, plural};
use crate::watcher::Watcher;

pub(super) fn run(args: &EdgeCheckArgs, screen: &Screen) -> Result<Done, Failure> {
    let opened = Opened::new(&args.model, OpenAs::DeclaredOrEncoder, screen)?;
    let aligner = SpanAligner::new(&opened.model, &args.reading.options(LongRecords::Drop));
    let aligner = aligner.map_err(|error| session::failure(&error))?;
    let max_length = aligner.max_length();
    let train = args.train.as_deref();
    let train = train
        .map(|path| labels(&args.reading.records(path)))
        .transpose()?;
    let mut all = Gathering::new(aligner);
    let work = Work::threads(args.threads.map_or(0, usize::from));
    let mut watcher = Watcher::new(screen);
    let found = all.read(&args.reading.records(&args.file), &work, &mut watcher);
    let found = found.map_err(|error| session::train_failure(&error))?;
    screen.stop();
    let pieces = all
        .finish()
        .map_err(|error| session::train_failure(&error))?;

    let (counts, of_file) = (found.counts, found.info.counts);
    let spans = if found.two_spans {
        "two spans"
    } else {
        "one span"
    };
    let mut text = String::new();
    let mut line = |title: &str, what: String| {
        let _ = writeln!(text, "{title:<12} {what}");
    };
    line(
        "records",
        format!(
            "{}, {}, {} of {spans}",
            count(of_file.records),
            plural(of_file.words, "word"),
            plural(of_file.targets, "target"),
        ),
    );
    if of_file.without_targets > 0 {
        line(
            "",
            format!(
                "{} without targets",
                plural(of_file.without_targets, "record")
            ),
        );
    }
    line("labels", most(&found.labels));
    if of_file.unlabelled + of_file.several_labels > 0 {
        let (none, several) = (count(of_file.unlabelled), count(of_file.several_labels));
        line(
            "",
            format!("targets without a label: {none}, with several: {several}"),
        );
    }
    let mut unseen = LabelCounts::default();
    if let Some(train) = &train {
        let vocabulary = Vocabulary::new(train.labels());
        unseen = found.labels.unseen(&vocabulary).collect();
        if unseen.is_empty() {
            line(
                "unseen",
                "none: all labels are among those trained on".to_owned(),
            );
        } else {
            line(
                "unseen",
                format!("{}; a probe must miss them", most(&unseen)),
            );
        }
    }
    line(
        "tokens",
        format!(
            "{}, {:.3} a word; {} of the words have several",
            count(counts.pieces),
            counts.pieces as f64 / counts.words.max(1) as f64,
            percent(counts.split_words, counts.words)
        ),
    );
    for (number, what) in [
        (counts.unknown_words, "unknown to the tokenizer"),
        (
            counts.words_without_pieces,
            "of which the tokenizer leaves nothing, read as unknown",
        ),
        (
            counts.sharing_words,
            "that have a token in common with the word before",
        ),
    ] {
        if number > 0 {
            line("", format!("{} {what}", plural(number, "word")));
        }
    }
    line(
        "longest",
        format!(
            "{} tokens with special ones; the model reads {max_length}",
            count(counts.longest)
        ),
    );
    if counts.too_long > 0 {
        line("too long", plural(counts.too_long, "record"));
    }
    line(
        "dropped",
        match counts.dropped {
            0 => "no target".to_owned(),
            dropped => {
                let (share, labels) = (percent(dropped, counts.targets), most(&found.dropped));
                format!("{} ({share}), {labels}", plural(dropped, "target"))
            }
        },
    );
    let size = |precision| StateStore::bytes_needed(&opened.model, &pieces, precision);
    line(
        "states",
        format!(
            "{} of {} positions in {}: {} in half precision, {} in single",
            count(pieces.pieces() as u64),
            count(pieces.tokens() as u64),
            plural(pieces.sequences() as u64, "distinct sequence"),
            bytes(size(Precision::F16)),
            bytes(size(Precision::F32)),
        ),
    );
    screen.say(text.trim_end());
    if found.dropped_share() > MOST_DROPPED {
        screen.note(
            "more targets are dropped than a score may leave out; raise --max-length, or say --too-long window",
        );
    }
    let document = json!({
        "command": "edge-data",
        "task": "check",
        "data": found.info,
        "two_spans": found.two_spans,
        "labels": numbers(&found.labels),
        "unseen": train.map(|_| numbers(&unseen)),
        "max_length": max_length,
        "alignment": counts,
        "dropped": numbers(&found.dropped),
        "states": {
            "sequences": pieces.sequences(),
            "positions": pieces.pieces(),
            "tokens": pieces.tokens(),
            "bytes_f16": size(Precision::F16),
            "bytes_f32": size(Precision::F32),
        },
    });
    Ok(document.into())
}

/// The labels of a file.
fn labels(records: &Records) -> Result<LabelCounts, Failure> {
    let failed = |error| session::failure(&bertology::Error::from(error));
    let mut labels = LabelCounts::default();
    for record in records.open().map_err(failed)? {
        labels.add(&record.map_err(failed)?);
    }
    Ok(labels)
}

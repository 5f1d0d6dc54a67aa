//! `bertology prune`: remove heads for good, compare, write the smaller checkpoint.

use bertology::checkpoint::{Export, WriteOptions};
use bertology::masking::MaskingOptions;
use bertology::pruning::{
    Pruned, Sizes, Timing, Written, compare_speed, file_bytes, first_sequences, masked_heads,
    prune, synthetic_sequences, write,
};
use bertology::timing::TimingOptions;
use bertology::{Corpus, Error, HeadSet, OpenAs, Sequence};
use bertology_report::times_as_fast;
use bertology_run::results::{
    self, CheckpointReport, CheckpointWritten, PruneResults, WeightsSize, finite,
};
use serde_json::json;

use super::pair::Pair;
use super::{Done, search};
use crate::args::{GranularityArg, Masks, PruneArgs};
use crate::command;
use crate::data;
use crate::failure::Failure;
use crate::head_choice;
use crate::interrupt::{self, Graceful};
use crate::record::{self, Clock, Run};
use crate::run_folder::{self, Earlier, MODEL};
use crate::session::{Opened, failure};
use crate::show::Screen;
use crate::show::text::{bytes, count, percent, plural};
use crate::study;
use crate::tables::write_mask;
use crate::watcher::Watcher;

/// Without data speed is compared and the written checkpoint verified on so many inputs of so many arbitrary tokens.
const SYNTHETIC: (usize, usize) = (8, 128);
/// For which each of the two models is timed.
const SECONDS: f64 = 0.5;

pub(crate) fn run(mut args: PruneArgs, screen: &Screen) -> Result<Done, Failure> {
    let mut clock = Clock::start();
    args.parts.refuse(search::NOT_IN_PARTS)?;
    let note = &mut |text: &str| screen.note(text);
    args.data.obey_legacy(Masks::Yes, &args.model, note)?;
    if args.output.output.is_none() && !args.dry_run {
        return Err(Failure::input(
            "prune writes a checkpoint; say where with --output DIR (it goes to DIR/model), or --dry-run to see what \
             would go",
        ));
    }
    command::check_output(&args.output, args.resume.resume)?;
    let given = args.mask.is_some() || !args.heads.is_empty();
    let scored = data::named(&args.data);
    if !given && !scored {
        return Err(Failure::input(
            "which heads shall go? Give --mask FILE or --heads 0:1,3, or data to find the least \
             important ones: --task NAME --data DIR, --text FILE or others",
        ));
    }
    if given {
        refuse_search_options(&args)?;
    }
    if !scored {
        data::refuse_objective(&args.data)?;
    }
    search::check(&args.masking)?;
    refuse_full_shape(&args)?;
    let open_as = if scored {
        data::open_as(&args.data)
    } else {
        OpenAs::DeclaredOrEncoder
    };
    let opened = Opened::new(&args.model, open_as, screen)?.on(&args.place, screen)?;
    // Before anything is searched or written.
    if opened.model.architecture().query_key_norm && !args.keep_shape {
        return Err(failure(
            &bertology::checkpoint::Error::TogetherNormed.into(),
        ));
    }
    let corpus = if scored {
        Some(data::corpus(&opened, &args.data, screen)?)
    } else {
        None
    };
    let choosing = match &corpus {
        Some(corpus) => search::choosing(
            &opened,
            &args.data,
            args.masking.choose_on.as_deref(),
            corpus,
            screen,
        )?,
        None => None,
    };
    let chosen_on = choosing.as_ref().or(corpus.as_ref());
    let options = match chosen_on {
        Some(chosen_on) if !given => {
            let (masking, score) = (&args.masking, &args.score);
            search::options(masking, score, &opened, chosen_on, screen)?
        }
        _ => MaskingOptions::default(),
    };
    let chosen = given.then(|| heads_given(&opened, &args)).transpose()?;
    clock.lap("load");
    let mut run = Run::new("prune", &args, clock, &opened)?;
    run.set_seed(args.data.seed);
    if let Some(corpus) = &corpus {
        run.set_corpus(corpus, args.data.seed);
    }
    search::set_choosing(&mut run, choosing.as_ref());
    if let Some(heads) = &chosen {
        run.identity.set("mask", json!(heads.to_string()));
    }
    let (folder, earlier) = match args.dry_run {
        true => (None, Earlier::Nothing),
        false => command::open_output(&args.output, args.resume.resume, &run)?,
    };
    if let Earlier::Complete(document) = earlier {
        screen.note("this run is complete already; nothing to resume");
        return Ok(document.into());
    }
    search::begin(folder.as_ref(), &earlier, &run)?;
    if let Some(corpus) = &corpus {
        screen.say(&study::headline(&opened, corpus));
        if !given {
            search::say_choosing("chosen", choosing.as_ref(), screen);
        }
        study::note_skipped(corpus, screen);
    }

    let mut masking = None;
    let heads = match (chosen, chosen_on) {
        (Some(heads), _) => heads,
        (None, Some(corpus)) => {
            let searching = search::Searching {
                opened: &opened,
                corpus,
                options: &options,
                work: command::work(&args.work),
                run: &run,
                folder: folder.as_ref(),
            };
            let outcome = searching.finish(earlier, screen)?;
            search::refuse_unreached(&outcome, &options)?;
            run.clock.lap("masking");
            if let Some(folder) = &folder {
                search::write(folder, &outcome, &options)?;
            }
            masking = Some(search::results(&outcome, &options));
            let summary = search::summary(&outcome, &options, screen);
            screen.say(&format!("\n{summary}"));
            masked_heads(&outcome.mask())
        }
        (None, None) => HeadSet::new(),
    };
    if let Some(folder) = &folder {
        write_mask(folder, &kept(&opened, &heads))?;
    }
    let pruned = prune(&opened.model, &heads).map_err(|e| failure(&e))?;
    let graceful = Graceful::begin();
    let comparison = Comparison::measure(&opened, &pruned, corpus.as_ref(), &args, screen)?;
    run.clock.lap("comparison");
    let export = if args.keep_shape {
        Export::Zeroed
    } else {
        Export::Pruned
    };
    // A folder of an interrupted run may hold the checkpoint already.
    let write_options =
        WriteOptions::new(export).overwrite(args.output.overwrite || args.resume.resume);
    let target = folder.as_ref().map(|folder| folder.path().join(MODEL));
    let written = target.as_ref().map(|target| {
        let model = &opened.model;
        let written = write(model, &heads, target, &write_options, &comparison.sequences);
        written.map_err(|e| failure(&e))
    });
    let written = written.transpose()?;
    drop(graceful);
    screen.stop();
    if interrupt::requested() && written.is_some() {
        return Err(command::interrupted(
            "writing the checkpoint",
            folder.as_ref(),
        ));
    }
    run.clock.lap("write");
    let file = match &written {
        Some(written) => (
            written.report.file_bytes_before,
            written.report.file_bytes_after,
        ),
        None => planned(&opened, &heads, export)?,
    };

    let removed = pruned.removed.iter();
    let scores = comparison.scores.as_ref();
    let document = run.document(&PruneResults {
        removed_heads: removed.map(|(l, h)| format!("L{l}H{h}")).collect(),
        sizes: Some(sizes(&pruned.sizes)),
        checkpoint: written.as_ref().map(checkpoint),
        export: if args.keep_shape { "zeroed" } else { "pruned" }.into(),
        folder: target
            .as_ref()
            .map_or_else(String::new, |target| target.to_string_lossy().into_owned()),
        evaluation_before: scores.map(|pair| record::evaluation(&pair.found.before)),
        evaluation_after: scores.map(|pair| record::evaluation(&pair.found.after)),
        paired: scores.map(Pair::change),
        timing: comparison.timing.as_ref().map(timing),
        masking,
    });
    let document = run_folder::complete(folder.as_ref(), document)?;
    let said = report(&pruned, written.as_ref(), file, &comparison);
    screen.say(&format!("\n{said}"));
    screen.say(&match (&target, &folder) {
        (Some(target), Some(folder)) => format!(
            "The checkpoint is in {}\nThe record is in {}",
            target.display(),
            folder.path().display()
        ),
        _ => {
            let gone = pruned.removed.iter();
            let gone: Vec<String> = gone.map(|(l, h)| format!("L{l}H{h}")).collect();
            format!(
                "A dry run: nothing was written. These would go: {}",
                gone.join(" ")
            )
        }
    });
    Ok(document.into())
}

pub(super) fn sizes(sizes: &Sizes) -> results::Sizes {
    results::Sizes {
        heads_before: sizes.heads_before as u64,
        heads_after: sizes.heads_after as u64,
        parameters_before: sizes.parameters_before as u64,
        parameters_after: sizes.parameters_after as u64,
    }
}

pub(super) fn checkpoint(written: &Written) -> CheckpointWritten {
    let report = &written.report;
    let size = |parameters: u64, bytes: u64| WeightsSize { parameters, bytes };
    let silent = report.silent_heads.iter();
    CheckpointWritten {
        report: CheckpointReport {
            before: size(report.before.parameters, report.before.bytes),
            after: size(report.after.parameters, report.after.bytes),
            file_bytes_before: report.file_bytes_before,
            file_bytes_after: report.file_bytes_after,
            files: report.files.clone(),
            silent_heads: silent
                .map(|(layer, heads)| (*layer, heads.clone()))
                .collect(),
            zeroed_survivors: report.zeroed_survivors.clone(),
            left_out: report.left_out.clone(),
        },
        compared: written.compared as u64,
        largest_difference: finite(written.largest_difference),
    }
}

pub(super) fn timing(timing: &Timing) -> results::Timing {
    results::Timing {
        sequences: timing.sequences as u64,
        tokens: timing.tokens as u64,
        threads: timing.threads as u64,
        device: timing.device.clone(),
        before: timing.before.clone(),
        after: timing.after.clone(),
        speedup: finite(timing.speed.ratio),
        range: Some((timing.speed.low, timing.speed.high)),
    }
}

/// Bytes of the weights files now, and of the one that would be written.
fn planned(opened: &Opened, heads: &HeadSet, export: Export) -> Result<(u64, u64), Failure> {
    let mut before = 0;
    for file in opened.model.checkpoint().files() {
        let length = bertology_file::length(file);
        before += length.map_err(|error| Failure::io("read", file, &error))?;
    }
    let after = file_bytes(&opened.model, heads, export);
    Ok((before, after.map_err(|e| failure(&e))?))
}

/// With the heads given there is no search, so its options would do nothing.
fn refuse_search_options(args: &PruneArgs) -> Result<(), Failure> {
    let (masking, score) = (&args.masking, &args.score);
    let of_search = masking.of_search();
    let set = [
        (of_search.is_some(), of_search.unwrap_or_default()),
        (masking.metric.is_some(), "--metric"),
        (masking.choose_on.is_some(), "--choose-on"),
        (
            score.granularity != GranularityArg::Example,
            "--granularity",
        ),
        (score.batch_size.is_some(), "--batch-size"),
        (
            score.dont_normalize_importance_by_layer,
            "--dont-normalize-importance-by-layer",
        ),
        (
            score.dont_normalize_global_importance,
            "--dont-normalize-global-importance",
        ),
    ];
    match set.iter().find(|(set, _)| *set) {
        None => Ok(()),
        Some((_, name)) => Err(Failure::input(format!(
            "{name} steers the search for heads, but --mask or --heads names them already; leave \
             one of the two out"
        ))),
    }
}

/// A checkpoint of full shape gains neither size nor speed.
fn refuse_full_shape(args: &PruneArgs) -> Result<(), Failure> {
    let goal = match (&args.masking.max_size, &args.masking.min_speedup) {
        _ if !args.keep_shape => return Ok(()),
        (Some(_), _) => "--max-size",
        (_, Some(_)) => "--min-speedup",
        _ => return Ok(()),
    };
    Err(Failure::input(format!(
        "--keep-shape writes heads as zeros, which is neither smaller nor faster, so {goal} cannot be reached; leave one \
         of the two out"
    )))
}

fn heads_given(opened: &Opened, args: &PruneArgs) -> Result<HeadSet, Failure> {
    let (layers, width) = opened.shape();
    if let Some(file) = &args.mask {
        let values = head_choice::read_mask(file, layers, width)?;
        let keep = head_choice::as_switches(file, &values, width)?;
        return HeadSet::from_mask(&keep, layers, width).map_err(|e| failure(&e.into()));
    }
    study::named_heads(&args.heads, layers, width)
}

/// The mask that keeps what the model has and `heads` does not name.
fn kept(opened: &Opened, heads: &HeadSet) -> bertology::HeadMask {
    let mut mask = bertology::HeadMask::ones(opened.model.model());
    for (layer, head) in heads.iter() {
        mask.set(bertology::HeadId { layer, head }, 0.0);
    }
    mask
}

/// The model before and after.
struct Comparison {
    scores: Option<Pair>,
    /// None where the checkpoint keeps its shape, and with it its speed.
    timing: Option<Timing>,
    sequences: Vec<Sequence>,
}

impl Comparison {
    fn measure(
        opened: &Opened,
        pruned: &Pruned,
        corpus: Option<&Corpus>,
        args: &PruneArgs,
        screen: &Screen,
    ) -> Result<Self, Failure> {
        let work = command::work(&args.work);
        let scores = corpus.map(|corpus| {
            let found = Pair::measure(&opened.model, &pruned.model, corpus, &work, screen);
            found.map_err(|e| stopped(&e))
        });
        let scores = scores.transpose()?;
        let sequences = match corpus {
            Some(corpus) => first_sequences(corpus).map_err(|e| failure(&e))?,
            None => {
                let (number, length) = SYNTHETIC;
                synthetic_sequences(opened.model.architecture(), number, length)
            }
        };
        if args.keep_shape {
            screen.stop();
            return Ok(Self {
                scores,
                timing: None,
                sequences,
            });
        }
        let mut options = TimingOptions::default();
        options.threads = work.threads;
        options.seconds = SECONDS;
        let mut watcher = Watcher::new(screen);
        let timing = compare_speed(
            &opened.model,
            &pruned.model,
            &sequences,
            work.batch_tokens,
            &options,
            &mut watcher,
        )
        .map_err(|e| stopped(&e))?;
        screen.stop();
        Ok(Self {
            scores,
            timing: Some(timing),
            sequences,
        })
    }
}

fn stopped(error: &Error) -> Failure {
    if interrupt::requested() {
        return Failure::Interrupted(
            "interrupted while comparing; nothing of the checkpoint is written; continue with the \
             same command and --resume"
                .into(),
        );
    }
    failure(error)
}

/// Whose speed it is, behind that word; of the processor's nothing is said.
pub(super) fn where_timed(timing: &Timing) -> String {
    let device = timing.device.as_ref();
    device.map_or_else(String::new, |device| format!(" on {device}"))
}

/// How much faster the smaller model is, if it can be told.
fn speed(timing: &Timing) -> String {
    let (speed, of) = (&timing.speed, where_timed(timing));
    format!(
        "\nSpeed{of}: {}\n(forward passes of {}; {} pairs)",
        times_as_fast(speed.ratio, (speed.low, speed.high)),
        plural(timing.sequences as u64, "sequence"),
        timing.before.len(),
    )
}

fn report(
    pruned: &Pruned,
    written: Option<&Written>,
    file: (u64, u64),
    comparison: &Comparison,
) -> String {
    let sizes = &pruned.sizes;
    let mut lines = vec![format!(
        "  {:<12} {:>14}  {:>14}  {:>9}",
        "", "before", "after", "left"
    )];
    let mut row = |name: &str, before: String, after: String, share: String| {
        lines.push(format!(
            "  {name:<12} {before:>14}  {after:>14}  {share:>9}"
        ));
    };
    let size = |before: usize, after: usize| {
        (
            count(before as u64),
            count(after as u64),
            percent(after as u64, before as u64),
        )
    };
    let (before, after, share) = size(sizes.heads_before, sizes.heads_after);
    row("heads", before, after, share);
    let (before, after, share) = size(sizes.parameters_before, sizes.parameters_after);
    row("parameters", before, after, share);
    let (before, after) = file;
    row("file", bytes(before), bytes(after), percent(after, before));
    if let Some(scores) = &comparison.scores {
        row("", String::new(), String::new(), "change".into());
        for [name, before, after, change] in scores.rows() {
            row(&name, before, after, change);
        }
        lines.push(String::new());
        lines.extend(scores.said());
    }
    match &comparison.timing {
        Some(timing) => lines.push(speed(timing)),
        None => lines.push(
            "\nThe checkpoint has its full shape, with the heads zeroed: same scores, old size and \
             speed.\nHeads and parameters above are those of really removing them."
                .into(),
        ),
    }
    if sizes.heads_after == 0 {
        lines.push(
            "No head is left: what the scores above are of does not look at other tokens.".into(),
        );
    }
    let Some(written) = written else {
        return lines.join("\n");
    };
    for (layer, head) in &written.report.zeroed_survivors {
        lines.push(format!(
            "Layer {layer} has no head left; L{layer}H{head} is written as zeros, because \
             transformers\ncannot run a layer without heads. No command counts it."
        ));
    }
    lines.push(format!(
        "Opened again and compared on {}: largest difference {:.1e}",
        plural(written.compared as u64, "sequence"),
        written.largest_difference
    ));
    lines.join("\n")
}

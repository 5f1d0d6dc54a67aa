//! `bertology extract`: what goes on inside, written down for a whole corpus.

use std::path::Path;

use bertology::data::LabelOrder;
use bertology::extract::{
    Counts, ExtractOptions, Extraction, Float, Format, Heads, Layers, Objective, Pool, Request,
    Summary, Texts,
};
use bertology::model::LayerSite;
use bertology::windows::TooLong;
use bertology::{Architecture, Error, OpenAs};
use bertology_run::registry::INDEX;
use bertology_run::results::{ExtractCounts, ExtractResults};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::Done;
use crate::args::{DtypeArg, ExtractArgs, FormatArg, PoolArg, TextArgs, TooLongArg};
use crate::args::{ValueArgs, WorkArgs};
use crate::data;
use crate::failure::Failure;
use crate::interrupt::{self, Graceful};
use crate::record::{Clock, Run};
use crate::run_folder::{self, Earlier, RunFolder};
use crate::session::{self, Opened, failure};
use crate::show::Screen;
use crate::show::text::{bytes, count, plural, seconds};
use crate::study;
use crate::watcher::Watcher;

pub(crate) fn run(args: ExtractArgs, screen: &Screen) -> Result<Done, Failure> {
    let clock = Clock::start();
    if args.output.output.is_none() && !args.dry_run {
        return Err(Failure::input(
            "no --output folder given; --dry-run tells how large the results would be",
        ));
    }
    if !args.dry_run {
        study::check_output(&args.output, args.resume.resume)?;
    }
    let options = options(&args)?;
    let texts = texts(&args.texts, screen)?;
    let (objective, open_as) = objective(&args.wanted)?;
    let opened = Opened::new(&args.model, open_as, screen)?;
    let request = request(&args.wanted, objective, opened.model.architecture())?;
    let mut watcher = Watcher::new(screen);
    let plan = Extraction::new(&opened.model, texts, &request, options, &mut watcher);
    screen.stop();
    let plan = plan.map_err(|e| failure(&e))?;
    let mut run = Run::new("extract", &args, None, clock, &opened, None)?;
    run.set_data(
        match plan.info() {
            Some(info) => Some(info.sha256.clone()),
            None => hash_of(&args.texts.texts),
        },
        json!({ "file": plan.info(), "max_length": plan.max_length() }),
    );
    run.clock.lap("count");
    screen.say(&headline(&opened, &plan))?;
    note_texts(&plan, options, screen);

    if args.dry_run {
        screen.say(&estimate(&plan, 0, None))?;
        let shards = plan.num_shards();
        return Ok(run
            .document(&json!({
                "counts": plan.counts(),
                "bytes": plan.bytes(0),
                "num_shards": shards,
            }))
            .into());
    }
    let (folder, earlier) = study::open_output(&args.output, args.resume.resume, &run)?;
    let Some(folder) = folder else {
        return Err(Failure::input("no --output folder given"));
    };
    let first = match earlier {
        Earlier::Complete(document) => {
            screen.note("this run is complete already; nothing to resume");
            return Ok(document.into());
        }
        Earlier::Interrupted(state) => {
            let saved: State = serde_json::from_value(state).map_err(|error| {
                Failure::input(format!(
                    "the saved state cannot be read ({error}); start again with --overwrite"
                ))
            })?;
            screen.note(&format!(
                "resuming after {}",
                plural(saved.shards as u64, "shard")
            ));
            saved
        }
        Earlier::Nothing => State::default(),
    };
    let room = plan.check_room(folder.path(), first.shards);
    let room = room.map_err(|e| failure(&e))?;
    // From the first line printed on, Ctrl-C keeps finished shards.
    let graceful = Graceful::begin();
    screen.say(&estimate(&plan, first.shards, Some(room)))?;
    let (summary, overflows) = write(&plan, &folder, &run, first, screen)?;
    drop(graceful);
    let time = run.clock.lap("extract");
    if overflows > 0 {
        screen.note(&format!(
            "{} beyond 65504, the largest that f16 holds, and infinite in the files; take --dtype \
             f32, or bf16",
            plural(overflows, "value")
        ));
    }
    let document = run.document(&results(&plan, &summary, overflows));
    run_folder::complete(&folder, &document)?;
    let counts = plan.counts();
    screen.say(&format!(
        "{}, {} in {}\n{}",
        plural(counts.examples, "text"),
        plural(counts.tokens, "token"),
        plural(summary.shards.len() as u64, "shard"),
        seconds(time)
    ))?;
    super::say_folder(Some(&folder), screen)?;
    Ok(document.into())
}

/// What is saved of an unfinished run.
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
struct State {
    /// Shards on disk.
    shards: usize,
    /// Values in them that their type cannot hold.
    overflows: u64,
}

fn write(
    plan: &Extraction,
    folder: &RunFolder,
    run: &Run,
    first: State,
    screen: &Screen,
) -> Result<(Summary, u64), Failure> {
    let save = |state: State| {
        let state = serde_json::to_value(state)
            .map_err(|error| Failure::work(format!("cannot save the state: {error}")))?;
        Ok(folder.save_state(&run.identity, state)?)
    };
    save(first)?;
    let mut finished = first;
    let mut on_shard = |shards: usize, overflows: u64| {
        finished.shards = shards;
        finished.overflows += overflows;
        save(finished)
    };
    let mut watcher = Watcher::new(screen).on_shard(&mut on_shard);
    let result = plan.write(folder.path(), first.shards, &mut watcher);
    let wrong = watcher.into_failure();
    screen.stop();
    if let Some(wrong) = wrong {
        return Err(wrong);
    }
    match result {
        Ok(summary) => Ok((summary, finished.overflows)),
        Err(Error::Interrupted { .. }) if interrupt::requested() => {
            let what = plural(finished.shards as u64, "shard");
            Err(study::interrupted(&what, Some(folder)))
        }
        Err(error) => Err(failure(&error)),
    }
}

fn options(args: &ExtractArgs) -> Result<ExtractOptions, Failure> {
    let mut options = ExtractOptions::default();
    options.format = match args.format {
        FormatArg::Safetensors => Format::Safetensors,
        FormatArg::Npz => Format::Npz,
        FormatArg::Parquet => Format::Parquet,
    };
    options.float = match args.dtype {
        DtypeArg::F32 => Float::F32,
        DtypeArg::F16 => Float::F16,
        DtypeArg::Bf16 => Float::Bf16,
    };
    options.pool = match args.wanted.pool {
        PoolArg::None => Pool::None,
        PoolArg::First => Pool::First,
        PoolArg::Last => Pool::Last,
        PoolArg::Mean => Pool::Mean,
    };
    options.too_long = match args.texts.too_long {
        TooLongArg::Error => TooLong::Error,
        TooLongArg::Cut => TooLong::Cut,
        TooLongArg::Window => TooLong::Window,
    };
    options.stride = args.texts.stride.map(usize::from);
    options.max_length = args.texts.max_length.map(usize::from);
    options.shard_size = args.shard_size.get();
    let WorkArgs {
        tokens_per_batch, ..
    } = &args.work;
    if let Some(tokens) = tokens_per_batch {
        options.batch_tokens = tokens.get();
    }
    options.threads = session::threads(&args.work);
    if args.texts.source.swapped_mnli_labels {
        options.label_order = LabelOrder::SwappedMnli;
    }
    Ok(options)
}

fn texts(args: &TextArgs, screen: &Screen) -> Result<Texts, Failure> {
    let source = &args.source;
    if let Some(file) = args.texts.iter().find(|text| Path::new(text).is_file()) {
        return Err(Failure::input(format!(
            "{file} is a file, not a text; --text {file} takes its lines"
        )));
    }
    if !args.texts.is_empty() {
        let most = source.limit.unwrap_or(usize::MAX);
        return Ok(Texts::given(args.texts.iter().take(most)));
    }
    if source.text.is_none() && source.data.is_none() && source.token_ids.is_none() {
        return Err(Failure::input(
            "no texts given: write them behind MODEL, or give --text FILE with one text a line, --data \
             FILE --text-column COLUMN for a table, or --task NAME --data FOLDER for GLUE",
        ));
    }
    Ok(data::source(source, false, screen)?.into())
}

/// The objective, and the head that it reads.
fn objective(args: &ValueArgs) -> Result<(Option<Objective>, OpenAs), Failure> {
    let Some(text) = &args.objective else {
        return Ok((None, OpenAs::Declared));
    };
    let objective = text.parse().map_err(|e| failure(&e))?;
    let open_as = match objective {
        Objective::NextTokens => OpenAs::CausalLm,
        Objective::Tokens => OpenAs::MaskedLm,
        _ => OpenAs::Declared,
    };
    Ok((Some(objective), open_as))
}

/// Texts of the command line stand for themselves in the run's identity.
fn hash_of(texts: &[String]) -> Option<String> {
    if texts.is_empty() {
        return None;
    }
    let mut digest = Sha256::new();
    for text in texts {
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text);
    }
    let bytes = digest.finalize();
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn request(
    args: &ValueArgs,
    objective: Option<Objective>,
    arch: &Architecture,
) -> Result<Request, Failure> {
    if args.gradients && objective.is_none() {
        return Err(Failure::input(
            "--gradients are those of a loss; say of which with --objective label, class:K, lm or mlm",
        ));
    }
    let mut request = Request::new();
    let mut nothing = !args.tokens;
    if let Some(layers) = &args.hidden_states {
        request = request.hidden_states(Layers::parse(layers).map_err(|e| failure(&e))?);
        nothing = false;
    }
    for (site, heads) in [
        (LayerSite::AttentionProbs, &args.attentions),
        (LayerSite::AttentionScores, &args.attention_scores),
        (LayerSite::HeadOutput, &args.head_outputs),
        (LayerSite::HeadContribution, &args.head_contributions),
        (LayerSite::Query, &args.queries),
        (LayerSite::Key, &args.keys),
        (LayerSite::Value, &args.values),
    ] {
        if !heads.is_empty() {
            let heads = Heads::parse(&heads.join(" "), arch).map_err(|e| failure(&e))?;
            request = request.per_head(site, heads);
            nothing = false;
        }
    }
    if args.logits {
        request = request.logits();
        nothing = false;
    }
    if let Some(objective) = objective {
        request = if args.gradients {
            request.gradients(objective)
        } else {
            request.objective(objective)
        };
        nothing = false;
    }
    if nothing {
        return Err(Failure::input(
            "no values chosen: add --hidden-states, --attentions, --attention-scores, \
             --head-outputs, --head-contributions, --queries, --keys, --values or --logits, or \
             --tokens for the tokens alone",
        ));
    }
    Ok(request)
}

fn headline(opened: &Opened, plan: &Extraction) -> String {
    let (layers, heads) = opened.shape();
    let counts = plan.counts();
    let from = match plan.info() {
        Some(info) => info.path.display().to_string(),
        None => "the command line".to_owned(),
    };
    format!(
        "{}: {layers} layers of {heads} heads\n{from}: {}, {}",
        opened.located.name,
        plural(counts.examples, "text"),
        plural(counts.tokens, "token"),
    )
}

/// What the user should know of the texts.
fn note_texts(plan: &Extraction, options: ExtractOptions, screen: &Screen) {
    if let Some(info) = plan.info()
        && info.skipped.total() > 0
    {
        screen.note(&format!(
            "{} of {} skipped",
            plural(info.skipped.total(), "line"),
            info.path.display()
        ));
    }
    let Counts {
        cut_examples,
        cut_tokens,
        windowed_examples,
        sequences,
        tokens_without_word,
        words,
        ..
    } = *plan.counts();
    if cut_examples > 0 {
        screen.note(&format!(
            "{} cut to {} tokens; {} left out",
            plural(cut_examples, "text"),
            plan.max_length(),
            plural(cut_tokens, "token")
        ));
    }
    if windowed_examples > 0 {
        screen.note(&format!(
            "{} longer than {} tokens; {} in all with their windows",
            plural(windowed_examples, "text"),
            plan.max_length(),
            plural(sequences, "sequence")
        ));
    }
    if options.pool != Pool::None {
        screen.note(&format!(
            "{}; {} without a word left out",
            plural(words, "word"),
            plural(tokens_without_word, "token")
        ));
    }
}

fn estimate(plan: &Extraction, first: usize, room: Option<u64>) -> String {
    let rest = plan.num_shards().saturating_sub(first);
    let free = room.map_or(String::new(), |room| format!("; {} free", bytes(room)));
    format!(
        "{} to write in {} of {}{free}",
        bytes(plan.bytes(first)),
        count(rest as u64),
        plural(plan.num_shards() as u64, "shard"),
    )
}

fn results(plan: &Extraction, summary: &Summary, overflows: u64) -> ExtractResults {
    let counts = plan.counts();
    ExtractResults {
        counts: Some(ExtractCounts {
            examples: counts.examples,
            sequences: counts.sequences,
            tokens: counts.tokens,
            words: counts.words,
            tokens_without_word: counts.tokens_without_word,
            cut_examples: counts.cut_examples,
            cut_tokens: counts.cut_tokens,
            windowed_examples: counts.windowed_examples,
            longest: counts.longest,
        }),
        num_shards: summary.shards.len() as u64,
        values_beyond_dtype: overflows,
        index: INDEX.into(),
    }
}

//! `bertology extract`: what goes on inside, written down for a whole corpus.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bertology::extract::{
    ExtractOptions, ExtractState, Extraction, Float, Format, GradientOf, Heads, Layers, Pool,
    Request, Summary, TextCounts, Texts,
};
use bertology::model::LayerSite;
use bertology::{Architecture, OpenAs};
use bertology_run::registry::INDEX;
use bertology_run::results::{ExtractCounts, ExtractResults};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::Done;
use crate::args::{DtypeArg, ExtractArgs, FormatArg, PoolArg, TextArgs, TooLongArg, ValueArgs};
use crate::assumptions;
use crate::command::{self, Ended, Shown, Stage, StudyCommand};
use crate::data::{self, note_words};
use crate::failure::Failure;
use crate::record::Run;
use crate::run_folder::RunFolder;
use crate::session::{Opened, failure};
use crate::show::Screen;
use crate::show::text::{bytes, count, plural, seconds};
use crate::watcher::Watcher;

impl StudyCommand for ExtractArgs {
    const NAME: &'static str = "extract";
    const LAP: &'static str = "extract";

    type Input = Extraction;
    type Supply = Extraction;
    type Study = ExtractState;

    fn prepare(&mut self, _: &Screen) -> Result<(), Failure> {
        self.model.give_back(&mut self.input.texts);
        self.input.sequence.default_too_long(TooLongArg::Error);
        if self.grid.chunk.is_some() {
            return Err(Failure::input(
                "--chunk: the chunks of an extraction are its shards; say --shard-size N",
            ));
        }
        if self.output.output.is_none() && !self.own.dry_run {
            return Err(Failure::input(
                "no --output folder given; --dry-run tells how large the results would be",
            ));
        }
        objective(&self.own.wanted).map(drop)
    }

    fn open_as(&self) -> OpenAs {
        objective(&self.own.wanted).map_or(OpenAs::DeclaredOrEncoder, |(_, open_as)| open_as)
    }

    fn writes(&self) -> bool {
        !self.own.dry_run
    }

    fn open(&self, opened: &Opened, screen: &Screen) -> Result<Extraction, Failure> {
        let texts = texts(&self.input, screen)?;
        let (objective, _) = objective(&self.own.wanted)?;
        let request = request(&self.own.wanted, objective, opened.model.architecture())?;
        let mut watcher = Watcher::new(screen);
        let (options, work) = (options(self), command::work(&self.work));
        if objective == Some(GradientOf::Label) {
            assumptions::say_labels(opened, &self.input.source, screen);
        }
        let plan = Extraction::new(&opened.model, texts, &request, options, &work, &mut watcher);
        screen.stop();
        plan.map_err(|e| failure(&e))
    }

    fn identity(&self, plan: &Extraction, run: &mut Run) {
        run.set_data(
            match plan.info() {
                Some(info) => Some(info.sha256.clone()),
                None => hash_of(&self.input.texts),
            },
            json!({ "file": plan.info(), "max_length": plan.max_length() }),
        );
        run.clock.lap("count");
    }

    fn instead(
        &self,
        opened: &Opened,
        plan: &Extraction,
        run: &Run,
        screen: &Screen,
    ) -> Result<Option<Done>, Failure> {
        if !self.own.dry_run {
            return Ok(None);
        }
        screen.say(&headline(opened, plan));
        self.notes(plan, screen);
        screen.say(&estimate(plan, 0..plan.num_shards(), None));
        let document = run.document(&json!({
            "counts": plan.counts(),
            "bytes": plan.bytes(0..plan.num_shards()),
            "num_shards": plan.num_shards(),
        }));
        Ok(Some(document.into()))
    }

    fn stages<'a>(
        &self,
        opened: &'a Opened,
        plan: &'a Extraction,
        folder: Option<&RunFolder>,
    ) -> Result<Vec<Stage<'a, Self>>, Failure> {
        let study = plan.study(super::needed(folder)?.path());
        Ok(vec![Stage::new(&opened.model, plan, study)])
    }

    fn unit(&self, _: &Extraction) -> &'static str {
        "text"
    }

    fn headline(&self, opened: &Opened, plan: &Extraction) -> Result<String, Failure> {
        Ok(headline(opened, plan))
    }

    fn notes(&self, plan: &Extraction, screen: &Screen) {
        if let Some(info) = plan.info() {
            assumptions::say_header(info, screen);
        }
        note_texts(plan, options(self), screen);
    }

    fn ready(
        &self,
        plan: &Extraction,
        folder: Option<&RunFolder>,
        stages: &[Stage<'_, Self>],
        screen: &Screen,
    ) -> Result<(), Failure> {
        let folder = super::needed(folder)?.path();
        for stage in stages {
            let (total, progress) = (plan.counts().examples, &stage.progress);
            let (first, end) = progress.bounds(total);
            let next = progress.next(total);
            let rest = plan.shards_of(next, end);
            let finished = plan.shards_of(first, end).start..rest.start;
            let there = plan.check_shards(folder, finished);
            there.map_err(|e| failure(&e))?;
            let room = plan
                .check_room(folder, rest.clone())
                .map_err(|e| failure(&e))?;
            screen.say(&estimate(plan, rest, Some(room)));
        }
        Ok(())
    }

    fn gather(&self, _: &Extraction, parts: &[PathBuf], folder: &RunFolder) -> Result<(), Failure> {
        for part in parts {
            gather(part, folder.path())?;
        }
        Ok(())
    }

    fn results(
        &self,
        ended: &mut Ended<'_>,
        plan: &Extraction,
        studies: Vec<ExtractState>,
    ) -> Result<Shown, Failure> {
        let state = super::only(studies)?;
        let folder = super::needed(ended.folder)?;
        let summary = plan
            .finish(folder.path(), &state)
            .map_err(|e| failure(&e))?;
        if summary.overflows > 0 {
            ended.screen.note(&format!(
                "{} beyond 65504, the largest that f16 holds, and infinite in the files; take --dtype \
                 f32, or bf16",
                plural(summary.overflows, "value")
            ));
        }
        if summary.nonfinite > 0 {
            ended.screen.note(&format!(
                "{} that the model itself gives as NaN or infinity, written as such",
                plural(summary.nonfinite, "value")
            ));
        }
        let counts = plan.counts();
        Ok(Shown {
            text: format!(
                "{}, {} in {}\n{}",
                plural(counts.examples, "text"),
                plural(counts.tokens, "token"),
                plural(summary.shards.len() as u64, "shard"),
                seconds(ended.time)
            ),
            results: json!(results(plan, &summary)),
        })
    }
}

/// Copies the shards of a part: files that begin with `shard-`, those of tables in the folders of their tables.
fn gather(part: &Path, to: &Path) -> Result<(), Failure> {
    let entries =
        fs::read_dir(part).map_err(|error| Failure::io("read the folder", part, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| Failure::io("read the folder", part, &error))?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            fs::create_dir_all(&target)
                .map_err(|error| Failure::io("create the folder", &target, &error))?;
            gather(&path, &target)?;
            continue;
        }
        if !entry.file_name().to_string_lossy().starts_with("shard-") {
            continue;
        }
        let temporary = to.join(format!(
            "{}{}",
            crate::run_folder::TEMPORARY,
            entry.file_name().to_string_lossy()
        ));
        fs::copy(&path, &temporary)
            .and_then(|_| fs::rename(&temporary, &target))
            .map_err(|error| Failure::io("copy", &path, &error))?;
    }
    Ok(())
}

fn options(args: &ExtractArgs) -> ExtractOptions {
    let (own, input) = (&args.own, &args.input);
    let mut options = ExtractOptions::default();
    options.format = match own.format {
        FormatArg::Safetensors => Format::Safetensors,
        FormatArg::Npz => Format::Npz,
        FormatArg::Parquet => Format::Parquet,
    };
    options.float = match own.dtype {
        DtypeArg::F32 => Float::F32,
        DtypeArg::F16 => Float::F16,
        DtypeArg::Bf16 => Float::Bf16,
    };
    options.pool = match own.wanted.pool {
        PoolArg::None => Pool::None,
        PoolArg::First => Pool::First,
        PoolArg::Last => Pool::Last,
        PoolArg::Mean => Pool::Mean,
    };
    options.too_long = input.sequence.too_long().unwrap_or(options.too_long);
    options.stride = input.sequence.stride();
    options.max_length = input.sequence.max_length();
    options.bos = input.sequence.bos;
    options.allow_nonfinite = own.allow_nonfinite;
    options.shard_size = own.shard_size.get();
    options.label_order = input.source.order();
    options
}

pub(super) fn texts(args: &TextArgs, screen: &Screen) -> Result<Texts, Failure> {
    let source = &args.source;
    if let Some(file) = args.texts.iter().find(|text| Path::new(text).is_file()) {
        return Err(Failure::input(format!(
            "{file} is a file, not a text; --text {file} takes its lines"
        )));
    }
    if !args.texts.is_empty() {
        note_words(&args.texts, "each a text of its own", screen);
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
fn objective(args: &ValueArgs) -> Result<(Option<GradientOf>, OpenAs), Failure> {
    let Some(text) = &args.objective else {
        return Ok((None, OpenAs::DeclaredOrEncoder));
    };
    let objective = text.parse().map_err(|e| failure(&e))?;
    let open_as = match objective {
        GradientOf::NextTokens => OpenAs::CausalLm,
        GradientOf::Tokens => OpenAs::MaskedLm,
        _ => OpenAs::Declared,
    };
    Ok((Some(objective), open_as))
}

/// Texts of the command line stand for themselves in the run's identity.
pub(super) fn hash_of(texts: &[String]) -> Option<String> {
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
    objective: Option<GradientOf>,
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
    if let Some(layers) = &args.mlp_inner {
        request = request.mlp_inner(Layers::parse(layers).map_err(|e| failure(&e))?);
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
            "no values chosen: add --hidden-states, --mlp-inner, --attentions, --attention-scores, \
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
    let TextCounts {
        cut_examples,
        cut_tokens,
        windowed_examples,
        empty_examples,
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
    if empty_examples > 0 {
        screen.note(&format!(
            "{} without a token left out",
            plural(empty_examples, "text")
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

fn estimate(plan: &Extraction, shards: Range<usize>, room: Option<u64>) -> String {
    let free = room.map_or(String::new(), |room| format!("; {} free", bytes(room)));
    format!(
        "{} to write in {} of {}{free}",
        bytes(plan.bytes(shards.clone())),
        count(shards.len() as u64),
        plural(plan.num_shards() as u64, "shard"),
    )
}

fn results(plan: &Extraction, summary: &Summary) -> ExtractResults {
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
            empty_examples: Some(counts.empty_examples),
            longest: counts.longest,
        }),
        num_shards: summary.shards.len() as u64,
        values_beyond_dtype: summary.overflows,
        values_not_finite: Some(summary.nonfinite),
        index: INDEX.into(),
    }
}

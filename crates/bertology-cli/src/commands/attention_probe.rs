//! `bertology attention-probe`: which word is the head of which, read off all attention maps together.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bertology::attention::{Proportion, SentencePassages, Supply};
use bertology::{HeadId, OpenAs};
use bertology_run::registry::PROBE_WEIGHTS;
use bertology_run::results::{
    CacheUse, ProbeAccount, ProbeResults, ProbeScore, UasScore, UnknownWords,
};
use bertology_run::rows::ProbeRow;
use bertology_train::experiment::{self, Options, Outcome, Row, Weights};
use bertology_train::probe::{Alignment, Kind};
use bertology_train::{Account, Adam, Error, MapCache, Precision, Sentences, Vectors, WordVectors};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::args::{AttentionProbeArgs, CacheDtypeArg, ProbeArg, TreebankArgs};
use crate::command;
use crate::commands::Done;
use crate::data;
use crate::failure::Failure;
use crate::interrupt::{self, Graceful};
use crate::npy;
use crate::record::{Clock, Run};
use crate::run_folder::{self, Earlier, MAPS, RunFolder};
use crate::session::{self, Opened, train_failure};
use crate::show::Screen;
use crate::show::text::{count, plural, seconds};
use crate::tables::ends;
use crate::watcher::Watcher;

/// `--vectors` for the model's own table.
const EMBEDDINGS: &str = "embeddings";
/// Heads named in the text.
const NAMED: usize = 5;

pub(crate) fn run(args: AttentionProbeArgs, screen: &Screen) -> Result<Done, Failure> {
    let clock = Clock::start();
    args.parts
        .refuse("training goes through the sentences one after the other")?;
    command::check_output(&args.output, args.resume.resume)?;
    let options = options(&args)?;
    let opened = Opened::new(&args.model, OpenAs::DeclaredOrEncoder, screen)?
        .computing(&args.computing, screen)?;
    let train = sentences(&opened, &args, &args.train, args.limit)?;
    let dev = sentences(&opened, &args, &args.dev, args.dev_limit)?;
    let (vectors, vectors_name) = vectors(&opened, &args, &options, [&train, &dev])?;
    let mut run = Run::new("attention-probe", &args, clock, &opened)?;
    run.set_seed(Some(args.seed));
    let info = |of: &Sentences| json!(of.passages().info());
    run.set_data(
        Some(train.passages().info().sha256.clone()),
        json!({
            "train": info(&train),
            "dev": info(&dev),
            "input": train.passages().input(),
            "max_length": train.passages().max_length(),
            "vectors": vectors_name,
        }),
    );
    // The names of files say nothing; their content does.
    run.identity.set("dev", json!(dev.passages().info().sha256));
    run.identity.set("vectors", vectors_name);
    let (folder, earlier) = command::open_output(&args.output, args.resume.resume, &run)?;
    if let Earlier::Complete(document) = earlier {
        if !args.keep_cache {
            // Killed at its very end, a run has not removed them.
            Maps::open(&args, &options, &run, folder.as_ref())?.close(false)?;
        }
        screen.note("this run is complete already; nothing to resume");
        return Ok(document.into());
    }
    if let (Some(folder), Earlier::Nothing) = (&folder, &earlier) {
        // The maps are the state; this says whose they are.
        folder.begin(&run.identity, json!({}), run.model_folder())?;
    }
    let graceful = Graceful::begin();
    screen.say(&headline(&opened, &train, &dev));
    run.clock.lap("load");
    let mut maps = Maps::open(&args, &options, &run, folder.as_ref())?;
    if let (Earlier::Interrupted(_), Some(cache)) = (&earlier, &maps.cache) {
        screen.note(&format!(
            "resuming with the maps of {}",
            plural(cache.len() as u64, "sentence")
        ));
    }
    let mut watcher = Watcher::new(screen).of("sentence");
    let result = experiment::run(
        &opened.model,
        &train,
        &dev,
        &vectors,
        &options,
        maps.cache.as_mut(),
        &mut watcher,
    );
    if let Some(failure) = watcher.into_failure() {
        return Err(failure);
    }
    screen.stop();
    let found = match result {
        Ok(found) => found,
        Err(Error::Interrupted { .. }) if interrupt::requested() => {
            let kept = maps.cache.as_ref().map_or(0, |cache| cache.len() as u64);
            let what = format!("keeping the maps of {}", plural(kept, "sentence"));
            return Err(command::interrupted(&what, folder.as_ref()));
        }
        Err(error) => return Err(train_failure(&error)),
    };
    drop(graceful);
    let time = run.clock.lap("probes");
    let cached = maps.used(args.keep_cache);
    let (layers, heads) = opened.shape();
    let document = run.document(&results(&found, cached));
    if let Some(folder) = &folder {
        folder.write_table(&[], found.rows.iter().map(row))?;
        if let Some(weights) = &found.weights {
            let array = weight_array(weights, layers, heads);
            let array = npy::encode(&[2, layers, heads], &array);
            folder.write(PROBE_WEIGHTS, &array)?;
        }
    }
    let document = run_folder::complete(folder.as_ref(), document)?;
    // Only now: until then they are what a killed run goes on with.
    maps.close(args.keep_cache)?;
    screen.say(&format!("\n{}", text(&found)));
    screen.say(&format!("\n{}", seconds(time)));
    crate::commands::say_folder(folder.as_ref(), screen);
    Ok(document.into())
}

fn options(args: &AttentionProbeArgs) -> Result<Options, Failure> {
    if !(args.learning_rate.is_finite() && args.learning_rate > 0.0) {
        return Err(Failure::input(format!(
            "--learning-rate {}: give a number above 0, such as 0.002",
            args.learning_rate
        )));
    }
    let chosen: BTreeSet<ProbeArg> = args.probe.iter().copied().collect();
    let kinds: Vec<Kind> = if chosen.is_empty() {
        Kind::ALL.to_vec()
    } else {
        let kind = |probe: &ProbeArg| match probe {
            ProbeArg::Attention => Kind::Attention,
            ProbeArg::Words => Kind::Words,
            ProbeArg::Distance => Kind::Distance,
        };
        chosen.iter().map(kind).collect()
    };
    if !kinds.iter().any(|kind| kind.reads_words()) {
        for (given, option) in [
            (args.vectors.is_some(), "--vectors"),
            (args.legacy_alignment, "--legacy-alignment"),
        ] {
            if given {
                return Err(Failure::input(format!(
                    "{option} has no effect: the probe `attention` reads no words; leave it out, or \
                     add --probe words"
                )));
            }
        }
    }
    Ok(Options {
        kinds,
        alignment: match args.legacy_alignment {
            true => Alignment::Legacy,
            false => Alignment::Correct,
        },
        adam: Adam {
            learning_rate: args.learning_rate,
            ..Adam::default()
        },
        epochs: args.epochs.get(),
        seed: args.seed,
        rows: data::row_mode(&treebank_args(args, &args.train)),
        precision: match args.cache_dtype {
            CacheDtypeArg::F16 => Precision::F16,
            CacheDtypeArg::F32 => Precision::F32,
        },
        work: command::work(&args.work),
        ..Options::default()
    })
}

/// The options as those of a study of one treebank.
fn treebank_args(args: &AttentionProbeArgs, path: &Path) -> TreebankArgs {
    TreebankArgs {
        conllu: path.into(),
        input: args.input,
        sequence: args.sequence.clone(),
        row_mode: args.row_mode,
    }
}

fn sentences(
    opened: &Opened,
    args: &AttentionProbeArgs,
    path: &Path,
    limit: Option<usize>,
) -> Result<Sentences, Failure> {
    let options = data::treebank_options(&treebank_args(args, path))?;
    let treebank = data::treebank(path, limit);
    SentencePassages::new(&opened.model, treebank, options)
        .map(Sentences::new)
        .map_err(|error| session::failure(&error))
}

/// The vectors, and what they are, for the record.
fn vectors(
    opened: &Opened,
    args: &AttentionProbeArgs,
    options: &Options,
    treebanks: [&Sentences; 2],
) -> Result<(Vectors, Value), Failure> {
    if !options.kinds.iter().any(|kind| kind.reads_words()) {
        return Ok((Vectors::None, Value::Null));
    }
    let path = match &args.vectors {
        Some(path) if path.as_os_str() != EMBEDDINGS => path,
        _ => {
            let vectors = Vectors::embeddings(&opened.model).map_err(|e| train_failure(&e))?;
            let dim = vectors.dim();
            return Ok((vectors, json!({"from": EMBEDDINGS, "dim": dim})));
        }
    };
    let mut wanted = HashSet::new();
    for treebank in treebanks {
        let sentences = treebank.open(0).map_err(|e| session::failure(&e))?;
        for sentence in sentences {
            let sentence = sentence.map_err(|e| session::failure(&e))?;
            wanted.extend(sentence.words.iter().map(|word| word.form.to_lowercase()));
        }
    }
    let found = WordVectors::read(path, &wanted).map_err(|e| train_failure(&e))?;
    let mut digest = Sha256::new();
    let mut words = 0_u64;
    for (word, vector) in found.iter() {
        digest.update(word.as_bytes());
        digest.update([0]);
        for value in vector {
            digest.update(value.to_le_bytes());
        }
        words += 1;
    }
    let name = json!({
        "from": "file",
        "dim": found.dim(),
        "lines": found.lines(),
        "words_used": words,
        "sha256_of_used": hex(&digest.finalize()),
    });
    Ok((Vectors::File(found), name))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where the maps are kept, if they are of any use.
struct Maps {
    cache: Option<MapCache>,
    folder: Option<PathBuf>,
    /// Of a run without an output folder; removed with this.
    _temporary: Option<TempDir>,
}

impl Maps {
    fn open(
        args: &AttentionProbeArgs,
        options: &Options,
        run: &Run,
        folder: Option<&RunFolder>,
    ) -> Result<Self, Failure> {
        let none = Self {
            cache: None,
            folder: None,
            _temporary: None,
        };
        // One epoch without a folder to resume in asks for every map once.
        let useful = folder.is_some() || options.epochs > 1;
        let read = options.kinds.iter().any(|kind| kind.reads_attention());
        if !useful || !read || args.cache_limit == 0 {
            return Ok(none);
        }
        let temporary = match folder {
            Some(_) => None,
            None => Some(tempfile::tempdir().map_err(|error| {
                Failure::io("create a folder in", &std::env::temp_dir(), &error)
            })?),
        };
        let path = match (folder, &temporary) {
            (Some(folder), _) => folder.path().join(MAPS),
            (None, Some(temporary)) => temporary.path().into(),
            (None, None) => return Ok(none),
        };
        // Everything that the maps of the training sentences depend on.
        let identity = &run.identity;
        let key = json!([
            identity.version,
            identity.model_sha256,
            identity.tokenizer_sha256,
            identity.data_sha256,
            args.limit,
            args.input,
            args.sequence.max_length,
            args.sequence.bos,
            args.row_mode,
            args.cache_dtype,
            args.work.tokens_per_batch,
        ]);
        let key = hex(&Sha256::digest(key.to_string().as_bytes()));
        let limit = args.cache_limit.saturating_mul(1 << 20);
        let cache =
            MapCache::open(&path, &key, options.precision, limit).map_err(|e| train_failure(&e))?;
        Ok(Self {
            cache: Some(cache),
            folder: Some(path),
            _temporary: temporary,
        })
    }

    /// What they were, for the record.
    fn used(&self, keep: bool) -> Option<CacheUse> {
        self.cache.as_ref().map(|cache| CacheUse {
            sentences: cache.len() as u64,
            bytes: cache.bytes(),
            kept: keep,
        })
    }

    /// Removes the files unless they are to be kept.
    fn close(self, keep: bool) -> Result<(), Failure> {
        if let (Some(cache), Some(folder), false) = (self.cache, self.folder, keep) {
            cache.remove().map_err(|e| train_failure(&e))?;
            // Not empty: files of another run, which are not this one's to remove.
            let _ = std::fs::remove_dir(&folder);
        }
        Ok(())
    }
}

fn headline(opened: &Opened, train: &Sentences, dev: &Sentences) -> String {
    let (layers, heads) = opened.shape();
    let mut text = format!("{}: {layers} layers of {heads} heads", opened.located.name);
    for (what, of) in [("train", train), ("dev", dev)] {
        let info = of.passages().info();
        let _ = write!(
            text,
            "\n{what} {}: {}, {}",
            info.path.display(),
            plural(info.counts.sentences, "sentence"),
            plural(info.counts.words, "word")
        );
    }
    text
}

fn row(row: &Row) -> ProbeRow {
    let (bare, all) = (row.uas.without_punct, row.uas.all);
    let (low, high) = ends(bare);
    ProbeRow {
        probe: row.name.clone(),
        parameters: row.parameters,
        correct: bare.part,
        total: bare.whole,
        uas: bare.share(),
        low,
        high,
        correct_with_punct: all.part,
        total_with_punct: all.whole,
        uas_with_punct: all.share(),
    }
}

/// `[2, layer, head]`: weights of attention to the candidate, then from it; NaN for heads that are pruned away.
fn weight_array(weights: &Weights, layers: usize, heads: usize) -> Vec<f32> {
    let mut array = vec![f32::NAN; 2 * layers * heads];
    let (to, from) = array.split_at_mut(layers * heads);
    for (at, head) in weights.heads.iter().enumerate() {
        let place = head.layer * heads + head.head;
        to[place] = weights.to_candidate[at];
        from[place] = weights.from_candidate[at];
    }
    array
}

fn results(found: &Outcome, cache: Option<CacheUse>) -> ProbeResults {
    let score = |score: Proportion| UasScore {
        correct: score.part,
        total: score.whole,
        uas: score.share(),
        interval: score.interval(),
    };
    let probes = found.rows.iter().map(|row| ProbeScore {
        probe: row.name.clone(),
        parameters: row.parameters as u64,
        without_punct: score(row.uas.without_punct),
        all: score(row.uas.all),
    });
    let account = |account: &Account| ProbeAccount {
        sentences: account.sentences,
        too_long: account.too_long,
        left_out: account.left_out,
        words: account.words,
        without_tokens: account.without_tokens,
        sentences_without_tokens: account.sentences_without_tokens,
    };
    let [train, dev] = found.unknown_words;
    ProbeResults {
        probes: probes.collect(),
        best_offset: found.best_offset.into(),
        training: json!(found.curves),
        root_weights: json!(found.weights.as_ref().map(|weights| &weights.root)),
        train: account(&found.train),
        dev: account(&found.dev),
        words_without_vector: UnknownWords { train, dev },
        cache,
    }
}

fn text(found: &Outcome) -> String {
    let mut text = String::from(
        "Unlabelled attachment on dev, punctuation left out, root words included\n  probe             \
         parameters      UAS    95 % interval   right of words",
    );
    for row in &found.rows {
        let bare = row.uas.without_punct;
        let percent = |value: Option<f64>| value.map_or(f64::NAN, |value| 100.0 * value);
        let (low, high) = bare.interval().unzip();
        let name = match row.name.as_str() {
            "best offset" => format!("best offset {:+}", found.best_offset),
            name => name.to_owned(),
        };
        let parameters = match row.parameters {
            0 => "-".into(),
            parameters => count(parameters as u64),
        };
        let _ = write!(
            text,
            "\n  {name:<17}{parameters:>11}{:>7.1} %    {:>4.1} - {:>4.1} %   {} of {}",
            percent(bare.share()),
            percent(low),
            percent(high),
            count(bare.part),
            count(bare.whole)
        );
    }
    if let Some(weights) = &found.weights {
        let _ = write!(text, "\n\n{}", largest(weights));
    }
    for (name, account, unknown) in [
        ("train", found.train, found.unknown_words[0]),
        ("dev", found.dev, found.unknown_words[1]),
    ] {
        let _ = write!(
            text,
            "\n{name}: {}, {}",
            plural(account.sentences, "sentence"),
            plural(account.words, "word")
        );
        for (number, what) in [
            (account.too_long, "sentences too long"),
            (account.left_out, "sentences left out"),
            (account.without_tokens, "words without tokens"),
            (unknown, "words without a vector"),
        ] {
            if number > 0 {
                let _ = write!(text, ", {} {what}", count(number));
            }
        }
    }
    text
}

/// The heads to whose attention the probe gives most weight.
fn largest(weights: &Weights) -> String {
    let list = |values: &[f32]| {
        let mut ranked: Vec<(&HeadId, f32)> =
            weights.heads.iter().zip(values.iter().copied()).collect();
        ranked.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        let named: Vec<String> = ranked
            .iter()
            .take(NAMED)
            .map(|(head, weight)| format!("{head} {weight:.1}"))
            .collect();
        named.join("  ")
    };
    format!(
        "Largest weights of the probe on attention (layers and heads counted from 0)\n  word attends \
         to its head   {}\n  head attends to the word   {}\n",
        list(&weights.to_candidate),
        list(&weights.from_candidate)
    )
}

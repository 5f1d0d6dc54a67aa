//! `run.json`: what was asked, of what, and what came out.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bertology::attention::{Proportion, SequenceCounts, TextSupply};
use bertology::data::{DatasetInfo, LabelMap};
use bertology::evaluate::{Evaluation, LOSS, Metrics};
use bertology::{Corpus, HeadId, HeadMask, Objective, TokenMasking};
use bertology_run::FORMAT;
use bertology_run::results::{self, finite};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::run_folder::Identity;
use crate::session::{self, Opened};
use crate::show::text::timestamp;

/// Options that change where results go or how they are obtained, never what they are.
const NOT_IDENTITY: &[&str] = &[
    "model",
    "folders",
    "revision",
    "offline",
    "cache_dir",
    "data",
    "conllu",
    "select",
    "min_count",
    "file",
    "text",
    "token_ids",
    "ner",
    "squad",
    "and",
    "select_on",
    "train",
    "fasta",
    "contacts",
    "train_fasta",
    "train_contacts",
    "regression",
    "cache_limit",
    "keep_cache",
    "threads",
    "device",
    "memory",
    "output",
    "overwrite",
    "resume",
    "dry_run",
    "part",
];

/// The time since the command began, and the stretches of it.
#[derive(Debug)]
pub(crate) struct Clock {
    began: SystemTime,
    start: Instant,
    lap: Instant,
    laps: Map<String, Value>,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let now = Instant::now();
        Self {
            began: SystemTime::now(),
            start: now,
            lap: now,
            laps: Map::new(),
        }
    }

    /// Ends a stretch of the run under a name; gives its length.
    pub(crate) fn lap(&mut self, name: &str) -> Duration {
        let time = self.lap.elapsed();
        self.lap = Instant::now();
        self.laps.insert(name.into(), json!(time.as_secs_f64()));
        time
    }
}

fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}

/// One run, from its options to its record.
#[derive(Debug)]
pub(crate) struct Run {
    command: &'static str,
    options: Value,
    seed: Option<u64>,
    pub(crate) clock: Clock,
    pub(crate) identity: Identity,
    /// Where it is computed; of what is merged, where it was.
    pub(crate) device: Value,
    model: Value,
    data: Option<Value>,
}

impl Run {
    pub(crate) fn new(
        command: &'static str,
        options: &impl Serialize,
        clock: Clock,
        opened: &Opened,
    ) -> Result<Self, Failure> {
        let mut options = serde_json::to_value(options)
            .map_err(|error| Failure::work(format!("cannot record the options: {error}")))?;
        if let Value::Object(map) = &mut options {
            // However it was given.
            map.insert("model".into(), json!(opened.located.name));
        }
        let mut of_identity = options.clone();
        if let Value::Object(map) = &mut of_identity {
            map.retain(|key, _| !NOT_IDENTITY.contains(&key.as_str()));
        }
        Ok(Self {
            command,
            options,
            seed: None,
            clock,
            identity: Identity {
                command: command.into(),
                version: env!("CARGO_PKG_VERSION").into(),
                options: of_identity,
                model_sha256: opened.sha256()?,
                tokenizer_sha256: opened.tokenizer_sha256()?,
                data_sha256: None,
            },
            device: session::device(&opened.model),
            model: opened.record()?,
            data: None,
        })
    }

    /// The seed, of no effect perhaps, but given.
    pub(crate) fn set_seed(&mut self, seed: Option<u64>) {
        self.seed = seed;
    }

    /// Names the data that the model is scored on; `seed` is what was given.
    pub(crate) fn set_corpus(&mut self, corpus: &Corpus, seed: Option<u64>) {
        let objective = corpus.objective();
        self.seed = match objective {
            Objective::MaskedLm {
                masking: TokenMasking::Random { seed, .. },
            } => Some(seed),
            _ => seed,
        };
        // With the seed, where it matters.
        self.identity.set("objective", json!(objective));
        let names = corpus.labels().map(LabelMap::names);
        let mut data = json!({
            "file": corpus.info(),
            "objective": objective,
            "max_length": corpus.max_length(),
            "too_long": corpus.too_long(),
            "stride": corpus.stride(),
            "documents": corpus.documents(),
            "labels": names.or(corpus.tag_names()),
        });
        if let Some(shared) = corpus.shared() {
            data["doc_stride"] = json!(shared);
            data["questions_may_lack_answers"] = json!(corpus.may_lack_answers());
        }
        self.set_data(Some(corpus.info().sha256.clone()), data);
    }

    /// Names other data of the run by their content, under a name of their own, and gives an account of them.
    pub(crate) fn set_second(&mut self, name: &str, corpus: &Corpus) {
        self.identity.set(name, json!(corpus.info().sha256));
        if let Some(data) = &mut self.data {
            data[name] = json!({ "file": corpus.info(), "documents": corpus.documents() });
        }
    }

    /// Names other files of the run by their content, and gives an account of them.
    pub(crate) fn set_files(&mut self, name: &str, files: &[DatasetInfo]) {
        let hashes: Vec<&str> = files.iter().map(|file| file.sha256.as_str()).collect();
        self.identity.set(name, json!(hashes));
        let data = self.data.get_or_insert_with(|| json!({}));
        data[name] = json!(files);
    }

    /// Names a head mask by its content: the name of its file says nothing.
    pub(crate) fn set_mask(&mut self, mask: Option<&HeadMask>) {
        if let Some(mask) = mask {
            self.identity.set("mask", json!(mask.values()));
        }
    }

    /// Names the texts of a study of attention; `more` is what else is known of them.
    pub(crate) fn set_texts(&mut self, texts: &TextSupply, more: Value) {
        let file = match texts {
            TextSupply::File(texts) => json!(texts.info()),
            TextSupply::Treebank(sentences) => json!(sentences.info()),
        };
        let mut data = json!({ "file": file, "max_length": texts.max_length() });
        if let (Value::Object(data), Value::Object(more)) = (&mut data, more) {
            data.extend(more);
        }
        if let (TextSupply::Treebank(sentences), Value::Object(data)) = (texts, &mut data) {
            data.insert("input".into(), json!(sentences.input()));
        }
        self.set_data(Some(texts.sha256().to_owned()), data);
    }

    /// Names the texts of a run that has no labelled examples: their hash and their account.
    pub(crate) fn set_data(&mut self, sha256: Option<String>, data: Value) {
        self.identity.data_sha256 = sha256;
        self.data = Some(data);
    }

    /// The folder of the model.
    pub(crate) fn model_folder(&self) -> Option<&Path> {
        self.model.get("folder")?.as_str().map(Path::new)
    }

    /// The whole record.
    pub(crate) fn document(&self, results: &impl Serialize) -> Value {
        let end = SystemTime::now();
        let mut seconds = self.clock.laps.clone();
        seconds.insert(
            "total".into(),
            json!(self.clock.start.elapsed().as_secs_f64()),
        );
        json!({
            "format": FORMAT,
            "command": self.command,
            "bertology": env!("CARGO_PKG_VERSION"),
            "arguments": crate::call::words(),
            "options": self.options,
            "seed": self.seed,
            "started": timestamp(unix(self.clock.began)),
            "finished": timestamp(unix(end)),
            "seconds": seconds,
            "threads": std::thread::available_parallelism().map_or(1, usize::from),
            "device": self.device,
            "model": self.model,
            "data": self.data,
            "results": results,
            "identity": self.identity,
        })
    }
}

/// Metrics, loss and counts of a pass.
pub(crate) fn evaluation(evaluation: &Evaluation) -> results::Evaluation {
    results::Evaluation {
        metrics: metrics(&evaluation.metrics),
        intervals: intervals(evaluation),
        loss: finite(evaluation.loss),
        examples: evaluation.examples,
        targets: evaluation.targets,
        tokens: evaluation.tokens,
        truncated_examples: evaluation.truncation.examples,
        truncated_tokens: evaluation.truncation.tokens,
    }
}

/// Of metrics and loss, in their order.
fn intervals(evaluation: &Evaluation) -> results::Named<(f64, f64)> {
    let names = evaluation.metrics.iter().map(|(name, _)| name);
    let known = names.chain([LOSS]).filter_map(|name| {
        let [low, high] = evaluation.interval(name)?;
        Some((name, (finite(low)?, finite(high)?)))
    });
    known.collect()
}

/// Metrics by name.
pub(crate) fn metrics(metrics: &Metrics) -> results::Metrics {
    let all = metrics.iter();
    all.map(|(name, value)| (name, finite(value))).collect()
}

/// What became of texts.
pub(crate) fn texts(counts: &SequenceCounts) -> results::TextCounts {
    results::TextCounts {
        sequences: counts.sequences,
        tokens: counts.tokens,
        cut: counts.cut,
        tokens_cut: counts.tokens_cut,
        too_long: counts.too_long,
        empty: counts.empty,
        unpaired: counts.unpaired,
        nothing_to_predict: counts.nothing_to_predict,
    }
}

/// How many of how many.
pub(crate) fn score(score: Proportion) -> results::Score {
    results::Score {
        correct: score.part,
        total: score.whole,
        accuracy: score.share(),
        interval: score.interval(),
    }
}

/// Heads by name.
pub(crate) fn names<'a>(heads: impl IntoIterator<Item = &'a HeadId>) -> Vec<String> {
    heads.into_iter().map(ToString::to_string).collect()
}

/// The name under which the library records a choice.
pub(crate) fn name_of(choice: &impl Serialize) -> String {
    match json!(choice) {
        Value::String(name) => name,
        other => other.to_string(),
    }
}

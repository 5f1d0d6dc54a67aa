//! `--trim-vocabulary`: the tokens of some texts alone.

use std::path::{Path, PathBuf};

use bertology::checkpoint::{Cut, Export, WriteOptions};
use bertology::data::TableFormat;
use bertology::pruning::{Sizes, write_compared_with};
use bertology::vocabulary::{Missing, Tally, Vocabulary, missing, tally, write};
use bertology::{Corpus, Error, LoadedModel, Objective, OpenAs, Source, Split};
use bertology_run::studies::compress::{
    CompressResults, MissingTokens, VocabularyResults, VocabularyRow,
};
use serde_json::json;
use tempfile::TempDir;

use super::args::MeasureArg;
use super::{CompressArgs, outcome};
use crate::args::{DataArgs, SourceArgs};
use crate::command;
use crate::commands::Done;
use crate::commands::pair::Pair;
use crate::commands::prune;
use crate::data;
use crate::failure::Failure;
use crate::interrupt::{self, Graceful};
use crate::record::{self, Clock, Run};
use crate::run_folder::{self, MODEL, RunFolder};
use crate::session::{self, Opened, failure};
use crate::show::Screen;
use crate::show::text::{count, percent, plural};
use crate::study;
use crate::watcher::Watcher;

/// The model with fewer tokens, in a folder that is there as long as this is.
pub(super) struct Trimmed {
    /// It, under the name of the whole one.
    pub(super) opened: Opened,
    pub(super) vocabulary: Vocabulary,
    tally: Tally,
    compared: u64,
    file_bytes: u64,
    scored: Option<Missing>,
    _folder: TempDir,
}

impl Trimmed {
    /// Written beside `--output` and compared with the whole model; nothing where the vocabulary stays whole.
    pub(super) fn of(
        args: &CompressArgs,
        opened: &Opened,
        corpus: Option<&Corpus>,
        screen: &Screen,
    ) -> Result<Option<Self>, Failure> {
        if args.trim_vocabulary.is_empty() {
            return Ok(None);
        }
        if corpus.is_some_and(|corpus| corpus.source().has_token_ids()) {
            return Err(Failure::input(
                "--trim-vocabulary with --token-ids: ready ids are those of the whole vocabulary, and the smaller model has others; \
                 give the texts",
            ));
        }
        let sources: Vec<Source> = args
            .trim_vocabulary
            .iter()
            .map(|what| source(what, &args.data, corpus, screen))
            .collect::<Result<_, _>>()?;
        let model = &opened.model;
        let mut watcher = Watcher::new(screen);
        let seen = tally(model, &sources, &mut watcher);
        screen.stop();
        let tally = seen.map_err(|e| failed(&e))?;
        let vocabulary = Vocabulary::of(model, &tally).map_err(|e| failed(&e))?;
        let folder = beside(args.output.output.as_deref())?;
        let options = WriteOptions::new(Export::Pruned);
        let place = folder.path().join(MODEL);
        let written = write(model, &vocabulary, &sources, &place, &options, &mut watcher);
        screen.stop();
        let written = written.map_err(|e| failed(&e))?;
        let smaller = written.model;
        let scored = corpus.map(|corpus| {
            let source = corpus.source();
            missing(model, &smaller, &vocabulary, source, &mut watcher)
        });
        screen.stop();
        Ok(Some(Self {
            opened: Opened {
                located: opened.located.clone(),
                model: smaller,
            },
            vocabulary,
            tally,
            compared: written.compared,
            file_bytes: written.report.file_bytes_after,
            scored: scored.transpose().map_err(|e| failed(&e))?,
            _folder: folder,
        }))
    }

    /// Names the texts in the run's record.
    pub(super) fn record(&self, run: &mut Run) {
        run.set_files("trim_vocabulary", &self.tally.files);
    }

    /// The same data as the smaller model reads them.
    pub(super) fn corpus(&self, data: &DataArgs) -> Result<Corpus, Failure> {
        // What is to be said of them was said of the whole model.
        data::corpus(&self.opened, data, &Screen::silent())
    }

    pub(super) fn results(&self, left_behind: &[String]) -> VocabularyResults {
        let pair = |(before, after): (usize, usize)| (before as u64, after as u64);
        VocabularyResults {
            texts: self.tally.texts,
            text_tokens: self.tally.tokens,
            distinct: self.tally.distinct() as u64,
            tokens: pair(self.vocabulary.tokens()),
            rows: pair(self.vocabulary.rows()),
            file_bytes: self.file_bytes,
            compared: self.compared,
            left_behind: left_behind.to_vec(),
            scored: self.scored.map(|found| MissingTokens {
                inputs: found.inputs,
                tokens: found.tokens,
                gone: found.gone,
                changed: found.changed,
                tokens_now: found.tokens_now,
                unknown: (found.unknown, found.unknown_now),
            }),
        }
    }

    /// `vocabulary_map.csv`
    pub(super) fn write_map(&self, folder: &RunFolder) -> Result<(), Failure> {
        let rows = self.vocabulary.kept().map(|kept| VocabularyRow {
            id: kept.id as usize,
            old_id: kept.old as usize,
            token: kept.token.to_owned(),
            count: self.tally.count(kept.old),
        });
        let rows: Vec<VocabularyRow> = rows.collect();
        folder.write_table::<VocabularyRow, _>(&[], &rows)?;
        Ok(())
    }
}

/// What is said of it.
pub(super) fn said(found: &VocabularyResults, objective: Option<Objective>) -> Vec<String> {
    let more = found.tokens.1.saturating_sub(found.distinct);
    let mut lines = vec![
        format!(
            "{} have {} different tokens; {} more stay: special ones, single characters and bytes, and what tokens are made of.",
            plural(found.texts, "text"),
            count(found.distinct),
            count(more),
        ),
        format!(
            "The smaller model was opened again: the same pieces of all these texts, the same hidden states and logits of {}.",
            count(found.compared),
        ),
    ];
    if let Some(scored) = &found.scored {
        lines.push(match scored.gone {
            0 => "No token of the data that are scored is gone.".into(),
            gone => format!(
                "Of {} of the data that are scored {} ({}) are gone, which changes the pieces of {} of {}: {} now, {} of them \
                 unknown ({} before).",
                plural(scored.tokens, "token"),
                count(gone),
                percent(gone, scored.tokens),
                count(scored.changed),
                plural(scored.inputs, "input"),
                plural(scored.tokens_now, "token"),
                count(scored.unknown.1),
                count(scored.unknown.0),
            ),
        });
        let of_tokens = matches!(
            objective,
            Some(Objective::CausalLm { .. } | Objective::MaskedLm { .. })
        );
        if of_tokens {
            lines.push(
                "The loss is over fewer tokens than before, and lower for that alone: the two are not to be compared.".into(),
            );
        }
    }
    for name in &found.left_behind {
        lines.push(match name.as_str() {
            "spm.model" => {
                "spm.model is left out, which holds all tokens; tokenizer.json says the same of those that stay.".into()
            }
            other => format!("{other} is left out: it does not say the same as tokenizer.json."),
        });
    }
    lines
}

/// `--trim-vocabulary` without a goal: heads and neurons stay as they are, and no gradient is taken.
pub(super) fn alone(
    args: &CompressArgs,
    mut clock: Clock,
    screen: &Screen,
) -> Result<Done, Failure> {
    refuse_goals(args)?;
    let scored = data::named(&args.data);
    if !scored {
        data::refuse_objective(&args.data)?;
    }
    let open_as = match scored {
        true => data::open_as(&args.data),
        false => OpenAs::DeclaredOrEncoder,
    };
    let opened = Opened::new(&args.model, open_as, screen)?.on(&args.place, screen)?;
    session::refuse_within(&args.output, [&opened.located])?;
    let corpus = scored.then(|| data::corpus(&opened, &args.data, screen));
    let corpus = corpus.transpose()?;
    clock.lap("load");
    let mut run = Run::new("compress", args, clock, &opened)?;
    run.set_seed(args.data.seed);
    if let Some(corpus) = &corpus {
        run.set_corpus(corpus, args.data.seed);
        screen.say(&study::headline(&opened, corpus));
        study::note_skipped(corpus, screen);
    }
    let graceful = Graceful::begin();
    let trimmed = Trimmed::of(args, &opened, corpus.as_ref(), screen)?;
    let Some(trimmed) = trimmed else {
        return Err(Failure::input("--trim-vocabulary names no texts"));
    };
    trimmed.record(&mut run);
    run.clock.lap("vocabulary");
    let smaller = &trimmed.opened.model;
    let of_smaller = corpus.as_ref().map(|_| trimmed.corpus(&args.data));
    let of_smaller = of_smaller.transpose()?;
    let both = corpus.as_ref().zip(of_smaller.as_ref());
    let scores = both.map(|(corpus, own)| {
        let sides = [(&opened.model, corpus), (smaller, own)];
        Pair::measure_each(sides, &command::work(&args.work), screen)
    });
    let scores = scores.transpose().map_err(|e| failed(&e))?;
    let sequences = of_smaller
        .as_ref()
        .map(bertology::pruning::first_sequences)
        .transpose()
        .map_err(|e| failed(&e))?
        .unwrap_or_default();
    run.clock.lap("comparison");
    let (folder, _) = command::open_output(&args.output, false, &run)?;
    let Some(folder) = folder else {
        return Err(Failure::input("no --output folder given"));
    };
    folder.begin(&run.identity, json!({}), run.model_folder())?;
    super::then::clear(folder.path())?;
    let target = folder.path().join(MODEL);
    let written = write_compared_with(
        opened.model.checkpoint(),
        smaller,
        &Cut::default().tokens(trimmed.vocabulary.cut()),
        &target,
        &WriteOptions::new(Export::Pruned).overwrite(args.output.overwrite),
        &sequences,
    );
    let written = written.map_err(|e| failure(&e))?;
    drop(graceful);
    run.clock.lap("write");
    trimmed.write_map(&folder)?;
    let widths = &written.report.widths;
    let results = CompressResults {
        goal: "vocabulary".into(),
        sizes: Some(prune::sizes(&Sizes::of(&opened.model, smaller))),
        evaluation_before: scores
            .as_ref()
            .map(|pair| record::evaluation(&pair.found.before)),
        evaluation_after: scores
            .as_ref()
            .map(|pair| record::evaluation(&pair.found.after)),
        paired: scores.as_ref().map(Pair::change),
        checkpoint: Some(prune::checkpoint(&written)),
        export: outcome::export(false, widths).into(),
        widths: widths.iter().map(|width| *width as u64).collect(),
        folder: target.to_string_lossy().into_owned(),
        vocabulary: Some(trimmed.results(&written.report.left_behind)),
        ..CompressResults::default()
    };
    let document = run_folder::complete(Some(&folder), run.document(&results))?;
    let mut lines = outcome::sizes(&results);
    if let Some(pair) = &scores {
        lines.extend(outcome::scores(pair));
    }
    if let Some(found) = &results.vocabulary {
        lines.extend(said(found, corpus.as_ref().map(Corpus::objective)));
    }
    lines.extend(scores.iter().flat_map(Pair::said));
    screen.say(&format!("\n{}", lines.join("\n")));
    screen.say(&format!(
        "The checkpoint is in {}\nThe record is in {}",
        target.display(),
        folder.path().display()
    ));
    Ok(document.into())
}

/// Where nothing but the vocabulary becomes smaller, options of what else might would do nothing.
fn refuse_goals(args: &CompressArgs) -> Result<(), Failure> {
    let given = [
        (args.heads_only, "--heads-only"),
        (args.neurons_only, "--neurons-only"),
        (args.uniform, "--uniform"),
        (args.keep_shape, "--keep-shape"),
        (args.measure != MeasureArg::Fisher, "--measure"),
        (args.no_exchange, "--no-exchange"),
        (args.no_tune, "--no-tune"),
        (args.choose_on.is_some(), "--choose-on"),
        (args.examples.get() != 2000, "--examples"),
        (args.tune_examples.get() != 512, "--tune-examples"),
        (args.then.is_some(), "--then"),
    ];
    match given.iter().find(|(given, _)| *given) {
        None => Ok(()),
        Some((_, name)) => Err(Failure::input(format!(
            "{name} is about heads and neurons, and --trim-vocabulary alone leaves them as they are; give a goal for them, such as \
             --flops 60%, or leave {name} out"
        ))),
    }
}

/// What the texts are read from: a split of GLUE with `--task`, the data that are scored as they are read there, a table with
/// `--text-column`, or plain text, one a line.
fn source(
    what: &str,
    data: &DataArgs,
    corpus: Option<&Corpus>,
    screen: &Screen,
) -> Result<Source, Failure> {
    let (path, given) = (Path::new(what), &data.source);
    let of_glue = given.task.is_some() && !path.is_file();
    if of_glue && what.parse::<Split>().is_ok() {
        let split = SourceArgs {
            split: Some(what.to_owned()),
            limit: None,
            ..given.clone()
        };
        return data::source(&split, false, screen);
    }
    let same = |other: &Path| std::fs::canonicalize(other).ok() == std::fs::canonicalize(path).ok();
    if let Some(corpus) = corpus.filter(|corpus| path.is_file() && same(corpus.source().path())) {
        return Ok(corpus.source().clone().with_limit(None));
    }
    if !path.is_file() {
        let or = match given.task {
            Some(_) => ", or a split of the task: train, dev or test",
            None => "",
        };
        return Err(Failure::input(format!(
            "--trim-vocabulary {what}: no such file; name files of plain text, a text a line{or}"
        )));
    }
    let table = given.text_column.is_some() && TableFormat::from_path(path).is_ok();
    if table {
        let args = SourceArgs {
            data: Some(path.to_owned()),
            limit: None,
            ..given.clone()
        };
        return data::source(&args, false, screen);
    }
    Ok(Source::lines(path))
}

/// A folder on the disk that the result goes to.
fn beside(output: Option<&Path>) -> Result<TempDir, Failure> {
    let output = output.map_or_else(|| PathBuf::from("."), Path::to_owned);
    let there = |folder: &&Path| folder.is_dir() && **folder != *output;
    let parent = output.ancestors().find(there).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".bertology-");
    let made = builder.tempdir_in(parent);
    made.map_err(|error| Failure::io("create a folder in", parent, &error))
}

fn failed(error: &Error) -> Failure {
    match interrupt::requested() {
        true => Failure::Interrupted("interrupted; nothing is written".into()),
        false => failure(error),
    }
}

/// The model that the smaller one comes from, and what it reads: where the vocabulary stays whole, the same.
pub(super) struct Whole<'a> {
    pub(super) model: &'a LoadedModel,
    pub(super) corpus: &'a Corpus,
    pub(super) chosen_on: &'a Corpus,
}

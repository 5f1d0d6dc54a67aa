//! From the options about data and objective to the library's corpus.

use std::path::Path;

use bertology::attention::{
    InputMode, Packing, RowMode, SentencePassages, TextOptions, TextPassages, TextSupply,
    TreebankOptions,
};
use bertology::corpus::CorpusOptions;
use bertology::data::conllu::Treebank;
use bertology::data::{Columns, DataError, Documents, Header, TableFormat};
use bertology::objective::DEFAULT_SEED;
use bertology::{Corpus, Objective, OpenAs, Source, Split, Task, TokenMasking, TooLong};

use crate::args::{
    DataArgs, DocumentsArg, HeaderArg, InputArg, ObjectiveArg, PackingArg, PassageArgs,
    SequenceArgs, SourceArgs, TooLongArg, TreebankArgs,
};
use crate::assumptions;
use crate::failure::Failure;
use crate::session::{Opened, failure};
use crate::show::Screen;

/// Whether the options name data at all.
pub(crate) fn named(args: &DataArgs) -> bool {
    args.source.task.is_some()
        || args.source.data.is_some()
        || args.source.text_column.is_some()
        || args.source.text.is_some()
        || args.source.token_ids.is_some()
        || args.ner.is_some()
        || args.squad.is_some()
}

/// The head that the objective reads.
pub(crate) fn open_as(args: &DataArgs) -> OpenAs {
    match args.objective {
        None | Some(ObjectiveArg::Label) => OpenAs::Declared,
        Some(ObjectiveArg::Lm) => OpenAs::CausalLm,
        Some(ObjectiveArg::Mlm) => OpenAs::MaskedLm,
    }
}

/// Without data an objective would do nothing.
pub(crate) fn refuse_objective(args: &DataArgs) -> Result<(), Failure> {
    let set = [
        (args.objective.is_some(), "--objective"),
        (args.sequence.bos, "--bos"),
        (args.mlm_probability.is_some(), "--mlm-probability"),
        (args.unmasked, "--unmasked"),
        (args.sequence.too_long.is_some(), "--too-long"),
        (args.sequence.stride.is_some(), "--stride"),
    ];
    match set.iter().find(|(set, _)| *set) {
        None => Ok(()),
        Some((_, name)) => Err(Failure::input(format!(
            "{name} says how data are scored, but no data are given; name them (--task, \
             --text-column, --text, --token-ids, --ner or --squad) or leave it out"
        ))),
    }
}

/// The data, read once to the end and checked against the model.
pub(crate) fn corpus(opened: &Opened, data: &DataArgs, screen: &Screen) -> Result<Corpus, Failure> {
    let mut options = CorpusOptions::default();
    options.objective = Wanted::of(data).objective(opened, screen)?;
    options.max_length = data.sequence.max_length();
    options.too_long = data.sequence.too_long();
    options.stride = data.sequence.stride();
    options.shared = data.doc_stride;
    options.label_order = data.source.order();
    let causal = matches!(options.objective, Some(Objective::CausalLm { .. }));
    let given = &data.source;
    let source = match (&data.ner, &data.squad) {
        (Some(path), _) => {
            let (words, labels) = (given.text_column.as_deref(), given.label_column.as_deref());
            Source::tagged(path, words, labels).with_limit(given.limit)
        }
        (_, Some(path)) => Source::questions(path).with_limit(given.limit),
        (None, None) => source(given, causal, screen)?,
    };
    let corpus = Corpus::new(&opened.model, source, &options).map_err(|error| match error {
        bertology::Error::NoLabels { path, found, .. } if data.source.text.is_some() => {
            Failure::input(format!(
                "{}: plain text has no labels, which {} needs, {found}; give --data FILE --text-column COLUMN \
                 --label-column COLUMN, or --task NAME --data FOLDER, or --objective mlm or lm if it holds that \
                 head, or look at its heads with `bertology patterns`, `cluster` or `extract`, which take --text",
                path.display(),
                opened.located.name
            ))
        }
        error => failure(&error),
    })?;
    if corpus.labels().is_some() {
        assumptions::say_labels(opened, &data.source, screen);
    }
    Ok(corpus)
}

/// What the user wants the model to be scored for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) objective: Option<ObjectiveArg>,
    /// Causal language models: with a beginning-of-text token.
    pub(crate) bos: bool,
    pub(crate) mlm_probability: Option<f64>,
    pub(crate) unmasked: bool,
    pub(crate) seed: Option<u64>,
}

impl Wanted {
    fn of(args: &DataArgs) -> Self {
        Self {
            objective: args.objective,
            bos: args.sequence.bos,
            mlm_probability: args.mlm_probability,
            unmasked: args.unmasked,
            seed: args.seed,
        }
    }

    /// What the model is scored for, with its options, each of which must have something to act on.
    pub(crate) fn objective(
        self,
        opened: &Opened,
        screen: &Screen,
    ) -> Result<Option<Objective>, Failure> {
        let head = &opened.model.architecture().head;
        let mut objective = match self.objective {
            None => Objective::of(head),
            Some(ObjectiveArg::Label) => Some(Objective::Labels),
            Some(ObjectiveArg::Lm) => Some(Objective::CausalLm { bos: false }),
            Some(ObjectiveArg::Mlm) => Some(Objective::MaskedLm {
                masking: TokenMasking::default(),
            }),
        };
        let is_masked = matches!(objective, Some(Objective::MaskedLm { .. }));
        let refuse = |name: &str, of: &str, value: &str| {
            Err(Failure::input(format!(
                "{name} belongs to {of}, but {} has {}; leave it out, or give --objective {value} if the \
                 checkpoint holds that head",
                opened.located.name,
                head.description()
            )))
        };
        for (given, name) in [
            (self.mlm_probability.is_some(), "--mlm-probability"),
            (self.unmasked, "--unmasked"),
        ] {
            if given && !is_masked {
                return refuse(name, "masked language models", "mlm");
            }
        }
        match &mut objective {
            Some(Objective::CausalLm { bos }) => *bos = self.bos,
            _ if self.bos => return refuse("--bos", "causal language models", "lm"),
            _ => {}
        }
        if let Some(Objective::MaskedLm { masking }) = &mut objective {
            *masking = match self.mlm_probability {
                _ if self.unmasked => TokenMasking::Unmasked,
                Some(0.0) => TokenMasking::Unmasked,
                probability => masked(probability, self.seed),
            };
        }
        let random = matches!(
            objective,
            Some(Objective::MaskedLm {
                masking: TokenMasking::Random { .. }
            })
        );
        if self.seed.is_some() && !random {
            screen.note("--seed has no effect: nothing here is random");
        }
        Ok(objective)
    }
}

fn masked(probability: Option<f64>, seed: Option<u64>) -> TokenMasking {
    TokenMasking::Random {
        probability: probability.unwrap_or(bertology::objective::MLM_PROBABILITY),
        seed: seed.unwrap_or(DEFAULT_SEED),
    }
}

/// The same reading of other data: a split of GLUE's, or a file of the same kind; `:N` behind it takes so many examples.
pub(crate) fn elsewhere(args: &DataArgs, what: &str) -> Result<DataArgs, Failure> {
    let number = |text: &str| text.parse::<usize>().ok().filter(|number| *number > 0);
    let (place, limit) = match what.rsplit_once(':') {
        Some((place, text)) => match number(text) {
            Some(limit) => (place, Some(limit)),
            None => (what, None),
        },
        None => (what, None),
    };
    let mut other = args.clone();
    other.source.limit = limit;
    if args.source.task.is_none() {
        return Ok(other.of_file(place.into()));
    }
    let own = args.source.split.as_deref().unwrap_or("dev");
    if place == own && limit.is_none() && args.source.limit.is_none() {
        return Err(Failure::input(format!(
            "{what}: this is the split that is scored; name another"
        )));
    }
    other.source.split = Some(place.to_owned());
    Ok(other)
}

/// `causal`: the model reads what run_prune_gpt.py reads.
pub(crate) fn source(args: &SourceArgs, causal: bool, screen: &Screen) -> Result<Source, Failure> {
    let split = |instead: &str| match &args.split {
        None => Ok(()),
        Some(split) => Err(Failure::input(format!(
            "--split {split} chooses among GLUE's files; {instead} and leave --split out"
        ))),
    };
    if let (Some(column), None) = (&args.label_column, &args.text_column) {
        return Err(Failure::input(format!(
            "--label-column {column} names a column of a table; name that of its texts, too (--text-column COLUMN)"
        )));
    }
    let source = if let Some(path) = &args.text {
        split("give the file itself as --text")?;
        if !path.exists() {
            return Err(Failure::work(format!(
                "{}: no such file; --text takes a file of texts (`bertology extract` and `bertology view` take a \
                 text itself, in quotes behind MODEL)",
                path.display()
            )));
        }
        Source::text(
            path,
            match args.documents {
                None => Documents::of_file(path),
                Some(DocumentsArg::Line) => Documents::Lines,
                Some(DocumentsArg::Paragraph) => Documents::Paragraphs,
                Some(DocumentsArg::File) => Documents::WholeFile,
                Some(DocumentsArg::Fasta) => Documents::Fasta,
            },
        )
    } else if let Some(path) = &args.token_ids {
        split("give the file itself as --token-ids")?;
        Source::token_ids(path)
    } else {
        let Some(path) = &args.data else {
            return Err(Failure::input(
                "no data given: --task NAME --data FOLDER for GLUE, --data FILE --text-column COLUMN \
                 --label-column COLUMN for your own, --ner FILE for a token classifier, --squad FILE for question \
                 answering, or for a language model --text FILE",
            ));
        };
        match (&args.task, &args.text_column) {
            (Some(_), Some(_)) => {
                return Err(Failure::input(
                    "--task names the columns of GLUE's files and --text-column those of your own; \
                     give one of the two",
                ));
            }
            (None, None) if causal && path.is_file() && TableFormat::from_path(path).is_err() => {
                split("give the file itself as --token-ids")?;
                screen.note(&format!(
                    "{} is read as token ids, as run_prune_gpt.py reads its --data_dir; --token-ids \
                     FILE says the same, --text FILE is for plain text",
                    path.display()
                ));
                Source::token_ids(path)
            }
            (None, None) => {
                return Err(Failure::input(format!(
                    "what {} holds is not said: --task NAME for GLUE, --text-column COLUMN \
                     --label-column COLUMN for your own data; for a language model --text-column \
                     alone, or --text or --token-ids in the place of --data",
                    path.display()
                )));
            }
            (Some(task), None) => glue(path, task, args.split.as_deref())?,
            (None, Some(text)) => {
                split("with --text-column give the file itself as --data")?;
                let mut columns = Columns::text(text);
                columns.header = match args.header {
                    None => Header::Guess,
                    Some(_) if matches!(TableFormat::from_path(path), Ok(TableFormat::Jsonl)) => {
                        return Err(Failure::input(format!(
                            "--header is for .tsv and .csv, and the lines of {} name their columns; leave it out",
                            path.display()
                        )));
                    }
                    Some(HeaderArg::Yes) => Header::Present,
                    Some(HeaderArg::No) => Header::Absent,
                };
                if let Some(pair) = &args.pair_column {
                    columns = columns.with_pair(pair);
                }
                if let Some(label) = &args.label_column {
                    columns = columns.with_label(label);
                }
                Source::table(path, columns).map_err(|e| failure(&e.into()))?
            }
        }
    };
    Ok(source.with_limit(args.limit))
}

fn glue(path: &Path, task: &str, split: Option<&str>) -> Result<Source, Failure> {
    let unknown = |error: DataError| failure(&error.into());
    let task: Task = task.parse().map_err(unknown)?;
    let split: Split = split.unwrap_or("dev").parse().map_err(unknown)?;
    Source::glue(path, task, split).map_err(|e| failure(&e.into()))
}

/// Words of the command line that were perhaps meant as one text.
pub(crate) fn note_words(texts: &[String], taken: &str, screen: &Screen) {
    let word = |text: &String| text.split_whitespace().count() == 1;
    if texts.len() > 1 && texts.iter().all(word) {
        screen.note(&format!(
            "{} words are {taken}; quotes make them one text: \"{}\"",
            texts.len(),
            texts.join(" ")
        ));
    }
}

/// The texts of a study of attention, read once to the end.
pub(crate) fn texts(
    opened: &Opened,
    args: &PassageArgs,
    screen: &Screen,
) -> Result<TextSupply, Failure> {
    match &args.conllu {
        Some(path) => sentences(opened, args, path).map(TextSupply::Treebank),
        None => passages(opened, args, screen).map(TextSupply::File),
    }
}

/// What is done with long texts unless it was said.
pub(crate) fn settle(args: &mut PassageArgs, screen: &Screen) {
    if args.packing == PackingArg::Pairs && args.sequence.too_long.is_some() {
        screen.note("--too-long has no effect: packed pairs always fit");
    }
    args.sequence.default_too_long(TooLongArg::Skip);
}

/// The sentences of a treebank as texts.
fn sentences(
    opened: &Opened,
    args: &PassageArgs,
    path: &Path,
) -> Result<SentencePassages, Failure> {
    for (given, option) in [
        (args.packing == PackingArg::Pairs, "--packing pairs"),
        (args.source.documents.is_some(), "--documents"),
        (args.source.split.is_some(), "--split"),
    ] {
        if given {
            return Err(Failure::input(format!(
                "{option} is for files of texts; with --conllu every sentence is a text, so leave it out"
            )));
        }
    }
    let treebank = treebank(path, args.source.limit);
    let options = sentence_options(args.input, &args.sequence)?;
    SentencePassages::new(&opened.model, treebank, options).map_err(|e| failure(&e))
}

/// The texts of a file.
pub(crate) fn passages(
    opened: &Opened,
    args: &PassageArgs,
    screen: &Screen,
) -> Result<TextPassages, Failure> {
    args.sequence.refuse_stride()?;
    let given = &args.source;
    if given.text.is_none() && given.data.is_none() && given.token_ids.is_none() {
        return Err(Failure::input(
            "no texts given: --text FILE with one text a line, --conllu FILE for a treebank, --data FILE \
             --text-column COLUMN for a table, or --task NAME --data FOLDER for GLUE",
        ));
    }
    let mut source_args = args.source.clone();
    let packing = match args.packing {
        PackingArg::Single => Packing::Single,
        PackingArg::Pairs => {
            let text = source_args.text.as_deref();
            if text.is_none_or(|text| Documents::of_file(text) == Documents::Lines) {
                source_args.documents.get_or_insert(DocumentsArg::Paragraph);
            }
            let seed = args.packing_seed.unwrap_or(DEFAULT_SEED);
            Packing::Pairs { seed }
        }
    };
    if args.packing_seed.is_some() && packing == Packing::Single {
        screen.note("--packing-seed has no effect: nothing is packed without --packing pairs");
    }
    let source = source(&source_args, false, screen)?;
    let options = TextOptions {
        packing,
        max_length: args.sequence.max_length(),
        too_long: args.sequence.too_long().unwrap_or(TooLong::Skip),
        bos: args.sequence.bos,
    };
    TextPassages::new(&opened.model, source, options).map_err(|e| failure(&e))
}

/// A treebank, or the beginning of it.
pub(crate) fn treebank(path: &Path, limit: Option<usize>) -> Treebank {
    Treebank::new(path).with_limit(limit)
}

/// How a treebank's sentences or documents become sequences.
pub(crate) fn treebank_options(args: &TreebankArgs) -> Result<TreebankOptions, Failure> {
    sentence_options(args.input, &args.sequence)
}

fn sentence_options(
    input: Option<InputArg>,
    sequence: &SequenceArgs,
) -> Result<TreebankOptions, Failure> {
    sequence.refuse_stride()?;
    Ok(TreebankOptions {
        input: input.map(|input| match input {
            InputArg::Words => InputMode::Words,
            InputArg::Text => InputMode::Text,
        }),
        max_length: sequence.max_length(),
        too_long: sequence.too_long(),
        bos: sequence.bos,
    })
}

/// What the attention from a word of several tokens is.
pub(crate) fn row_mode(args: &TreebankArgs) -> RowMode {
    args.row_mode.mode()
}

//! `bertology cat`: how a model of code attends to its structure.

mod example;
mod legacy;
mod output;
mod own;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bertology::attention::cat::{
    CatOptions, CatScores, CatState, Choice, FrequentKinds, LeafMean, Quantile,
};
use bertology::drive::Study as _;
use bertology::input::code::{CodeOptions, CodePassages, Prefix, SharedTokens};
use bertology::input::legacy::LegacyPassages;
use bertology::{LoadedModel, TooLong};
use bertology_code::{Functions, LANGUAGES, Tail, sample};
use serde_json::json;

use crate::args::cat::{
    CatArgs, FrequentArg, LeafMeanArg, MatchArg, PrefixArg, SharedTokensArg, TailArg,
};
use crate::command::{Ended, Shown, Stage, StudyCommand};
use crate::failure::Failure;
use crate::record::Run;
use crate::run_folder::RunFolder;
use crate::session::{Opened, failure};
use crate::show::Screen;
use crate::show::text::{plural, seconds};
use crate::told::Rows;

/// What is opened besides the model.
pub(crate) struct Input {
    passages: CodePassages,
    options: CatOptions,
    /// Functions on which kinds were chosen.
    held_out: Option<u64>,
    legacy: Option<LegacyPassages>,
    /// The same architecture with first values.
    untrained: Vec<LoadedModel>,
}

impl StudyCommand for CatArgs {
    const NAME: &'static str = "cat";

    type Input = Input;
    type Supply = CodePassages;
    type Study = CatState;

    fn prepare(&mut self, _: &Screen) -> Result<(), Failure> {
        self.input.sequence.refuse_stride()?;
        self.input
            .sequence
            .default_too_long(crate::args::TooLongArg::Cut);
        if self.own.held_out.is_some() && self.own.frequent != FrequentArg::Own {
            return Err(Failure::input(
                "--held-out: functions are held out to choose kinds on them, which --frequent own does",
            ));
        }
        Ok(())
    }

    fn open(&self, opened: &Opened, screen: &Screen) -> Result<Input, Failure> {
        let mut options = self.options()?;
        let mut functions = self.functions()?;
        let mut held_out = None;
        if self.own.frequent == FrequentArg::Own {
            let chosen = own::choose(self, opened, &functions, &options, screen)?;
            held_out = Some(chosen.held_out);
            (options.frequent, functions) = (chosen.kinds, chosen.rest);
        }
        let legacy = self.own.legacy;
        let legacy = legacy.then(|| legacy::open(&opened.model, functions.clone()));
        let passages = CodePassages::new(&opened.model, functions, self.code_options());
        let untrained = 0..u64::from(self.own.random_encoder);
        Ok(Input {
            passages: passages.map_err(|e| failure(&e))?,
            options,
            held_out,
            legacy: legacy.transpose()?,
            untrained: untrained
                .map(|seed| opened.model.untrained(seed))
                .collect(),
        })
    }

    fn identity(&self, input: &Input, run: &mut Run) {
        let info = input.passages.info();
        run.set_seed(Some(self.own.seed));
        run.set_data(
            Some(info.sha256.clone()),
            json!({ "file": info, "max_length": input.passages.max_length() }),
        );
        // The names of files say nothing; their content does.
        run.identity.set("frequent", json!(input.options.frequent));
        let grammars: BTreeMap<_, _> = grammars().collect();
        run.identity.set("grammars", json!(grammars));
    }

    fn stages<'a>(
        &self,
        opened: &'a Opened,
        input: &'a Input,
        _: Option<&RunFolder>,
    ) -> Result<Vec<Stage<'a, Self>>, Failure> {
        let models = [&opened.model].into_iter().chain(&input.untrained);
        let stage = |model| {
            let state = CatState::new(model, input.options.clone());
            let state = state.map_err(|e| failure(&e))?;
            Ok(Stage::new(model, &input.passages, state))
        };
        models.map(stage).collect()
    }

    fn unit(&self, _: &Input) -> &'static str {
        "function"
    }

    fn told(&self, _: &Input) -> Option<Rows> {
        Some(Rows::Snippets)
    }

    fn headline(&self, opened: &Opened, input: &Input) -> Result<String, Failure> {
        let (layers, heads) = opened.shape();
        let info = input.passages.info();
        Ok(format!(
            "{}: {layers} layers of {heads} heads\n{}: {}",
            opened.located.name,
            info.path.display(),
            plural(info.counts.functions, "function"),
        ))
    }

    fn notes(&self, input: &Input, screen: &Screen) {
        for passed in &input.passages.info().counts.passed_over {
            screen.note(&passed.to_string());
        }
    }

    fn results(
        &self,
        ended: &mut Ended<'_>,
        input: &Input,
        studies: Vec<CatState>,
    ) -> Result<Shown, Failure> {
        let (state, untrained) = match &studies[..] {
            [state, untrained @ ..] => (state, untrained),
            [] => return Err(Failure::work("nothing was studied; please report this")),
        };
        let scores = state.finish().map_err(|e| failure(&e))?;
        if scores.snippets == 0 {
            return Err(Failure::input(format!(
                "no function has a score: {}",
                text::left_out(state).unwrap_or_else(|| "there is none".to_owned())
            )));
        }
        let random: Result<Vec<CatScores>, _> = untrained.iter().map(CatState::finish).collect();
        let random = random.map_err(|e| failure(&e))?;
        if let Some(folder) = ended.folder {
            output::write(folder, &scores, &random)?;
            let shown = example::find(&ended.opened.model, &input.passages, self.own.example)?;
            folder.write_json(bertology_run::studies::cat::EXAMPLE, &shown)?;
        }
        let mut legacy = String::new();
        if let Some(passages) = &input.legacy {
            let found = legacy::scores(self, &ended.opened.model, passages, ended.screen)?;
            if let Some(folder) = ended.folder {
                folder.write_table(&[], legacy::rows(&found))?;
            }
            legacy = format!("\n{}\n", legacy::text(&found));
        }
        Ok(Shown {
            results: json!(output::results(self, input, state, &scores)),
            text: format!(
                "\n{}\n{legacy}\n{}\n{}",
                text::text(&scores, &random),
                text::account(state, &scores, input.held_out),
                seconds(ended.time)
            ),
        })
    }
}

impl CatArgs {
    fn functions(&self) -> Result<Functions, Failure> {
        let code = &self.input;
        let language = code.reading.language()?;
        let failed = |error: bertology_code::CodeError| failure(&error.into());
        let mut functions = Functions::new(&code.code, language).map_err(failed)?;
        if let Some(count) = code.sample {
            let all = functions.count().map_err(failed)?;
            functions = functions.with_selected(sample(all, count.get() as u64, self.own.seed));
        }
        if let Some(path) = &code.indices {
            functions = functions.with_selected(indices(path)?);
        }
        Ok(functions.with_limit(code.limit))
    }

    fn code_options(&self) -> CodeOptions {
        let code = &self.input;
        CodeOptions {
            reading: code.reading.reading(),
            graph: code.reading.graph(),
            tail: match code.tail {
                TailArg::Keep => Tail::Keep,
                TailArg::Drop => Tail::Drop,
            },
            shared: match code.shared_tokens {
                SharedTokensArg::Share => SharedTokens::Share,
                SharedTokensArg::First => SharedTokens::First,
                SharedTokensArg::MaxOverlap => SharedTokens::MaxOverlap,
                SharedTokensArg::Drop => SharedTokens::Drop,
            },
            prefix: match code.prefix {
                PrefixArg::None => Prefix::None,
                PrefixArg::EncoderOnly => Prefix::EncoderOnly,
            },
            min_leaves: code.min_leaves,
            max_length: code.sequence.max_length(),
            too_long: code.sequence.too_long().unwrap_or(TooLong::Cut),
            bos: code.sequence.bos,
            seed: self.own.seed,
        }
    }

    fn options(&self) -> Result<CatOptions, Failure> {
        let own = &self.own;
        let quantile = Quantile::new(own.quantile.numerator, own.quantile.denominator);
        let mut options = CatOptions::default();
        options.quantile = quantile.map_err(|e| failure(&e))?;
        options.choice = match own.matching {
            MatchArg::Quantile => Choice::Quantile,
            MatchArg::Top => Choice::Top,
        };
        options.mean = match own.leaf_mean {
            LeafMeanArg::MeanMean => LeafMean::MeanMean,
            LeafMeanArg::MeanSum => LeafMean::MeanSum,
        };
        options.renormalise = own.renormalise;
        options.frequent = match &own.frequent {
            // Those of the model are known when it is open.
            FrequentArg::None | FrequentArg::Own => BTreeMap::new(),
            FrequentArg::Shared => FrequentKinds::Shared.by_language(),
            FrequentArg::Static => FrequentKinds::Static.by_language(),
            FrequentArg::File(path) => kinds(path)?,
        };
        options.resamples = own.resamples;
        options.permutations = own.permutations;
        options.seed = own.seed;
        Ok(options)
    }
}

/// Languages with the grammars that read them, and their versions.
fn grammars() -> impl Iterator<Item = (&'static str, String)> {
    LANGUAGES
        .iter()
        .map(|language| (language.name, language.grammar.to_owned()))
}

fn lines(path: &Path) -> Result<Vec<String>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| Failure::io("read", path, &e))?;
    let lines = text.lines().map(str::trim).map(str::to_owned);
    Ok(lines.collect())
}

/// Numbers of functions, one a line.
fn indices(path: &Path) -> Result<Vec<u64>, Failure> {
    let mut all = Vec::new();
    for (at, line) in lines(path)?.iter().enumerate() {
        if line.is_empty() {
            continue;
        }
        all.push(line.parse().map_err(|_| {
            Failure::input(format!(
                "{}, line {}: `{line}` is no number of a function; give one a line, from 0",
                path.display(),
                at + 1
            ))
        })?);
    }
    if all.is_empty() {
        return Err(Failure::input(format!(
            "{}: no numbers of functions; give one a line, from 0",
            path.display()
        )));
    }
    Ok(all)
}

/// Kinds of leaves, one a line, for every language.
fn kinds(path: &Path) -> Result<BTreeMap<String, BTreeSet<String>>, Failure> {
    let kinds: BTreeSet<String> = lines(path)?.into_iter().filter(|line| !line.is_empty()).collect();
    for (at, kind) in kinds.iter().enumerate() {
        if !LANGUAGES.iter().any(|language| language.has_kind(kind)) {
            return Err(Failure::input(format!(
                "{}: `{kind}` (of {} kinds, number {}) is a kind of leaf in no grammar here; `bertology cat-tree FILE` \
                 shows kinds",
                path.display(),
                kinds.len(),
                at + 1
            )));
        }
    }
    if kinds.is_empty() {
        return Err(Failure::input(format!(
            "{}: no kinds of leaves; give one a line",
            path.display()
        )));
    }
    let languages = LANGUAGES.iter();
    Ok(languages.map(|language| (language.name.to_owned(), kinds.clone())).collect())
}

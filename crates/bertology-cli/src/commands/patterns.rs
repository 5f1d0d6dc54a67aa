//! `bertology patterns`: what every head looks at.

use std::fmt::Write;

use bertology::attention::TextPassages;
use bertology::attention::patterns::{
    Average, Denominators, Gradients, PatternOptions, Patterns, PatternsState, Thresholds,
    TokenClasses,
};
use bertology::data::LabelOrder;
use bertology::drive::Study;
use bertology::{HeadId, HeadTable, Objective, OpenAs, TokenMasking};
use serde_json::{Map, Value, json};

use crate::args::{DenominatorsArg, GradientArgs, ObjectiveArg, PatternsArgs};
use crate::command::{Ended, Shown, Stage, StudyCommand};
use crate::data::{self, Wanted};
use crate::failure::Failure;
use crate::npy;
use crate::record::Run;
use crate::run_folder::RunFolder;
use crate::session::{Opened, failure};
use crate::show::text::seconds;
use crate::show::{Screen, passages as texts, patterns as show};
use crate::study;
use crate::tables::cells;

/// What is opened besides the model.
pub(crate) struct Input {
    passages: TextPassages,
    objective: Option<Objective>,
    classes: TokenClasses,
}

impl StudyCommand for PatternsArgs {
    const NAME: &'static str = "patterns";
    const LAP: &'static str = "patterns";

    type Input = Input;
    type Supply = TextPassages;
    type Study = PatternsState;

    fn open_as(&self) -> OpenAs {
        open_as(&self.own.gradients)
    }

    fn open(&self, opened: &Opened, screen: &Screen) -> Result<Input, Failure> {
        let objective = objective(opened, self, screen)?;
        let mut passages = data::passages(opened, &self.input, screen)?;
        if let Some(objective) = objective {
            let order = match self.input.source.swapped_mnli_labels {
                true => LabelOrder::SwappedMnli,
                false => LabelOrder::Task,
            };
            let with_loss = passages.objective(objective, order);
            passages = with_loss.map_err(|e| failure(&e))?;
        }
        let classes = TokenClasses::of_model(&opened.model, self.own.punctuation.as_deref());
        Ok(Input {
            passages,
            objective,
            classes: classes.map_err(|e| failure(&e))?,
        })
    }

    fn identity(&self, input: &Input, run: &mut Run) {
        let Input {
            passages,
            objective,
            ..
        } = input;
        run.set_seed(match objective {
            Some(Objective::MaskedLm {
                masking: TokenMasking::Random { seed, .. },
            }) => Some(*seed),
            _ => None,
        });
        run.set_data(
            Some(passages.info().sha256.clone()),
            json!({
                "file": passages.info(),
                "max_length": passages.max_length(),
                "packing": passages.options().packing,
                "objective": objective,
            }),
        );
        // With their seeds, where these matter.
        run.identity
            .set("packing", json!(passages.options().packing));
        run.identity.set("objective", json!(objective));
    }

    fn stages<'a>(
        &self,
        opened: &'a Opened,
        input: &'a Input,
        _: Option<&RunFolder>,
    ) -> Result<Vec<Stage<'a, Self>>, Failure> {
        let classes = input.classes.clone();
        let state = PatternsState::new(&opened.model, classes, options(self));
        let state = state.map_err(|e| failure(&e))?;
        Ok(vec![Stage::new(&opened.model, &input.passages, state)])
    }

    fn unit(&self, _: &Input) -> &'static str {
        "text"
    }

    fn headline(&self, opened: &Opened, input: &Input) -> Result<String, Failure> {
        Ok(headline(opened, &input.passages, input.objective))
    }

    fn notes(&self, input: &Input, screen: &Screen) {
        study::note_skipped_lines(input.passages.info(), screen);
        for mark in input.classes.missing() {
            screen.note(&format!(
                "the vocabulary has no token `{mark}`; --punctuation names other marks"
            ));
        }
    }

    fn results(
        &self,
        ended: &mut Ended<'_>,
        input: &Input,
        studies: Vec<PatternsState>,
    ) -> Result<Shown, Failure> {
        let passages = &input.passages;
        let state = super::only(studies)?;
        if state.counts().sequences == 0 {
            return Err(Failure::input(format!(
                "{}: {}, so there is nothing to study",
                passages.info().path.display(),
                texts::left_out(state.counts(), passages).unwrap_or_default()
            )));
        }
        let found = state.finish().map_err(|e| failure(&e))?;
        let thresholds = Thresholds::default();
        if let Some(folder) = ended.folder {
            write(folder, &found, &thresholds)?;
        }
        if let Some(left_out) = texts::left_out(&found.counts, passages) {
            ended.screen.note(&left_out);
        }
        Ok(Shown {
            results: record(&found, &thresholds),
            text: format!(
                "\n{}\n\n{}\n{}",
                show::text(&found, &thresholds),
                texts::studied(&found.counts, passages),
                seconds(ended.time)
            ),
        })
    }
}

/// The head that the loss needs; without gradients any will do.
fn open_as(args: &GradientArgs) -> OpenAs {
    match args.objective {
        None | Some(ObjectiveArg::Label) => OpenAs::Declared,
        Some(ObjectiveArg::Lm) => OpenAs::CausalLm,
        Some(ObjectiveArg::Mlm) => OpenAs::MaskedLm,
    }
}

/// What gradients are of.
fn objective(
    opened: &Opened,
    args: &PatternsArgs,
    screen: &Screen,
) -> Result<Option<Objective>, Failure> {
    let gradients = &args.own.gradients;
    if !gradients.gradients {
        if args.input.source.swapped_mnli_labels {
            screen.note("--swapped-mnli-labels has no effect without --gradients");
        }
        return Ok(None);
    }
    let wanted = Wanted {
        objective: gradients.objective,
        // The texts have it or have it not; the loss is of what they have.
        bos: false,
        mlm_probability: gradients.mlm_probability,
        unmasked: gradients.unmasked,
        seed: gradients.seed,
    };
    let objective = match wanted.objective(opened, screen)? {
        Some(Objective::CausalLm { .. }) => Objective::CausalLm {
            bos: args.input.bos,
        },
        Some(objective) => objective,
        None => {
            return Err(failure(&bertology::Error::NoObjective {
                path: opened.located.folder.clone(),
                found: opened.model.architecture().head.description(),
            }));
        }
    };
    Ok(Some(objective))
}

fn options(args: &PatternsArgs) -> PatternOptions {
    PatternOptions {
        denominators: match args.own.denominators {
            DenominatorsArg::Paper => Denominators::Paper,
            DenominatorsArg::Exact => Denominators::Exact,
        },
        entropy_smoothing: args.own.entropy_smoothing,
        gradients: match &args.own.gradients {
            given if given.gradient_times_attention => Gradients::TimesAttention,
            given if given.gradients => Gradients::Plain,
            _ => Gradients::None,
        },
    }
}

fn headline(opened: &Opened, passages: &TextPassages, objective: Option<Objective>) -> String {
    let loss = objective.map_or_else(String::new, |objective| {
        format!(
            ", gradients of the loss of {}",
            study::of_objective(objective)
        )
    });
    format!("{}{loss}", texts::headline(opened, passages))
}

/// The averages of attention under their names in files, those of entropy behind them.
fn named(found: &Patterns) -> impl Iterator<Item = (&'static str, &Average)> {
    let keys = found
        .keys
        .iter()
        .map(|(key, average)| (key.name(), average));
    let entropy = &found.entropy;
    keys.chain([
        ("entropy", &entropy.all),
        (one_row(found), &entropy.one),
        ("entropy_normalized", &entropy.normalized),
    ])
}

/// The entropy of a single row: the one that begins the text or, of causal models, the one that ends it.
fn one_row(found: &Patterns) -> &'static str {
    if found.classes.is_causal() {
        "entropy_last"
    } else {
        "entropy_first"
    }
}

/// `attention_patterns.csv`, `behaviours.csv`, the arrays of entropies and, with gradients,
/// `attention_gradients.csv`.
fn write(folder: &RunFolder, found: &Patterns, thresholds: &Thresholds) -> Result<(), Failure> {
    folder.write("attention_patterns.csv", patterns_csv(found).as_bytes())?;
    let mut behaviours = String::from("layer,head,behaviour\n");
    for (HeadId { layer, head }, behaviour) in found.behaviours(thresholds) {
        let name = behaviour.map_or("", |behaviour| behaviour.name());
        let _ = writeln!(behaviours, "{layer},{head},{name}");
    }
    folder.write("behaviours.csv", behaviours.as_bytes())?;
    for (name, average) in [
        ("attn_entropy.npy", &found.entropy.all),
        (&*format!("attn_{}.npy", one_row(found)), &found.entropy.one),
    ] {
        let table = &average.mean;
        // A head that was pruned away must not look like one that looks at one token alone.
        let values = cells(table).into_iter();
        let values: Vec<f64> = values.map(|value| value.unwrap_or(f64::NAN)).collect();
        let shape = [table.layers(), table.heads()];
        folder.write(name, &npy::encode(&shape, &values))?;
    }
    if found.gradients.is_empty() {
        return Ok(());
    }
    folder.write("attention_gradients.csv", gradients_csv(found).as_bytes())
}

fn number(table: &HeadTable, id: HeadId) -> String {
    table
        .get(id)
        .map_or_else(String::new, |value| value.to_string())
}

fn patterns_csv(found: &Patterns) -> String {
    let mut text = String::from("layer,head,key,mean,standard_error,micro,documents\n");
    for id in found.entropy.all.mean.live() {
        for (name, average) in named(found) {
            let _ = writeln!(
                text,
                "{},{},{name},{},{},{},{}",
                id.layer,
                id.head,
                number(&average.mean, id),
                number(&average.standard_error, id),
                number(&average.micro, id),
                average.documents
            );
        }
    }
    text
}

fn gradients_csv(found: &Patterns) -> String {
    let mut text = String::from("layer,head,class");
    let weighted = found.options.gradients == Gradients::TimesAttention;
    let prefixes: &[&str] = if weighted {
        &["", "times_attention_"]
    } else {
        &[""]
    };
    for prefix in prefixes {
        for name in ["mean", "row_sum"] {
            let _ = write!(text, ",{prefix}{name},{prefix}{name}_standard_error");
        }
    }
    text.push_str(",documents\n");
    for id in found.entropy.all.mean.live() {
        for of in &found.gradients {
            let _ = write!(text, "{},{},{}", id.layer, id.head, of.target.name());
            let averages = [&of.mean, &of.row_sum];
            for average in averages
                .into_iter()
                .chain(of.times_attention.iter().flatten())
            {
                let (mean, error) = (&average.mean, &average.standard_error);
                let _ = write!(text, ",{},{}", number(mean, id), number(error, id));
            }
            let _ = writeln!(text, ",{}", of.mean.documents);
        }
    }
    text
}

fn record(found: &Patterns, thresholds: &Thresholds) -> Value {
    let average = |average: &Average| {
        json!({
            "documents": average.documents,
            "layers": average.layers(),
            "heads": super::importance::rows(&average.mean),
        })
    };
    let averages: Map<String, Value> = named(found)
        .map(|(name, of)| (name.to_owned(), average(of)))
        .collect();
    let gradients: Map<String, Value> = found
        .gradients
        .iter()
        .map(|of| {
            let mut value = json!({ "mean": average(&of.mean), "row_sum": average(&of.row_sum) });
            if let (Value::Object(map), Some([mean, row_sum])) = (&mut value, &of.times_attention) {
                map.insert("times_attention_mean".into(), average(mean));
                map.insert("times_attention_row_sum".into(), average(row_sum));
            }
            (of.target.name().to_owned(), value)
        })
        .collect();
    let mut behaviours: Map<String, Value> = Map::new();
    for (id, behaviour) in found.behaviours(thresholds) {
        let name = behaviour.map_or("none", |behaviour| behaviour.name());
        let heads = behaviours.entry(name).or_insert_with(|| json!([]));
        if let Value::Array(heads) = heads {
            heads.push(json!(id.to_string()));
        }
    }
    json!({
        "denominators": found.options.denominators,
        "entropy_smoothing": found.options.entropy_smoothing,
        "classes": found.classes,
        "counts": found.counts,
        "averages": averages,
        "uniform_entropy": found.entropy.uniform,
        "gradients": (!gradients.is_empty()).then_some(gradients),
        "thresholds": thresholds,
        "behaviours": behaviours,
    })
}

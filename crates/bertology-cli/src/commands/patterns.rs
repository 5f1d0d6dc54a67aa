//! `bertology patterns`: what every head looks at.

use bertology::attention::patterns::{
    Average, Denominators, Gradients, PatternOptions, Patterns, PatternsState, Thresholds,
    TokenClasses,
};
use bertology::attention::{Packing, TextSupply};
use bertology::drive::Study;
use bertology::{Objective, OpenAs, TokenMasking};
use bertology_run::registry::ENTROPY;
use bertology_run::results::{AveragePattern, GradientPatterns, Named, PatternsResults, finite};
use bertology_run::rows::{BehaviourRow, GradientRow, PatternRow, TIMES_ATTENTION};
use bertology_run::table::More;
use serde_json::json;

use crate::args::{DenominatorsArg, GradientArgs, ObjectiveArg, PatternsArgs};
use crate::assumptions;
use crate::command::{Ended, Shown, Stage, StudyCommand};
use crate::data::{self, Wanted};
use crate::failure::Failure;

use crate::record::{self, Run};
use crate::run_folder::RunFolder;
use crate::session::{Opened, failure};
use crate::show::text::seconds;
use crate::show::{Screen, passages, patterns as show};
use crate::study;
use crate::tables::{array, grid};

/// What is opened besides the model.
pub(crate) struct Input {
    texts: TextSupply,
    objective: Option<Objective>,
    classes: TokenClasses,
}

impl StudyCommand for PatternsArgs {
    const NAME: &'static str = "patterns";
    const LAP: &'static str = "patterns";

    type Input = Input;
    type Supply = TextSupply;
    type Study = PatternsState;

    fn prepare(&mut self, screen: &Screen) -> Result<(), Failure> {
        data::settle(&mut self.input, screen);
        Ok(())
    }

    fn open_as(&self) -> OpenAs {
        open_as(&self.own.gradients)
    }

    fn open(&self, opened: &Opened, screen: &Screen) -> Result<Input, Failure> {
        let objective = objective(opened, self, screen)?;
        let texts = match (data::texts(opened, &self.input, screen)?, objective) {
            (texts, None) => texts,
            (TextSupply::File(texts), Some(objective)) => {
                let source = &self.input.source;
                if objective == Objective::Labels {
                    assumptions::say_labels(opened, source, screen);
                }
                let with_loss = texts.objective(objective, source.order());
                TextSupply::File(with_loss.map_err(|e| failure(&e))?)
            }
            (TextSupply::Treebank(_), Some(_)) => {
                return Err(Failure::input(
                    "--gradients are those of a loss, which the sentences of --conllu do not have; give \
                     them as --text FILE",
                ));
            }
        };
        let classes = TokenClasses::of_model(&opened.model, self.own.punctuation.as_deref());
        Ok(Input {
            texts,
            objective,
            classes: classes.map_err(|e| failure(&e))?,
        })
    }

    fn identity(&self, input: &Input, run: &mut Run) {
        let Input {
            texts, objective, ..
        } = input;
        run.set_seed(match objective {
            Some(Objective::MaskedLm {
                masking: TokenMasking::Random { seed, .. },
            }) => Some(*seed),
            _ => None,
        });
        let packing = match texts {
            TextSupply::File(texts) => texts.options().packing,
            TextSupply::Treebank(_) => Packing::Single,
        };
        run.set_texts(texts, json!({ "packing": packing, "objective": objective }));
        // With their seeds, where these matter.
        run.identity.set("packing", json!(packing));
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
        Ok(vec![Stage::new(&opened.model, &input.texts, state)])
    }

    fn unit(&self, _: &Input) -> &'static str {
        "text"
    }

    fn headline(&self, opened: &Opened, input: &Input) -> Result<String, Failure> {
        Ok(headline(opened, &input.texts, input.objective))
    }

    fn notes(&self, input: &Input, screen: &Screen) {
        study::note_skipped_texts(&input.texts, screen);
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
        let texts = &input.texts;
        let state = super::only(studies)?;
        passages::some(state.counts(), texts)?;
        let found = state.finish().map_err(|e| failure(&e))?;
        let thresholds = Thresholds::default();
        if let Some(folder) = ended.folder {
            write(folder, &found, &thresholds)?;
        }
        if let Some(left_out) = passages::left_out(&found.counts, texts) {
            ended.screen.note(&left_out);
        }
        Ok(Shown {
            results: json!(record(&found, &thresholds)),
            text: format!(
                "\n{}\n\n{}\n{}",
                show::text(&found, &thresholds),
                passages::studied(&found.counts, texts),
                seconds(ended.time)
            ),
        })
    }
}

/// The head that the loss needs; without gradients any will do.
fn open_as(args: &GradientArgs) -> OpenAs {
    match args.objective {
        None if !args.gradients => OpenAs::DeclaredOrEncoder,
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
        for (given, name) in [
            (args.input.source.swapped_mnli_labels, "--swapped-mnli-labels"),
            (!args.input.source.label_order.is_empty(), "--label-order"),
        ] {
            if given {
                screen.note(&format!("{name} has no effect without --gradients"));
            }
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
            bos: args.input.sequence.bos,
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

fn headline(opened: &Opened, texts: &TextSupply, objective: Option<Objective>) -> String {
    let loss = objective.map_or_else(String::new, |objective| {
        format!(
            ", gradients of the loss of {}",
            study::of_objective(objective)
        )
    });
    format!("{}{loss}", passages::headline(opened, texts))
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

/// Averages, behaviours and gradients as tables, entropies as arrays.
fn write(folder: &RunFolder, found: &Patterns, thresholds: &Thresholds) -> Result<(), Failure> {
    folder.write_table(&[], pattern_rows(found))?;
    let behaviours = found.behaviours(thresholds).into_iter();
    let behaviours = behaviours.map(|(id, behaviour)| BehaviourRow {
        layer: id.layer,
        head: id.head,
        behaviour: behaviour.map_or("", |behaviour| behaviour.name()).into(),
    });
    folder.write_table(&[], behaviours)?;
    for (name, average) in [
        (ENTROPY, &found.entropy.all),
        (&*format!("attn_{}.npy", one_row(found)), &found.entropy.one),
    ] {
        folder.write(name, &array(&average.mean))?;
    }
    if found.gradients.is_empty() {
        return Ok(());
    }
    let weighted = found.options.gradients == Gradients::TimesAttention;
    let more = if weighted { &TIMES_ATTENTION[..] } else { &[] };
    let more: Vec<String> = more.iter().map(|name| (*name).to_owned()).collect();
    Ok(folder.write_table(&more, gradient_rows(found))?)
}

fn pattern_rows(found: &Patterns) -> impl Iterator<Item = PatternRow> {
    let live = found.entropy.all.mean.live();
    live.flat_map(move |id| {
        named(found).map(move |(name, average)| PatternRow {
            layer: id.layer,
            head: id.head,
            key: name.into(),
            mean: average.mean.get(id),
            standard_error: average.standard_error.get(id),
            micro: average.micro.get(id),
            documents: average.documents,
        })
    })
}

fn gradient_rows(found: &Patterns) -> impl Iterator<Item = GradientRow> {
    let live = found.entropy.all.mean.live();
    live.flat_map(move |id| {
        let all = found.gradients.iter();
        all.map(move |of| {
            let weighted = of.times_attention.iter().flatten();
            let weighted = weighted.flat_map(|of| [of.mean.get(id), of.standard_error.get(id)]);
            GradientRow {
                layer: id.layer,
                head: id.head,
                class: of.target.name().into(),
                mean: of.mean.mean.get(id),
                mean_standard_error: of.mean.standard_error.get(id),
                row_sum: of.row_sum.mean.get(id),
                row_sum_standard_error: of.row_sum.standard_error.get(id),
                times_attention: More(weighted.collect()),
                documents: of.mean.documents,
            }
        })
    })
}

fn record(found: &Patterns, thresholds: &Thresholds) -> PatternsResults {
    let average = |average: &Average| AveragePattern {
        documents: average.documents,
        layers: average.layers(),
        heads: grid(&average.mean),
    };
    let gradients = found.gradients.iter().map(|of| {
        let [mean, row_sum] = match &of.times_attention {
            Some([mean, row_sum]) => [Some(mean), Some(row_sum)],
            None => [None, None],
        };
        let found = GradientPatterns {
            mean: average(&of.mean),
            row_sum: average(&of.row_sum),
            times_attention_mean: mean.map(average),
            times_attention_row_sum: row_sum.map(average),
        };
        (of.target.name(), found)
    });
    let gradients: Named<GradientPatterns> = gradients.collect();
    let mut behaviours: Named<Vec<String>> = Named::default();
    for (id, behaviour) in found.behaviours(thresholds) {
        let name = behaviour.map_or("none", |behaviour| behaviour.name());
        behaviours.entry(name).push(id.to_string());
    }
    PatternsResults {
        denominators: record::name_of(&found.options.denominators),
        entropy_smoothing: found.options.entropy_smoothing,
        classes: json!(found.classes),
        counts: Some(record::texts(&found.counts)),
        averages: named(found).map(|(name, of)| (name, average(of))).collect(),
        uniform_entropy: finite(found.entropy.uniform),
        gradients: (!gradients.0.is_empty()).then_some(gradients),
        thresholds: json!(thresholds),
        behaviours,
    }
}

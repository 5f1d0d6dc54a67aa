//! `bertology ablate`: what the score loses without each head, or with each as the only one of its layer.

mod and;
mod keep_one;

use bertology::ablation::{Ablated, AblationState};
use bertology::drive::Study;
use bertology::evaluate::MaskedModel;
use bertology::masking::Metric;
use bertology::{Ablation, Corpus, HeadId, HeadMask, OpenAs};
use bertology_run::results::{AblateResults, AblatedHead, finite};
use serde_json::json;

use crate::args::{AblateArgs, DataArgs, Masks};
use crate::assumptions;
use crate::command::{Ended, Shown, Stage, StudyCommand};
use crate::data;
use crate::failure::Failure;
use crate::record::{self, Run};
use crate::run_folder::RunFolder;
use crate::session::{Opened, failure};
use crate::show::Screen;
use crate::show::removals::removals_text;
use crate::show::text::seconds;
use crate::study;
use crate::tables::{Removals, grid};

/// What is opened besides the model.
pub(crate) struct Input {
    corpus: Corpus,
    metric: Metric,
    /// On which heads are chosen, or left out once more.
    second: Option<(Corpus, Metric)>,
    mask: Option<HeadMask>,
    heads: Option<Vec<HeadId>>,
    model: MaskedModel,
}

impl StudyCommand for AblateArgs {
    const NAME: &'static str = "ablate";
    const LAP: &'static str = "ablation";

    type Input = Input;
    type Supply = Corpus;
    type Study = AblationState;

    fn prepare(&mut self, screen: &Screen) -> Result<(), Failure> {
        let note = &mut |text: &str| screen.note(text);
        self.own.legacy.note(note);
        self.input.obey_legacy(Masks::No, &self.model, note)
    }

    fn open_as(&self) -> OpenAs {
        data::open_as(&self.input)
    }

    fn open(&self, opened: &Opened, screen: &Screen) -> Result<Input, Failure> {
        let with_metric = |data: &DataArgs| {
            let corpus = data::corpus(opened, data, screen)?;
            let metric = Metric::of(&corpus, self.own.metric.as_deref()).map_err(|e| failure(&e))?;
            Ok::<_, Failure>((corpus, metric))
        };
        let second = self.own.second(&self.input)?;
        let (corpus, metric) = with_metric(&self.input)?;
        let second = second.as_ref().map(with_metric).transpose()?;
        if let Some((second, _)) = &second
            && self.own.keep_one
            && second.info().sha256 == corpus.info().sha256
        {
            return Err(Failure::input(format!(
                "{} is the file that is scored; name another to choose the heads on, or leave --select-on and \
                 --select-split out",
                second.source().path().display()
            )));
        }
        let mask = study::chosen_mask(opened, self.own.mask.as_deref(), &[])?;
        let model = MaskedModel::new(&opened.model, mask.as_ref(), false);
        Ok(Input {
            heads: heads(self, opened)?,
            model: model.map_err(|e| failure(&e))?,
            corpus,
            metric,
            second,
            mask,
        })
    }

    fn identity(&self, input: &Input, run: &mut Run) {
        run.set_corpus(&input.corpus, self.input.seed);
        if let Some((second, _)) = &input.second {
            let name = if self.own.keep_one {
                "selected_on"
            } else {
                "and"
            };
            run.set_second(name, second);
        }
        run.set_mask(input.mask.as_ref());
    }

    fn stages<'a>(
        &self,
        opened: &'a Opened,
        input: &'a Input,
        _: Option<&RunFolder>,
    ) -> Result<Vec<Stage<'a, Self>>, Failure> {
        let Input {
            corpus,
            second,
            heads,
            model,
            ..
        } = input;
        let ablated = if self.own.keep_one {
            Ablated::Others
        } else {
            Ablated::Head
        };
        let all = [Some(corpus), second.as_ref().map(|(corpus, _)| corpus)];
        let stages = all.into_iter().flatten().map(|corpus| {
            let heads = heads.as_deref();
            let state = AblationState::new(&opened.model, model, corpus, heads, ablated);
            let state = state.map_err(|e| failure(&e))?;
            Ok(Stage::new(model.model(), corpus, state))
        });
        stages.collect()
    }

    fn unit(&self, input: &Input) -> &'static str {
        study::unit(&input.corpus)
    }

    fn headline(&self, opened: &Opened, input: &Input) -> Result<String, Failure> {
        let mut text = study::headline(opened, &input.corpus);
        if let Some((second, _)) = &input.second {
            text.push_str(&format!("\n{}", study::corpus_line(second)));
        }
        Ok(text)
    }

    fn notes(&self, input: &Input, screen: &Screen) {
        study::note_skipped(&input.corpus, screen);
        if let Some((second, _)) = &input.second {
            study::note_skipped(second, screen);
        }
    }

    fn results(
        &self,
        ended: &mut Ended<'_>,
        input: &Input,
        studies: Vec<AblationState>,
    ) -> Result<Shown, Failure> {
        let Input {
            corpus,
            metric,
            second,
            ..
        } = input;
        let mut studies = studies;
        let other = match (second, studies.len()) {
            (Some(_), 2..) => studies.pop(),
            _ => None,
        };
        let other = other.map(|study| study.finish()).transpose();
        let other = other.map_err(|e| failure(&e))?;
        let second = second.as_ref().zip(other.as_ref());
        let second = second.map(|((corpus, metric), found)| Second {
            corpus,
            metric,
            found,
        });
        let found = super::only(studies)?.finish().map_err(|e| failure(&e))?;
        let change = found.change(corpus, metric).map_err(|e| failure(&e))?;
        let removals = Removals {
            found: &found,
            change: &change,
            classes: corpus.metrics().is_some_and(|set| !set.is_regression()),
        };
        if self.own.mask.is_none() {
            let (metrics, confusion) = (&found.whole.metrics, &found.whole.confusion);
            assumptions::say_chance(corpus, metrics, confusion, ended.screen);
        }
        let whole = format!(
            "With all heads: {}\n{}\n{}",
            study::metrics(&found.whole.metrics, found.whole.loss),
            study::counts(&found.whole, corpus),
            seconds(ended.time)
        );
        if self.own.keep_one {
            let mut shown = keep_one::results(ended, corpus, metric, removals, second)?;
            shown.text = format!("\n{}\n\n{whole}", shown.text);
            return Ok(shown);
        }
        if let Some(folder) = ended.folder {
            removals.write(folder)?;
        }
        let mut results = results(removals, metric);
        let mut text = removals_text(removals, metric, ended.screen);
        if let Some(second) = second {
            let (and, said) = and::results(ended, metric, removals, second)?;
            results.and = Some(and);
            text.push_str(&format!("\n\n{said}"));
        }
        Ok(Shown {
            results: json!(results),
            text: format!("\n{text}\n\n{whole}"),
        })
    }
}

/// What was found on the second data.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Second<'a> {
    corpus: &'a Corpus,
    metric: &'a Metric,
    found: &'a Ablation,
}

/// The heads named, if any were.
fn heads(args: &AblateArgs, opened: &Opened) -> Result<Option<Vec<HeadId>>, Failure> {
    if args.own.heads.is_empty() {
        return Ok(None);
    }
    let (layers, width) = opened.shape();
    let named = study::named_heads(&args.own.heads, layers, width)?;
    let named = named.iter().map(|(layer, head)| HeadId { layer, head });
    Ok(Some(named.collect()))
}

fn results(removals: Removals<'_>, metric: &Metric) -> AblateResults {
    let Removals {
        found,
        change,
        classes,
    } = removals;
    let heads = found.without.iter().map(|without| {
        let paired = without.paired;
        AblatedHead {
            head: without.head.to_string(),
            change: change.get(without.head),
            loss_change: finite(without.loss_change),
            loss_standard_error: finite(paired.loss_standard_error),
            changed: classes.then_some(paired.changed),
            right_to_wrong: classes.then_some(paired.right_to_wrong),
            wrong_to_right: classes.then_some(paired.wrong_to_right),
            p_value: classes.then(|| paired.p_value()),
            metrics: record::metrics(&without.evaluation.metrics),
            loss: finite(without.evaluation.loss),
        }
    });
    AblateResults {
        metric: Some(metric.name.clone()),
        direction: record::name_of(&metric.direction),
        evaluation: Some(record::evaluation(&found.whole)),
        heads: heads.collect(),
        head_ablation: grid(change),
        head_ablation_loss: grid(&found.loss_change()),
        ..AblateResults::default()
    }
}

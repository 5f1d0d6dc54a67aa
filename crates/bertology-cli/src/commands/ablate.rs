//! `bertology ablate`: what the score loses without each head.

use bertology::ablation::AblationState;
use bertology::drive::Study;
use bertology::evaluate::MaskedModel;
use bertology::masking::Metric;
use bertology::{Corpus, HeadId, HeadMask, OpenAs};
use bertology_run::results::{AblateResults, AblatedHead, finite};
use serde_json::json;

use crate::args::{AblateArgs, Masks};
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
        let corpus = data::corpus(opened, &self.input, screen)?;
        let metric = Metric::of(&corpus, self.own.metric.as_deref()).map_err(|e| failure(&e))?;
        let mask = study::chosen_mask(opened, self.own.mask.as_deref(), &[])?;
        let model = MaskedModel::new(&opened.model, mask.as_ref(), false);
        Ok(Input {
            heads: heads(self, opened)?,
            model: model.map_err(|e| failure(&e))?,
            corpus,
            metric,
            mask,
        })
    }

    fn identity(&self, input: &Input, run: &mut Run) {
        run.set_corpus(&input.corpus, self.input.seed);
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
            heads,
            model,
            ..
        } = input;
        let state = AblationState::new(&opened.model, model, corpus, heads.as_deref());
        let state = state.map_err(|e| failure(&e))?;
        Ok(vec![Stage::new(model.model(), corpus, state)])
    }

    fn unit(&self, input: &Input) -> &'static str {
        study::unit(&input.corpus)
    }

    fn headline(&self, opened: &Opened, input: &Input) -> Result<String, Failure> {
        Ok(study::headline(opened, &input.corpus))
    }

    fn notes(&self, input: &Input, screen: &Screen) {
        study::note_skipped(&input.corpus, screen);
    }

    fn results(
        &self,
        ended: &mut Ended<'_>,
        input: &Input,
        studies: Vec<AblationState>,
    ) -> Result<Shown, Failure> {
        let Input { corpus, metric, .. } = input;
        let found = super::only(studies)?.finish().map_err(|e| failure(&e))?;
        let change = found.change(corpus, metric).map_err(|e| failure(&e))?;
        let removals = Removals {
            found: &found,
            change: &change,
            classes: corpus.metrics().is_some_and(|set| !set.is_regression()),
        };
        if let Some(folder) = ended.folder {
            removals.write(folder)?;
        }
        if self.own.mask.is_none() {
            let (metrics, confusion) = (&found.whole.metrics, &found.whole.confusion);
            assumptions::say_chance(corpus, metrics, confusion, ended.screen);
        }
        Ok(Shown {
            results: json!(results(removals, metric)),
            text: format!(
                "\n{}\n\nWith all heads: {}\n{}\n{}",
                removals_text(removals, metric, ended.screen),
                study::metrics(&found.whole.metrics, found.whole.loss),
                study::counts(&found.whole, corpus),
                seconds(ended.time)
            ),
        })
    }
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
    }
}

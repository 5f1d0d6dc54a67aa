//! `bertology evaluate`: the task's metrics.

use bertology::drive::Study;
use bertology::evaluate::{EvaluationState, MaskedModel};
use bertology::{Corpus, HeadMask, OpenAs};
use bertology_run::results::EvaluateResults;
use serde_json::json;

use crate::args::{EvaluateArgs, Masks};
use crate::assumptions;
use crate::command::{Ended, Shown, Stage, StudyCommand};
use crate::data;
use crate::failure::Failure;
use crate::record::{self, Run};
use crate::run_folder::RunFolder;
use crate::session::{Opened, failure};
use crate::show::Screen;
use crate::show::text::{plural, seconds};
use crate::told::Rows;
use crate::study;
use crate::tables::write_mask;

/// What is opened besides the model.
pub(crate) struct Input {
    corpus: Corpus,
    mask: Option<HeadMask>,
    model: MaskedModel,
}

impl StudyCommand for EvaluateArgs {
    const NAME: &'static str = "evaluate";
    const LAP: &'static str = "evaluation";

    type Input = Input;
    type Supply = Corpus;
    type Study = EvaluationState;

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
        let mask = study::chosen_mask(opened, self.own.mask.as_deref(), &self.own.heads)?;
        let model = MaskedModel::new(&opened.model, mask.as_ref(), false);
        Ok(Input {
            model: model.map_err(|e| failure(&e))?,
            corpus,
            mask,
        })
    }

    fn identity(&self, input: &Input, run: &mut Run) {
        run.set_corpus(&input.corpus, self.input.seed);
        // A mask of --heads is named by that option.
        if self.own.mask.is_some() {
            run.set_mask(input.mask.as_ref());
        }
    }

    fn stages<'a>(
        &self,
        _: &'a Opened,
        input: &'a Input,
        _: Option<&RunFolder>,
    ) -> Result<Vec<Stage<'a, Self>>, Failure> {
        let state = EvaluationState::new(&input.model, &input.corpus);
        Ok(vec![Stage::new(input.model.model(), &input.corpus, state)])
    }

    fn unit(&self, input: &Input) -> &'static str {
        study::unit(&input.corpus)
    }

    fn told(&self, input: &Input) -> Option<Rows> {
        Some(Rows::of(&input.corpus))
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
        studies: Vec<EvaluationState>,
    ) -> Result<Shown, Failure> {
        let found = super::only(studies)?.finish().map_err(|e| failure(&e))?;
        if let (Some(folder), Some(mask)) = (ended.folder, &input.mask) {
            write_mask(folder, mask)?;
        }
        let model = ended.opened.model.model();
        let masked = input.mask.as_ref().map(|mask| {
            let heads = mask.masked().filter(|id| model.has_head(*id));
            heads.map(|id| id.to_string()).collect::<Vec<_>>()
        });
        if input.mask.is_none() {
            let (metrics, confusion) = (&found.metrics, &found.confusion);
            assumptions::say_chance(&input.corpus, metrics, confusion, ended.screen);
        }
        let mut text = String::new();
        if let Some(masked) = &masked {
            let all = plural(model.heads().count() as u64, "head");
            text = format!("{} of {all} masked\n", masked.len());
        }
        text.push_str(&format!(
            "{}\n{}\n{}",
            study::metrics_with_intervals(&found),
            study::counts(&found, &input.corpus),
            seconds(ended.time)
        ));
        Ok(Shown {
            results: json!(EvaluateResults {
                evaluation: Some(record::evaluation(&found)),
                masked_heads: masked,
            }),
            text,
        })
    }
}

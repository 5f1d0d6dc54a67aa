//! `bertology importance`: entropy and importance of every head.

use bertology::drive::Study;
use bertology::evaluate::MaskedModel;
use bertology::importance::{Granularity, ImportanceState};
use bertology::{Corpus, HeadMask, OpenAs};
use bertology_run::results::ImportanceResults;
use serde_json::json;

use crate::args::{ImportanceArgs, Masks};
use crate::assumptions;
use crate::command::{Ended, Shown, Stage, StudyCommand};
use crate::data;
use crate::failure::Failure;
use crate::record::{self, Run};
use crate::run_folder::RunFolder;
use crate::session::{Opened, failure};
use crate::show::Screen;
use crate::show::text::seconds;
use crate::told::Rows;
use crate::study;
use crate::tables::{Scores, grid};

/// What is opened besides the model.
pub(crate) struct Input {
    corpus: Corpus,
    granularity: Granularity,
    mask: Option<HeadMask>,
    model: MaskedModel,
}

impl StudyCommand for ImportanceArgs {
    const NAME: &'static str = "importance";
    const LAP: &'static str = "importance";

    type Input = Input;
    type Supply = Corpus;
    type Study = ImportanceState;

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
        let mask = study::chosen_mask(opened, self.own.mask.as_deref(), &[])?;
        let model = MaskedModel::new(&opened.model, mask.as_ref(), false);
        Ok(Input {
            granularity: study::granularity(&self.own.score, screen),
            model: model.map_err(|e| failure(&e))?,
            corpus,
            mask,
        })
    }

    fn identity(&self, input: &Input, run: &mut Run) {
        run.set_corpus(&input.corpus, self.input.seed);
        run.set_mask(input.mask.as_ref());
    }

    fn stages<'a>(
        &self,
        _: &'a Opened,
        input: &'a Input,
        _: Option<&RunFolder>,
    ) -> Result<Vec<Stage<'a, Self>>, Failure> {
        let state = ImportanceState::new(&input.model, &input.corpus, input.granularity);
        let state = state.map_err(|e| failure(&e))?;
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
        studies: Vec<ImportanceState>,
    ) -> Result<Shown, Failure> {
        let found = super::only(studies)?.finish().map_err(|e| failure(&e))?;
        let normalization = study::normalization(&self.own.score);
        let normalized = normalization.apply(&found.raw);
        let spread = found.spread.as_ref();
        let intervals = spread.map(|spread| spread.intervals(&found.raw, normalization));
        let ranks = |end: usize| {
            let intervals = intervals.as_ref();
            intervals.map_or_else(Vec::new, |of| {
                let ends = of.ranks.iter().map(|ends| ends.map(|ends| ends[end] as f64));
                let ends: Vec<Option<f64>> = ends.collect();
                let layers = ends.chunks(normalized.heads().max(1));
                layers.map(<[_]>::to_vec).collect()
            })
        };
        if let Some(folder) = ended.folder {
            let scores = Scores {
                raw: &found.raw,
                normalized: &normalized,
                entropy: Some(&found.entropy),
                standard_error: spread.map(|spread| &spread.standard_error),
                intervals: intervals.as_ref(),
            };
            scores.write(folder)?;
        }
        let evaluation = &found.evaluation;
        if input.mask.is_none() {
            let (metrics, confusion) = (&evaluation.metrics, &evaluation.confusion);
            assumptions::say_chance(&input.corpus, metrics, confusion, ended.screen);
        }
        Ok(Shown {
            results: json!(ImportanceResults {
                granularity: input.granularity.to_string(),
                evaluation: Some(record::evaluation(evaluation)),
                head_importance: grid(&normalized),
                head_importance_raw: grid(&found.raw),
                head_importance_standard_error: spread
                    .map_or_else(Vec::new, |spread| grid(&spread.standard_error)),
                head_rank_low: ranks(0),
                head_rank_high: ranks(1),
                attn_entropy: grid(&found.entropy),
            }),
            text: format!(
                "\n{}\n\n{}\n\n{}\n{}\n{}",
                study::importance_text(
                    &normalized,
                    normalization,
                    intervals.as_ref(),
                    ended.screen
                ),
                study::entropy_text(&found.entropy),
                study::metrics(&evaluation.metrics, evaluation.loss),
                study::counts(evaluation, &input.corpus),
                seconds(ended.time)
            ),
        })
    }
}

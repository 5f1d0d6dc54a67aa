//! From a measure to the scores of units.

use bertology::ablation::AblationState;
use bertology::compress::{Gradients, Groups, Kind, Measure, PerUnit, Score, compress, gradients};
use bertology::drive::{Ablated, Progress, Work, drive};
use bertology::evaluate::{MaskedModel, evaluate_some};
use bertology::input::sample::Sample;
use bertology::judge::Units;
use bertology::measures::{integrated, norms, shapley};
use bertology::{Corpus, Error, HeadId, LoadedModel, Watch};
use bertology_train::gates::{GateOptions, Penalty, learn_gates};

use super::args::{JudgeArgs, JudgedMeasure};

/// Points of integrated gradients, and orders of Shapley values, unless told otherwise.
const POINTS: usize = 8;
const ORDERS: usize = 1;

/// Units are scored on a draw of examples; the gradients at the model as it is are taken once.
pub(super) struct Scoring<'a> {
    pub(super) args: &'a JudgeArgs,
    pub(super) model: &'a LoadedModel,
    pub(super) corpus: &'a Corpus,
    pub(super) sample: &'a Sample<'a, Corpus>,
    pub(super) seed: u64,
    pub(super) work: Work,
    pub(super) taken: Option<Gradients>,
}

impl Scoring<'_> {
    /// The score of each unit, in order.
    pub(super) fn of(
        &mut self,
        measure: JudgedMeasure,
        watch: &mut dyn Watch,
    ) -> Result<Vec<Score>, Error> {
        let units = self.args.units.units();
        match measure {
            JudgedMeasure::Michel => self.of_gradients(Measure::Michel, watch),
            JudgedMeasure::Fisher => self.of_gradients(Measure::Fisher, watch),
            JudgedMeasure::Taylor => self.of_gradients(Measure::Taylor, watch),
            JudgedMeasure::Taylor2 => self.of_gradients(Measure::Taylor2, watch),
            JudgedMeasure::Random => self.of_gradients(Measure::Random { seed: self.seed }, watch),
            JudgedMeasure::Integrated => {
                let kinds: &[Kind] = match units {
                    Units::Heads => &[Kind::Heads],
                    Units::Neurons => &[Kind::Neurons],
                    Units::Layers => &[Kind::Heads, Kind::Neurons],
                };
                let points = self.args.points.map_or(POINTS, usize::from);
                let found = integrated(self.model, self.sample, kinds, points, &self.work, watch)?;
                Ok(of_units(units, Measure::Signed, &found))
            }
            JudgedMeasure::LeaveOneOut if units == Units::Layers => self.without_layers(watch),
            JudgedMeasure::LeaveOneOut => self.without_heads(watch),
            JudgedMeasure::Shapley => {
                let orders = self.args.orders.map_or(ORDERS, usize::from);
                let found = shapley(
                    self.model,
                    self.sample,
                    orders,
                    self.seed,
                    &self.work,
                    watch,
                )?;
                Ok(found.heads.into_iter().map(|(_, score)| score).collect())
            }
            JudgedMeasure::GatesL1 => self.gates(Penalty::L1, watch),
            JudgedMeasure::GatesL0 => self.gates(Penalty::L0, watch),
            JudgedMeasure::QueryNorm | JudgedMeasure::KeyNorm | JudgedMeasure::ValueNorm => {
                let found = norms(self.model, self.sample, &self.work, watch)?;
                let of = match measure {
                    JudgedMeasure::QueryNorm => found.query,
                    JudgedMeasure::KeyNorm => found.key,
                    _ => found.value,
                };
                let heads = self.model.architecture().num_heads;
                let live = self.model.model().heads();
                Ok(live.map(|id| of[id.layer * heads + id.head]).collect())
            }
        }
    }

    fn of_gradients(
        &mut self,
        measure: Measure,
        watch: &mut dyn Watch,
    ) -> Result<Vec<Score>, Error> {
        let units = self.args.units.units();
        if let (None, Measure::Random { .. }) = (&self.taken, measure) {
            // Draws need no gradients.
            let counts = Groups::of(self.model.model()).counts();
            return Ok(of_units(
                units,
                measure,
                &Gradients::new(counts, Vec::new(), &[]),
            ));
        }
        let taken = match self.taken.take() {
            Some(taken) => taken,
            None => gradients(self.model, self.sample, &self.work, watch)?,
        };
        let scores = of_units(units, measure, &taken);
        self.taken = Some(taken);
        Ok(scores)
    }

    fn without_heads(&self, watch: &mut dyn Watch) -> Result<Vec<Score>, Error> {
        let masked = MaskedModel::new(self.model, None, false)?;
        let heads: Vec<HeadId> = self.model.model().heads().collect();
        let state = AblationState::new(
            self.model,
            &masked,
            self.corpus,
            Some(&heads),
            Ablated::Head,
        )?;
        let mut progress = Progress::new(state);
        drive(
            masked.model(),
            self.sample,
            &mut progress,
            &self.work,
            watch,
        )?;
        let found = bertology::drive::Study::finish(progress.study())?;
        let score = |without: &bertology::ablation::WithoutHead| Score {
            value: without.loss_change,
            error: Some(without.paired.loss_standard_error).filter(|error| error.is_finite()),
        };
        Ok(found.without.iter().map(score).collect())
    }

    fn without_layers(&self, watch: &mut dyn Watch) -> Result<Vec<Score>, Error> {
        let mut loss = |model: &LoadedModel| -> Result<f64, Error> {
            let (corpus, sample) = (self.corpus, self.sample);
            Ok(evaluate_some(model, corpus, sample, None, &self.work, watch)?.loss)
        };
        let whole = loss(self.model)?;
        let counts = Groups::of(self.model.model()).counts();
        let layers = self.model.architecture().num_layers;
        let mut scores = Vec::with_capacity(layers);
        for layer in 0..layers {
            let stays = |(group, count): (usize, &usize)| vec![group / 2 != layer; *count];
            let keep: PerUnit<bool> = counts.iter().enumerate().map(stays).collect();
            let smaller = compress(self.model, &keep, None, self.work.all(), &mut ())?.model;
            scores.push(Score {
                value: loss(&smaller)? - whole,
                error: None,
            });
        }
        Ok(scores)
    }

    fn gates(&self, penalty: Penalty, watch: &mut dyn Watch) -> Result<Vec<Score>, Error> {
        let default = GateOptions::new(penalty, self.seed);
        let options = GateOptions {
            steps: self.args.gate_steps.map_or(default.steps, usize::from),
            weight: self.args.gate_weight.unwrap_or(default.weight),
            ..default
        };
        let found = learn_gates(self.model, self.sample, &options, &self.work, watch)?;
        let score = |value| Score { value, error: None };
        Ok(found.scores.into_iter().map(score).collect())
    }
}

fn of_units(units: Units, measure: Measure, gradients: &Gradients) -> Vec<Score> {
    match units {
        Units::Layers => {
            let of = measure.estimates(&gradients.layers());
            of.into_iter().flatten().collect()
        }
        _ => units.of(&measure.estimates(gradients)),
    }
}

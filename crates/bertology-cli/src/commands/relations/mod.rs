//! `bertology relations`: whether attention follows labelled pairs, and what `bertology contacts` shares with it.

mod output;
mod shown;
mod train;

use std::path::Path;

use bertology::attention::relations::{
    Distances, HeadRegression, LabelWeights, RelationOptions, RelationPassages, RelationSettings,
    RelationSource, Relations,
};
use bertology::data::ReadOptions;
use bertology::data::relations::{CONTACT, RelationFile};
use bertology::input::windows::TooLong;
use bertology::LoadedModel;
use serde_json::json;

use crate::args::relations::{AskedArgs, RelationsArgs};
use crate::args::{SequenceArgs, WorkArgs};
use crate::command::{Ended, Shown, Stage, StudyCommand};
use crate::failure::Failure;
use crate::record::Run;
use crate::run_folder::RunFolder;
use crate::session::{Opened, failure};
use crate::show::Screen;
use crate::show::text::{count, plural};
use train::{Trained, TrainedOn};

/// What is opened besides the model.
pub(crate) struct Input {
    passages: RelationPassages,
    settings: RelationSettings,
    /// Fitted for this run, or by an earlier one.
    trained: Option<Trained>,
    /// The checkpoint's own.
    own: Option<HeadRegression>,
}

/// What the two commands have in common: both are studies of [`Relations`].
pub(super) struct Asked<'a> {
    pub(super) sequence: &'a SequenceArgs,
    pub(super) asked: &'a AskedArgs,
    pub(super) work: &'a WorkArgs,
    pub(super) settings: RelationSettings,
}

impl Asked<'_> {
    pub(super) fn open(
        self,
        opened: &Opened,
        source: RelationSource,
        train: Option<RelationSource>,
        screen: &Screen,
    ) -> Result<Input, Failure> {
        let Self { sequence, asked, work, mut settings } = self;
        sequence.refuse_stride()?;
        settings.rows = asked.row_mode.mode();
        settings.least_attention = asked.min_attention;
        if !asked.distances.is_empty() {
            settings.distances = asked.distances.iter().map(|of| of.0.clone()).collect();
        }
        settings.check().map_err(|e| failure(&e))?;
        let options = RelationOptions {
            max_length: sequence.max_length(),
            too_long: sequence.too_long().unwrap_or(TooLong::Skip),
            bos: sequence.bos,
        };
        let read = |source| {
            RelationPassages::new(&opened.model, source, options).map_err(|e| failure(&e))
        };
        let passages = read(source)?;
        let trained = match (train, &asked.regression) {
            (Some(source), _) => {
                let on = TrainedOn {
                    passages: &read(source)?,
                    settings: &settings,
                    asked,
                    work,
                };
                Some(train::train(opened, &on, screen)?)
            }
            (None, Some(file)) => Some(Trained::read(file)?),
            (None, None) => None,
        };
        Ok(Input {
            own: of_checkpoint(&opened.model, &settings),
            passages,
            settings,
            trained,
        })
    }
}

impl Input {
    pub(super) fn identity(&self, run: &mut Run) {
        let info = self.passages.info();
        run.set_data(
            Some(info.sha256.clone()),
            json!({ "file": info, "max_length": self.passages.max_length() }),
        );
        // The names of files say nothing; their content does.
        let regression = self.trained.as_ref().map(Trained::sha256);
        run.identity.set("regression", json!(regression));
    }

    pub(super) fn stages<'a, C>(&'a self, opened: &'a Opened) -> Result<Vec<Stage<'a, C>>, Failure>
    where
        C: StudyCommand<Supply = RelationPassages, Study = Relations>,
    {
        let trained = self.trained.iter().map(|trained| &trained.regression);
        let regressions = trained.chain(&self.own).cloned().collect();
        let study =
            Relations::new(&opened.model, &self.passages, self.settings.clone(), regressions);
        let study = study.map_err(|e| failure(&e))?;
        Ok(vec![Stage::new(&opened.model, &self.passages, study)])
    }

    pub(super) fn headline(&self, opened: &Opened, unit: &str) -> String {
        let (layers, heads) = opened.shape();
        let info = self.passages.info();
        let counts = &info.counts;
        let mut text = format!(
            "{}: {layers} layers of {heads} heads\n{}: {}, {}, {} of {}",
            opened.located.name,
            info.path.display(),
            plural(counts.records, unit),
            plural(counts.units, "unit"),
            plural(counts.pairs(), "related pair"),
            plural(counts.labels.len() as u64, "label"),
        );
        if counts.unused > 0 {
            text.push_str(&format!("; contacts of {} others are not used", count(counts.unused)));
        }
        if let Some(trained) = &self.trained {
            text.push_str(&format!("\n{}", trained.say()));
        }
        if self.own.is_some() {
            text.push_str("\nThe checkpoint has a contact head, which is scored, too");
        }
        text
    }

    pub(super) fn results(&self, ended: &mut Ended<'_>, studies: Vec<Relations>) -> Result<Shown, Failure> {
        let study = super::only(studies)?;
        if let Some(folder) = ended.folder {
            output::write(folder, &study, self.trained.as_ref())?;
        }
        Ok(Shown {
            results: json!(output::results(&study)),
            text: shown::text(&study, ended.time),
        })
    }
}

impl StudyCommand for RelationsArgs {
    const NAME: &'static str = "relations";

    type Input = Input;
    type Supply = RelationPassages;
    type Study = Relations;

    fn open(&self, opened: &Opened, screen: &Screen) -> Result<Input, Failure> {
        let source = |path: &Path| {
            let options = ReadOptions { limit: self.own.asked.limit, ..ReadOptions::default() };
            RelationSource::File(RelationFile::new(path).with_options(options))
        };
        let asked = Asked {
            sequence: &self.input.sequence,
            asked: &self.own.asked,
            work: &self.work,
            settings: RelationSettings {
                symmetric: self.own.symmetric,
                apc: self.own.apc,
                ..RelationSettings::default()
            },
        };
        let train = self.input.train.as_deref().map(source);
        asked.open(opened, source(&self.input.data), train, screen)
    }

    fn identity(&self, input: &Input, run: &mut Run) {
        input.identity(run);
    }

    fn stages<'a>(
        &self,
        opened: &'a Opened,
        input: &'a Input,
        _: Option<&RunFolder>,
    ) -> Result<Vec<Stage<'a, Self>>, Failure> {
        input.stages(opened)
    }

    fn unit(&self, _: &Input) -> &'static str {
        "text"
    }

    fn headline(&self, opened: &Opened, input: &Input) -> Result<String, Failure> {
        Ok(input.headline(opened, "text"))
    }

    fn results(
        &self,
        ended: &mut Ended<'_>,
        input: &Input,
        studies: Vec<Relations>,
    ) -> Result<Shown, Failure> {
        input.results(ended, studies)
    }
}

/// The regression that the checkpoint has, where maps are made as it reads them.
fn of_checkpoint(model: &LoadedModel, settings: &RelationSettings) -> Option<HeadRegression> {
    let (weights, bias) = model.model().contact_weights()?;
    let architecture = model.architecture();
    (settings.symmetric && settings.apc).then(|| HeadRegression {
        name: "contact head".to_owned(),
        layers: architecture.num_layers,
        heads: architecture.num_heads,
        symmetric: true,
        apc: true,
        labels: vec![LabelWeights {
            label: CONTACT.to_owned(),
            bias,
            weights,
        }],
    })
}

/// As tables have it.
fn range(distances: &Distances) -> String {
    let Distances { name, least, most } = distances;
    match most {
        Some(most) => format!("{name} ({least} to {most})"),
        None if *least == 1 => name.clone(),
        None => format!("{name} ({least} and more)"),
    }
}

//! `bertology contacts`: whether attention follows the contacts of proteins.

use std::path::Path;

use bertology::attention::relations::{
    RelationPassages, RelationSettings, RelationSource, Relations,
};
use bertology::data::relations::Proteins;

use super::relations::{Asked, Input};
use crate::args::relations::ContactsArgs;
use crate::command::{Ended, Shown, Stage, StudyCommand};
use crate::failure::Failure;
use crate::record::Run;
use crate::run_folder::RunFolder;
use crate::session::{Opened, failure};
use crate::show::Screen;

impl StudyCommand for ContactsArgs {
    const NAME: &'static str = "contacts";

    type Input = Input;
    type Supply = RelationPassages;
    type Study = Relations;

    fn open(&self, opened: &Opened, screen: &Screen) -> Result<Input, Failure> {
        let source = |fasta: &Path, contacts: &Path| {
            let proteins = Proteins::new(fasta, contacts, self.own.asked.limit);
            let proteins = proteins.map_err(|error| failure(&error.into()))?;
            Ok::<_, Failure>(RelationSource::Proteins(proteins))
        };
        let asked = Asked {
            sequence: &self.input.sequence,
            asked: &self.own.asked,
            work: &self.work,
            settings: RelationSettings::of_contacts(),
        };
        let train = match (&self.input.train_fasta, &self.input.train_contacts) {
            (Some(fasta), Some(contacts)) => Some(source(fasta, contacts)?),
            _ => None,
        };
        asked.open(opened, source(&self.input.fasta, &self.input.contacts)?, train, screen)
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
        "protein"
    }

    fn headline(&self, opened: &Opened, input: &Input) -> Result<String, Failure> {
        Ok(input.headline(opened, "protein"))
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

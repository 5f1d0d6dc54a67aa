//! `bertology merge`: the parts of a run put together.

use std::path::{Path, PathBuf};

use bertology_run::FolderError;
use clap::Parser;

use super::Done;
use crate::args::{Cli, MergeArgs};
use crate::command::Start;
use crate::failure::Failure;
use crate::parts::{self, Parts};
use crate::run_folder::RunFolder;
use crate::show::Screen;

pub(crate) fn run(args: &MergeArgs, screen: &Screen) -> Result<Done, Failure> {
    match RunFolder::check(&args.output, args.overwrite, false) {
        Err(FolderError::NotEmpty {
            path,
            interrupted: true,
        }) => {
            return Err(Failure::input(format!(
                "--output {}: it holds a run that was interrupted; put the parts together again with \
                 --overwrite",
                path.display()
            )));
        }
        checked => checked?,
    }
    for part in &args.parts {
        parts::at_rest(part)?;
    }
    let absolute =
        |path: &Path| std::path::absolute(path).map_err(|error| Failure::io("find", path, &error));
    let folders = args.parts.iter().map(|part| absolute(part));
    let folders: Vec<PathBuf> = folders.collect::<Result<_, _>>()?;
    let output = absolute(&args.output)?;
    let parts = Parts::open(&folders)?;
    let (arguments, directory) = parts.command_line();
    let words = std::iter::once("bertology").chain(arguments.iter().map(String::as_str));
    let cli = Cli::try_parse_from(crate::args::normalise(words.map(Into::into)));
    let mut command = cli
        .map_err(|error| {
            Failure::input(format!(
                "the command that made the parts is none of this version: {error}"
            ))
        })?
        .command;
    // Its files are named as seen from there.
    let _back = Back(std::env::current_dir().ok());
    std::env::set_current_dir(directory).map_err(|error| {
        Failure::input(format!(
            "the parts were made in {}, which cannot be entered ({error}); merge where model and \
             data lie as they did then",
            directory.display()
        ))
    })?;
    let Some(written) = super::written(&mut command) else {
        return Err(Failure::input(
            "the command that made the parts has no parts in this version",
        ));
    };
    written.grid.part = None;
    written.resume.resume = false;
    // Nothing is computed that would need a card.
    written.computing.place.device = bertology::Device::Cpu;
    written.output.output = Some(output);
    written.output.overwrite = args.overwrite;
    if let Some(kinds) = parts.different_devices() {
        screen.note(&format!(
            "the parts were computed on different kinds of devices ({kinds}), which round differently: the numbers are those of \
             either to about five digits"
        ));
    }
    super::run(command, Start::Parts(&parts), screen)
}

/// Goes back to this directory at the end, for whoever runs more than one command.
struct Back(Option<PathBuf>);

impl Drop for Back {
    fn drop(&mut self) {
        if let Some(directory) = &self.0 {
            // It may be gone by now, and then there is nowhere to go back to.
            let _ = std::env::set_current_dir(directory);
        }
    }
}

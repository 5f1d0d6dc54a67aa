//! `bertology completions` and `bertology man`: what shells and `man` know of the command, from the definitions that it
//! obeys.

use clap::CommandFactory;
use serde_json::json;

use super::Done;
use crate::args::{Cli, CompletionsArgs, ManArgs};
use crate::failure::Failure;
use crate::show::Screen;
use crate::show::text::plural;

/// A script for a shell.
pub(crate) fn completions(args: &CompletionsArgs, screen: &Screen) -> Result<Done, Failure> {
    let mut script = Vec::new();
    let mut cli = Cli::command();
    clap_complete::generate(args.shell, &mut cli, "bertology", &mut script);
    let script = String::from_utf8_lossy(&script);
    screen.say(script.trim_end());
    Ok(json!({ "shell": args.shell.to_string(), "script": script }).into())
}

/// A page for the command and each of its commands.
pub(crate) fn man(args: &ManArgs, screen: &Screen) -> Result<Done, Failure> {
    let folder = &args.folder;
    std::fs::create_dir_all(folder).map_err(|error| Failure::io("create", folder, &error))?;
    let written = clap_mangen::generate_to(Cli::command(), folder);
    written.map_err(|error| Failure::io("write into", folder, &error))?;
    let names = bertology_file::names(folder);
    let names = names.map_err(|error| Failure::io("read", folder, &error))?;
    let pages: Vec<String> = names
        .into_iter()
        .filter(|name| name.ends_with(".1"))
        .collect();
    screen.say(&format!(
        "{} are in {}",
        plural(pages.len() as u64, "manual page"),
        folder.display()
    ));
    Ok(json!({ "folder": folder, "pages": pages }).into())
}

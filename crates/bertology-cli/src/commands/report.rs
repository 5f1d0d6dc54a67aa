//! `bertology report`: the page of a run, made again from its folder.

use serde_json::json;

use super::Done;
use crate::args::ReportArgs;
use crate::failure::Failure;
use crate::pages;
use crate::run_folder::REPORT;
use crate::show::Screen;
use crate::show::text::plural;

pub(crate) fn run(args: &ReportArgs, screen: &Screen) -> Result<Done, Failure> {
    let run = pages::open(&args.run)?;
    let document = bertology_report::report(&run).map_err(|error| pages::failure(&error.into()))?;
    pages::unchanged(&run)?;
    let path = args.run.join(REPORT);
    pages::write_page(&path, &document)?;
    for note in document.notes() {
        screen.note(note);
    }
    screen.say(&format!("The page is {}", path.display()));
    let figures = match &args.figures {
        None => Vec::new(),
        Some(folder) => {
            let files = pages::write_figures(folder, &document)?;
            let number = plural(files.len() as u64, "figure");
            screen.say(&format!("{number} are in {}", folder.display()));
            files
        }
    };
    let document = json!({
        "command": run.command(),
        "report": path,
        "figures": figures,
        "notes": document.notes(),
    });
    Ok(document.into())
}

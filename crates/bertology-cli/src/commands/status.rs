//! `bertology status`: how far the parts of a run are.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::Done;
use crate::args::StatusArgs;
use crate::failure::Failure;
use crate::parts::{self, Standing};
use crate::run_folder::{Identity, RunFolder};
use crate::show::Screen;
use crate::show::text::count;

pub(crate) fn run(args: &StatusArgs, screen: &Screen) -> Result<Done, Failure> {
    let mut rows = Vec::new();
    let mut there = BTreeSet::new();
    let (mut of, mut unfinished) = (0, 0);
    let mut first: Option<(&PathBuf, Identity)> = None;
    for folder in &args.parts {
        let running = RunFolder::holder(folder);
        let by = match &running {
            None => String::new(),
            Some(None) => "\n              a process is at work on it".to_owned(),
            Some(Some(holder)) => format!("\n              {holder} is at work on it"),
        };
        let Some(found) = Standing::of(folder)? else {
            screen.say(&(line("?", "nothing saved", folder) + &by));
            rows.push(json!({
                "folder": folder,
                "part": null,
                "finished": false,
                "running": running.is_some(),
                "holder": running.flatten(),
            }));
            continue;
        };
        if let Some((path, first)) = &first {
            parts::same(folder, &found.identity, path, first)?;
        }
        let (done, total) = found.units;
        let how = match found.finished {
            true => "finished".to_owned(),
            false => format!("{} of {} units", count(done), count(total)),
        };
        screen.say(&(line(&found.part.to_string(), &how, folder) + &by));
        rows.push(json!({
            "folder": folder,
            "part": found.part.to_string(),
            "finished": found.finished,
            "running": running.is_some(),
            "holder": running.flatten(),
            "done": done,
            "total": total,
        }));
        of = of.max(found.part.of);
        unfinished += u64::from(!found.finished);
        there.insert(found.part.number);
        first.get_or_insert((folder, found.identity));
    }
    let missing: Vec<String> = (1..=of)
        .filter(|number| !there.contains(number))
        .map(|number| format!("{number}/{of}"))
        .collect();
    screen.say(&match (missing.is_empty(), unfinished) {
        _ if of == 0 => "No part has saved anything yet".to_owned(),
        (true, 0) => "All parts are there; `bertology merge` puts them together".to_owned(),
        (true, _) => format!("{unfinished} of {of} parts are not finished"),
        (false, _) => format!(
            "Missing: {}; {unfinished} more not finished",
            missing.join(" ")
        ),
    });
    let document = json!({ "command": "status", "parts": rows, "missing": missing });
    Ok(Done {
        not_yet: of == 0 || unfinished > 0 || !missing.is_empty(),
        ..document.into()
    })
}

fn line(part: &str, how: &str, folder: &Path) -> String {
    format!("part {part:>7}  {how:<24}  {}", folder.display())
}

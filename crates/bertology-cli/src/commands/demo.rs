//! `bertology demo`: importance, mask and prune on the built-in model, by the commands themselves.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use serde_json::{Value, json};

use super::Done;
use crate::args::{Cli, Command, DemoArgs};
use crate::failure::Failure;
use crate::run_folder::RunFolder;
use crate::show::Screen;
use crate::show::text::{count, percent};

macro_rules! assets {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_bytes!(concat!("../../../../assets/", $path)))),*]
    };
}

/// The model and the data, as they lie in the repository.
const FILES: &[(&str, &[u8])] = assets![
    "tiny-bert/config.json",
    "tiny-bert/model.safetensors",
    "tiny-bert/special_tokens_map.json",
    "tiny-bert/tokenizer.json",
    "tiny-bert/tokenizer_config.json",
    "tiny-bert/vocab.txt",
    "grammar/CoLA/dev.tsv",
];
const MODEL: &str = "tiny-bert";
const DATA: &str = "grammar";

pub(crate) fn run(args: &DemoArgs, screen: &Screen) -> Result<Done, Failure> {
    RunFolder::check(&args.output, args.overwrite, false)?;
    unpack(&args.output)?;
    screen.say(&format!(
        "The built-in model is a small BERT that tells acceptable sentences of a made-up\n\
         corpus from broken ones (\"Every horse behind some houses run.\"). Model and data\n\
         are now in {},\nand every command below is one that you can type.",
        args.output.display()
    ))?;

    let demo = Demo { args, screen };
    let importance = demo.step("importance")?;
    let (right, all) = right(&args.output.join("importance/predictions.csv"))?;
    screen.say(&format!(
        "\n{} of {} sentences are judged rightly ({}; guessing gives 50 %).\n\
         Some heads matter much more than others. How many can be switched off before the\n\
         score falls by a tenth?",
        count(right),
        count(all),
        percent(right, all)
    ))?;
    let mask = demo.step("mask")?;
    screen.say(
        "\nThe weights of masked heads still lie in the file and in memory. Now the same\n\
         heads are removed for good:",
    )?;
    let prune = demo.step("prune")?;

    let folder = args.output.display();
    screen.say(&format!(
        "\n{}\n\nEverything is in {folder}:\narrays for NumPy, tables, run.json, and the pruned \
         checkpoint, which\ntransformers 4 loads as it is.\n\n\
         Next, a real model (a folder, or a name on the Hugging Face hub) on GLUE data:\n\n  \
         bertology inspect textattack/bert-base-uncased-MRPC\n  \
         bertology importance textattack/bert-base-uncased-MRPC --task mrpc \\\n      \
         --data glue_data --output out",
        rule()
    ))?;
    Ok(json!({
        "command": "demo",
        "folder": args.output,
        "right": right,
        "examples": all,
        "importance": importance,
        "mask": mask,
        "prune": prune,
    })
    .into())
}

fn rule() -> String {
    "-".repeat(72)
}

fn unpack(folder: &Path) -> Result<(), Failure> {
    for (name, bytes) in FILES {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        RunFolder::open(parent, false)?.write(&name, bytes)?;
    }
    Ok(())
}

struct Demo<'a> {
    args: &'a DemoArgs,
    screen: &'a Screen,
}

impl Demo<'_> {
    /// Runs a command as if it had been typed.
    fn step(&self, command: &str) -> Result<Value, Failure> {
        let at = |name: &str| -> PathBuf { self.args.output.join(name) };
        let mut words: Vec<OsString> = vec!["bertology".into(), command.into(), at(MODEL).into()];
        words.extend(["--task".into(), "cola".into()]);
        words.extend(["--data".into(), at(DATA).into()]);
        words.extend(["--output".into(), at(command).into()]);
        if command == "prune" {
            words.extend(["--mask".into(), at("mask/head_mask.npy").into()]);
        }
        if let Some(threads) = self.args.threads {
            words.extend(["--threads".into(), threads.to_string().into()]);
        }
        let shown: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        self.screen
            .say(&format!("\n{}\n$ {}\n", rule(), wrapped(&shown)))?;
        if self.args.overwrite {
            words.push("--overwrite".into());
        }
        let cli = Cli::try_parse_from(words)
            .map_err(|error| Failure::work(format!("the demonstration is at fault: {error}")))?;
        let done = match cli.command {
            Command::Importance(args) => super::importance::run(args, self.screen)?,
            Command::Mask(args) => super::mask::run(args, self.screen)?,
            Command::Prune(args) => super::prune::run(*args, self.screen)?,
            _ => return Err(Failure::work("the demonstration has no such step")),
        };
        Ok(done.document)
    }
}

/// A command line on at most 80 columns, as far as its words allow: an option stays with its value.
fn wrapped(words: &[impl AsRef<str>]) -> String {
    let mut text = String::new();
    let mut column = 2;
    for (at, word) in words.iter().map(AsRef::as_ref).enumerate() {
        let value = words.get(at + 1).map_or(0, |next| next.as_ref().len() + 1);
        if word.starts_with("--") && column + 1 + word.len() + value > 78 {
            text.push_str(" \\\n    ");
            column = 4;
        } else if at > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += word.len();
    }
    text
}

/// How many predictions are right, of how many.
fn right(path: &Path) -> Result<(u64, u64), Failure> {
    let text = fs::read_to_string(path).map_err(|error| Failure::io("read", path, &error))?;
    let rows = text.lines().skip(1).map(|line| line.split(','));
    let verdicts = rows.map(|mut fields| fields.nth(2) == fields.next());
    Ok(verdicts.fold((0, 0), |(right, all), verdict| {
        (right + u64::from(verdict), all + 1)
    }))
}

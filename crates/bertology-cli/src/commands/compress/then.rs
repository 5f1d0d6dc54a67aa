//! `--then finetune`: the smaller checkpoint recovers, with the whole model as its teacher.

use std::ffi::OsString;
use std::path::Path;

use bertology::Corpus;
use clap::Parser;
use serde_json::Value;

use super::{CompressArgs, choose_on};
use crate::args::{self, Cli, Command, DataArgs};
use crate::commands::finetune::{self, FinetuneArgs};
use crate::data;
use crate::failure::Failure;
use crate::run_folder;
use crate::session::{self, Opened};
use crate::show::Screen;
use crate::show::text::shell_word;

/// Where the trained model goes, in the run's folder.
const FINETUNED: &str = "finetuned";

/// Takes away what an earlier run in this folder has trained, of a checkpoint that is there no more.
pub(super) fn clear(folder: &Path) -> Result<(), Failure> {
    let place = folder.join(FINETUNED);
    if place.join(run_folder::RUN).exists() {
        let earlier = run_folder::open(&place, true, false)?;
        earlier.clear(None)?;
        drop(earlier);
        // What the run did not write stays, and the folder with it.
        let _ = std::fs::remove_dir(&place);
    }
    Ok(())
}

/// The training as a command of its own: its words, and what they mean.
pub(super) struct Recovery {
    words: Vec<String>,
    args: Box<FinetuneArgs>,
    /// The passes of what came before do not run on the processor.
    elsewhere: bool,
}

impl Recovery {
    /// For what compresses with these options; nothing without `--then`.
    ///
    /// # Errors
    /// Data that give nothing to train on but what is scored.
    pub(super) fn of(
        args: &CompressArgs,
        (opened, corpus): (&Opened, &Corpus),
        seed: Option<u64>,
        model: &Path,
        folder: &Path,
    ) -> Result<Option<Self>, Failure> {
        if args.then.is_none() {
            return Ok(None);
        }
        let Some(what) = choose_on(args.choose_on.as_deref(), &args.data) else {
            return Err(Failure::input(
                "--then finetune trains on the data that units are chosen on; name other data than those that are scored with \
                 --choose-on",
            ));
        };
        let mut words = vec!["bertology".to_owned(), "finetune".to_owned()];
        words.push(model.to_string_lossy().into_owned());
        let data = data::elsewhere(&args.data, what)?;
        if data.source.task.is_some() && data.source.split.as_deref() == Some("dev") {
            return Err(Failure::input(format!(
                "--then finetune scores on the dev split on its way, and --choose-on {what} would train on it; choose on train, or                  leave --then out"
            )));
        }
        words.extend(words_of(&data));
        // A teacher is asked for classes or numbers of whole texts.
        if corpus.labels().is_some() {
            words.push("--distill".into());
            words.push(opened.located.folder.to_string_lossy().into_owned());
        }
        let (data, source) = (&args.data, &args.data.source);
        let own = data
            .ner
            .as_ref()
            .or(data.squad.as_ref())
            .or(source.text.as_ref());
        let own = own.or(source.token_ids.as_ref()).or(source.data.as_ref());
        if let (Some(dev), None) = (own, &source.task) {
            words.push("--dev".into());
            words.push(dev.to_string_lossy().into_owned());
        }
        let numbers = [
            ("--threads", args.work.threads.map(|n| n.to_string())),
            (
                "--tokens-per-batch",
                args.work.tokens_per_batch.map(|n| n.to_string()),
            ),
            ("--seed", seed.map(|n| n.to_string())),
        ];
        for (option, number) in numbers {
            words.extend(
                number
                    .into_iter()
                    .flat_map(|number| [option.to_owned(), number]),
            );
        }
        let flags = [
            ("--offline", args.model.offline),
            ("--allow-unexpected", args.model.allow_unexpected),
        ];
        words.extend(
            flags
                .iter()
                .filter(|(_, given)| *given)
                .map(|(name, _)| (*name).to_owned()),
        );
        if args.output.overwrite {
            words.push("--overwrite".into());
        }
        words.push("--output".into());
        words.push(folder.join(FINETUNED).to_string_lossy().into_owned());
        let parsed = Cli::try_parse_from(args::normalise(words.iter().map(OsString::from)));
        match parsed.map(|cli| cli.command) {
            Ok(Command::Finetune(args)) => Ok(Some(Self {
                words,
                args,
                elsewhere: session::other_device(&opened.model).is_some(),
            })),
            Ok(_) => Err(Failure::input("--then knows finetune alone")),
            // Its first line names the option; finetune's usage says nothing to who compresses.
            Err(error) => {
                let said = error.render().to_string();
                let said = said.lines().next().unwrap_or_default();
                let said = said.trim_start_matches("error: ");
                Err(Failure::input(format!(
                    "--then finetune: {said} by finetune; leave --then out, and run `bertology finetune` on the result by itself"
                )))
            }
        }
    }

    /// Trains; an interruption says how to go on.
    pub(super) fn run(self, screen: &Screen) -> Result<Value, Failure> {
        let words: Vec<String> = self.words.iter().map(|word| shell_word(word)).collect();
        let words = words.join(" ").replace(" --overwrite ", " ");
        screen.say(&format!("\nThe smaller model recovers:\n  {words}"));
        if self.elsewhere {
            screen.note(
                "the processor trains; --device is where the smaller model was found and scored",
            );
        }
        match finetune::run(*self.args, screen) {
            Ok(done) => Ok(done.document),
            Err(Failure::Interrupted(_)) => Err(Failure::Interrupted(format!(
                "interrupted while the smaller model was trained; it is written, and the training goes on with {words} --resume"
            ))),
            Err(error) => Err(error),
        }
    }
}

/// Options as they are written on a command line.
fn words_of(data: &DataArgs) -> Vec<String> {
    let Ok(Value::Object(fields)) = serde_json::to_value(data) else {
        return Vec::new();
    };
    let mut words = Vec::new();
    for (name, value) in fields {
        let option = format!("--{}", name.replace('_', "-"));
        let text = match value {
            Value::Null | Value::Bool(false) => continue,
            Value::Bool(true) => {
                words.push(option);
                continue;
            }
            Value::String(text) => text,
            Value::Array(list) => {
                let list: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
                list.join(",")
            }
            other => other.to_string(),
        };
        words.extend([option, text]);
    }
    words
}

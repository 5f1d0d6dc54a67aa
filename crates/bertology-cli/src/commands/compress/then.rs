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
use crate::session::Opened;
use crate::show::Screen;
use crate::show::text::shell_word;

/// Where the trained model goes, in the run's folder.
const FINETUNED: &str = "finetuned";

/// The training as a command of its own: its words, and what they mean.
pub(super) struct Recovery {
    words: Vec<String>,
    args: Box<FinetuneArgs>,
}

impl Recovery {
    /// For what compresses with these options; nothing without `--then`.
    ///
    /// # Errors
    /// Data that give nothing to train on but what is scored.
    pub(super) fn of(
        args: &CompressArgs,
        opened: &Opened,
        corpus: &Corpus,
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
        words.extend(words_of(&data::elsewhere(&args.data, what)?));
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
        if let Some(threads) = args.work.threads {
            words.push("--threads".into());
            words.push(threads.to_string());
        }
        if args.output.overwrite {
            words.push("--overwrite".into());
        }
        words.push("--output".into());
        words.push(folder.join(FINETUNED).to_string_lossy().into_owned());
        let parsed = Cli::try_parse_from(args::normalise(words.iter().map(OsString::from)));
        match parsed.map(|cli| cli.command) {
            Ok(Command::Finetune(args)) => Ok(Some(Self { words, args })),
            Ok(_) => Err(Failure::input("--then knows finetune alone")),
            Err(error) => Err(Failure::command_line(&error)),
        }
    }

    /// Trains; an interruption says how to go on.
    pub(super) fn run(self, screen: &Screen) -> Result<Value, Failure> {
        let words: Vec<String> = self.words.iter().map(|word| shell_word(word)).collect();
        let words = words.join(" ").replace(" --overwrite ", " ");
        screen.say(&format!("\nThe smaller model recovers:\n  {words}"));
        match finetune::run(*self.args, screen) {
            Ok(done) => Ok(done.document),
            Err(Failure::Interrupted(_)) => Err(Failure::Interrupted(format!(
                "interrupted while the smaller model was trained; it is written, and the training goes on with\n  {words} --resume"
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

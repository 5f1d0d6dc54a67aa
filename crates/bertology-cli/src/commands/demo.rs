//! `bertology demo`: importance, mask and prune on a built-in model, by the commands themselves.

#[cfg(feature = "code")]
mod cat;
mod edge;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use bertology_run::Rows;
use bertology_run::rows::PredictionRow;
use clap::Parser;
use serde_json::{Value, json};

use super::Done;
use crate::args::{Cli, DemoArgs, DemoModel, DemoStory};
use crate::assets::{Asset, assets, weights};
use crate::command::Start;
use crate::failure::Failure;
use crate::pages;
use crate::run_folder::{self, PREDICTIONS, RunFolder};
use crate::show::Screen;
use crate::show::text::{count, percent};

/// A built-in model with its data, and what is said of them.
struct Story {
    model: &'static str,
    weights: Asset,
    /// The model's other files, and the data.
    files: &'static [Asset],
    /// The options that name the data; what follows `@` lies in the output folder.
    data: &'static [&'static str],
    opening: &'static str,
    /// Before heads are masked.
    middle: &'static str,
    /// A real model to go on with.
    next: &'static str,
}

impl Story {
    fn assets(&self) -> impl Iterator<Item = Asset> + use<> {
        std::iter::once(self.weights).chain(self.files.iter().copied())
    }
}

const TINY_BERT: Story = Story {
    model: "tiny-bert",
    weights: weights!("tiny-bert"),
    files: assets![
        "tiny-bert/config.json",
        "tiny-bert/special_tokens_map.json",
        "tiny-bert/tokenizer.json",
        "tiny-bert/tokenizer_config.json",
        "tiny-bert/vocab.txt",
        "grammar/CoLA/dev.tsv",
    ],
    data: &["--task", "cola", "--data", "@grammar"],
    opening: "\
The built-in model is a small BERT that tells acceptable sentences of a made-up
corpus from broken ones (\"Every horse behind some houses run.\").",
    middle: "\
Some heads matter much more than others. How many can be switched off before the
score falls by a tenth?",
    next: "\
Next, a real model (a folder, or a name on the Hugging Face hub) on GLUE data:

  bertology inspect textattack/bert-base-uncased-MRPC
  bertology importance textattack/bert-base-uncased-MRPC --task mrpc \\
      --data glue_data --output out",
};

const LANGUAGE_MODEL_MIDDLE: &str = "\
No labels were needed: every word is predicted from those before it, and a head
matters as far as the prediction does. How many heads can be switched off before
the loss rises by a tenth?";

const LANGUAGE_MODEL_NEXT: &str = "\
Next, a real model (a folder, or a name on the Hugging Face hub) on any text:

  bertology inspect gpt2
  bertology importance gpt2 --text book.txt --documents file --output out";

const TINY_GPT: Story = Story {
    model: "tiny-gpt",
    weights: weights!("tiny-gpt"),
    files: assets![
        "tiny-gpt/config.json",
        "tiny-gpt/merges.txt",
        "tiny-gpt/special_tokens_map.json",
        "tiny-gpt/tokenizer.json",
        "tiny-gpt/tokenizer_config.json",
        "tiny-gpt/vocab.json",
        "grammar/dev.txt",
    ],
    data: &["--text", "@grammar/dev.txt"],
    opening: "\
The built-in model is a small GPT that has read 40,000 sentences of a made-up
corpus, and predicts 500 others word by word.",
    middle: LANGUAGE_MODEL_MIDDLE,
    next: LANGUAGE_MODEL_NEXT,
};

const TINY_GPT2: Story = Story {
    model: "tiny-gpt2",
    weights: weights!("tiny-gpt2"),
    files: assets![
        "tiny-gpt2/config.json",
        "tiny-gpt2/merges.txt",
        "tiny-gpt2/special_tokens_map.json",
        "tiny-gpt2/tokenizer.json",
        "tiny-gpt2/tokenizer_config.json",
        "tiny-gpt2/vocab.json",
        "grammar/dev.txt",
    ],
    // It has read every sentence behind an end mark, so the first word can be predicted too.
    data: &["--text", "@grammar/dev.txt", "--bos"],
    opening: "\
The built-in model is a small GPT-2 that has read 40,000 sentences of a made-up
corpus, and predicts 500 others word by word.",
    ..TINY_GPT
};

impl DemoModel {
    fn story(self) -> &'static Story {
        match self {
            Self::TinyBert => &TINY_BERT,
            Self::TinyGpt => &TINY_GPT,
            Self::TinyGpt2 => &TINY_GPT2,
        }
    }
}

pub(crate) fn run(args: &DemoArgs, screen: &Screen) -> Result<Done, Failure> {
    match args.story {
        DemoStory::Heads => heads(args, screen),
        DemoStory::EdgeProbe => edge::run(args, screen),
        #[cfg(feature = "code")]
        DemoStory::Cat => cat::run(args, screen),
    }
}

fn heads(args: &DemoArgs, screen: &Screen) -> Result<Done, Failure> {
    RunFolder::check(&args.output, args.overwrite, false)?;
    let story = args.model.story();
    // Nobody else tells the same story in it meanwhile.
    let _folder = run_folder::open(&args.output, args.overwrite, false)?;
    unpack(story.assets(), &args.output)?;
    screen.say(&format!(
        "{} Model and data\nare now in {},\nand every command below is one that you can type.",
        story.opening,
        args.output.display()
    ));

    let demo = Demo {
        args,
        story,
        screen,
    };
    let importance = demo.step("importance")?;
    let verdicts = (args.model == DemoModel::TinyBert)
        .then(|| right(&args.output.join("importance").join(PREDICTIONS)))
        .transpose()?;
    if let Some((right, all)) = verdicts {
        screen.say(&format!(
            "\n{} of {} sentences are judged rightly ({}; guessing gives 50 %).",
            count(right),
            count(all),
            percent(right, all)
        ));
    }
    screen.say(&format!("\n{}", story.middle));
    let mask = demo.step("mask")?;
    screen.say(
        "\nThe weights of masked heads still lie in the file and in memory. Now the same\n\
         heads are removed for good:",
    );
    let prune = demo.step("prune")?;

    let folder = args.output.display();
    screen.say(&format!(
        "\n{}\n\nEverything is in {folder}:\narrays for NumPy, tables, run.json, and the pruned \
         checkpoint, which\ntransformers 4 loads as it is.\n\n{}",
        rule(),
        story.next
    ));
    Ok(json!({
        "command": "demo",
        "model": story.model,
        "folder": args.output,
        "right": verdicts.map(|(right, _)| right),
        "examples": verdicts.map(|(_, all)| all),
        "importance": importance,
        "mask": mask,
        "prune": prune,
    })
    .into())
}

fn rule() -> String {
    "-".repeat(72)
}

fn unpack(files: impl Iterator<Item = Asset>, folder: &Path) -> Result<(), Failure> {
    for file in files {
        write(file.path, &file.bytes(), folder)?;
    }
    Ok(())
}

/// A file at a path with `/` in the folder.
fn write(path: &str, bytes: &[u8], folder: &Path) -> Result<(), Failure> {
    let path = folder.join(path);
    let parent = path.parent().unwrap_or(folder);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    RunFolder::open(parent)?.write(&name, bytes)?;
    Ok(())
}

/// Every built-in file.
pub fn files() -> impl Iterator<Item = Asset> {
    let all = [&TINY_BERT, &TINY_GPT, &TINY_GPT2];
    let all = all.into_iter().flat_map(Story::assets);
    let all = all.chain(edge::RECORDS.iter().copied());
    #[cfg(feature = "code")]
    let all = all.chain(cat::files());
    let trees = edge::TREES.as_bytes();
    all.chain([Asset::as_it_is("grammar/dev.conllu", trees)])
}

struct Demo<'a> {
    args: &'a DemoArgs,
    story: &'static Story,
    screen: &'a Screen,
}

impl Demo<'_> {
    /// Runs a command of the story.
    fn step(&self, command: &str) -> Result<Value, Failure> {
        let at = |name: &str| -> PathBuf { self.args.output.join(name) };
        let model = at(self.story.model);
        let mut words: Vec<OsString> = vec!["bertology".into(), command.into(), model.into()];
        words.extend(
            self.story
                .data
                .iter()
                .map(|word| match word.strip_prefix('@') {
                    Some(name) => at(name).into(),
                    None => OsString::from(word),
                }),
        );
        words.extend(["--output".into(), at(command).into()]);
        if command == "prune" {
            words.extend(["--mask".into(), at("mask/head_mask.npy").into()]);
        }
        self.args.typed(self.args.with_threads(words), self.screen)
    }
}

impl DemoArgs {
    fn with_threads(&self, mut words: Vec<OsString>) -> Vec<OsString> {
        if let Some(threads) = self.threads {
            words.extend(["--threads".into(), threads.to_string().into()]);
        }
        words
    }

    /// Shows a command and runs it as if it had been typed.
    fn typed(&self, mut words: Vec<OsString>, screen: &Screen) -> Result<Value, Failure> {
        let shown: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        screen.say(&format!("\n{}\n$ {}\n", rule(), wrapped(&shown)));
        if self.overwrite {
            words.push("--overwrite".into());
        }
        let cli = Cli::try_parse_from(words)
            .map_err(|error| Failure::work(format!("the demonstration is at fault: {error}")))?;
        Ok(super::run(cli.command, Start::Corpus, screen)?.document)
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
    let rows: Rows<PredictionRow> =
        Rows::read(path).map_err(|error| pages::failure(&error.into()))?;
    let right = rows.all.iter().filter(|row| row.label == row.prediction);
    Ok((right.count() as u64, rows.all.len() as u64))
}

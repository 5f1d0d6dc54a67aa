//! `bertology demo cat`: how a model that has read programs attends to their trees, and what it owes to positions.

use std::ffi::OsString;

use serde_json::json;

use super::{rule, unpack};
use crate::args::{DemoArgs, DemoModel};
use crate::assets::{Asset, assets, weights};
use crate::commands::Done;
use crate::failure::Failure;
use crate::run_folder::{self, RunFolder};
use crate::show::Screen;

const WEIGHTS: Asset = weights!("tiny-code");
const FILES: &[Asset] = assets![
    "tiny-code/config.json",
    "tiny-code/merges.txt",
    "tiny-code/special_tokens_map.json",
    "tiny-code/tokenizer.json",
    "tiny-code/tokenizer_config.json",
    "tiny-code/vocab.json",
    "code/functions.jsonl",
];

pub(super) fn files() -> impl Iterator<Item = Asset> {
    std::iter::once(WEIGHTS).chain(FILES.iter().copied())
}

const OPENING: &str = "\
The built-in model of code is a small RoBERTa that has read 70,000 generated
functions in Python, Java, JavaScript and Go, and guesses hidden tokens of others
(nearly every closing bracket). Does its attention follow their trees?";

const MEANING: &str = "\
Most of such a score is position: tokens that stand side by side are near in any
tree. `1/(1+d)` is attention that knows positions and nothing else; only a layer
above it, above its own mean at every distance and above its score against
distances in the text is said to attend to structure. The last column holds
position fast: what is left there is structure, however small.";

const NEXT: &str = "\
Next, a real model of code, and functions of your own:

  bertology cat-tree script.py --function main
  bertology cat microsoft/codebert-base --code src/ --output out";

pub(super) fn run(args: &DemoArgs, screen: &Screen) -> Result<Done, Failure> {
    if args.model != DemoModel::TinyBert {
        return Err(Failure::input(
            "--model: `demo cat` has a model of its own, which has read programs; leave --model out",
        ));
    }
    RunFolder::check(&args.output, args.overwrite, false)?;
    let _folder = run_folder::open(&args.output, args.overwrite, false)?;
    unpack(files(), &args.output)?;
    screen.say(&format!(
        "{OPENING} Model and data\nare now in {}, and the command below is one that you can type.",
        args.output.display()
    ));
    let out = args.output.join("cat");
    let mut words: Vec<OsString> = vec!["bertology".into(), "cat".into()];
    words.push(args.output.join("tiny-code").into());
    words.extend([
        "--code".into(),
        args.output.join("code/functions.jsonl").into(),
    ]);
    words.extend(["--output".into(), out.clone().into()]);
    let found = args.typed(args.with_threads(words), screen)?;
    screen.say(&format!(
        "\n{}\n{MEANING}\n\nCurves, kinds of tokens and a function to look at are in\n{}\n\n{NEXT}",
        rule(),
        out.join("report.html").display()
    ));
    Ok(json!({
        "command": "demo",
        "story": "cat",
        "model": "tiny-code",
        "folder": args.output,
        "cat": found,
    })
    .into())
}

//! `bertology export`: the model as a file for other runtimes.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use bertology::checkpoint::Checkpoint;
use bertology::onnx::{self, Options, Port, Size};
use bertology::{Error, OpenAs};
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use super::Done;
use crate::args::ModelArgs;
use crate::failure::Failure;
use crate::interrupt::{self, Graceful};
use crate::session::{self, failure};
use crate::show::Screen;
use crate::show::text::{bytes, count, shell_word};

pub(crate) const ABOUT: &str = "\
Write the model as one ONNX file, which onnxruntime and other runtimes compute without this program: every family \
and every head, checkpoints without some of their heads and neurons too, texts of any length that the model takes, \
padded or not.

On request every hidden state and every attention map are outputs of the file.";

/// `bertology export`
#[derive(Debug, Args, Serialize)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) model: ModelArgs,
    /// Write ONNX, which is the only format that there is.
    #[arg(long, help_heading = "Format")]
    pub(crate) onnx: bool,
    /// Give out hidden_states.0, the embeddings, to hidden_states.L.
    #[arg(long, help_heading = "Format")]
    pub(crate) hidden_states: bool,
    /// Give out attentions.0 to attentions.L-1, each [batch, heads, query, key] of the heads that are left.
    #[arg(long, help_heading = "Format")]
    pub(crate) attentions: bool,
    /// The file to write.
    #[arg(long, short, value_name = "FILE.onnx", help_heading = "Output")]
    pub(crate) output: Option<PathBuf>,
    /// Replace the file if it is there.
    #[arg(long, requires = "output", help_heading = "Output")]
    pub(crate) overwrite: bool,
}

pub(crate) fn run(args: ExportArgs, screen: &Screen) -> Result<Done, Failure> {
    if !args.onnx {
        return Err(Failure::input(
            "in which format? Say --onnx, the only one that is written",
        ));
    }
    let Some(path) = &args.output else {
        return Err(Failure::input(
            "export writes a file; say where with --output model.onnx",
        ));
    };
    if path.as_os_str() == "-" {
        return Err(Failure::input(
            "--output -: a file is written, whose length is known before its first byte; name one, such as model.onnx",
        ));
    }
    let located = session::locate(&args.model, screen)?;
    let options = session::options(&args.model, OpenAs::DeclaredOrEncoder);
    let checkpoint = Checkpoint::open(&located.folder, &options);
    let checkpoint = checkpoint.map_err(|error| failure(&error.into()))?;
    let unexpected = checkpoint.report().unexpected.len();
    session::say_unexpected(unexpected, screen);
    if let Some(class) = checkpoint.left_aside() {
        screen.note(&format!(
            "the head of {class} is none of those that are known here; the file gives the encoder's outputs"
        ));
    }
    let graceful = Graceful::begin();
    let stop = interrupt::signal();
    let options = Options::new()
        .stop(&stop)
        .source(located.brief())
        .hidden_states(args.hidden_states)
        .attentions(args.attentions)
        .overwrite(args.overwrite);
    let report = onnx::write(&checkpoint, path, &options);
    drop(graceful);
    let report = report.map_err(|error| failure(&Error::from(error)))?;
    if report.contact_head {
        let asked = if args.attentions {
            ""
        } else {
            "; --attentions adds it"
        };
        screen.note(&format!(
            "the contact head is not in the file, which reads the attention of all heads{asked}"
        ));
    }
    let ports = |ports: &[Port]| ports.iter().map(document).collect::<Value>();
    let document = json!({
        "command": "export",
        "model": located.name,
        "format": "onnx",
        "files": report.files,
        "bytes": report.bytes,
        "max_length": report.max_tokens,
        "inputs": ports(&report.inputs),
        "outputs": ports(&report.outputs),
    });
    let mut text = String::new();
    for file in &report.files {
        let _ = writeln!(text, "{}", file.display());
    }
    let _ = writeln!(
        text,
        "  {}, texts to {} tokens\n",
        bytes(report.bytes),
        count(report.max_tokens as u64)
    );
    add_ports("inputs", &report.inputs, &mut text);
    add_ports("outputs", &report.outputs, &mut text);
    let _ = write!(text, "\nTry it:\n{}", program(path));
    screen.say(&text);
    Ok(document.into())
}

fn size(size: Size) -> String {
    match size {
        Size::Batch => "batch_size".into(),
        Size::Length => "sequence_length".into(),
        Size::Fixed(size) => size.to_string(),
    }
}

fn document(port: &Port) -> Value {
    let shape = port.shape.iter().map(|of| match of {
        Size::Fixed(size) => json!(size),
        other => json!(size(*other)),
    });
    json!({
        "name": port.name,
        "type": port.element.name(),
        "shape": shape.collect::<Value>(),
    })
}

/// A line a value; of values that differ in their number alone a line for all.
fn add_ports(title: &str, ports: &[Port], text: &mut String) {
    let stem = |port: &Port| port.name.split('.').next().unwrap_or_default().to_owned();
    let alike = |a: &Port, b: &Port| stem(a) == stem(b) && a.shape == b.shape;
    let mut title = title;
    for group in ports.chunk_by(alike) {
        let [first, rest @ ..] = group else { continue };
        let name = match rest.last() {
            None => first.name.clone(),
            Some(last) => format!("{} … {}", first.name, last.name),
        };
        let shape: Vec<String> = first.shape.iter().map(|of| size(*of)).collect();
        let (kind, shape) = (first.element.name(), shape.join(", "));
        let _ = writeln!(text, "  {title:<8} {name:<38} {kind:<8} [{shape}]");
        title = "";
    }
}

/// A line for a shell that puts a text of eight tokens through the file.
fn program(path: &Path) -> String {
    let path = shell_word(&path.to_string_lossy());
    format!(
        "  python -c \"import sys, numpy as np, onnxruntime as ort; s = ort.InferenceSession(sys.argv[1]); \
         print(s.run(None, {{i.name: np.ones((1, 8), np.int64) for i in s.get_inputs()}})[0])\" {path}"
    )
}

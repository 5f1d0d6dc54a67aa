//! The file: its length is known before the first weight is read, and it appears whole or not at all.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use bertology_checkpoint::{Architecture, Checkpoint, HeadSet};
use serde_json::{Map, Value, json};
use tempfile::NamedTempFile;

use crate::Error;
use crate::build::Builder;
use crate::graph::{Graph, Port};
use crate::proto::Message;
use crate::weights::{External, Initializer, Reader};

/// The set of operators that the graph is written in.
const OPSET: i64 = 17;
/// The version of the format that came with it.
const IR_VERSION: i64 = 8;
/// The longest message that protocol buffers have, in bytes; weights of a larger model lie in a file of their own.
const LONGEST: u64 = (1 << 31) - 1;
/// Initializers of fewer bytes stay in the model's file.
const SMALL: u64 = 1024;
/// Where an initializer may begin in a file of its own: runtimes map pages of this size.
const PAGE: u64 = 4096;

/// What to write besides the outputs of the model's heads, and how.
#[derive(Debug, Clone)]
pub struct Options<'s> {
    hidden_states: bool,
    attentions: bool,
    without: HeadSet,
    source: Option<String>,
    overwrite: bool,
    longest: u64,
    stop: Option<&'s AtomicBool>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            hidden_states: false,
            attentions: false,
            without: HeadSet::new(),
            source: None,
            overwrite: false,
            longest: LONGEST,
            stop: None,
        }
    }
}

impl<'s> Options<'s> {
    /// The outputs of the heads alone, into a file that is not there yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives out `hidden_states.0`, the embeddings, to `hidden_states.L`, each `[batch_size, sequence_length, hidden]`. Where the
    /// family has a norm after its last block, the last is behind that norm.
    #[must_use]
    pub fn hidden_states(mut self, wanted: bool) -> Self {
        self.hidden_states = wanted;
        self
    }

    /// Gives out `attentions.0` to `attentions.L-1`, the probabilities, each `[batch_size, heads, query, key]` of the heads that
    /// the layer has left, ascending.
    #[must_use]
    pub fn attentions(mut self, wanted: bool) -> Self {
        self.attentions = wanted;
        self
    }

    /// Leaves out heads that the checkpoint has.
    #[must_use]
    pub fn without(mut self, heads: HeadSet) -> Self {
        self.without = heads;
        self
    }

    /// What the model is called in the file (`source` of its metadata).
    #[must_use]
    pub fn source(mut self, name: impl Into<String>) -> Self {
        self.source = Some(name.into());
        self
    }

    /// Replaces a file that is there.
    #[must_use]
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// The most bytes that the model's file may have, which is what protocol buffers allow: 2 GiB. The weights of a larger one
    /// lie beside it, in a file with `_data` behind its name.
    #[must_use]
    pub fn longest(mut self, bytes: u64) -> Self {
        self.longest = bytes.min(LONGEST);
        self
    }

    /// Raised from elsewhere, it ends the writing with [`Error::Stopped`].
    #[must_use]
    pub fn stop(mut self, stop: &'s AtomicBool) -> Self {
        self.stop = Some(stop);
        self
    }
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The files, the model's first.
    pub files: Vec<PathBuf>,
    /// Bytes of all of them.
    pub bytes: u64,
    /// What the graph reads, in order.
    pub inputs: Vec<Port>,
    /// What it gives, in order.
    pub outputs: Vec<Port>,
    /// The longest text in tokens.
    pub max_tokens: usize,
    /// Whether the checkpoint has a contact head (ESM), which the file has not: it reads the attention of all heads, which
    /// [`Options::attentions`] gives out.
    pub contact_head: bool,
}

/// Where everything lies.
struct Layout {
    /// Bytes of the model's file.
    model: u64,
    /// Bytes of the graph in it.
    graph: u64,
    /// Bytes of the file of weights beside it; 0 where there is none.
    data: u64,
    /// For each initializer its place in that file, if it lies there.
    offsets: Vec<Option<u64>>,
}

/// Writes a checkpoint as an ONNX file.
///
/// # Errors
/// Something lies at the path already, the disk is too small or the system refuses; a head to be left out that the model never
/// had; weights that cannot be read. Nothing is left behind then.
pub fn write(checkpoint: &Checkpoint, path: &Path, options: &Options<'_>) -> Result<Report, Error> {
    let architecture = checkpoint.architecture();
    options.without.check(architecture)?;
    check_target(checkpoint, path, options)?;
    let builder = Builder::new(checkpoint, &options.without);
    let graph = builder.build(options.hidden_states, options.attentions);
    let beside = beside(path);
    let beside_name = beside.file_name().unwrap_or_default().to_string_lossy();
    let metadata = metadata(architecture, options);
    let plan = Plan {
        graph: &graph,
        beside: &beside_name,
        ends: ends(&metadata),
        stop: options.stop,
    };
    let mut layout = plan.layout(false);
    if layout.model > options.longest {
        layout = plan.layout(true);
        check_target(checkpoint, &beside, options)?;
    }
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let needed = layout.model + layout.data;
    if let Ok(free) = fs4::available_space(folder)
        && free < needed
    {
        return Err(Error::NoRoom {
            path: folder.into(),
            needed,
            free,
        });
    }
    let model = temporary(folder)?;
    let data = (layout.data > 0).then(|| temporary(folder)).transpose()?;
    plan.write(
        checkpoint,
        &layout,
        (&model, path),
        data.as_ref().map(|file| (file, &*beside)),
    )?;
    let mut files = vec![path.to_path_buf()];
    // The weights first: an older graph beside them is better than a graph without any.
    if let Some(data) = data {
        put(data, &beside, options)?;
        files.push(beside.clone());
    }
    if let Err(error) = put(model, path, options) {
        if layout.data > 0 && !options.overwrite {
            let _ = fs::remove_file(&beside);
        }
        return Err(error);
    }
    Ok(Report {
        files,
        bytes: needed,
        contact_head: architecture.contact_head,
        inputs: graph.inputs,
        outputs: graph.outputs,
        max_tokens: architecture.max_tokens(),
    })
}

/// The file of the weights of a model that is too large for one.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push("_data");
    path.with_file_name(name)
}

fn check_target(checkpoint: &Checkpoint, path: &Path, options: &Options<'_>) -> Result<(), Error> {
    if path.is_dir() || path.file_name().is_none() {
        return Err(Error::IsFolder { path: path.into() });
    }
    // Files of a model may be links into a cache, and an earlier export may lie among them.
    let exported = path
        .extension()
        .is_some_and(|of| of == "onnx" || of == "onnx_data");
    let folder = path
        .parent()
        .and_then(|folder| fs::canonicalize(folder).ok());
    let own = folder.is_some() && folder == fs::canonicalize(checkpoint.folder()).ok();
    if own && !exported && path.symlink_metadata().is_ok() {
        return Err(Error::OwnFile { path: path.into() });
    }
    if !options.overwrite && path.symlink_metadata().is_ok() {
        return Err(Error::Exists { path: path.into() });
    }
    Ok(())
}

/// Beside the target, so that it need only be renamed.
fn temporary(folder: &Path) -> Result<NamedTempFile, Error> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".bertology-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As any new file: the umask still applies.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder
        .tempfile_in(folder)
        .map_err(Error::io("create a file in", folder))
}

fn put(file: NamedTempFile, path: &Path, options: &Options<'_>) -> Result<(), Error> {
    let kept = if options.overwrite {
        file.persist(path)
    } else {
        file.persist_noclobber(path)
    };
    match kept {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(Error::Exists { path: path.into() })
        }
        Err(error) => Err(Error::io("move the finished file to", path)(error.error)),
    }
}

/// What the file says of its model.
fn metadata(architecture: &Architecture, options: &Options<'_>) -> Vec<(&'static str, String)> {
    let mut entries = vec![("max_length", architecture.max_tokens().to_string())];
    if let Some(source) = &options.source {
        entries.push(("source", source.clone()));
    }
    if !architecture.labels.is_empty() {
        let labels = architecture.labels.iter().enumerate();
        let labels: Map<String, Value> = labels
            .map(|(id, label)| (id.to_string(), json!(label)))
            .collect();
        entries.push(("id2label", Value::Object(labels).to_string()));
    }
    let mut gone = HeadSet::from(architecture.pruned_heads.clone());
    gone.extend(HeadSet::from(architecture.zeroed_heads.clone()).iter());
    gone.extend(options.without.iter());
    if !gone.is_empty() {
        entries.push(("pruned_heads", gone.to_string()));
    }
    entries
}

/// The fields of `ModelProto` before its graph and behind it.
fn ends(metadata: &[(&str, String)]) -> [Message; 2] {
    let start = Message::new()
        .int(1, IR_VERSION)
        .text(2, "bertology")
        .text(3, env!("CARGO_PKG_VERSION"));
    let opset = Message::new().text(1, "").int(2, OPSET);
    let end = metadata
        .iter()
        .fold(Message::new().message(8, &opset), |end, (key, value)| {
            end.message(14, &Message::new().text(1, key).text(2, value))
        });
    [start, end]
}

/// The model as it is to be.
struct Plan<'g> {
    graph: &'g Graph,
    /// The name of the file of weights.
    beside: &'g str,
    ends: [Message; 2],
    stop: Option<&'g AtomicBool>,
}

impl Plan<'_> {
    /// `TensorProto` without its bytes, if these are in the model's file, and how many they are.
    fn tensor(&self, initializer: &Initializer, offset: Option<u64>) -> (Message, u64) {
        let external = offset.map(|offset| External {
            file: self.beside,
            offset,
        });
        let bytes = match external {
            Some(_) => 0,
            None => initializer.bytes(),
        };
        (initializer.message(external), bytes)
    }

    /// The fields of `GraphProto` that are no initializers: before them, and behind.
    fn frame(&self) -> [Message; 2] {
        let nodes = self.graph.nodes.iter();
        let before = nodes.fold(Message::new(), |graph, node| graph.message(1, node));
        let before = before.text(2, "bertology");
        let behind = self
            .graph
            .inputs
            .iter()
            .fold(Message::new(), |graph, port| {
                graph.message(11, &port.message())
            });
        let outputs = self.graph.outputs.iter();
        let behind = outputs.fold(behind, |graph, port| graph.message(12, &port.message()));
        [before, behind]
    }

    fn graph_bytes(&self, offsets: &[Option<u64>]) -> u64 {
        let [before, behind] = self.frame();
        let tensors = self.graph.initializers.iter().zip(offsets);
        let tensors = tensors.map(|(initializer, offset)| {
            let (message, bytes) = self.tensor(initializer, *offset);
            let length = message.len() + bytes;
            Message::new().announce(5, length).len() + length
        });
        before.len() + tensors.sum::<u64>() + behind.len()
    }

    fn layout(&self, apart: bool) -> Layout {
        let mut end = 0_u64;
        let offsets = self.graph.initializers.iter().map(|initializer| {
            (apart && initializer.bytes() >= SMALL).then(|| {
                let offset = end.next_multiple_of(PAGE);
                end = offset + initializer.bytes();
                offset
            })
        });
        let offsets: Vec<Option<u64>> = offsets.collect();
        let graph = self.graph_bytes(&offsets);
        let [start, rest] = &self.ends;
        Layout {
            model: start.len() + Message::new().announce(7, graph).len() + graph + rest.len(),
            graph,
            data: end,
            offsets,
        }
    }

    fn write(
        &self,
        checkpoint: &Checkpoint,
        layout: &Layout,
        (model, path): (&NamedTempFile, &Path),
        beside: Option<(&NamedTempFile, &Path)>,
    ) -> Result<(), Error> {
        let mut reader = Reader::new(checkpoint);
        let mut model = Sink::new(model, path, self.stop);
        let mut beside = beside.map(|(file, path)| Sink::new(file, path, self.stop));
        let [start, end] = &self.ends;
        let [before, behind] = self.frame();
        model.put(start.as_bytes())?;
        model.put(Message::new().announce(7, layout.graph).as_bytes())?;
        model.put(before.as_bytes())?;
        for (initializer, offset) in self.graph.initializers.iter().zip(&layout.offsets) {
            let (message, bytes) = self.tensor(initializer, *offset);
            let field = Message::new().announce(5, message.len() + bytes);
            model.put(field.as_bytes())?;
            model.put(message.as_bytes())?;
            let sink = match (offset, &mut beside) {
                (Some(offset), Some(beside)) => {
                    beside.fill(*offset)?;
                    beside
                }
                _ => &mut model,
            };
            reader.write(initializer, |bytes| sink.put(bytes))?;
        }
        model.put(behind.as_bytes())?;
        model.put(end.as_bytes())?;
        model.finish()?;
        beside.map_or(Ok(()), Sink::finish)
    }
}

/// A file that is being written.
struct Sink<'f> {
    file: BufWriter<&'f File>,
    path: &'f Path,
    written: u64,
    stop: Option<&'f AtomicBool>,
}

impl<'f> Sink<'f> {
    fn new(file: &'f NamedTempFile, path: &'f Path, stop: Option<&'f AtomicBool>) -> Self {
        Self {
            file: BufWriter::with_capacity(1 << 20, file.as_file()),
            path,
            written: 0,
            stop,
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
            return Err(Error::Stopped);
        }
        self.written += bytes.len() as u64;
        let written = self.file.write_all(bytes);
        written.map_err(Error::io("write", self.path))
    }

    /// Zeros up to an offset.
    fn fill(&mut self, offset: u64) -> Result<(), Error> {
        let missing = offset.saturating_sub(self.written) as usize;
        self.put(&[0; PAGE as usize][..missing])
    }

    fn finish(mut self) -> Result<(), Error> {
        let written = self
            .file
            .flush()
            .and_then(|()| self.file.get_ref().sync_all());
        written.map_err(Error::io("write", self.path))
    }
}

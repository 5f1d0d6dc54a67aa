//! Writes a checkpoint without some of its heads, neurons and tokens: a new folder that appears whole or not at all.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::Error;
use crate::checkpoint::Checkpoint;
use crate::config::{CONFIG_FILE, WIDTHS_KEY};
use crate::cut::Cut;
use crate::heads::HeadSet;
use crate::names::IgnoreReason;
use crate::parameter::Parameter;
use crate::prune::{Export, Plan};
use crate::report::Size;
use crate::tensors::Tensor;
use crate::vocabulary::{GENERATION, TokenCut, generation};

/// How to write.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct WriteOptions {
    /// The form of the checkpoint.
    pub export: Export,
    /// Replace files of the same names in a folder that has content. Its other files stay.
    pub overwrite: bool,
}

impl WriteOptions {
    /// Writes into a new or empty folder.
    #[must_use]
    pub fn new(export: Export) -> Self {
        Self {
            export,
            overwrite: false,
        }
    }

    /// Allows a folder that has content.
    #[must_use]
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }
}

/// What was written.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct WriteReport {
    /// The tensors that the model reads, in the source.
    pub before: Size,
    /// The same tensors as written.
    pub after: Size,
    /// Size of the source's weights files in bytes.
    pub file_bytes_before: u64,
    /// Size of the weights file written, in bytes.
    pub file_bytes_after: u64,
    /// Files written, by name.
    pub files: Vec<String>,
    /// Heads that no longer contribute, those that the source lacked included.
    pub silent_heads: BTreeMap<usize, BTreeSet<usize>>,
    /// `(layer, head)` written as zeros because transformers cannot run a layer without heads.
    pub zeroed_survivors: Vec<(usize, usize)>,
    /// Neurons of the feed-forward block of each layer.
    pub widths: Vec<usize>,
    /// Layers that kept one neuron, of zeros, because no layer can be without any.
    pub hollow_layers: Vec<usize>,
    /// Tensors of the source that were left out because they repeat another one.
    pub left_out: Vec<String>,
    /// Rows of the token embedding before and after.
    pub tokens: (usize, usize),
    /// Files of the source's tokenizer that have no place beside fewer tokens.
    pub left_behind: Vec<String>,
}

/// The weights file of the folder written.
pub(crate) const WEIGHTS: &str = "model.safetensors";

/// [`write_cut`] of heads alone.
///
/// # Errors
/// As [`write_cut`].
pub fn write_pruned(
    checkpoint: &Checkpoint,
    heads: &HeadSet,
    folder: &Path,
    options: &WriteOptions,
) -> Result<WriteReport, Error> {
    write_cut(checkpoint, &heads.clone().into(), folder, options)
}

/// Writes `checkpoint` without the heads and neurons of `cut`, and with its factors in the maps that read the others, as a folder
/// of its own: `model.safetensors` with the source's tensor names and types, the source's `config.json` with the union of all
/// removed heads in `pruned_heads` and the width of what is left of its feed-forward blocks, and the tokenizer's files. Heads
/// that the source lacks already may be named again. Where tokens leave, so do their rows of every tensor that has one for each;
/// `vocab_size` and the ids in `config.json` and `generation_config.json` follow, and the tokenizer's files are those of the
/// cut. [`Export::Zeroed`] of an already pruned source restores full shapes with
/// zeros.
///
/// A layer that loses all heads, or all neurons, keeps one whose weights are zero: the same function, and
/// transformers can load it.
///
/// # Errors
/// If a head cannot leave ([`Error::TogetherNormed`]), a head or neuron does not exist or would go from one of several layers that share their weights, the folder has content
/// (see [`WriteOptions::overwrite`]) or is the source itself, or the system refuses.
pub fn write_cut(
    checkpoint: &Checkpoint,
    cut: &Cut,
    folder: &Path,
    options: &WriteOptions,
) -> Result<WriteReport, Error> {
    cut.check(checkpoint.architecture())?;
    let together = checkpoint.architecture().query_key_norm;
    if together && options.export == Export::Pruned && !cut.heads().is_empty() {
        return Err(Error::TogetherNormed);
    }
    check_target(checkpoint, folder, options)?;
    let plan = Plan::new(checkpoint.architecture(), cut, options.export);

    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    let staging = staging_folder(parent)?;

    let mut config = new_config(checkpoint, &plan);
    let mut files = vec![CONFIG_FILE.to_owned(), WEIGHTS.to_owned()];
    let mut left_behind = Vec::new();
    match cut.of_tokens() {
        None => files.extend(copy_companions(checkpoint.folder(), staging.path())?),
        Some(tokens) => {
            tokens.config(checkpoint, &mut config);
            let (written, left) = write_companions(checkpoint.folder(), staging.path(), tokens)?;
            files.extend(written);
            left_behind = left;
        }
    }
    write_json(&staging.path().join(CONFIG_FILE), &config)?;
    let mut report = WriteReport {
        before: checkpoint.report().parts.total(),
        after: Size::default(),
        file_bytes_before: 0,
        file_bytes_after: 0,
        files,
        silent_heads: plan.silent.by_layer().clone(),
        zeroed_survivors: plan.survivors.clone(),
        widths: plan.widths().collect(),
        hollow_layers: plan.hollow.clone(),
        left_out: Vec::new(),
        tokens: file_tokens(checkpoint, cut),
        left_behind,
    };
    for file in checkpoint.files() {
        report.file_bytes_before +=
            bertology_file::length(file).map_err(Error::io("read", file))?;
    }
    write_weights(
        checkpoint,
        &plan,
        cut.of_tokens(),
        options.export,
        &staging.path().join(WEIGHTS),
        &mut report,
    )?;
    publish(staging, folder, &report.files)?;
    Ok(report)
}

/// Rows of the token embedding before and after.
fn file_tokens(checkpoint: &Checkpoint, cut: &Cut) -> (usize, usize) {
    let before = checkpoint.architecture().vocab_size;
    (before, cut.of_tokens().map_or(before, |of| of.rows.len()))
}

fn check_target(
    checkpoint: &Checkpoint,
    folder: &Path,
    options: &WriteOptions,
) -> Result<(), Error> {
    if !folder.exists() {
        return Ok(());
    }
    let same = fs::canonicalize(folder).ok() == fs::canonicalize(checkpoint.folder()).ok();
    if same {
        return Err(Error::OutputIsSource {
            path: folder.into(),
        });
    }
    let full = !folder.is_dir()
        || fs::read_dir(folder)
            .map_err(Error::io("read", folder))?
            .next()
            .is_some();
    if full && !(options.overwrite && folder.is_dir()) {
        return Err(Error::OutputExists {
            path: folder.into(),
        });
    }
    Ok(())
}

/// Beside the target, so that the final rename stays on one file system. Removed when dropped.
pub(crate) fn staging_folder(parent: &Path) -> Result<tempfile::TempDir, Error> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".bertology-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As `mkdir` would: the umask still applies, others may read the result.
        builder.permissions(fs::Permissions::from_mode(0o777));
    }
    builder
        .tempdir_in(parent)
        .map_err(Error::io("create a folder in", parent))
}

fn new_config(checkpoint: &Checkpoint, plan: &Plan) -> Map<String, Value> {
    const KEY: &str = "pruned_heads";
    let architecture = checkpoint.architecture();
    let mut config = checkpoint.config().raw().clone();
    let pruned: Map<String, Value> = plan
        .pruned
        .iter()
        .filter(|(layer, _)| architecture.weights_of(**layer) == **layer)
        .map(|(layer, heads)| (architecture.block(*layer).to_string(), json!(heads)))
        .collect();
    if !pruned.is_empty() || config.contains_key(KEY) {
        config.insert(KEY.into(), Value::Object(pruned));
    }
    if plan.narrower || config.contains_key(WIDTHS_KEY) {
        let widths: Vec<usize> = plan.widths().collect();
        config.remove(WIDTHS_KEY);
        let keys = architecture.family.width_keys();
        let stands = |key: &&str| config.contains_key(*key);
        let there: Vec<&str> = keys.iter().copied().filter(stands).collect();
        let keys = if there.is_empty() {
            keys.get(..1)
        } else {
            Some(&*there)
        };
        match (widths.split_first(), keys) {
            (Some((width, others)), Some(keys)) if others.iter().all(|other| other == width) => {
                for key in keys {
                    config.insert((*key).into(), json!(width));
                }
            }
            _ => {
                config.insert(WIDTHS_KEY.into(), json!(widths));
            }
        }
    }
    config
}

pub(crate) fn write_json(path: &Path, object: &Map<String, Value>) -> Result<(), Error> {
    let mut text = bertology_file::as_python_writes(object).map_err(|source| Error::Json {
        path: path.into(),
        source,
    })?;
    text.push('\n');
    fs::write(path, text).map_err(Error::io("write", path))
}

/// Small files that a user of the model needs beside the weights.
fn travels(name: &str) -> bool {
    const PREFIXES: [&str; 4] = ["tokenizer", "vocab", "LICENSE", "NOTICE"];
    const NAMES: [&str; 5] = [
        "merges.txt",
        "spm.model",
        "special_tokens_map.json",
        "added_tokens.json",
        "generation_config.json",
    ];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || NAMES.contains(&name)
}

pub(crate) fn copy_companions(from: &Path, to: &Path) -> Result<Vec<String>, Error> {
    let mut copied = Vec::new();
    for name in bertology_file::names(from).map_err(Error::io("read", from))? {
        let path = from.join(&name);
        // Through links: in the hub's cache every file is one.
        if !travels(&name) || !bertology_file::is_file(&path) {
            continue;
        }
        let bytes = bertology_file::read(&path).map_err(Error::io("read", path))?;
        fs::write(to.join(&name), bytes).map_err(Error::io("write", to.join(&name)))?;
        copied.push(name);
    }
    Ok(copied)
}

/// [`copy_companions`] where tokens have new ids: the tokenizer's files are those of the cut. Gives the names of the files, and of
/// those that have no place beside them.
fn write_companions(
    from: &Path,
    to: &Path,
    tokens: &TokenCut,
) -> Result<(Vec<String>, Vec<String>), Error> {
    let (mut written, mut left) = (Vec::new(), Vec::new());
    for name in bertology_file::names(from).map_err(Error::io("read", from))? {
        let path = from.join(&name);
        if !travels(&name) || tokens.files.contains_key(&name) || !bertology_file::is_file(&path) {
            continue;
        }
        if name == GENERATION {
            if let Some(mut config) = generation(from)? {
                tokens.renumber(&mut config);
                write_json(&to.join(GENERATION), &config)?;
                written.push(name);
            }
        } else if name.starts_with("LICENSE") || name.starts_with("NOTICE") {
            let bytes = bertology_file::read(&path).map_err(Error::io("read", path))?;
            fs::write(to.join(&name), bytes).map_err(Error::io("write", to.join(&name)))?;
            written.push(name);
        } else {
            left.push(name);
        }
    }
    for (name, bytes) in &tokens.files {
        fs::write(to.join(name), bytes).map_err(Error::io("write", to.join(name)))?;
        written.push(name.clone());
    }
    Ok((written, left))
}

/// Bytes of the weights file that [`write_cut`] writes for the same checkpoint, cut and form. Nothing is written, and
/// no weights are read beyond the hash that the file names. A model whose heads cannot leave its files
/// ([`Error::TogetherNormed`]) keeps what it has of them.
///
/// # Errors
/// A head or neuron that does not exist, or would go from one of several layers that share their weights; source files that
/// cannot be read.
pub fn cut_file_bytes(checkpoint: &Checkpoint, cut: &Cut, export: Export) -> Result<u64, Error> {
    cut.check(checkpoint.architecture())?;
    let kept = checkpoint.architecture().query_key_norm && !cut.heads().is_empty();
    let export = if kept { Export::Zeroed } else { export };
    let plan = Plan::new(checkpoint.architecture(), cut, export);
    let file = WeightsFile::new(checkpoint, &plan, cut.of_tokens(), export)?;
    let header = encoded(&file.header, checkpoint.folder())?;
    Ok(8 + header.len() as u64 + file.bytes)
}

/// The weights file as it is to be.
struct WeightsFile<'c> {
    /// In the order of the file.
    tensors: Vec<(&'c Tensor, Option<Parameter>)>,
    /// Names of those that have a row for each token, where some go.
    of_tokens: BTreeSet<&'c str>,
    header: Map<String, Value>,
    /// Of all tensors.
    bytes: u64,
    /// The tensors that the model reads.
    read: Size,
    /// Tensors of the source that repeat another one.
    left_out: Vec<String>,
}

impl<'c> WeightsFile<'c> {
    fn new(
        checkpoint: &'c Checkpoint,
        plan: &Plan,
        tokens: Option<&TokenCut>,
        export: Export,
    ) -> Result<Self, Error> {
        let of_tokens = tokens.map(|_| checkpoint.tensors_of_tokens());
        let of_tokens = of_tokens.unwrap_or_default();
        let parameters: BTreeMap<&str, Parameter> = checkpoint
            .parameters()
            .map(|(parameter, tensor)| (tensor.name(), parameter))
            .collect();
        let copies: BTreeSet<&str> = checkpoint
            .report()
            .ignored
            .iter()
            .filter(|ignored| ignored.reason == IgnoreReason::TiedCopy)
            .map(|ignored| ignored.tensor.name.as_str())
            .collect();
        let mut tensors: Vec<(&Tensor, Option<Parameter>)> = checkpoint
            .tensors()
            .iter()
            .filter(|tensor| !copies.contains(tensor.name()))
            .map(|tensor| (tensor, parameters.get(tensor.name()).copied()))
            .collect();
        // Wider types first: then every tensor starts at a multiple of its element's size.
        tensors.sort_by_key(|(tensor, _)| std::cmp::Reverse(tensor.dtype().bitsize()));

        let mut header = Map::new();
        header.insert("__metadata__".into(), metadata(checkpoint, plan, export)?);
        let mut offset = 0_u64;
        let mut read = Size::default();
        for (tensor, parameter) in &tensors {
            let mut shape = plan.shape(*parameter, tensor);
            if let (Some(tokens), true) = (tokens, of_tokens.contains(tensor.name()))
                && let Some(rows) = shape.first_mut()
            {
                *rows = tokens.rows.len();
            }
            let count: usize = shape.iter().product();
            let bytes = (count * tensor.dtype().bitsize() / 8) as u64;
            let end = offset + bytes;
            header.insert(
                tensor.name().to_owned(),
                json!({ "dtype": tensor.dtype(), "shape": shape, "data_offsets": [offset, end] }),
            );
            offset = end;
            if parameter.is_some() {
                read.parameters += count as u64;
                read.bytes += bytes;
            }
        }
        Ok(Self {
            tensors,
            of_tokens,
            header,
            bytes: offset,
            read,
            left_out: copies.iter().map(|&name| name.to_owned()).collect(),
        })
    }
}

fn write_weights(
    checkpoint: &Checkpoint,
    plan: &Plan,
    tokens: Option<&TokenCut>,
    export: Export,
    path: &Path,
    report: &mut WriteReport,
) -> Result<(), Error> {
    let file = WeightsFile::new(checkpoint, plan, tokens, export)?;
    let bytes = file.tensors.iter().map(|(tensor, parameter)| match tokens {
        // No head or neuron has a part in these.
        Some(tokens) if file.of_tokens.contains(tensor.name()) => tokens.gather(tensor),
        _ => plan.bytes(*parameter, tensor),
    });
    report.file_bytes_after = write_tensors(path, &file.header, bytes)?;
    report.after = file.read;
    report.left_out = file.left_out;
    Ok(())
}

/// The header as the file holds it, a multiple of 8 bytes.
fn encoded(header: &Map<String, Value>, path: &Path) -> Result<Vec<u8>, Error> {
    let mut header = serde_json::to_vec(header).map_err(|source| Error::Json {
        path: path.into(),
        source,
    })?;
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}

/// A safetensors file of this header and these tensors; gives its size in bytes.
pub(crate) fn write_tensors<'t>(
    path: &Path,
    header: &Map<String, Value>,
    tensors: impl Iterator<Item = Cow<'t, [u8]>>,
) -> Result<u64, Error> {
    let header = encoded(header, path)?;
    let write = || -> std::io::Result<u64> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        for bytes in tensors {
            file.write_all(&bytes)?;
        }
        let file = file
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok(file.metadata()?.len())
    };
    write().map_err(Error::io("write", path))
}

/// `format` is what transformers looks for; the rest records where the file comes from.
fn metadata(checkpoint: &Checkpoint, plan: &Plan, export: Export) -> Result<Value, Error> {
    Ok(json!({
        "format": "pt",
        "bertology.export": match export {
            Export::Pruned => "pruned",
            Export::Zeroed => "zeroed",
        },
        "bertology.silent_heads": plan.silent.to_string(),
        "bertology.source_sha256": checkpoint.content_hash()?,
    }))
}

/// Moves the finished folder to its place; into a folder with content, file by file.
pub(crate) fn publish(
    staging: tempfile::TempDir,
    folder: &Path,
    files: &[String],
) -> Result<(), Error> {
    let rename = |from: PathBuf, to: PathBuf| {
        fs::rename(&from, &to).map_err(Error::io("move the finished files to", to))
    };
    let occupied = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if occupied {
        // The config last: an older one beside new weights is refused by shape, never misread.
        for name in files.iter().rev() {
            rename(staging.path().join(name), folder.join(name))?;
        }
        return Ok(());
    }
    if folder.is_dir() {
        fs::remove_dir(folder).map_err(Error::io("replace", folder))?;
    }
    rename(staging.path().to_path_buf(), folder.to_path_buf())?;
    // Nothing is left at the temporary path; do not look for it.
    drop(staging.keep());
    Ok(())
}

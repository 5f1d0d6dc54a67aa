//! A model folder opened: the description, the tensors by canonical name, and the account of both.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use crate::Error;
use crate::arch::{Architecture, SharedLayers, TaskHead};
use crate::config::{Config, OpenAs};
use crate::names::Names;
use crate::new_head::NewHead;
use crate::parameter::{Affine, Parameter};
use crate::prune::zeroed_heads;
use crate::report::Report;
use crate::tensors::{Tensor, TensorSet};

mod matching;

use matching::Matching;

/// How to open a model folder.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct OpenOptions {
    /// Which head to put on the encoder.
    pub open_as: OpenAs,
    /// Leave out tensors that nothing explains instead of refusing the checkpoint.
    pub allow_unexpected: bool,
}

impl OpenOptions {
    /// The checkpoint as it was saved, every tensor explained.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Chooses the head.
    #[must_use]
    pub fn open_as(mut self, open_as: OpenAs) -> Self {
        self.open_as = open_as;
        self
    }

    /// Allows tensors that nothing explains.
    #[must_use]
    pub fn allow_unexpected(mut self, allow: bool) -> Self {
        self.allow_unexpected = allow;
        self
    }
}

/// A model folder whose every tensor is accounted for.
///
/// ```no_run
/// use bertology_checkpoint::{Checkpoint, OpenOptions, Parameter};
///
/// let checkpoint = Checkpoint::open("bert-base-uncased".as_ref(), &OpenOptions::new())?;
/// let words = checkpoint.parameter(Parameter::WordEmbeddings).map(|t| t.to_f32()).transpose()?;
/// # Ok::<(), bertology_checkpoint::Error>(())
/// ```
#[derive(Debug)]
pub struct Checkpoint {
    folder: PathBuf,
    config: Config,
    architecture: Architecture,
    set: TensorSet,
    /// Positions in `set.tensors`.
    by_parameter: BTreeMap<Parameter, usize>,
    /// Parameters that no tensor provides and that begin anew.
    begun: Vec<Parameter>,
    report: Report,
    hash: OnceLock<String>,
}

/// What a folder holds, whether or not it can be opened.
#[derive(Debug)]
#[non_exhaustive]
pub struct Inspection {
    /// The description; without task head where the declared one is not supported.
    pub architecture: Architecture,
    /// The account of the tensors.
    pub report: Report,
    /// What [`Checkpoint::open`] would refuse, in the order in which it would.
    pub problems: Vec<Error>,
    /// The weights files.
    pub files: Vec<PathBuf>,
}

impl Checkpoint {
    /// Opens a folder in the Hugging Face layout. Weights are mapped, not read.
    ///
    /// # Errors
    /// If an option of the config is not supported, the weights cannot be read, or a tensor is
    /// missing, unexpected, of the wrong shape or type, or given twice.
    pub fn open(folder: &Path, options: &OpenOptions) -> Result<Self, Error> {
        let examined = Self::examine(folder, options);
        let headless = match &examined {
            Err(Error::UnsupportedTask { .. } | Error::AmbiguousTask { .. }) => true,
            Ok((_, problems)) => matches!(problems.first(), Some(Error::MissingHead { .. })),
            Err(_) => false,
        };
        if headless && options.open_as == OpenAs::DeclaredOrEncoder {
            return Self::open(folder, &options.open_as(OpenAs::Encoder));
        }
        let (checkpoint, mut problems) = examined?;
        if problems.is_empty() {
            Ok(checkpoint)
        } else {
            Err(problems.remove(0))
        }
    }

    /// Says what a folder holds without refusing what [`Checkpoint::open`] refuses for the sake of
    /// its tensors or its task.
    ///
    /// # Errors
    /// If the config or the weights cannot be read at all, or the config describes no model that
    /// is supported.
    pub fn inspect(folder: &Path) -> Result<Inspection, Error> {
        let options = OpenOptions::new();
        let (checkpoint, problems) = match Self::examine(folder, &options) {
            Err(task @ (Error::UnsupportedTask { .. } | Error::AmbiguousTask { .. })) => {
                let (checkpoint, mut problems) =
                    Self::examine(folder, &options.open_as(OpenAs::Encoder))?;
                problems.insert(0, task);
                (checkpoint, problems)
            }
            other => other?,
        };
        check_heads(
            &checkpoint.config,
            &checkpoint.architecture,
            &checkpoint.set,
        )?;
        Ok(Inspection {
            architecture: checkpoint.architecture,
            report: checkpoint.report,
            problems,
            files: checkpoint.set.files,
        })
    }

    /// The description that the config and the tensors give.
    #[must_use]
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// The tensor of a parameter as the file holds it, its shape verified; nothing where the
    /// architecture has no such parameter. [`Parameter::LmDecoder`]'s weight is there only if it is
    /// not tied to the word embeddings. [`Checkpoint::values`] gives the canonical layout.
    #[must_use]
    pub fn parameter(&self, parameter: Parameter) -> Option<&Tensor> {
        let parameter = match parameter {
            Parameter::Layer(layer, of) if layer < self.architecture.num_layers => {
                Parameter::Layer(self.architecture.weights_of(layer), of)
            }
            other => other,
        };
        self.by_parameter
            .get(&parameter)
            .and_then(|&at| self.set.tensors.get(at))
    }

    /// Whether a parameter begins anew ([`Checkpoint::open_to_train`]), and which part of its map or norm it is.
    #[must_use]
    pub fn begins(&self, parameter: Parameter) -> Option<Affine> {
        self.begun.iter().find(|of| **of == parameter)?;
        parameter.affine()
    }

    /// The values of a parameter in the canonical layout, linear maps as `[out, in]` row by row; GPT
    /// files hold those of their blocks as `[in, out]`. Nothing where [`Checkpoint::parameter`] is. The file's
    /// own copy is [released](Tensor::release).
    ///
    /// # Errors
    /// A tensor whose bytes cannot be read as numbers.
    pub fn values(&self, parameter: Parameter) -> Result<Option<Vec<f32>>, Error> {
        let Some(tensor) = self.parameter(parameter) else {
            return Ok(None);
        };
        let values = tensor.to_f32()?;
        tensor.release();
        let table = self.architecture.family.table();
        let transposed = table.transposed && parameter.is_block_map();
        if table.gate_first && parameter.is_first_map() {
            let mut values = values;
            let half = values.len() / 2;
            values.rotate_left(half);
            return Ok(Some(values));
        }
        let &[inputs, outputs] = tensor.shape() else {
            return Ok(Some(values));
        };
        Ok(Some(if transposed {
            transpose(&values, inputs, outputs)
        } else {
            values
        }))
    }

    /// Says that no weights of the files are needed for now: [`Tensor::release`] of all of them.
    pub fn release(&self) {
        self.set.tensors.iter().for_each(Tensor::release);
    }

    /// The tensor of a parameter whose values lie in the mapped file as they are wanted: f32, aligned, in
    /// the canonical layout. [`Tensor::as_f32_slice`] then gives them without a copy.
    #[must_use]
    pub fn in_place(&self, parameter: Parameter) -> Option<&Tensor> {
        let table = self.architecture.family.table();
        let turned = table.transposed && parameter.is_block_map()
            || table.gate_first && parameter.is_first_map();
        self.parameter(parameter)
            .filter(|tensor| !turned && tensor.as_f32_slice().is_some())
    }

    /// Every parameter that the files hold, in canonical order.
    pub fn parameters(&self) -> impl Iterator<Item = (Parameter, &Tensor)> {
        self.by_parameter
            .iter()
            .filter_map(|(&parameter, &at)| Some((parameter, self.set.tensors.get(at)?)))
    }

    /// Every tensor of the files, used or not, by name.
    #[must_use]
    pub fn tensors(&self) -> &[Tensor] {
        &self.set.tensors
    }

    /// The class that the checkpoint was saved from, where that one has a task head and none was opened.
    #[must_use]
    pub fn left_aside(&self) -> Option<&str> {
        let class = self.config.declared_class()?;
        let bare = self.architecture.family.is_base_class(class);
        (self.architecture.head == TaskHead::None && !bare).then_some(class)
    }

    /// The account of the tensors.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The config file with all its keys.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The weights files.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.set.files
    }

    /// SHA-256, in hexadecimal, of the list of `config.json` and the weights files, each line a
    /// file's own SHA-256, two spaces and its name. Reads the files at the first call.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn content_hash(&self) -> Result<&str, Error> {
        if let Some(hash) = self.hash.get() {
            return Ok(hash);
        }
        let mut list = String::new();
        for path in
            std::iter::once(self.config.path()).chain(self.set.files.iter().map(AsRef::as_ref))
        {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            list.push_str(&format!("{}  {name}\n", hash_file(path)?));
        }
        Ok(self.hash.get_or_init(|| hex(&Sha256::digest(list))))
    }

    /// Opens a folder to train it for a task: with the head of [`OpenOptions::open_as`], whose tensors may be missing or
    /// of another size (`classifier` of other labels). [`Report::begun`] names them; whoever makes a model of it gives them
    /// first values. The config is the file's with this head in it, as it is to be written.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn open_to_train(
        folder: &Path,
        options: &OpenOptions,
        head: &NewHead,
    ) -> Result<Self, Error> {
        let set = TensorSet::open(folder)?;
        let names: Vec<&str> = set.tensors.iter().map(Tensor::name).collect();
        let config = Config::read(folder)?.with_head(&names, options.open_as, head)?;
        drop(names);
        let (checkpoint, mut problems) =
            Self::examine_as(folder, config, set, options, Some(head.anew))?;
        if problems.is_empty() {
            Ok(checkpoint)
        } else {
            Err(problems.remove(0))
        }
    }

    fn examine(folder: &Path, options: &OpenOptions) -> Result<(Self, Vec<Error>), Error> {
        let config = Config::read(folder)?;
        Self::examine_as(folder, config, TensorSet::open(folder)?, options, None)
    }

    fn examine_as(
        folder: &Path,
        config: Config,
        set: TensorSet,
        options: &OpenOptions,
        begins: Option<bool>,
    ) -> Result<(Self, Vec<Error>), Error> {
        let names: Vec<&str> = set.tensors.iter().map(Tensor::name).collect();
        let mut architecture = config.architecture(&names, options.open_as)?;
        check_layers(&config, &architecture, &names)?;
        let prefix = architecture.family.table().prefix_in(&names);
        drop(names);
        let mut matching = Matching::default();
        matching.begins = begins;
        matching.report.wrapper.clone_from(&set.wrapper);
        matching.sort(
            folder,
            &set,
            &Names {
                architecture: &architecture,
                prefix,
            },
        );
        if matches!(architecture.head, TaskHead::None) {
            architecture.pooler = matching
                .by_parameter
                .keys()
                .any(|p| matches!(p, Parameter::Pooler(_)));
        }
        architecture.contact_head = matching
            .by_parameter
            .keys()
            .any(|p| matches!(p, Parameter::ContactHead(_)));
        let names = Names {
            architecture: &architecture,
            prefix,
        };
        matching.settle_decoder(
            folder,
            &set,
            &names,
            config.ties_embeddings(names.architecture)?,
            options,
        );
        matching.verify(folder, &set, &names);
        if !options.allow_unexpected && !matching.report.unexpected.is_empty() {
            matching.problems.push(Error::Unexpected {
                path: folder.into(),
                names: matching
                    .report
                    .unexpected
                    .iter()
                    .map(|t| t.name.clone())
                    .collect(),
            });
        }
        let Matching {
            by_parameter,
            report,
            problems,
            begun,
            ..
        } = matching;
        let mut checkpoint = Self {
            folder: folder.into(),
            config,
            architecture,
            set,
            by_parameter,
            begun,
            report,
            hash: OnceLock::new(),
        };
        // Only where every shape is what the config says: it may claim billions of heads.
        if problems.is_empty() {
            let tensor = |parameter| checkpoint.parameter(parameter);
            checkpoint.architecture.zeroed_heads = zeroed_heads(&checkpoint.architecture, tensor);
        }
        Ok((checkpoint, problems))
    }
}

/// Refuses a number of layers that the weights cannot have, before anything is built for each: the config may
/// claim billions, and so may the name of one tensor.
fn check_layers(config: &Config, architecture: &Architecture, names: &[&str]) -> Result<(), Error> {
    let found = architecture.family.layers(names.iter().copied());
    if let Some(shared) = architecture.shared_layers {
        return check_groups(config, shared, found);
    }
    let layers: BTreeSet<usize> = found.map(|(layer, _)| layer).collect();
    let highest = layers.last().map_or(0, |last| last.saturating_add(1));
    // A layer that is not there at all is reported tensor by tensor, so gaps are let through.
    if architecture.num_layers > highest || architecture.num_layers > names.len() {
        return Err(Error::Layers {
            path: config.path().into(),
            configured: architecture.num_layers,
            found: layers.len(),
        });
    }
    Ok(())
}

/// Refuses numbers of groups of layers, and of blocks within them, that are not those of the weights.
fn check_groups(
    config: &Config,
    shared: SharedLayers,
    found: impl Iterator<Item = (usize, Option<usize>)>,
) -> Result<(), Error> {
    let (mut groups, mut blocks) = (0, 0);
    for (group, block) in found {
        groups = groups.max(group.saturating_add(1));
        blocks = blocks.max(block.map_or(0, |block| block.saturating_add(1)));
    }
    for (key, said, held, what) in [
        (
            "num_hidden_groups",
            shared.groups,
            groups,
            "groups of layers",
        ),
        ("inner_group_num", shared.inner, blocks, "blocks in a group"),
    ] {
        if said != held {
            let problem = format!("is {said}, but the weights hold {held} {what}");
            return Err(config.wrong(key, problem));
        }
    }
    Ok(())
}

/// Refuses more heads than the weights have numbers. Shapes say so, too, but who inspects goes on after them.
fn check_heads(config: &Config, architecture: &Architecture, set: &TensorSet) -> Result<(), Error> {
    let heads = architecture
        .num_layers
        .saturating_mul(architecture.num_heads);
    let numbers = set
        .tensors
        .iter()
        .fold(0_usize, |sum, tensor| sum.saturating_add(tensor.len()));
    if heads > numbers {
        return Err(config.wrong(
            "num_attention_heads",
            format!(
                "is {}, {heads} in all layers, but the weights hold only {numbers} numbers",
                architecture.num_heads
            ),
        ));
    }
    Ok(())
}

/// `[rows, cols]` to `[cols, rows]`, in tiles that stay in the cache.
///
/// # Panics
/// If there are fewer than `rows · cols` values.
#[must_use]
pub fn transpose(values: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    const TILE: usize = 32;
    let mut turned = vec![0.0; values.len()];
    for row in (0..rows).step_by(TILE) {
        for col in (0..cols).step_by(TILE) {
            for r in row..(row + TILE).min(rows) {
                for c in col..(col + TILE).min(cols) {
                    turned[c * rows + r] = values[r * cols + c];
                }
            }
        }
    }
    turned
}

fn hash_file(path: &Path) -> Result<String, Error> {
    if let Some(bytes) = bertology_file::held(path) {
        return Ok(hex(&Sha256::digest(bytes.as_slice())));
    }
    let mut file = bertology_file::open(path).map_err(Error::io("open", path))?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer).map_err(Error::io("read", path))?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
            return Ok(hex(&digest.finalize()));
        };
        digest.update(bytes);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

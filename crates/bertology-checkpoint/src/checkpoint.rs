//! A model folder opened: the description, the tensors by canonical name, and the account of both.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use crate::Error;
use crate::arch::{Architecture, Family, TaskHead};
use crate::config::{Config, OpenAs};
use crate::names::{IgnoreReason, Meaning, Names, expected};
use crate::parameter::{Affine, LayerParameter, Parameter};
use crate::prune::zeroed_heads;
use crate::report::{Ignored, MissingTensor, Report, TensorInfo};
use crate::tensors::{Tensor, TensorSet};

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
        self.by_parameter
            .get(&parameter)
            .and_then(|&at| self.set.tensors.get(at))
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
        let transposed = self.architecture.family.table().transposed && parameter.is_block_map();
        let &[inputs, outputs] = tensor.shape() else {
            return Ok(Some(values));
        };
        Ok(Some(if transposed {
            transpose(&values, inputs, outputs)
        } else {
            values
        }))
    }

    /// The tensor of a parameter whose values lie in the mapped file as they are wanted: f32, aligned, in
    /// the canonical layout. [`Tensor::as_f32_slice`] then gives them without a copy.
    #[must_use]
    pub fn in_place(&self, parameter: Parameter) -> Option<&Tensor> {
        let turned = self.architecture.family.table().transposed && parameter.is_block_map();
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

    fn examine(folder: &Path, options: &OpenOptions) -> Result<(Self, Vec<Error>), Error> {
        let config = Config::read(folder)?;
        let set = TensorSet::open(folder)?;
        let names: Vec<&str> = set.tensors.iter().map(Tensor::name).collect();
        let mut architecture = config.architecture(&names, options.open_as)?;
        check_layers(&config, &architecture, &names)?;
        let prefix = architecture.family.table().prefix;
        let prefixed = names.iter().any(|name| name.starts_with(prefix));
        drop(names);
        let mut matching = Matching::default();
        matching.report.wrapper.clone_from(&set.wrapper);
        matching.sort(
            folder,
            &set,
            &Names {
                architecture: &architecture,
                prefixed,
            },
        );
        if matches!(architecture.head, TaskHead::None) {
            architecture.pooler = matching
                .by_parameter
                .keys()
                .any(|p| matches!(p, Parameter::Pooler(_)));
        }
        let names = Names {
            architecture: &architecture,
            prefixed,
        };
        matching.settle_decoder(folder, &set, &names, config.ties_embeddings()?, options);
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
            ..
        } = matching;
        let mut checkpoint = Self {
            folder: folder.into(),
            config,
            architecture,
            set,
            by_parameter,
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
    let layers: BTreeSet<usize> = architecture.family.layers(names.iter().copied()).collect();
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

/// The work of matching tensors with parameters.
#[derive(Default)]
struct Matching {
    by_parameter: BTreeMap<Parameter, usize>,
    /// Decoder tensors that may be copies of tied ones.
    decoder: Vec<(Affine, usize)>,
    report: Report,
    problems: Vec<Error>,
}

impl Matching {
    fn sort(&mut self, folder: &Path, set: &TensorSet, names: &Names<'_>) {
        for (at, tensor) in set.tensors.iter().enumerate() {
            match names.meaning(tensor.name()) {
                Meaning::Use(parameter) => self.claim(folder, set, parameter, at),
                Meaning::TiedDecoder(affine) => self.decoder.push((affine, at)),
                Meaning::Ignore(reason) => self.ignore(tensor, reason),
                Meaning::Unknown => self.report.unexpected.push(TensorInfo::of(tensor)),
            }
        }
    }

    fn claim(&mut self, folder: &Path, set: &TensorSet, parameter: Parameter, at: usize) {
        let Some(&first) = self.by_parameter.get(&parameter) else {
            self.by_parameter.insert(parameter, at);
            return;
        };
        if let (Some(first), Some(second)) = (set.tensors.get(first), set.tensors.get(at)) {
            self.report.unexpected.push(TensorInfo::of(second));
            self.problems.push(Error::Duplicate {
                path: folder.into(),
                parameter,
                first: first.name().into(),
                second: second.name().into(),
            });
        }
    }

    fn ignore(&mut self, tensor: &Tensor, reason: IgnoreReason) {
        self.report.ignored.push(Ignored {
            tensor: TensorInfo::of(tensor),
            reason,
        });
    }

    /// A decoder's tensor in the file counts only where it equals the tied one or nothing is tied.
    fn settle_decoder(
        &mut self,
        folder: &Path,
        set: &TensorSet,
        names: &Names<'_>,
        tied: bool,
        options: &OpenOptions,
    ) {
        let decoder_wins = matches!(
            names.architecture.family,
            Family::Roberta | Family::XlmRoberta | Family::Camembert
        );
        for (affine, at) in std::mem::take(&mut self.decoder) {
            let Some(tensor) = set.tensors.get(at) else {
                continue;
            };
            let partner = match affine {
                Affine::Weight if !tied => None,
                Affine::Weight => Some(Parameter::WordEmbeddings),
                Affine::Bias => Some(Parameter::LmDecoder(Affine::Bias)),
            };
            let other = partner
                .and_then(|parameter| self.by_parameter.get(&parameter))
                .and_then(|&at| set.tensors.get(at));
            match other {
                Some(other) if other.same_values(tensor) => {
                    tensor.release();
                    self.ignore(tensor, IgnoreReason::TiedCopy);
                }
                // transformers sets both, then lets RoBERTa's own name share the decoder's.
                Some(other) if affine == Affine::Bias && decoder_wins => {
                    self.ignore(other, IgnoreReason::OtherBias);
                    self.by_parameter
                        .insert(Parameter::LmDecoder(Affine::Bias), at);
                }
                Some(_) if options.allow_unexpected => {
                    self.ignore(
                        tensor,
                        match affine {
                            Affine::Weight => IgnoreReason::OverriddenByTie,
                            Affine::Bias => IgnoreReason::OtherBias,
                        },
                    );
                }
                Some(other) => {
                    self.report.unexpected.push(TensorInfo::of(tensor));
                    let (tensor, other, file) = (
                        tensor.name().into(),
                        other.name().into(),
                        tensor.file().into(),
                    );
                    self.problems.push(match affine {
                        Affine::Weight => Error::Untied {
                            tensor,
                            tied: other,
                            file,
                        },
                        Affine::Bias => Error::TwoBiases {
                            tensor,
                            used: other,
                            file,
                        },
                    });
                }
                // Without word embeddings the tie cannot hold; that is reported as missing.
                None if affine == Affine::Weight && tied => {
                    self.report.unexpected.push(TensorInfo::of(tensor));
                }
                None => self.claim(folder, set, Parameter::LmDecoder(affine), at),
            }
        }
        let has_lm = matches!(
            names.architecture.head,
            TaskHead::MaskedLm | TaskHead::PreTraining | TaskHead::CausalLm
        );
        let decoder = Parameter::LmDecoder(Affine::Weight);
        if has_lm && !tied {
            let shape = vec![
                names.architecture.vocab_size,
                names.architecture.embedding_size,
            ];
            self.expect(set, names, decoder, &shape);
        }
    }

    fn verify(&mut self, folder: &Path, set: &TensorSet, names: &Names<'_>) {
        for (parameter, shape) in expected(names.architecture) {
            self.expect(set, names, parameter, &shape);
        }
        let missing: Vec<String> = self.report.missing.iter().map(|m| m.name.clone()).collect();
        if !missing.is_empty() {
            let task = match names.architecture.head {
                TaskHead::None => None,
                TaskHead::SequenceClassification { .. } => Some("sequence classifier"),
                TaskHead::MaskedLm => Some("masked language model"),
                TaskHead::CausalLm => Some("causal language model"),
                TaskHead::NextSentence => Some("next-sentence predictor"),
                TaskHead::PreTraining => Some("pre-training head"),
                TaskHead::TokenClassification { .. } => Some("token classifier"),
                TaskHead::QuestionAnswering => Some("question-answering model"),
                TaskHead::ReplacedTokens => Some("replaced-token discriminator"),
            };
            let of_head: Vec<String> = missing
                .iter()
                .filter(|name| !names.in_base(name))
                .cloned()
                .collect();
            let path = folder.to_path_buf();
            self.problems.insert(
                0,
                match task {
                    Some(task) if of_head.len() == missing.len() => Error::MissingHead {
                        path,
                        task,
                        names: of_head,
                    },
                    _ => Error::Missing {
                        path,
                        names: missing,
                    },
                },
            );
        }
        let classifier = matches!(
            names.architecture.head,
            TaskHead::SequenceClassification { .. }
        );
        let dense_is_head = classifier && !names.reads_base_pooler();
        for (&parameter, &at) in &self.by_parameter {
            let Some(tensor) = set.tensors.get(at) else {
                continue;
            };
            self.report.used.push(TensorInfo::of(tensor));
            self.report.parts.add(parameter, tensor, dense_is_head);
        }
    }

    fn expect(
        &mut self,
        set: &TensorSet,
        names: &Names<'_>,
        parameter: Parameter,
        shape: &[usize],
    ) {
        let tensor = self
            .by_parameter
            .get(&parameter)
            .and_then(|&at| set.tensors.get(at));
        let Some(tensor) = tensor else {
            let missing = MissingTensor {
                name: names.name_of(parameter),
                shape: names.stored_shape(parameter, shape),
            };
            self.report.missing.push(missing);
            return;
        };
        let shape = &names.stored_shape(parameter, shape);
        if tensor.shape() != shape {
            self.problems.push(Error::Shape {
                tensor: tensor.name().into(),
                file: tensor.file().into(),
                found: tensor.shape().to_vec(),
                expected: shape.to_vec(),
                hint: shape_hint(parameter, names.architecture),
            });
        } else if !tensor.is_floating() {
            self.problems.push(tensor.wrong_dtype());
        }
    }
}

/// The usual cause of a wrong shape, where there is one.
fn shape_hint(parameter: Parameter, architecture: &Architecture) -> &'static str {
    match parameter {
        Parameter::Layer(
            layer,
            LayerParameter::Query(_)
            | LayerParameter::Key(_)
            | LayerParameter::Value(_)
            | LayerParameter::QueryKeyValue(_)
            | LayerParameter::AttentionOutput(_),
        ) => {
            if architecture.pruned_heads.contains_key(&layer) {
                "; `pruned_heads` of this layer may not be those of the file"
            } else {
                "; if heads were pruned from this layer, `pruned_heads` must name them"
            }
        }
        Parameter::Classifier(_) | Parameter::TokenScores(_) => {
            "; `id2label` sets the number of labels"
        }
        _ => "",
    }
}

/// `[rows, cols]` to `[cols, rows]`, in tiles that stay in the cache.
fn transpose(values: &[f32], rows: usize, cols: usize) -> Vec<f32> {
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

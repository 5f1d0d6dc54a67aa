//! Everything that can be wrong with a model folder, each with its evidence.

use std::path::PathBuf;

use bertology_error::Kind;
use bertology_file::Refusal;
use safetensors::Dtype;

use crate::Parameter;

/// Why a model folder could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The path given is not a folder.
    #[error("{} is not a folder; give the folder that holds config.json and the weights", path.display())]
    NotAFolder {
        /// The path given.
        path: PathBuf,
    },
    /// No `config.json`.
    #[error("{} holds no config.json, so it is not a model folder in the Hugging Face layout", path.display())]
    MissingConfig {
        /// The folder.
        path: PathBuf,
    },
    /// The folder holds an adapter beside or in place of a model.
    #[error(
        "{} is there, so the folder is a PEFT adapter of another model; merge it first in Python: \
         `AutoPeftModelForSequenceClassification.from_pretrained(DIR).merge_and_unload()\
         .save_pretrained(NEW_DIR)`, with the class that fits the task (if the weights here are \
         merged already, remove that file)",
        path.display()
    )]
    Adapter {
        /// The file that says so, `adapter_config.json`.
        path: PathBuf,
    },
    /// A JSON file does not parse.
    #[error("{} is not valid JSON: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why, from the parser.
        source: serde_json::Error,
    },
    /// An option of `config.json` has a value of the wrong kind, out of range or at odds with
    /// another one.
    #[error("{}: `{key}` {problem}", path.display())]
    Config {
        /// The config file.
        path: PathBuf,
        /// The option.
        key: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// An option of `config.json` asks for a computation that is not offered.
    #[error("{}: `{key}` is {value}, which is not supported; {supported}", path.display())]
    UnsupportedOption {
        /// The config file.
        path: PathBuf,
        /// The option.
        key: String,
        /// Its value, as JSON.
        value: String,
        /// What is supported, as a clause.
        supported: String,
    },
    /// `architectures` names a task whose head is not offered.
    #[error(
        "{}: the checkpoint is a {architecture}, whose task is not supported; open it as a bare \
         encoder to study its heads without the task",
        path.display()
    )]
    UnsupportedTask {
        /// The config file.
        path: PathBuf,
        /// The class that `architectures` names.
        architecture: String,
    },
    /// Neither the config nor the tensors say which task the checkpoint was made for.
    #[error("{}: no `architectures`, and the tensors fit several tasks ({evidence}); say which head to open", path.display())]
    AmbiguousTask {
        /// The config file.
        path: PathBuf,
        /// The tensors that leave it open.
        evidence: String,
    },
    /// The folder has no weights at all.
    #[error(
        "{} holds no weights: expected model.safetensors, model.safetensors.index.json, \
         pytorch_model.bin or pytorch_model.bin.index.json",
        path.display()
    )]
    NoWeights {
        /// The folder.
        path: PathBuf,
    },
    /// The only weights are of another framework.
    #[error(
        "{} holds only {format} weights ({file}); convert them once in Python with transformers \
         4.57: `AutoModel.from_pretrained(DIR, {option}=True).save_pretrained(NEW_DIR)`, with the \
         class that fits the task in place of AutoModel",
        path.display()
    )]
    ForeignWeights {
        /// The folder.
        path: PathBuf,
        /// The file found.
        file: String,
        /// The framework.
        format: &'static str,
        /// The argument of `from_pretrained` that reads it.
        option: &'static str,
    },
    /// A PyTorch file of its first year: a tar archive.
    #[error(
        "{} is in PyTorch's format of 2016, a tar archive; if you trust it, convert it once in \
         Python: `torch.save(torch.load(FILE, map_location=\"cpu\", weights_only=False), FILE)`",
        path.display()
    )]
    LegacyPickle {
        /// The file.
        path: PathBuf,
    },
    /// The crate was built without the `pickle` feature.
    #[error("{} is a PyTorch pickle, which this build cannot read; use model.safetensors or build with the `pickle` feature", path.display())]
    PickleDisabled {
        /// The file.
        path: PathBuf,
    },
    /// The pickle asks for something other than plain tensors.
    #[error("{}: the pickle asks for `{global}`, which is refused: nothing but plain tensors is read from a pickle", path.display())]
    UnsafePickle {
        /// The file.
        path: PathBuf,
        /// Module and name of the callable.
        global: String,
    },
    /// The pickle is sound, but something other than a model's state dict: a training checkpoint,
    /// for instance.
    #[error(
        "{}: {problem}; a plain dictionary of tensors is expected, as \
         `torch.save(model.state_dict(), FILE)` writes it",
        path.display()
    )]
    NotAStateDict {
        /// The file.
        path: PathBuf,
        /// What was found.
        problem: String,
    },
    /// A weights file is truncated or otherwise broken.
    #[error("{} is damaged or incomplete: {problem}; download or copy it again", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        problem: String,
    },
    /// A placeholder of git-lfs lies where the file should be.
    #[error("{} is a git-lfs pointer, not the file itself; run `git lfs pull` in that folder", path.display())]
    LfsPointer {
        /// The file.
        path: PathBuf,
    },
    /// A shard index contradicts itself or the shards.
    #[error("{}: {problem}", path.display())]
    Index {
        /// The index file.
        path: PathBuf,
        /// What does not fit.
        problem: String,
    },
    /// Two tensors stand for the same parameter.
    #[error("{}: tensors `{first}` and `{second}` both stand for {parameter}; remove one", path.display())]
    Duplicate {
        /// The folder.
        path: PathBuf,
        /// The parameter.
        parameter: Parameter,
        /// Name in the file.
        first: String,
        /// Name in the file.
        second: String,
    },
    /// The same name occurs in two files of a checkpoint, or twice in one.
    #[error("tensor `{name}` occurs in both {} and {}", first.display(), second.display())]
    DuplicateName {
        /// The tensor.
        name: String,
        /// A file that holds it.
        first: PathBuf,
        /// Another file that holds it.
        second: PathBuf,
    },
    /// A tensor's shape contradicts the config.
    #[error(
        "{}: tensor `{tensor}` has shape {found:?} where config.json asks for {expected:?}{hint}",
        file.display()
    )]
    Shape {
        /// Name in the file.
        tensor: String,
        /// The weights file.
        file: PathBuf,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that follows from the config.
        expected: Vec<usize>,
        /// A likely cause, or nothing.
        hint: &'static str,
    },
    /// A parameter is stored in a type that holds no usable weights.
    #[error("{}: tensor `{tensor}` has type {dtype}; parameters must be F32, F16, BF16 or F64", file.display())]
    Dtype {
        /// Name in the file.
        tensor: String,
        /// The weights file.
        file: PathBuf,
        /// Its type.
        dtype: Dtype,
    },
    /// The config counts more layers than the file can hold.
    #[error("{}: `num_hidden_layers` is {configured}, but the weights hold {found} layers", path.display())]
    Layers {
        /// The config file.
        path: PathBuf,
        /// Layers according to the config.
        configured: usize,
        /// Different layer numbers among the tensors.
        found: usize,
    },
    /// Parameters that the model needs are not in the files.
    #[error("{}: {} missing: {}", path.display(), count(names), list(names))]
    Missing {
        /// The folder.
        path: PathBuf,
        /// The names under which they were sought.
        names: Vec<String>,
    },
    /// The task head's own tensors are not in the files.
    #[error(
        "{} holds no fine-tuned {task}: {} missing: {}; give a checkpoint trained for the task, or \
         open this one as a bare encoder",
        path.display(), count(names), list(names)
    )]
    MissingHead {
        /// The folder.
        path: PathBuf,
        /// The kind of head.
        task: &'static str,
        /// The names under which its tensors were sought.
        names: Vec<String>,
    },
    /// A model to be written that is not the one that the checkpoint describes.
    #[error("the model has no values for {parameter} in the size that config.json gives it")]
    NoValues {
        /// The name under which the file would hold it.
        parameter: String,
    },
    /// Tensors that nothing in the model uses.
    #[error(
        "{}: {} that the model described by config.json does not have: {}; correct config.json, or \
         allow unexpected tensors",
        path.display(), count(names), list(names)
    )]
    Unexpected {
        /// The folder.
        path: PathBuf,
        /// The tensors.
        names: Vec<String>,
    },
    /// Two biases of one output layer that differ.
    #[error(
        "{}: `{tensor}` differs from `{used}`, which is the one that transformers computes with; remove `{tensor}` from the \
         file, or allow unexpected tensors to leave it out",
        file.display()
    )]
    TwoBiases {
        /// The tensor that is not used.
        tensor: String,
        /// The one that is.
        used: String,
        /// The file.
        file: PathBuf,
    },
    /// An output layer that should share another tensor's values has its own.
    #[error(
        "{}: `{tensor}` differs from `{tied}`, to which config.json ties it; set \
         \"tie_word_embeddings\": false to use it, or allow unexpected tensors to leave it out",
        file.display()
    )]
    Untied {
        /// The tensor.
        tensor: String,
        /// The one that it should equal.
        tied: String,
        /// The weights file.
        file: PathBuf,
    },
    /// Text that names heads could not be read.
    #[error(
        "`{text}` does not name heads: {problem}; write 3.5, L3H5, 3:5, 0:1,3 or 5:0-4 (layer, then heads, counted from 0)"
    )]
    HeadSyntax {
        /// The text.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A head that the model does not have.
    #[error("layer {layer}, head {head} does not exist: the model has layers 0 to {} and heads 0 to {}", layers.saturating_sub(1), heads.saturating_sub(1))]
    NoSuchHead {
        /// The layer asked for.
        layer: u64,
        /// The head asked for.
        head: u64,
        /// Number of layers.
        layers: usize,
        /// Heads per layer of the unpruned model.
        heads: usize,
    },
    /// A head that one layer would lose, and another, which has the same weights, keep.
    #[error(
        "head {head} of layer {lost} cannot go from the file while layer {kept} keeps it: these layers share their weights; \
         name it in all of them ({all}) or in none"
    )]
    SharedHead {
        /// The head.
        head: usize,
        /// A layer that would lose it.
        lost: usize,
        /// One that would keep it.
        kept: usize,
        /// The head in all layers of these weights, as people write them.
        all: String,
    },
    /// Heads that are to leave files whose queries and keys are brought to scale over all heads.
    #[error(
        "heads cannot leave the files of this model: the queries of all heads of a layer go through one norm, and so do the keys; \
         write it in full shape, with zeros for what these heads give"
    )]
    TogetherNormed,
    /// A layer with weights of its own, where the file has one place for those of several.
    #[error(
        "layer {layer} has lost heads that layer {first} has kept, and the files have one place for the weights of both; write \
         the model before heads are taken out, or take them out of all layers that share their weights"
    )]
    PartedLayer {
        /// The layer.
        layer: usize,
        /// The first that has the same weights in the files.
        first: usize,
    },
    /// A factor that is not a finite number.
    #[error(
        "a factor of a head or neuron is {value}; give 0 for what is to go, 1 for what is to stay as it is"
    )]
    Factor {
        /// What.
        value: f64,
    },
    /// Not a factor for every neuron of a layer.
    #[error(
        "there are {found} factors for the neurons of layer {layer}; the model has layers 0 to {}, this one with {neurons} neurons",
        layers - 1
    )]
    NeuronFactors {
        /// The layer.
        layer: usize,
        /// Factors given.
        found: usize,
        /// Layers of the model.
        layers: usize,
        /// Neurons that the layer has.
        neurons: usize,
    },
    /// Neurons or factors of a layer, where layers have their weights in common.
    #[error(
        "neurons of layer {layer} cannot leave, nor anything in it be weighed: the layers of this model share their weights; take \
         out heads, of all layers alike"
    )]
    SharedFactors {
        /// The layer.
        layer: usize,
    },
    /// Rows of the token embedding that cannot be those that stay.
    #[error(
        "the rows of the token embedding that stay must be named in ascending order, at least one, each once, from 0 to {}",
        vocab_size.saturating_sub(1)
    )]
    TokenRows {
        /// Rows that there are.
        vocab_size: usize,
    },
    /// A mask whose size does not fit the model.
    #[error("the head mask has {found} entries; the model has {layers} layers of {heads} heads, so {} are needed", layers * heads)]
    MaskSize {
        /// Entries given.
        found: usize,
        /// Layers.
        layers: usize,
        /// Heads per layer.
        heads: usize,
    },
    /// The output folder already has content.
    #[error("{} already exists and is not empty; choose another folder or allow overwriting", path.display())]
    OutputExists {
        /// The folder.
        path: PathBuf,
    },
    /// The output folder is the source itself.
    #[error("{} is the folder being read; write the smaller checkpoint elsewhere", path.display())]
    OutputIsSource {
        /// The folder.
        path: PathBuf,
    },
}

impl Error {
    /// Whose fault it was.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Io { .. }
            | Self::MissingConfig { .. }
            | Self::Adapter { .. }
            | Self::Json { .. }
            | Self::Config { .. }
            | Self::UnsupportedOption { .. }
            | Self::UnsupportedTask { .. }
            | Self::AmbiguousTask { .. }
            | Self::NoWeights { .. }
            | Self::ForeignWeights { .. }
            | Self::LegacyPickle { .. }
            | Self::PickleDisabled { .. }
            | Self::UnsafePickle { .. }
            | Self::NotAStateDict { .. }
            | Self::Corrupt { .. }
            | Self::LfsPointer { .. }
            | Self::Index { .. }
            | Self::Duplicate { .. }
            | Self::DuplicateName { .. }
            | Self::Shape { .. }
            | Self::Dtype { .. }
            | Self::Layers { .. }
            | Self::Missing { .. }
            | Self::MissingHead { .. }
            | Self::NoValues { .. }
            | Self::Unexpected { .. }
            | Self::TwoBiases { .. }
            | Self::Untied { .. } => Kind::Environment,
            Self::NotAFolder { .. }
            | Self::HeadSyntax { .. }
            | Self::NoSuchHead { .. }
            | Self::SharedHead { .. }
            | Self::PartedLayer { .. }
            | Self::TogetherNormed
            | Self::Factor { .. }
            | Self::NeuronFactors { .. }
            | Self::SharedFactors { .. }
            | Self::TokenRows { .. }
            | Self::MaskSize { .. }
            | Self::OutputExists { .. }
            | Self::OutputIsSource { .. } => Kind::Input,
        }
    }

    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| match Refusal::of(&source) {
            Some(Refusal::LfsPointer) => Self::LfsPointer { path },
            _ => Self::Io {
                action,
                path,
                source,
            },
        }
    }
}

fn count(names: &[String]) -> String {
    if names.len() == 1 {
        "1 tensor".into()
    } else {
        format!("{} tensors", names.len())
    }
}

/// Names in full up to eight, then a count: a wrong config can put hundreds here.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let mut text = names
        .iter()
        .take(SHOWN)
        .map(|n| format!("`{n}`"))
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_the_surroundings_and_a_request_is_the_input() {
        let path = PathBuf::from("model");
        let folder = [
            Error::MissingConfig { path: path.clone() },
            Error::Unexpected {
                path: path.clone(),
                names: Vec::new(),
            },
            Error::io("read", &path)(std::io::ErrorKind::NotFound.into()),
        ];
        for error in folder {
            assert_eq!(error.kind(), Kind::Environment, "{error}");
        }
        let request = [
            Error::MaskSize {
                found: 3,
                layers: 2,
                heads: 2,
            },
            Error::OutputExists { path },
        ];
        for error in request {
            assert_eq!(error.kind(), Kind::Input, "{error}");
        }
    }
}

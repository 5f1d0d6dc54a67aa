//! A model, and what it computes for a few inputs.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};

use bertology::checkpoint::{Export, HeadSet, WriteOptions, write_pruned};
use bertology::hub::{self, HubOptions};
use bertology::model::taps::Captured;
use bertology::model::{HeadMask, Interests, Place, Replacements, Target};
use bertology::{Device, Error, HeadId, LoadedModel, OpenAs, OpenOptions, Precision, onnx};
use bertology_file::MemoryFolder;
use numpy::{PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::inbox::Inbox;
use crate::inputs::{Aim, Given, Prepared};
use crate::passes::{self, Asked};
use crate::{arrays, errors, memory, sites};

/// A model with its tokenizer.
#[pyclass(frozen, module = "bertology._native")]
pub(crate) struct Model {
    loaded: LoadedModel,
    /// What commands are given as MODEL.
    #[pyo3(get)]
    name: String,
    /// Of a model of the hub.
    #[pyo3(get)]
    commit: Option<String>,
    /// Heads that were taken out since it was opened.
    removed: Vec<HeadId>,
    /// Keeps the files of a model that is on no disk.
    memory: Option<Arc<MemoryFolder>>,
}

/// A change of an experiment.
#[derive(FromPyObject)]
enum Change<'py> {
    /// `(layer, head)`: the head's output is zero.
    Zero(usize, usize),
    /// `(layer, head, row)`: the head's output is this row at every token.
    Mean(usize, usize, PyReadonlyArray1<'py, f32>),
    /// `(site, layer, head, value)`.
    Value(
        String,
        Option<usize>,
        Option<usize>,
        PyReadonlyArray2<'py, f32>,
    ),
}

fn open_as(py: Python<'_>, name: &str) -> PyResult<OpenAs> {
    let all = [
        ("auto", OpenAs::DeclaredOrEncoder),
        ("declared", OpenAs::Declared),
        ("encoder", OpenAs::Encoder),
        ("sequence-classification", OpenAs::SequenceClassification),
        ("masked-lm", OpenAs::MaskedLm),
        ("causal-lm", OpenAs::CausalLm),
        ("next-sentence", OpenAs::NextSentence),
        ("pre-training", OpenAs::PreTraining),
        ("token-classification", OpenAs::TokenClassification),
        ("question-answering", OpenAs::QuestionAnswering),
    ];
    let found = all.iter().find(|(known, _)| *known == name);
    found.map(|(_, open_as)| *open_as).ok_or_else(|| {
        let known: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
        let known = known.join(", ");
        errors::input(py, format!("there is no head {name:?}; there are {known}"))
    })
}

impl Model {
    fn opened(
        py: Python<'_>,
        folder: PathBuf,
        name: String,
        head: &str,
        allow_unexpected: bool,
        [precision, device]: [&str; 2],
        memory: Option<MemoryFolder>,
    ) -> PyResult<Self> {
        let wanted: Result<Precision, _> = precision.parse();
        let wanted = wanted
            .map_err(|error| errors::input(py, format!("precision {precision:?} {error}")))?;
        let device: Result<Device, _> = device.parse();
        let device = device.map_err(|error| errors::input(py, error))?;
        let options = OpenOptions::new()
            .open_as(open_as(py, head)?)
            .allow_unexpected(allow_unexpected);
        let loaded = py.detach(|| {
            let loaded = LoadedModel::open_with(folder, &options)?;
            loaded.in_precision(wanted)?.on(&device)
        });
        Ok(Self {
            loaded: loaded.map_err(|error| errors::library(py, &error))?,
            name,
            commit: None,
            removed: Vec::new(),
            memory: memory.map(Arc::new),
        })
    }

    fn prepared(
        &self,
        py: Python<'_>,
        inputs: &[Given],
        max_length: Option<usize>,
    ) -> PyResult<Vec<Prepared>> {
        let found = py.detach(|| {
            let all = inputs.iter();
            let prepare = |given: &Given| given.prepare(&self.loaded, max_length);
            all.map(prepare).collect::<Result<Vec<_>, Error>>()
        });
        found.map_err(|error| errors::library(py, &error))
    }

    fn head(&self, py: Python<'_>, layer: usize, head: usize) -> PyResult<HeadId> {
        let arch = self.loaded.architecture();
        if layer >= arch.num_layers || head >= arch.num_heads {
            return Err(errors::input(
                py,
                format!(
                    "layer {layer}, head {head}: the model has {} layers of {} heads, counted from 0",
                    arch.num_layers, arch.num_heads
                ),
            ));
        }
        Ok(HeadId { layer, head })
    }

    fn replacements(
        &self,
        py: Python<'_>,
        changes: &[Change<'_>],
    ) -> PyResult<Option<Replacements<f32>>> {
        let mut all = Replacements::new();
        for change in changes {
            all = match change {
                Change::Zero(layer, head) => all.zero(self.head(py, *layer, *head)?),
                Change::Mean(layer, head, row) => {
                    let row = row.as_array().to_vec();
                    all.mean(self.head(py, *layer, *head)?, row)
                }
                Change::Value(site, layer, head, value) => {
                    let value = value.as_array();
                    let place = Place {
                        tap: sites::tap(py, site, *layer)?,
                        sequence: 0,
                        head: *head,
                    };
                    let (rows, cols) = value.dim();
                    let data = value.iter().copied().collect();
                    all.value(place, Captured { rows, cols, data })
                }
            };
        }
        Ok((!changes.is_empty()).then_some(all))
    }
}

#[pymethods]
impl Model {
    /// Opens a folder in Hugging Face layout, or a model of the hub.
    #[staticmethod]
    #[pyo3(signature = (name, *, revision=None, offline=false, cache_dir=None, head="auto", allow_unexpected=false, precision="f32", device="cpu"))]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    fn open(
        py: Python<'_>,
        name: String,
        revision: Option<String>,
        offline: bool,
        cache_dir: Option<PathBuf>,
        head: &str,
        allow_unexpected: bool,
        precision: &str,
        device: &str,
    ) -> PyResult<Self> {
        let mut options = HubOptions::from_env(|name| std::env::var(name).ok());
        options.revision = revision;
        if cache_dir.is_some() {
            options.cache_dir = cache_dir;
        }
        options.offline |= offline;
        let resolved = py.detach(|| hub::resolve(&name, &options));
        let resolved = resolved.map_err(|error| errors::library(py, &error.into()))?;
        // A command is given the same name, and the commit, whatever the hub says by then.
        let name = match resolved.commit {
            Some(_) => name,
            None => resolved.folder.to_string_lossy().into_owned(),
        };
        let folder = resolved.folder;
        let mut model = Self::opened(
            py,
            folder,
            name,
            head,
            allow_unexpected,
            [precision, device],
            None,
        )?;
        model.commit = resolved.commit;
        Ok(model)
    }

    /// Opens what a program has in memory: arrays of float32 by the names that a checkpoint gives them, and the small
    /// files (`config.json`, `tokenizer.json` ...) as bytes.
    #[staticmethod]
    #[pyo3(signature = (label, tensors, files, *, head="auto", allow_unexpected=false, precision="f32", device="cpu"))]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    fn from_memory(
        py: Python<'_>,
        label: &str,
        tensors: &Bound<'_, PyDict>,
        files: &Bound<'_, PyDict>,
        head: &str,
        allow_unexpected: bool,
        precision: &str,
        device: &str,
    ) -> PyResult<Self> {
        let folder = memory::folder(py, label, tensors, files)?;
        let path = folder.path().to_owned();
        let name = path.to_string_lossy().into_owned();
        let memory = Some(folder);
        Self::opened(
            py,
            path,
            name,
            head,
            allow_unexpected,
            [precision, device],
            memory,
        )
    }

    /// Numbers and names that describe the model.
    fn facts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let arch = self.loaded.architecture();
        let facts = PyDict::new(py);
        facts.set_item("precision", self.loaded.model().precision().name())?;
        facts.set_item("device", self.loaded.device().name)?;
        facts.set_item("num_layers", arch.num_layers)?;
        facts.set_item("num_heads", arch.num_heads)?;
        facts.set_item("hidden_size", arch.hidden_size)?;
        facts.set_item("head_dim", arch.head_dim())?;
        facts.set_item("vocab_size", arch.vocab_size)?;
        facts.set_item("causal", arch.causal)?;
        facts.set_item("max_length", self.loaded.max_length())?;
        facts.set_item("task", arch.head.description())?;
        facts.set_item("token_scores", arch.head.token_scores())?;
        facts.set_item("language_model", {
            use bertology::checkpoint::TaskHead as H;
            matches!(arch.head, H::MaskedLm | H::CausalLm | H::PreTraining)
        })?;
        facts.set_item("labels", arch.labels.clone())?;
        facts.set_item("family", format!("{:?}", arch.family))?;
        facts.set_item("parameters", self.loaded.model().parameters())?;
        let heads: Vec<Vec<usize>> = (0..arch.num_layers)
            .map(|layer| arch.heads(layer))
            .collect();
        facts.set_item("heads", heads)?;
        let config = serde_json::Value::Object(self.loaded.checkpoint().config().raw().clone());
        facts.set_item("config", config.to_string())?;
        facts.set_item("in_memory", self.memory.is_some())?;
        let removed: Vec<(usize, usize)> =
            self.removed.iter().map(|id| (id.layer, id.head)).collect();
        facts.set_item("removed", removed)?;
        Ok(facts)
    }

    /// Tokens of inputs: `ids`, `segment_ids`, `tokens`, and of texts `offsets` (in characters), `special`, `words`,
    /// `sequence` and `truncated`.
    #[pyo3(signature = (inputs, *, max_length=None))]
    fn encode<'py>(
        &self,
        py: Python<'py>,
        inputs: Vec<Given>,
        max_length: Option<usize>,
    ) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let prepared = self.prepared(py, &inputs, max_length)?;
        prepared
            .iter()
            .map(|prepared| self.encoded(py, prepared))
            .collect()
    }

    /// Puts inputs through the model. `values` and `gradients` name sites; gradients need `targets`, one an input.
    /// `head_mask` is `[layers, heads]`; `changes` are for one input alone.
    #[pyo3(signature = (inputs, *, values=vec![], gradients=vec![], targets=None, head_mask=None, changes=vec![], token_logits=false, max_length=None, threads=0))]
    #[allow(clippy::too_many_arguments, reason = "they are keywords")]
    fn look<'py>(
        &self,
        py: Python<'py>,
        inputs: Vec<Given>,
        values: Vec<String>,
        gradients: Vec<String>,
        targets: Option<Vec<Aim>>,
        head_mask: Option<PyReadonlyArray2<'py, f64>>,
        changes: Vec<Change<'py>>,
        token_logits: bool,
        max_length: Option<usize>,
        threads: usize,
    ) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let prepared = self.prepared(py, &inputs, max_length)?;
        let mut interests = Interests::none();
        for name in &values {
            interests = interests.value(sites::site(py, name)?);
        }
        for name in &gradients {
            interests = interests.gradient(sites::site(py, name)?);
        }
        let sequences: Vec<_> = prepared.iter().map(|one| one.sequence.clone()).collect();
        let targets = match targets {
            None if !gradients.is_empty() => {
                return Err(errors::input(
                    py,
                    "gradients are those of a loss: give targets, one an input",
                ));
            }
            None => None,
            Some(targets) if targets.len() != sequences.len() => {
                return Err(errors::input(
                    py,
                    format!(
                        "{} targets for {} inputs: give one each",
                        targets.len(),
                        sequences.len()
                    ),
                ));
            }
            Some(targets) => {
                let aimed = targets.iter().zip(&sequences);
                let aimed = aimed.map(|(aim, sequence)| aim.target(&self.loaded, sequence));
                let targets: Result<Vec<Target>, String> = aimed.collect();
                Some(targets.map_err(|message| errors::input(py, message))?)
            }
        };
        let asked = Asked {
            interests,
            targets,
            mask: masked(py, head_mask)?,
            replacements: self.replacements(py, &changes)?,
            token_logits,
            threads,
        };
        let shown = stoppable(py, |stop| {
            passes::run(&self.loaded, &sequences, &asked, stop)
        })?;
        let mut found = Vec::with_capacity(shown.len());
        for (prepared, shown) in prepared.iter().zip(shown) {
            let dict = self.encoded(py, prepared)?;
            dict.update(shown.into_dict(py, &self.loaded)?.as_mapping())?;
            found.push(dict);
        }
        Ok(found)
    }

    /// `[residues, residues]` of each protein: how probable it is that two residues touch.
    #[pyo3(signature = (inputs, *, head_mask=None, max_length=None, threads=0))]
    fn contacts<'py>(
        &self,
        py: Python<'py>,
        inputs: Vec<Given>,
        head_mask: Option<PyReadonlyArray2<'py, f64>>,
        max_length: Option<usize>,
        threads: usize,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let prepared = self.prepared(py, &inputs, max_length)?;
        let sequences: Vec<_> = prepared.into_iter().map(|one| one.sequence).collect();
        let mask = masked(py, head_mask)?;
        let found = stoppable(py, |stop| {
            passes::contacts(&self.loaded, &sequences, mask.as_ref(), threads, stop)
        })?;
        let arrays = found
            .into_iter()
            .map(|one| arrays::array(py, one.probabilities, &[one.residues; 2]));
        arrays.collect()
    }

    /// The same model without these heads, `(layer, head)` each.
    fn without_heads(&self, py: Python<'_>, heads: Vec<(usize, usize)>) -> PyResult<Self> {
        let heads: PyResult<Vec<HeadId>> = heads
            .into_iter()
            .map(|(layer, head)| self.head(py, layer, head))
            .collect();
        let heads = heads?;
        let loaded = self.loaded.without_heads(heads.iter().copied());
        let mut removed = self.removed.clone();
        removed.extend(heads);
        removed.sort_unstable();
        removed.dedup();
        Ok(Self {
            loaded: loaded.map_err(|error| errors::library(py, &error))?,
            name: self.name.clone(),
            commit: self.commit.clone(),
            removed,
            memory: self.memory.clone(),
        })
    }

    /// Writes the model as a folder that others can load; gives the names of its files. `keep_shape` leaves heads that
    /// were taken out in their place, with zeros.
    #[pyo3(signature = (folder, *, keep_shape=false, overwrite=false))]
    fn save(
        &self,
        py: Python<'_>,
        folder: PathBuf,
        keep_shape: bool,
        overwrite: bool,
    ) -> PyResult<Vec<String>> {
        let export = match keep_shape {
            true => Export::Zeroed,
            false => Export::Pruned,
        };
        let mut heads = HeadSet::new();
        for id in &self.removed {
            heads.insert(id.layer, id.head);
        }
        let options = WriteOptions::new(export).overwrite(overwrite);
        let written =
            py.detach(|| write_pruned(self.loaded.checkpoint(), &heads, &folder, &options));
        let report = written.map_err(|error| errors::library(py, &error.into()))?;
        Ok(report.files)
    }

    /// Writes the model as an ONNX file; gives the paths of all files that were written.
    #[pyo3(signature = (path, *, source, hidden_states=false, attentions=false, overwrite=false))]
    fn export_onnx(
        &self,
        py: Python<'_>,
        path: PathBuf,
        source: String,
        hidden_states: bool,
        attentions: bool,
        overwrite: bool,
    ) -> PyResult<Vec<PathBuf>> {
        let gone = self.removed.iter().map(|id| (id.layer, id.head));
        let options = onnx::Options::new()
            .source(source)
            .hidden_states(hidden_states)
            .attentions(attentions)
            .without(gone.collect())
            .overwrite(overwrite);
        let report = stoppable(py, |stop| {
            let options = options.clone().stop(stop);
            Ok(onnx::write(self.loaded.checkpoint(), &path, &options)?)
        })?;
        Ok(report.files)
    }
}

impl Model {
    fn encoded<'py>(&self, py: Python<'py>, prepared: &Prepared) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        let ids = prepared.sequence.ids.clone();
        let tokens = ids.len();
        let named = self.loaded.tokenizer().ok().map(|tokenizer| {
            let names = ids
                .iter()
                .map(|id| tokenizer.id_to_token(*id).unwrap_or_default());
            names.collect::<Vec<String>>()
        });
        dict.set_item("tokens", named)?;
        dict.set_item("ids", arrays::array(py, ids, &[tokens])?)?;
        if let Some(encoding) = &prepared.encoding {
            let segments = encoding.segment_ids.clone();
            dict.set_item("segment_ids", arrays::array(py, segments, &[tokens])?)?;
            dict.set_item("offsets", encoding.offsets.clone())?;
            dict.set_item("special", PyList::new(py, &encoding.special)?)?;
            dict.set_item("words", encoding.words.clone())?;
            dict.set_item("sequence", encoding.sequence.clone())?;
            dict.set_item("truncated", encoding.truncated)?;
        }
        Ok(dict)
    }
}

/// A head mask `[layers, heads]`, if one is given.
fn masked(py: Python<'_>, mask: Option<PyReadonlyArray2<'_, f64>>) -> PyResult<Option<HeadMask>> {
    let Some(mask) = mask else { return Ok(None) };
    let mask = mask.as_array();
    let (layers, heads) = mask.dim();
    let values = mask.iter().copied().collect();
    let mask = HeadMask::from_values(layers, heads, values);
    mask.map(Some)
        .map_err(|error| errors::library(py, &error.into()))
}

/// Runs work on a thread of its own, without the interpreter's lock; a signal stops it.
fn stoppable<T: Send>(
    py: Python<'_>,
    work: impl Fn(&AtomicBool) -> Result<T, Error> + Send + Sync,
) -> PyResult<T> {
    let stop = AtomicBool::new(false);
    let (sender, receiver) = channel();
    let inbox = Inbox::new(receiver);
    let mut signal = None;
    let found = std::thread::scope(|scope| {
        scope.spawn(|| sender.send(work(&stop)));
        loop {
            match inbox.wait(py) {
                Ok(found) => return Some(found),
                // It has panicked, and the scope says so.
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Err(error) = py.check_signals() {
                stop.store(true, Ordering::Relaxed);
                signal.get_or_insert(error);
            }
        }
    });
    match (found, signal) {
        (_, Some(signal)) if signal.is_instance_of::<PyKeyboardInterrupt>(py) => {
            Err(errors::interrupted(py, "interrupted; nothing was kept"))
        }
        (_, Some(signal)) => Err(signal),
        (Some(Ok(found)), None) => Ok(found),
        (Some(Err(error)), None) => Err(errors::library(py, &error)),
        (None, None) => Err(errors::interrupted(
            py,
            "the work has ended without an answer",
        )),
    }
}

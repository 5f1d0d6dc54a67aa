//! From what the user named to what the library works on.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bertology::checkpoint::{NewHead, OpenOptions};
use bertology::hub::{self, DownloadEvent, HubOptions};
use bertology::{Bf16Unit, Error, LoadedModel, OpenAs, Precision, bf16_unit};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::args::{ComputingArgs, DeviceArgs, ModelArgs, OutputArgs, WorkArgs};
use crate::call::Listener;
use crate::failure::Failure;
use crate::remedy::remedy;
use crate::show::{Screen, text};

/// A model's folder on this disk.
#[derive(Debug, Clone)]
pub(crate) struct Located {
    /// As the user named it.
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    revision: Option<String>,
    commit: Option<String>,
}

impl Located {
    /// Its hub id, or the last part of its folder: for pages, which are handed on.
    pub(crate) fn brief(&self) -> String {
        if self.commit.is_some() || !bertology_file::exists(Path::new(&self.name)) {
            return self.name.clone();
        }
        let whole = self.folder.canonicalize();
        let whole = whole.unwrap_or_else(|_| self.folder.clone());
        let last = whole.file_name().unwrap_or(whole.as_os_str());
        last.to_string_lossy().into_owned()
    }
}

/// Finds the model's folder, fetching the model if it is one of the hub's.
pub(crate) fn locate(args: &ModelArgs, screen: &Screen) -> Result<Located, Failure> {
    let name = args.name()?.to_owned();
    let mut options = HubOptions::from_env(|name| std::env::var(name).ok());
    options.revision.clone_from(&args.revision);
    if let Some(folder) = &args.cache_dir {
        options.cache_dir = Some(folder.clone());
    }
    options.offline |= args.offline;
    if options.progress_bars {
        options.progress = Some(download_display(screen));
    }
    let resolved = hub::resolve(&name, &options).map_err(|error| failure(&error.into()));
    screen.stop();
    let resolved = resolved?;
    if let Some(reason) = &resolved.unreachable {
        screen.note(&format!(
            "the hub cannot be reached ({reason}); the copy in the cache is used"
        ));
    }
    Ok(Located {
        name,
        folder: resolved.folder,
        revision: resolved.revision,
        commit: resolved.commit,
    })
}

fn download_display(screen: &Screen) -> hub::ProgressCallback {
    if let Some(listener) = screen.listener() {
        return told(listener);
    }
    let quiet = screen.is_quiet();
    let bar: Mutex<Option<indicatif::ProgressBar>> = Mutex::new(None);
    Arc::new(move |event| {
        if quiet {
            return;
        }
        let mut bar = bar.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            DownloadEvent::Started { file, bytes } => {
                *bar = crate::show::download_bar(file, *bytes);
                if bar.is_none() {
                    crate::show::eprintln(&format!("fetching {file}, {}", text::bytes(*bytes)));
                }
            }
            DownloadEvent::Advanced { bytes } => {
                if let Some(bar) = &*bar {
                    bar.inc(*bytes);
                }
            }
            DownloadEvent::Finished { .. } => {
                if let Some(bar) = bar.take() {
                    bar.finish_and_clear();
                }
            }
            DownloadEvent::Discarded { file } => aside(&bar, &discarded(file)),
            DownloadEvent::Waiting { what, seconds } => aside(&bar, &waiting(what, *seconds)),
            _ => {}
        }
    })
}

/// The same for someone who hears it.
fn told(listener: Arc<dyn Listener>) -> hub::ProgressCallback {
    let fetched = AtomicU64::new(0);
    Arc::new(move |event| match event {
        DownloadEvent::Started { file, bytes } => {
            fetched.store(0, Ordering::Relaxed);
            listener.begin(&format!("fetching {file}"), "bytes", *bytes);
        }
        DownloadEvent::Advanced { bytes } => {
            let before = fetched.fetch_add(*bytes, Ordering::Relaxed);
            listener.advance(before + bytes);
        }
        DownloadEvent::Finished { .. } => listener.end(),
        DownloadEvent::Discarded { file } => listener.note(&discarded(file)),
        DownloadEvent::Waiting { what, seconds } => listener.note(&waiting(what, *seconds)),
        _ => {}
    })
}

fn discarded(file: &str) -> String {
    format!(
        "what the cache held of {file} was not what the hub announces; it was deleted and is fetched again"
    )
}

fn waiting(what: &str, seconds: u64) -> String {
    format!("{what}: the hub wants no request for {seconds} s; waiting")
}

/// A line beside a bar, which would write over it.
fn aside(bar: &Option<indicatif::ProgressBar>, line: &str) {
    match bar {
        Some(bar) => bar.suspend(|| crate::show::eprintln(line)),
        None => crate::show::eprintln(line),
    }
}

/// How a model is opened.
pub(crate) fn options(args: &ModelArgs, open_as: OpenAs) -> OpenOptions {
    OpenOptions::new()
        .open_as(open_as)
        .allow_unexpected(args.allow_unexpected)
}

/// Says what a precision gains and loses on a processor without matrix units.
pub(crate) fn say_precision(args: &ComputingArgs, screen: &Screen) {
    if let Some(note) = precision_note(args.precision) {
        screen.note(note);
    }
}

fn precision_note(precision: Precision) -> Option<&'static str> {
    match (precision, bf16_unit()) {
        (Precision::F32, _) | (_, Bf16Unit::Matrix) => None,
        (Precision::Split, Bf16Unit::Vector) => Some(
            "this processor multiplies bf16 by vectors, not by matrices: `split` is slower here than f32, and \
             no more exact",
        ),
        (Precision::Split, Bf16Unit::None) => Some(
            "this processor has no products of bf16: `split` is several times slower here than f32, and no more \
             exact",
        ),
        (Precision::Bf16, Bf16Unit::Vector) => Some(
            "`bf16` keeps two to three digits: good for a first look, not for numbers that are compared",
        ),
        (Precision::Bf16, Bf16Unit::None) => Some(
            "this processor has no products of bf16: `bf16` is slower here than f32, and keeps two to three \
             digits only",
        ),
    }
}

/// Says how many tensors nothing explains, where they may be left out.
pub(crate) fn say_unexpected(tensors: usize, screen: &Screen) {
    if tensors > 0 {
        screen.note(&format!(
            "{} left out that config.json does not explain; `bertology inspect` lists them",
            text::plural(tensors as u64, "tensor")
        ));
    }
}

/// A model, opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) located: Located,
    pub(crate) model: LoadedModel,
}

impl Opened {
    /// Opens the model with the head that `open_as` says.
    pub(crate) fn new(args: &ModelArgs, open_as: OpenAs, screen: &Screen) -> Result<Self, Failure> {
        Self::at(locate(args, screen)?, args, open_as, screen)
    }

    /// The same of a model whose folder is known.
    pub(crate) fn at(
        located: Located,
        args: &ModelArgs,
        open_as: OpenAs,
        screen: &Screen,
    ) -> Result<Self, Failure> {
        let options = options(args, open_as);
        let model = LoadedModel::open_with(&located.folder, &options).map_err(|e| failure(&e))?;
        Self::of(located, model, screen)
    }

    /// The only model of a command, computing in a precision, of which is said what it costs.
    pub(crate) fn computing(self, args: &ComputingArgs, screen: &Screen) -> Result<Self, Failure> {
        say_precision(args, screen);
        self.in_precision(args.precision)?.on(&args.place, screen)
    }

    /// The model on a device, of which is said which it is.
    pub(crate) fn on(self, args: &DeviceArgs, screen: &Screen) -> Result<Self, Failure> {
        let model = self.model.on(&args.device).map_err(|e| failure(&e))?;
        if let Some(device) = other_device(&model) {
            screen.note(&format!("passes run on {device}"));
        }
        Ok(Self { model, ..self })
    }

    /// The model computing in a precision.
    pub(crate) fn in_precision(self, precision: Precision) -> Result<Self, Failure> {
        let model = self.model.in_precision(precision);
        Ok(Self {
            model: model.map_err(|e| failure(&e))?,
            ..self
        })
    }

    /// Opens a model to train it with this head, parts of which may begin anew.
    pub(crate) fn to_train(
        args: &ModelArgs,
        located: Located,
        open_as: OpenAs,
        head: &NewHead,
        seed: u64,
        screen: &Screen,
    ) -> Result<Self, Failure> {
        let options = options(args, open_as);
        let model = LoadedModel::open_to_train(&located.folder, &options, head, seed);
        Self::of(located, model.map_err(|e| failure(&e))?, screen)
    }

    fn of(located: Located, model: LoadedModel, screen: &Screen) -> Result<Self, Failure> {
        let report = model.checkpoint().report();
        if !report.wrapper.is_empty() {
            screen.note(&format!(
                "every tensor's name begins with `{}`, which a wrapper of PyTorch put there; it is left out",
                report.wrapper
            ));
        }
        say_unexpected(report.unexpected.len(), screen);
        if let Some(class) = model.checkpoint().left_aside() {
            screen.note(&format!(
                "{} is opened without its head, which this command does not read",
                class
            ));
        }
        Ok(Self { located, model })
    }

    /// Layers, and heads per layer of the unpruned model.
    pub(crate) fn shape(&self) -> (usize, usize) {
        let arch = self.model.architecture();
        (arch.num_layers, arch.num_heads)
    }

    pub(crate) fn sha256(&self) -> Result<String, Failure> {
        let hash = self.model.checkpoint().content_hash();
        hash.map(str::to_owned).map_err(|e| failure(&e.into()))
    }

    /// SHA-256 of the tokenizer's files, one after the other; nothing without a tokenizer.
    pub(crate) fn tokenizer_sha256(&self) -> Result<Option<String>, Failure> {
        let Ok(tokenizer) = self.model.tokenizer() else {
            return Ok(None);
        };
        let mut digest = Sha256::new();
        for path in tokenizer.files() {
            digest.update(bertology_file::read(path).map_err(|e| Failure::io("read", path, &e))?);
        }
        let bytes = digest.finalize();
        Ok(Some(
            bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        ))
    }

    /// The model as the run's record names it.
    pub(crate) fn record(&self) -> Result<Value, Failure> {
        let arch = self.model.architecture();
        Ok(json!({
            "name": self.located.name,
            "folder": self.located.folder,
            "revision": self.located.revision,
            "commit": self.located.commit,
            "sha256": self.sha256()?,
            "family": crate::commands::inspect::family(arch),
            "num_layers": arch.num_layers,
            "num_heads": arch.num_heads,
            "heads_present": self.model.model().heads().count(),
            "parameters": self.model.model().parameters(),
        }))
    }
}

/// Where passes of a model run, as the run's record says it.
pub(crate) fn device(model: &LoadedModel) -> Value {
    let device = model.device();
    json!({ "name": device.name, "kind": device.kind, "through": device.through })
}

/// The name of the device on which passes of a model run, unless it is the processor.
pub(crate) fn other_device(model: &LoadedModel) -> Option<String> {
    model.other_device().map(|device| device.name)
}

/// Replacing an earlier run removes its models, which may be those that are read.
pub(crate) fn refuse_within<'a>(
    output: &OutputArgs,
    models: impl IntoIterator<Item = &'a Located>,
) -> Result<(), Failure> {
    let Some(place) = &output.output else {
        return Ok(());
    };
    let Ok(canonical) = std::fs::canonicalize(place) else {
        return Ok(());
    };
    for located in models {
        let folder = std::fs::canonicalize(&located.folder);
        if folder.is_ok_and(|folder| folder.starts_with(&canonical)) {
            return Err(Failure::input(format!(
                "--output {}: {} lies in it; choose another folder",
                place.display(),
                located.name
            )));
        }
    }
    Ok(())
}

/// Threads as the library counts them: 0 for all.
pub(crate) fn threads(work: &WorkArgs) -> usize {
    work.threads.map_or(0, usize::from)
}

/// A fault that the library found, as a failure with its exit code and the options that would do.
pub(crate) fn failure(error: &Error) -> Failure {
    Failure::found(error.kind(), error, remedy(error))
}

/// A fault of what is learnt from a model, likewise.
pub(crate) fn train_failure(error: &bertology_train::Error) -> Failure {
    use bertology_train::Error as E;
    use bertology_train::edge::StatesFault;
    let remedy = match error {
        E::Study(error) => return failure(error),
        E::States(StatesFault::AllDropped { .. }) => {
            Some("say --max-length N or --too-long window")
        }
        E::States(StatesFault::Dropped { .. }) => {
            Some("say --max-length N, --too-long window or --allow-dropped")
        }
        _ => None,
    };
    Failure::found(error.kind(), error, remedy)
}

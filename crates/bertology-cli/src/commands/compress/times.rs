//! Times of layers, measured once a machine or device and kind of model, and kept.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bertology::compress::{Groups, LayerTimes, layer_times};
use bertology::{Error, LoadedModel, Sequence};
use bertology_run::sha256;
use serde::{Deserialize, Serialize};

use crate::session;
use crate::show::Screen;
use crate::show::text::timestamp;
use crate::watcher::Watcher;

/// A file of the cache.
#[derive(Serialize, Deserialize)]
struct Kept {
    measured: u64,
    times: LayerTimes,
}

/// Those of the cache, or measured on these texts and put there. With `again` they are measured whatever is there.
pub(super) fn times(
    model: &LoadedModel,
    sequences: &[Sequence],
    threads: usize,
    again: bool,
    screen: &Screen,
) -> Result<LayerTimes, Error> {
    let path =
        folder().map(|folder| folder.join(format!("{}.json", key(model, sequences, threads))));
    if let Some(path) = path.as_deref().filter(|_| !again)
        && let Some(kept) = read(path)
    {
        screen.note(&format!(
            "times of layers as measured {} ({}); --time-again measures them anew",
            timestamp(kept.measured),
            path.display()
        ));
        return Ok(kept.times);
    }
    let mut watcher = Watcher::new(screen);
    let found = layer_times(model.model(), sequences, threads, &mut watcher);
    screen.stop();
    let times = found?;
    if let Some(path) = path {
        // Who cannot keep them measures them again.
        let _ = write(&path, &times);
    }
    Ok(times)
}

/// Where this user's cache is.
fn folder() -> Option<PathBuf> {
    let variable = |name: &str| {
        let value = std::env::var_os(name).filter(|value| !value.is_empty());
        value.map(PathBuf::from)
    };
    let cache = variable("XDG_CACHE_HOME")
        .or_else(|| variable("HOME").map(|home| home.join(".cache")))
        .or_else(|| variable("LOCALAPPDATA"));
    Some(cache?.join("bertology").join("layer-times"))
}

/// What times depend on: program, processor or device, threads, the shape of the model, the lengths of the texts.
fn key(model: &LoadedModel, sequences: &[Sequence], threads: usize) -> String {
    let arch = model.architecture();
    let lengths: Vec<usize> = sequences.iter().map(Sequence::len).collect();
    let facts = format!(
        "{} {} {threads} {:?} {:?} {:?} {:?} {lengths:?}",
        env!("CARGO_PKG_VERSION"),
        session::other_device(model).unwrap_or_else(processor),
        arch.family,
        (arch.hidden_size, arch.head_dim(), arch.vocab_size),
        (arch.feed_forward, arch.activation, &arch.head),
        Groups::of(model.model()).counts(),
    );
    sha256(facts.as_bytes())[..24].to_owned()
}

/// The name that the processor gives itself, where it can be read.
fn processor() -> String {
    let about = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut names = about.lines().filter(|line| line.starts_with("model name"));
    let name = names.next().and_then(|line| line.split(':').nth(1));
    name.map_or_else(
        || std::env::consts::ARCH.to_owned(),
        |name| name.trim().to_owned(),
    )
}

fn read(path: &Path) -> Option<Kept> {
    let text = std::fs::read(path).ok()?;
    let kept: Kept = serde_json::from_slice(&text).ok()?;
    kept.times.is_possible().then_some(kept)
}

fn write(path: &Path, times: &LayerTimes) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let kept = Kept {
        measured: now.unwrap_or_default().as_secs(),
        times: times.clone(),
    };
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&serde_json::to_vec(&kept)?)?;
    file.persist(path)?;
    Ok(())
}

//! How fast hidden states come, and how much memory that takes: `edge_states MODEL FILE FOLDER [--threads N]`, FILE of records as
//! `bertology edge-data` writes them, FOLDER empty.
//!
//! The last line is one JSON object: seconds of the wall and of the processor from the model in memory and the tokens known to
//! states on disk, and what that was.

use std::path::Path;
use std::time::Instant;

use bertology::data::edge::{Records, Vocabulary};
use bertology::drive::Work;
use bertology::input::spans::{SpanAligner, SpanOptions};
use bertology::{LoadedModel, OpenAs, OpenOptions};
use bertology_train::edge::{Gathering, LayerStates, StateOptions, StateStore};

/// Processor time of this process and of its threads, in seconds.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: f64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    ticks / 100.0
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let (model, file, folder, threads) = match given.as_slice() {
        [model, file, folder] => (model, file, folder, 0),
        [model, file, folder, option, threads] if option == "--threads" => {
            (model, file, folder, threads.parse()?)
        }
        _ => return Err("give a model, a file of records and a folder".into()),
    };
    let options = OpenOptions::new().open_as(OpenAs::DeclaredOrEncoder);
    let model = LoadedModel::open_with(model, &options)?;
    let work = Work::threads(threads);

    let start = Instant::now();
    let aligner = SpanAligner::new(&model, &SpanOptions::default())?;
    let mut gathering = Gathering::new(aligner);
    let found = gathering.read(&Records::new(Path::new(file)), &work, &mut ())?;
    let pieces = gathering.finish()?;
    let split = pieces.split(&found, &Vocabulary::new(found.labels.labels()))?;
    println!(
        "{} targets in {} sequences of {} tokens, {:.2} s",
        split.targets(),
        pieces.sequences(),
        pieces.tokens(),
        start.elapsed().as_secs_f64()
    );

    let (start, before) = (Instant::now(), processor());
    let options = StateOptions::default();
    let store = StateStore::extract(Path::new(folder), &model, &pieces, &options, &work, &mut ())?;
    let (wall, used) = (start.elapsed().as_secs_f64(), processor() - before);

    let start = Instant::now();
    let mut room = vec![0.0; 1024 * store.layers() * store.hidden()];
    let all: Vec<u32> = (0..u32::try_from(store.pieces())?).collect();
    for some in all.chunks(1024) {
        let room = &mut room[..some.len() * store.layers() * store.hidden()];
        store.gather(some, room)?;
    }
    println!("read again: {:.2} s", start.elapsed().as_secs_f64());
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    println!("{}", peak.unwrap_or_default());
    println!(
        "{{\"wall\": {wall:.3}, \"processor\": {used:.2}, \"pieces\": {}, \"sequences\": {}, \"tokens\": {}, \"bytes\": {}}}",
        store.pieces(),
        pieces.sequences(),
        pieces.tokens(),
        store.bytes()
    );
    Ok(())
}

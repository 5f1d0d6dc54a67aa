//! Head importance and patterns of attention on a device: bytes that cross, and how far numbers are from the processor's.
//! `cargo run --release --features gpu --example device -- DEVICE [MODEL TASK DATA]`; without model, the built-in one.

use std::path::Path;

use bertology::attention::patterns::{PatternOptions, PatternsState, TokenClasses};
use bertology::attention::{Fate, Supply as _, TextOptions, TextPassages};
use bertology::drive::{Progress, Work, drive};
use bertology::importance::{Importance, ImportanceOptions, importance};
use bertology::{Corpus, CorpusOptions, Device, Granularity, LoadedModel, Source, Split, Task};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (folder, task, data) = match &words[..] {
        [_, folder, task, data] => (folder.into(), task.as_str(), data.into()),
        _ => (
            root.join("assets/tiny-bert"),
            "cola",
            root.join("assets/grammar"),
        ),
    };
    let device: Device = words.first().map_or("host", String::as_str).parse()?;
    let model = LoadedModel::open(folder)?;
    let source = Source::glue(&data, task.parse::<Task>()?, Split::Dev)?;
    let study = |model: &LoadedModel| -> Result<Importance, Box<dyn std::error::Error>> {
        let corpus = Corpus::new(model, source.clone(), &CorpusOptions::default())?;
        let options = ImportanceOptions::new(Granularity::Example);
        Ok(importance(
            model,
            &corpus,
            &options,
            &Work::default(),
            &mut (),
        )?)
    };
    let here = study(&model)?;
    let placed = model.on(&device)?;
    let there = study(&placed)?;
    let first = placed.model().carried();
    study(&placed)?;
    let again = placed.model().carried() - first;
    println!(
        "{}: {first} bytes, weights included; {again} a second time",
        placed.device().name
    );
    let scale = here
        .raw
        .values()
        .iter()
        .fold(0.0_f64, |a, b| a.max(b.abs()));
    let pairs = here.raw.values().iter().zip(there.raw.values());
    let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    println!("importance differs by {:.1e} of the largest", worst / scale);

    let texts = TextPassages::new(&placed, source, TextOptions::default())?;
    let classes = TokenClasses::of_model(&placed, None)?;
    let state = PatternsState::new(&placed, classes, PatternOptions::default())?;
    let before = placed.model().carried();
    let mut progress = Progress::new(state);
    drive(&placed, &texts, &mut progress, &Work::default(), &mut ())?;
    let mut maps = 0;
    for raw in texts.open(0)? {
        if let Fate::Studied(passages) = texts.prepare(raw?)? {
            let squares = passages.iter().map(|one| one.sequence.len().pow(2));
            maps += squares.sum::<usize>() * placed.model().heads().count() * 4;
        }
    }
    println!(
        "patterns: {} bytes, where the maps have {maps}",
        placed.model().carried() - before
    );
    Ok(())
}

//! Importance of every head, then the model without the least important ones, in memory and as a folder.
//! `cargo run --example prune`.

use std::path::Path;

use bertology::checkpoint::{Export, WriteOptions, write_pruned};
use bertology::drive::Work;
use bertology::evaluate::evaluate;
use bertology::importance::{ImportanceOptions, importance};
use bertology::{
    Corpus, CorpusOptions, Granularity, HeadSet, LoadedModel, Source, Split, Task, normalize,
    pruning,
};

pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets");
    let model = LoadedModel::open(assets.join("tiny-bert"))?;
    let source = Source::glue(&assets.join("grammar"), Task::Cola, Split::Dev)?;
    let source = source.with_limit(Some(50));
    let corpus = Corpus::new(&model, source, &CorpusOptions::default())?;

    let options = ImportanceOptions::new(Granularity::Example);
    let found = importance(&model, &corpus, &options, &Work::default(), &mut ())?;
    let ranking = normalize::ranking(&found.raw); // the most important head first
    let least = ranking.iter().rev().take(6);
    let heads: HeadSet = least.map(|id| (id.layer, id.head)).collect();

    let pruned = pruning::prune(&model, &heads)?;
    let after = evaluate(&pruned.model, &corpus, None, &Work::default(), &mut ())?;
    println!(
        "loss {:.4}, without 6 heads {:.4}",
        found.evaluation.loss, after.loss
    );

    let folder = std::env::temp_dir().join(format!("bertology-pruned-{}", std::process::id()));
    let report = write_pruned(
        model.checkpoint(),
        &heads,
        &folder,
        &WriteOptions::new(Export::Pruned),
    )?;
    println!(
        "{} bytes of weights, before {}",
        report.file_bytes_after, report.file_bytes_before
    );
    LoadedModel::open(&folder)?; // a checkpoint like any other
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

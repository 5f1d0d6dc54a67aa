//! What the score loses without each head, one head at a time. `cargo run --example ablate`.

use std::path::Path;

use bertology::ablation::{AblationOptions, ablate};
use bertology::drive::Work;
use bertology::{Corpus, CorpusOptions, LoadedModel, Source, Split, Task};

pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets");
    let model = LoadedModel::open(assets.join("tiny-bert"))?;
    let source = Source::glue(&assets.join("grammar"), Task::Cola, Split::Dev)?;
    let source = source.with_limit(Some(50));
    let corpus = Corpus::new(&model, source, &CorpusOptions::default())?;

    let found = ablate(
        &model,
        &corpus,
        &AblationOptions::default(),
        &Work::default(),
        &mut (),
    )?;
    println!("loss with all heads {:.4}", found.whole.loss);
    for without in &found.without {
        println!(
            "without {}: loss {:+.4} ± {:.4}, {} predictions change",
            without.head,
            without.loss_change,
            without.paired.loss_standard_error,
            without.paired.changed,
        );
    }
    Ok(())
}

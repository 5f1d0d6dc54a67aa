//! Steps of fine-tuning under a stopwatch, for comparison with other programs (`benches/peers/finetune.py`).
//!
//! ```text
//! finetune_steps MODEL GLUE TASK STEPS THREADS BATCH
//! ```
//!
//! Prints the seconds of the steps after the first two, and the most memory that the process had, as JSON.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use bertology::checkpoint::NewHead;
use bertology::corpus::CorpusOptions;
use bertology::drive::Work;
use bertology::{Corpus, LoadedModel, OpenOptions, Source, Split, Watch};
use bertology_train::finetune::{Data, Options, run};

/// Steps that are not timed.
const WARM: u64 = 2;

#[derive(Default)]
struct Stopwatch {
    start: Option<Instant>,
    seconds: f64,
}

impl Watch for Stopwatch {
    fn advance(&mut self, done: u64, _: u64) -> ControlFlow<()> {
        if done == WARM {
            self.start = Some(Instant::now());
        }
        self.seconds = self
            .start
            .map_or(0.0, |start| start.elapsed().as_secs_f64());
        ControlFlow::Continue(())
    }
}

/// Kilobytes, where the system tells.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [model, glue, task, steps, threads, batch] = words.as_slice() else {
        return Err("finetune_steps MODEL GLUE TASK STEPS THREADS BATCH".into());
    };
    let model = LoadedModel::open_to_train(model, &OpenOptions::new(), &NewHead::default(), 1)?;
    let source = Source::glue(Path::new(glue), task.parse()?, Split::Train)?;
    let train = Corpus::new(&model, source, &CorpusOptions::default())?;
    let options = Options {
        max_steps: Some(steps.parse::<u64>()? + WARM),
        batch_size: batch.parse()?,
        work: Work::threads(threads.parse()?),
        ..Options::default()
    };
    let data = Data {
        train: &train,
        dev: None,
        teacher: None,
    };
    let place = tempfile::tempdir()?;
    let mut watch = Stopwatch::default();
    let found = run(model, data, &options, place.path(), "bench", &mut watch)?;
    let last = found.steps.last().map_or(f64::NAN, |step| step.loss);
    println!(
        "{{\"seconds\": {:.4}, \"steps\": {steps}, \"peak_kb\": {}, \"loss\": {last:.4}}}",
        watch.seconds,
        peak().unwrap_or(0)
    );
    Ok(())
}

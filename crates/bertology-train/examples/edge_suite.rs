//! How fast are the cumulative probes of a task trained? `edge_suite STATES [--seeds 3] [--epochs 5] [--threads N]`.
//!
//! STATES is what `benches/peers/edge.py prepare` writes. Every probe is trained for so many epochs, with a validation on
//! the development split after each; loading is left out. Prints one JSON object: seconds of the wall and of the
//! processor, FLOP/s of bare products on one thread by processor time, and the scores.

use std::error::Error;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use bertology_kernels::Matrix;
use bertology_kernels::product::{linear, linear_backward_input};
use bertology_testkit::Tensors;
use bertology_train::edge::{Data, Design, HeldStates, Plan, Profile, Split, Suite};

/// `spans [targets, 4]`, `labels [targets]` (-1: unknown), `ends [sentences]`.
fn split(tensors: &Tensors, name: &str, classes: usize) -> Result<Split, Box<dyn Error>> {
    let spans: Vec<u32> = tensors.whole(&format!("{name}.spans"));
    let labels: Vec<i64> = tensors.whole(&format!("{name}.labels"));
    let ends: Vec<usize> = tensors.whole(&format!("{name}.ends"));
    let mut split = Split::new(2, classes)?;
    let (spans, _) = spans.as_chunks::<4>();
    for end in ends {
        for target in split.targets()..end {
            let [a, b, c, d] = spans[target];
            let label = u16::try_from(labels[target]).ok();
            let unknown = u16::from(label.is_none());
            split.target([a, b], Some([c, d]), label.as_slice(), unknown)?;
        }
        split.end_sentence();
    }
    Ok(split)
}

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

/// FLOP/s of the products of a probe of this width and of nothing else, by processor time.
fn peak(hidden: usize) -> f64 {
    const ROWS: usize = 1024;
    const UNITS: usize = 256;
    const ROUNDS: usize = 200;
    let values = |n: usize| -> Vec<f32> {
        (0..n)
            .map(|i| ((i * 7919) % 1009) as f32 / 504.5 - 1.001)
            .collect()
    };
    let (x, w, mut y) = (
        values(ROWS * hidden),
        values(UNITS * hidden),
        vec![0.0; ROWS * UNITS],
    );
    let mut dx = vec![0.0; ROWS * hidden];
    let before = processor();
    for _ in 0..ROUNDS {
        let weight = Matrix::new(&w, UNITS, hidden);
        let x = Matrix::new(std::hint::black_box(&x), ROWS, hidden);
        linear(&mut y, x, weight, &[], 1);
        linear_backward_input(&mut dx, Matrix::new(&y, ROWS, UNITS), weight, 1);
        std::hint::black_box(&mut dx);
    }
    let flops = (2 * 2 * ROUNDS * ROWS * UNITS * hidden) as f64;
    flops / (processor() - before)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: edge_suite STATES [--seeds N] [--epochs N] [--threads N]";
    let path = arguments.next().ok_or(usage)?;
    let (mut seeds, mut epochs) = (3, 5);
    let mut threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or(format!("{name} needs a value"))?;
        match name.as_str() {
            "--seeds" => seeds = value.parse()?,
            "--epochs" => epochs = value.parse()?,
            "--threads" => threads = value.parse()?,
            _ => return Err(format!("unknown option {name}; {usage}").into()),
        }
    }
    let tensors = Tensors::read(Path::new(&path));
    let [_, layers, hidden] = tensors.shape("states")[..] else {
        return Err("states [pieces, layers, hidden] are missing".into());
    };
    let states = HeldStates::new(layers, hidden, tensors.f32("states"))?;
    let classes = tensors.whole::<usize>("classes")[0];
    let (train, dev) = (
        split(&tensors, "train", classes)?,
        split(&tensors, "dev", classes)?,
    );
    drop(tensors);
    let mut settings = Profile::Fast.settings(&train).with_epochs(epochs, &train);
    settings.patience = u32::MAX;
    let seeds: Vec<u64> = (0..seeds).collect();
    let plan = Plan::cumulative(Design::default(), layers, &seeds, settings);
    let data = Data {
        states: &states,
        train: &train,
        dev: &dev,
    };
    let mut suite = Suite::new(data, plan)?;
    let (start, before) = (Instant::now(), processor());
    while suite.round(threads, &|_| ControlFlow::Continue(()))? {}
    let (wall, used) = (start.elapsed().as_secs_f64(), processor() - before);
    let f1: Vec<String> = suite
        .courses()
        .map(|course| format!("{:.4}", course.best().map_or(0.0, |best| best.f1)))
        .collect();
    println!(
        "{{\"wall\": {wall:.3}, \"processor\": {used:.2}, \"peak\": {:.4e}, \"probes\": {}, \"epochs\": {epochs}, \
         \"threads\": {threads}, \"f1\": [{}]}}",
        peak(hidden),
        suite.courses().len(),
        f1.join(", ")
    );
    Ok(())
}

//! Errors of every precision, judged by the same model in f64: hidden states, attention, logits, losses, importance.
//! `cargo run --release --example precision -- MODEL TASK DATA COUNT`; without words, the built-in model.

use std::path::Path;

use bertology::model::{
    Capture, Interests, LayerSite, PackedBatch, Pass, PassOptions, Real, Workspace,
};
use bertology::model::{Model, Tap};
use bertology::{
    Corpus, CorpusOptions, LoadedModel, Precision, Sequence, Source, Split, Target, Task,
};

/// What is judged, and by what its errors are divided.
const QUANTITIES: [&str; 5] = [
    "hidden states, of the largest of their layer",
    "attention probabilities, absolute",
    "logits, absolute",
    "losses, absolute",
    "importance, of the largest head's",
];

/// Of one text, in the order of [`QUANTITIES`]: tensors of numbers.
type Values = [Vec<Vec<f64>>; 5];

fn values<R: Real>(
    model: &Model<R>,
    text: &Sequence,
) -> Result<Values, Box<dyn std::error::Error>> {
    let batch = PackedBatch::new(model.architecture(), std::slice::from_ref(text))?;
    let sites = Interests::none().value(LayerSite::HiddenState);
    let mut capture = Capture::new(sites.value(LayerSite::AttentionProbs));
    let options = PassOptions {
        targets: Some(&[Target::Label(1)]),
        mask_gradients: true,
        ..PassOptions::default()
    };
    let output = model.run(&batch, &options, &mut Workspace::new(), &mut [&mut capture])?;
    let wide = |numbers: &[R]| -> Vec<f64> { numbers.iter().map(|x| x.to_f64()).collect() };
    let layers = 0..model.architecture().num_layers;
    let states = layers.filter_map(|layer| {
        let tap = Tap::Layer(layer, LayerSite::HiddenState);
        capture.get(Pass::Forward, tap, 0)
    });
    let maps = model
        .heads()
        .filter_map(|head| capture.get_head(Pass::Forward, head, LayerSite::AttentionProbs, 0));
    let output = &output.sequences[0];
    let gradient = output.mask_gradient.clone().unwrap_or_default();
    Ok([
        states.map(|value| wide(&value.data)).collect(),
        maps.map(|value| wide(&value.data)).collect(),
        vec![wide(&output.logits)],
        vec![output.loss.into_iter().collect()],
        vec![gradient.iter().map(|x| x.abs()).collect()],
    ])
}

pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets");
    match &words[..] {
        [model, task, data, count] => judge(
            Path::new(model),
            task.parse()?,
            Path::new(data),
            count.parse()?,
        ),
        _ => judge(
            &assets.join("tiny-bert"),
            Task::Cola,
            &assets.join("grammar"),
            20,
        ),
    }
}

fn judge(
    folder: &Path,
    task: Task,
    data: &Path,
    count: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    let model = LoadedModel::open(folder)?;
    let source = Source::glue(data, task, Split::Dev)?;
    let texts = Corpus::new(&model, source, &CorpusOptions::default())?.sequences(count)?;
    let exact = Model::<f64>::from_checkpoint(model.checkpoint())?;
    let others = Precision::ALL.map(|precision| model.clone().in_precision(precision));

    let mut worst = [[0.0f64; 3]; 5];
    let mut importance = vec![vec![0.0; exact.heads().count()]; 4];
    for text in &texts {
        let exact = values(&exact, text)?;
        add(&mut importance[3], &exact[4]);
        for (at, other) in others.iter().enumerate() {
            let other = other.as_ref().map_err(ToString::to_string)?;
            let ours = values(other.model(), text)?;
            add(&mut importance[at], &ours[4]);
            for quantity in 0..4 {
                for (ours, exact) in ours[quantity].iter().zip(&exact[quantity]) {
                    let scale = if quantity == 0 { largest(exact) } else { 1.0 };
                    let error = distance(ours, exact) / scale;
                    worst[quantity][at] = worst[quantity][at].max(error);
                }
            }
        }
    }
    let exact = &importance[3];
    for at in 0..3 {
        worst[4][at] = distance(&importance[at], exact) / largest(exact);
    }
    let names = Precision::ALL.map(Precision::name);
    println!("{} texts; largest errors against f64", texts.len());
    println!("| | {} |", names.join(" | "));
    for (quantity, errors) in QUANTITIES.iter().zip(worst) {
        let errors = errors.map(|error| format!("{error:.1e}"));
        println!("| {quantity} | {} |", errors.join(" | "));
    }
    let moved = [0, 1, 2].map(|at| {
        let places = ranks(&importance[at]).into_iter().zip(ranks(exact));
        places.filter(|(a, b)| a != b).count().to_string()
    });
    println!(
        "| heads of {} with another rank | {} |",
        exact.len(),
        moved.join(" | ")
    );
    Ok(())
}

fn add(sums: &mut [f64], values: &[Vec<f64>]) {
    let values = values.iter().flatten();
    sums.iter_mut()
        .zip(values)
        .for_each(|(sum, value)| *sum += value);
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f64::max)
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(f64::MIN_POSITIVE, |a, b| a.max(b.abs()))
}

/// Heads from the most important on.
fn ranks(values: &[f64]) -> Vec<usize> {
    let mut heads: Vec<usize> = (0..values.len()).collect();
    heads.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
    heads
}

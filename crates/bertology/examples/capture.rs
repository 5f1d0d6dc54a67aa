//! What a model computes for a text: hidden states, attention, and one site of one head with its gradient.
//! `cargo run --example capture`.

use std::path::Path;

use bertology::model::{Interests, LayerSite};
use bertology::{HeadId, LoadedModel, Target};

pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets");
    let model = LoadedModel::open(assets.join("tiny-bert"))?;
    let text = "The horses were admired.";

    let states = model.hidden_states(&[text])?; // [text][layer], each [tokens, hidden]
    for (layer, state) in states[0].iter().enumerate() {
        let norm = state.data.iter().map(|x| x * x).sum::<f32>().sqrt();
        println!(
            "layer {layer}: [{}, {}], norm {norm:.2}",
            state.rows, state.cols
        );
    }

    let attention = model.attentions(&[text])?; // [text][head], each [query, key]
    let map = &attention[0][HeadId { layer: 2, head: 0 }];
    for (query, row) in map.data.chunks(map.cols).enumerate() {
        let strongest = (0..map.cols).max_by(|a, b| row[*a].total_cmp(&row[*b]));
        println!("L2H0: token {query} looks most at token {strongest:?}");
    }

    let site = LayerSite::HeadOutput;
    let seen = model.experiment(&text)?.target(Target::Label(1));
    let seen = seen
        .observe(Interests::none().value(site).gradient(site))
        .run()?;
    let head = HeadId { layer: 3, head: 1 };
    let (value, gradient) = (
        seen.head_value(head, site)?,
        seen.head_gradient(head, site)?,
    );
    let effect: f32 = value
        .data
        .iter()
        .zip(&gradient.data)
        .map(|(v, g)| v * g)
        .sum();
    println!(
        "loss {:.4}; its slope along the output of {head}: {effect:+.4}",
        seen.loss()?
    );
    Ok(())
}

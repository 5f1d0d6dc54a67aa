//! `bertology devices`: where passes can run.

use bertology::DeviceInfo;
use serde_json::{Value, json};

use super::Done;
use crate::failure::Failure;
use crate::show::Screen;
use crate::show::text::bytes;

pub(crate) const ABOUT: &str = "\
The processor and the graphics cards of this machine, as --device takes them. A card is found through Vulkan, Metal or DX12; \
programs that act as a card are listed last, and are slower than the processor.";

pub(crate) fn run(screen: &Screen) -> Result<Done, Failure> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    screen.say(&format!("cpu    {threads} threads"));
    let mut document = vec![json!({ "device": "cpu", "kind": "cpu", "threads": threads })];
    match bertology::device::devices() {
        Ok(cards) => {
            for (number, card) in cards.iter().enumerate() {
                screen.say(&line(number, card));
                document.push(record(number, card));
            }
            if cards.is_empty() {
                screen.note("no graphics card is found through Vulkan, Metal or DX12");
            }
        }
        Err(without) => screen.note(&without.to_string()),
    }
    Ok(json!({ "devices": document }).into())
}

fn line(number: usize, card: &DeviceInfo) -> String {
    let limit = card.largest_buffer.map(bytes).unwrap_or_default();
    let acts = match card.kind {
        "software" => ", a program that acts as a card",
        _ => "",
    };
    format!(
        "gpu:{number}  {}, {}{acts}, buffers of at most {limit}",
        card.name, card.through
    )
}

fn record(number: usize, card: &DeviceInfo) -> Value {
    json!({
        "device": format!("gpu:{number}"),
        "name": card.name,
        "kind": card.kind,
        "through": card.through,
        "largest_buffer": card.largest_buffer,
    })
}

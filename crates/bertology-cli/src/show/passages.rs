//! The texts of a study of attention: how many there are, and what became of them.

use bertology::attention::{SequenceCounts, Supply, TextSupply};

use super::text::{count, plural};
use crate::failure::Failure;
use crate::session::Opened;

/// Model and texts in two lines.
pub(crate) fn headline(opened: &Opened, passages: &TextSupply) -> String {
    let (layers, heads) = opened.shape();
    format!(
        "{}: {layers} layers of {heads} heads\n{}: {}, at most {} tokens each",
        opened.located.name,
        passages.path().display(),
        plural(passages.total(), "text"),
        count(passages.max_length() as u64),
    )
}

/// `3 texts left out: 2 of more than 128 tokens, 1 with nothing to predict`, if any were.
pub(crate) fn left_out(counts: &SequenceCounts, passages: &TextSupply) -> Option<String> {
    let long = format!(
        "of more than {} tokens (--too-long cut shortens them)",
        count(passages.max_length() as u64)
    );
    let kinds = [
        (counts.too_long, long.as_str()),
        (counts.empty, "without a token"),
        (counts.unpaired, "of a single sentence, which is no pair"),
        (counts.nothing_to_predict, "with nothing to predict"),
    ];
    let kinds = kinds.iter().filter(|(number, _)| *number > 0);
    let kinds: Vec<String> = kinds
        .map(|(number, kind)| format!("{} {kind}", count(*number)))
        .collect();
    let all = plural(counts.left_out(), "text");
    (!kinds.is_empty()).then(|| format!("{all} left out: {}", kinds.join(", ")))
}

/// Refuses texts of which none could be studied.
pub(crate) fn some(counts: &SequenceCounts, passages: &TextSupply) -> Result<(), Failure> {
    if counts.sequences > 0 {
        return Ok(());
    }
    Err(Failure::input(format!(
        "{}: {}, so there is nothing to study",
        passages.path().display(),
        left_out(counts, passages).unwrap_or_else(|| "no texts".to_owned())
    )))
}

/// What was studied.
pub(crate) fn studied(counts: &SequenceCounts, passages: &TextSupply) -> String {
    let cut = match counts.cut {
        0 => "none cut".into(),
        cut => format!(
            "{} cut to {} tokens ({} lost)",
            count(cut),
            passages.max_length(),
            plural(counts.tokens_cut, "token")
        ),
    };
    format!(
        "{}, {}, {cut}",
        plural(counts.sequences, "text"),
        plural(counts.tokens, "token")
    )
}

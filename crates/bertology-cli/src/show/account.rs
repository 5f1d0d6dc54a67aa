//! The texts of a study of attention: how many there are, and what is left out.

use bertology::attention::{Account, Supply, TextPassages};

use super::Screen;
use super::text::{count, plural};
use crate::session::Opened;

/// Model and texts in two lines.
pub(crate) fn headline(opened: &Opened, passages: &TextPassages<'_>) -> String {
    let (layers, heads) = opened.shape();
    format!(
        "{}: {layers} layers of {heads} heads\n{}: {}",
        opened.located.name,
        passages.path().display(),
        plural(passages.total(), "text"),
    )
}

/// Lines that hold no text.
pub(crate) fn note_skipped(passages: &TextPassages<'_>, screen: &Screen) {
    let skipped = passages.info().skipped.total();
    if skipped > 0 {
        screen.note(&format!(
            "{} of {} skipped",
            plural(skipped, "line"),
            passages.path().display()
        ));
    }
}

/// Texts that were not studied.
pub(crate) fn note_left_out(account: &Account, max_length: usize, screen: &Screen) {
    let longer = format!("longer than {max_length} tokens (--too-long cut shortens them)");
    for (number, why) in [
        (account.too_long, longer.as_str()),
        (account.empty, "without a token"),
        (
            account.unpaired,
            "of a single sentence, which makes no pair",
        ),
        (account.nothing_to_predict, "with nothing to predict"),
    ] {
        if number > 0 {
            screen.note(&format!(
                "{} of {} left out: {why}",
                count(number),
                plural(account.units(), "text")
            ));
        }
    }
}

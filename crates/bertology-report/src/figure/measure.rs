//! How wide a text will be, before anyone has drawn it.

/// Advance widths of the printable ASCII characters from the space on, in thousandths of the font's size.
/// Those of DejaVu Sans, the widest sans-serif in common use, so that a label that fits by this measure
/// fits in any.
const WIDTHS: [u16; 95] = [
    318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337, 636, 636, 636,
    636, 636, 636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 531, 1000, 684, 686, 698, 770, 632,
    575, 775, 752, 295, 295, 656, 557, 863, 748, 787, 603, 787, 695, 635, 611, 732, 684, 989, 685,
    611, 685, 390, 337, 390, 838, 500, 500, 613, 635, 550, 635, 615, 352, 635, 634, 278, 278, 579,
    278, 974, 634, 612, 635, 635, 411, 521, 392, 634, 592, 818, 592, 592, 525, 636, 337, 636, 838,
];

/// Width of a text in the unit of the font's size.
pub(crate) fn width(text: &str, size: f64) -> f64 {
    let thousandths: u64 = text.chars().map(|c| u64::from(advance(c))).sum();
    thousandths as f64 / 1000.0 * size
}

fn advance(character: char) -> u16 {
    let code = character as u32;
    match code {
        32..=126 => WIDTHS[code as usize - 32],
        // Combining marks stand on the character before.
        0x300..=0x36f => 0,
        // East Asian characters and everything above the basic plane are square.
        0x1100..=0x11ff
        | 0x2e80..=0xd7ff
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0x1_0000.. => 1000,
        _ => 750,
    }
}

/// The text, or its beginning with an ellipsis where it is wider than there is room.
pub(crate) fn fitted(text: &str, size: f64, room: f64) -> String {
    if width(text, size) <= room {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = width("…", size);
    for character in text.chars() {
        used += f64::from(advance(character)) / 1000.0 * size;
        if used > room {
            break;
        }
        kept.push(character);
    }
    kept.push('…');
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_measured_and_cut() {
        assert!((width("0", 10.0) - 6.36).abs() < 1e-9);
        assert!((width("Layer", 10.0) - (5.57 + 6.13 + 5.92 + 6.15 + 4.11)).abs() < 1e-9);
        assert_eq!(fitted("head", 10.0, 100.0), "head");
        let cut = fitted("a rather long label", 10.0, 60.0);
        assert!(cut.ends_with('…') && width(&cut, 10.0) <= 60.0, "{cut}");
    }
}

//! Numbers and times for people.

use std::time::Duration;

pub(crate) use bertology_report::number::{bytes, count, plural};
pub(crate) use bertology_run::timestamp;

/// A duration to two or three digits.
pub(crate) fn seconds(time: Duration) -> String {
    bertology_report::number::seconds(time.as_secs_f64())
}

/// A sentence on lines of so many columns, broken between words.
pub(crate) fn wrapped(sentence: &str, columns: usize) -> String {
    let mut text = String::new();
    let mut column = 0;
    for word in sentence.split_whitespace() {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > columns {
            text.push('\n');
            column = 0;
        } else if column > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += width;
    }
    text
}

/// A word as a shell has to be given it.
pub(crate) fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "._-/\\:=,@%+".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// A ratio of two sizes in per cent.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "0 %".into();
    }
    format!("{:.1} %", 100.0 * part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_separators() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(109_482_240), "109,482,240");
        assert_eq!(plural(1, "head"), "1 head");
        assert_eq!(plural(2, "head"), "2 heads");
    }
}

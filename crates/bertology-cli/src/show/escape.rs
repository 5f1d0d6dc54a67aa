//! Text of others made safe for a terminal.
//!
//! Labels, columns, relations, names of tensors and of files come from files that somebody else wrote. A
//! control character among them could move the cursor, clear the screen, set the title, or with a newline forge
//! a line of ours. All text leaves by `print` and `eprintln` of [`super`], which call this; nothing else writes
//! to a terminal.

use std::borrow::Cow;
use std::fmt::Write;

/// What may stay besides characters that are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Nothing: a message of one line, a name.
    Nothing,
    /// The ends of our own lines.
    Lines,
    /// Those and the colours of [`super::heat`], in exactly the form that it writes.
    Colors,
}

/// The same text with `\u{1b}` for an escape character and so on.
pub(crate) fn visible(text: &str, keep: Keep) -> Cow<'_, str> {
    escaped(text, keep, |out, c| {
        let _ = match c {
            '\n' => write!(out, "\\n"),
            '\t' => write!(out, "\\t"),
            '\r' => write!(out, "\\r"),
            c => write!(out, "\\u{{{:x}}}", u32::from(c)),
        };
    })
}

/// The text of a JSON document with `\u009b` for what JSON allows in a string and a terminal obeys.
pub(crate) fn json(text: &str) -> Cow<'_, str> {
    escaped(text, Keep::Lines, |out, c| {
        let _ = write!(out, "\\u{:04x}", u32::from(c));
    })
}

/// A name that somebody else gave, for use inside a text of several lines.
pub(crate) fn name(text: &str) -> Cow<'_, str> {
    visible(text, Keep::Nothing)
}

fn escaped(text: &str, keep: Keep, put: impl Fn(&mut String, char)) -> Cow<'_, str> {
    if !text.contains(|c| obeyed(c) && !(c == '\n' && keep != Keep::Nothing)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if keep == Keep::Colors
            && let Some(length) = color(rest)
        {
            out.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        }
        if obeyed(c) && !(c == '\n' && keep != Keep::Nothing) {
            put(&mut out, c);
        } else {
            out.push(c);
        }
        rest = &rest[c.len_utf8()..];
    }
    Cow::Owned(out)
}

/// Whether a terminal does something about a character other than to show it: control characters of both sets,
/// separators of lines, and those that turn the direction of what follows.
fn obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Length of one of our colours at the beginning of a text: `ESC[48;5;N;38;5;Nm` or `ESC[0m`.
fn color(text: &str) -> Option<usize> {
    const OFF: &str = "\x1b[0m";
    if text.starts_with(OFF) {
        return Some(OFF.len());
    }
    let (back, rest) = text.strip_prefix("\x1b[48;5;")?.split_once(';')?;
    let (front, rest) = rest.strip_prefix("38;5;")?.split_once('m')?;
    let number = |text: &str| text.parse::<u8>().is_ok_and(|n| n.to_string() == text);
    (number(back) && number(front)).then(|| text.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_shown_instead() {
        let hostile = "a\x1b]0;t\x07\x1b[2J\n\r\tb\u{9b}31m\u{7f}\u{202e}é中";
        assert_eq!(
            visible(hostile, Keep::Nothing),
            "a\\u{1b}]0;t\\u{7}\\u{1b}[2J\\n\\r\\tb\\u{9b}31m\\u{7f}\\u{202e}é中"
        );
        assert_eq!(visible("a\nb\x1b[0m", Keep::Lines), "a\nb\\u{1b}[0m");
        assert_eq!(json("{\n\"a\u{9b}\"}"), "{\n\"a\\u009b\"}");
        assert!(matches!(
            visible("plain é\n", Keep::Lines),
            Cow::Borrowed(_)
        ));
    }

    #[test]
    fn only_our_own_colours_pass() {
        let own = "L0 \x1b[48;5;226;38;5;232m 9 \x1b[0m\n";
        assert_eq!(visible(own, Keep::Colors), own);
        for other in [
            "\x1b[31m",
            "\x1b[8m",
            "\x1b[48;5;226;38;5;232;8m",
            "\x1b[48;5;999;38;5;1m",
            "\x1b[48;5;01;38;5;1m",
            "\x1b[48;5;1;38;5;1;\x1b[2Jm",
            "\x1b",
        ] {
            assert!(!visible(other, Keep::Colors).contains('\x1b'), "{other:?}");
        }
    }
}

//! How long a regular expression of `tokenizer.json` may look for its matches.
//!
//! The library tries a pattern with look-around or back-references one way after the other, and starts again behind every
//! match: a short text can keep it busy for years, and nothing can stop it. So a pattern that is not quick by its form
//! is tried here first, with a limit, on the very text that the library is to be given.

use std::time::{Duration, Instant};

use fancy_regex::{Error, Expr, Match, Regex, RegexBuilder, RuntimeError};
use serde_json::Value;
use tokenizers::PreTokenizerWrapper;

/// Ways that a match may take at first. Patterns in use take one or two, and as many as a run of spaces is long.
const FEW_WAYS: usize = 4096;
/// And at most, which is where the library gives up too, and leaves the rest of the text in one piece.
const MOST_WAYS: usize = 1_000_000;
/// Bytes of text for each match that may take so many.
const TEXT_A_HARD_MATCH: usize = 1000;
/// Bytes that a pattern may take once compiled; those in use take a tenth.
const MOST_COMPILED: usize = 1 << 20;
/// Bytes looked at, if each match looked to the end of the text, before anybody looks at the clock.
const UNTIMED: u64 = 1_000_000_000;
/// The time for a long text, a hundred times what it takes.
const TIME: Duration = Duration::from_secs(5);
const TIME_A_BYTE: Duration = Duration::from_micros(20);
/// Characters of a pattern that is quick for being short.
const SHORT: usize = 64;

/// A pattern that is tried before the library takes it.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    text: String,
    /// With few ways, and with most.
    tried: Option<(Regex, Regex)>,
    /// For the others.
    quick: Option<Regex>,
}

/// What a pattern finds in a text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) matches: usize,
    /// Bytes of all matches.
    pub(crate) bytes: usize,
}

impl Pattern {
    /// # Errors
    /// What is wrong with the pattern.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let build = |ways| {
            let mut builder = RegexBuilder::new(text);
            builder
                .backtrack_limit(ways)
                .delegate_size_limit(MOST_COMPILED);
            builder
                .build()
                .map_err(|error| format!("its pattern {text:?} cannot be used: {error}"))
        };
        let tree =
            Expr::parse_tree(text).map_err(|error| format!("its pattern {text:?}: {error}"))?;
        let (tried, quick) = if quick(&tree.expr) {
            (None, Some(build(FEW_WAYS)?))
        } else {
            (Some((build(FEW_WAYS)?, build(MOST_WAYS)?)), None)
        };
        Ok(Self {
            text: text.to_owned(),
            tried,
            quick,
        })
    }

    /// Whether the pattern takes no longer than the text is long, whatever the text.
    pub(crate) fn is_quick(&self) -> bool {
        self.quick.is_some()
    }

    /// # Errors
    /// That the pattern takes too long on this text.
    pub(crate) fn find_in(&self, text: &str) -> Result<Found, String> {
        let too_long = || {
            format!(
                "its pattern {:?} would look for matches in these {} bytes for too long; cut the text, or correct the \
                 pattern in tokenizer.json",
                self.text,
                text.len()
            )
        };
        let begin = Instant::now();
        let factor = u32::try_from(text.len()).unwrap_or(u32::MAX);
        let time = TIME + TIME_A_BYTE.saturating_mul(factor);
        let mut hard = text.len() / TEXT_A_HARD_MATCH + 1;
        let mut found = Found::default();
        let (mut at, mut last) = (0, None);
        let mut looks = 0_u64;
        while at <= text.len() {
            looks += 1;
            let timed =
                looks.saturating_mul(text.len() as u64) > UNTIMED && looks.is_multiple_of(64);
            if timed && begin.elapsed() > time {
                return Err(too_long());
            }
            let next = match (&self.tried, &self.quick) {
                (Some((few, most)), _) => match few.find_from_pos(text, at) {
                    Err(Error::RuntimeError(RuntimeError::BacktrackLimitExceeded)) if hard > 0 => {
                        hard -= 1;
                        most.find_from_pos(text, at)
                    }
                    next => next,
                },
                (None, Some(quick)) => quick.find_from_pos(text, at),
                (None, None) => Ok(None),
            };
            let Some(next) = next.map_err(|_| too_long())? else {
                break;
            };
            at = behind(text, &next);
            if next.start() == next.end() && last == Some(next.end()) {
                continue;
            }
            last = Some(next.end());
            found.matches += 1;
            found.bytes += next.end() - next.start();
        }
        Ok(found)
    }
}

/// The patterns at which a pre-tokenizer splits texts, without those that are quick by their form.
///
/// # Errors
/// What is wrong with one of them.
pub(crate) fn slow(pre_tokenizer: Option<&PreTokenizerWrapper>) -> Result<Vec<Pattern>, String> {
    fn collect(written: &Value, into: &mut Vec<Pattern>) -> Result<(), String> {
        if let Some(steps) = written["pretokenizers"].as_array() {
            return steps.iter().try_for_each(|step| collect(step, into));
        }
        if written["type"] == "Split"
            && let Some(text) = written["pattern"]["Regex"].as_str()
        {
            let pattern = Pattern::new(text)?;
            if !pattern.is_quick() {
                into.push(pattern);
            }
        }
        Ok(())
    }
    let written = serde_json::to_value(pre_tokenizer).map_err(|error| error.to_string())?;
    let mut slow = Vec::new();
    collect(&written, &mut slow)?;
    Ok(slow)
}

/// Where to look for the match after this one.
fn behind(text: &str, found: &Match<'_>) -> usize {
    if found.start() < found.end() {
        return found.end();
    }
    let rest = text.get(found.end()..).unwrap_or_default();
    found.end() + rest.chars().next().map_or(1, char::len_utf8)
}

/// Alternatives each of which is short, or one character again and again: as soon as it stops matching it is known
/// whether it matched.
fn quick(expr: &Expr) -> bool {
    match expr {
        Expr::Alt(ways) => ways.iter().all(quick),
        Expr::Group(inner) => quick(inner),
        Expr::Repeat {
            child,
            lo,
            hi: usize::MAX,
            ..
        } => *lo <= SHORT && longest(child) == Some(1),
        other => longest(other).is_some_and(|length| length <= SHORT),
    }
}

/// The characters of the longest match, where that is a number and no look-around is needed to tell.
fn longest(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Empty => Some(0),
        Expr::Any { .. } => Some(1),
        Expr::Literal { val, .. } => Some(val.chars().count()),
        Expr::Delegate { size, .. } => Some(*size),
        Expr::Concat(parts) => parts.iter().map(longest).sum(),
        Expr::Alt(ways) => ways
            .iter()
            .map(longest)
            .collect::<Option<Vec<_>>>()?
            .into_iter()
            .max(),
        Expr::Group(inner) => longest(inner),
        Expr::Repeat { child, hi, .. } if *hi <= SHORT => Some(longest(child)?.saturating_mul(*hi)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GPT2: &str =
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
    const CL100K: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text).expect(text)
    }

    #[test]
    fn the_form_of_a_pattern_tells_whether_it_is_quick() {
        for text in [
            " {2,}",
            r"\s+",
            "``",
            r"\w+|[^\w\s]+",
            r"\p{N}{1,3}",
            "\n",
            "(ab|c)d?",
            ".",
        ] {
            assert!(pattern(text).is_quick(), "{text}");
        }
        for text in [
            GPT2,
            CL100K,
            O200K,
            r"(a+)+b",
            r".*[^A-Z]|[A-Z]",
            r"(?=.*b)a",
            r"(a)\1",
            r"a*b",
            r"a{99,}",
            r"(?:ab)+",
            r"(?>a|b)",
        ] {
            assert!(!pattern(text).is_quick(), "{text}");
        }
    }

    #[test]
    fn patterns_in_use_go_through_any_text() {
        let texts = [
            "The cat's 12 dogs  ran.\r\n\r\n  Ça va ?\t".repeat(2000),
            " ".repeat(60_000),
            format!("{}x", " \t".repeat(30_000)),
            "a".repeat(60_000),
            "\n".repeat(60_000),
            "aB".repeat(20_000),
            String::new(),
        ];
        for text in [GPT2, CL100K, O200K, " {2,}", r"\w+|[^\w\s]+"] {
            let pattern = pattern(text);
            let regex = Regex::new(text).expect(text);
            for content in &texts {
                let found = pattern.find_in(content).expect(text);
                let all: Vec<_> = regex
                    .find_iter(content)
                    .map(|found| found.expect("found"))
                    .collect();
                let bytes = all.iter().map(|found| found.end() - found.start()).sum();
                assert_eq!(
                    found,
                    Found {
                        matches: all.len(),
                        bytes
                    },
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn matches_of_nothing_are_counted_as_the_library_does() {
        for (text, content) in [
            ("b*", "aébba"),
            ("", "aé"),
            ("a*?", "aa"),
            (r"(?=a)", "aba"),
        ] {
            let regex = Regex::new(text).expect(text);
            let expected = regex.find_iter(content).count();
            assert_eq!(
                pattern(text).find_in(content).expect(text).matches,
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn work_without_end_is_refused() {
        let begin = Instant::now();
        for (text, content) in [
            // Exponential in the length of the text.
            (r"(?:a+)+(?=b)", "a".repeat(40)),
            (r"(?:a|a|ab)+(?!.)(?<=c)|a", "a".repeat(4000)),
            (r"(a*)*\1b", "a".repeat(2000)),
        ] {
            let said = pattern(text).find_in(&content).expect_err(text);
            assert!(said.contains("for too long; cut the text"), "{said}");
        }
        assert!(
            begin.elapsed() < Duration::from_secs(60),
            "{:?}",
            begin.elapsed()
        );
        assert!(
            Pattern::new(r"(?:\pL{900}){900}")
                .expect_err("too large")
                .contains("cannot be used")
        );
        assert!(Pattern::new("(").is_err());
    }
}

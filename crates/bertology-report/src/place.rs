//! Places on somebody's disk, for pages: pages are handed on, and of a path they show its last part alone. The whole
//! paths are in `run.json`.

use bertology_run::{Run, text_of};
use serde_json::Value;

/// Parts of a path at most that tell runs apart.
const TAIL: usize = 3;

/// The last part of a path, with either separator.
fn last(path: &str) -> &str {
    let parts = path.split(['/', '\\']);
    let mut named = parts.filter(|part| !part.is_empty() && *part != ".");
    named.next_back().unwrap_or(path)
}

/// Whether a text is a path by its looks: it starts as one, or has more separators than a hub id, and no blank.
fn looks_like_path(text: &str) -> bool {
    let begins = ["/", "~/", "./", "../", "\\\\", ".\\", "..\\"];
    let mut characters = text.chars();
    let drive = characters.next().is_some_and(|c| c.is_ascii_alphabetic())
        && characters.next() == Some(':')
        && matches!(characters.next(), Some('/' | '\\'));
    // Characters that no system likes in names.
    let deep = text.matches('/').count() > 1
        && !text.contains("://")
        && !text.contains(['<', '>', '"', '|', '*', '?']);
    drive
        || begins.iter().any(|begin| text.starts_with(begin))
        || (deep && !text.contains(char::is_whitespace))
}

/// A model's name: of a path on somebody's disk its last part.
pub(crate) fn brief_name(name: &str) -> String {
    let brief = if looks_like_path(name) {
        last(name)
    } else {
        name
    };
    brief.to_owned()
}

/// The places that a run knows as such, by which paths are told from hub ids: `runs/model` can be either.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    known: Vec<String>,
    model: String,
}

impl Places {
    pub(crate) fn of(run: &Run) -> Self {
        let name = run.model().name.clone();
        let mut known: Vec<String> = Vec::new();
        let folder = run.said("/model/folder");
        if run.said("/model/commit").is_none() && folder.as_ref() == Some(&name) {
            known.push(name.clone());
        }
        known.extend(folder);
        for file in ["file", "train", "dev"] {
            known.extend(run.said(&format!("/data/{file}/path")));
        }
        let mut places = Self {
            known,
            model: String::new(),
        };
        places.model = places.brief(&name);
        places
    }

    /// The model's hub id, or the last part of its folder.
    pub(crate) fn model(&self) -> &str {
        &self.model
    }

    /// A text as it is, or of a path its last part.
    pub(crate) fn brief(&self, text: &str) -> String {
        if let Some((option, value)) = text.split_once('=')
            && option.starts_with("--")
        {
            return format!("{option}={}", self.brief(value));
        }
        let folder = text.trim_end_matches(['/', '\\']);
        let within = |known: &String| {
            let rest = known.strip_prefix(folder);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '\\']))
        };
        let place = looks_like_path(text) || (!folder.is_empty() && self.known.iter().any(within));
        if place { last(text) } else { text }.to_owned()
    }

    /// A value as people would write it, without the folders of its paths.
    pub(crate) fn said(&self, value: &Value) -> String {
        text_of(&self.without_folders(value))
    }

    fn without_folders(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.brief(text)),
            Value::Array(values) => values.iter().map(|v| self.without_folders(v)).collect(),
            Value::Object(map) => {
                let parts = map
                    .iter()
                    .map(|(k, v)| (k.clone(), self.without_folders(v)));
                Value::Object(parts.collect())
            }
            other => other.clone(),
        }
    }
}

/// Names of runs: the last name of each folder, with those above it where some have one name.
pub(crate) fn names(runs: &[&Run]) -> Vec<String> {
    let paths: Vec<_> = runs
        .iter()
        .map(|run| {
            run.folder()
                .canonicalize()
                .unwrap_or_else(|_| run.folder().into())
        })
        .collect();
    let tail = |path: &std::path::Path, parts: usize| {
        let names = path.components().filter_map(|part| match part {
            std::path::Component::Normal(name) => Some(name.to_string_lossy()),
            _ => None,
        });
        let names: Vec<_> = names.collect();
        names[names.len().saturating_sub(parts)..].join("/")
    };
    let at = |parts: usize| -> Vec<String> { paths.iter().map(|path| tail(path, parts)).collect() };
    let short = at(1);
    let repeated = |names: &[String], name: &String| names.iter().filter(|n| *n == name).count();
    let clashes = |names: &[String]| -> usize {
        names
            .iter()
            .filter(|name| repeated(names, name) > 1)
            .count()
    };
    // The shortest that tells most apart; a run beside itself is never told apart.
    let parts = (1..=TAIL).min_by_key(|parts| (clashes(&at(*parts)), *parts));
    let long = at(parts.unwrap_or(1));
    let pairs = short.iter().zip(long);
    let named = pairs.map(|(brief, long)| {
        if repeated(&short, brief) > 1 {
            long
        } else {
            brief.clone()
        }
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heading_names_a_model_and_no_path() {
        for (name, brief) in [
            ("gpt2", "gpt2"),
            ("openai-community/gpt2", "openai-community/gpt2"),
            ("/home/me/models/mrpc/", "mrpc"),
            ("./mrpc", "mrpc"),
            ("../a/mrpc", "mrpc"),
            ("runs/a/model", "model"),
            ("C:\\Users\\me\\mrpc", "mrpc"),
            ("\\\\share\\mrpc\\", "mrpc"),
            ("/home/Jane Doe/mrpc", "mrpc"),
            ("/", "/"),
        ] {
            assert_eq!(brief_name(name), brief);
        }
    }

    #[test]
    fn options_and_arguments_name_no_folder() {
        let places = Places {
            known: vec!["assets/tiny".into(), "data/GLUE/CoLA/dev.tsv".into()],
            model: "tiny".into(),
        };
        // An option of the command, which the library does not know.
        let option = |text: &str| format!("{0}{0}{text}", '-');
        for (text, brief) in [
            ("assets/tiny", "tiny"),
            ("data/GLUE/", "GLUE"),
            ("data/GLUE/CoLA/dev.tsv", "dev.tsv"),
            ("data/other", "data/other"),
            (&option("output=/home/me/out"), &option("output=out")),
            (&option("data=data/GLUE"), &option("data=GLUE")),
            (&option("heads=3.5"), &option("heads=3.5")),
            (
                "cats and/or dogs and/or horses",
                "cats and/or dogs and/or horses",
            ),
            ("https://example.org/a/b", "https://example.org/a/b"),
            ("", ""),
            ("cola", "cola"),
        ] {
            assert_eq!(places.brief(text), brief);
        }
        let value = serde_json::json!({ "a": ["/home/me/x", 3], "b": null, "c": "~/y" });
        assert_eq!(places.said(&value), "a x 3, c y");
    }
}

//! The piece of code that was asked for.

use std::path::{Path, PathBuf};

use bertology_code::{Code, CodeError, Function, Functions, Language, Syntax, Wrapping};

use super::{CatTreeArgs, failure};
use crate::failure::Failure;
use crate::show::text::plural;

/// Names said of those that there are.
const NAMED: usize = 12;

/// Code, and where it was.
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) line: u64,
    pub(super) name: Option<String>,
    /// Functions of the whole source file, with the line where each begins.
    pub(super) functions: Vec<(String, u64)>,
    pub(super) code: Option<Code>,
}

impl Found {
    fn new(code: Code) -> Self {
        Self {
            path: code.path.to_path_buf(),
            line: code.line,
            name: code.name.clone(),
            functions: Vec::new(),
            code: Some(code),
        }
    }
}

pub(super) fn find(
    args: &CatTreeArgs,
    language: Option<&'static Language>,
) -> Result<Found, Failure> {
    if args.file.is_dir() {
        return Err(Failure::input(format!(
            "{}: this is a folder; give a file of it",
            args.file.display()
        )));
    }
    let end = args.file.extension().and_then(|end| end.to_str());
    match end.map(str::to_lowercase).as_deref() {
        Some("jsonl" | "ndjson" | "json") => of_lines(args, language),
        _ => of_source(args, language),
    }
}

/// The first function of a file of JSON Lines that is the one asked for.
fn of_lines(args: &CatTreeArgs, language: Option<&'static Language>) -> Result<Found, Failure> {
    let functions = Functions::new(&args.file, language).map_err(failure)?;
    let reader = functions.open().map_err(failure)?;
    let mut read = 0;
    for code in reader {
        let code = code.map_err(failure)?;
        read += 1;
        let named = args.function.as_deref();
        let named = named.is_none_or(|wanted| {
            let name = code.name.as_deref();
            name.is_some_and(|name| is_called(name, wanted))
        });
        if named && args.line.is_none_or(|line| line == code.line) {
            return Ok(Found::new(code));
        }
    }
    Err(Failure::input(format!(
        "{}: none of its {} {}",
        args.file.display(),
        plural(read, "function"),
        wanted(args)
    )))
}

fn of_source(args: &CatTreeArgs, language: Option<&'static Language>) -> Result<Found, Failure> {
    let whole = Code::of_file(&args.file, language).map_err(failure)?;
    let limit = whole.text.len();
    let syntax = Syntax::parse(whole.language, &whole.text, Wrapping::Never, limit);
    let syntax = syntax.map_err(|refusal| {
        failure(CodeError::Refused {
            path: args.file.clone(),
            line: 1,
            refusal,
        })
    })?;
    let all = with_lines(syntax.functions(&whole.text), &whole.text);
    if args.function.is_none() && args.line.is_none() {
        let mut found = Found::new(whole);
        let named = |(function, line): (Function, u64)| Some((function.path?, line));
        found.functions = all.into_iter().filter_map(named).collect();
        return Ok(found);
    }
    let is_wanted = |(function, line): &&(Function, u64)| {
        let named = args.function.as_deref().is_none_or(|wanted| {
            let name = function.path.as_deref();
            name.is_some_and(|name| is_called(name, wanted))
        });
        named && args.line.is_none_or(|wanted| wanted == *line)
    };
    let found: Vec<&(Function, u64)> = all.iter().filter(is_wanted).collect();
    match &found[..] {
        [] => Err(Failure::input(format!(
            "{}: no function {}; {}",
            args.file.display(),
            wanted(args),
            named(&all.iter().collect::<Vec<_>>())
        ))),
        [(function, _)] => Ok(Found::new(whole.cut(&syntax, function))),
        // One begins with another: `f = (a) => (b) => c`.
        several if args.line.is_some() => {
            let longest = several
                .iter()
                .max_by_key(|(function, _)| function.range.len());
            let longest = longest.map(|(function, _)| whole.cut(&syntax, function));
            Ok(Found::new(longest.unwrap_or(whole)))
        }
        several => Err(Failure::input(format!(
            "{}: {} functions are called so; {}; say --line N, or more of the name",
            args.file.display(),
            several.len(),
            named(several)
        ))),
    }
}

/// Functions with the line where each begins. They are in the order of the text.
fn with_lines(functions: Vec<Function>, text: &str) -> Vec<(Function, u64)> {
    let (mut line, mut counted) = (1, 0);
    let lines = functions.into_iter().map(|function| {
        let between = text.get(counted..function.range.start).unwrap_or_default();
        line += between.matches('\n').count() as u64;
        counted = function.range.start.max(counted);
        (function, line)
    });
    lines.collect()
}

/// Whether a name is the one wanted, or ends in it behind a dot.
fn is_called(name: &str, wanted: &str) -> bool {
    name == wanted
        || name
            .strip_suffix(wanted)
            .is_some_and(|before| before.ends_with('.'))
}

fn wanted(args: &CatTreeArgs) -> String {
    match (&args.function, args.line) {
        (Some(name), None) => format!("is called `{name}`"),
        (Some(name), Some(line)) => format!("is called `{name}` and begins in line {line}"),
        (None, Some(line)) => format!("begins in line {line}"),
        (None, None) => "can be read".to_owned(),
    }
}

fn named(functions: &[&(Function, u64)]) -> String {
    let known: Vec<String> = functions
        .iter()
        .filter_map(|(function, line)| Some(format!("{} (line {line})", function.path.as_ref()?)))
        .collect();
    match known.len() {
        0 => "it has no functions with a name".to_owned(),
        1..=NAMED => format!("there are {}", known.join(", ")),
        all => format!("there are {all}, as {}", known[..NAMED].join(", ")),
    }
}

/// How a file is named in a headline.
pub(super) fn file_name(path: &Path) -> String {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| path.display().to_string())
}

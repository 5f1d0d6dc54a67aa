//! `bertology heads`: what several runs say of each head of one model.

use serde_json::json;

use super::Done;
use crate::args::HeadsArgs;
use crate::failure::Failure;
use crate::pages;
use crate::show::Screen;
use crate::show::escape::name;
use crate::show::text::plural;

/// Columns where the output goes to no terminal.
const WIDTH: usize = 80;

pub(crate) fn run(args: &HeadsArgs, screen: &Screen) -> Result<Done, Failure> {
    for (option, path) in [("--output", &args.output), ("--html", &args.html)] {
        if let Some(path) = path {
            pages::check(option, path, args.overwrite)?;
        }
    }
    let runs: Result<Vec<_>, _> = args.runs.iter().map(|path| pages::open(path)).collect();
    let runs = runs?;
    let joined = bertology_report::join(&runs).map_err(|error| pages::failure(&error))?;
    runs.iter().try_for_each(pages::unchanged)?;
    let (names, rows) = (joined.names(), joined.rows());
    let terminal = terminal_size::terminal_size_of(std::io::stdout());
    let width = terminal.map_or(WIDTH, |(width, _)| usize::from(width.0));
    screen.say(&text(&names, &rows, width));
    if let Some(path) = &args.output {
        pages::write(path, &joined.csv())?;
        screen.say(&format!("The table is {}", path.display()));
    }
    if let Some(path) = &args.html {
        pages::write_page(path, &joined.document())?;
        screen.say(&format!("The page is {}", path.display()));
    }
    Ok(json!({ "heads": joined.json() }).into())
}

/// As many columns as fit, and how many there are besides.
fn text(names: &[&str], rows: &[((usize, usize), Vec<String>)], terminal: usize) -> String {
    let names: Vec<_> = names.iter().map(|other| name(other)).collect();
    let rows: Vec<_> = rows
        .iter()
        .map(|(id, cells)| (*id, cells.iter().map(|cell| name(cell)).collect::<Vec<_>>()))
        .collect();
    let width = |at: usize, name: &str| {
        let cells = rows
            .iter()
            .map(|(_, cells)| cells.get(at).map_or(0, |c| c.chars().count()));
        cells.max().unwrap_or(0).max(name.chars().count()) + 2
    };
    let mut widths = Vec::new();
    let mut used = "layer  head".len();
    for (at, name) in names.iter().enumerate() {
        let next = width(at, name);
        if used + next > terminal {
            break;
        }
        used += next;
        widths.push(next);
    }
    let mut lines = vec![String::from("layer  head")];
    for (name, width) in names.iter().zip(&widths) {
        lines[0].push_str(&right(name, *width));
    }
    for ((layer, head), cells) in &rows {
        let mut line = format!("{layer:>5}  {head:>4}");
        for (cell, width) in cells.iter().zip(&widths) {
            line.push_str(&right(cell, *width));
        }
        lines.push(line);
    }
    let hidden = names.len() - widths.len();
    if hidden > 0 {
        let more = plural(hidden as u64, "more column");
        let which = names.get(widths.len()..).unwrap_or_default().join(", ");
        let text = format!("{more} ({which}): --output FILE.csv and --html FILE have them all");
        let mut line = String::new();
        for word in text.split(' ') {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > terminal {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines.join("\n")
}

/// Padded by characters, which `format!` counts as well.
fn right(text: &str, width: usize) -> String {
    format!("{text:>width$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wider_terminal_shows_more_columns_and_the_rest_is_named() {
        let names: Vec<String> = (0..23).map(|at| format!("column {at}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let rows = [((0, 0), vec!["0.123".to_owned(); 23])];
        for (width, shown) in [(80, 6), (120, 10), (400, 23)] {
            let text = text(&names, &rows, width);
            let first = text.lines().next().unwrap_or_default();
            assert_eq!(first.matches("column").count(), shown, "{text}");
            assert!(
                text.lines().all(|line| line.chars().count() <= width),
                "{text}"
            );
            // Broken across lines as it may be.
            let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(
                names.iter().filter(|name| words.contains(**name)).count(),
                23,
                "{text}"
            );
        }
    }
}

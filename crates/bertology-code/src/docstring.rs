//! Docstrings: a plain string, or a row of them, that is the first statement of a module, class or function.
//!
//! The rule is that of CPython's compiler. Strings with `f` or `b` before them are none.

use crate::syntax::Syntax;

/// The statements that are docstrings, by number, ascending.
pub(crate) fn find(syntax: &Syntax, text: &str) -> Vec<u32> {
    if !syntax.language().docstrings {
        return Vec::new();
    }
    let kind = |number: u32| {
        let node = syntax.nodes().get(number as usize);
        node.map_or("", |node| syntax.kind(node))
    };
    let bodies = (0..syntax.nodes().len() as u32).filter(|number| match kind(*number) {
        "module" => true,
        "block" => {
            let parent = syntax.nodes().get(*number as usize).map(|node| node.parent);
            let parent = parent.map_or("", kind);
            matches!(parent, "function_definition" | "class_definition")
        }
        _ => false,
    });
    let first = |of: u32| syntax.children(of).find(|child| kind(*child) != "comment");
    let mut found: Vec<u32> = bodies
        .filter_map(first)
        .filter(|statement| {
            kind(*statement) == "expression_statement" && is_docstring(syntax, text, *statement)
        })
        .collect();
    found.sort_unstable();
    found
}

fn is_docstring(syntax: &Syntax, text: &str, statement: u32) -> bool {
    let kind = |number: u32| {
        let node = syntax.nodes().get(number as usize);
        node.map_or("", |node| syntax.kind(node))
    };
    let parts = |of: u32| {
        let inner = syntax.children(of);
        inner.filter(move |child| {
            !matches!(kind(*child), "comment" | "(" | ")" | "line_continuation")
        })
    };
    let mut at = statement;
    loop {
        let mut inside = parts(at);
        let (Some(only), None) = (inside.next(), inside.next()) else {
            return false;
        };
        match kind(only) {
            "parenthesized_expression" => at = only,
            "string" => return is_text(syntax, text, only),
            "concatenated_string" => {
                return parts(only)
                    .all(|part| kind(part) == "string" && is_text(syntax, text, part));
            }
            _ => return false,
        }
    }
}

/// Whether a string is neither bytes nor formatted, by the letters before its quotation mark.
fn is_text(syntax: &Syntax, text: &str, string: u32) -> bool {
    let node = syntax.nodes().get(string as usize);
    let said = node.and_then(|node| text.get(node.range()));
    let prefix = said.and_then(|said| said.split(['"', '\'']).next());
    prefix.is_some_and(|prefix| matches!(prefix, "" | "r" | "R" | "u" | "U"))
}

//! `cat`: how attention follows trees, as tables, arrays, page and text.

use std::fs;
use std::path::Path;

use crate::harness::{HEADS, LAYERS, Toy, run};

/// Functions in two languages, one of them not a program.
const FUNCTIONS: &str = r#"{"func_name": "till.pay", "language": "python", "code": "def pay(self, price, paid):\n    if paid < price:\n        return None\n    return paid - price\n"}
{"func_name": "most", "language": "java", "code": "int most(int[] all) { int m = all[0]; for (int x : all) { if (x > m) { m = x; } } return m; }"}
{"func_name": "broken", "language": "python", "code": "def broken(:\n    return\n"}
{"func_name": "one", "language": "python", "code": "def one(): pass\n"}
{"func_name": "add", "language": "python", "code": "def add(first, second):\n    # the sum\n    both = first + second\n    print(both)\n    return both\n"}
"#;

fn toy() -> Toy {
    let toy = Toy::new();
    toy.write("functions.jsonl", FUNCTIONS);
    toy
}

fn arguments(toy: &Toy, more: &[&str]) -> Vec<String> {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/tiny-bert");
    let mut all = vec!["cat".to_owned(), model.display().to_string()];
    all.extend(["--code".to_owned(), toy.text("functions.jsonl")]);
    all.extend(["--permutations", "19", "--resamples", "30"].map(str::to_owned));
    all.extend(more.iter().map(|word| word.replace("OUT", &toy.text(""))));
    all
}

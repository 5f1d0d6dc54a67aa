//! The best finder of antecedents beside the baselines, as a table.

use std::fmt::Write;

use bertology::attention::Proportion;
use bertology::attention::coref::{AntecedentRule, Candidates, Category, CorefCounts};

use super::syntax::percent;
use super::text::count;

/// A row for each baseline and for the best head in each reading.
pub(crate) fn text(counts: &CorefCounts) -> String {
    let mut text = String::from(
        "Antecedents found, in per cent of the mentions that have one\n(layers and heads counted \
         from 0)\n  ",
    );
    let _ = write!(text, "{:<30}", "");
    for category in Category::ALL {
        let _ = write!(text, "{:>9}", category.name());
    }
    let _ = write!(text, "\n  {:<30}", "mentions");
    for category in Category::ALL {
        let _ = write!(text, "{:>9}", count(counts.total(category)));
    }
    let mut row = |name: String, score: &dyn Fn(Category) -> Proportion| {
        let _ = write!(text, "\n  {name:<30}");
        for category in Category::ALL {
            let _ = write!(text, "{:>9}", percent(score(category)));
        }
    };
    for rule in AntecedentRule::ALL {
        row(rule.name().replace('-', " "), &|category| {
            counts.rule(rule, category)
        });
    }
    for candidates in Candidates::ALL {
        if let Some(head) = counts.best(candidates) {
            let among = match candidates {
                Candidates::All => "all words",
                Candidates::Preceding => "preceding words",
                Candidates::MentionHeads => "mention heads",
            };
            row(format!("{head} among {among}"), &|category| {
                counts.score(candidates, head, category)
            });
        }
    }
    text.push_str(
        "\n  The heads are those that find most on these very mentions. nearest, head match\n  and \
         sieves name earlier mentions and read no attention.",
    );
    text
}

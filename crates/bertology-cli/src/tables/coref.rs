//! The files of `bertology coref`.

use std::fmt::Write;

use bertology::attention::coref::{AntecedentRule, Candidates, Category, CorefCounts};

use super::syntax::scored;
use crate::failure::Failure;
use crate::run_folder::RunFolder;

/// `coref.csv` and `coref_baselines.csv`.
pub(crate) fn write(folder: &RunFolder, counts: &CorefCounts) -> Result<(), Failure> {
    let mut heads =
        String::from("candidates,layer,head,category,correct,total,accuracy,low,high,abstained\n");
    for candidates in Candidates::ALL {
        for head in counts.live() {
            for category in Category::ALL {
                // It is counted over all categories.
                let abstained = match category {
                    Category::All => counts.abstained(candidates, head).to_string(),
                    _ => String::new(),
                };
                let _ = writeln!(
                    heads,
                    "{},{},{},{},{},{abstained}",
                    candidates.name(),
                    head.layer,
                    head.head,
                    category.name(),
                    scored(counts.score(candidates, head, category)),
                );
            }
        }
    }
    let mut rules = String::from("baseline,category,correct,total,accuracy,low,high\n");
    for rule in AntecedentRule::ALL {
        for category in Category::ALL {
            let score = scored(counts.rule(rule, category));
            let _ = writeln!(rules, "{},{},{score}", rule.name(), category.name());
        }
    }
    folder.write("coref.csv", heads.as_bytes())?;
    folder.write("coref_baselines.csv", rules.as_bytes())
}

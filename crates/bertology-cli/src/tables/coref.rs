//! The files of `bertology coref`.

use bertology::attention::coref::{AntecedentRule, Candidates, Category, CorefCounts};
use bertology_run::rows::{CorefBaselineRow, CorefRow};

use super::ends;
use crate::failure::Failure;
use crate::run_folder::RunFolder;

/// Every head, and the rules.
pub(crate) fn write(folder: &RunFolder, counts: &CorefCounts) -> Result<(), Failure> {
    let mut heads = Vec::new();
    for candidates in Candidates::ALL {
        for head in counts.live() {
            for category in Category::ALL {
                let score = counts.score(candidates, head, category);
                let (low, high) = ends(score);
                heads.push(CorefRow {
                    candidates: candidates.name().into(),
                    layer: head.layer,
                    head: head.head,
                    category: category.name().into(),
                    correct: score.part,
                    total: score.whole,
                    accuracy: score.share(),
                    low,
                    high,
                    // It is counted over all categories.
                    abstained: (category == Category::All)
                        .then(|| counts.abstained(candidates, head)),
                });
            }
        }
    }
    folder.write_table(&[], heads)?;
    let rules = AntecedentRule::ALL.into_iter().flat_map(|rule| {
        Category::ALL.into_iter().map(move |category| {
            let score = counts.rule(rule, category);
            let (low, high) = ends(score);
            CorefBaselineRow {
                baseline: rule.name().into(),
                category: category.name().into(),
                correct: score.part,
                total: score.whole,
                accuracy: score.share(),
                low,
                high,
            }
        })
    });
    Ok(folder.write_table(&[], rules)?)
}

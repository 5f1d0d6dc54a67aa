//! `bertology syntax`: every head as a predictor of dependency relations.

use std::path::Path;

use bertology::attention::syntax::{BestHead, RelationScores, SyntaxCounts, SyntaxOptions};
use bertology::attention::{InputMode, SentencePassages};
use bertology_run::results::{self, OffsetScore, RelationHead, RelationResult, SyntaxResults};
use serde_json::json;

use crate::args::SyntaxArgs;
use crate::command::{Ended, Shown, Stage, StudyCommand};
use crate::data;
use crate::failure::Failure;
use crate::record::{self, Run};
use crate::run_folder::RunFolder;
use crate::session::{Opened, failure};
use crate::show::Screen;
use crate::show::syntax::Shown as Table;
use crate::show::text::{count, plural, seconds};
use crate::tables;

/// What is opened besides the model.
pub(crate) struct Input {
    /// On which heads are chosen, if that is another treebank.
    chosen: Option<SentencePassages>,
    scored: SentencePassages,
}

impl StudyCommand for SyntaxArgs {
    const NAME: &'static str = "syntax";

    type Input = Input;
    type Supply = SentencePassages;
    type Study = SyntaxCounts;

    fn open(&self, opened: &Opened, _: &Screen) -> Result<Input, Failure> {
        let open = |path: &Path| {
            let treebank = data::treebank(path, self.own.limit);
            let options = data::treebank_options(&self.input)?;
            SentencePassages::new(&opened.model, treebank, options).map_err(|e| failure(&e))
        };
        Ok(Input {
            scored: open(&self.input.conllu)?,
            chosen: self.own.select.as_deref().map(open).transpose()?,
        })
    }

    fn identity(&self, input: &Input, run: &mut Run) {
        let Input { chosen, scored } = input;
        let sha256 = |passages: &SentencePassages| passages.info().sha256.clone();
        run.set_data(
            Some(sha256(scored)),
            json!({
                "file": scored.info(),
                "chosen_on": chosen.as_ref().map(SentencePassages::info),
                "input": scored.input(),
                "max_length": scored.max_length(),
            }),
        );
        // The file's name says nothing; its content does.
        run.identity
            .set("select", json!(chosen.as_ref().map(sha256)));
    }

    fn stages<'a>(
        &self,
        opened: &'a Opened,
        input: &'a Input,
        _: Option<&RunFolder>,
    ) -> Result<Vec<Stage<'a, Self>>, Failure> {
        let options = options(self);
        let passages = input.chosen.iter().chain([&input.scored]);
        let stage = |passages| {
            let counts = SyntaxCounts::new(passages, &options);
            Stage::new(&opened.model, passages, counts)
        };
        Ok(passages.map(stage).collect())
    }

    fn unit(&self, _: &Input) -> &'static str {
        "sentence"
    }

    fn headline(&self, opened: &Opened, input: &Input) -> Result<String, Failure> {
        Ok(headline(opened, &input.scored, input.chosen.as_ref()))
    }

    fn results(
        &self,
        ended: &mut Ended<'_>,
        input: &Input,
        mut studies: Vec<SyntaxCounts>,
    ) -> Result<Shown, Failure> {
        let choosing = match studies.len() {
            2 => Some(studies.remove(0)),
            _ => None,
        };
        let counts = super::only(studies)?;
        let best = counts.best(choosing.as_ref().unwrap_or(&counts));
        if let Some(folder) = ended.folder {
            tables::syntax::write(folder, &counts, &best)?;
        }
        let table = Table::new(&best, counts.tally().words, self.own.min_count);
        Ok(Shown {
            results: json!(SyntaxResults {
                counts: Some(tally(&counts)),
                chosen_on_counts: choosing.as_ref().map(tally),
                options: json!(options(self)),
                input: record::name_of(&input.scored.input()),
                relations: best.iter().map(relation).collect(),
            }),
            text: format!(
                "\n{}\n\n{}\n{}",
                table.text(&counts),
                account(&counts, choosing.as_ref()),
                seconds(ended.time)
            ),
        })
    }
}

fn options(args: &SyntaxArgs) -> SyntaxOptions {
    SyntaxOptions {
        rows: data::row_mode(&args.input),
        base_relations: args.own.base_relations,
        possessive_clitic: args.own.possessive_clitic,
        sd_view: args.own.sd_view,
        offsets: args.own.offsets,
    }
}

/// Model and treebank in a few lines; `chosen` is the one on which heads are chosen.
pub(super) fn headline(
    opened: &Opened,
    scored: &SentencePassages,
    chosen: Option<&SentencePassages>,
) -> String {
    let (layers, heads) = opened.shape();
    let file = |passages: &SentencePassages, what: &str| {
        let info = passages.info();
        format!(
            "\n{}: {}, {}{what}",
            info.path.display(),
            plural(info.counts.sentences, "sentence"),
            plural(info.counts.words, "word"),
        )
    };
    let mut text = format!("{}: {layers} layers of {heads} heads", opened.located.name);
    if let Some(chosen) = chosen {
        text.push_str(&file(chosen, ", to choose heads"));
    }
    text.push_str(&file(
        scored,
        if chosen.is_some() {
            ", to score them"
        } else {
            ""
        },
    ));
    text.push_str(match scored.input() {
        InputMode::Words => "\nThe model reads the words with single spaces between them",
        InputMode::Text => "\nThe model reads the text as it was written",
    });
    text
}

/// What was studied, and what was not.
fn account(counts: &SyntaxCounts, chosen: Option<&SyntaxCounts>) -> String {
    let tally = counts.tally();
    let mut text = format!(
        "{} with {} and {}",
        plural(tally.studied(), "sentence"),
        plural(tally.words, "word"),
        plural(tally.tokens, "token"),
    );
    for (number, what) in [
        (tally.too_long, "left out, too long"),
        (tally.empty, "left out, without a token"),
    ] {
        if number > 0 {
            text.push_str(&format!("; {} {what}", plural(number, "sentence")));
        }
    }
    for (number, noun, what) in [
        (tally.without_tokens, "word", "without a token, never right"),
        (tally.straddling, "token", "with characters of two words"),
        (
            tally.internal,
            "arc",
            "within words that share tokens, not counted",
        ),
    ] {
        if number > 0 {
            text.push_str(&format!("\n{} {what}", plural(number, noun)));
        }
    }
    text.push('\n');
    text.push_str(&match chosen {
        None => "Heads and offsets are the best on these very sentences".to_owned(),
        Some(chosen) => format!(
            "Heads and offsets are the best on {} others",
            count(chosen.tally().studied())
        ),
    });
    text
}

fn tally(counts: &SyntaxCounts) -> results::SyntaxCounts {
    let tally = counts.tally();
    results::SyntaxCounts {
        sentences: tally.sentences,
        too_long: tally.too_long,
        empty: tally.empty,
        tokens: tally.tokens,
        words: tally.words,
        without_tokens: tally.without_tokens,
        straddling: tally.straddling,
        shared: tally.shared,
        internal: tally.internal,
    }
}

fn relation(found: &RelationScores) -> RelationResult {
    let head = |best: &BestHead| RelationHead {
        direction: record::name_of(&best.direction),
        head: best.head.to_string(),
        score: record::score(best.score),
        reachable: best.reachable,
        baseline_in_reach: best.baseline_in_reach,
        chosen_by: record::score(best.chosen_by),
    };
    RelationResult {
        relation: found.relation.clone(),
        total: found.total,
        best: head(found.best()),
        directions: found.directions.iter().map(head).collect(),
        baseline: OffsetScore {
            offset: found.baseline.offset,
            score: record::score(found.baseline.score),
        },
    }
}

//! `bertology coref`: every head as a finder of antecedents.

use bertology::attention::coref::{
    AntecedentRule, Candidates, Category, CorefCounts, CorefTally, DocumentPassages,
};
use bertology::attention::{InputMode, Proportion};
use bertology_run::results::{self, BestAntecedents, CorefResults, Named, Score};
use serde_json::json;

use crate::args::CorefArgs;
use crate::command::{Ended, Shown, Stage, StudyCommand};
use crate::data;
use crate::failure::Failure;
use crate::record::{self, Run};
use crate::run_folder::RunFolder;
use crate::session::{Opened, failure};
use crate::show::Screen;
use crate::show::text::{plural, seconds};
use crate::tables;

impl StudyCommand for CorefArgs {
    const NAME: &'static str = "coref";

    type Input = DocumentPassages;
    type Supply = DocumentPassages;
    type Study = CorefCounts;

    fn open(&self, opened: &Opened, _: &Screen) -> Result<DocumentPassages, Failure> {
        let treebank = data::treebank(&self.input.conllu, self.own.limit);
        let options = data::treebank_options(&self.input)?;
        DocumentPassages::new(&opened.model, treebank, options).map_err(|e| failure(&e))
    }

    fn identity(&self, passages: &DocumentPassages, run: &mut Run) {
        let (discontinuous, without_words) = passages.passed_over();
        run.set_data(
            Some(passages.info().sha256.clone()),
            json!({
                "file": passages.info(),
                "mentions": passages.mentions(),
                "mentions_in_parts": discontinuous,
                "mentions_without_words": without_words,
                "input": passages.input(),
                "max_length": passages.max_length(),
            }),
        );
    }

    fn stages<'a>(
        &self,
        opened: &'a Opened,
        passages: &'a DocumentPassages,
        _: Option<&RunFolder>,
    ) -> Result<Vec<Stage<'a, Self>>, Failure> {
        let counts = CorefCounts::new(passages, data::row_mode(&self.input));
        Ok(vec![Stage::new(&opened.model, passages, counts)])
    }

    fn unit(&self, _: &DocumentPassages) -> &'static str {
        "document"
    }

    fn headline(&self, opened: &Opened, passages: &DocumentPassages) -> Result<String, Failure> {
        Ok(headline(opened, passages))
    }

    fn results(
        &self,
        ended: &mut Ended<'_>,
        passages: &DocumentPassages,
        studies: Vec<CorefCounts>,
    ) -> Result<Shown, Failure> {
        let counts = super::only(studies)?;
        if counts.total(Category::All) == 0 {
            ended.screen.note(
                "no mention in these windows has an antecedent; longer ones need --max-length",
            );
        }
        if let Some(folder) = ended.folder {
            tables::coref::write(folder, &counts)?;
        }
        Ok(Shown {
            results: json!(results(&counts, passages)),
            text: format!(
                "\n{}\n\n{}\n{}",
                crate::show::coref::text(&counts),
                account(counts.tally(), passages),
                seconds(ended.time)
            ),
        })
    }
}

fn headline(opened: &Opened, passages: &DocumentPassages) -> String {
    let (layers, heads) = opened.shape();
    let info = passages.info();
    format!(
        "{}: {layers} layers of {heads} heads\n{}: {}, {}, {}\nThe model reads {}",
        opened.located.name,
        info.path.display(),
        plural(info.counts.documents, "document"),
        plural(info.counts.words, "word"),
        plural(passages.mentions(), "mention"),
        match passages.input() {
            InputMode::Words => "the words with single spaces between them",
            InputMode::Text => "the text as it was written",
        }
    )
}

/// What was studied, and what was not.
fn account(tally: &CorefTally, passages: &DocumentPassages) -> String {
    let (discontinuous, without_words) = passages.passed_over();
    let mut text = format!(
        "{} with {} and {}; {} cut to {} tokens",
        plural(tally.documents - tally.empty - tally.too_long, "document"),
        plural(tally.words, "word"),
        plural(tally.tokens, "token"),
        tally.cut,
        passages.max_length(),
    );
    for (number, noun, what) in [
        (tally.outside, "mention", "beyond the cut"),
        (
            tally.same_head,
            "mention",
            "with the head word of a longer one",
        ),
        (tally.first, "mention", "without an antecedent, not scored"),
        (discontinuous, "mention", "in several parts, passed over"),
        (without_words, "mention", "without a word, passed over"),
        (tally.empty, "document", "without a token"),
        (tally.too_long, "document", "left out, too long"),
        (tally.without_tokens, "word", "without a token"),
        (tally.straddling, "token", "with characters of two words"),
    ] {
        if number > 0 {
            text.push_str(&format!("\n{} {what}", plural(number, noun)));
        }
    }
    text
}

fn by_category(score: impl Fn(Category) -> Proportion) -> Named<Score> {
    let categories = Category::ALL.into_iter();
    categories
        .map(|category| (category.name(), record::score(score(category))))
        .collect()
}

fn results(counts: &CorefCounts, passages: &DocumentPassages) -> CorefResults {
    let tally = counts.tally();
    let baselines = AntecedentRule::ALL.into_iter().map(|rule| {
        let scores = by_category(|category| counts.rule(rule, category));
        (rule.name(), scores)
    });
    let best = Candidates::ALL.into_iter().filter_map(|candidates| {
        let head = counts.best(candidates)?;
        let found = BestAntecedents {
            head: head.to_string(),
            scores: by_category(|category| counts.score(candidates, head, category)),
        };
        Some((candidates.name(), found))
    });
    CorefResults {
        counts: Some(results::CorefCounts {
            documents: tally.documents,
            empty: tally.empty,
            too_long: Some(tally.too_long),
            cut: tally.cut,
            words_beyond: tally.words_beyond,
            words: tally.words,
            tokens: tally.tokens,
            without_tokens: tally.without_tokens,
            straddling: tally.straddling,
            mentions: tally.mentions,
            same_head: tally.same_head,
            outside: tally.outside,
            first: tally.first,
        }),
        row_mode: record::name_of(&counts.row_mode()),
        input: record::name_of(&passages.input()),
        baselines: baselines.collect(),
        best: best.collect(),
    }
}

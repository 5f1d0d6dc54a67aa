//! `bertology coref`: every head as a finder of antecedents.

use bertology::OpenAs;
use bertology::attention::coref::{
    AntecedentRule, Candidates, Category, CorefCounts, CorefTally, DocumentPassages,
};
use bertology::attention::{InputMode, Proportion};
use bertology_run::results::{self, BestAntecedents, CorefResults, Named, Score};
use serde_json::json;

use super::Done;
use crate::args::CorefArgs;
use crate::data;
use crate::failure::Failure;
use crate::interrupt::Graceful;
use crate::record::{self, Clock, Run};
use crate::run_folder::{self, Earlier};
use crate::saved::Saved;
use crate::session::{Opened, failure};
use crate::show::Screen;
use crate::show::text::{plural, seconds};
use crate::study;
use crate::tables;

pub(crate) fn run(args: &CorefArgs, screen: &Screen) -> Result<Done, Failure> {
    let clock = Clock::start();
    study::check_output(&args.output, args.resume.resume)?;
    let opened = Opened::new(&args.model, OpenAs::Declared, screen)?;
    let treebank = data::treebank(&args.treebank.conllu, args.limit);
    let options = data::treebank_options(&args.treebank, args.max_length);
    let passages =
        DocumentPassages::new(&opened.model, treebank, options).map_err(|e| failure(&e))?;
    let mut run = Run::new("coref", args, None, clock, &opened, None)?;
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
    let (folder, earlier) = study::open_output(&args.output, args.resume.resume, &run)?;
    if let Earlier::Complete(document) = earlier {
        screen.note("this run is complete already; nothing to resume");
        return Ok(document.into());
    }
    let graceful = Graceful::begin();
    screen.say(&headline(&opened, &passages))?;
    run.clock.lap("load");
    let spread = data::survey_options(&args.work);
    let saved = Saved {
        run: &run,
        folder: folder.as_ref(),
        screen,
        unit: "document",
    };
    let fresh = CorefCounts::new(&passages, data::row_mode(&args.treebank));
    let done = |counts: &CorefCounts| counts.tally().documents;
    let counts = saved.finish(fresh, earlier, done, |counts, watch| {
        counts.run(&passages, &spread, watch)
    })?;
    drop(graceful);
    let time = run.clock.lap("attention");
    if counts.total(Category::All) == 0 {
        screen.note("no mention in these windows has an antecedent; longer ones need --max-length");
    }
    if let Some(folder) = &folder {
        tables::coref::write(folder, &counts)?;
    }
    let document = run.document(&results(&counts, &passages));
    if let Some(folder) = &folder {
        run_folder::complete(folder, &document)?;
    }
    screen.say(&format!("\n{}", crate::show::coref::text(&counts)))?;
    screen.say(&format!(
        "\n{}\n{}",
        account(counts.tally(), &passages),
        seconds(time)
    ))?;
    super::say_folder(folder.as_ref(), screen)?;
    Ok(document.into())
}

fn headline(opened: &Opened, passages: &DocumentPassages<'_>) -> String {
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
fn account(tally: &CorefTally, passages: &DocumentPassages<'_>) -> String {
    let (discontinuous, without_words) = passages.passed_over();
    let mut text = format!(
        "{} with {} and {}; {} cut to {} tokens",
        plural(tally.documents - tally.empty, "document"),
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

fn results(counts: &CorefCounts, passages: &DocumentPassages<'_>) -> CorefResults {
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

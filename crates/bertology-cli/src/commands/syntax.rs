//! `bertology syntax`: every head as a predictor of dependency relations.

use bertology::OpenAs;
use bertology::attention::syntax::{BestHead, RelationScores, SyntaxCounts, SyntaxOptions};
use bertology::attention::{InputMode, SentencePassages};
use bertology_run::results::{self, OffsetScore, RelationHead, RelationResult, SyntaxResults};
use serde_json::json;

use super::Done;
use crate::args::SyntaxArgs;
use crate::data;
use crate::failure::Failure;
use crate::interrupt::Graceful;
use crate::record::{self, Clock, Run};
use crate::run_folder::{self, Earlier};
use crate::saved::Saved;
use crate::session::{Opened, failure};
use crate::show::Screen;
use crate::show::syntax::Shown;
use crate::show::text::{count, plural, seconds};
use crate::study;
use crate::tables;

/// The counts of the treebank on which heads are chosen, if that is another, and those of the one on which they are
/// scored.
type State = (Option<SyntaxCounts>, SyntaxCounts);

pub(crate) fn run(args: &SyntaxArgs, screen: &Screen) -> Result<Done, Failure> {
    let clock = Clock::start();
    study::check_output(&args.output, args.resume.resume)?;
    let opened = Opened::new(&args.model, OpenAs::Declared, screen)?;
    let open = |path: &std::path::Path| {
        let treebank = data::treebank(path, args.limit);
        let options = data::treebank_options(&args.treebank, args.max_length);
        SentencePassages::new(&opened.model, treebank, options).map_err(|e| failure(&e))
    };
    let scored = open(&args.treebank.conllu)?;
    let chosen = args.select.as_deref().map(open).transpose()?;
    let mut run = Run::new("syntax", args, None, clock, &opened, None)?;
    let sha256 = |passages: &SentencePassages<'_>| passages.info().sha256.clone();
    run.set_data(
        Some(sha256(&scored)),
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
    let (folder, earlier) = study::open_output(&args.output, args.resume.resume, &run)?;
    if let Earlier::Complete(document) = earlier {
        screen.note("this run is complete already; nothing to resume");
        return Ok(document.into());
    }
    let graceful = Graceful::begin();
    screen.say(&headline(&opened, &scored, chosen.as_ref()))?;
    run.clock.lap("load");
    let options = SyntaxOptions {
        rows: data::row_mode(&args.treebank),
        base_relations: args.base_relations,
        possessive_clitic: args.possessive_clitic,
        sd_view: args.sd_view,
        offsets: args.offsets,
    };
    let fresh = |passages: &SentencePassages<'_>| SyntaxCounts::new(passages, &options);
    let spread = data::survey_options(&args.work);
    let saved = Saved {
        run: &run,
        folder: folder.as_ref(),
        screen,
        unit: "sentence",
    };
    let done = |state: &State| {
        let chosen = state
            .0
            .as_ref()
            .map_or(0, |counts| counts.tally().sentences);
        chosen + state.1.tally().sentences
    };
    let state: State = (chosen.as_ref().map(fresh), fresh(&scored));
    let (choosing, counts) = saved.finish(state, earlier, done, |state, watch| {
        if let (Some(counts), Some(passages)) = (&mut state.0, &chosen)
            && counts.tally().sentences < passages.info().counts.sentences
        {
            counts.run(passages, &spread, watch)?;
        }
        state.1.run(&scored, &spread, watch)
    })?;
    drop(graceful);
    let time = run.clock.lap("attention");

    let best = counts.best(choosing.as_ref().unwrap_or(&counts));
    if let Some(folder) = &folder {
        tables::syntax::write(folder, &counts, &best)?;
    }
    let document = run.document(&SyntaxResults {
        counts: Some(tally(&counts)),
        chosen_on_counts: choosing.as_ref().map(tally),
        options: json!(options),
        input: record::name_of(&scored.input()),
        relations: best.iter().map(relation).collect(),
    });
    if let Some(folder) = &folder {
        run_folder::complete(folder, &document)?;
    }
    let shown = Shown::new(&best, counts.tally().words, args.min_count);
    screen.say(&format!("\n{}", shown.text(&counts)))?;
    screen.say(&format!(
        "\n{}\n{}",
        account(&counts, choosing.as_ref()),
        seconds(time)
    ))?;
    super::say_folder(folder.as_ref(), screen)?;
    Ok(document.into())
}

fn headline(
    opened: &Opened,
    scored: &SentencePassages<'_>,
    chosen: Option<&SentencePassages<'_>>,
) -> String {
    let (layers, heads) = opened.shape();
    let file = |passages: &SentencePassages<'_>, what: &str| {
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

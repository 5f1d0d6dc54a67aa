//! What the commands that run a study have in common: options, folders, text.

use std::path::Path;

use bertology::attention::TextSupply;
use bertology::data::DatasetInfo;
use bertology::evaluate::{Evaluation, LOSS, Metrics};
use bertology::importance::{Granularity, HeadIntervals};
use bertology::normalize::{self, Normalization};
use bertology::{Corpus, HeadId, HeadMask, HeadSet, HeadTable, Objective, TokenMasking};

use crate::args::{GranularityArg, ScoreArgs};
use crate::assumptions;
use crate::failure::Failure;
use crate::head_choice;
use crate::session::{Opened, failure};
use crate::show::escape::name;
use crate::show::text::{count, plural};
use crate::show::{Screen, heat::Grid};
use crate::tables::cells;

/// Heads named in the text as most and least important.
const NAMED: usize = 6;

/// Which normalisations apply.
pub(crate) fn normalization(args: &ScoreArgs) -> Normalization {
    Normalization {
        by_layer: !args.dont_normalize_importance_by_layer,
        global: !args.dont_normalize_global_importance,
    }
}

/// What is summed before the absolute value.
pub(crate) fn granularity(args: &ScoreArgs, screen: &Screen) -> Granularity {
    let size = args.batch_size.map_or(1, usize::from);
    let found = match args.granularity {
        GranularityArg::Example => Granularity::Example,
        GranularityArg::Token => Granularity::Token,
        GranularityArg::Batch => Granularity::Batch { size },
        GranularityArg::Script => Granularity::Script { size },
    };
    if args.batch_size.is_some() && matches!(found, Granularity::Example | Granularity::Token) {
        screen.note(&format!(
            "--batch-size has no effect with --granularity {found}, which is the same for any \
             batches; --granularity script gives run_bertology.py's numbers"
        ));
    }
    found
}

/// The head mask of a file or of `--heads`; nothing if neither was given.
pub(crate) fn chosen_mask(
    opened: &Opened,
    file: Option<&Path>,
    heads: &[String],
) -> Result<Option<HeadMask>, Failure> {
    let (layers, width) = opened.shape();
    let mut mask = HeadMask::ones(opened.model.model());
    if let Some(file) = file {
        let values = head_choice::read_mask(file, layers, width)?;
        mask = HeadMask::from_values(layers, width, values).map_err(|e| failure(&e.into()))?;
        mask.check(opened.model.model())
            .map_err(|error| Failure::input(format!("head mask {}: {error}", file.display())))?;
        return Ok(Some(mask));
    }
    if heads.is_empty() {
        return Ok(None);
    }
    for (layer, head) in named_heads(heads, layers, width)?.iter() {
        mask.set(HeadId { layer, head }, 0.0);
    }
    Ok(Some(mask))
}

/// Heads named on the command line.
pub(crate) fn named_heads(
    heads: &[String],
    layers: usize,
    width: usize,
) -> Result<HeadSet, Failure> {
    let mut set = HeadSet::new();
    for text in heads {
        let named = HeadSet::parse(text, layers, width).map_err(|e| failure(&e.into()))?;
        if named.is_empty() {
            return Err(Failure::input(
                "--heads names no head; write 3.5, L3H5, 3:5 or 5:0-4",
            ));
        }
        set.extend(named.iter());
    }
    Ok(set)
}

/// Model and data in a line or two.
pub(crate) fn headline(opened: &Opened, corpus: &Corpus) -> String {
    let (layers, heads) = opened.shape();
    format!(
        "{}: {layers} layers of {heads} heads\n{}",
        name(&opened.located.name),
        corpus_line(corpus)
    )
}

/// A file and its examples.
pub(crate) fn corpus_line(corpus: &Corpus) -> String {
    let data = match corpus.documents() {
        None => plural(corpus.examples(), unit(corpus)),
        Some(documents) => format!(
            "{} in {}, {}",
            plural(documents.documents, "document"),
            plural(documents.windows, "window"),
            of_objective(corpus.objective())
        ),
    };
    let file = corpus.source().path().display().to_string();
    format!("{}: {data}", name(&file))
}

/// What an example of the data is.
pub(crate) fn unit(corpus: &Corpus) -> &'static str {
    match corpus.objective() {
        Objective::Tags => "sentence",
        Objective::Answers => "question",
        _ if corpus.documents().is_some() => "window",
        _ => "example",
    }
}

/// What is predicted.
pub(crate) fn of_objective(objective: Objective) -> String {
    match objective {
        Objective::CausalLm { bos: false } => "next tokens".into(),
        Objective::CausalLm { bos: true } => "next tokens from the first on".into(),
        Objective::MaskedLm {
            masking: TokenMasking::Random { probability, seed },
        } => format!(
            "{} % of the tokens hidden, seed {seed}",
            (probability * 1e4).round() / 1e2
        ),
        Objective::MaskedLm { .. } => "all tokens, unmasked".into(),
        _ => objective.description().into(),
    }
}

/// Skipped rows deserve a word.
pub(crate) fn note_skipped_lines(info: &DatasetInfo, screen: &Screen) {
    let skipped = &info.skipped;
    if skipped.total() == 0 {
        return;
    }
    let kinds = [
        (skipped.blank_lines, "blank"),
        (skipped.short_rows, "too short"),
        (skipped.comments, "only a comment"),
    ];
    let kinds: Vec<String> = kinds
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, kind)| format!("{} {kind}", count(*number)))
        .collect();
    screen.note(&format!(
        "{} of {} skipped: {}",
        plural(skipped.total(), "line"),
        info.path.display(),
        kinds.join(", ")
    ));
}

/// Skipped rows of texts deserve a word.
pub(crate) fn note_skipped_texts(texts: &TextSupply, screen: &Screen) {
    if let TextSupply::File(texts) = texts {
        assumptions::say_header(texts.info(), screen);
        note_skipped_lines(texts.info(), screen);
    }
}

/// Skipped rows and documents deserve a word.
pub(crate) fn note_skipped(corpus: &Corpus, screen: &Screen) {
    assumptions::say_data(corpus, screen);
    note_skipped_lines(corpus.info(), screen);
    if corpus.without_targets() > 0 {
        screen.note(&format!(
            "{} without a labelled word left out",
            plural(corpus.without_targets(), "sentence")
        ));
    }
    if corpus.misplaced_answers() > 0 {
        screen.note(&format!(
            "{} not what stands at answer_start in the context, which is what the loss is of",
            match corpus.misplaced_answers() {
                1 => "1 answer is".into(),
                many => format!("{} answers are", count(many)),
            }
        ));
    }
    let Some(documents) = corpus.documents() else {
        return;
    };
    for (number, what) in [
        (documents.without_targets, "document"),
        (documents.windows_without_targets, "window"),
    ] {
        if number > 0 {
            screen.note(&format!(
                "{} without a token to predict left out",
                plural(number, what)
            ));
        }
    }
}

/// `acc 0.8725  f1 0.9091  loss 0.3160`
pub(crate) fn metrics(metrics: &Metrics, loss: f64) -> String {
    let mut parts: Vec<String> = metrics
        .iter()
        .map(|(name, value)| format!("{name} {value:.4}"))
        .collect();
    parts.push(format!("loss {loss:.4}"));
    parts.join("  ")
}

/// Examples, tokens, and what was cut.
pub(crate) fn counts(evaluation: &Evaluation, corpus: &Corpus) -> String {
    let cut = match evaluation.truncation.examples {
        0 => "none cut".into(),
        cut => format!("{} cut to {} tokens", count(cut), corpus.max_length()),
    };
    match corpus.objective() {
        Objective::Tags => {
            return format!(
                "{}, {}, {}, {cut}",
                plural(evaluation.examples, "sentence"),
                plural(evaluation.targets, "labelled word"),
                plural(evaluation.tokens, "token")
            );
        }
        Objective::Answers => {
            return format!(
                "{}, {}, {}",
                plural(corpus.examples(), "question"),
                plural(evaluation.examples, "window"),
                plural(evaluation.tokens, "token")
            );
        }
        _ => {}
    }
    let Some(documents) = corpus.documents() else {
        return format!(
            "{}, {}, {cut}",
            plural(evaluation.examples, "example"),
            plural(evaluation.tokens, "token")
        );
    };
    let long = match (documents.windowed, corpus.stride(), documents.tokens_cut) {
        (1.., Some(stride), _) => format!(
            "{} windowed (length {}, stride {stride})",
            count(documents.windowed),
            corpus.max_length()
        ),
        (_, _, 1..) => format!("{cut} ({} lost)", plural(documents.tokens_cut, "token")),
        _ => "none too long".into(),
    };
    format!(
        "{}, {}, {} predicted, {long}",
        plural(evaluation.examples, "window"),
        plural(evaluation.tokens, "token"),
        count(evaluation.targets)
    )
}

/// A line a metric, each with its interval.
pub(crate) fn metrics_with_intervals(evaluation: &Evaluation) -> String {
    let width = evaluation.metrics.iter().map(|(name, _)| name.len());
    let width = width.max().unwrap_or(0).max(LOSS.len());
    let all = evaluation.metrics.iter().chain([(LOSS, evaluation.loss)]);
    let lines = all.map(|(name, value)| match evaluation.interval(name) {
        Some([low, high]) => {
            format!("{name:<width$}  {value:.4}  95 % interval {low:.4} to {high:.4}")
        }
        None => format!("{name:<width$}  {value:.4}"),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Importance as a strip and as numbers.
pub(crate) fn importance_text(
    shown: &HeadTable,
    normalization: Normalization,
    intervals: Option<&HeadIntervals>,
    screen: &Screen,
) -> String {
    let how = match (normalization.by_layer, normalization.global) {
        (true, true) => ", each layer to unit norm, then all to 0-1",
        (true, false) => ", each layer to unit norm",
        (false, true) => ", all to 0-1",
        (false, false) => ", raw scores",
    };
    let values = cells(shown);
    let grid = Grid::new(&values, shown.heads());
    let ranking = normalize::ranking(shown);
    let named = |what: &str, heads: Vec<&HeadId>| {
        let (mut names, mut ranks) = (format!("  {what:<17}"), format!("  {:<17}", "its ranks"));
        for id in heads {
            let ends = intervals.and_then(|of| of.ranks[id.layer * shown.heads() + id.head]);
            let id = id.to_string();
            let ends = ends.map_or_else(String::new, |[low, high]| format!("{low}-{high}"));
            let width = id.len().max(ends.len());
            names.push_str(&format!("{id:<width$} "));
            ranks.push_str(&format!("{ends:<width$} "));
        }
        match intervals {
            Some(_) => format!("{}\n{}", names.trim_end(), ranks.trim_end()),
            None => names.trim_end().to_owned(),
        }
    };
    format!(
        "Importance, 0 least to 9 most (layers and heads counted from 0; . no score)\n{}\n\n\
         Importance{}{}\n{}\n\n{}\n{}{}",
        grid.strip(screen.color()),
        how,
        times(grid),
        grid.table(),
        named("most important", ranking.iter().take(NAMED).collect()),
        named(
            "least important",
            ranking.iter().rev().take(NAMED).collect()
        ),
        intervals.map_or_else(String::new, how_sure)
    )
}

/// How far ranks are known.
fn how_sure(intervals: &HeadIntervals) -> String {
    let known = intervals.ranks.iter().flatten();
    let mut widths: Vec<usize> = known.map(|[low, high]| high - low + 1).collect();
    widths.sort_unstable();
    let (Some(middle), Some(most)) = (widths.get(widths.len() / 2), widths.last()) else {
        return String::new();
    };
    format!(
        "\n  Ranks from 0, with their 95 % intervals over examples: half of them are\n  within {} of {}, all within {most}.",
        plural(*middle as u64, "place"),
        widths.len()
    )
}

/// What the numbers of a table must be multiplied by.
pub(crate) fn times(grid: Grid<'_>) -> String {
    match grid.exponent() {
        0 => String::new(),
        exponent => format!(", times 1e{exponent}"),
    }
}

/// Entropy as numbers.
pub(crate) fn entropy_text(entropy: &HeadTable) -> String {
    let values = cells(entropy);
    let grid = Grid::new(&values, entropy.heads());
    format!(
        "Attention entropy, nats per query{}\n{}",
        times(grid),
        grid.table()
    )
}

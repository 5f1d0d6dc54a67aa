//! `bertology distance`: how far every head looks, in tokens and in words.

use bertology::attention::SentencePassages;
use bertology::attention::distance::{DistanceSums, MeanDistance, Measure};
use bertology::drive::Study as _;
use bertology_run::HeadColumn;
use bertology_run::results::AveragePattern;
use bertology_run::studies::distance::{
    DistanceCounts, DistanceResults, DistanceRow, TOKENS, TOKENS_WITHOUT_SPECIAL, WORDS,
};
use clap::Args;
use serde::Serialize;
use serde_json::json;

use crate::args::{StudyArgs, TreebankArgs};
use crate::command::{Ended, Shown, Stage, StudyCommand};
use crate::data;
use crate::failure::Failure;
use crate::record::{self, Run};
use crate::run_folder::RunFolder;
use crate::session::{Opened, failure};
use crate::show::Screen;
use crate::show::heat::Grid;
use crate::show::text::{plural, seconds};
use crate::study::times;
use crate::tables::{array, cells, grid};

pub(crate) const ABOUT: &str = "\
How far every head looks: the mean distance of its attention, in tokens and in words.

The sum over all sentences of weight times distance, over the sum of the weights (Vig and Belinkov 2019). \
Special tokens count as tokens in one number and are left out of the two others.";

/// `bertology distance`
pub(crate) type DistanceArgs = StudyArgs<TreebankArgs, DistanceOwn>;

/// What is asked.
#[derive(Debug, Args, Serialize)]
pub(crate) struct DistanceOwn {
    /// Read only the first N sentences.
    #[arg(long, value_name = "N", help_heading = "Data")]
    pub(crate) limit: Option<usize>,
}

impl StudyCommand for DistanceArgs {
    const NAME: &'static str = "distance";

    type Input = SentencePassages;
    type Supply = SentencePassages;
    type Study = DistanceSums;

    fn open(&self, opened: &Opened, _: &Screen) -> Result<SentencePassages, Failure> {
        let treebank = data::treebank(&self.input.conllu, self.own.limit);
        let options = data::treebank_options(&self.input)?;
        SentencePassages::new(&opened.model, treebank, options).map_err(|e| failure(&e))
    }

    fn identity(&self, input: &SentencePassages, run: &mut Run) {
        let info = input.info();
        run.set_data(
            Some(info.sha256.clone()),
            json!({ "file": info, "input": input.input(), "max_length": input.max_length() }),
        );
    }

    fn stages<'a>(
        &self,
        opened: &'a Opened,
        input: &'a SentencePassages,
        _: Option<&RunFolder>,
    ) -> Result<Vec<Stage<'a, Self>>, Failure> {
        let sums = DistanceSums::new(&opened.model, data::row_mode(&self.input));
        Ok(vec![Stage::new(&opened.model, input, sums)])
    }

    fn unit(&self, _: &SentencePassages) -> &'static str {
        "sentence"
    }

    fn headline(&self, opened: &Opened, input: &SentencePassages) -> Result<String, Failure> {
        Ok(super::syntax::headline(opened, input, None))
    }

    fn results(
        &self,
        ended: &mut Ended<'_>,
        input: &SentencePassages,
        studies: Vec<DistanceSums>,
    ) -> Result<Shown, Failure> {
        let sums = super::only(studies)?;
        let found = sums.finish().map_err(|e| failure(&e))?;
        if let Some(folder) = ended.folder {
            write(folder, &found)?;
        }
        let distances = found.iter().map(|of| {
            let average = AveragePattern {
                documents: sums.counts().sequences,
                layers: layer_means(&of.mean),
                heads: grid(&of.mean),
            };
            (of.measure.name(), average)
        });
        Ok(Shown {
            results: json!(DistanceResults {
                counts: Some(counts(&sums)),
                row_mode: record::name_of(&self.input.row_mode),
                input: record::name_of(&input.input()),
                distances: distances.collect(),
            }),
            text: format!(
                "\n{}\n\n{}\n{}",
                text(&found, ended.screen),
                account(&sums),
                seconds(ended.time)
            ),
        })
    }
}

/// A row a head, and an array a measure.
fn write(folder: &RunFolder, found: &[MeanDistance; 3]) -> Result<(), Failure> {
    let [tokens, inner, words] = found;
    let rows = tokens.mean.live().map(|id| DistanceRow {
        layer: id.layer,
        head: id.head,
        tokens: tokens.mean.get(id),
        tokens_standard_error: tokens.standard_error.get(id),
        tokens_without_special: inner.mean.get(id),
        tokens_without_special_standard_error: inner.standard_error.get(id),
        words: words.mean.get(id),
        words_standard_error: words.standard_error.get(id),
        sentences: words.sentences[id.layer * words.mean.heads() + id.head],
    });
    folder.write_table(&[], rows)?;
    for of in found {
        let name = match of.measure {
            Measure::Tokens => TOKENS,
            Measure::TokensWithoutSpecial => TOKENS_WITHOUT_SPECIAL,
            Measure::Words => WORDS,
        };
        folder.write(name, &array(&of.mean))?;
    }
    Ok(())
}

fn layer_means(of: &bertology::HeadTable) -> Vec<Option<f64>> {
    let table = HeadColumn {
        layers: of.layers(),
        heads: of.heads(),
        values: cells(of),
    };
    table.layer_means()
}

fn counts(sums: &DistanceSums) -> DistanceCounts {
    let counts = sums.counts();
    DistanceCounts {
        sentences: counts.sequences,
        too_long: counts.too_long,
        empty: counts.empty,
        tokens: counts.tokens,
        words: sums.words(),
    }
}

/// Words as a heat map, all three as numbers.
fn text(found: &[MeanDistance; 3], screen: &Screen) -> String {
    let [tokens, inner, words] = found;
    let values = cells(&words.mean);
    let strip = Grid::new(&values, words.mean.heads()).strip(screen.color());
    let mut text = format!(
        "Distance between words, 0 nearest to 9 farthest\n(layers and heads counted from 0)\n{strip}"
    );
    for (of, what) in [
        (words, "words"),
        (tokens, "tokens"),
        (inner, "tokens, special ones left out"),
    ] {
        let values = cells(&of.mean);
        let grid = Grid::new(&values, of.mean.heads());
        text.push_str(&format!(
            "\n\nMean distance of attention in {what}{}\n{}",
            times(grid),
            grid.table()
        ));
    }
    text
}

/// What was studied, and what was not.
fn account(sums: &DistanceSums) -> String {
    let counts = sums.counts();
    let mut text = format!(
        "{} with {} and {}",
        plural(counts.sequences, "sentence"),
        plural(sums.words(), "word"),
        plural(counts.tokens, "token"),
    );
    for (number, why) in [
        (counts.too_long, "too long"),
        (counts.empty, "without a token"),
    ] {
        if number > 0 {
            text.push_str(&format!("; {} left out, {why}", plural(number, "sentence")));
        }
    }
    text
}

//! The model before and after heads go, on the same examples.

use bertology::drive::Work;
use bertology::paired::{Compared, compare_each};
use bertology::{Corpus, Error, LoadedModel};
use bertology_run::results::{ComparedResults, PairedChange, finite};

use crate::record;
use crate::show::Screen;
use crate::show::removals::p_value;
use crate::study;
use crate::watcher::Watcher;

/// Two models, and whether they answer with classes.
pub(crate) struct Pair {
    pub(crate) found: Compared,
    classes: bool,
}

impl Pair {
    /// Both over all examples.
    pub(crate) fn measure(
        before: &LoadedModel,
        after: &LoadedModel,
        corpus: &Corpus,
        work: &Work,
        screen: &Screen,
    ) -> Result<Self, Error> {
        Self::measure_each([(before, corpus), (after, corpus)], work, screen)
    }

    /// Both over the same examples, each of which reads them as its own tokens.
    pub(crate) fn measure_each(
        sides: [(&LoadedModel, &Corpus); 2],
        work: &Work,
        screen: &Screen,
    ) -> Result<Self, Error> {
        let [(_, corpus), _] = sides;
        let mut watcher = Watcher::new(screen).of(study::unit(corpus));
        let found = compare_each(sides, work, &mut watcher);
        screen.stop();
        Ok(Self {
            found: found?,
            classes: corpus.metrics().is_some_and(|set| !set.is_regression()),
        })
    }

    /// Name, before, after and change of every metric and of the loss.
    pub(crate) fn rows(&self) -> Vec<[String; 4]> {
        let (before, after) = (&self.found.before, &self.found.after);
        let row = |name: &str, before: f64, after: f64| {
            [
                name.to_owned(),
                format!("{before:.4}"),
                format!("{after:.4}"),
                format!("{:+.4}", after - before),
            ]
        };
        let values = before.metrics.iter().zip(after.metrics.iter());
        let mut rows: Vec<_> = values
            .map(|((name, before), (_, after))| row(name, before, after))
            .collect();
        rows.push(row("loss", before.loss, after.loss));
        rows
    }

    /// The rows beneath each other.
    pub(crate) fn table(&self) -> String {
        let head = ["", "before", "after", "change"].map(str::to_owned);
        let lines = std::iter::once(head).chain(self.rows());
        let lines = lines.map(|[name, before, after, change]| {
            format!("  {name:<12} {before:>14}  {after:>14}  {change:>9}")
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// What of it is more than chance, in words.
    pub(crate) fn said(&self) -> Vec<String> {
        let Compared {
            loss_change,
            paired,
            ..
        } = &self.found;
        let mut said = Vec::new();
        if self.classes {
            said.push(format!(
                "Right to wrong {}, wrong to right {} (exact sign test: p = {})",
                paired.right_to_wrong,
                paired.wrong_to_right,
                p_value(paired.p_value())
            ));
        }
        if paired.loss_standard_error.is_finite() {
            said.push(format!(
                "Loss: change {loss_change:+.4}, standard error {:.4} over pairs of examples",
                paired.loss_standard_error
            ));
        }
        said
    }

    /// For the record.
    pub(crate) fn change(&self) -> PairedChange {
        let (paired, classes) = (self.found.paired, self.classes);
        PairedChange {
            loss_change: finite(self.found.loss_change),
            loss_standard_error: finite(paired.loss_standard_error),
            changed: classes.then_some(paired.changed),
            right_to_wrong: classes.then_some(paired.right_to_wrong),
            wrong_to_right: classes.then_some(paired.wrong_to_right),
            p_value: classes.then(|| paired.p_value()),
        }
    }
}

impl From<&Pair> for ComparedResults {
    fn from(pair: &Pair) -> Self {
        Self {
            evaluation_before: Some(record::evaluation(&pair.found.before)),
            evaluation_after: Some(record::evaluation(&pair.found.after)),
            paired: Some(pair.change()),
        }
    }
}

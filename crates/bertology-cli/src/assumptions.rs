//! What was taken for granted about data and classes, in words: whoever knows better can say so.

use bertology::chance::{better_order, blind};
use bertology::checkpoint::Family;
use bertology::data::{Assumption, DatasetInfo, GuessedHeader, LabelMap, RawLabel};
use bertology::evaluate::Metrics;
use bertology::{Corpus, Task};

use crate::args::SourceArgs;
use crate::remedy;
use crate::session::Opened;
use crate::show::Screen;

/// What the first line of a table was taken for.
pub(crate) fn say_header(info: &DatasetInfo, screen: &Screen) {
    let (taken, other) = match info.guessed_header {
        Some(GuessedHeader::Header) => ("the header", "no"),
        Some(GuessedHeader::Example) => ("an example, not for a header", "yes"),
        None => return,
    };
    screen.note(&format!(
        "line 1 of {} is taken for {taken}; if that is wrong, say --header {other}",
        info.path.display()
    ));
}

/// The same, and `false` and `true` among the labels.
pub(crate) fn say_data(corpus: &Corpus, screen: &Screen) {
    say_header(corpus.info(), screen);
    if corpus.boolean_labels() {
        screen.note(
            "the labels are true and false, and the model does not name its classes: false is taken for class \
             0 and true for class 1; --label-order says otherwise",
        );
    }
    if corpus.tag_names().is_some_and(remedy::unnamed) {
        screen.note(
            "the model does not name its classes, so that words of one class that stand together count as an \
             entity, whatever the class; --label-order O,B-PER,I-PER,... names them",
        );
    }
}

/// What the classes of the model are taken to mean, and whether it was made for another task.
pub(crate) fn say_labels(opened: &Opened, source: &SourceArgs, screen: &Screen) {
    let architecture = opened.model.architecture();
    let task: Option<Task> = source.task.as_deref().and_then(|name| name.parse().ok());
    let labels = LabelMap::new(&architecture.labels, task, source.order()).ok();
    let made_for = finetuned_on(opened);
    if let (Some(task), Some(other)) = (task, made_for)
        && matched(task) != matched(other)
    {
        screen.note(&format!(
            "config.json says that {} was fine-tuned on {other}, and here it is scored on {task}",
            opened.located.name
        ));
    }
    if let Some(Assumption::Order(order)) = labels.as_ref().and_then(LabelMap::assumption) {
        let likely = match (made_for.map(matched), architecture.family) {
            (Some(Task::Mnli), Family::Roberta) => {
                ", and this RoBERTa, whose config.json names mnli as its finetuning_task, may well be one"
            }
            _ => "",
        };
        screen.note(&format!(
            "the model does not name its classes; 0, 1 and 2 are taken for {}. Models are in use that have the \
             last two exchanged (--swapped-mnli-labels){likely}, and others (--label-order \
             entailment,neutral,contradiction)",
            order.join(", ")
        ));
    }
}

/// The task that `finetuning_task` in config.json names, such as `mnli` or `glue:mnli`.
fn finetuned_on(opened: &Opened) -> Option<Task> {
    let config = opened.model.checkpoint().config();
    let name = config.raw().get("finetuning_task")?.as_str()?;
    name.rsplit([':', '/']).next()?.parse().ok()
}

/// MNLI's two dev sets are of one task.
fn matched(task: Task) -> Task {
    match task {
        Task::MnliMismatched => Task::Mnli,
        other => other,
    }
}

/// What there is to say where the whole model is no better than no model. `confusion` is
/// [`Evaluation::confusion`](bertology::Evaluation::confusion), where it is known.
pub(crate) fn say_chance(corpus: &Corpus, metrics: &Metrics, confusion: &[u64], screen: &Screen) {
    let better = better_order(confusion, corpus.classes());
    let beyond = better.map(|better| {
        let how = match order_option(corpus, &better.ids) {
            Some(option) => format!(" ({option})"),
            None => ": compare id2label in config.json with the labels of the file".into(),
        };
        format!(
            "with its classes in another order the accuracy would be {:.4}{how}",
            better.accuracy
        )
    });
    match (blind(corpus, metrics), beyond) {
        (Some(blind), beyond) => {
            let against = match blind.chance {
                0.0 => "0 is what chance gives".into(),
                share => format!("always the most frequent label gives {share:.4}"),
            };
            let advice = beyond.unwrap_or_else(|| {
                "is it a model for this task, and do its classes stand in the order of these labels?".into()
            });
            screen.note(&format!(
                "{} {:.4} is not above chance: {against}; {advice}",
                blind.metric, blind.score
            ));
        }
        (None, Some(beyond)) => screen.note(&beyond),
        (None, None) => {}
    }
}

/// The option that gives the classes these ids.
fn order_option(corpus: &Corpus, ids: &[usize]) -> Option<String> {
    let labels = corpus.labels()?;
    if !remedy::unnamed(labels.names()) || corpus.boolean_labels() {
        return None;
    }
    let written: Vec<String> = match corpus.source().task() {
        Some(task) => task.labels().iter().map(ToString::to_string).collect(),
        None => (0..ids.len()).map(|id| id.to_string()).collect(),
    };
    let mut order = vec![String::new(); ids.len()];
    for label in written {
        let now = labels.class(&RawLabel::new(label.as_str()))?;
        *order.get_mut(*ids.get(now)?)? = label;
    }
    Some(format!("--label-order {}", order.join(",")))
}

//! Which task head the data ask for, and whether the model has it.

use std::collections::BTreeSet;

use bertology::checkpoint::{NewHead, TaskHead};
use bertology::data::Mode;
use bertology::{Checkpoint, OpenAs, Source};

use super::{FinetuneArgs, task_labels};
use crate::args::ObjectiveArg;
use crate::data;
use crate::failure::Failure;
use crate::session::{Located, failure, options};
use crate::show::Screen;

/// More labels than any classifier of texts has; so many are a column of something else.
const MOST_LABELS: usize = 10_000;

/// The head to be trained. Where the model has one that knows the classes of the data it stays, with its names.
pub(super) fn wanted(
    args: &FinetuneArgs,
    located: &Located,
    screen: &Screen,
) -> Result<(OpenAs, NewHead), Failure> {
    let unlabelled = args.source.text.is_some() || args.source.token_ids.is_some();
    let open_as = match args.objective {
        Some(ObjectiveArg::Label) => OpenAs::SequenceClassification,
        Some(ObjectiveArg::Mlm) => OpenAs::MaskedLm,
        Some(ObjectiveArg::Lm) => OpenAs::CausalLm,
        None if args.ner.is_some() => OpenAs::TokenClassification,
        None if args.squad.is_some() => OpenAs::QuestionAnswering,
        None if unlabelled => OpenAs::Declared,
        None if args.source.label_column.is_some() || args.source.task.is_some() => {
            OpenAs::SequenceClassification
        }
        None => OpenAs::Declared,
    };
    let task = args.source.task.clone();
    let new = match open_as {
        OpenAs::SequenceClassification => labels_of_texts(args, screen)?,
        OpenAs::TokenClassification => NewHead::new(labels_of_words(args)?, None, None),
        OpenAs::QuestionAnswering => {
            NewHead::new(vec!["LABEL_0".into(), "LABEL_1".into()], None, None)
        }
        _ => return Ok((open_as, NewHead::default().anew(args.new_head))),
    };
    let keeps = !args.new_head && has_head(args, located, open_as, &new.labels);
    let labels = if keeps { Vec::new() } else { new.labels };
    let head = NewHead::new(labels, new.problem, task);
    Ok((open_as, head.anew(args.new_head)))
}

/// Whether the model as it is has a head of this kind for these classes: it names all of them, or it has as many and no
/// names of its own. GLUE's classes have several names, so that their number tells.
fn has_head(args: &FinetuneArgs, located: &Located, open_as: OpenAs, classes: &[String]) -> bool {
    let declared = options(&args.model, OpenAs::Declared);
    let Ok(checkpoint) = Checkpoint::open(&located.folder, &declared) else {
        return false;
    };
    let architecture = checkpoint.architecture();
    let names = &architecture.labels;
    let named = |class: &String| {
        let known = |name: &String| name.to_lowercase() == class.to_lowercase();
        names.iter().any(known)
    };
    let generic = || {
        let made_up = |(id, name): (usize, &String)| *name == format!("LABEL_{id}");
        names.iter().enumerate().all(made_up)
    };
    match (&architecture.head, open_as) {
        (TaskHead::SequenceClassification { num_labels, .. }, OpenAs::SequenceClassification)
        | (TaskHead::TokenClassification { num_labels }, OpenAs::TokenClassification) => {
            let as_many = *num_labels == classes.len();
            let fits = args.source.task.is_some() || classes.len() == 1 || generic();
            (as_many && fits) || (classes.len() > 1 && classes.iter().all(named))
        }
        (TaskHead::QuestionAnswering, OpenAs::QuestionAnswering) => true,
        _ => false,
    }
}

fn labels_of_texts(args: &FinetuneArgs, screen: &Screen) -> Result<NewHead, Failure> {
    use bertology::checkpoint::Problem;
    let source = data::source(&args.source, false, screen)?;
    if let Some(task) = source.task() {
        return Ok(match task.mode() {
            Mode::Regression => {
                NewHead::new(vec!["LABEL_0".into()], Some(Problem::Regression), None)
            }
            Mode::Classification => {
                NewHead::new(task_labels(task), Some(Problem::SingleLabel), None)
            }
        });
    }
    if !args.source.label_order.is_empty() {
        let labels = args.source.label_order.clone();
        return Ok(NewHead::new(labels, Some(Problem::SingleLabel), None));
    }
    let found = distinct(&source)?;
    // Numbers with a fraction are measured, not counted.
    let fractions = found.iter().any(|label| {
        let number = label.parse::<f64>().ok();
        number.is_some_and(|number| number.fract() != 0.0)
    });
    if fractions && found.iter().all(|label| label.parse::<f64>().is_ok()) {
        return Ok(NewHead::new(
            vec!["LABEL_0".into()],
            Some(Problem::Regression),
            None,
        ));
    }
    if found.len() < 2 {
        return Err(Failure::input(format!(
            "{}: every example has the label {}; at least two classes can be told apart",
            source.path().display(),
            found.iter().next().map_or("(none)", String::as_str)
        )));
    }
    if found.len() > MOST_LABELS {
        return Err(Failure::input(format!(
            "{}: {} different labels; is --label-column the right one?",
            source.path().display(),
            found.len()
        )));
    }
    let mut labels: Vec<String> = found.into_iter().collect();
    // Whole numbers in their order, 10 behind 9.
    if labels.iter().all(|label| label.parse::<i64>().is_ok()) {
        labels.sort_by_key(|label| label.parse::<i64>().unwrap_or(0));
    }
    Ok(NewHead::new(labels, Some(Problem::SingleLabel), None))
}

fn distinct(source: &Source) -> Result<BTreeSet<String>, Failure> {
    let mut found = BTreeSet::new();
    let rows = source.open().map_err(|e| failure(&e.into()))?;
    for row in rows {
        let row = row.map_err(|e| failure(&e.into()))?;
        if let Some(label) = row.label {
            found.insert(label.as_str().trim().to_owned());
        }
        if found.len() > MOST_LABELS {
            break;
        }
    }
    Ok(found)
}

fn labels_of_words(args: &FinetuneArgs) -> Result<Vec<String>, Failure> {
    let given = &args.source;
    let Some(path) = &args.ner else {
        return Ok(Vec::new());
    };
    let source = Source::tagged(
        path,
        given.text_column.as_deref(),
        given.label_column.as_deref(),
    );
    let mut found = BTreeSet::new();
    for row in source.open().map_err(|e| failure(&e.into()))? {
        let row = row.map_err(|e| failure(&e.into()))?;
        let tags = row.words.into_iter().filter_map(|word| word.tag);
        found.extend(tags.map(|tag| tag.as_str().to_owned()));
    }
    Ok(found.into_iter().collect())
}

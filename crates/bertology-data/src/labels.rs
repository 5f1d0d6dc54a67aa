//! From the label in the file to the model's class id.

use std::collections::HashMap;
use std::path::Path;

use crate::error::DataError;
use crate::example::{Example, RawLabel};
use crate::metrics::Target;
use crate::task::{Mode, Task};

/// Which order a task's labels have in a model that does not name them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LabelOrder {
    /// The task's order, as in [`Task::labels`].
    #[default]
    Task,
    /// MNLI's order in RoBERTa checkpoints trained with the old scripts of transformers, which swap
    /// the last two: contradiction, neutral, entailment.
    SwappedMnli,
    /// The file's label of class 0, of class 1, and so on.
    Given(Vec<String>),
}

/// What a [`LabelMap`] takes for granted, because neither the model nor the caller says it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Assumption {
    /// The labels of these classes, in the order of their ids, although models in use have another one.
    Order(Vec<String>),
    /// `false` is class 0 and `true` class 1, where the file has such labels.
    Booleans,
}

/// Turns labels into the model's class ids, or into numbers for regression.
///
/// A label is looked up by these rules, the first that fits:
/// 1. exactly among the model's label names;
/// 2. ignoring case, if only one name fits;
/// 3. for a GLUE task: ignoring also `-`, `_` and spaces, and where the files write `0` and `1` by
///    the names that the hub's `glue` data set gives them ([`Task::label_aliases`]);
/// 4. if the model has only the generic names `LABEL_0`, `LABEL_1`, …: by the task's order
///    ([`LabelOrder`]); without a task, a label that is itself an id below the number of labels is
///    that id.
///
/// A whole number with a fraction (`1.0`, as tables are often exported) is looked up as `1` at last, and
/// without a task `false` and `true`, in any case, as `0` and `1`. A [`LabelOrder::Given`] comes before all of
/// these.
#[derive(Debug, Clone)]
pub struct LabelMap {
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Regression,
    Classes {
        names: Vec<String>,
        ids: HashMap<String, usize>,
        folded: Folded,
        positive: Option<usize>,
        assumption: Option<Assumption>,
    },
}

/// Names in lower case; `None` where several ids share one.
type Folded = HashMap<String, Option<usize>>;

impl LabelMap {
    /// Makes the map of a model whose class `i` is named `model_labels[i]` (its `id2label`).
    ///
    /// With a regression task, and without a task if the model has one output, labels are numbers.
    ///
    /// # Errors
    ///
    /// [`DataError::NoModelLabels`]; [`DataError::DuplicateModelLabel`]; [`DataError::LabelCount`]
    /// if the model has not as many outputs as the task; [`DataError::SwapNotApplicable`] if the
    /// swapped order is asked for and the task is not MNLI or the model names its labels;
    /// [`DataError::OrderNotApplicable`] if a given order does not name each class once.
    pub fn new<S: AsRef<str>>(
        model_labels: &[S],
        task: Option<Task>,
        order: LabelOrder,
    ) -> Result<Self, DataError> {
        let names: Vec<String> = model_labels
            .iter()
            .map(|name| name.as_ref().to_owned())
            .collect();
        if names.is_empty() {
            return Err(DataError::NoModelLabels);
        }
        if let Some(task) = task
            && task.num_labels() != names.len()
        {
            let expected = task.num_labels();
            return Err(DataError::LabelCount {
                task,
                expected,
                found: names.len(),
            });
        }
        let generic = names
            .iter()
            .enumerate()
            .all(|(id, name)| *name == format!("LABEL_{id}"));
        if order == LabelOrder::SwappedMnli {
            check_swap(task, generic)?;
        }
        if let LabelOrder::Given(labels) = &order {
            check_order(labels, &names, task, generic)?;
        }
        let regression = match task {
            Some(task) => task.mode() == Mode::Regression,
            None => names.len() == 1,
        };
        if regression {
            return Ok(Self::regression());
        }
        let mut ids = HashMap::new();
        for (id, name) in names.iter().enumerate() {
            if let Some(first) = ids.insert(name.clone(), id) {
                let label = name.clone();
                return Err(DataError::DuplicateModelLabel {
                    label,
                    first,
                    second: id,
                });
            }
        }
        let mut folded = Folded::new();
        for (id, name) in names.iter().enumerate() {
            folded
                .entry(name.to_lowercase())
                .and_modify(|id| *id = None)
                .or_insert(Some(id));
        }
        let mut assumption = None;
        if let LabelOrder::Given(labels) = &order {
            for (id, label) in labels.iter().enumerate() {
                ids.insert(label.clone(), id);
                folded.insert(label.to_lowercase(), Some(id));
            }
        } else {
            add_task_labels(&mut ids, &names, &folded, task, generic.then_some(&order));
            if generic && task.is_none() {
                for id in 0..names.len() {
                    ids.insert(id.to_string(), id);
                }
                for (id, label) in ["false", "true"].iter().enumerate() {
                    if names.len() == 2 {
                        folded.insert((*label).to_owned(), Some(id));
                        assumption = Some(Assumption::Booleans);
                    }
                }
            }
            if let Some(Task::Mnli | Task::MnliMismatched) = task
                && generic
                && order == LabelOrder::Task
            {
                let labels = Task::Mnli.labels().iter().map(ToString::to_string);
                assumption = Some(Assumption::Order(labels.collect()));
            }
        }
        let positive = match task {
            Some(task) => task
                .labels()
                .get(1)
                .and_then(|label| find(&ids, &folded, label)),
            None => Some(1),
        };
        let positive = positive.filter(|_| names.len() == 2);
        Ok(Self {
            kind: Kind::Classes {
                names,
                ids,
                folded,
                positive,
                assumption,
            },
        })
    }

    /// What was taken for granted, if anything.
    #[must_use]
    pub fn assumption(&self) -> Option<&Assumption> {
        match &self.kind {
            Kind::Regression => None,
            Kind::Classes { assumption, .. } => assumption.as_ref(),
        }
    }

    /// Makes the map of a regression model: labels are numbers.
    #[must_use]
    pub fn regression() -> Self {
        Self {
            kind: Kind::Regression,
        }
    }

    /// Whether labels are classes or numbers.
    #[must_use]
    pub fn mode(&self) -> Mode {
        match self.kind {
            Kind::Regression => Mode::Regression,
            Kind::Classes { .. } => Mode::Classification,
        }
    }

    /// The model's names for its classes, in the order of their ids; empty for regression.
    #[must_use]
    pub fn names(&self) -> &[String] {
        match &self.kind {
            Kind::Regression => &[],
            Kind::Classes { names, .. } => names,
        }
    }

    /// The model's id for the class that F1 counts as positive, in binary classification: the
    /// task's second label, wherever the model keeps it, or else class 1.
    ///
    /// `None` if the model has not two classes, or if the task's second label is not among its
    /// names (then a file with that label is refused anyway).
    #[must_use]
    pub fn positive(&self) -> Option<usize> {
        match self.kind {
            Kind::Regression => None,
            Kind::Classes { positive, .. } => positive,
        }
    }

    /// The class id of a label, or `None` if the model does not know it or is a regression model.
    #[must_use]
    pub fn class(&self, label: &RawLabel) -> Option<usize> {
        let Kind::Classes { ids, folded, .. } = &self.kind else {
            return None;
        };
        find(ids, folded, label.as_str()).or_else(|| {
            let value = label.as_f64().filter(|value| value.fract() == 0.0)?;
            find(ids, folded, &format!("{value:.0}"))
        })
    }

    /// What the example's label means to the model; `file` is where the example comes from, for the
    /// message.
    ///
    /// # Errors
    ///
    /// [`DataError::Unlabelled`]; [`DataError::UnknownLabel`] for a class that the model does not
    /// know; [`DataError::NotANumber`] for regression.
    pub fn target(&self, example: &Example, file: &Path) -> Result<Target, DataError> {
        let line = example.line;
        let Some(label) = &example.label else {
            return Err(DataError::Unlabelled {
                path: file.to_owned(),
                line,
            });
        };
        match &self.kind {
            Kind::Regression => label.as_f64().map(Target::Value).ok_or_else(|| {
                let label = label.as_str().to_owned();
                DataError::NotANumber {
                    path: file.to_owned(),
                    line,
                    label,
                }
            }),
            Kind::Classes { names, .. } => {
                self.class(label)
                    .map(Target::Class)
                    .ok_or_else(|| DataError::UnknownLabel {
                        path: file.to_owned(),
                        line,
                        label: label.as_str().to_owned(),
                        known: names.clone(),
                        hint: UNKNOWN_LABEL.to_owned(),
                    })
            }
        }
    }
}

const UNKNOWN_LABEL: &str = "correct the file, or give the classes the file's names in id2label and label2id \
                             of the model's config.json";

fn check_order(
    labels: &[String],
    names: &[String],
    task: Option<Task>,
    generic: bool,
) -> Result<(), DataError> {
    let written = task.map_or(&[][..], Task::labels);
    let known = |label: &String| written.is_empty() || written.contains(&label.as_str());
    let reason = if !generic {
        format!(
            "the model names its classes itself: {}; leave the order out",
            names.join(", ")
        )
    } else if names.len() == 1 {
        "the model has one output, and its labels are numbers".to_owned()
    } else if labels.len() != names.len() {
        format!(
            "{} labels are given for the {} classes of the model",
            labels.len(),
            names.len()
        )
    } else if let Some(twice) = labels
        .iter()
        .enumerate()
        .find_map(|(at, label)| labels.iter().take(at).find(|other| *other == label))
    {
        format!("`{twice}` is given twice")
    } else if let Some(other) = labels.iter().find(|label| !known(label)) {
        format!(
            "`{other}` is no label of this task, whose labels are {}",
            written.join(", ")
        )
    } else {
        return Ok(());
    };
    Err(DataError::OrderNotApplicable { reason })
}

fn check_swap(task: Option<Task>, generic: bool) -> Result<(), DataError> {
    let reason = match task {
        Some(Task::Mnli | Task::MnliMismatched) if generic => return Ok(()),
        Some(Task::Mnli | Task::MnliMismatched) => {
            "the model names its labels itself; leave the option out".to_owned()
        }
        Some(task) => format!("the task is {task}, not mnli or mnli-mm"),
        None => "the data are not MNLI".to_owned(),
    };
    Err(DataError::SwapNotApplicable { reason })
}

fn find(ids: &HashMap<String, usize>, folded: &Folded, label: &str) -> Option<usize> {
    ids.get(label)
        .copied()
        .or_else(|| folded.get(&label.to_lowercase()).copied().flatten())
}

/// Adds those of the task's labels that the model's names do not have already.
fn add_task_labels(
    ids: &mut HashMap<String, usize>,
    names: &[String],
    folded: &Folded,
    task: Option<Task>,
    generic: Option<&LabelOrder>,
) {
    let Some(task) = task else { return };
    for (position, label) in task.labels().iter().enumerate() {
        if find(ids, folded, label).is_some() {
            continue;
        }
        let id = match (generic, task.label_aliases().get(position)) {
            (Some(LabelOrder::Given(_)), _) => None,
            (Some(LabelOrder::Task), _) => Some(position),
            (Some(LabelOrder::SwappedMnli), _) => [0, 2, 1].get(position).copied(),
            (None, alias) => {
                let alias = alias.map(|alias| plain(alias));
                let mut fitting = (0..names.len()).filter(|id| {
                    let name = names.get(*id).map(|name| plain(name));
                    name.as_deref() == Some(&plain(label)) || (alias.is_some() && name == alias)
                });
                fitting.next().filter(|_| fitting.next().is_none())
            }
        };
        if let Some(id) = id {
            ids.insert((*label).to_owned(), id);
        }
    }
}

/// Lower case without `-`, `_` and spaces.
fn plain(name: &str) -> String {
    name.chars()
        .filter(|c| !matches!(c, '-' | '_' | ' '))
        .flat_map(char::to_lowercase)
        .collect()
}

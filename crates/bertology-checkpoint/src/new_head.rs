//! A config with another task head in it, as training writes it.

use serde_json::{Map, Value, json};

use crate::Error;
use crate::arch::Problem;
use crate::config::{Config, OpenAs};

/// What a head that is to be trained is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewHead {
    /// Names of the classes by id; none: those of the config stay.
    pub labels: Vec<String>,
    /// The loss; none: what the config says.
    pub problem: Option<Problem>,
    /// The name of the task (`finetuning_task`), if it has one.
    pub task: Option<String>,
    /// Begin anew although the files have a head that fits. What belongs to the encoder (BERT's pooler) stays.
    pub anew: bool,
}

impl NewHead {
    /// Of these classes.
    #[must_use]
    pub fn new(labels: Vec<String>, problem: Option<Problem>, task: Option<String>) -> Self {
        Self {
            labels,
            problem,
            task,
            anew: false,
        }
    }

    /// The same, begun anew or not.
    #[must_use]
    pub fn anew(mut self, anew: bool) -> Self {
        self.anew = anew;
        self
    }
}

impl Config {
    /// The same with the head that `open_as` names; `names` are those of the checkpoint's tensors.
    pub(crate) fn with_head(
        mut self,
        names: &[&str],
        open_as: OpenAs,
        new: &NewHead,
    ) -> Result<Self, Error> {
        if !new.labels.is_empty() {
            let ids = || new.labels.iter().enumerate();
            let by_id: Map<String, Value> = ids()
                .map(|(id, name)| (id.to_string(), json!(name)))
                .collect();
            let by_name: Map<String, Value> =
                ids().map(|(id, name)| (name.clone(), json!(id))).collect();
            self.raw.insert("id2label".into(), Value::Object(by_id));
            self.raw.insert("label2id".into(), Value::Object(by_name));
            self.raw.remove("num_labels");
        }
        if let Some(problem) = new.problem {
            let name = match problem {
                Problem::SingleLabel => "single_label_classification",
                Problem::Regression => "regression",
                Problem::MultiLabel => "multi_label_classification",
            };
            self.raw.insert("problem_type".into(), json!(name));
        }
        if let Some(task) = &new.task {
            self.raw.insert("finetuning_task".into(), json!(task));
        }
        for key in ["dtype", "torch_dtype"] {
            if let Some(value) = self.raw.get_mut(key) {
                *value = json!("float32");
            }
        }
        let family = self.family(names)?;
        let labels = self.labels()?.len();
        let head = self.head(family, names, open_as, labels)?;
        self.raw
            .insert("architectures".into(), json!([family.class(&head)]));
        Ok(self)
    }
}

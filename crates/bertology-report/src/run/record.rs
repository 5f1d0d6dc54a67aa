//! What `run.json` holds, as texts and numbers.

use serde_json::Value;

use super::Run;

impl Run {
    /// A value under `results`.
    pub(crate) fn result(&self, pointer: &str) -> Option<&Value> {
        let value = self.record.get("results")?.pointer(pointer)?;
        (!value.is_null()).then_some(value)
    }

    pub(crate) fn result_number(&self, pointer: &str) -> Option<f64> {
        self.result(pointer)?.as_f64()
    }

    pub(crate) fn result_text(&self, pointer: &str) -> Option<&str> {
        self.result(pointer)?.as_str()
    }

    /// A value anywhere in the record, as text; nothing where it is null.
    pub(crate) fn said(&self, pointer: &str) -> Option<String> {
        let value = self.record.pointer(pointer)?;
        (!value.is_null()).then(|| text_of(value))
    }

    /// The options that were given or have an effect: not null, not false, not empty.
    pub(crate) fn options(&self) -> Vec<(String, String)> {
        let Some(options) = self.record.get("options").and_then(Value::as_object) else {
            return Vec::new();
        };
        let given = options.iter().filter(|(key, value)| {
            let nothing = match value {
                Value::Null | Value::Bool(false) => true,
                Value::Array(values) => values.is_empty(),
                _ => false,
            };
            !nothing && !matches!(key.as_str(), "output" | "overwrite" | "resume")
        });
        given
            .map(|(key, value)| (format!("--{}", key.replace('_', "-")), text_of(value)))
            .collect()
    }
}

/// A value as people would write it.
pub(crate) fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::Array(values) => values.iter().map(text_of).collect::<Vec<_>>().join(" "),
        Value::Object(map) => {
            let parts = map.iter().filter(|(_, value)| !value.is_null());
            let parts = parts.map(|(key, value)| format!("{key} {}", text_of(value)));
            parts.collect::<Vec<_>>().join(", ")
        }
        Value::Number(number) => number.to_string(),
    }
}

/// The numbers of an object, in its order.
pub(crate) fn numbers(value: Option<&Value>) -> Vec<(String, f64)> {
    let Some(map) = value.and_then(Value::as_object) else {
        return Vec::new();
    };
    map.iter()
        .filter_map(|(key, value)| Some((key.clone(), value.as_f64()?)))
        .collect()
}

/// Metrics and loss of the whole model, wherever the command keeps them.
pub(crate) fn overall(run: &Run) -> Vec<(String, f64)> {
    let evaluation = ["/evaluation", "/evaluation_before"]
        .into_iter()
        .find_map(|pointer| run.result(pointer));
    let mut found = numbers(evaluation.and_then(|value| value.get("metrics")));
    let loss = evaluation
        .and_then(|value| value.get("loss"))
        .and_then(Value::as_f64);
    found.extend(loss.map(|loss| ("loss".to_owned(), loss)));
    found
}

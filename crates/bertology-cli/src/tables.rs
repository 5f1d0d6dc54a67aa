//! Results as arrays and tables of a run folder.

pub(crate) mod coref;
pub(crate) mod syntax;

use std::borrow::Cow;
use std::fmt::Write;

use bertology::ablation::{Ablation, WithoutHead};
use bertology::masking::{MaskingOutcome, Step};
use bertology::normalize;
use bertology::{HeadId, HeadMask, HeadTable};

use crate::failure::Failure;
use crate::npy;
use crate::run_folder::RunFolder;

/// A field of a CSV file, quoted where it must be (RFC 4180).
pub(crate) fn csv_field(text: &str) -> Cow<'_, str> {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\"")).into()
    } else {
        text.into()
    }
}

/// Values of the heads that have one, row-major `[layers, heads]`.
pub(crate) fn cells(table: &HeadTable) -> Vec<Option<f64>> {
    let values = table.values().iter().zip(table.live_flags());
    values.map(|(value, live)| live.then_some(*value)).collect()
}

/// Raw and normalised scores of all heads, and what else is known of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scores<'a> {
    pub(crate) raw: &'a HeadTable,
    pub(crate) normalized: &'a HeadTable,
    pub(crate) entropy: Option<&'a HeadTable>,
}

impl Scores<'_> {
    /// `head_importance.npy`, `head_importance_raw.npy`, `head_ranks.npy`, `attn_entropy.npy` and
    /// `heads.csv`.
    pub(crate) fn write(self, folder: &RunFolder) -> Result<(), Failure> {
        let shape = [self.raw.layers(), self.raw.heads()];
        let array = |table: &HeadTable| npy::encode(&shape, &table.to_f32());
        folder.write("head_importance.npy", &array(self.normalized))?;
        let raw = npy::encode(&shape, self.raw.values());
        folder.write("head_importance_raw.npy", &raw)?;
        let ranks: Vec<i64> = normalize::ranks(self.normalized)
            .into_iter()
            .map(|rank| rank.and_then(|rank| i64::try_from(rank).ok()).unwrap_or(-1))
            .collect();
        folder.write("head_ranks.npy", &npy::encode(&shape, &ranks))?;
        if let Some(entropy) = self.entropy {
            folder.write("attn_entropy.npy", &array(entropy))?;
        }
        folder.write("heads.csv", self.csv().as_bytes())
    }

    fn csv(self) -> String {
        let mut text = String::from("layer,head,importance,raw,entropy,rank,live\n");
        let ranks = normalize::ranks(self.normalized);
        for (at, rank) in ranks.into_iter().enumerate() {
            let id = HeadId {
                layer: at / self.raw.heads(),
                head: at % self.raw.heads(),
            };
            let number = |table: Option<&HeadTable>| {
                let value = table.and_then(|table| table.get(id));
                value.map_or_else(String::new, |value| value.to_string())
            };
            let _ = writeln!(
                text,
                "{},{},{},{},{},{},{}",
                id.layer,
                id.head,
                number(Some(self.normalized)),
                number(Some(self.raw)),
                number(self.entropy),
                rank.map_or_else(String::new, |rank| rank.to_string()),
                u8::from(rank.is_some())
            );
        }
        text
    }
}

/// What each head's removal does: the result, and the change of the metric that decides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Removals<'a> {
    pub(crate) found: &'a Ablation,
    pub(crate) change: &'a HeadTable,
    /// Whether predictions are right or wrong.
    pub(crate) classes: bool,
}

impl Removals<'_> {
    /// `head_ablation.npy`, `head_ablation_loss.npy` and `ablation.csv`.
    pub(crate) fn write(self, folder: &RunFolder) -> Result<(), Failure> {
        let shape = [self.change.layers(), self.change.heads()];
        // A head that was not left out must not look like one that is not missed.
        let array = |table: &HeadTable| {
            let values = cells(table).into_iter();
            let values: Vec<f32> = values.map(|v| v.unwrap_or(f64::NAN) as f32).collect();
            npy::encode(&shape, &values)
        };
        folder.write("head_ablation.npy", &array(self.change))?;
        let loss = self.found.loss_change();
        folder.write("head_ablation_loss.npy", &array(&loss))?;
        folder.write("ablation.csv", self.csv().as_bytes())
    }

    fn csv(self) -> String {
        let mut text = String::from(
            "layer,head,change,loss_change,loss_standard_error,changed,right_to_wrong,\
             wrong_to_right,p_value,loss",
        );
        for (name, _) in self.found.whole.metrics.iter() {
            let _ = write!(text, ",{}", csv_field(name));
        }
        text.push('\n');
        for without in &self.found.without {
            self.csv_row(&mut text, without);
        }
        text
    }

    fn csv_row(self, text: &mut String, without: &WithoutHead) {
        let number = |value: f64| match value.is_finite() {
            true => value.to_string(),
            false => String::new(),
        };
        let paired = without.paired;
        let _ = write!(
            text,
            "{},{},{},{},{}",
            without.head.layer,
            without.head.head,
            number(self.change.get(without.head).unwrap_or(f64::NAN)),
            without.loss_change,
            number(paired.loss_standard_error)
        );
        if self.classes {
            let _ = write!(
                text,
                ",{},{},{},{}",
                paired.changed,
                paired.right_to_wrong,
                paired.wrong_to_right,
                paired.p_value()
            );
        } else {
            text.push_str(",,,,");
        }
        let _ = write!(text, ",{}", without.evaluation.loss);
        for (_, value) in without.evaluation.metrics.iter() {
            let _ = write!(text, ",{}", number(value));
        }
        text.push('\n');
    }
}

/// `head_mask.npy`: 1 keeps a head, 0 masks it.
pub(crate) fn write_mask(folder: &RunFolder, mask: &HeadMask) -> Result<(), Failure> {
    let values: Vec<f32> = mask.values().iter().map(|value| *value as f32).collect();
    let shape = [mask.layers(), mask.heads()];
    folder.write("head_mask.npy", &npy::encode(&shape, &values))
}

/// `curve.csv` and `masks.npy`: every pass of the masking loop.
pub(crate) fn write_curve(folder: &RunFolder, outcome: &MaskingOutcome) -> Result<(), Failure> {
    let mask = outcome.mask();
    let mut keep: Vec<f32> = Vec::with_capacity(outcome.steps.len() * mask.values().len());
    for step in &outcome.steps {
        keep.extend(step.keep.iter().map(|keep| f32::from(u8::from(*keep))));
    }
    let shape = [outcome.steps.len(), mask.layers(), mask.heads()];
    folder.write("masks.npy", &npy::encode(&shape, &keep))?;
    folder.write("curve.csv", curve(&outcome.steps).as_bytes())
}

fn curve(steps: &[Step]) -> String {
    let mut text = String::from("step,heads_left,score,passed,loss");
    if let Some(base) = steps.first() {
        for (name, _) in base.metrics.iter() {
            let _ = write!(text, ",{}", csv_field(name));
        }
    }
    text.push_str(",masked_heads\n");
    for step in steps {
        let score = step
            .score
            .map_or_else(String::new, |score| score.to_string());
        let _ = write!(
            text,
            "{},{},{score},{},{}",
            step.step,
            step.live,
            u8::from(step.passed),
            step.loss
        );
        for (_, value) in step.metrics.iter() {
            if value.is_finite() {
                let _ = write!(text, ",{value}");
            } else {
                text.push(',');
            }
        }
        let heads: Vec<String> = step.masked.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, ",{}", heads.join(" "));
    }
    text
}

//! What the model says about the text, and what it says without each head.

use std::num::NonZeroUsize;

use bertology::checkpoint::{Problem, TaskHead};
use bertology::left_out::{self, Said, WithoutEach};
use bertology::{Architecture, HeadId, Sequence, Tokenizer};
use bertology_report::viewer::{Prediction, PredictionKind, Text};

use super::tokens;
use crate::failure::Failure;
use crate::session::{Opened, failure};
use crate::show::Screen;

/// Masked tokens whose prediction is shown.
const MASKS: usize = 4;
/// Tokens shown of what the whole model predicts, and of what it predicts without each head.
const TOP: usize = 10;
const TOP_WITHOUT: usize = 3;

/// Adds the predictions that the model's head makes to what is shown of a text; `name` is said of the work.
pub(super) fn predict(
    text: &mut Text,
    name: &str,
    opened: &Opened,
    sequence: &Sequence,
    ids: &[u32],
    threads: Option<NonZeroUsize>,
    screen: &Screen,
) -> Result<(), Failure> {
    let arch = opened.model.architecture();
    let tokenizer = opened.model.tokenizer().map_err(|e| failure(&e))?;
    let positions = positions(arch, tokenizer, ids);
    let whole_sequence = !matches!(
        arch.head,
        TaskHead::None | TaskHead::MaskedLm | TaskHead::CausalLm
    ) && arch.head.token_scores().is_none();
    if matches!(arch.head, TaskHead::MaskedLm | TaskHead::PreTraining) && positions.is_empty() {
        text.notes.push(
            "The text has no mask token, so there is no word to predict; write one into it to see the \
             predictions for its place."
                .into(),
        );
    }
    if positions.is_empty() && !whole_sequence {
        if arch.head == TaskHead::None {
            text.notes
                .push("The model has no task head, so it predicts nothing.".into());
        } else if arch.head.token_scores().is_some() {
            text.notes.push(format!(
                "What {} says of single tokens is not shown here.",
                arch.head.description()
            ));
        }
        return Ok(());
    }
    let heads: Vec<HeadId> = opened.model.model().heads().collect();
    screen.start(name, "heads", heads.len() as u64);
    let threads = threads.map_or(0, usize::from);
    let found = left_out::leave_out_each(
        &opened.model,
        sequence,
        &positions,
        &heads,
        threads,
        &mut |done| screen.advance_to(done as u64),
    );
    screen.stop();
    let found = found.map_err(|e| failure(&e))?;
    if whole_sequence {
        text.predictions.push(classes(arch, &found));
    }
    for (at, position) in positions.iter().enumerate() {
        let name = if arch.causal {
            "the next token".to_owned()
        } else {
            format!("the token at {position}, which is masked")
        };
        text.predictions
            .push(words(arch, tokenizer, &found, at, *position, name));
    }
    Ok(())
}

/// The places whose logits over the vocabulary are read.
fn positions(arch: &Architecture, tokenizer: &Tokenizer, ids: &[u32]) -> Vec<usize> {
    match arch.head {
        TaskHead::CausalLm => vec![ids.len() - 1],
        TaskHead::MaskedLm | TaskHead::PreTraining => {
            let mask = tokenizer.mask_id();
            let masked = ids.iter().enumerate().filter(|(_, id)| Some(**id) == mask);
            masked.map(|(at, _)| at).take(MASKS).collect()
        }
        _ => Vec::new(),
    }
}

/// What the classifier says.
fn classes(arch: &Architecture, found: &WithoutEach) -> Prediction {
    let (kind, name) = match &arch.head {
        TaskHead::SequenceClassification { problem, .. } => match problem {
            Problem::SingleLabel => (PredictionKind::Classes, "the class of the text"),
            Problem::MultiLabel => (PredictionKind::Labels, "the labels of the text"),
            Problem::Regression => (PredictionKind::Values, "the value of the text"),
        },
        _ => (
            PredictionKind::Classes,
            "whether the second text follows the first",
        ),
    };
    let count = found.whole.logits.len();
    let labels = match &arch.head {
        TaskHead::SequenceClassification { .. } if arch.labels.len() == count => {
            arch.labels.clone()
        }
        TaskHead::SequenceClassification { .. } => (0..count).map(|at| at.to_string()).collect(),
        _ => vec!["follows".into(), "does not follow".into()],
    };
    let values = |said: &Said| -> Vec<f64> {
        match kind {
            PredictionKind::Classes | PredictionKind::Tokens => left_out::softmax(&said.logits),
            PredictionKind::Labels => {
                let logits = said.logits.iter();
                logits.map(|logit| left_out::sigmoid(*logit)).collect()
            }
            PredictionKind::Values => said.logits.iter().map(|x| f64::from(*x)).collect(),
        }
    };
    let effect = |said: &Said| {
        let pairs = found.whole.logits.iter().zip(&said.logits);
        match kind {
            PredictionKind::Classes | PredictionKind::Tokens => {
                left_out::divergence(&found.whole.logits, &said.logits)
            }
            // A label for itself is a class against its absence, whose logit is 0.
            PredictionKind::Labels => pairs
                .map(|(a, b)| left_out::divergence(&[*a, 0.0], &[*b, 0.0]))
                .sum(),
            PredictionKind::Values => pairs
                .map(|(a, b)| f64::from((a - b).abs()))
                .fold(0.0, f64::max),
        }
    };
    assemble(found, name.to_owned(), kind, None, labels, values, effect)
}

/// What a language model says at one place: the tokens that it holds likely with all heads or without one.
fn words(
    arch: &Architecture,
    tokenizer: &Tokenizer,
    found: &WithoutEach,
    at: usize,
    position: usize,
    name: String,
) -> Prediction {
    let mut chosen = top(&found.whole.tokens[at], TOP);
    for (_, said) in &found.without {
        for id in top(&said.tokens[at], TOP_WITHOUT) {
            if !chosen.contains(&id) {
                chosen.push(id);
            }
        }
    }
    let labels = chosen.iter().map(|id| {
        let id = u32::try_from(*id).unwrap_or(u32::MAX);
        let piece = tokenizer.id_to_token(id);
        let piece = piece.unwrap_or_else(|| format!("#{id}"));
        tokens::visible(&tokens::text_of(&piece, arch.family))
    });
    let labels = labels.collect();
    let values = |said: &Said| {
        let all = left_out::softmax(&said.tokens[at]);
        chosen.iter().map(|id| all[*id]).collect()
    };
    let effect = |said: &Said| left_out::divergence(&found.whole.tokens[at], &said.tokens[at]);
    let kind = PredictionKind::Tokens;
    assemble(found, name, kind, Some(position), labels, values, effect)
}

fn assemble(
    found: &WithoutEach,
    name: String,
    kind: PredictionKind,
    position: Option<usize>,
    labels: Vec<String>,
    values: impl Fn(&Said) -> Vec<f64>,
    effect: impl Fn(&Said) -> f64,
) -> Prediction {
    let all = std::iter::once(&found.whole).chain(found.without.iter().map(|(_, said)| said));
    Prediction {
        name,
        kind,
        position,
        labels,
        heads: found
            .without
            .iter()
            .map(|(id, _)| (id.layer, id.head))
            .collect(),
        values: all.flat_map(&values).map(|value| value as f32).collect(),
        effects: found
            .without
            .iter()
            .map(|(_, said)| effect(said) as f32)
            .collect(),
    }
}

/// The places of the largest logits, largest first.
fn top(logits: &[f32], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    let larger = |a: &usize, b: &usize| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b));
    let count = count.min(order.len());
    if count < order.len() {
        order.select_nth_unstable_by(count, larger);
        order.truncate(count);
    }
    order.sort_unstable_by(larger);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_come_first() {
        assert_eq!(top(&[0.5, 3.0, -1.0, 3.0, 2.0], 3), [1, 3, 4]);
        assert_eq!(top(&[1.0], 5), [0]);
    }
}

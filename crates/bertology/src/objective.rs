//! What a model is scored for: labels, next tokens, hidden tokens, labels of words, or answers.
//!
//! | objective | head | an example is | its loss `l` | its targets |
//! | --- | --- | --- | --- | --- |
//! | [`Labels`](Objective::Labels) | classifier, regressor | a row of the file | of the label | 1 |
//! | [`CausalLm`](Objective::CausalLm) | causal LM | a window of a document | mean over its targets | every token but the document's first |
//! | [`MaskedLm`](Objective::MaskedLm) | masked LM | a window of a document | mean over its targets | the selected tokens |
//! | [`Tags`](Objective::Tags) | token classifier | a sentence | mean over its targets | words with a label, at their first token |
//! | [`Answers`](Objective::Answers) | question answering | a window of a text, with its question | half the sum of those of start and end | 1: the span, or the first token |
//!
//! Studies that average over examples (importance) average the `l` of the windows. The loss and the
//! perplexity of a language model are averaged over targets: `loss = Σ l · targets / Σ targets`,
//! `perplexity = exp(loss)`.

use bertology_checkpoint::TaskHead;
use serde::{Deserialize, Serialize};

use crate::random::Draws;

/// Chance of a token to be selected in masked-LM training, as in the BERT paper.
pub const MLM_PROBABILITY: f64 = 0.15;

/// The seed of the reference scripts.
pub const DEFAULT_SEED: u64 = 42;

/// What a model is scored for; see the [module](self).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum Objective {
    /// The label of each example.
    Labels,
    /// The next token, given those before it in the window.
    CausalLm {
        /// Put the model's beginning-of-text token in front of each document, so that the first token
        /// is a target, too.
        bos: bool,
    },
    /// Tokens of the window, given the window.
    MaskedLm {
        /// Which tokens, and what the model sees in their place.
        masking: TokenMasking,
    },
    /// The label of each word, given the sentence.
    Tags,
    /// The span of a text that answers a question.
    Answers,
}

/// Which tokens a masked language model must predict. Special tokens (`[CLS]`, `[SEP]`, `[PAD]`,
/// `[MASK]`, `[UNK]`) are never among them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum TokenMasking {
    /// As `DataCollatorForLanguageModeling` of transformers: each token is selected with
    /// `probability`; of the selected 80 % are replaced by the mask token, 10 % by a token drawn
    /// uniformly from the vocabulary, 10 % stay.
    ///
    /// The draw is a function of `seed`, the place of the document in the file and the number of the
    /// window in the document, and of nothing else: threads, batches and limits do not change it.
    /// Where chance selects no token of a window, one is drawn, all equally likely, so that no
    /// document is lost; the collator leaves such an example without a loss.
    Random {
        /// Above 0, at most 1.
        probability: f64,
        /// Any number.
        seed: u64,
    },
    /// The text stays as it is, and every token is a target.
    Unmasked,
}

impl Default for TokenMasking {
    fn default() -> Self {
        Self::Random {
            probability: MLM_PROBABILITY,
            seed: DEFAULT_SEED,
        }
    }
}

/// The name under which the mean loss can be asked for like a metric.
pub const LOSS: &str = "loss";

/// `exp` of the loss of a causal language model: the perplexity of its text.
pub const PERPLEXITY: &str = "perplexity";

/// `exp` of the loss of a masked language model: over the tokens selected, each given a text of which
/// parts are hidden. It is no probability of the text, and comparable only under one masking.
pub const PSEUDO_PERPLEXITY: &str = "pseudo_perplexity";

/// The loss of all tokens predicted by a causal language model in bits, over the bytes of text that
/// they stand for: comparable between vocabularies.
pub const BITS_PER_BYTE: &str = "bits_per_byte";

impl Objective {
    /// What a model is scored with in the place of a task's metrics, the one that decides by default first.
    /// `text`: where the bytes are known that the tokens stand for.
    pub(crate) fn own_metrics(self, text: bool, may_lack: bool) -> &'static [&'static str] {
        match self {
            Self::Tags => &["f1", "precision", "recall", "accuracy", LOSS],
            Self::Answers if may_lack => &[
                "f1",
                "exact_match",
                "HasAns_exact",
                "HasAns_f1",
                "NoAns_exact",
                "NoAns_f1",
                LOSS,
            ],
            Self::Answers => &["f1", "exact_match", LOSS],
            Self::CausalLm { .. } if text => &[LOSS, PERPLEXITY, BITS_PER_BYTE],
            Self::CausalLm { .. } => &[LOSS, PERPLEXITY],
            _ => &[LOSS, PSEUDO_PERPLEXITY],
        }
    }

    /// What data hold that are scored for this.
    #[must_use]
    pub fn data(self) -> &'static str {
        match self {
            Self::Labels => "texts with a label each",
            Self::CausalLm { .. } | Self::MaskedLm { .. } => "texts without labels",
            Self::Tags => "sentences whose words have labels",
            Self::Answers => "questions with answers",
        }
    }

    /// The objective that a head was made for; none for a bare encoder, a next-sentence head and one that finds
    /// replaced tokens.
    #[must_use]
    pub fn of(head: &TaskHead) -> Option<Self> {
        match head {
            TaskHead::SequenceClassification { .. } => Some(Self::Labels),
            TaskHead::MaskedLm | TaskHead::PreTraining => Some(Self::MaskedLm {
                masking: TokenMasking::default(),
            }),
            TaskHead::CausalLm => Some(Self::CausalLm { bos: false }),
            TaskHead::TokenClassification { .. } => Some(Self::Tags),
            TaskHead::QuestionAnswering => Some(Self::Answers),
            TaskHead::None | TaskHead::NextSentence | TaskHead::ReplacedTokens => None,
        }
    }

    /// Whether a head gives the loss of this objective.
    #[must_use]
    pub fn fits(&self, head: &TaskHead) -> bool {
        Self::of(head)
            .is_some_and(|own| std::mem::discriminant(&own) == std::mem::discriminant(self))
    }

    /// `labels`, `causal language modelling`, `labels of words` and the like.
    #[must_use]
    pub fn description(&self) -> &'static str {
        match self {
            Self::Labels => "labels",
            Self::CausalLm { .. } => "causal language modelling",
            Self::MaskedLm { .. } => "masked language modelling",
            Self::Tags => "labels of words",
            Self::Answers => "answers to questions",
        }
    }
}

/// What hides tokens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hiding {
    pub(crate) probability: f64,
    /// The token put in the place of most.
    pub(crate) mask: u32,
    /// Tokens to draw others from.
    pub(crate) vocabulary: usize,
}

impl Hiding {
    /// Selects among the tokens at `candidates`, at least one if there is any, and hides what it
    /// selected; gives the places selected, ascending.
    pub(crate) fn hide(
        &self,
        ids: &mut [u32],
        candidates: &[usize],
        draws: &mut Draws,
    ) -> Vec<usize> {
        let chosen = candidates.iter().copied();
        let mut selected: Vec<usize> = chosen.filter(|_| draws.unit() < self.probability).collect();
        if selected.is_empty() && !candidates.is_empty() {
            selected.push(candidates[draws.below(candidates.len())]);
        }
        for at in &selected {
            let fate = draws.unit();
            if fate < 0.8 {
                ids[*at] = self.mask;
            } else if fate < 0.9 {
                // Ids are u32, and the vocabulary is theirs.
                ids[*at] = draws.below(self.vocabulary) as u32;
            }
        }
        selected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: u32 = 4;
    const VOCABULARY: usize = 50;

    /// 10,000 windows of 100 tokens: numbers within five standard deviations of a binomial.
    #[test]
    fn shares_are_those_of_the_collator() {
        let hiding = Hiding {
            probability: 0.15,
            mask: MASK,
            vocabulary: VOCABULARY,
        };
        let candidates: Vec<usize> = (0..100).collect();
        let (mut selected, mut masked, mut kept) = (0.0, 0.0, 0.0);
        let mut drawn = vec![0.0; VOCABULARY];
        for window in 0..10_000 {
            // An id that no draw gives: what stays is known from what was drawn.
            let mut ids = vec![999; 100];
            let mut draws = Draws::of_window(1, 2, window);
            for at in hiding.hide(&mut ids, &candidates, &mut draws) {
                selected += 1.0;
                match ids[at] {
                    999 => kept += 1.0,
                    MASK => masked += 1.0,
                    id => drawn[id as usize] += 1.0,
                }
                ids[at] = 999;
            }
            assert!(ids.iter().all(|id| *id == 999), "only the selected change");
        }
        let near = |what: &str, found: f64, trials: f64, chance: f64| {
            let deviation = (trials * chance * (1.0 - chance)).sqrt();
            let expected = trials * chance;
            assert!(
                (found - expected).abs() < 5.0 * deviation,
                "{what}: {found}, expected {expected} ± {deviation}"
            );
        };
        near("selected", selected, 1_000_000.0, 0.15);
        near("kept", kept, selected, 0.1);
        // One in fifty random tokens is the mask token itself.
        near("masked", masked, selected, 0.8 + 0.1 / 50.0);
        for (id, count) in drawn
            .iter()
            .enumerate()
            .filter(|(id, _)| *id != MASK as usize)
        {
            near(&format!("token {id}"), *count, selected, 0.1 / 50.0);
        }
    }

    #[test]
    fn some_token_is_always_selected_and_each_alike() {
        let hiding = Hiding {
            probability: 1e-12,
            mask: MASK,
            vocabulary: VOCABULARY,
        };
        let mut counts = [0; 3];
        for document in 0..3000 {
            let mut draws = Draws::of_window(9, document, 0);
            let found = hiding.hide(&mut [7; 6], &[1, 3, 4], &mut draws);
            assert_eq!(found.len(), 1);
            counts[[1, 3, 4].iter().position(|at| *at == found[0]).unwrap_or(9)] += 1;
        }
        // ± 5 · sqrt(3000 · 1/3 · 2/3)
        assert!(
            counts.iter().all(|c| (1000_i32 - c).abs() < 130),
            "{counts:?}"
        );
        let mut draws = Draws::of_window(9, 0, 0);
        assert!(hiding.hide(&mut [7; 6], &[], &mut draws).is_empty());
    }
}

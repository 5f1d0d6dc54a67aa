//! What is extracted: a choice of values by the user, and the list of arrays that it means for a
//! model.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use bertology_checkpoint::{Architecture, HeadSet, Problem, TaskHead};
use bertology_model::{HeadId, Interests, LayerSite, ModelSite, Pass, Tap};

use super::{ExtractError, Pool};
use crate::{Error, LoadedModel};

/// A choice of layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layers {
    /// Every one.
    All,
    /// These, zero-based.
    These(BTreeSet<usize>),
}

impl Layers {
    /// Reads `all`, or numbers and ranges: `3`, `0,4-6`.
    ///
    /// # Errors
    /// [`ExtractError::LayerSyntax`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.trim() == "all" {
            return Ok(Self::All);
        }
        ranges(text)
            .map(Self::These)
            .ok_or_else(|| ExtractError::LayerSyntax { text: text.into() }.into())
    }
}

/// More layers than any model has: a range may claim billions.
const MOST: usize = 100_000;

/// `0,4-6 9` as numbers.
fn ranges(text: &str) -> Option<BTreeSet<usize>> {
    let mut numbers = BTreeSet::new();
    for item in text
        .split([',', ' ', ';', '\t'])
        .filter(|item| !item.is_empty())
    {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let number = |text: &str| text.trim().parse().ok().filter(|number| *number < MOST);
        let (first, last): (usize, usize) = (number(first)?, number(last)?);
        if first > last {
            return None;
        }
        numbers.extend(first..=last);
    }
    (!numbers.is_empty()).then_some(numbers)
}

/// A choice of heads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heads {
    all: bool,
    layers: BTreeSet<usize>,
    heads: HeadSet,
}

impl Heads {
    /// Every head that the model has.
    #[must_use]
    pub fn all() -> Self {
        Self {
            all: true,
            ..Self::default()
        }
    }

    /// Every head that the model has in these layers.
    pub fn layers(layers: impl IntoIterator<Item = usize>) -> Self {
        Self {
            layers: layers.into_iter().collect(),
            ..Self::default()
        }
    }

    /// These heads; each must be there.
    #[must_use]
    pub fn these(heads: HeadSet) -> Self {
        Self {
            heads,
            ..Self::default()
        }
    }

    /// Reads `all`, layers (`3`, `0-4`) and heads as everywhere (`3.5`, `L3H5`, `3:5`, `0:1,3`), with
    /// spaces between them.
    ///
    /// # Errors
    /// What is wrong with the text, or heads that the unpruned model does not have.
    pub fn parse(text: &str, arch: &Architecture) -> Result<Self, Error> {
        let mut found = Self::default();
        let mut rest = Vec::new();
        for item in text.split_whitespace() {
            if item == "all" {
                found.all = true;
            } else if let Some(layers) = ranges(item) {
                found.layers.extend(layers);
            } else {
                rest.push(item);
            }
        }
        found.heads = HeadSet::parse(&rest.join(" "), arch.num_layers, arch.num_heads)?;
        Ok(found)
    }

    /// The heads meant, in order.
    ///
    /// # Errors
    /// [`ExtractError::NoSuchLayer`], [`ExtractError::NoSuchHead`], [`ExtractError::PrunedHead`].
    pub fn resolve(&self, model: &LoadedModel) -> Result<BTreeSet<HeadId>, ExtractError> {
        let arch = model.architecture();
        let (layers, heads) = (arch.num_layers, arch.num_heads);
        if let Some(layer) = self.layers.iter().find(|layer| **layer >= layers) {
            return Err(ExtractError::NoSuchLayer {
                layer: *layer,
                layers,
            });
        }
        let mut chosen: BTreeSet<HeadId> = model
            .model()
            .heads()
            .filter(|id| self.all || self.layers.contains(&id.layer))
            .collect();
        for (layer, head) in self.heads.iter() {
            let id = HeadId { layer, head };
            if layer >= layers || head >= heads {
                return Err(ExtractError::NoSuchHead {
                    head: id,
                    layers,
                    heads,
                });
            }
            if !model.model().has_head(id) {
                return Err(ExtractError::PrunedHead { head: id });
            }
            chosen.insert(id);
        }
        Ok(chosen)
    }
}

/// What gradients are taken of: a loss, or a logit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GradientOf {
    /// The loss of each example's own label: cross-entropy in nats, or squared error.
    Label,
    /// The cross-entropy of this class for every text, `-ln p(class)`, whatever its label.
    Class(usize),
    /// This logit itself, of a classifier or a regression head, for every text: not a loss, so that
    /// gradients say what raises the model's score.
    Logit(usize),
    /// Causal language models: the mean cross-entropy of every token but the first, given those
    /// before it. In windows, of the tokens that no window before has.
    NextTokens,
    /// Masked language models: the mean cross-entropy of every token that is not special, given the
    /// whole text; nothing is hidden. In windows, of the tokens that no window before has.
    Tokens,
}

impl fmt::Display for GradientOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label => f.write_str("label"),
            Self::Class(class) => write!(f, "class:{class}"),
            Self::Logit(logit) => write!(f, "logit:{logit}"),
            Self::NextTokens => f.write_str("lm"),
            Self::Tokens => f.write_str("mlm"),
        }
    }
}

impl FromStr for GradientOf {
    type Err = Error;

    /// Reads `label`, `class:2`, `logit:2`, `lm` or `mlm`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let numbered = text
            .split_once(':')
            .and_then(|(kind, number)| Some((kind, number.parse().ok()?)));
        match (text, numbered) {
            ("label", _) => Ok(Self::Label),
            ("lm", _) => Ok(Self::NextTokens),
            ("mlm", _) => Ok(Self::Tokens),
            (_, Some(("class", class))) => Ok(Self::Class(class)),
            (_, Some(("logit", logit))) => Ok(Self::Logit(logit)),
            _ => Err(ExtractError::ObjectiveSyntax { text: text.into() }.into()),
        }
    }
}

impl GradientOf {
    /// Whether the loss is a mean over tokens.
    pub(super) fn counts_tokens(self) -> bool {
        matches!(self, Self::NextTokens | Self::Tokens)
    }

    /// Refuses a model whose head gives no such loss.
    fn check(self, arch: &Architecture) -> Result<(), ExtractError> {
        let refuse = |needs| {
            Err(ExtractError::Objective {
                objective: self.to_string(),
                needs,
                head: arch.head.description(),
            })
        };
        match (self, &arch.head) {
            (Self::Label, TaskHead::SequenceClassification { problem, .. }) => match problem {
                Problem::SingleLabel | Problem::Regression => Ok(()),
                Problem::MultiLabel => refuse("one label an example"),
            },
            (Self::Label, _) => refuse("a sequence classifier or a regression head"),
            (
                Self::Class(class),
                TaskHead::SequenceClassification {
                    num_labels: classes,
                    problem: Problem::SingleLabel,
                },
            )
            | (
                Self::Logit(class),
                TaskHead::SequenceClassification {
                    num_labels: classes,
                    ..
                },
            ) if class >= *classes => Err(ExtractError::NoSuchClass {
                class,
                classes: *classes,
            }),
            (
                Self::Class(_),
                TaskHead::SequenceClassification {
                    problem: Problem::SingleLabel,
                    ..
                },
            ) => Ok(()),
            (Self::Class(_), _) => refuse("a single-label classifier"),
            (Self::Logit(_), TaskHead::SequenceClassification { .. }) => Ok(()),
            (Self::Logit(_), _) => refuse("a sequence classifier or a regression head"),
            (Self::NextTokens, TaskHead::CausalLm)
            | (Self::Tokens, TaskHead::MaskedLm | TaskHead::PreTraining) => Ok(()),
            (Self::NextTokens, _) => refuse("a causal language model"),
            (Self::Tokens, _) => refuse("a masked language model"),
        }
    }
}

/// What is extracted. Begins with nothing.
///
/// Token ids, character offsets, word ids and the like are always written; with an objective, each
/// example's loss as well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    hidden_states: Option<Layers>,
    mlp_inner: Option<Layers>,
    per_head: BTreeMap<LayerSite, Heads>,
    logits: bool,
    gradients: bool,
    pub(super) objective: Option<GradientOf>,
}

impl Request {
    /// Nothing but tokens.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Hidden states `[tokens, hidden]` of layers 0 (the embeddings) to L, as in transformers'
    /// `hidden_states`.
    #[must_use]
    pub fn hidden_states(mut self, layers: Layers) -> Self {
        self.hidden_states = Some(layers);
        self
    }

    /// Neurons of the feed-forward blocks behind the activation, `[tokens, intermediate]`, of layers 0 to L − 1.
    #[must_use]
    pub fn mlp_inner(mut self, layers: Layers) -> Self {
        self.mlp_inner = Some(layers);
        self
    }

    /// Attention probabilities, `[query, key]`: the softmax, before any head mask.
    #[must_use]
    pub fn attentions(self, heads: Heads) -> Self {
        self.per_head(LayerSite::AttentionProbs, heads)
    }

    /// Outputs of heads before the output projection, `[tokens, head_dim]`.
    #[must_use]
    pub fn head_outputs(self, heads: Heads) -> Self {
        self.per_head(LayerSite::HeadOutput, heads)
    }

    /// What heads add to the residual stream, `[tokens, hidden]`.
    #[must_use]
    pub fn head_contributions(self, heads: Heads) -> Self {
        self.per_head(LayerSite::HeadContribution, heads)
    }

    /// Any value that each head has: those above, attention scores before the softmax, queries,
    /// keys or values.
    #[must_use]
    pub fn per_head(mut self, site: LayerSite, heads: Heads) -> Self {
        self.per_head.insert(site, heads);
        self
    }

    /// Logits of the task head: `[labels]` an example, `[tokens, vocabulary]` of a language model.
    #[must_use]
    pub fn logits(mut self) -> Self {
        self.logits = true;
        self
    }

    /// Each example's loss.
    #[must_use]
    pub fn objective(mut self, objective: GradientOf) -> Self {
        self.objective = Some(objective);
        self
    }

    /// Gradients of each example's loss with respect to everything chosen, besides the values.
    #[must_use]
    pub fn gradients(mut self, objective: GradientOf) -> Self {
        self.gradients = true;
        self.objective(objective)
    }

    /// The arrays that this means for a model.
    pub(super) fn resolve(&self, model: &LoadedModel, pool: Pool) -> Result<Vec<Slot>, Error> {
        let arch = model.architecture();
        let mut slots = Vec::new();
        if let Some(layers) = &self.hidden_states {
            slots.extend(states(layers, arch)?);
        }
        if let Some(layers) = &self.mlp_inner {
            slots.extend(neurons(layers, arch)?);
        }
        for (site, heads) in &self.per_head {
            slots.extend(head_slots(*site, heads, model, pool)?);
        }
        if self.logits {
            slots.extend(logits(arch)?);
        }
        if let Some(objective) = self.objective {
            objective.check(arch)?;
        }
        if let (true, Some(objective)) = (self.gradients, self.objective) {
            if slots.is_empty() {
                return Err(ExtractError::NoValues.into());
            }
            let gradients: Vec<Slot> = slots
                .iter()
                // The loss is computed from one kind of logits only.
                .filter(|slot| match slot.tap {
                    Tap::Model(ModelSite::TokenLogits) => objective.counts_tokens(),
                    Tap::Model(ModelSite::Logits) => !objective.counts_tokens(),
                    _ => true,
                })
                .map(|slot| Slot {
                    pass: Pass::Backward,
                    ..slot.clone()
                })
                .collect();
            slots.extend(gradients);
        }
        Ok(slots)
    }
}

/// What the rows of an array are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Rows {
    /// One a sequence.
    Sequence,
    /// One a token, or one a word where tokens are pooled.
    Token,
    /// One number a query and key.
    Pair,
}

/// One array of values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) pass: Pass,
    pub(super) tap: Tap,
    /// Layer as users count it: 0 is the embeddings for hidden states.
    pub(super) layer: Option<usize>,
    pub(super) head: Option<usize>,
    /// `hidden_states`, `attentions` and so on.
    pub(super) what: &'static str,
    pub(super) rows: Rows,
    /// Numbers a row, 1 for pairs.
    pub(super) width: usize,
}

impl Slot {
    /// `gradients.attentions` or the like.
    pub(super) fn group(&self) -> String {
        match self.pass {
            Pass::Forward => self.what.to_owned(),
            Pass::Backward => format!("gradients.{}", self.what),
        }
    }

    /// `gradients.attentions.3.5` or the like.
    pub(super) fn name(&self) -> String {
        let mut name = self.group();
        for number in [self.layer, self.head].into_iter().flatten() {
            name.push('.');
            name.push_str(&number.to_string());
        }
        name
    }

    pub(super) fn interest(&self, interests: Interests) -> Interests {
        match self.pass {
            Pass::Forward => interests.value(self.tap.site()),
            Pass::Backward => interests.gradient(self.tap.site()),
        }
    }
}

fn states(layers: &Layers, arch: &Architecture) -> Result<Vec<Slot>, ExtractError> {
    let last = arch.num_layers;
    let chosen: Vec<usize> = match layers {
        Layers::All => (0..=last).collect(),
        Layers::These(chosen) => chosen.iter().copied().collect(),
    };
    if let Some(layer) = chosen.iter().find(|layer| **layer > last) {
        return Err(ExtractError::NoSuchState {
            layer: *layer,
            layers: last,
        });
    }
    let slot = |layer: usize| Slot {
        pass: Pass::Forward,
        tap: match layer.checked_sub(1) {
            None => Tap::Model(ModelSite::Embeddings),
            Some(block) => Tap::Layer(block, LayerSite::HiddenState),
        },
        layer: Some(layer),
        head: None,
        what: "hidden_states",
        rows: Rows::Token,
        width: arch.hidden_size,
    };
    Ok(chosen.into_iter().map(slot).collect())
}

fn neurons(layers: &Layers, arch: &Architecture) -> Result<Vec<Slot>, ExtractError> {
    let layers_there = arch.num_layers;
    let chosen: Vec<usize> = match layers {
        Layers::All => (0..layers_there).collect(),
        Layers::These(chosen) => chosen.iter().copied().collect(),
    };
    if let Some(layer) = chosen.iter().find(|layer| **layer >= layers_there) {
        return Err(ExtractError::NoSuchLayer {
            layer: *layer,
            layers: layers_there,
        });
    }
    let slot = |layer: usize| Slot {
        pass: Pass::Forward,
        tap: Tap::Layer(layer, LayerSite::MlpInner),
        layer: Some(layer),
        head: None,
        what: "mlp_inner",
        rows: Rows::Token,
        width: arch.neurons(layer),
    };
    Ok(chosen.into_iter().map(slot).collect())
}

fn head_slots(
    site: LayerSite,
    heads: &Heads,
    model: &LoadedModel,
    pool: Pool,
) -> Result<Vec<Slot>, ExtractError> {
    let arch = model.architecture();
    let (what, rows, width) = match site {
        LayerSite::Query => ("queries", Rows::Token, arch.head_dim()),
        LayerSite::Key => ("keys", Rows::Token, arch.head_dim()),
        LayerSite::Value => ("values", Rows::Token, arch.head_dim()),
        LayerSite::AttentionScores => ("attention_scores", Rows::Pair, 1),
        LayerSite::AttentionProbs => ("attentions", Rows::Pair, 1),
        LayerSite::HeadOutput => ("head_outputs", Rows::Token, arch.head_dim()),
        LayerSite::HeadContribution => ("head_contributions", Rows::Token, arch.hidden_size),
        other => {
            return Err(ExtractError::NotPerHead {
                site: format!("{other:?}"),
            });
        }
    };
    if rows == Rows::Pair && pool != Pool::None {
        return Err(ExtractError::PooledMaps { what });
    }
    let ids = heads.resolve(model)?;
    if ids.is_empty() {
        return Err(ExtractError::NoHeads { what });
    }
    let slot = |id: HeadId| Slot {
        pass: Pass::Forward,
        tap: Tap::Layer(id.layer, site),
        layer: Some(id.layer),
        head: Some(id.head),
        what,
        rows,
        width,
    };
    Ok(ids.into_iter().map(slot).collect())
}

fn logits(arch: &Architecture) -> Result<Vec<Slot>, ExtractError> {
    let slot = |site, what, rows, width| Slot {
        pass: Pass::Forward,
        tap: Tap::Model(site),
        layer: None,
        head: None,
        what,
        rows,
        width,
    };
    let labels = |width| slot(ModelSite::Logits, "logits", Rows::Sequence, width);
    let tokens = slot(
        ModelSite::TokenLogits,
        "token_logits",
        Rows::Token,
        arch.head.token_scores().unwrap_or(arch.vocab_size),
    );
    match &arch.head {
        TaskHead::None => Err(ExtractError::NoLogits {
            head: arch.head.description(),
        }),
        TaskHead::SequenceClassification { num_labels, .. } => Ok(vec![labels(*num_labels)]),
        TaskHead::NextSentence => Ok(vec![labels(2)]),
        TaskHead::MaskedLm
        | TaskHead::CausalLm
        | TaskHead::TokenClassification { .. }
        | TaskHead::QuestionAnswering
        | TaskHead::ReplacedTokens => Ok(vec![tokens]),
        TaskHead::PreTraining => Ok(vec![labels(2), tokens]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_numbers_and_ranges() {
        let these = |numbers: &[usize]| Layers::These(numbers.iter().copied().collect());
        assert_eq!(Layers::parse("all").unwrap(), Layers::All);
        assert_eq!(Layers::parse("3").unwrap(), these(&[3]));
        assert_eq!(Layers::parse("0,4-6, 2").unwrap(), these(&[0, 2, 4, 5, 6]));
        for bad in ["", "x", "3-1", "-1", "1-", "0-99999999999", "3:5", "1.2"] {
            let error = Layers::parse(bad).unwrap_err().to_string();
            assert!(error.contains(bad) && error.contains("0,4-6"), "{error}");
        }
    }
}

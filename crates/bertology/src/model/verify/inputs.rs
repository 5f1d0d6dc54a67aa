//! What a reference was computed from: tokens, padding, positions, labels, head mask.

use bertology_checkpoint::{
    Architecture, Pooling, PositionIds, Positions, Problem, ScoreBias, Segments, TaskHead,
};
use bertology_model::{HeadMask, ModelSite, Sequence, Tap, Target};

use super::ReferenceError;
use super::names::{Account, Named, Quantity};

/// The label that transformers leaves out of a loss.
const LEFT_OUT: i64 = -100;

/// What the model is given, and how it lies in the file.
#[derive(Debug)]
pub(super) struct Inputs {
    /// Without padding.
    pub(super) sequences: Vec<Sequence>,
    /// Per sequence, the positions that are not padding, ascending.
    pub(super) kept: Vec<Vec<usize>>,
    /// Positions of a row, padding included.
    pub(super) width: usize,
    pub(super) mask: Option<HeadMask>,
    /// One a sequence, if a loss or a gradient is compared.
    pub(super) targets: Option<Vec<Target>>,
    /// Share of each sequence's own loss in the mean over the batch, as transformers takes it.
    pub(super) shares: Vec<f64>,
    /// Whether the loss of the file is that mean; otherwise there is one a sequence, and gradients
    /// are those of the sum.
    pub(super) mean: bool,
}

/// Inputs that only losses depend on.
const TARGETS: [&str; 5] = [
    "labels",
    "targets",
    "next_sentence_label",
    "start_positions",
    "end_positions",
];

impl Inputs {
    /// The factor that a gradient of the sequence's own loss has in the gradient of the file's.
    pub(super) fn weight(&self, sequence: usize) -> f64 {
        if self.mean {
            self.shares[sequence]
        } else {
            1.0
        }
    }

    pub(super) fn read(
        account: &mut Account<'_>,
        arch: &Architecture,
    ) -> Result<Self, ReferenceError> {
        let Some(ids) = account.input("input_ids") else {
            return Err(ReferenceError::MissingInput {
                name: "input_ids",
                reason: "the model must be run on the same tokens",
            });
        };
        let &[batch, width] = ids.tensor.shape.as_slice() else {
            return Err(ids.wrong_shape("it must be [batch, positions]"));
        };
        if batch == 0 || width == 0 {
            return Err(ids.wrong_shape("there must be at least one sequence and one position"));
        }
        let rows = Rows { batch, width };
        let ids = rows.ids(ids)?;
        let kept = rows.kept(account.input("attention_mask"))?;
        if arch.positions.ignores_ids() {
            let reason = "the model has relative positions only";
            account.drop_input("position_ids", reason);
        }
        let positions = rows.positions(account.input("position_ids"), &ids, arch)?;
        let segments = rows.segments(account, arch)?;
        let sequences = (0..batch)
            .map(|b| Sequence {
                ids: rows.pick(&ids, b, &kept),
                segments: rows.pick(&segments, b, &kept),
                positions: rows.pick(&positions, b, &kept),
            })
            .collect();
        // Distances are counted in the text as it is taken.
        if arch.positions != Positions::Absolute
            || arch.score_bias != ScoreBias::None
            || arch.disentangled.is_some()
        {
            rows.refuse_holes(&kept)?;
        }
        rows.check_pooling(account, &ids, &kept, arch)?;
        let loss = account.results.iter().find(|(q, _)| *q == Quantity::Loss);
        // Gradients without a loss are taken for those of what transformers calls the loss.
        let mean = loss.is_none_or(|(_, named)| {
            batch > 1 && named.tensor.shape.iter().product::<usize>() == 1
        });
        let mut inputs = Self {
            sequences,
            kept,
            width,
            mask: mask(account, arch)?,
            targets: None,
            shares: vec![1.0 / batch as f64; batch],
            mean,
        };
        inputs.read_targets(account, arch, rows)?;
        Ok(inputs)
    }

    fn read_targets(
        &mut self,
        account: &mut Account<'_>,
        arch: &Architecture,
        rows: Rows,
    ) -> Result<(), ReferenceError> {
        let needs = |(quantity, _): &&(Quantity, Named<'_>)| {
            *quantity == Quantity::Loss || quantity.is_gradient()
        };
        let Some((_, wanting)) = account.results.iter().find(needs) else {
            for name in TARGETS {
                account.drop_input(name, "no loss and no gradient to compare");
            }
            return Ok(());
        };
        let wanting = wanting.name.to_owned();
        let causal = arch.head == TaskHead::CausalLm;
        if causal && account.input("targets").is_some() {
            account.drop_input("labels", "targets are the same, one place to the left");
        } else {
            account.drop_input("targets", "only causal language models read them");
        }
        if arch.head == TaskHead::QuestionAnswering {
            account.drop_input("labels", "answers have a first and a last token");
        } else {
            for name in ["start_positions", "end_positions"] {
                account.drop_input(name, "only question answering reads it");
            }
        }
        let labels = account.input("targets").or_else(|| account.input("labels"));
        let labels = labels.ok_or(ReferenceError::MissingInput {
            name: "labels",
            reason: "a loss and gradients need the labels that they were computed with",
        });
        let targets = match &arch.head {
            TaskHead::QuestionAnswering => self.spans(account)?,
            TaskHead::None => {
                labels?;
                return Err(ReferenceError::NotComputed {
                    name: wanting,
                    reason: "this model has no task head, hence no loss; leave losses and \
                             gradients out, or verify the model that the reference came from"
                        .into(),
                });
            }
            TaskHead::SequenceClassification {
                problem,
                num_labels,
            } => classes(labels?, rows.batch, *problem, *num_labels)?,
            TaskHead::NextSentence => each(labels?, rows.batch, Target::NextSentence)?,
            TaskHead::TokenClassification { .. } | TaskHead::ReplacedTokens => {
                let labels = labels?;
                let tokens = rows.tokens(labels, false, &self.kept)?;
                self.share_tokens(labels, &tokens)?;
                tokens.into_iter().map(Target::TokenLabels).collect()
            }
            TaskHead::MaskedLm | TaskHead::CausalLm | TaskHead::PreTraining => {
                let labels = labels?;
                let shift = causal && labels.name.ends_with("labels");
                let tokens = rows.tokens(labels, shift, &self.kept)?;
                self.share_tokens(labels, &tokens)?;
                let tokens = tokens.into_iter().map(Target::Tokens);
                match account.input("next_sentence_label") {
                    Some(next) if arch.head == TaskHead::PreTraining => {
                        self.check_even(next)?;
                        let next = each(next, rows.batch, Target::NextSentence)?;
                        tokens.zip(next).map(both).collect()
                    }
                    _ => tokens.collect(),
                }
            }
        };
        if arch.head != TaskHead::PreTraining {
            account.drop_input("next_sentence_label", "only models with both heads read it");
        }
        self.targets = Some(targets);
        Ok(())
    }

    /// The first and the last token of every answer, where padding does not count.
    fn spans(&self, account: &Account<'_>) -> Result<Vec<Target>, ReferenceError> {
        let places = |name: &'static str| {
            let named = account.input(name).ok_or(ReferenceError::MissingInput {
                name,
                reason: "a loss and gradients need the answers that they were computed with",
            })?;
            let values = named.integers()?;
            if values.len() != self.kept.len() {
                let needs = format!("one position a sequence is needed, [{}]", self.kept.len());
                return Err(named.wrong_shape(needs));
            }
            let place = |(b, value): (usize, &i64)| {
                let place = self.kept[b].iter().position(|kept| *kept as i64 == *value);
                place.ok_or_else(|| {
                    let reason = format!("{value} is not the position of a token");
                    named.wrong_value(b, reason)
                })
            };
            values
                .iter()
                .enumerate()
                .map(place)
                .collect::<Result<Vec<_>, _>>()
        };
        let (starts, ends) = (places("start_positions")?, places("end_positions")?);
        let spans = starts.into_iter().zip(ends);
        Ok(spans
            .map(|(start, end)| Target::Span { start, end })
            .collect())
    }

    /// A language model's loss is the mean over the tokens of the whole batch.
    fn share_tokens(
        &mut self,
        labels: Named<'_>,
        tokens: &[Vec<Option<u32>>],
    ) -> Result<(), ReferenceError> {
        let counts: Vec<usize> = tokens.iter().map(|t| t.iter().flatten().count()).collect();
        let all: usize = counts.iter().sum();
        if all == 0 {
            return Err(labels.wrong_value(0, "no label counts in any sequence: all are -100"));
        }
        self.shares = counts.iter().map(|n| *n as f64 / all as f64).collect();
        Ok(())
    }

    /// The two parts of a pre-training loss are averaged over different things.
    fn check_even(&self, labels: Named<'_>) -> Result<(), ReferenceError> {
        let first = self.shares[0];
        if self.mean && self.shares.iter().any(|share| *share != first) {
            return Err(labels.wrong_value(
                0,
                "the mean loss of a model with two heads can be taken apart only where all \
                 sequences have equally many masked tokens; write one sequence a file",
            ));
        }
        Ok(())
    }
}

fn both((tokens, next): (Target, Target)) -> Target {
    match (tokens, next) {
        (Target::Tokens(tokens), Target::NextSentence(next_sentence)) => Target::PreTraining {
            tokens,
            next_sentence,
        },
        (tokens, _) => tokens,
    }
}

fn each(
    labels: Named<'_>,
    batch: usize,
    target: impl Fn(usize) -> Target,
) -> Result<Vec<Target>, ReferenceError> {
    let values = labels.integers()?;
    if values.len() != batch {
        return Err(labels.wrong_shape(format!("one class a sequence is needed, [{batch}]")));
    }
    let class = |(b, value): (usize, &i64)| {
        usize::try_from(*value).map(&target).map_err(|_| {
            labels.wrong_value(
                b,
                format!("{value} is not a class; take the sequence out of the reference"),
            )
        })
    };
    values.iter().enumerate().map(class).collect()
}

fn classes(
    labels: Named<'_>,
    batch: usize,
    problem: Problem,
    num_labels: usize,
) -> Result<Vec<Target>, ReferenceError> {
    match problem {
        Problem::SingleLabel => each(labels, batch, Target::Label),
        Problem::Regression => {
            let values = labels.numbers()?;
            if values.len() != batch {
                return Err(labels.wrong_shape(format!("one number a sequence, [{batch}]")));
            }
            Ok(values.into_iter().map(Target::Value).collect())
        }
        Problem::MultiLabel => {
            let values = labels.numbers()?;
            if labels.tensor.shape != [batch, num_labels] {
                let needs = format!("one flag a label is needed, [{batch}, {num_labels}]");
                return Err(labels.wrong_shape(needs));
            }
            let flags = |(b, row): (usize, &[f64])| match row.iter().find(|v| v.fract() != 0.0) {
                Some(value) => Err(labels.wrong_value(b, format!("{value} is neither 0 nor 1"))),
                None => Ok(Target::Labels(row.iter().map(|v| *v == 1.0).collect())),
            };
            let rows = values.chunks_exact(num_labels).enumerate();
            rows.map(flags).collect()
        }
    }
}

fn mask(account: &Account<'_>, arch: &Architecture) -> Result<Option<HeadMask>, ReferenceError> {
    let Some(named) = account.input("head_mask") else {
        return Ok(None);
    };
    let (layers, heads) = (arch.num_layers, arch.num_heads);
    let values = named.numbers()?;
    let values = match named.tensor.shape.as_slice() {
        [n] if *n == heads => values.repeat(layers),
        [l, n] if (*l, *n) == (layers, heads) => values,
        _ => {
            return Err(
                named.wrong_shape(format!("it must be [layers, heads], [{layers}, {heads}]"))
            );
        }
    };
    HeadMask::from_values(layers, heads, values)
        .map(Some)
        .map_err(|error| named.wrong_value(0, error.to_string()))
}

/// The shape of the batch.
#[derive(Debug, Clone, Copy)]
struct Rows {
    batch: usize,
    width: usize,
}

impl Rows {
    fn integers(self, named: Named<'_>) -> Result<Vec<i64>, ReferenceError> {
        let values = named.integers()?;
        let (batch, width) = (self.batch, self.width);
        match named.tensor.shape.as_slice() {
            [b, s] if (*b, *s) == (batch, width) => Ok(values),
            [1, s] if *s == width => Ok(values.repeat(batch)),
            _ => Err(named.wrong_shape(format!("input_ids are [{batch}, {width}]"))),
        }
    }

    fn ids(self, named: Named<'_>) -> Result<Vec<u32>, ReferenceError> {
        let id = |(i, value)| {
            u32::try_from(value)
                .map_err(|_| named.wrong_value(i / self.width, format!("{value} is not an id")))
        };
        self.integers(named)?
            .into_iter()
            .enumerate()
            .map(id)
            .collect()
    }

    /// The positions of every row that are not padding.
    fn kept(self, mask: Option<Named<'_>>) -> Result<Vec<Vec<usize>>, ReferenceError> {
        let Some(mask) = mask else {
            return Ok(vec![(0..self.width).collect(); self.batch]);
        };
        let values = match mask.integers() {
            Ok(_) => self.integers(mask)?,
            // Some write it as a float.
            Err(_) if mask.tensor.shape == [self.batch, self.width] => {
                let values = mask.numbers()?;
                values
                    .iter()
                    .map(|v| if v.fract() == 0.0 { *v as i64 } else { -1 })
                    .collect()
            }
            Err(error) => return Err(error),
        };
        let row = |(b, row): (usize, &[i64])| {
            if let Some(value) = row.iter().find(|v| !matches!(v, 0 | 1)) {
                let reason = format!("{value} is neither 1 (a token) nor 0 (padding)");
                return Err(mask.wrong_value(b, reason));
            }
            let kept: Vec<usize> = (0..self.width).filter(|s| row[*s] == 1).collect();
            if kept.is_empty() {
                let reason = "every position is padding; take it out of the reference";
                return Err(mask.wrong_value(b, reason));
            }
            Ok(kept)
        };
        values
            .chunks_exact(self.width)
            .enumerate()
            .map(row)
            .collect()
    }

    /// The rows of the position table that transformers reads, which counts padding as well.
    fn positions(
        self,
        given: Option<Named<'_>>,
        ids: &[u32],
        arch: &Architecture,
    ) -> Result<Vec<u32>, ReferenceError> {
        if let Some(given) = given {
            return self.ids(given);
        }
        if arch.positions.ignores_ids() {
            return Ok(Vec::new());
        }
        let row = |row: &[u32]| -> Vec<u32> {
            match arch.position_ids {
                PositionIds::FromZero => (0..).take(row.len()).collect(),
                PositionIds::AfterPadding { pad_id } => {
                    let mut count = 0;
                    let position = |id: &u32| {
                        let real = u32::from(*id != pad_id);
                        count += real;
                        pad_id + real * count
                    };
                    row.iter().map(position).collect()
                }
            }
        };
        Ok(ids.chunks_exact(self.width).flat_map(row).collect())
    }

    fn segments(
        self,
        account: &mut Account<'_>,
        arch: &Architecture,
    ) -> Result<Vec<u32>, ReferenceError> {
        let Some(named) = account.input("token_type_ids") else {
            return Ok(Vec::new());
        };
        let segments = self.ids(named)?;
        if arch.segments == Segments::None && segments.iter().all(|segment| *segment == 0) {
            account.drop_input("token_type_ids", "all 0, and this family has no segments");
            return Ok(Vec::new());
        }
        Ok(segments)
    }

    fn pick(self, values: &[u32], b: usize, kept: &[Vec<usize>]) -> Vec<u32> {
        match values.get(b * self.width..(b + 1) * self.width) {
            Some(row) => kept[b].iter().map(|s| row[*s]).collect(),
            None => Vec::new(),
        }
    }

    /// Without explicit positions a text with padding inside it cannot be told from one without.
    fn refuse_holes(self, kept: &[Vec<usize>]) -> Result<(), ReferenceError> {
        for (sequence, kept) in kept.iter().enumerate() {
            if kept.last().map(|last| last - kept[0] + 1) != Some(kept.len()) {
                return Err(ReferenceError::Input {
                    name: "attention_mask".into(),
                    sequence,
                    reason: "there is padding inside the text, which a model with relative \
                             positions cannot be given here; pad at the ends only"
                        .into(),
                });
            }
        }
        Ok(())
    }

    /// Refuses batches in which a classifier reads a position of padding, as transformers lets it.
    fn check_pooling(
        self,
        account: &Account<'_>,
        ids: &[u32],
        kept: &[Vec<usize>],
        arch: &Architecture,
    ) -> Result<(), ReferenceError> {
        let classifier = matches!(
            arch.head,
            TaskHead::SequenceClassification { .. }
                | TaskHead::NextSentence
                | TaskHead::PreTraining
        );
        let reads = account.results.iter().any(|(quantity, _)| match quantity {
            Quantity::Tap(_, Tap::Model(ModelSite::Pooled | ModelSite::Logits)) => true,
            other => classifier && (*other == Quantity::Loss || other.is_gradient()),
        });
        // Without a padding id transformers takes one text at a time, and its end is the row's only
        // if there is one row.
        let by_text = arch.pooling == Pooling::Last && arch.pad_id.is_none() && self.batch > 1;
        // A mean leaves padding out.
        if !reads || by_text || matches!(arch.pooling, Pooling::Mean | Pooling::MeanOfPooled) {
            return Ok(());
        }
        for (sequence, row) in ids.chunks_exact(self.width).enumerate() {
            let place = match (arch.pooling, arch.pad_id) {
                (Pooling::First | Pooling::Mean | Pooling::MeanOfPooled, _) => 0,
                (Pooling::Last, Some(pad)) => row.iter().rposition(|id| *id != pad).unwrap_or(0),
                (Pooling::Last, None) => self.width - 1,
            };
            if !kept[sequence].contains(&place) {
                return Err(ReferenceError::Input {
                    name: "attention_mask".into(),
                    sequence,
                    reason: format!(
                        "the pooler or classifier reads position {place}, which is padding, so \
                         that what it gives says nothing about the text; pad {}",
                        match arch.pooling {
                            Pooling::First | Pooling::Mean | Pooling::MeanOfPooled =>
                                "on the right (tokenizer.padding_side = \"right\")",
                            Pooling::Last => "with the padding id of config.json",
                        }
                    ),
                });
            }
        }
        Ok(())
    }

    /// Per sequence and token, what its logits should give.
    fn tokens(
        self,
        labels: Named<'_>,
        shift: bool,
        kept: &[Vec<usize>],
    ) -> Result<Vec<Vec<Option<u32>>>, ReferenceError> {
        let values = self.integers(labels)?;
        let one = |(b, row): (usize, &[i64])| {
            let target = |s: usize| {
                let from = s + usize::from(shift);
                row.get(from).copied().filter(|label| *label != LEFT_OUT)
            };
            let padding = |s: &usize| kept[b].binary_search(s).is_err();
            let counted = (0..self.width)
                .filter(padding)
                .find(|s| target(*s).is_some());
            if let Some(s) = counted {
                let place = s + usize::from(shift);
                let reason = format!(
                    "the label at position {place} counts, but it is for the logits at position \
                     {s}, which is padding; set it to -100"
                );
                return Err(labels.wrong_value(b, reason));
            }
            let id = |s: &usize| match target(*s) {
                None => Ok(None),
                Some(label) => u32::try_from(label).map(Some).map_err(|_| {
                    let reason = format!("{label} is neither an id nor -100");
                    labels.wrong_value(b, reason)
                }),
            };
            kept[b].iter().map(id).collect()
        };
        values
            .chunks_exact(self.width)
            .enumerate()
            .map(one)
            .collect()
    }
}

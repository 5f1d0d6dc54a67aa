//! From two treebanks to a table: training, baselines, scores.

use std::ops::RangeInclusive;

use bertology::attention::{RowMode, Supply};
use bertology::drive::Work;
use bertology::{HeadId, LoadedModel, Watch};
use serde::Serialize;

use crate::probe::{Alignment, Kind, Parameter, Probe, Shape};
use crate::score::{Uas, at_offset};
use crate::sentences::{Account, Reader, Sentence};
use crate::vectors::Vectors;
use crate::{Adam, Error, Example, Features, MapCache, Precision};

/// What is trained, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The probes.
    pub kinds: Vec<Kind>,
    /// Which candidate bears which word's vector.
    pub alignment: Alignment,
    /// Adam's constants.
    pub adam: Adam,
    /// Passes over the training sentences, in file order; a step per sentence.
    pub epochs: usize,
    /// Seed of the first values.
    pub seed: u64,
    /// How words of several tokens attend.
    pub rows: RowMode,
    /// How exactly word maps are kept.
    pub precision: Precision,
    /// Offsets among which the best one is searched on the training sentences; 0 is passed over.
    pub offsets: RangeInclusive<i32>,
    /// How the work is spread.
    pub work: Work,
}

impl Default for Options {
    /// Those of the paper's code, with the alignment repaired.
    fn default() -> Self {
        Self {
            kinds: Kind::ALL.to_vec(),
            alignment: Alignment::Correct,
            adam: Adam {
                learning_rate: 0.002,
                ..Adam::default()
            },
            epochs: 1,
            seed: 42,
            rows: RowMode::Mean,
            precision: Precision::F16,
            offsets: -3..=2,
            work: Work::default(),
        }
    }
}

/// A baseline or a probe on the sentences that it was not trained on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// `right-branching`, `best offset`, or the probe's name.
    pub name: String,
    /// Numbers that were learnt.
    pub parameters: usize,
    /// How often it is right.
    pub uas: Uas,
}

/// How a probe's training went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Curve {
    /// The probe.
    pub kind: Kind,
    /// Mean loss of a word in nats, one number an epoch: each sentence before the step on it.
    pub loss_per_word: Vec<f64>,
}

/// The weights of the probe on attention alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// The heads, in order.
    pub heads: Vec<HeadId>,
    /// For each head the weight of its attention from the word to the candidate (w).
    pub to_candidate: Vec<f32>,
    /// For each head the weight of its attention from the candidate to the word (u).
    pub from_candidate: Vec<f32>,
    /// Factors of the evidence for ROOT: first column, last column (causal models: first alone).
    pub root: Vec<f32>,
}

/// What came out.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Baselines, then probes.
    pub rows: Vec<Row>,
    /// Of each probe.
    pub curves: Vec<Curve>,
    /// The offset that is right most often on the training sentences (punctuation left out).
    pub best_offset: i32,
    /// Of the probe on attention alone, if it was trained.
    pub weights: Option<Weights>,
    /// What was read to train on.
    pub train: Account,
    /// What was read to score on.
    pub dev: Account,
    /// Words without a vector, of those trained on and of those scored on.
    pub unknown_words: [u64; 2],
}

/// Trains the probes on one treebank and scores them on another.
///
/// All probes are trained side by side, so that each sentence goes through the model once an epoch, or once in
/// all where it is in the cache. The result is a function of inputs and options: a run that was stopped comes
/// to the same result when it is begun again, the sooner the more maps it had kept.
///
/// # Errors
/// Inputs that the model cannot take; a treebank without a usable sentence; losses that are not finite; an
/// interruption.
pub fn run<P: Supply<Item = Sentence>>(
    model: &LoadedModel,
    train: &P,
    dev: &P,
    vectors: &Vectors,
    options: &Options,
    mut cache: Option<&mut MapCache>,
    watch: &mut dyn Watch,
) -> Result<Outcome, Error> {
    let reader = Reader::new(
        model,
        options.rows,
        options.precision,
        options.work,
        options.kinds.iter().any(|kind| kind.reads_attention()),
    );
    let shape = Shape {
        channels: reader.channels(),
        roots: reader.roots(),
        dim: vectors.dim(),
    };
    let maker = Maker {
        reader: &reader,
        vectors,
        words: options.kinds.iter().any(|kind| kind.reads_words()),
    };
    let mut probes: Vec<Probe> = options
        .kinds
        .iter()
        .map(|kind| Probe::new(*kind, shape, options.alignment, options.adam, options.seed))
        .collect();
    let mut curves: Vec<Curve> = options
        .kinds
        .iter()
        .map(|kind| Curve {
            kind: *kind,
            loss_per_word: Vec::new(),
        })
        .collect();
    let mut train_account = Account::default();
    let mut unknown = [0, 0];
    let mut offsets: Vec<(i32, Uas)> = options
        .offsets
        .clone()
        .filter(|offset| *offset != 0)
        .map(|offset| (offset, Uas::default()))
        .collect();
    for epoch in 0..options.epochs {
        let mut losses = vec![0.0; probes.len()];
        train_account = reader.pass(train, cache.as_deref_mut(), watch, |at, sentence, maps| {
            let example = maker.example(sentence, maps, &mut unknown[0])?;
            for (probe, loss) in probes.iter_mut().zip(&mut losses) {
                *loss += probe.step(at, &example)?;
            }
            if epoch == 0 {
                for (offset, count) in &mut offsets {
                    *count += score(&at_offset(sentence.heads.len(), *offset), sentence);
                }
            }
            Ok(())
        })?;
        some(train_account, train)?;
        for (curve, loss) in curves.iter_mut().zip(losses) {
            curve.loss_per_word.push(loss / train_account.words as f64);
        }
    }
    unknown[0] /= options.epochs.max(1) as u64;

    // The first of equals.
    let best_offset = offsets
        .iter()
        .rev()
        .max_by_key(|(_, count)| count.without_punct.part)
        .map_or(1, |(offset, _)| *offset);
    let mut rows: Vec<Row> = [("right-branching", 1), ("best offset", best_offset)]
        .map(|(name, _)| Row {
            name: name.into(),
            parameters: 0,
            uas: Uas::default(),
        })
        .into_iter()
        .chain(probes.iter().map(|probe| Row {
            name: probe.kind().name().into(),
            parameters: probe.size(),
            uas: Uas::default(),
        }))
        .collect();
    let dev_account = reader.pass(dev, None, watch, |_, sentence, maps| {
        let example = maker.example(sentence, maps, &mut unknown[1])?;
        let words = sentence.heads.len();
        let predicted = [Ok(at_offset(words, 1)), Ok(at_offset(words, best_offset))]
            .into_iter()
            .chain(probes.iter().map(|probe| probe.predict(&example)));
        for (row, predicted) in rows.iter_mut().zip(predicted) {
            row.uas += score(&predicted?, sentence);
        }
        Ok(())
    })?;
    some(dev_account, dev)?;
    Ok(Outcome {
        rows,
        curves,
        best_offset,
        weights: weights(&probes, &reader),
        train: train_account,
        dev: dev_account,
        unknown_words: unknown,
    })
}

fn score(predicted: &[u32], sentence: &Sentence) -> Uas {
    let mut uas = Uas::default();
    uas.add(predicted, &sentence.heads, &sentence.punct);
    uas
}

fn some<P: Supply>(account: Account, supply: &P) -> Result<(), Error> {
    if account.sentences > 0 {
        return Ok(());
    }
    Err(Error::NoSentences {
        path: supply.path().to_owned(),
        reason: format!(
            "{} too long for the model, {} left out for other reasons",
            account.too_long, account.left_out
        ),
    })
}

fn weights(probes: &[Probe], reader: &Reader<'_>) -> Option<Weights> {
    let mut probes = probes.iter();
    let probe = probes.find(|probe| probe.kind() == Kind::Attention)?;
    let heads: Vec<HeadId> = reader.heads().collect();
    let mut weights = Weights {
        to_candidate: Vec::new(),
        from_candidate: Vec::new(),
        root: Vec::new(),
        heads,
    };
    for Parameter { name, values, .. } in probe.parameters() {
        if name == "root" {
            weights.root = values;
        } else {
            let (w, u) = values.split_at(weights.heads.len());
            (weights.to_candidate, weights.from_candidate) = (w.to_vec(), u.to_vec());
        }
    }
    Some(weights)
}

/// Makes of a sentence what the probes take.
struct Maker<'a> {
    reader: &'a Reader<'a>,
    vectors: &'a Vectors,
    words: bool,
}

impl Maker<'_> {
    fn example(
        &self,
        sentence: &Sentence,
        maps: &[f32],
        unknown: &mut u64,
    ) -> Result<Example, Error> {
        let features = if self.reader.maps {
            self.reader.features(sentence, maps)?
        } else {
            Features::none(sentence.heads.len())
        };
        let mut vectors = Vec::new();
        if self.words {
            *unknown += self.vectors.of(sentence, &mut vectors);
        }
        Ok(Example {
            features,
            vectors,
            heads: sentence.heads.clone(),
        })
    }
}

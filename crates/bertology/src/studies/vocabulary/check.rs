//! The smaller model on disk, against the whole one.

use std::path::Path;

use bertology_checkpoint::{Cut, OpenOptions, WriteOptions, WriteReport, write_cut};
use bertology_data::Source;
use bertology_model::{
    Capture, Interests, LayerSite, ModelSite, Observer, PackedBatch, PassOptions, Sequence,
    Workspace,
};
use bertology_tokenizer::Encoding;

use super::{Inputs, Vocabulary, each};
use crate::objective::Objective;
use crate::studies::pruning::same_head;
use crate::{Error, LoadedModel, VocabularyError, Watch};

/// Texts for which everything that the two models compute is compared, of each source.
const COMPARED: usize = 8;
/// Largest difference of two logits of one token, relative to the largest: with fewer tokens the sums of a product may be
/// taken in another order. All other values are the same to the last bit.
const LOGITS: f32 = 1e-5;

/// A checkpoint of fewer tokens, checked.
#[derive(Debug, Clone)]
pub struct Written {
    /// Opened from what was written, its passes where those of the whole model run.
    pub model: LoadedModel,
    /// Files and sizes.
    pub report: WriteReport,
    /// Texts whose pieces were compared: all of the corpus.
    pub texts: u64,
    /// Texts whose hidden states and logits were compared.
    pub compared: u64,
}

/// Writes the checkpoint of `model` with the tokens of `vocabulary` alone into `folder`, opens it again and compares it with
/// `model` on all texts of `sources`, of which the vocabulary must have been chosen: their pieces, and for the first few
/// whatever the models compute. Where something differs, what was written is removed.
///
/// # Errors
/// What [`write_cut`] refuses; [`VocabularyError::OtherPieces`] or [`VocabularyError::OtherValues`] if the two differ; an interruption.
pub fn write(
    model: &LoadedModel,
    vocabulary: &Vocabulary,
    sources: &[Source],
    folder: &Path,
    options: &WriteOptions,
    watch: &mut dyn Watch,
) -> Result<Written, Error> {
    let cut = Cut::default().tokens(vocabulary.cut());
    let report = write_cut(model.checkpoint(), &cut, folder, options)?;
    let checked = check(model, vocabulary, sources, folder, watch);
    let (smaller, texts, compared) = checked.inspect_err(|_| {
        for name in &report.files {
            let _ = std::fs::remove_file(folder.join(name));
        }
        // What else is there was there before.
        let _ = std::fs::remove_dir(folder);
    })?;
    Ok(Written {
        model: smaller,
        report,
        texts,
        compared,
    })
}

fn check(
    model: &LoadedModel,
    vocabulary: &Vocabulary,
    sources: &[Source],
    folder: &Path,
    watch: &mut dyn Watch,
) -> Result<(LoadedModel, u64, u64), Error> {
    let open = OpenOptions::new().open_as(same_head(&model.architecture().head));
    // What follows is done with the smaller model, and its values are compared to the last bit.
    let smaller = LoadedModel::open_with(folder, &open.allow_unexpected(true))?.placed_as(model)?;
    let (mut texts, mut compared) = (0, 0);
    let mut of_source = (None, 0);
    each(sources, watch, |inputs| {
        for (input, (old, new)) in inputs.all.iter().zip(both(model, &smaller, inputs)?) {
            if !same_pieces(vocabulary, &old, &new) {
                return Err(VocabularyError::OtherPieces {
                    path: input.path.clone(),
                    line: input.line,
                }
                .into());
            }
            texts += input.texts();
            if of_source.0.as_ref() != Some(&input.path) {
                of_source = (Some(input.path.clone()), 0);
            }
            if of_source.1 < COMPARED {
                of_source.1 += 1;
                compared += 1;
                let fitting = |encoding| fitting(encoding, model);
                let (old, new) = (fitting(old), fitting(new));
                same_values(model, &smaller, vocabulary, &old, &new).map_err(|e| input.at(e))?;
            }
        }
        Ok(())
    })?;
    Ok((smaller, texts, compared))
}

/// What both tokenizers make of some inputs.
fn both(
    whole: &LoadedModel,
    smaller: &LoadedModel,
    inputs: &Inputs,
) -> Result<impl Iterator<Item = (Encoding, Encoding)> + use<>, Error> {
    let old = inputs.encoded(whole.tokenizer()?)?;
    let new = inputs.encoded(smaller.tokenizer()?)?;
    Ok(old.into_iter().zip(new))
}

fn same_pieces(vocabulary: &Vocabulary, old: &Encoding, new: &Encoding) -> bool {
    let ids = old.ids.iter().map(|id| vocabulary.id(*id));
    ids.eq(new.ids.iter().copied().map(Some))
        && (&old.segment_ids, &old.offsets) == (&new.segment_ids, &new.offsets)
}

/// As much of an encoding as the model takes.
fn fitting(mut encoding: Encoding, model: &LoadedModel) -> Sequence {
    let most = model.architecture().max_tokens();
    encoding.ids.truncate(most);
    encoding.segment_ids.truncate(most);
    LoadedModel::sequence(encoding)
}

/// Whatever both models compute for one text.
fn same_values(
    whole: &LoadedModel,
    smaller: &LoadedModel,
    vocabulary: &Vocabulary,
    old: &Sequence,
    new: &Sequence,
) -> Result<(), Error> {
    if old.is_empty() {
        return Ok(());
    }
    let ((states, before), (found, after)) = (values(whole, old)?, values(smaller, new)?);
    let differs = |what| Error::from(VocabularyError::OtherValues { what });
    let same = states.len() == found.len()
        && states.iter().zip(&found).all(|(a, b)| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
        });
    if !same {
        return Err(differs("hidden states or the logits of the task"));
    }
    let (rows, left) = vocabulary.rows();
    if before.is_empty() != after.is_empty() || before.len() / rows != after.len() / left.max(1) {
        return Err(differs("logits of tokens"));
    }
    let largest = before.iter().fold(1.0_f32, |max, v| max.max(v.abs()));
    for (old, new) in before.chunks(rows).zip(after.chunks(left.max(1))) {
        let kept = vocabulary.kept().zip(new);
        // `total_cmp` would not do: NaN differs from everything.
        let near = |a: f32, b: f32| (a - b).abs() <= LOGITS * largest;
        let same = kept.map(|(kept, new)| near(old[kept.old as usize], *new));
        if !{ same }.all(|same| same) {
            return Err(differs("logits of tokens"));
        }
    }
    Ok(())
}

/// Every hidden state and the logits of the task; the logits of tokens of all positions, where there is a head for them.
type Values = (Vec<Vec<f32>>, Vec<f32>);

fn values(model: &LoadedModel, sequence: &Sequence) -> Result<Values, Error> {
    let arch = model.architecture();
    let batch = PackedBatch::new(arch, std::slice::from_ref(sequence))?;
    let mut capture = Capture::new(
        Interests::none()
            .value(LayerSite::HiddenState)
            .value(ModelSite::Logits),
    );
    let observers: &mut [&mut dyn Observer<f32>] = &mut [&mut capture];
    let options = PassOptions {
        token_logits: matches!(
            Objective::of(&arch.head),
            Some(Objective::CausalLm { .. } | Objective::MaskedLm { .. })
        ),
        ..PassOptions::default()
    };
    let run = model
        .model()
        .run(&batch, &options, &mut Workspace::new(), observers)?;
    let output = run.sequences.into_iter().next();
    let tokens = output.and_then(|output| output.token_logits);
    let states = capture.iter().map(|(_, _, _, _, value)| value.data.clone());
    Ok((states.collect(), tokens.unwrap_or_default()))
}

/// What a smaller vocabulary does to texts that need not be of its corpus.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Missing {
    /// Inputs: texts, pairs, sentences in words.
    pub inputs: u64,
    /// Tokens that the whole vocabulary makes of them, uncut, special tokens around texts included.
    pub tokens: u64,
    /// Of these, tokens that the smaller one does not have.
    pub gone: u64,
    /// Inputs that have such a token, and so are other pieces now.
    pub changed: u64,
    /// Tokens that the smaller vocabulary makes of them.
    pub tokens_now: u64,
    /// Unknown tokens before.
    pub unknown: u64,
    /// Unknown tokens now.
    pub unknown_now: u64,
}

/// Counts what a smaller vocabulary lacks of the texts of `source`, and what becomes of them.
///
/// # Errors
/// As [`tally`](super::tally).
pub fn missing(
    whole: &LoadedModel,
    smaller: &LoadedModel,
    vocabulary: &Vocabulary,
    source: &Source,
    watch: &mut dyn Watch,
) -> Result<Missing, Error> {
    let mut found = Missing::default();
    let count = |encoding: &Encoding, id: Option<u32>| {
        let same = encoding.ids.iter().filter(|other| Some(**other) == id);
        same.count() as u64
    };
    let unknown = [whole.tokenizer()?.unk_id(), smaller.tokenizer()?.unk_id()];
    each(std::slice::from_ref(source), watch, |inputs| {
        for (old, new) in both(whole, smaller, inputs)? {
            let gone = old.ids.iter().filter(|id| vocabulary.id(**id).is_none());
            let gone = gone.count() as u64;
            found.inputs += 1;
            found.tokens += old.len() as u64;
            found.gone += gone;
            found.changed += u64::from(gone > 0);
            found.tokens_now += new.len() as u64;
            found.unknown += count(&old, unknown[0]);
            found.unknown_now += count(&new, unknown[1]);
        }
        Ok(())
    })?;
    Ok(found)
}

//! What a teacher says: of every example at once, and of its hidden states batch by batch.

use std::sync::PoisonError;

use bertology::checkpoint::NormPlacement;
use bertology::model::{
    Capture, Interests, LayerSite, ModelSite, Observer, PackedBatch, PassOptions, Tap,
    TrainingWorkspace, Workspace,
};
use bertology::{Architecture, LoadedModel, Sequence};

use super::examples::Examples;
use crate::Error;

/// Examples that a teacher sees in one pass.
const AT_ONCE: usize = 16;

/// Refuses a teacher whose hidden states are not those of the same tokens, or not of the same shape.
pub(super) fn check(
    teacher: &LoadedModel,
    inputs: &Examples,
    student: &Architecture,
    examples: &Examples,
) -> Result<(), Error> {
    let of = teacher.architecture();
    for (what, found, expected) in [
        ("layers", of.num_layers, student.num_layers),
        ("hidden units", of.hidden_size, student.hidden_size),
    ] {
        if found != expected {
            return Err(Error::TeacherShape {
                what,
                found,
                expected,
            });
        }
    }
    let pairs = inputs.all.iter().zip(&examples.all);
    match pairs
        .into_iter()
        .position(|(theirs, own)| theirs.sequence != own.sequence)
    {
        Some(example) => Err(Error::TeacherTokens { example }),
        None => Ok(()),
    }
}

/// The outputs of all blocks of every sequence: `[sequence][layer]`, each `[tokens, hidden]`.
pub(super) fn states(
    teacher: &LoadedModel,
    sequences: &[Sequence],
    work: &TrainingWorkspace<f32>,
) -> Result<Vec<Vec<Vec<f32>>>, Error> {
    let arch = teacher.architecture();
    let mut wanted = Interests::none().value(LayerSite::HiddenState);
    let final_norm = arch.norm == NormPlacement::Pre;
    if final_norm {
        wanted = wanted.value(ModelSite::LastResidual);
    }
    let mut all: Vec<Vec<Vec<f32>>> = vec![vec![Vec::new(); arch.num_layers]; sequences.len()];
    over(sequences, &mut all, work, |sequences, all| {
        let batch = PackedBatch::new(arch, sequences)?;
        let mut capture = Capture::new(wanted);
        let observers: &mut [&mut dyn Observer<f32>] = &mut [&mut capture];
        let (options, workspace) = (PassOptions::default(), &mut Workspace::new());
        teacher
            .model()
            .run(&batch, &options, workspace, observers)?;
        for (_, tap, sequence, _, value) in capture.iter() {
            let layer = match tap {
                // Behind the last norm, which is not the block's.
                Tap::Layer(layer, _) if final_norm && layer + 1 == arch.num_layers => continue,
                Tap::Layer(layer, _) => layer,
                Tap::Model(_) => arch.num_layers - 1,
            };
            all[sequence][layer].clone_from(&value.data);
        }
        Ok(())
    })?;
    Ok(all)
}

/// The logits of every example.
pub(super) fn logits(
    teacher: &LoadedModel,
    inputs: Examples,
    examples: &Examples,
    work: &TrainingWorkspace<f32>,
) -> Result<Vec<Vec<f32>>, Error> {
    if inputs.len() != examples.len() {
        return Err(Error::Shape {
            what: "teacher's examples",
            found: inputs.len(),
            expected: examples.len(),
        });
    }
    let sequences: Vec<_> = inputs.all.into_iter().map(|e| e.sequence).collect();
    let mut all = vec![Vec::new(); sequences.len()];
    over(&sequences, &mut all, work, |sequences, all| {
        let batch = PackedBatch::new(teacher.architecture(), sequences)?;
        let (options, workspace) = (PassOptions::default(), &mut Workspace::new());
        let said = teacher.model().run(&batch, &options, workspace, &mut [])?;
        for (logits, output) in all.iter_mut().zip(said.sequences) {
            *logits = output.logits;
        }
        Ok(())
    })?;
    Ok(all)
}

/// `ask` of some sequences at a time, by all threads; the first of what goes wrong.
fn over<T: Send>(
    sequences: &[Sequence],
    all: &mut [T],
    work: &TrainingWorkspace<f32>,
    ask: impl Fn(&[Sequence], &mut [T]) -> Result<(), bertology::model::Error> + Sync + Send,
) -> Result<(), Error> {
    let chunks = sequences.chunks(AT_ONCE).zip(all.chunks_mut(AT_ONCE));
    let failed = std::sync::Mutex::new(None);
    work.for_each(chunks.collect(), |(sequences, all)| {
        if let Err(error) = ask(sequences, all) {
            let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed.get_or_insert(error);
        }
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(bertology::Error::from(error).into()),
        None => Ok(()),
    }
}

//! What a pass shows of each sequence, collected as arrays.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::sync::atomic::AtomicBool;

use bertology::drive::each;
use bertology::model::{
    Contacts, Event, HeadMask, Interests, Intervention, Masking, Observer, PackedBatch, Pass,
    PassOptions, Replacements, Sequence, SequenceOutput, Tap, Target, Workspace,
};
use bertology::{Error, LoadedModel};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::arrays::array;
use crate::sites;

/// Tokens that go through the model at once: enough for full products, few enough that threads share the work.
const BATCH_TOKENS: usize = 512;

/// What is asked of a pass.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) interests: Interests,
    pub(crate) targets: Option<Vec<Target>>,
    pub(crate) mask: Option<HeadMask>,
    pub(crate) replacements: Option<Replacements<f32>>,
    pub(crate) token_logits: bool,
    pub(crate) threads: usize,
}

/// The values of one place: one matrix, or one for each head that the model has, end to end.
#[derive(Debug, Default)]
struct Stack {
    /// Matrices, where there is one a head.
    heads: Option<usize>,
    rows: usize,
    cols: usize,
    values: Vec<f32>,
}

/// What a pass showed of one sequence.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    stacks: BTreeMap<(Pass, Tap), Stack>,
    output: SequenceOutput<f32>,
    tokens: usize,
}

/// Keeps what it was asked for, the heads of a layer in one array.
struct Stacks<'m> {
    model: &'m LoadedModel,
    interests: Interests,
    of: Vec<BTreeMap<(Pass, Tap), Stack>>,
}

impl Observer<f32> for Stacks<'_> {
    fn interests(&self) -> Interests {
        self.interests
    }

    fn observe(&mut self, event: &Event<'_, f32>) -> ControlFlow<()> {
        let (rows, cols) = (event.value.rows(), event.value.cols());
        if let Some(stacks) = self.of.get_mut(event.sequence) {
            let stack = stacks.entry((event.pass, event.tap)).or_default();
            if let (0, Some(_), Tap::Layer(layer, _)) = (stack.values.len(), event.head, event.tap)
            {
                let heads = self.model.architecture().heads(layer).len();
                stack.values.reserve_exact(heads * rows * cols);
            }
            (stack.rows, stack.cols) = (rows, cols);
            stack.heads = event.head.map(|_| stack.heads.unwrap_or_default() + 1);
            for row in 0..rows {
                stack.values.extend_from_slice(event.value.row(row));
            }
        }
        ControlFlow::Continue(())
    }
}

/// Puts sequences through the model, a few at a time, and gives what was found of each, in their order. `work` gets some of
/// them and the threads that it may use.
fn in_batches<T: Send>(
    sequences: &[Sequence],
    threads: usize,
    work: impl Fn(&mut Workspace<f32>, Range<usize>, usize) -> Result<Vec<T>, Error> + Sync,
) -> Result<Vec<T>, Error> {
    let mut ends = Vec::new();
    let (mut first, mut tokens) = (0, 0);
    for (at, sequence) in sequences.iter().enumerate() {
        if at > first && tokens + sequence.len() > BATCH_TOKENS {
            ends.push(first..at);
            (first, tokens) = (at, 0);
        }
        tokens += sequence.len();
    }
    if first < sequences.len() {
        ends.push(first..sequences.len());
    }
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = match threads {
        0 => available,
        threads => threads,
    };
    // Where there is less than a batch for each thread, they share the products.
    let inside = (threads / ends.len().max(1)).max(1);
    let mut all = Vec::with_capacity(sequences.len());
    each(
        threads.min(ends.len()),
        ends.into_iter(),
        |workspace, range| work(workspace, range, inside),
        |found| {
            all.extend(found);
            Ok(())
        },
    )?;
    Ok(all)
}

/// What each sequence showed.
pub(crate) fn run(
    model: &LoadedModel,
    sequences: &[Sequence],
    asked: &Asked,
    stop: &AtomicBool,
) -> Result<Vec<Shown>, Error> {
    in_batches(sequences, asked.threads, |workspace, range, threads| {
        let some = &sequences[range.clone()];
        let batch = PackedBatch::new(model.architecture(), some)?;
        let mut stacks = Stacks {
            model,
            interests: asked.interests,
            of: some.iter().map(|_| BTreeMap::new()).collect(),
        };
        let targets = asked.targets.as_ref().map(|targets| &targets[range]);
        let options = PassOptions {
            masking: asked.mask.as_ref().map_or(Masking::None, Masking::Shared),
            targets,
            mask_gradients: targets.is_some(),
            token_logits: asked.token_logits,
            threads,
            stop: Some(stop),
            ..PassOptions::default()
        };
        let mut replacements = asked.replacements.clone();
        let mut changes: Vec<&mut dyn Intervention<f32>> = Vec::new();
        if let Some(replacements) = &mut replacements {
            changes.push(replacements);
        }
        let observers: &mut [&mut dyn Observer<f32>] = &mut [&mut stacks];
        let model = model.model();
        let output = model.run_with(&batch, &options, workspace, observers, &mut changes)?;
        let found = output.sequences.into_iter().zip(stacks.of).zip(some);
        let found = found.map(|((output, stacks), sequence)| Shown {
            stacks,
            output,
            tokens: sequence.len(),
        });
        Ok(found.collect())
    })
}

/// Which residues of each sequence touch.
pub(crate) fn contacts(
    model: &LoadedModel,
    sequences: &[Sequence],
    mask: Option<&HeadMask>,
    threads: usize,
    stop: &AtomicBool,
) -> Result<Vec<Contacts>, Error> {
    in_batches(sequences, threads, |workspace, range, threads| {
        let batch = PackedBatch::new(model.architecture(), &sequences[range])?;
        let options = PassOptions {
            masking: mask.map_or(Masking::None, Masking::Shared),
            threads,
            stop: Some(stop),
            ..PassOptions::default()
        };
        Ok(model.model().contacts(&batch, &options, workspace)?)
    })
}

impl Shown {
    /// As a dictionary of arrays: `values` and `gradients` by the name of the site, those of layers as a list with `None`
    /// for layers without it.
    pub(crate) fn into_dict<'py>(
        self,
        py: Python<'py>,
        model: &LoadedModel,
    ) -> PyResult<Bound<'py, PyDict>> {
        let layers = model.architecture().num_layers;
        let (values, gradients) = (PyDict::new(py), PyDict::new(py));
        for ((pass, tap), stack) in self.stacks {
            let shape = match stack.heads {
                Some(heads) => vec![heads, stack.rows, stack.cols],
                None => vec![stack.rows, stack.cols],
            };
            let found = array(py, stack.values, &shape)?;
            let to = match pass {
                Pass::Forward => &values,
                Pass::Backward => &gradients,
            };
            match sites::name(tap) {
                (name, None) => to.set_item(name, found)?,
                (name, Some(layer)) => {
                    let list = match to.get_item(name)? {
                        Some(list) => list.cast_into::<PyList>()?,
                        None => {
                            let list = PyList::new(py, (0..layers).map(|_| py.None()))?;
                            to.set_item(name, &list)?;
                            list
                        }
                    };
                    list.set_item(layer, found)?;
                }
            }
        }
        let dict = PyDict::new(py);
        dict.set_item("values", values)?;
        dict.set_item("gradients", gradients)?;
        let logits = self.output.logits;
        let labels = logits.len();
        if labels > 0 {
            dict.set_item("logits", array(py, logits, &[labels])?)?;
        }
        if let Some(logits) = self.output.token_logits {
            let width = logits.len() / self.tokens.max(1);
            dict.set_item("token_logits", array(py, logits, &[self.tokens, width])?)?;
        }
        if let Some(loss) = self.output.loss {
            dict.set_item("loss", loss)?;
        }
        if let Some(gradient) = self.output.mask_gradient {
            let heads = model.architecture().num_heads;
            dict.set_item("mask_gradients", array(py, gradient, &[layers, heads])?)?;
        }
        Ok(dict)
    }
}

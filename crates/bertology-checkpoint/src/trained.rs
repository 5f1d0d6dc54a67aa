//! Writes new values of a checkpoint's parameters as an ordinary folder.

use std::borrow::Cow;
use std::path::Path;

use serde_json::{Map, json};

use crate::Error;
use crate::arch::{Disentangled, Family, TaskHead};
use crate::checkpoint::{Checkpoint, transpose};
use crate::config::CONFIG_FILE;
use crate::expected::expected;
use crate::names::Names;
use crate::parameter::{Affine, LayerParameter, Parameter};
use crate::tensors::Tensor;
use crate::write::{WEIGHTS, copy_companions, publish, staging_folder, write_json, write_tensors};

/// One parameter of the file: its name there, its shape there, its values.
struct Written<'v> {
    name: String,
    shape: Vec<usize>,
    values: Cow<'v, [f32]>,
}

/// Writes a model that was trained from `checkpoint` into `folder`: `model.safetensors` (f32, names of transformers' class
/// with prefix), `config.json` with [`Checkpoint::config`], and the tokenizer's files. `values` gives every parameter in
/// the canonical layout but [`Parameter::ContactHead`], which no loss trains and which is written as it was; both halves of a
/// gated block's first map are asked for as [`LayerParameter::MlpIn`], both maps of distances as [`LayerParameter::DistanceMaps`], queries, keys and values as
/// [`LayerParameter::QueryKeyValue`], with the heads that do something ([`Architecture::heads`](crate::Architecture::heads)
/// without the zeroed ones). Other files of the folder stay; each of these is there whole or not at all: they are made in a
/// folder of their own within `scratch`, which lies on the same file system.
///
/// Gives the names of the files.
///
/// # Errors
/// A parameter that `values` does not give in the right size; weights of its own for a layer that shares those of another;
/// what the system refuses.
pub fn write_trained<'v>(
    checkpoint: &Checkpoint,
    values: impl Fn(Parameter) -> Option<&'v [f32]>,
    folder: &Path,
    scratch: &Path,
) -> Result<Vec<String>, Error> {
    let written = tensors(checkpoint, &values)?;
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    let staging = staging_folder(scratch)?;
    write_json(&staging.path().join(CONFIG_FILE), checkpoint.config().raw())?;
    let mut files = vec![CONFIG_FILE.to_owned(), WEIGHTS.to_owned()];
    files.extend(copy_companions(checkpoint.folder(), staging.path())?);
    let mut header = Map::new();
    header.insert("__metadata__".into(), json!({ "format": "pt" }));
    let mut offset = 0;
    for tensor in &written {
        let end = offset + tensor.values.len() * 4;
        let place = json!({ "dtype": "F32", "shape": tensor.shape, "data_offsets": [offset, end] });
        header.insert(tensor.name.clone(), place);
        offset = end;
    }
    let bytes = written.iter().map(|tensor| -> Cow<'_, [u8]> {
        // Little-endian, as the format wants it.
        let bytes = tensor.values.iter().flat_map(|value| value.to_le_bytes());
        Cow::Owned(bytes.collect())
    });
    write_tensors(&staging.path().join(WEIGHTS), &header, bytes)?;
    publish(staging, folder, &files)?;
    Ok(files)
}

fn tensors<'v>(
    checkpoint: &Checkpoint,
    values: &impl Fn(Parameter) -> Option<&'v [f32]>,
) -> Result<Vec<Written<'v>>, Error> {
    let architecture = checkpoint.architecture();
    let table = architecture.family.table();
    let stored: Vec<&str> = checkpoint.tensors().iter().map(Tensor::name).collect();
    let prefix = match (&architecture.head, table.prefix_in(&stored)) {
        (TaskHead::None, _) => "",
        (_, "") => table.prefix,
        (_, prefix) => prefix,
    };
    let names = Names {
        architecture,
        prefix,
    };
    let dim = architecture.head_dim();
    let missing = |parameter| Error::NoValues {
        parameter: names.name_of(parameter),
    };
    // Who gives weights of its own to a layer that has none in the files has taken heads out of it alone.
    for layer in 0..architecture.num_layers {
        let first = architecture.weights_of(layer);
        let own = Parameter::Layer(layer, LayerParameter::MlpOut(Affine::Weight));
        if first != layer && values(own).is_some() {
            return Err(Error::PartedLayer { layer, first });
        }
    }
    let mut all = expected(architecture);
    let decoder = Parameter::LmDecoder(Affine::Weight);
    if values(decoder).is_some() {
        let shape = vec![architecture.vocab_size, architecture.embedding_size];
        all.push((decoder, shape));
    }
    let mut written = Vec::with_capacity(all.len());
    for (parameter, shape) in all {
        let given = |parameter| values(parameter).ok_or_else(|| missing(parameter));
        let canonical = match parameter {
            Parameter::Layer(layer, of) => {
                let slots = slots(checkpoint, layer);
                let fused = |affine| -> Result<(&'v [f32], usize), Error> {
                    let name = Parameter::Layer(layer, LayerParameter::QueryKeyValue(affine));
                    let width = match affine {
                        Affine::Weight => architecture.hidden_size,
                        Affine::Bias => 1,
                    };
                    Ok((given(name)?, dim * width))
                };
                let third = |affine, part: usize| {
                    let (all, block) = fused(affine)?;
                    let size = all.len() / 3;
                    let own = all.get(part * size..(part + 1) * size).unwrap_or_default();
                    Ok::<_, Error>(spread(own, 1, block, &slots))
                };
                let half = |affine, part: usize| {
                    let name = LayerParameter::MlpIn(affine);
                    let all = given(Parameter::Layer(layer, name))?;
                    let size = all.len() / 2;
                    let own = all.get(part * size..(part + 1) * size);
                    Ok::<_, Error>(Cow::Borrowed(own.unwrap_or_default()))
                };
                let distances = |affine, part: usize| {
                    let name = Parameter::Layer(layer, LayerParameter::DistanceMaps(affine));
                    let width = match affine {
                        Affine::Weight => architecture.hidden_size,
                        Affine::Bias => 1,
                    };
                    let all = given(name)?;
                    let maps = architecture.disentangled.map_or(1, Disentangled::own_maps);
                    let size = all.len() / maps.max(1);
                    // Where there is one map alone it is the first.
                    let start = part.min(maps.saturating_sub(1)) * size;
                    let own = all.get(start..start + size).unwrap_or_default();
                    Ok::<_, Error>(spread(own, 1, dim * width, &slots))
                };
                match of {
                    LayerParameter::DistanceQuery(affine) => distances(affine, 0)?,
                    LayerParameter::DistanceKey(affine) => distances(affine, 1)?,
                    LayerParameter::MlpActivated(affine) => half(affine, 0)?,
                    LayerParameter::MlpGate(affine) => half(affine, 1)?,
                    LayerParameter::Query(affine) => third(affine, 0)?,
                    LayerParameter::Key(affine) => third(affine, 1)?,
                    LayerParameter::Value(affine) => third(affine, 2)?,
                    LayerParameter::QueryKeyValue(affine) => {
                        let (all, block) = fused(affine)?;
                        spread(all, 3, block, &slots)
                    }
                    LayerParameter::AttentionOutput(Affine::Weight) => {
                        spread(given(parameter)?, architecture.hidden_size, dim, &slots)
                    }
                    LayerParameter::MlpIn(_) if table.gate_first => {
                        let mut values = given(parameter)?.to_vec();
                        let half = values.len() / 2;
                        values.rotate_left(half);
                        Cow::Owned(values)
                    }
                    _ => Cow::Borrowed(given(parameter)?),
                }
            }
            Parameter::ContactHead(_) => {
                let kept = checkpoint.values(parameter)?;
                Cow::Owned(kept.ok_or_else(|| missing(parameter))?)
            }
            _ => Cow::Borrowed(given(parameter)?),
        };
        if canonical.len() != shape.iter().product::<usize>() {
            return Err(missing(parameter));
        }
        let values = match shape.as_slice() {
            // A square map has the same shape both ways.
            &[outputs, inputs] if names.stored_shape(parameter, &[1, 2]) == [2, 1] => {
                Cow::Owned(transpose(&canonical, outputs, inputs))
            }
            _ => canonical,
        };
        written.push(Written {
            name: names.name_of(parameter),
            shape: names.stored_shape(parameter, &shape),
            values,
        });
    }
    written.extend(frequencies(checkpoint, &names)?);
    Ok(written)
}

/// The constants of blocks that transformers' class looks for among the weights, where the source has them: how fast the
/// angles of ESM-2 grow. It draws new ones, and says so, where they are missing.
fn frequencies(checkpoint: &Checkpoint, names: &Names<'_>) -> Result<Vec<Written<'static>>, Error> {
    let architecture = checkpoint.architecture();
    if architecture.family != Family::Esm {
        return Ok(Vec::new());
    }
    let mut written = Vec::new();
    for layer in 0..architecture.num_layers {
        for name in names.buffers_of(layer) {
            let end = name.strip_prefix(architecture.family.table().prefix);
            let end = end.unwrap_or(&name);
            let mut stored = checkpoint.tensors().iter();
            if let Some(tensor) = stored.find(|tensor| tensor.name().ends_with(end)) {
                written.push(Written {
                    shape: tensor.shape().to_vec(),
                    values: Cow::Owned(tensor.to_f32()?),
                    name,
                });
            }
        }
    }
    Ok(written)
}

/// For each head of the file, its place among those that do something; nothing for one of zeros.
fn slots(checkpoint: &Checkpoint, layer: usize) -> Vec<Option<usize>> {
    let architecture = checkpoint.architecture();
    let zeroed = architecture.zeroed_heads.get(&layer);
    let mut place = 0;
    architecture
        .heads(layer)
        .iter()
        .map(|head| {
            let live = zeroed.is_none_or(|set| !set.contains(head));
            live.then(|| {
                place += 1;
                place - 1
            })
        })
        .collect()
}

/// Values of the heads that do something, `block` numbers a head and `repeats` times over, with zeros where the file has
/// others.
fn spread<'v>(
    given: &'v [f32],
    repeats: usize,
    block: usize,
    slots: &[Option<usize>],
) -> Cow<'v, [f32]> {
    let live = slots.iter().flatten().count();
    if live == slots.len() || given.len() != repeats * live * block {
        return Cow::Borrowed(given);
    }
    let mut values = Vec::with_capacity(repeats * slots.len() * block);
    for repeat in 0..repeats {
        for slot in slots {
            let source = slot.and_then(|slot| {
                let start = (repeat * live + slot) * block;
                given.get(start..start + block)
            });
            match source {
                Some(source) => values.extend_from_slice(source),
                None => values.resize(values.len() + block, 0.0),
            }
        }
    }
    Cow::Owned(values)
}

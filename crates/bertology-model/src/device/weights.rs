//! The weights of a model on a device. What models have in common (those without some of the heads, say) is there once.

use std::sync::{Arc, Mutex, PoisonError};

use bertology_checkpoint::{Architecture, Segments};
use bertology_device::{Error, Reduce};
use bertology_kernels::Real;

use crate::{linear, model};

/// A linear map.
#[derive(Debug)]
pub(super) struct Linear<B> {
    pub(super) weight: B,
    pub(super) bias: Option<B>,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
}

#[derive(Debug)]
pub(super) struct Norm<B> {
    pub(super) weight: B,
    pub(super) bias: B,
    pub(super) centred: bool,
}

/// [`model::Attention`]
#[derive(Debug)]
pub(super) struct Attention<B> {
    pub(super) qkv: Linear<B>,
    pub(super) norms: Option<[Norm<B>; 2]>,
    pub(super) output: Linear<B>,
    pub(super) distance: Option<B>,
    pub(super) distance_maps: Option<Linear<B>>,
}

/// [`model::LayerRest`]
#[derive(Debug)]
pub(super) struct Rest<B> {
    pub(super) attention_norm: Option<Norm<B>>,
    pub(super) mlp_in: Linear<B>,
    pub(super) mlp_out: Linear<B>,
    pub(super) mlp_norm: Norm<B>,
}

/// The weights of a layer.
pub(super) type Layer<B> = (Arc<Attention<B>>, Arc<Rest<B>>);

/// [`model::LmHead`]
#[derive(Debug)]
pub(super) struct Words<B> {
    pub(super) transform: Option<(Linear<B>, Norm<B>)>,
    /// None where it is the table of words.
    pub(super) decoder: Option<B>,
    pub(super) bias: Option<B>,
}

/// What of [`model::Shell`] a device computes with: all but those heads of tasks that read few rows.
#[derive(Debug)]
pub(super) struct Shell<B> {
    pub(super) words: B,
    pub(super) positions: Option<B>,
    /// None where segments are rows of the words, or nothing.
    pub(super) segments: Option<B>,
    pub(super) norm: Option<Norm<B>>,
    pub(super) projection: Option<Linear<B>>,
    /// `[rows, hidden]`: what distances are, behind their norm.
    pub(super) relative: Option<B>,
    /// Cosines and sines of all positions, `[positions, half]`: of layers that see everything, then of those with windows.
    pub(super) angles: Vec<[B; 2]>,
    pub(super) final_norm: Option<Norm<B>>,
    pub(super) lm: Option<Words<B>>,
}

/// Brings weights to a device.
struct Carrier<'a, D> {
    device: &'a D,
}

impl<D> Carrier<'_, D> {
    fn linear<R: Real>(&self, map: &linear::Linear<R>) -> Result<Linear<D::Buffer>, Error>
    where
        D: Reduce<R>,
    {
        let weight = self.device.upload(&map.weight)?;
        map.weight.release();
        Ok(Linear {
            weight,
            bias: self.some(&map.bias)?,
            inputs: map.inputs,
            outputs: map.outputs,
        })
    }

    fn norm<R: Real>(&self, norm: &model::Norm<R>) -> Result<Norm<D::Buffer>, Error>
    where
        D: Reduce<R>,
    {
        Ok(Norm {
            weight: self.device.upload(&norm.weight)?,
            bias: self.device.upload(&norm.bias)?,
            centred: norm.centred,
        })
    }

    fn lm<R: Real>(&self, lm: &model::LmHead<R>) -> Result<Words<D::Buffer>, Error>
    where
        D: Reduce<R>,
    {
        let transform = lm
            .transform
            .as_ref()
            .map(|(dense, norm)| Ok::<_, Error>((self.linear(dense)?, self.norm(norm)?)));
        Ok(Words {
            transform: transform.transpose()?,
            decoder: match &lm.decoder {
                Some(decoder) => self.some(decoder)?,
                None => None,
            },
            bias: self.some(&lm.bias)?,
        })
    }

    /// A buffer, unless there is nothing to be in it.
    fn some<R: Real>(&self, values: &[R]) -> Result<Option<D::Buffer>, Error>
    where
        D: Reduce<R>,
    {
        if values.is_empty() {
            return Ok(None);
        }
        self.device.upload(values).map(Some)
    }
}

/// What has been brought to a device, by what it was made of. A clone of the origin is kept, so that whoever changes it makes
/// another ([`Arc::make_mut`]).
#[derive(Debug)]
struct Kept<T, U>(Mutex<Vec<(Arc<T>, Arc<U>)>>);

impl<T, U> Kept<T, U> {
    fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    fn get(
        &self,
        origin: &Arc<T>,
        bring: impl FnOnce(&T) -> Result<U, Error>,
    ) -> Result<Arc<U>, Error> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What no model has any longer is given up.
        kept.retain(|(origin, _)| Arc::strong_count(origin) > 1);
        if let Some((_, found)) = kept.iter().find(|(other, _)| Arc::ptr_eq(other, origin)) {
            return Ok(Arc::clone(found));
        }
        let made = Arc::new(bring(origin)?);
        kept.push((Arc::clone(origin), Arc::clone(&made)));
        Ok(made)
    }
}

/// Weights on a device.
#[derive(Debug)]
pub(super) struct Weights<R, B> {
    shells: Kept<model::Shell<R>, Shell<B>>,
    attentions: Kept<model::Attention<R>, Attention<B>>,
    rests: Kept<model::LayerRest<R>, Rest<B>>,
}

impl<R: Real, B> Weights<R, B> {
    pub(super) fn new() -> Self {
        Self {
            shells: Kept::new(),
            attentions: Kept::new(),
            rests: Kept::new(),
        }
    }

    pub(super) fn shell<D: Reduce<R, Buffer = B>>(
        &self,
        device: &D,
        shell: &Arc<model::Shell<R>>,
        arch: &Architecture,
    ) -> Result<Arc<Shell<B>>, Error> {
        let carrier = Carrier { device };
        self.shells.get(shell, |shell| {
            let optional = |norm: &Option<model::Norm<R>>| {
                norm.as_ref().map(|norm| carrier.norm(norm)).transpose()
            };
            let relative = shell.relative.as_ref().map(|table| {
                let mut rows = Vec::new();
                let all = 0..table.rows.len() / arch.hidden_size;
                table.some(all, arch.hidden_size, arch.norm_epsilon, &mut rows);
                device.upload(&rows)
            });
            let angles = shell.rotary.iter().flat_map(|rotary| rotary.tables());
            let words = device.upload(&shell.words)?;
            shell.words.release();
            Ok(Shell {
                words,
                positions: match &shell.positions {
                    Some(rows) => carrier.some(rows)?,
                    None => None,
                },
                segments: match arch.segments {
                    Segments::Words => None,
                    Segments::None | Segments::Table(_) => carrier.some(&shell.segments)?,
                },
                norm: optional(&shell.norm)?,
                projection: shell
                    .projection
                    .as_ref()
                    .map(|map| carrier.linear(map))
                    .transpose()?,
                relative: relative.transpose()?,
                angles: angles
                    .map(|[cosines, sines]| Ok([device.upload(cosines)?, device.upload(sines)?]))
                    .collect::<Result<_, Error>>()?,
                final_norm: optional(&shell.final_norm)?,
                lm: shell.lm.as_ref().map(|lm| carrier.lm(lm)).transpose()?,
            })
        })
    }

    pub(super) fn layer<D: Reduce<R, Buffer = B>>(
        &self,
        device: &D,
        layer: &model::Layer<R>,
    ) -> Result<Layer<B>, Error> {
        let carrier = Carrier { device };
        let attention = self.attentions.get(&layer.attention, |attention| {
            let norms = attention
                .norms
                .as_ref()
                .map(|[query, key]| Ok::<_, Error>([carrier.norm(query)?, carrier.norm(key)?]));
            Ok(Attention {
                qkv: carrier.linear(&attention.qkv)?,
                norms: norms.transpose()?,
                output: carrier.linear(&attention.output)?,
                distance: match &attention.distance {
                    Some(rows) => carrier.some(rows)?,
                    None => None,
                },
                distance_maps: attention
                    .distance_maps
                    .as_ref()
                    .map(|maps| carrier.linear(maps))
                    .transpose()?,
            })
        })?;
        let rest = self.rests.get(&layer.rest, |rest| {
            Ok(Rest {
                attention_norm: rest
                    .attention_norm
                    .as_ref()
                    .map(|norm| carrier.norm(norm))
                    .transpose()?,
                mlp_in: carrier.linear(&rest.mlp_in)?,
                mlp_out: carrier.linear(&rest.mlp_out)?,
                mlp_norm: carrier.norm(&rest.mlp_norm)?,
            })
        })?;
        Ok((attention, rest))
    }
}

//! Losses of a language model on a device: [`crate::lm_head`] for the targets of all sequences together. Logits over a vocabulary
//! are the largest arrays of a pass, and nobody reads them here.

use bertology_device::{Activate, Reduce};
use bertology_kernels::Real;

use super::pass::DevicePass;
use super::weights::Words;
use crate::Error;
use crate::block::kernel_of;
use crate::objective::Parts;
use crate::taps::{ModelSite, Pass, Tap, Taps};

/// A target, and where the state lies that it is asked of.
struct Asked<R> {
    sequence: usize,
    token: u32,
    label: u32,
    weight: R,
}

impl<R: Real, D: Reduce<R>> DevicePass<'_, R, D> {
    /// Whether losses of tokens are found here, and not where other heads are.
    pub(super) fn finds_words(&self, taps: &Taps<'_, '_, '_, R>) -> bool {
        let read = self.options.target_logits || self.options.reads_all_logits(taps);
        self.words().is_some() && !read
    }

    /// The losses of the tokens of every sequence, each a mean over the targets, and the gradient of `hidden [tokens, hidden]`, if
    /// `backward`.
    pub(super) fn losses_of_words(
        &self,
        hidden: &D::Buffer,
        targets: &[Parts<'_>],
        backward: bool,
        taps: &Taps<'_, '_, '_, R>,
    ) -> Result<(Vec<f64>, Option<D::Buffer>), Error> {
        let mut losses = vec![0.0; self.batch.len()];
        let Some(words) = self.words() else {
            return Ok((losses, None));
        };
        let arch = self.arch();
        let mut asked = Vec::new();
        for (sequence, (range, target)) in self.batch.ranges().zip(targets).enumerate() {
            let labels = target.tokens.unwrap_or_default();
            let count = labels.iter().flatten().count();
            let found = range.zip(labels).filter_map(|(token, label)| {
                Some(Asked {
                    sequence,
                    token: token as u32,
                    label: (*label)?,
                    weight: R::from_f64(1.0 / count as f64),
                })
            });
            asked.extend(found);
        }
        let mut gradient = None;
        if backward {
            gradient = Some(self.device.zeros(self.batch.tokens() * arch.hidden_size)?);
        }
        let row = arch.vocab_size * size_of::<R>();
        let rows = (self.device.info().map_bytes as usize / row).max(1);
        for asked in asked.chunks(rows) {
            let found = self.some_words(words, hidden, asked, gradient.as_mut())?;
            for (asked, loss) in asked.iter().zip(found) {
                let loss = loss.to_f64();
                if !loss.is_finite() && !self.options.allow_nonfinite {
                    let tap = Tap::Model(ModelSite::TokenLogits);
                    return Err(taps.not_finite(Pass::Forward, tap, asked.sequence));
                }
                losses[asked.sequence] += loss;
            }
        }
        Ok((losses, gradient))
    }

    /// What some targets add to the losses; to their places in `gradient` goes what they add there.
    fn some_words(
        &self,
        words: &Words<D::Buffer>,
        hidden: &D::Buffer,
        asked: &[Asked<R>],
        gradient: Option<&mut D::Buffer>,
    ) -> Result<Vec<R>, Error> {
        let (device, arch) = (self.device, self.arch());
        let (rows, width, vocab) = (asked.len(), arch.hidden_size, arch.vocab_size);
        let tokens: Vec<u32> = asked.iter().map(|asked| asked.token).collect();
        let labels: Vec<u32> = asked.iter().map(|asked| asked.label).collect();
        let weights: Vec<R> = asked.iter().map(|asked| asked.weight).collect();
        let (tokens, labels) = (device.indices(&tokens)?, device.indices(&labels)?);
        let weights = device.upload(&weights)?;
        let mut states = device.zeros(rows * width)?;
        device.gather(&mut states, hidden, &tokens, width, false);
        // 1. What the decoder reads.
        let mut kept = None;
        if let Some((dense, norm)) = &words.transform {
            let inner = dense.outputs;
            let by = Activate {
                function: kernel_of(arch.lm_activation),
                inner,
                gated: false,
            };
            let [mut pre, mut hat, mut normed] = [
                device.zeros(rows * inner)?,
                device.zeros(rows * inner)?,
                device.zeros(rows * inner)?,
            ];
            let mut rstd = device.zeros(rows)?;
            self.linear(&mut pre, &states, dense, rows);
            device.activate(&mut hat, &pre, rows, by);
            self.normalise(&mut normed, &mut hat, &mut rstd, norm, [rows, inner]);
            kept = Some((dense, norm, by, [pre, hat, rstd]));
            states = normed;
        }
        // 2. The logits, and what becomes of them.
        let decoder = self.decoder(words);
        let size = [rows, arch.embedding_size, vocab];
        let mut logits = device.zeros(rows * vocab)?;
        device.linear(&mut logits, &states, decoder, words.bias.as_ref(), size);
        let mut losses = device.zeros(rows)?;
        device.cross_entropy(&mut logits, &mut losses, &labels, &weights, [rows, vocab]);
        // 3. Back to the states.
        if let Some(gradient) = gradient {
            let mut d = states;
            device.linear_backward(&mut d, &logits, decoder, size);
            if let Some((dense, norm, by, [pre, hat, rstd])) = &kept {
                let inner = dense.outputs;
                device.norm_backward(&mut d, hat, rstd, &norm.weight, [rows, inner], norm.centred);
                let mut d_pre = device.zeros(rows * inner)?;
                device.activate_backward(&mut d_pre, &d, pre, rows, *by);
                let mut below = device.zeros(rows * width)?;
                let size = [rows, dense.inputs, inner];
                device.linear_backward(&mut below, &d_pre, &dense.weight, size);
                d = below;
            }
            device.scatter(gradient, &d, &tokens, width);
        }
        Ok(device.read(&losses, 0..rows)?)
    }
}

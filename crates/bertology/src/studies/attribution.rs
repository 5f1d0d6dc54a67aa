//! How much of the loss does each head account for? Integrated gradients over the head mask.
//!
//! The gradient at a mask of ones says what a head's last bit of strength is worth. Integrated
//! gradients follow the heads from a baseline (by default all off) to full strength:
//!
//! `a[h] = (m[h] - m₀[h]) · ∫₀¹ ∂loss/∂m[h] at m₀ + t (m - m₀) dt`
//!
//! and so share the whole difference out: `Σ_h a[h] = loss(m) - loss(m₀)` (completeness). Source:
//! Sundararajan, Taly and Yan 2017, "Axiomatic Attribution for Deep Networks", on the head mask of
//! Michel, Levy and Neubig 2019.
//!
//! # Numerics
//! The integral is taken by Gauss-Legendre quadrature, whose error falls faster than any power of the
//! number of nodes while the loss is smooth along the path. [`Attribution::gap`] says what is left;
//! passes are in f32, sums in f64.

use bertology_model::{HeadMask, Masking, PackedBatch, PassOptions, Sequence, Target, Workspace};

use crate::drive::run::DEFAULT_BATCH_TOKENS;
use crate::model::loaded::Input;
use crate::{Error, HeadTable, LoadedModel};

/// Nodes of the quadrature unless the user says otherwise.
pub const DEFAULT_NODES: usize = 32;

/// The path that is followed.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct AttributionOptions {
    /// Nodes of the quadrature; [`DEFAULT_NODES`] where `None`. Each costs one pass.
    pub nodes: Option<usize>,
    /// The mask at the start of the path; zeros where `None`.
    pub baseline: Option<HeadMask>,
    /// The mask at its end; ones where `None`.
    pub mask: Option<HeadMask>,
}

/// What each head accounts for in the loss of one input.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribution {
    /// In the loss's unit (nats for classifiers and language models); negative where the head lowers
    /// the loss, that is, helps.
    pub heads: HeadTable,
    /// Loss at the end of the path.
    pub loss: f64,
    /// Loss at its start.
    pub baseline_loss: f64,
}

impl Attribution {
    /// `|Σ_h a[h] - (loss - baseline loss)|`: the error of the quadrature and of rounding.
    #[must_use]
    pub fn gap(&self) -> f64 {
        let sum: f64 = self.heads.iter().map(|(_, value)| value).sum();
        (sum - (self.loss - self.baseline_loss)).abs()
    }
}

/// Integrated gradients of every input's loss over the head mask.
///
/// ```
/// use bertology::attribution::{AttributionOptions, integrated_gradients};
/// use bertology::{LoadedModel, Target};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/tiny-bert");
/// let model = LoadedModel::open(folder)?;
/// let options = AttributionOptions::default();
/// let found = integrated_gradients(&model, &["The boy sleep."], &[Target::Label(0)], &options)?;
/// // Without any head the model guesses; with them it knows. The heads share the difference.
/// assert!(found[0].loss < 0.1 && found[0].baseline_loss > 0.3);
/// assert!(found[0].gap() < 1e-3);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Inputs and targets that do not match or do not fit the model; masks that do not fit; 0 nodes.
pub fn integrated_gradients<I: Input>(
    model: &LoadedModel,
    inputs: &[I],
    targets: &[Target],
    options: &AttributionOptions,
) -> Result<Vec<Attribution>, Error> {
    if targets.len() != inputs.len() {
        return Err(Error::Model(bertology_model::Error::TargetCount {
            targets: targets.len(),
            sequences: inputs.len(),
        }));
    }
    let nodes = options.nodes.unwrap_or(DEFAULT_NODES);
    if nodes == 0 {
        return Err(Error::Option {
            option: "the number of quadrature nodes",
            value: "0".to_owned(),
            reason: "give at least 1",
        });
    }
    let engine = model.model();
    let ones = HeadMask::ones(engine);
    let end = options.mask.as_ref().unwrap_or(&ones);
    let zeros = HeadMask::from_values(
        end.layers(),
        end.heads(),
        vec![0.0; end.layers() * end.heads()],
    )?;
    let start = options.baseline.as_ref().unwrap_or(&zeros);
    end.check(engine)?;
    start.check(engine)?;
    let path = Path::new(start, end, &gauss_legendre(nodes))?;
    inputs
        .iter()
        .zip(targets)
        .map(|(input, target)| path.follow(model, input.sequence(model)?, target))
        .collect()
}

/// The masks at which the gradient is taken, with their weights, and the two ends.
struct Path {
    masks: Vec<HeadMask>,
    /// Of each mask; 0 at the ends, which are there for their losses.
    weights: Vec<f64>,
    /// `m - m₀`, row-major.
    step: Vec<f64>,
}

impl Path {
    fn new(start: &HeadMask, end: &HeadMask, nodes: &[(f64, f64)]) -> Result<Self, Error> {
        let at = |t: f64| {
            let values = start.values().iter().zip(end.values());
            let values = values.map(|(a, b)| a + t * (b - a)).collect();
            HeadMask::from_values(end.layers(), end.heads(), values)
        };
        let ends = [(0.0, 0.0), (1.0, 0.0)];
        let all = || ends.iter().chain(nodes);
        Ok(Self {
            masks: all().map(|(t, _)| at(*t)).collect::<Result<_, _>>()?,
            weights: all().map(|(_, weight)| *weight).collect(),
            step: start
                .values()
                .iter()
                .zip(end.values())
                .map(|(a, b)| b - a)
                .collect(),
        })
    }

    fn follow(
        &self,
        model: &LoadedModel,
        sequence: Sequence,
        target: &Target,
    ) -> Result<Attribution, Error> {
        let engine = model.model();
        let mut integral = vec![0.0; self.step.len()];
        let mut losses = Vec::with_capacity(self.masks.len());
        let mut workspace = Workspace::new();
        // The same tokens under many masks: as many at once as a batch may hold.
        let together = (DEFAULT_BATCH_TOKENS / sequence.len().max(1)).max(1);
        let parts = self
            .masks
            .chunks(together)
            .zip(self.weights.chunks(together));
        for (masks, weights) in parts {
            let copies = vec![sequence.clone(); masks.len()];
            let batch = PackedBatch::new(engine.architecture(), &copies)?;
            let targets = vec![target.clone(); masks.len()];
            let options = PassOptions {
                masking: Masking::PerSequence(masks),
                targets: Some(&targets),
                mask_gradients: true,
                ..PassOptions::default()
            };
            let output = engine.run(&batch, &options, &mut workspace, &mut [])?;
            for (found, weight) in output.sequences.iter().zip(weights) {
                losses.push(found.loss.unwrap_or(f64::NAN));
                let gradient = found.mask_gradient.iter().flatten();
                for (sum, slope) in integral.iter_mut().zip(gradient) {
                    *sum += weight * slope;
                }
            }
        }
        let zeros = HeadTable::zeros(engine);
        let heads = zeros.heads();
        Ok(Attribution {
            heads: zeros.map(|id, _| {
                let at = id.layer * heads + id.head;
                self.step[at] * integral[at]
            }),
            baseline_loss: losses[0],
            loss: losses[1],
        })
    }
}

/// Nodes and weights of Gauss-Legendre quadrature on [0, 1]: exact for polynomials up to degree
/// `2 · count - 1`. Roots of the Legendre polynomial by Newton's method from Tricomi's estimate.
fn gauss_legendre(count: usize) -> Vec<(f64, f64)> {
    let n = count as f64;
    (0..count)
        .map(|i| {
            let mut x = (std::f64::consts::PI * (i as f64 + 0.75) / (n + 0.5)).cos();
            let mut slope = 1.0;
            for _ in 0..100 {
                // P_count and P_{count-1} by the three-term recurrence.
                let (mut before, mut here) = (1.0, x);
                for k in 2..=count {
                    let k = k as f64;
                    (before, here) = (here, ((2.0 * k - 1.0) * x * here - (k - 1.0) * before) / k);
                }
                slope = n * (x * here - before) / (x * x - 1.0);
                let step = here / slope;
                x -= step;
                if step.abs() < 1e-15 {
                    break;
                }
            }
            let weight = 1.0 / ((1.0 - x * x) * slope * slope);
            (0.5 * (1.0 - x), weight)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ∫₀¹ tᵏ dt = 1/(k+1) for every degree that the rule is exact for.
    #[test]
    fn quadrature_is_exact_for_polynomials() {
        for count in [1, 2, 3, 8, 32, 100] {
            let nodes = gauss_legendre(count);
            assert!(
                nodes
                    .iter()
                    .all(|(t, w)| (0.0..1.0).contains(t) && *w > 0.0)
            );
            assert!(nodes.windows(2).all(|pair| pair[0].0 < pair[1].0));
            for degree in 0..(2 * count).min(60) {
                let sum: f64 = nodes.iter().map(|(t, w)| w * t.powi(degree as i32)).sum();
                let expected = 1.0 / (degree as f64 + 1.0);
                assert!((sum - expected).abs() < 1e-13, "{count} {degree}: {sum}");
            }
        }
    }
}

//! Where passes run: the processor, or a graphics card.
//!
//! Cards need the feature `gpu`; the names of devices are read, and refused with a reason, without it, too.

use std::fmt;
use std::str::FromStr;

use crate::Error;
use crate::loaded::LoadedModel;

/// Where passes are to run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// A card that multiplies matrices faster than the processor, which is tried; the processor where there is none.
    Auto,
    /// A card, by its number in [`devices`] from 0.
    Gpu(usize),
    /// The first card whose name has this in it, in letters of either case.
    Named(String),
    /// The operations of a card on the processor, one by one: slower than the processor's own pass, for tests.
    Host,
}

/// As it is written: `cpu`, `auto`, `gpu:0`, `gpu:NAME`, `host`.
impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Auto => f.write_str("auto"),
            Self::Gpu(number) => write!(f, "gpu:{number}"),
            Self::Named(name) => write!(f, "gpu:{name}"),
            Self::Host => f.write_str("host"),
        }
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("gpu:")) {
            ("cpu", _) => Ok(Self::Cpu),
            ("auto", _) => Ok(Self::Auto),
            ("gpu", _) => Ok(Self::Gpu(0)),
            ("host", _) => Ok(Self::Host),
            (_, Some(which)) if !which.is_empty() => Ok(which
                .parse()
                .map_or_else(|_| Self::Named(which.to_owned()), Self::Gpu)),
            _ => Err(format!(
                "{text} is no device; there are cpu, auto, gpu:NUMBER and gpu:NAME"
            )),
        }
    }
}

/// A device on which passes can run, or run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// As its driver calls it; `cpu` for the processor.
    pub name: String,
    /// `cpu`, `gpu`, `software` (a program that acts as a card), or `host`.
    pub kind: &'static str,
    /// What it is spoken to through, `Vulkan` for example; nothing for the processor.
    pub through: String,
    /// Bytes that one buffer may have, where there is a limit.
    pub largest_buffer: Option<u64>,
}

impl DeviceInfo {
    fn cpu() -> Self {
        Self {
            name: "cpu".to_owned(),
            kind: "cpu",
            through: String::new(),
            largest_buffer: None,
        }
    }
}

/// The cards of this machine, in the order of their numbers.
///
/// # Errors
/// [`Error::NoDevice`]: this library was built without cards.
pub fn devices() -> Result<Vec<DeviceInfo>, Error> {
    cards::list()
}

impl LoadedModel {
    /// The same with its passes on a device. Training, and what is computed half a block at a time, stays on the processor.
    ///
    /// # Numerics
    /// Values are those of the processor to 2e-5 of their site's scale, gradients to 1e-4. A device gives the same bits each time.
    ///
    /// # Errors
    /// [`Error::NoDevice`] with what the system says; a precision other than f32.
    pub fn on(self, device: &Device) -> Result<Self, Error> {
        match device {
            Device::Cpu => Ok(self),
            other => cards::place(self, other),
        }
    }

    /// The same with its passes where those of `other` run ([`Model::placed_as`](bertology_model::Model::placed_as)).
    ///
    /// # Errors
    /// `other` is on a device, and this model computes in another precision than f32.
    pub fn placed_as(self, other: &Self) -> Result<Self, Error> {
        let (outline, model) = self.into_parts();
        let model = model.placed_as(other.model())?;
        Ok(Self::from_parts(outline, model))
    }

    /// The device on which passes run.
    #[must_use]
    pub fn device(&self) -> DeviceInfo {
        self.other_device().unwrap_or_else(DeviceInfo::cpu)
    }

    /// The device on which passes run, unless that is the processor.
    #[must_use]
    pub fn other_device(&self) -> Option<DeviceInfo> {
        cards::of(self)
    }
}

#[cfg(not(feature = "gpu"))]
mod cards {
    use super::{Device, DeviceInfo};
    use crate::Error;
    use crate::loaded::LoadedModel;

    const WITHOUT: &str = "this build has no part for graphics cards (Cargo's feature gpu)";

    pub(super) fn list() -> Result<Vec<DeviceInfo>, Error> {
        Err(Error::NoDevice {
            device: "a graphics card".to_owned(),
            reason: WITHOUT.to_owned(),
        })
    }

    pub(super) fn place(model: LoadedModel, device: &Device) -> Result<LoadedModel, Error> {
        match device {
            Device::Cpu | Device::Auto => Ok(model),
            other => Err(Error::NoDevice {
                device: other.to_string(),
                reason: WITHOUT.to_owned(),
            }),
        }
    }

    pub(super) fn of(_: &LoadedModel) -> Option<DeviceInfo> {
        None
    }
}

#[cfg(feature = "gpu")]
mod cards {
    use std::time::{Duration, Instant};

    use bertology_model::bertology_device::wgpu::{Wgpu, Which};
    use bertology_model::bertology_device::{self as device, Device as _, Host, Info, Kind};
    use bertology_model::kernels::Matrix;
    use bertology_model::kernels::product::linear;

    use super::{Device, DeviceInfo};
    use crate::Error;
    use crate::loaded::LoadedModel;

    /// Rows, inputs and outputs of the product by which a card is tried.
    const TRIAL: [usize; 3] = [512, 768, 768];

    fn told(info: &Info) -> DeviceInfo {
        DeviceInfo {
            name: info.name.clone(),
            kind: match info.kind {
                Kind::Host => "host",
                Kind::Gpu => "gpu",
                Kind::Software => "software",
            },
            through: info.through.clone(),
            largest_buffer: Some(info.largest_buffer),
        }
    }

    pub(super) fn list() -> Result<Vec<DeviceInfo>, Error> {
        Ok(Wgpu::list().iter().map(told).collect())
    }

    pub(super) fn of(model: &LoadedModel) -> Option<DeviceInfo> {
        model.model().device().map(told)
    }

    pub(super) fn place(model: LoadedModel, device: &Device) -> Result<LoadedModel, Error> {
        let open = |which| {
            Wgpu::open(which).map_err(|error| Error::NoDevice {
                device: device.to_string(),
                reason: match error {
                    device::Error::Unavailable { reason, .. } => reason,
                    other => other.to_string(),
                },
            })
        };
        match device {
            Device::Cpu => Ok(model),
            Device::Host => model.with_device(Host::new()),
            Device::Gpu(number) => model.with_device(open(Which::Number(*number))?),
            Device::Named(name) => model.with_device(open(Which::Name(name))?),
            Device::Auto => match worth_it() {
                Some(card) => model.with_device(card),
                None => Ok(model),
            },
        }
    }

    /// The best card, if it multiplies faster than this processor.
    fn worth_it() -> Option<Wgpu> {
        let listed = Wgpu::list();
        listed.first().filter(|info| info.kind == Kind::Gpu)?;
        let card = Wgpu::open(Which::Best).ok()?;
        let there = trial(&card)?;
        let here = at_home();
        (there < here).then_some(card)
    }

    /// The time of a product on a card, with its rows carried there and back.
    fn trial(card: &Wgpu) -> Option<Duration> {
        let [rows, inputs, outputs] = TRIAL;
        let (x, weight) = (vec![1.0_f32; rows * inputs], vec![1.0; outputs * inputs]);
        let weight = card.upload(&weight).ok()?;
        let mut best = Duration::MAX;
        // The first one compiles the program.
        for _ in 0..3 {
            let begin = Instant::now();
            let x = card.upload(&x).ok()?;
            let mut y = card.zeros(rows * outputs).ok()?;
            card.linear(&mut y, &x, &weight, None, TRIAL);
            card.read(&y, 0..rows * outputs).ok()?;
            best = best.min(begin.elapsed());
        }
        Some(best)
    }

    /// The same product on all threads of the processor.
    fn at_home() -> Duration {
        let [rows, inputs, outputs] = TRIAL;
        let (x, weight) = (vec![1.0_f32; rows * inputs], vec![1.0; outputs * inputs]);
        let mut y = vec![0.0; rows * outputs];
        let threads = crate::loaded::all_threads();
        let mut best = Duration::MAX;
        for _ in 0..3 {
            let begin = Instant::now();
            let (x, weight) = (
                Matrix::new(&x, rows, inputs),
                Matrix::new(&weight, outputs, inputs),
            );
            linear(&mut y, x, weight, &[], threads);
            best = best.min(begin.elapsed());
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in ["cpu", "auto", "host", "gpu:0", "gpu:3", "gpu:NVIDIA H200"] {
            assert_eq!(name.parse::<Device>().unwrap().to_string(), name);
        }
        assert_eq!("gpu".parse(), Ok(Device::Gpu(0)));
        for name in ["", "cuda:0", "gpu:", "CPU"] {
            assert!(name.parse::<Device>().is_err(), "{name}");
        }
    }
}

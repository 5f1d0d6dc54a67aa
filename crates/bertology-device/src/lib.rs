//! The arithmetic of a pass on buffers that may lie on another device.
//!
//! A [`Device`] has buffers of numbers and some thirty operations on them; one that can [`Reduce`] makes tables of attention maps, too. No operation knows a transformer: they are those of
//! `bertology-kernels`, on whole batches, with the attention of many sequences and heads at once ([`Shape`]). What a pass is made
//! of them lies in the engine, once for all devices.
//!
//! | device | what it is for |
//! | --- | --- |
//! | [`Host`] | the processor itself, in `f32` and `f64`: it judges the pass that other devices run |
//! | `Wgpu` | graphics cards of any maker, in `f32`; with the feature `wgpu` |
//!
//! # Numerics
//! Every sum has one order, which the shapes determine: a device gives the same bits for the same batch, time after time. Devices
//! differ among each other by rounding.

mod device;
mod error;
mod host;
mod reduce;
mod shape;
#[cfg(feature = "wgpu")]
pub mod wgpu;

#[cfg(feature = "wgpu")]
pub use self::wgpu::Wgpu;
pub use device::{Activate, Columns, Device, Info, Kind, MAP_BYTES, Spread};
pub use error::Error;
pub use host::Host;
pub use reduce::{PARTNERS, Reduce, UNIT};
pub use shape::{Factor, HeadMatrix, SequencePlace, Shape, Sight};

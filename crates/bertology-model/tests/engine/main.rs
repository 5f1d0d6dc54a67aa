//! The engine against transformers' numbers and against laws that no reference is needed for.
#![allow(clippy::unwrap_used)]

mod contacts;
#[cfg(feature = "device")]
mod device;
mod distances;
mod finite;
mod fixture;
mod folding;
mod golden;
mod interventions;
mod laws;
mod neurons;
mod precision;
mod shared;
mod shortcuts;
mod steps;
#[cfg(feature = "device")]
mod tables;
mod training;

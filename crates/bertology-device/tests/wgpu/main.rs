//! Every operation of a graphics card, or of a program that acts as one, against the processor's; and what goes wrong.
#![allow(clippy::unwrap_used)]

mod attention;
mod faults;
mod numbers;
mod rows;

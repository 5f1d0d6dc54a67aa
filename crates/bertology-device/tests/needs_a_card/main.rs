//! Every operation of a graphics card, or of a program that acts as one, against the processor's; and what goes wrong.
//!
//! All need a driver of Vulkan, Metal or DX12, and are left out where nobody asks for them: `tools/device/check.sh` does.
#![allow(clippy::unwrap_used)]

mod attention;
mod faults;
mod numbers;
mod reduce;
mod rows;

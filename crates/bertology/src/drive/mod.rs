//! Every input through the model, what it contributes into a study.
//!
//! | module | question |
//! | --- | --- |
//! | [`lens`] | what does a study want of a pass, and what does it see of one sequence? |
//! | [`study`] | what adds up, and how do parts of a corpus come together? |
//! | [`progress`] | how far is a study, chunk by chunk? |
//! | [`run`] | the loop itself |
//! | [`each`] | jobs that are no study's, in order all the same |
//!
//! # A corpus is a grid of chunks
//! Units are cut into chunks of a fixed number ([`Progress::chunks_of`]), by their place in the corpus and by nothing
//! else. A study is filled chunk by chunk, each from zero, and chunks are folded in order. The sums are
//! therefore the same bits whether one thread, eight processes or three hundred machines made them, on
//! processors of one kind.

pub mod lens;
pub mod progress;
pub mod run;
pub mod study;

mod capture;
mod combined;
mod each;

pub use capture::PerHead;
pub use lens::{Ablated, Lens, Wants};
pub use progress::{DEFAULT_CHUNK, Part, PartState, Progress};
pub use run::{Work, drive};
pub use study::{Contribution, Study};

pub use each::each;

//! Edge probing: what can be told from spans of hidden states, layer by layer.
//!
//! Tenney, Xia, Chen, Wang, Poliak, McCoy, Kim, Van Durme, Bowman, Das and Pavlick 2019, *What do you learn from
//! context?* (ICLR), and Tenney, Das and Pavlick 2019, *BERT rediscovers the classical NLP pipeline* (ACL).
//!
//! | module | question |
//! | --- | --- |
//! | `source` | which states, which targets? |

pub mod chance;
pub mod control;
pub mod mdl;
pub mod summary;
pub mod trace;

mod batch;
mod design;
mod fault;
mod march;
mod masks;
mod pass;
mod saved;
mod settings;
mod source;
mod suite;
mod tally;
mod training;

use batch::Batch;

pub use batch::BatchSize;
pub use design::{Array, Classifier, Design, Output, Pooling, Reading};
pub use fault::Fault;
pub use settings::{
    DIFFERENCES, Difference, FAST_EPOCHS, Interval, LossScale, PAPER_SMALL, Profile, SETTLED,
    Selection, Settings,
};
pub use source::{HeldStates, LayerStates, Split, Target};
pub use suite::{Data, Look, Plan, Progress, Suite};
pub use tally::{Counts, Tally, f1};
pub use training::{Course, Stop, Validation};

//! Edge probing: what can be told from spans of hidden states, layer by layer.
//!
//! Tenney, Xia, Chen, Wang, Poliak, McCoy, Kim, Van Durme, Bowman, Das and Pavlick 2019, *What do you learn from
//! context?* (ICLR), and Tenney, Das and Pavlick 2019, *BERT rediscovers the classical NLP pipeline* (ACL).
//!
//! | module | question |
//! | --- | --- |
//! | `source` | which states, which targets? |
//! | `pieces` | which positions do the targets of a file point at? |
//! | `states` | what does the model hold there, on disk? |

mod fault;
mod pieces;
mod source;
mod states;
mod states_fault;

#[cfg(test)]
mod tests;

pub use fault::Fault;
pub use pieces::{Gathered, Gathering, MOST_DROPPED, Pieces};
pub use source::{HeldStates, LayerStates, Split, Target};
pub use states::{
    LastLayer, LayerZero, STATE_FILE_PREFIX, STATE_MANIFEST, StateOptions, StateStore,
};
pub use states_fault::StatesFault;

//! Edge probing: what can be told from spans of hidden states, layer by layer.
//!
//! Tenney, Xia, Chen, Wang, Poliak, McCoy, Kim, Van Durme, Bowman, Das and Pavlick 2019, *What do you learn from
//! context?* (ICLR), and Tenney, Das and Pavlick 2019, *BERT rediscovers the classical NLP pipeline* (ACL).
//!
//! | module | question |
//! | --- | --- |
//! | `source` | which states, which targets? |

mod fault;
mod source;

pub use fault::Fault;
pub use source::{HeldStates, LayerStates, Split, Target};

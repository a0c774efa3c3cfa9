//! The configuration of a model: each value, and where it comes from.
//!
//! | question | answered by |
//! |---|---|
//! | what did the user state? | [`Stated`] |
//! | which sources are there, and do they agree? | [`candidate`] |
//! | what is the configuration? | [`infer`] |
//! | what does the training graph show? | `graph` |

pub mod candidate;
mod epsilon;
pub(crate) mod graph;
mod infer;
mod options;
mod task_kind;

pub use epsilon::Epsilon;
pub use infer::{HeadActivation, Inferred, infer};
pub use options::{ConfigFile, Stated};
pub use task_kind::TaskKind;

//! The configuration of a model: each value, and where it comes from.
//!
//! | question | answered by |
//! |---|---|
//! | what did the user state? | [`ConfigOptions`] |
//! | which sources are there, and do they agree? | [`candidate`] |
//! | what is the configuration? | [`resolve_config`] |
//! | what does the training graph show? | `graph` |

pub mod candidate;
mod epsilon;
pub(crate) mod graph;
mod options;
mod resolve;
mod task_kind;

pub use epsilon::Epsilon;
pub use options::{ConfigFile, ConfigOptions};
pub use resolve::{HeadActivation, ResolvedConfig, resolve_config};
pub use task_kind::TaskKind;

//! The configuration of a model: each value, and its source.
//!
//! Several sources can give a value: the shapes of variables, an option, a config.json, Model Garden's params.yaml,
//! the training graph.
//! Each yields a [`Candidate`](candidate::Candidate), and all candidates for a value must agree.
//!
//! | question | answered by |
//! |---|---|
//! | What did the user give? | [`ConfigOptions`], [`ConfigFile`] |
//! | Do the sources agree? | [`candidate`] |
//! | Which sizes do the shapes show? | `sizes` |
//! | What does Model Garden's params.yaml state? | `params` |
//! | What does the training graph show? | `graph` |
//! | What do the weights show of the head count? | [`HeadCount`] |
//! | What are head count, activation and epsilon? | `settings` |
//! | What is the configuration? | [`resolve_config`] |

pub mod candidate;
mod config_file;
mod encoder;
mod epsilon;
mod evaluated;
pub(crate) mod graph;
mod head_count;
mod keys;
mod options;
mod params;
mod resolve;
mod resolved;
mod settings;
mod sizes;
mod task_kind;

pub use config_file::ConfigFile;
pub use encoder::{Encoder, ReadHeadCount};
pub use epsilon::Epsilon;
pub(crate) use evaluated::Evaluated;
pub use head_count::HeadCount;
pub(crate) use head_count::comparable;
pub(crate) use keys::HEADS;
pub use options::ConfigOptions;
pub(crate) use params::ParamsFile;
pub use resolve::resolve_config;
pub use resolved::{HeadActivation, ResolvedConfig};
pub use task_kind::TaskKind;

//! ELECTRA, and nothing of files: what each variable is for, which models a checkpoint holds, how
//! they are configured, and what their tensors are called.
//!
//! | question | answered by |
//! |---|---|
//! | which variable is which tensor? | [`names`], the one table of names |
//! | and which is it in TensorFlow 2 code? | `keras` |
//! | what is each variable for? | [`role`] |
//! | which belong to the training run alone? | `state` |
//! | which models are there? | [`setup`] |
//! | which other architecture is it? | `architecture` |
//! | what is the configuration, and who says so? | [`infer`], [`claim`], `graph` |
//! | which class computes a fine-tuned head, and how? | [`task`], [`recipe`] |
//! | which tensors does each Hugging Face class expect? | [`head`] |
//! | what does config.json look like? | [`config`] |

mod architecture;
pub mod claim;
pub mod config;
mod error;
mod graph;
pub mod head;
pub mod infer;
mod keras;
pub mod names;
pub mod recipe;
pub mod role;
pub mod setup;
mod state;
pub mod task;

pub use config::{Activation, ElectraConfig};
pub use error::Error;
pub(crate) use error::list;
pub use head::Head;
pub use names::is_transposed;
pub use recipe::Recipe;
pub use role::{Inventory, Item, Rename, Role};
pub use setup::{Model, Setup};
pub use task::{TaskHead, TaskKind};

//! The variables of a checkpoint: names, roles, and the models that they make up.
//!
//! | question | answered by |
//! |---|---|
//! | which variable is which tensor? | [`names`], the one table of names |
//! | and which is it in TensorFlow 2 code? | `keras` |
//! | what is each variable for? | [`Inventory`], [`Role`] |
//! | which belong to the training run alone? | `state` |
//! | which models are there? | [`TrainingSetup`] |
//! | which other architecture is it? | `architecture` |

mod architecture;
mod error;
mod inventory;
mod item;
mod keras;
mod model;
pub mod names;
mod recipe;
mod rename;
mod role;
mod setup;
mod state;

pub use error::Error;
pub(crate) use error::list;
pub use inventory::Inventory;
pub use item::InventoryEntry;
pub use model::Model;
pub use names::is_transposed;
pub use recipe::Recipe;
pub use rename::Rename;
pub use role::Role;
pub use setup::{TrainingSetup, follows_head_rule};

//! The variables of a checkpoint: their names and roles, and the models they form.
//!
//! | question | answered by |
//! |---|---|
//! | Which variable is which tensor? | `names`, the only table of names |
//! | What would the original code call a variable of TensorFlow 2 code? | `keras`, `garden` (Model Garden) |
//! | Which code wrote the checkpoint? | [`Code`] |
//! | What is the role of each variable? | [`Inventory`], [`Role`] |
//! | Which variables are only state of the training run? | `state` |
//! | Which models does the checkpoint hold? | [`TrainingSetup`] |
//! | Is it another architecture? | `architecture` |

mod architecture;
mod code;
mod entry;
mod error;
mod garden;
mod inventory;
mod keras;
mod list;
mod model;
pub(crate) mod names;
mod recipe;
mod rename;
mod role;
mod setup;
mod state;

pub use code::Code;
pub use entry::InventoryEntry;
pub use error::Error;
pub use inventory::Inventory;
pub(crate) use list::list;
pub use model::Model;
pub use names::Scopes;
pub use recipe::Recipe;
pub use rename::Rename;
pub use role::Role;
pub use setup::{TrainingSetup, follows_head_rule};

//! The plan of an export, as plain data: the variables of each tensor and how it is computed from them, the
//! variables left out with the reason, and the configuration.
//!
//! A plan is checked from both ends: a tensor of the architecture without a variable is an error, and so is
//! a variable without a tensor or another known role. Planning reads the index and the training graph,
//! and the attention weights if the graph does not show the head count. It writes nothing.
//!
//! | file | does |
//! |---|---|
//! | `types` | the plan |
//! | `build` | makes it |
//! | `tensors` | finds the variables of each tensor |
//! | `checks` | refuses what cannot be exported |
//! | `warnings` | explains what the user should know |

mod build;
mod cast;
mod checks;
mod error;
mod options;
mod tensors;
mod types;
mod warnings;

pub(crate) use cast::torch_name;
pub use cast::{Cast, TargetDtype};
pub use error::Error;
pub use options::{PlanOptions, TokenizerChoice, Weights};
pub use types::{LeftOut, Plan, PlannedTensor};

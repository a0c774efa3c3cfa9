//! What an export will be, as plain data: which variable becomes which tensor and how, what is left
//! out and why, and the configuration.

mod build;
mod cast;
mod checks;
mod error;
mod options;
mod types;

pub(crate) use cast::torch_name;
pub use cast::{Cast, TargetDtype};
pub use error::Error;
pub use options::{PlanOptions, Weights};
pub use types::{LeftOut, Plan, PlannedTensor};

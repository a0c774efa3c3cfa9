//! The whole job: choose models and options, plan, run.
//!
//! A [`Conversion`] is a builder over an open checkpoint. [`plan`](Conversion::plan) turns it into a
//! [`PlannedConversion`], which shows what will be done, and [`run`](PlannedConversion::run) does it: the
//! tensors are streamed into a staging directory, verified there, and published
//! together. On any error the output directory is as it was before, with two exceptions
//! ([`run`](PlannedConversion::run)).
//!
//! | file | contents |
//! |---|---|
//! | `request` | what to convert, and how |
//! | `planned` | plans it; computes the tensors in memory |
//! | `run` | writes, verifies and publishes what is planned |
//! | `reading` | what every read of a checkpoint needs: cancellation, a changed file, archives |

mod planned;
mod reading;
mod request;
mod run;

pub use planned::{ComputedTensor, PlannedConversion};
pub(crate) use reading::cancelling;
pub use request::{Conversion, Models, TextRequest};
pub use run::Export;

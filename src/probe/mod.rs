//! Runs converted models on text.
//!
//! | module | contents |
//! |---|---|
//! | [`fill`] | which tokens a generator predicts for each `[MASK]` |
//! | [`detect`] | which tokens a discriminator classifies as replaced |
//! | [`text_check`] | whether another head count predicts a text better |
//! | `model` | a loaded model with its tokenizer |
//! | `sampling` | draws masked positions and tokens |
//! | `statistics` | losses, ranks, bootstrap |

pub mod detect;
mod error;
pub mod fill;
mod model;
mod sampling;
mod statistics;
pub mod text_check;

pub use error::Error;
pub use model::{Probe, Tokens};

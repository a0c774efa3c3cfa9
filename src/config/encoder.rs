//! The encoder whose weights show its head count, and how they are read.

use crate::config::head_count::HeadCount;
use crate::variables::{Inventory, Scopes};

/// The variables of an encoder.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Encoder {
    /// Their scopes.
    pub scopes: Scopes,
    /// Number of layers.
    pub layers: usize,
    /// The width.
    pub hidden_size: usize,
}

/// Reads what the weights of an encoder show of its head count; returns `None` if they cannot be read. It is
/// called at most once for a configuration, and not at all if the training graph shows the head count.
pub type ReadHeadCount<'a> = dyn Fn(&Inventory, Encoder) -> Option<HeadCount> + 'a;

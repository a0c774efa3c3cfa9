//! Why a part of a graph was not evaluated.

use std::fmt;

use tf_checkpoint::NodeId;

use crate::failure::Failure;

/// Why a part of a graph was not evaluated: the node, and what is wrong with it.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The node; `None` if the reason lies in no single node.
    pub node: Option<NodeId>,
    /// The reason.
    pub reason: Failure,
}

impl Refusal {
    /// Creates a refusal at a node.
    pub(crate) fn at(node: NodeId, reason: Failure) -> Self {
        Self {
            node: Some(node),
            reason,
        }
    }

    /// Creates a refusal at a node for something that is not supported.
    pub(crate) fn unsupported(node: NodeId, why: impl Into<String>) -> Self {
        Self::at(node, Failure::Unsupported(why.into()))
    }

    /// Returns true if the evaluation was cancelled.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.reason, Failure::Cancelled)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl std::error::Error for Refusal {}

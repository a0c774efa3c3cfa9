//! The reason why an output of a graph is not evaluated.

use tf_checkpoint::NodeId;

/// The reason why an output of a graph is not evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The node where the graph is not understood; `None` if the graph lacks a part.
    pub(crate) node: Option<NodeId>,
    /// What is not understood.
    pub(crate) reason: String,
}

impl Refusal {
    /// Creates a refusal that names a node.
    pub(super) fn at(node: NodeId, reason: impl Into<String>) -> Self {
        Self {
            node: Some(node),
            reason: reason.into(),
        }
    }

    /// Creates a refusal that names no node.
    pub(super) fn lacking(reason: impl Into<String>) -> Self {
        Self {
            node: None,
            reason: reason.into(),
        }
    }
}

impl From<tf_graph::Refusal> for Refusal {
    fn from(refusal: tf_graph::Refusal) -> Self {
        Self {
            node: refusal.node,
            reason: refusal.reason.to_string(),
        }
    }
}

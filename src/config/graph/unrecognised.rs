//! A part of the training graph that no rule recognises.

use tf_checkpoint::NodeId;

use super::view::View;
use crate::variables::Error;

/// A part of the graph that shows a value in a way that no rule recognises.
#[derive(Clone, Debug)]
pub(crate) struct Unrecognised {
    /// The value, such as `the activation of electra/encoder/layer_0`.
    pub(super) subject: String,
    /// The node where recognition ended.
    pub(super) node: NodeId,
    /// What the node computes instead of something known.
    pub(super) why: String,
    /// True if the graph was followed to its end and computes something that no class computes, so that
    /// no option makes an export correct.
    pub(super) is_foreign: bool,
}

impl Unrecognised {
    /// Describes what the graph computes instead, for messages.
    pub(crate) fn describe(&self, view: &View<'_>) -> String {
        format!("{} (node {})", self.why, view.graph().name(self.node))
    }

    /// Returns true if the user's value cannot replace what the graph computes.
    pub(crate) fn is_foreign(&self) -> bool {
        self.is_foreign
    }

    /// Returns the error, which names the node, and the option that gives the value if there is one.
    pub(crate) fn error(&self, view: &View<'_>, option: &'static str) -> Error {
        Error::Unrecognised {
            path: view.graph().path().into(),
            subject: self.subject.as_str().into(),
            node: view.graph().name(self.node).into(),
            why: self.why.as_str().into(),
            option: (!self.is_foreign).then_some(option),
        }
    }
}

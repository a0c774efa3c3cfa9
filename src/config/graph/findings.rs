//! What a graph shows of one value, collected over all places that show it.

use tf_checkpoint::NodeId;

use super::unrecognised::Unrecognised;
use super::view::View;
use crate::config::candidate::Candidate;

/// What a graph shows of one value.
#[derive(Debug)]
pub(crate) struct Findings<T> {
    /// A candidate from each place that shows the value.
    pub(crate) candidates: Vec<Candidate<T>>,
    /// The first place that was not recognised.
    pub(crate) unrecognised: Option<Unrecognised>,
}

impl<T> Default for Findings<T> {
    fn default() -> Self {
        Self {
            candidates: Vec::new(),
            unrecognised: None,
        }
    }
}

impl<T> Findings<T> {
    /// Adds what one place shows: a value and its node, or nothing if the graph lacks the place.
    pub(super) fn add(
        &mut self,
        view: &View<'_>,
        found: Result<Option<(T, NodeId)>, Unrecognised>,
    ) {
        match found {
            Ok(None) => {}
            Ok(Some((value, node))) => {
                let candidate = Candidate::new(value, view.source(node));
                self.candidates.push(candidate);
            }
            Err(unrecognised) => {
                self.unrecognised.get_or_insert(unrecognised);
            }
        }
    }
}

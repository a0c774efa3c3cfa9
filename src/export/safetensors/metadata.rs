//! The metadata of the weights: the origin of a model.

use std::collections::BTreeMap;

use tf_checkpoint::Location;

use crate::plan::{Plan, Weights};

/// The key for the task of a fine-tuned model.
pub const TASK_KEY: &str = "task";

/// The key for the kind of the weights, if they are moving averages.
pub const WEIGHTS_KEY: &str = "weights";

/// Returns the metadata of the weights: `format`, which transformers requires, and the origin of the
/// model. All values come from the checkpoint, none from a clock or a path, so that the same checkpoint
/// gives the same file.
pub(crate) fn provenance(
    plan: &Plan,
    location: &Location,
    step: Option<u64>,
) -> BTreeMap<String, String> {
    let mut metadata = BTreeMap::from([
        ("format".to_owned(), "pt".to_owned()),
        (
            "converter".to_owned(),
            concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned(),
        ),
        ("source".to_owned(), location.name()),
        ("model".to_owned(), plan.model.key().to_owned()),
    ]);
    if let Some(step) = step {
        metadata.insert("step".to_owned(), step.to_string());
    }
    if let Some(task) = &plan.task {
        metadata.insert(TASK_KEY.to_owned(), task.name.clone());
    }
    if plan.weights != Weights::default() {
        metadata.insert(WEIGHTS_KEY.to_owned(), plan.weights.key().to_owned());
    }
    if let Some(inexact) = &plan.inexact {
        metadata.insert("inexact".to_owned(), inexact.clone());
    }
    metadata
}

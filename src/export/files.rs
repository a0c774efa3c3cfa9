//! The small files of an export, and what the metadata of the weights says.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use tf_checkpoint::Location;

use super::Error;
use crate::plan::{Plan, Weights};

/// Name of the weights; transformers looks for exactly this.
pub const WEIGHTS_FILE: &str = "model.safetensors";
/// Name of the configuration; transformers looks for exactly this.
pub const CONFIG_FILE: &str = "config.json";

/// The key of a fine-tuned model's task in the metadata of the weights.
pub const TASK_KEY: &str = "task";

/// The key in the metadata of the weights that says that they are averages.
pub const WEIGHTS_KEY: &str = "weights";

/// Writes a file of text and syncs it; returns its length.
pub(crate) fn write_text(text: &str, path: &Path) -> Result<u64, Error> {
    File::create_new(path)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .map_err(Error::writing(path))?;
    Ok(text.len() as u64)
}

/// The metadata of the weights: `format`, without which transformers does not load them, and where
/// they come from. Only what is in the checkpoint itself: no clock, no path.
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

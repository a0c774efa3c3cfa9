//! The steps from an open checkpoint to a published model.
//!
//! A [`Plan`] says what will be done (`plan`), `write` streams the tensors through `transform` into a
//! staging folder, `publish` moves the result to its place. [`crate::convert()`] runs them in turn.

mod buffer;
mod lift;
mod plan;
mod publish;
pub(crate) mod record;
mod stream;
mod transform;
mod write;

pub use buffer::AlignedBytes;
pub use plan::{LeftOut, Plan, PlanOptions, PlannedTensor, TargetDtype, Weights};
pub(crate) use publish::{Contents, HIDDEN, Stage};
pub(crate) use transform::uncast;
pub use transform::{Cast, transpose};
pub(crate) use write::{convert_tensor, read_floats, write_safetensors};

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::checkpoint;
use crate::checkpoint::Location;
use crate::electra;
use crate::progress::Stopped;
use crate::tokenizer;

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

/// Why nothing was exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The checkpoint cannot be found or read.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    /// Its variables are not the model that was asked for.
    #[error(transparent)]
    Electra(#[from] electra::Error),
    /// The vocabulary is not this model's.
    #[error(transparent)]
    Tokenizer(#[from] tokenizer::Error),
    /// A value that the target type cannot hold.
    #[error(
        "tensor {tensor} does not fit {dtype}: element {index} of variable {variable} is {value:e}; \
         write it with a wider --dtype (bf16, f32)"
    )]
    Overflow {
        /// Name of the tensor.
        tensor: String,
        /// Name of the variable.
        variable: String,
        /// Index of the element in the variable, row-major.
        index: usize,
        /// Its value.
        value: f64,
        /// The type asked for.
        dtype: String,
    },
    /// A file of that name is there already.
    #[error("{} exists already: choose another folder, or replace it with --force", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A folder has the name of a file to be written.
    #[error("{} is a folder, where a file of that name belongs: move it away", path.display())]
    FolderInTheWay {
        /// The folder.
        path: PathBuf,
    },
    /// OUT is no folder.
    #[error("{} is a file: give a folder to write into", path.display())]
    NotAFolder {
        /// The file.
        path: PathBuf,
    },
    /// Another conversion into OUT is running.
    #[error("another conversion is writing into {}: wait for it, or choose another folder", path.display())]
    Busy {
        /// OUT.
        path: PathBuf,
    },
    /// Another conversion into OUT is running or was killed, and there is no lock to tell which.
    #[error(
        "{} exists; cannot tell whether another conversion is running (this file system has no \
         locks): if none is, move the files in its folder `old` back and remove it",
        path.display()
    )]
    Unlocked {
        /// The staging directory in OUT.
        path: PathBuf,
    },
    /// What a killed conversion left cannot be understood, so that nothing was touched.
    #[error(
        "{} {what}: nothing was changed; files of an earlier export may be in its folder `old`, move \
         them back to where they belong, then remove {} and convert again",
        hidden.display(),
        hidden.display()
    )]
    UnknownJournal {
        /// The staging directory in OUT.
        hidden: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// OUT was moved or removed during the conversion.
    #[error(
        "{} is no longer the folder that it was when the conversion began: nothing was published",
        path.display()
    )]
    Replaced {
        /// OUT.
        path: PathBuf,
    },
    /// A file of another export, which this export has no counterpart of.
    #[error(
        "{} exists already and is not part of this export, but would be loaded with it: choose \
         another folder, or remove the files of the other export with --force",
        path.display()
    )]
    Leftover {
        /// The file.
        path: PathBuf,
    },
    /// A file beside the checkpoint that would be removed as part of an earlier export.
    #[error(
        "{} lies beside the checkpoint and would become part of this export, which does not write \
         it: choose another folder",
        path.display()
    )]
    BesideCheckpoint {
        /// The file.
        path: PathBuf,
    },
    /// A file of another kind that transformers may load instead of the export's.
    #[error(
        "{} exists already, and transformers may load it instead of this export ({why}): choose \
         another folder, move it away, or convert with --force, which leaves it",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Who loads it.
        why: &'static str,
    },
    /// The operating system refused to write.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The header breaks a rule of the format.
    #[error("the safetensors header is not valid: {0}")]
    Header(String),
    /// [`Progress`](crate::Progress) stopped the work.
    #[error("interrupted: nothing was written")]
    Interrupted,
    /// Neither the new files nor the old ones could be put in place.
    #[error(
        "cannot put {} back; the files of the earlier export are in {}, the next conversion into this \
         folder moves them back",
        path.display(),
        kept.display()
    )]
    Stranded {
        /// The file that could not be moved back.
        path: PathBuf,
        /// Where the old files are.
        kept: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl From<Stopped> for Error {
    fn from(Stopped: Stopped) -> Self {
        Self::Interrupted
    }
}

impl Error {
    fn writing(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Write { path, source }
    }
}

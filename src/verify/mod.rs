//! Proves that a converted folder is right, or says what is wrong with it.
//!
//! | check | asks | in |
//! |---|---|---|
//! | structure | does each of the eight classes find the tensors that it expects? | `structure` |
//! | bits | is each tensor its variable, transformed back, by the checkpoint's CRC-32C? | `bits` |
//! | values | are all numbers finite, and is no tensor constant? | `values` |
//! | forward | does each class compute something finite that padding and order do not change? | `forward` |
//! | task | does the head of a fine-tuned model compute what the checkpoint's own does? | `task_head` |
//! | tokenizer | do the tokenizer files agree with the weights and with each other? (where there are some) | `tokenizer` |
//! | text | does another head count explain text clearly better? (where there is some) | [`text_check`] |
//! | golden | does it compute what a reference computed? (where there is one) | `golden` |
//!
//! # What proves what
//!
//! Against the checkpoint ([`CompareWith::Checkpoint`]) *bits* proves that every tensor holds the bytes
//! of the variable that the name table says, whatever happened to the file since. For that the
//! `.index` file is enough: it holds the CRC-32C of every variable. Rounded tensors (`--dtype`) are
//! compared value by value, which needs the data.
//!
//! Without the checkpoint ([`CompareWith::RecordedChecksums`]) *bits* compares with the checksums that the
//! conversion noted in the metadata. That proves that no tensor has changed, moved or been swapped
//! since; not that the conversion was right, nor that nobody changed tensor and note together.
//!
//! Neither can tell a wrong head count or activation in config.json: shapes fit and numbers stay
//! finite. *golden* can, *text* often can, and so can a `.meta` file beside the checkpoint.

mod checksums;
mod failure;
mod forward;
mod golden;
mod structure;
mod task_head;
mod tokenizer;
mod values;

pub use checksums::ChecksumReport;
pub use failure::Failure;
pub use forward::HeadOutput;
pub use golden::{Deviation, GoldenReport};
pub use structure::Structure;
pub use task_head::TaskReport;
pub use tokenizer::TokenizerReport;

use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_electra::{DECODER_WEIGHT, ElectraConfig, ModelClass, WORD_EMBEDDINGS};
use tf_checkpoint::Checkpoint;
use tf_checkpoint::storage::regular::{self, Kind};

use crate::export::{
    self, AlignedBytes, CONFIG_FILE, LoadError, WEIGHTS_FILE, WeightsFile, read_config,
};
use crate::plan::Plan;
use crate::probe::text_check::{self, Text, TextCheck, Verdict};
use crate::progress::{Phase, Progress, Stopped, Watch};
use crate::threads;
use checksums::ChecksumCheck;

/// What the written tensors are compared with.
#[derive(Clone, Copy, Debug)]
pub enum CompareWith<'a> {
    /// The checkpoint, or its `.index` alone, and the plan of the conversion.
    Checkpoint(&'a Checkpoint, &'a Plan),
    /// The checksums that the conversion noted in the metadata.
    RecordedChecksums,
}

/// Reference outputs to compare with.
#[derive(Clone, Copy, Debug)]
pub struct Golden<'a> {
    /// A safetensors file with a batch and what should come of it.
    pub path: &'a Path,
    /// The largest absolute deviation allowed.
    pub tolerance: f32,
}

/// What else to compare the model with.
#[derive(Clone, Copy, Debug, Default)]
pub struct References<'a> {
    /// Outputs of the original graph.
    pub golden: Option<Golden<'a>>,
    /// Text in the model's language.
    pub text: Option<Text<'a>>,
}

/// The largest deviation from the original graph that is put down to the order of additions.
pub const GOLDEN_TOLERANCE: f32 = 2e-5;

/// The most labels of a head that starts from made-up weights. What config.json says has no tensor to
/// be held against there.
const MAX_MADE_UP_LABELS: usize = 1 << 16;

/// One of the eight classes.
#[derive(Debug)]
pub struct HeadReport {
    /// The class.
    pub head: ModelClass,
    /// Which tensors it finds.
    pub structure: Structure,
    /// What it computed; `None` where an earlier failure left nothing to run.
    pub output: Option<HeadOutput>,
}

/// The outcome of all checks.
#[derive(Debug)]
pub struct Report {
    /// The class that the folder is written for.
    pub own: ModelClass,
    /// All classes.
    pub heads: Vec<HeadReport>,
    /// The comparison with the checkpoint.
    pub bits: ChecksumReport,
    /// Tensors whose elements are all the same.
    pub constant: Vec<String>,
    /// The tokenizer files; `None` if there are none.
    pub tokenizer: Option<TokenizerReport>,
    /// The comparison of a fine-tuned head with the checkpoint's own.
    pub task: Option<TaskReport>,
    /// The comparison with reference outputs, where there are some.
    pub golden: Option<GoldenReport>,
    /// The measurement on text, where there is some.
    pub text: Option<TextCheck>,
    /// Everything that is wrong; empty when the folder is right.
    pub failures: Vec<Failure>,
    /// Time taken, in seconds.
    pub seconds: f64,
}

impl Report {
    /// True when nothing is wrong.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }

    /// The first failure, and how many more there are.
    pub fn summary(&self) -> String {
        match &self.failures[..] {
            [] => "nothing is wrong".to_owned(),
            [only] => only.to_string(),
            [first, rest @ ..] => format!("{first}; and {} more", rest.len()),
        }
    }
}

/// Verifies `folder`, which holds `config.json` and `model.safetensors`.
///
/// What is wrong with the model is in the [`Report`]; an error means that there was nothing to look
/// at.
pub fn verify(
    folder: &Path,
    original: CompareWith<'_>,
    references: References<'_>,
    progress: &dyn Progress,
) -> Result<Report, Error> {
    let watch = Watch::new(progress);
    let report = watched(folder, original, references, &watch);
    // An error, or a failed check, may be what a stop in the middle of it looks like.
    watch.check()?;
    report
}

/// As [`verify`]. After a stop the result means nothing.
pub(crate) fn watched(
    folder: &Path,
    original: CompareWith<'_>,
    references: References<'_>,
    watch: &Watch<'_>,
) -> Result<Report, Error> {
    let start = Instant::now();
    check_files(folder)?;
    let config = read_config(&folder.join(CONFIG_FILE))?;
    let weights = WeightsFile::open(&folder.join(WEIGHTS_FILE))?;
    begin(&weights, original, references, watch);
    let own = config
        .architectures
        .first()
        .and_then(|class| ModelClass::from_name(class))
        .unwrap_or(ModelClass::Model);
    let mut failures = Vec::new();

    if let CompareWith::Checkpoint(_, plan) = original {
        compare_config(&config, plan, &mut failures);
    }
    let structures = structure::check(&weights, &config, own, &mut failures);
    let (bits, constant) = check_tensors(&weights, original, watch, &mut failures)?;
    check_tied_decoder(&weights, &mut failures)?;
    let rows = weights
        .info(WORD_EMBEDDINGS)
        .and_then(|info| info.shape.first())
        .map_or(config.vocab_size, |&rows| rows);
    let before = failures.len();
    let tokenizer = tokenizer::check(folder, &config, rows, &mut failures)?;
    let is_tokenizer_right = failures.len() == before;

    // A model that cannot be loaded, or computes NaN by its weights, has nothing more to tell.
    let runs = failures.iter().all(|failure| !failure.stops_forward());
    let mut outputs = Vec::new();
    let mut task_report = None;
    let mut golden_report = None;
    let mut text_report = None;
    if runs {
        // Another class may have a tensor of the same name and another shape; transformers does not
        // load it either.
        let loads = structures.iter().filter(|(_, s)| s.mismatched.is_empty());
        let heads = loads.map(|(head, _)| *head);
        let heads = heads.filter(|head| head.can_run(&config));
        let can_be_made_up = config.num_labels() <= MAX_MADE_UP_LABELS;
        let heads = heads.filter(|head| *head == own || can_be_made_up);
        outputs = forward::check(&weights, &config, heads, watch, &mut failures)?;
        if let CompareWith::Checkpoint(checkpoint, plan) = original {
            task_report =
                task_head::check(&weights, &config, plan, checkpoint, watch, &mut failures)?;
        }
        golden_report = references
            .golden
            .map(|golden| golden::check(&weights, &config, own, golden, watch, &mut failures))
            .transpose()?;
        watch.end()?;
        text_report = references
            .text
            .filter(|_| is_tokenizer_right)
            .map(|text| check_text(folder, text, watch, &mut failures))
            .transpose()?;
    }
    let heads = structures
        .into_iter()
        .map(|(head, structure)| HeadReport {
            head,
            structure,
            output: outputs
                .iter()
                .position(|(ran, _)| *ran == head)
                .map(|at| outputs.swap_remove(at).1),
        })
        .collect();
    Ok(Report {
        own,
        heads,
        bits,
        constant,
        tokenizer,
        task: task_report,
        golden: golden_report,
        text: text_report,
        failures,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// Checks that an export is there: both of its files.
pub fn check_files(folder: &Path) -> Result<(), Error> {
    let io_error = |path: &Path| {
        let path = path.to_owned();
        |source| Error::Load(LoadError::Io { path, source })
    };
    let kind = |path: &Path| regular::kind(path).map_err(io_error(path));
    let no_folder = |what| Error::NoFolder {
        path: folder.to_owned(),
        what,
    };
    match kind(folder)? {
        Some(Kind::Directory) => {}
        Some(Kind::File | Kind::Other(_)) => return Err(no_folder("is a file")),
        None => return Err(no_folder("does not exist")),
    }
    for file in [CONFIG_FILE, WEIGHTS_FILE] {
        let path = folder.join(file);
        match kind(&path)? {
            Some(Kind::File) => {}
            Some(other) => {
                let what = format!("it is {other}, not a regular file");
                return Err(Error::Incomplete { path, what });
            }
            None => {
                // A conversion was killed while it published.
                let what = if folder.join(export::HIDDEN).is_dir() {
                    "a conversion into this folder is running or was killed: convert again, which \
                     first brings the earlier export back"
                } else {
                    "the folder holds no complete export: convert the checkpoint again"
                };
                let what = format!("it is missing; {what}");
                return Err(Error::Incomplete { path, what });
            }
        }
    }
    Ok(())
}

/// Every tensor is read for its own checks and for the forward pass, and once more for each comparison.
fn begin(
    weights: &WeightsFile,
    original: CompareWith<'_>,
    references: References<'_>,
    watch: &Watch<'_>,
) {
    let len = |(start, end): (usize, usize)| end.saturating_sub(start) as u64;
    let tensors = weights.tensors().into_iter();
    let bytes: u64 = tensors.map(|(_, info)| len(info.data_offsets)).sum();
    let has_task = matches!(original, CompareWith::Checkpoint(_, plan) if plan.task.is_some());
    let times = 2 + u64::from(has_task) + u64::from(references.golden.is_some());
    watch.begin(Phase::Verifying, bytes.saturating_mul(times));
}

/// Compares config.json with what shapes and training graph say.
fn compare_config(config: &ElectraConfig, plan: &Plan, failures: &mut Vec<Failure>) {
    let [found, expected] =
        [config, plan.config()].map(|config| serde_json::to_value(config).expect("plain data"));
    for (&key, source) in &plan.resolved.sources {
        if source.is_evidence() && found[key] != expected[key] {
            failures.push(Failure::Config {
                key,
                found: found[key].to_string(),
                expected: format!("{} ({source})", expected[key]),
            });
        }
    }
}

/// Measures the model on text with every head count; another that is clearly better is a failure.
fn check_text(
    folder: &Path,
    text: Text<'_>,
    watch: &Watch<'_>,
    failures: &mut Vec<Failure>,
) -> Result<TextCheck, Error> {
    let check = text_check::watched(folder, &text, watch)?;
    if let Verdict::Contradicted { better, confidence } = check.verdict {
        failures.push(Failure::HeadCount {
            configured: check.configured,
            better,
            confidence,
        });
    }
    Ok(check)
}

/// What the checks of one tensor's bits and values found.
#[derive(Default)]
struct TensorChecks {
    bits: ChecksumReport,
    is_constant: bool,
    failures: Vec<Failure>,
}

/// Reads every tensor once, for the checks of its bits and its values, on all cores.
fn check_tensors(
    weights: &WeightsFile,
    original: CompareWith<'_>,
    watch: &Watch<'_>,
    failures: &mut Vec<Failure>,
) -> Result<(ChecksumReport, Vec<String>), Error> {
    let bits = ChecksumCheck::new(weights, original, failures);
    let tensors = weights.tensors();
    let check = |at: usize| -> Result<TensorChecks, Error> {
        let (name, info) = &tensors[at];
        let (start, end) = info.data_offsets;
        let mut bytes = AlignedBytes::beside(end - start, weights.offset(info));
        weights.read(info, bytes.as_bytes_mut())?;
        let mut found = TensorChecks::default();
        match values::check(&bytes, info) {
            values::Values::Ordinary => {}
            values::Values::Constant => found.is_constant = true,
            values::Values::NotFinite { index, value } => found.failures.push(Failure::NotFinite {
                tensor: name.clone(),
                index,
                value,
            }),
        }
        bits.check(name, info, bytes, &mut found.bits, &mut found.failures)?;
        watch.advance((end - start) as u64)?;
        Ok(found)
    };
    let checked = threads::map(tensors.len(), check)?;
    let mut report = ChecksumReport::default();
    let mut constant = Vec::new();
    for ((name, _), found) in std::iter::zip(&tensors, checked) {
        report.add(&found.bits);
        constant.extend(found.is_constant.then(|| name.clone()));
        failures.extend(found.failures);
    }
    Ok((report, constant))
}

/// A decoder in the file must be the word embeddings: transformers 4 ties it whatever it is, 5 keeps
/// it, so that one file would be two models.
fn check_tied_decoder(weights: &WeightsFile, failures: &mut Vec<Failure>) -> Result<(), Error> {
    let (Some(decoder), Some(words)) =
        (weights.info(DECODER_WEIGHT), weights.info(WORD_EMBEDDINGS))
    else {
        return Ok(());
    };
    let read = |info: &safetensors::tensor::TensorInfo| {
        let mut bytes = vec![0; info.data_offsets.1 - info.data_offsets.0];
        weights.read(info, &mut bytes).map(|()| bytes)
    };
    if read(decoder)? != read(words)? {
        failures.push(Failure::Untied);
    }
    Ok(())
}

/// Why there was nothing to verify.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// config.json, model.safetensors or a file of reference outputs is none.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The checkpoint to compare with cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] export::Error),
    /// There is no such folder.
    #[error("{} {what}: give the folder of an export", path.display())]
    NoFolder {
        /// The path as given.
        path: PathBuf,
        /// What is there instead.
        what: &'static str,
    },
    /// A file that every export has is not there.
    #[error("{}: {what}", path.display())]
    Incomplete {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        what: String,
    },
    /// The file of reference outputs cannot be read.
    #[error("cannot read {}", path.display())]
    Reference {
        /// The file.
        path: PathBuf,
        /// What the system reported.
        source: std::io::Error,
    },
    /// [`Progress`] stopped the work.
    #[error("interrupted")]
    Interrupted,
    /// The system allows no threads.
    #[error("cannot start threads")]
    Threads(#[source] std::io::Error),
    /// Reference outputs that are not as they should be.
    #[error("{}: {what}", path.display())]
    Golden {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The text cannot be measured.
    #[error(transparent)]
    Probe(#[from] crate::probe::Error),
    /// A computation failed for another reason than the model.
    #[error("the forward pass failed")]
    Candle(#[from] candle_core::Error),
}

impl From<Stopped> for Error {
    fn from(Stopped: Stopped) -> Self {
        Self::Interrupted
    }
}

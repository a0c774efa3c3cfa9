//! Everything that can be wrong with a folder, each with the sentence that says so.

use std::fmt;

use candle_electra::{DECODER_WEIGHT, ModelClass, WORD_EMBEDDINGS};

use crate::export::{CONFIG_FILE, WEIGHTS_FILE};

/// The largest deviation allowed between two ways to compute the logits of a fine-tuned head.
pub(super) const TASK_TOLERANCE: f64 = 1e-4;

/// Something that is wrong with a folder.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Failure {
    /// A tensor that the folder's own class needs.
    Missing {
        /// Name of the tensor.
        tensor: String,
        /// The class.
        head: ModelClass,
    },
    /// A tensor that the folder's own class has no place for.
    Unexpected {
        /// Name of the tensor.
        tensor: String,
        /// The class.
        head: ModelClass,
    },
    /// A tensor of another shape than config.json gives it.
    Mismatched {
        /// Name of the tensor.
        tensor: String,
        /// Its shape in the file.
        found: Vec<usize>,
        /// Its shape by config.json.
        expected: Vec<usize>,
    },
    /// More layers in config.json than tensors in the file.
    TooManyLayers {
        /// `num_hidden_layers`
        layers: usize,
        /// Number of tensors.
        tensors: usize,
    },
    /// A tensor that is not its variable.
    Different {
        /// Name of the tensor.
        tensor: String,
        /// Name of the variable, where it is known.
        variable: Option<String>,
        /// What differs.
        what: String,
    },
    /// A tensor in one list and not in the other.
    NotInOriginal {
        /// Name of the tensor.
        tensor: String,
    },
    /// A tensor of the original that the file does not have.
    NotInFile {
        /// Name of the tensor.
        tensor: String,
    },
    /// The notes of the conversion cannot be read.
    BadRecord {
        /// What is wrong with them.
        what: String,
    },
    /// config.json differs from what the checkpoint says.
    Config {
        /// The key.
        key: &'static str,
        /// In config.json.
        found: String,
        /// By the checkpoint.
        expected: String,
    },
    /// A tokenizer file that contradicts the weights or another file.
    Tokenizer {
        /// The file.
        file: &'static str,
        /// What it says, and what is expected.
        what: String,
    },
    /// A NaN or an infinity.
    NotFinite {
        /// Name of the tensor.
        tensor: String,
        /// Index of the element, row-major.
        index: usize,
        /// `NaN`, `inf` or `-inf`.
        value: f64,
    },
    /// The file's decoder is not the word embeddings.
    Untied,
    /// A class computed a NaN or an infinity, or the wrong shape, or could not be loaded.
    Forward {
        /// The class.
        head: ModelClass,
        /// What happened.
        what: String,
    },
    /// Another head count explains the text clearly better.
    HeadCount {
        /// `num_attention_heads`
        configured: usize,
        /// The count that does better.
        better: usize,
        /// Share of bootstrap samples in which it does.
        confidence: f64,
    },
    /// A fine-tuned head computes something else than the checkpoint's own.
    TaskHead {
        /// The task.
        task: String,
        /// The largest absolute deviation.
        deviation: f64,
    },
    /// An output is further from its reference than allowed.
    Golden {
        /// Name of the output.
        output: String,
        /// The largest absolute deviation.
        deviation: f32,
        /// The largest allowed.
        tolerance: f32,
    },
}

impl Failure {
    /// True when no forward pass makes sense any more.
    pub(super) fn stops_forward(&self) -> bool {
        matches!(
            self,
            Self::Missing { .. }
                | Self::Mismatched { .. }
                | Self::TooManyLayers { .. }
                | Self::NotFinite { .. }
        )
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { tensor, head } => {
                write!(f, "tensor {tensor} is missing, which {head} needs")
            }
            Self::Unexpected { tensor, head } => {
                write!(
                    f,
                    "tensor {tensor} is in the file, {head} has no place for it"
                )
            }
            Self::Mismatched {
                tensor,
                found,
                expected,
            } => write!(
                f,
                "tensor {tensor} has the shape {found:?}, by {CONFIG_FILE} it should be {expected:?}"
            ),
            Self::TooManyLayers { layers, tensors } => write!(
                f,
                "{CONFIG_FILE} says num_hidden_layers {layers}, the file has only {tensors} tensors"
            ),
            Self::Different {
                tensor,
                variable: Some(variable),
                what,
            } => write!(f, "tensor {tensor} is not variable {variable}: {what}"),
            Self::Different { tensor, what, .. } => {
                write!(f, "tensor {tensor} is not what was converted: {what}")
            }
            Self::NotInOriginal { tensor } => {
                write!(
                    f,
                    "tensor {tensor} comes from no variable of the checkpoint"
                )
            }
            Self::NotInFile { tensor } => {
                write!(f, "tensor {tensor} was converted and is not in the file")
            }
            Self::BadRecord { what } => write!(
                f,
                "the checksums in the metadata of {WEIGHTS_FILE} cannot be read: {what}"
            ),
            Self::Config {
                key,
                found,
                expected,
            } => write!(
                f,
                "{CONFIG_FILE} says {key} {found}, by the checkpoint it is {expected}"
            ),
            Self::Tokenizer { file, what } => write!(f, "{file} {what}"),
            Self::NotFinite {
                tensor,
                index,
                value,
            } => write!(f, "tensor {tensor} has {value} at element {index}"),
            Self::Untied => write!(
                f,
                "tensor {DECODER_WEIGHT} differs from {WORD_EMBEDDINGS}, to which it is tied"
            ),
            Self::Forward { head, what } => write!(f, "{head} {what}"),
            Self::HeadCount {
                configured,
                better,
                confidence,
            } => write!(
                f,
                "on the text, {better} attention heads do better than the {configured} of \
                 {CONFIG_FILE} ({:.1} % of bootstrap samples): give --num-attention-heads {better}",
                confidence * 100.0
            ),
            Self::TaskHead { task, deviation } => write!(
                f,
                "the logits of task {task} are {deviation:.1e} away from those of the checkpoint's \
                 own head, more than {TASK_TOLERANCE:.1e}"
            ),
            Self::Golden {
                output,
                deviation,
                tolerance,
            } => write!(
                f,
                "output {output} is {deviation:.1e} away from its reference, more than \
                 {tolerance:.1e}: head count, activation or weights are not those of the reference"
            ),
        }
    }
}

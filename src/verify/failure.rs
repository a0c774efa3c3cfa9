//! Everything that can be wrong with a directory, with its message.

use std::fmt;

use candle_electra::{DECODER_WEIGHT, ModelClass, WORD_EMBEDDINGS};

use super::graph::Difference;
use crate::export::{CONFIG_FILE, WEIGHTS_FILE};

/// The largest deviation allowed between the logits of a fine-tuned head and those of the checkpoint's own.
pub(super) const TASK_TOLERANCE: f64 = 1e-4;

/// A check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Check {
    /// Is config.json that of the checkpoint, and possible?
    Config,
    /// Does each class find its tensors?
    Structure,
    /// Are the tensors those of the checkpoint?
    Checksums,
    /// Are all values finite?
    Values,
    /// Do the weights show the head count?
    Heads,
    /// Does each class compute what it should?
    Forward,
    /// Does the head of a task compute what the checkpoint's own computes?
    Task,
    /// Does the model compute what the training graph computes?
    Graph,
    /// Do the tokenizer files fit the weights?
    Tokenizer,
    /// Are the outputs those of a reference?
    Golden,
    /// Does the configured head count predict a text best?
    Text,
}

/// Something that is wrong with a directory.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Failure {
    /// A tensor that the class of the directory requires.
    Missing {
        /// Name of the tensor.
        tensor: String,
        /// The class.
        class: ModelClass,
    },
    /// A tensor that the class of the directory does not have.
    Unexpected {
        /// Name of the tensor.
        tensor: String,
        /// The class.
        class: ModelClass,
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
    /// More layers in config.json than the tensors in the file can make up.
    TooManyLayers {
        /// `num_hidden_layers`
        layers: usize,
        /// Number of tensors.
        tensors: usize,
    },
    /// A tensor that does not match its variable or its recorded checksum.
    Different {
        /// Name of the tensor.
        tensor: String,
        /// Name of the variable; `None` without a checkpoint.
        variable: Option<String>,
        /// What differs.
        what: String,
    },
    /// A tensor in the file that is neither planned nor recorded.
    NotConverted {
        /// Name of the tensor.
        tensor: String,
    },
    /// A tensor that is planned or recorded and not in the file.
    NotInFile {
        /// Name of the tensor.
        tensor: String,
    },
    /// The recorded checksums cannot be read.
    InvalidChecksums {
        /// What is wrong with them.
        what: String,
    },
    /// A value in config.json that contradicts the checkpoint.
    Config {
        /// The key.
        key: &'static str,
        /// The value in config.json.
        found: String,
        /// The value that the checkpoint shows, with its source.
        expected: String,
    },
    /// A tokenizer file that contradicts the weights or another file.
    Tokenizer {
        /// The file.
        file: &'static str,
        /// What it contains, and what is expected.
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
    /// The decoder in the file differs from the word embeddings.
    Untied,
    /// A class could not be loaded, or computed a wrong shape, a NaN or an infinity, or outputs that depend
    /// on padding or batch order.
    Forward {
        /// The class.
        class: ModelClass,
        /// What happened.
        what: String,
    },
    /// A head count in config.json that does not divide the hidden size.
    IndivisibleHeads {
        /// `num_attention_heads`
        heads: usize,
        /// `hidden_size`
        hidden: usize,
    },
    /// The weights show another head count.
    Heads {
        /// Their head count, and that of config.json.
        what: String,
    },
    /// Another head count predicts the text clearly better.
    HeadCount {
        /// `num_attention_heads`
        configured: usize,
        /// The better count.
        better: usize,
        /// Share of bootstrap samples in which it is better.
        confidence: f64,
    },
    /// The logits of a fine-tuned head deviate from those of the checkpoint's own.
    TaskHead {
        /// The task.
        task: String,
        /// The largest absolute deviation.
        deviation: f64,
    },
    /// An output deviates from what the training graph computes.
    Graph {
        /// Name of the output.
        output: String,
        /// The largest deviation, relative to the largest value of the output, or to 1.
        deviation: f64,
        /// The largest allowed.
        tolerance: f64,
        /// The first part of the model that deviates.
        first: Option<Difference>,
    },
    /// An output deviates from its reference by more than allowed.
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
    /// True if the model cannot be run: it cannot be loaded, or its weights give NaN.
    pub(super) fn prevents_forward(&self) -> bool {
        matches!(
            self,
            Self::Missing { .. }
                | Self::Mismatched { .. }
                | Self::TooManyLayers { .. }
                | Self::IndivisibleHeads { .. }
                | Self::NotFinite { .. }
        )
    }
}

impl Failure {
    /// Returns the check that failed.
    pub fn check(&self) -> Check {
        match self {
            Self::Config { .. } | Self::IndivisibleHeads { .. } => Check::Config,
            Self::Missing { .. }
            | Self::Unexpected { .. }
            | Self::Mismatched { .. }
            | Self::TooManyLayers { .. }
            | Self::Untied => Check::Structure,
            Self::Different { .. }
            | Self::NotConverted { .. }
            | Self::NotInFile { .. }
            | Self::InvalidChecksums { .. } => Check::Checksums,
            Self::NotFinite { .. } => Check::Values,
            Self::Heads { .. } => Check::Heads,
            Self::Forward { .. } => Check::Forward,
            Self::TaskHead { .. } => Check::Task,
            Self::Graph { .. } => Check::Graph,
            Self::Tokenizer { .. } => Check::Tokenizer,
            Self::Golden { .. } => Check::Golden,
            Self::HeadCount { .. } => Check::Text,
        }
    }
}

impl fmt::Display for Failure {
    #[allow(clippy::too_many_lines, reason = "one message for each failure")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { tensor, class } => write!(
                f,
                "tensor {tensor} is missing from {WEIGHTS_FILE}; {class} requires it"
            ),
            Self::Unexpected { tensor, class } => write!(
                f,
                "tensor {tensor} in {WEIGHTS_FILE} is unexpected: {class} has no such tensor"
            ),
            Self::Mismatched {
                tensor,
                found,
                expected,
            } => write!(
                f,
                "tensor {tensor} has the shape {found:?}, expected {expected:?} by {CONFIG_FILE}"
            ),
            Self::TooManyLayers { layers, tensors } => write!(
                f,
                "{CONFIG_FILE} has num_hidden_layers {layers}, but {WEIGHTS_FILE} has only {tensors} \
                 tensors"
            ),
            Self::Different {
                tensor,
                variable: Some(variable),
                what,
            } => write!(
                f,
                "tensor {tensor} does not match variable {variable}: {what}"
            ),
            Self::Different { tensor, what, .. } => {
                write!(
                    f,
                    "tensor {tensor} was changed since the conversion: {what}"
                )
            }
            Self::NotConverted { tensor } => write!(
                f,
                "tensor {tensor} in {WEIGHTS_FILE} was not written by the conversion"
            ),
            Self::NotInFile { tensor } => {
                write!(
                    f,
                    "tensor {tensor} was converted, but is not in {WEIGHTS_FILE}"
                )
            }
            Self::InvalidChecksums { what } => write!(
                f,
                "the checksums in the metadata of {WEIGHTS_FILE} cannot be read: {what}"
            ),
            Self::Config {
                key,
                found,
                expected,
            } => write!(
                f,
                "{CONFIG_FILE} has {key} {found}, the checkpoint shows {expected}"
            ),
            Self::Tokenizer { file, what } => write!(f, "{file} {what}"),
            Self::NotFinite {
                tensor,
                index,
                value,
            } => write!(
                f,
                "tensor {tensor} has the value {value} at element {index}"
            ),
            Self::Untied => write!(
                f,
                "tensor {DECODER_WEIGHT} differs from {WORD_EMBEDDINGS}, although the two are tied"
            ),
            Self::Forward { class, what } => write!(f, "{class} {what}"),
            Self::IndivisibleHeads { heads, hidden } => write!(
                f,
                "{CONFIG_FILE} has {heads} attention heads, which do not divide the hidden size {hidden}"
            ),
            Self::Heads { what } => write!(f, "the weights show {what}"),
            Self::HeadCount {
                configured,
                better,
                confidence,
            } => write!(
                f,
                "{better} attention heads predict the text better than the {configured} of \
                 {CONFIG_FILE} ({:.1} % of bootstrap samples): give --num-attention-heads {better}",
                confidence * 100.0
            ),
            Self::TaskHead { task, deviation } => write!(
                f,
                "the logits of task {task} deviate by {deviation:.1e} from those of the checkpoint's own \
                 head (allowed {TASK_TOLERANCE:.1e})"
            ),
            Self::Graph {
                output,
                deviation,
                tolerance,
                first,
            } => write!(
                f,
                "output {output} deviates by {deviation:.1e} from the training graph (allowed \
                 {tolerance:.1e}){}; compare {CONFIG_FILE} with the configuration of the training",
                FirstIn(first.as_ref())
            ),
            Self::Golden {
                output,
                deviation,
                tolerance,
            } => write!(
                f,
                "output {output} deviates by {deviation:.1e} from its reference (allowed \
                 {tolerance:.1e}): head count, activation or weights differ from the reference"
            ),
        }
    }
}

/// The part of the model in which a difference begins, if it is known.
struct FirstIn<'a>(Option<&'a Difference>);

impl fmt::Display for FirstIn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(first) => write!(f, ", first in {first}"),
            None => Ok(()),
        }
    }
}

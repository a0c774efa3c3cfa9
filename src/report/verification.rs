//! What verification found.

use candle_electra::ElectraConfig;
use serde::{Serialize, Serializer};

use super::comparisons::{
    DeviationReport, GoldenReport, GraphCheckReport, TextCheckReport, Verdict,
};
use crate::config::HeadCount;
use crate::verify::{self, Check, Failure, NoGraph, Report, WeightStatistics};

/// A verified directory: the body of a document.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct VerifyReport {
    /// The directory.
    pub folder: String,
    /// All checks.
    #[serde(flatten)]
    pub verification: VerificationReport,
    /// The exit code of the program, after a failed check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u8>,
    /// The error message, after a failed check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl VerifyReport {
    /// Describes the checks of a directory; `failure` is the exit code and the message of a failed
    /// check.
    pub fn new(folder: String, report: &Report, failure: Option<(u8, String)>) -> Self {
        let (exit_code, error) = failure.unzip();
        Self {
            folder,
            verification: VerificationReport::new(report),
            exit_code,
            error,
        }
    }
}

/// All checks of an export.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct VerificationReport {
    /// True if every check passed.
    pub passed: bool,
    /// The class that the export is written for.
    pub architecture: &'static str,
    /// What each class finds and computes.
    pub classes: Vec<ClassReport>,
    /// Number of tensors by what they were compared with.
    pub checksums: ChecksumsReport,
    /// The comparison of a fine-tuned head with the checkpoint's own.
    pub task: Option<HeadLogitsReport>,
    /// Names of tensors whose elements are all the same.
    pub constant: Vec<String>,
    /// The head count in config.json, and what the weights show of it.
    pub head_count: HeadCountVerdict,
    /// The tokenizer files; `None` if there are none.
    pub tokenizer: Option<TokenizerCheckReport>,
    /// The comparison with the training graph; in JSON `null` without one.
    #[serde(serialize_with = "ok_or_null")]
    pub graph: Result<GraphCheckReport, NoGraph>,
    /// The comparison with reference outputs.
    pub golden: Option<GoldenReport>,
    /// The measurement on text.
    pub text: Option<TextCheckReport>,
    /// What is wrong; empty if every check passed.
    pub failures: Vec<String>,
    /// The check of each of `failures`.
    #[serde(skip)]
    pub failed: Vec<Check>,
    /// Time taken, in seconds.
    pub seconds: f64,
    /// config.json.
    #[serde(skip)]
    pub config: ElectraConfig,
    /// The values of the weights, if they were measured for a [`Page`](super::Page).
    #[serde(skip)]
    pub weights: Option<WeightStatistics>,
}

impl VerificationReport {
    /// Describes the outcome of all checks.
    pub fn new(report: &Report) -> Self {
        let golden = report.golden.as_ref().map(|golden| GoldenReport {
            tolerance: golden.tolerance,
            outputs: golden
                .compared
                .iter()
                .map(|compared| DeviationReport {
                    name: compared.output.clone(),
                    deviation: compared.deviation,
                })
                .collect(),
            skipped: golden.skipped.clone(),
        });
        let tokenizer = report.tokenizer.as_ref();
        let task = report.task.as_ref();
        Self {
            passed: report.passed(),
            architecture: report.class.name(),
            classes: report.classes.iter().map(ClassReport::new).collect(),
            checksums: ChecksumsReport {
                against_index: report.checksums.against_index,
                rounded: report.checksums.rounded,
                by_value: report.checksums.by_value,
                computed: report.checksums.computed,
                against_recorded: report.checksums.against_recorded,
                unchecked: report.checksums.unchecked,
            },
            task: task.map(|task| HeadLogitsReport {
                name: task.task.clone(),
                deviation: task.deviation,
                tolerance: task.tolerance,
                sequences: task.sequences,
            }),
            constant: report.constant.clone(),
            head_count: HeadCountVerdict::new(report.head_count),
            tokenizer: tokenizer.map(|tokenizer| TokenizerCheckReport {
                tokens: tokenizer.tokens,
                rows: tokenizer.rows,
                do_lower_case: tokenizer.do_lower_case,
                strip_accents: tokenizer.strip_accents,
                missing: tokenizer.missing.iter().map(ToString::to_string).collect(),
                notes: tokenizer.notes.iter().map(ToString::to_string).collect(),
            }),
            graph: report
                .graph
                .as_ref()
                .map(GraphCheckReport::new)
                .map_err(|reason| *reason),
            golden,
            text: report.text.as_ref().map(TextCheckReport::new),
            failures: report.failures.iter().map(ToString::to_string).collect(),
            failed: report.failures.iter().map(Failure::check).collect(),
            seconds: report.seconds,
            config: report.config.clone(),
            weights: report.weights.clone(),
        }
    }
}

fn ok_or_null<S: Serializer>(
    graph: &Result<GraphCheckReport, NoGraph>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    graph.as_ref().ok().serialize(serializer)
}

/// The head count in config.json, and what the weights show of it.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct HeadCountVerdict {
    /// The head count in config.json.
    pub configured: usize,
    /// Whether the weights agree.
    pub verdict: Verdict,
    /// The count that explains the weights best; `None` if no structure is as good.
    pub count: Option<usize>,
    /// Its lead over the second best, in units of twice the log likelihood.
    pub margin: f64,
}

impl HeadCountVerdict {
    fn new(report: verify::HeadCountReport) -> Self {
        let configured = report.configured;
        let (verdict, count) = match report.found {
            HeadCount::Decided { count, .. } if count == configured => {
                (Verdict::Confirmed, Some(count))
            }
            HeadCount::Decided { count, .. } => (Verdict::Contradicted, Some(count)),
            HeadCount::Undecided { best, .. } => (Verdict::Undecided, best),
        };
        Self {
            configured,
            verdict,
            count,
            margin: report.found.margin(),
        }
    }
}

/// What one class finds in the weights, and computes.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ClassReport {
    /// The class.
    pub class: &'static str,
    /// Number of tensors that it loads.
    pub loaded: usize,
    /// Tensors that it expects and the weights do not have: transformers initialises them randomly.
    pub missing: Vec<String>,
    /// Tensors that it does not expect.
    pub unexpected: Vec<String>,
    /// Tensors of another shape than it expects.
    pub mismatched: Vec<MismatchReport>,
    /// The shape of its output; `None` if it was not run.
    pub output_shape: Option<Vec<usize>>,
    /// The largest deviation between outputs with and without padding.
    pub padding_deviation: Option<f32>,
    /// The largest deviation between outputs in another order of the batch.
    pub order_deviation: Option<f32>,
    /// Time taken, in seconds.
    pub seconds: Option<f64>,
}

impl ClassReport {
    fn new(report: &verify::ClassReport) -> Self {
        let structure = &report.structure;
        let output = report.output.as_ref();
        let mismatch =
            |(name, found, expected): &(String, Vec<usize>, Vec<usize>)| MismatchReport {
                name: name.clone(),
                found: found.clone(),
                expected: expected.clone(),
            };
        Self {
            class: report.class.name(),
            loaded: structure.loaded,
            missing: structure.missing.clone(),
            unexpected: structure.unexpected.clone(),
            mismatched: structure.mismatched.iter().map(mismatch).collect(),
            output_shape: output.map(|output| output.shape.clone()),
            padding_deviation: output.map(|output| output.padding_deviation),
            order_deviation: output.map(|output| output.order_deviation),
            seconds: output.map(|output| output.seconds),
        }
    }
}

/// A tensor of another shape than a class expects.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct MismatchReport {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub found: Vec<usize>,
    /// The shape that the class expects.
    pub expected: Vec<usize>,
}

/// Number of tensors by what they were compared with.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ChecksumsReport {
    /// Equal to their variables by the CRC-32C in the checkpoint.
    pub against_index: usize,
    /// Equal to their variables after rounding, value by value.
    pub rounded: usize,
    /// Equal to their variables value by value, where the checkpoint has no checksum of them.
    pub by_value: usize,
    /// Equal, value by value, to what is computed from their variables.
    pub computed: usize,
    /// Unchanged since the conversion, by the CRC-32C that it recorded.
    pub against_recorded: usize,
    /// Not compared.
    pub unchecked: usize,
}

impl ChecksumsReport {
    /// Returns the numbers that are not zero, with what they count in words.
    pub fn described(&self) -> impl Iterator<Item = (usize, &'static str)> {
        [
            (
                self.against_index,
                "equal to the checkpoint's variables by its CRC-32C",
            ),
            (self.rounded, "equal to the checkpoint's variables, rounded"),
            (
                self.by_value,
                "equal to the checkpoint's variables, value by value (V1 and HDF5 have no checksums of them)",
            ),
            (
                self.computed,
                "equal to what is computed from the checkpoint's variables, value by value",
            ),
            (
                self.against_recorded,
                "unchanged since the conversion, by the CRC-32C that it recorded",
            ),
            (
                self.unchecked,
                "not compared with the checkpoint: give --source, with its data where values were rounded",
            ),
        ]
        .into_iter()
        .filter(|(tensors, _)| *tensors > 0)
    }
}

/// The comparison of a fine-tuned head with the checkpoint's own.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct HeadLogitsReport {
    /// The task.
    pub name: String,
    /// The largest deviation of the logits.
    pub deviation: f64,
    /// The largest deviation allowed; `None` if weights were rounded.
    pub tolerance: Option<f64>,
    /// Number of random sequences.
    pub sequences: usize,
}

/// The tokenizer files of an export.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct TokenizerCheckReport {
    /// Number of token ids.
    pub tokens: usize,
    /// Number of rows of the word embeddings.
    pub rows: usize,
    /// True if text is lower-cased.
    pub do_lower_case: bool,
    /// True if accents are stripped.
    pub strip_accents: bool,
    /// Tokenizer files that are missing.
    pub missing: Vec<String>,
    /// What does not work without them, in words.
    pub notes: Vec<String>,
}

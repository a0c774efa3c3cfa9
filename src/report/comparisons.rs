//! What a model computes, compared: with the training graph, with reference outputs, on a text.

use serde::Serialize;

use super::probe::Answer;
use crate::probe::text_check::{self, TextCheck};
use crate::verify::GraphReport;

/// Whether a measurement agrees with the head count in config.json.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It shows the same count.
    Confirmed,
    /// It shows no count clearly.
    Undecided,
    /// It shows another count.
    Contradicted,
}

/// The comparison with the training graph.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct GraphCheckReport {
    /// The outputs that the model and the graph both computed.
    pub outputs: Vec<ComparedOutputReport>,
    /// The largest deviation allowed of any of them.
    pub tolerance: Option<f64>,
    /// Number of nodes of the graph that were computed.
    pub nodes: usize,
    /// The outputs that were not evaluated.
    pub not_evaluated: Vec<NotEvaluatedReport>,
    /// Time taken, in seconds.
    pub seconds: f64,
}

/// An output that the model and the training graph both computed.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ComparedOutputReport {
    /// The name of the output.
    pub name: String,
    /// The largest deviation, relative to the largest value of the output, or to 1.
    pub deviation: f64,
    /// The largest deviation allowed.
    pub tolerance: f64,
    /// The first part of the model that deviates; `None` if the output agrees, or if the part is not known.
    pub first_difference: Option<String>,
}

/// An output of the training graph that was not evaluated.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct NotEvaluatedReport {
    /// The name of the output.
    pub output: String,
    /// The node where the evaluation stopped.
    pub node: Option<String>,
    /// The reason.
    pub reason: String,
}

impl GraphCheckReport {
    pub(super) fn new(report: &GraphReport) -> Self {
        let outputs = report.outputs.iter().map(|output| ComparedOutputReport {
            name: output.name.clone(),
            deviation: output.deviation,
            tolerance: output.tolerance,
            first_difference: output.first_difference.as_ref().map(ToString::to_string),
        });
        let not_evaluated = report.not_evaluated.iter();
        let not_evaluated = not_evaluated.map(|refused| NotEvaluatedReport {
            output: refused.output.clone(),
            node: refused.node.clone(),
            reason: refused.reason.clone(),
        });
        let tolerances = report.outputs.iter().map(|output| output.tolerance);
        Self {
            outputs: outputs.collect(),
            tolerance: tolerances.reduce(f64::max),
            nodes: report.nodes,
            not_evaluated: not_evaluated.collect(),
            seconds: report.seconds,
        }
    }
}

/// The comparison with reference outputs.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct GoldenReport {
    /// The largest deviation allowed.
    pub tolerance: f32,
    /// The deviation of each output.
    pub outputs: Vec<DeviationReport>,
    /// Outputs in the file that this model does not have.
    pub skipped: Vec<String>,
}

/// The deviation of one output.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct DeviationReport {
    /// The name of the output.
    pub name: String,
    /// The largest absolute deviation.
    pub deviation: f32,
}

/// The measurement of head counts on text.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct TextCheckReport {
    /// The head count in config.json.
    pub configured: usize,
    /// Number of sequences.
    pub sequences: usize,
    /// Number of tokens.
    pub tokens: usize,
    /// Each head count, the best first.
    pub measured: Vec<HeadCountReport>,
    /// The share of bootstrap samples in which the best count does better in the text than among words
    /// of another place.
    pub uses_context: f64,
    /// Whether the measurement agrees.
    pub verdict: Verdict,
    /// The verdict in words.
    #[serde(skip)]
    pub explanation: String,
    /// What the model computes for the beginning of the text, if it was run for a [`Page`](super::Page).
    #[serde(skip)]
    pub sample: Option<Answer>,
}

/// How well a model with one head count predicts.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct HeadCountReport {
    /// The head count.
    pub heads: usize,
    /// The loss in nats a token.
    pub loss: f64,
    /// The accuracy of a generator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// The area under the ROC curve of a discriminator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auc: Option<f64>,
    /// The share of bootstrap samples in which it does better than the configured count.
    pub better: f64,
}

impl TextCheckReport {
    pub(super) fn new(check: &TextCheck) -> Self {
        let (verdict, explanation) = match check.verdict {
            text_check::Verdict::Confirmed => (
                Verdict::Confirmed,
                format!(
                    "confirmed: {} heads are clearly better than any other count",
                    check.configured
                ),
            ),
            text_check::Verdict::Undecided(why) => {
                (Verdict::Undecided, format!("undecided: {why}"))
            }
            text_check::Verdict::Contradicted { better, .. } => (
                Verdict::Contradicted,
                format!("contradicted: {better} heads are better"),
            ),
        };
        let measured = check.measured.iter().map(|measured| HeadCountReport {
            heads: measured.heads,
            loss: measured.loss,
            accuracy: check.is_generator.then_some(measured.score),
            auc: (!check.is_generator).then_some(measured.score),
            better: measured.better,
        });
        Self {
            configured: check.configured,
            sequences: check.sequences,
            tokens: check.tokens,
            measured: measured.collect(),
            uses_context: check.uses_context,
            verdict,
            explanation,
            sample: check.sample.clone().map(Answer::from),
        }
    }
}

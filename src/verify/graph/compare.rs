//! Compares the outputs of the converted model with those of the training graph.
//!
//! Both compute the same rows. A small model is compared in float64, where rounding cannot hide a
//! difference; a large one in float32, and in float64 only if the two deviate. Before an output counts as
//! different, the evaluation of the graph must agree with itself: with the rows in another order, with other
//! tokens under the padding, and with as many rows as the graph was built for.

use std::time::Instant;

use candle_core::DType;
use candle_electra::ElectraConfig;
use tf_checkpoint::{Checkpoint, MetaGraph, Tensor};
use tf_graph::Precision;

use super::boundary::{self, Boundary};
use super::deviation::{deviation, exceeds};
use super::evaluate::{EvaluatedBy, Evaluator};
use super::model::{Layers, ModelOutputs};
use super::outputs::{Output, outputs};
use super::refusal::Refusal;
use super::report::{ComparedOutput, GraphReport, NotEvaluated};
use super::rows::Rows;
use super::values::Values;
use crate::config::graph::View;
use crate::export::WeightsFile;
use crate::plan::{Plan, Weights};
use crate::progress::Watch;
use crate::variables::Inventory;
use crate::verify::error::Error;
use crate::verify::failure::{Failure, TASK_TOLERANCE};

/// The largest deviation in float32, which the order of additions explains.
pub(super) const TOLERANCE: f64 = 2e-5;
/// The largest deviation in float64: constants of the graph, such as the scale of attention scores, are
/// rounded to float32.
pub(super) const DOUBLE_TOLERANCE: f64 = 1e-6;
/// The number of parameters times tokens up to which a model is compared in float64 at once.
const SMALL: usize = 1 << 30;
/// The most positions of a row at which a generator is compared.
const POSITIONS: usize = 8;

/// The training graph beside a checkpoint, with the checkpoint's variables.
#[derive(Clone, Copy, Debug)]
pub struct TrainingGraph<'a> {
    pub(crate) graph: &'a MetaGraph,
    pub(crate) inventory: &'a Inventory,
    pub(crate) evaluated_by: EvaluatedBy,
}

impl TrainingGraph<'_> {
    /// Chooses what evaluates the graph; by default the interpreter of [`tf_graph`].
    #[must_use]
    pub fn evaluated_by(mut self, evaluated_by: EvaluatedBy) -> Self {
        self.evaluated_by = evaluated_by;
        self
    }
}

/// Compares every output of the model with the graph.
pub(in crate::verify) fn check(
    weights: &WeightsFile,
    config: &ElectraConfig,
    (plan, checkpoint): (&Plan, &Checkpoint),
    training: TrainingGraph<'_>,
    watch: &Watch<'_>,
    failures: &mut Vec<Failure>,
) -> Result<GraphReport, Error> {
    let start = Instant::now();
    let averaged = match plan.weights {
        Weights::Raw => None,
        Weights::Average => training.inventory.averaged().ok(),
    };
    let inventory = averaged.as_ref().unwrap_or(training.inventory);
    let view = View::new(training.graph, inventory);
    let values = Values::new(&view, checkpoint, inventory, plan);
    let comparison = Comparison {
        weights,
        config,
        plan,
        view: &view,
        evaluator: Evaluator {
            graph: training.graph,
            values: &values,
            evaluated_by: training.evaluated_by,
            is_cancelled: &|| watch.check().is_err(),
        },
        watch,
    };
    let mut report = comparison.run()?;
    report.seconds = start.elapsed().as_secs_f64();
    for output in &report.outputs {
        if exceeds(output.deviation, output.tolerance) {
            failures.push(Failure::Graph {
                output: output.name.clone(),
                deviation: output.deviation,
                tolerance: output.tolerance,
                first: output.first_difference.clone(),
            });
        }
    }
    Ok(report)
}

/// A comparison of one model.
pub(super) struct Comparison<'a> {
    pub(super) weights: &'a WeightsFile,
    pub(super) config: &'a ElectraConfig,
    pub(super) plan: &'a Plan,
    pub(super) view: &'a View<'a>,
    pub(super) evaluator: Evaluator<'a>,
    pub(super) watch: &'a Watch<'a>,
}

/// Outputs that the graph computes from the same feeds.
pub(super) struct Group {
    pub(super) boundary: Boundary,
    pub(super) outputs: Vec<(Output, Tensor)>,
}

impl Group {
    /// Adds an output if it is fed as the others are.
    fn joined(&mut self, output: &Output, boundary: &Boundary) -> bool {
        let own = &mut self.boundary;
        let is_same = own.ids == boundary.ids
            && own.types == boundary.types
            && own.position_ids == boundary.position_ids
            && own.masks == boundary.masks
            && own.has_unmasked_attention == boundary.has_unmasked_attention
            && (own.batch, own.length) == (boundary.batch, boundary.length)
            && (own.positions.is_empty() || boundary.positions.is_empty());
        if is_same {
            own.positions.extend_from_slice(&boundary.positions);
            self.outputs.push((output.clone(), boundary.output));
        }
        is_same
    }
}

/// The deviations of a group's outputs in one precision.
struct Deviations {
    of_outputs: Vec<f64>,
    nodes: usize,
}

impl Comparison<'_> {
    fn run(&self) -> Result<GraphReport, Error> {
        let mut report = GraphReport {
            outputs: Vec::new(),
            nodes: 0,
            not_evaluated: Vec::new(),
            seconds: 0.0,
        };
        let mut groups: Vec<Group> = Vec::new();
        for (output, variable) in outputs(self.plan) {
            if let (Output::GeneratorLogits, Some(why)) = (&output, &self.plan.inexact) {
                let refusal = Refusal::lacking(why.clone());
                report
                    .not_evaluated
                    .push(self.not_evaluated(&output, refusal));
                continue;
            }
            match boundary::find(self.view, self.plan.scopes, &variable) {
                Ok(boundary) => {
                    if !groups
                        .iter_mut()
                        .any(|group| group.joined(&output, &boundary))
                    {
                        let outputs = vec![(output, boundary.output)];
                        groups.push(Group { boundary, outputs });
                    }
                }
                Err(refusal) => report
                    .not_evaluated
                    .push(self.not_evaluated(&output, refusal)),
            }
        }
        for group in &groups {
            match self.compare(group)? {
                Ok((outputs, nodes)) => {
                    report.outputs.extend(outputs);
                    report.nodes += nodes;
                }
                Err(refusal) => {
                    self.watch.check()?;
                    let outputs = group.outputs.iter();
                    let refused =
                        outputs.map(|(output, _)| self.not_evaluated(output, refusal.clone()));
                    report.not_evaluated.extend(refused);
                }
            }
        }
        Ok(report)
    }

    fn not_evaluated(&self, output: &Output, refusal: Refusal) -> NotEvaluated {
        let graph = self.view.graph();
        NotEvaluated {
            output: output.to_string(),
            node: refusal.node.map(|node| graph.name(node)),
            reason: refusal.reason,
        }
    }

    /// Compares the outputs of a group; returns them with the number of nodes.
    fn compare(
        &self,
        group: &Group,
    ) -> Result<Result<(Vec<ComparedOutput>, usize), Refusal>, Error> {
        let boundary = &group.boundary;
        let has_mask = !boundary.has_unmasked_attention;
        let mut rows = Rows::new(self.config, boundary.batch, boundary.length, has_mask);
        let is_native = self.evaluator.evaluated_by == EvaluatedBy::Native;
        if let (false, Some(batch)) = (is_native, boundary.batch) {
            rows = rows.repeated(batch);
        }
        if rows.length == 0 || rows.length > self.config.max_position_embeddings {
            let why = format!("its sequences have {} tokens", rows.length);
            return Ok(Err(Refusal::lacking(why)));
        }
        let work = self.plan.parameters().saturating_mul(rows.ids.len());
        let mut precision = if is_native && work <= SMALL {
            Precision::Double
        } else {
            Precision::OfGraph
        };
        let mut found = match self.deviations(group, &rows, precision)? {
            Ok(found) => found,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let is_different = |found: &Deviations, precision| {
            let outputs = std::iter::zip(&group.outputs, &found.of_outputs);
            outputs.into_iter().any(|((output, _), &deviation)| {
                exceeds(deviation, self.tolerance(output, precision))
            })
        };
        if is_native && precision == Precision::OfGraph && is_different(&found, precision) {
            precision = Precision::Double;
            found = match self.deviations(group, &rows, precision)? {
                Ok(found) => found,
                Err(refusal) => return Ok(Err(refusal)),
            };
        }
        let mut differences = Vec::new();
        if is_different(&found, precision) {
            if let Err(refusal) = self.check_consistent(group, &rows) {
                return Ok(Err(refusal));
            }
            differences = self.first_difference(group, &rows)?.into_iter().collect();
        }
        let outputs = std::iter::zip(&group.outputs, found.of_outputs);
        let outputs = outputs.map(|((output, _), deviation)| {
            let tolerance = self.tolerance(output, precision);
            ComparedOutput {
                name: output.to_string(),
                deviation,
                tolerance,
                first_difference: exceeds(deviation, tolerance)
                    .then(|| differences.first().cloned())
                    .flatten(),
            }
        });
        Ok(Ok((outputs.collect(), found.nodes)))
    }

    /// Returns the largest deviation allowed of an output.
    fn tolerance(&self, output: &Output, precision: Precision) -> f64 {
        let is_computed = self
            .plan
            .tensors
            .iter()
            .any(|tensor| tensor.recipe.is_computed());
        match (output, precision) {
            // The head is computed from the checkpoint's own: see `GeluOffset`.
            (Output::Task { .. }, _) if is_computed => TASK_TOLERANCE,
            (_, Precision::Double) => DOUBLE_TOLERANCE,
            _ => TOLERANCE,
        }
    }

    /// Returns the positions of chosen tokens, the same in every row.
    pub(super) fn positions(group: &Group, rows: &Rows) -> Vec<usize> {
        let Some(positions) = group.boundary.positions.first() else {
            return Vec::new();
        };
        let count = positions.per_row.unwrap_or(POSITIONS.min(rows.length));
        // Spread over the row; a graph with more positions than tokens gets some of them twice.
        let at = |n: usize| {
            if count <= rows.length {
                n * rows.length / count
            } else {
                n % rows.length
            }
        };
        (0..count).map(at).collect()
    }

    /// Evaluates both sides.
    fn deviations(
        &self,
        group: &Group,
        rows: &Rows,
        precision: Precision,
    ) -> Result<Result<Deviations, Refusal>, Error> {
        let positions = Self::positions(group, rows);
        let tensors: Vec<Tensor> = group.outputs.iter().map(|(_, tensor)| *tensor).collect();
        let evaluated =
            match self
                .evaluator
                .run(&group.boundary, rows, &positions, precision, &tensors)
            {
                Ok(evaluated) => evaluated,
                Err(refusal) => return Ok(Err(refusal)),
            };
        let dtype = match precision {
            Precision::Double => DType::F64,
            Precision::OfGraph => DType::F32,
        };
        let class = (self.config, self.plan.class);
        let model =
            ModelOutputs::compute(self.weights, class, rows, (dtype, Layers::Last), self.watch)?;
        let mut of_outputs = Vec::new();
        for ((output, tensor), graph) in std::iter::zip(&group.outputs, evaluated.values) {
            let chosen = Self::chosen(group, output, &positions);
            let expected = model.values(output, chosen)?;
            let found = graph.to_f64();
            if expected.len() != found.len() {
                let why = format!(
                    "the graph computes the shape {:?}, the model {} values",
                    graph.shape(),
                    expected.len()
                );
                return Ok(Err(Refusal::at(tensor.node, why)));
            }
            of_outputs.push(deviation(
                &found,
                &expected,
                self.tokens(output, rows, chosen),
            ));
        }
        Ok(Ok(Deviations {
            of_outputs,
            nodes: evaluated.nodes,
        }))
    }

    /// Returns the positions at which an output is computed; none if it is computed for all tokens.
    pub(super) fn chosen<'p>(
        group: &Group,
        output: &Output,
        positions: &'p [usize],
    ) -> &'p [usize] {
        match output {
            Output::Encoder => &[],
            _ if group.boundary.positions.is_empty() => &[],
            _ => positions,
        }
    }

    /// Returns for each token of an output whether it is compared; `None` for an output of whole rows.
    pub(super) fn tokens(
        &self,
        output: &Output,
        rows: &Rows,
        chosen: &[usize],
    ) -> Option<Vec<bool>> {
        let is_per_token = match output {
            Output::Task { .. } => self.plan.class.is_per_token(),
            _ => true,
        };
        if !is_per_token {
            return None;
        }
        let all: Vec<usize> = (0..rows.length).collect();
        let positions = if chosen.is_empty() { &all[..] } else { chosen };
        let at = |row: usize| {
            let positions = positions.iter();
            positions.map(move |position| row * rows.length + position)
        };
        let tokens = (0..rows.batch).flat_map(at);
        Some(tokens.map(|at| rows.is_token(at)).collect())
    }
}

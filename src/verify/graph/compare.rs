//! Compares the outputs of the converted model with those of the training graph.
//!
//! Both compute the same rows. A small model is compared in float64, where rounding cannot hide a
//! difference; a large one in float32, and in float64 if the two deviate by more than half of the tolerance. Before
//! an output counts as different, the graph is evaluated again with the rows in another order, with other
//! tokens under the padding, and with as many rows as it was built for, which must give the same values.

use std::time::Instant;

use candle_core::DType;
use candle_electra::ElectraConfig;
use tf_checkpoint::{Checkpoint, MetaGraph, Tensor};
use tf_graph::Precision;

use super::boundary::{self, Boundary};
use super::deviation::{deviation, exceeds};
use super::evaluate::{EvaluatedBy, Evaluator, memory_of};
use super::model::{Layers, ModelOutputs};
use super::outputs::{Output, outputs};
use super::refusal::Refusal;
use super::report::{ComparedOutput, GraphReport, NotEvaluated};
use super::rows::Rows;
use super::values::Values;
use crate::config::graph::View;
use crate::export::WeightsFile;
use crate::plan::{Plan, Weights};
use crate::progress::{Phase, Stopped, Watch};
use crate::streamed_model::StreamedModel;
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
/// The part of the tolerance above which a comparison in float32 is in doubt.
const IN_DOUBT: f64 = 0.5;
/// The largest batch that TensorFlow's library evaluates.
const MAX_OWN_BATCH: usize = 1 << 10;
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
    // The graph reads the raw weights; the values are those that are exported.
    let view = View::new(training.graph, training.inventory);
    let values = Values::new(&view, checkpoint, inventory, plan, watch);
    let comparison = Comparison {
        weights,
        config,
        plan,
        view: &view,
        evaluator: Evaluator {
            graph: training.graph,
            values: &values,
            evaluated_by: training.evaluated_by,
            memory: memory_of(plan),
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
    pub(super) outputs: Vec<GroupOutput>,
}

/// An output of a group.
#[derive(Clone)]
pub(super) struct GroupOutput {
    pub(super) output: Output,
    pub(super) tensor: Tensor,
    /// True if it is computed for chosen tokens, and not for all.
    has_positions: bool,
}

impl GroupOutput {
    fn new(output: Output, boundary: &Boundary) -> Self {
        Self {
            output,
            tensor: boundary.output,
            has_positions: !boundary.positions.is_empty(),
        }
    }

    /// Returns the positions at which the output is computed; none if it is computed for all tokens.
    pub(super) fn chosen<'p>(&self, positions: &'p [usize]) -> &'p [usize] {
        if self.has_positions { positions } else { &[] }
    }
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
            self.outputs
                .push(GroupOutput::new(output.clone(), boundary));
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
                        let outputs = vec![GroupOutput::new(output, &boundary)];
                        groups.push(Group { boundary, outputs });
                    }
                }
                Err(refusal) => report
                    .not_evaluated
                    .push(self.not_evaluated(&output, refusal)),
            }
        }
        for mut group in groups {
            let compared = self.compare(&group)?;
            if let (Err(_), [_, _, ..]) = (&compared, &group.outputs[..]) {
                self.watch.check()?;
                // One output may be evaluated where another is not.
                for output in std::mem::take(&mut group.outputs) {
                    group.outputs = vec![output];
                    let compared = self.compare(&group)?;
                    self.add(&group, compared, &mut report)?;
                }
            } else {
                self.add(&group, compared, &mut report)?;
            }
        }
        Ok(report)
    }

    /// Adds the result of a group to the report.
    fn add(
        &self,
        group: &Group,
        compared: Result<(Vec<ComparedOutput>, usize), Refusal>,
        report: &mut GraphReport,
    ) -> Result<(), Error> {
        match compared {
            Ok((outputs, nodes)) => {
                report.outputs.extend(outputs);
                report.nodes += nodes;
            }
            Err(refusal) => {
                // A cancellation refuses, too.
                self.watch.check()?;
                let outputs = group.outputs.iter();
                let refused =
                    outputs.map(|output| self.not_evaluated(&output.output, refusal.clone()));
                report.not_evaluated.extend(refused);
            }
        }
        Ok(())
    }

    /// Draws the rows for a group; with as many rows as the graph has where it is not rewritten.
    fn rows(&self, boundary: &Boundary, is_padded: bool) -> Result<Rows, Refusal> {
        let rows = Rows::new(self.config, boundary, is_padded)?;
        match boundary.batch {
            Some(batch) if self.evaluator.evaluated_by != EvaluatedBy::Native => {
                if batch > MAX_OWN_BATCH {
                    return Err(Refusal::lacking(format!("its batch has {batch} sequences")));
                }
                Ok(rows.repeated(batch))
            }
            _ => Ok(rows),
        }
    }

    /// Begins the phase for an evaluation of both sides, after the one before.
    pub(super) fn begin(&self) -> Result<(), Stopped> {
        self.watch.end()?;
        let bytes = self.plan.bytes() as u64;
        self.watch.begin(Phase::Comparing, bytes.saturating_mul(2));
        Ok(())
    }

    /// Returns the converted model.
    pub(super) fn model(&self) -> StreamedModel<'_> {
        StreamedModel::new(self.weights, self.config, self.watch)
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
        let mut rows = match self.rows(boundary, !boundary.has_unmasked_attention) {
            Ok(rows) => rows,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let is_native = self.evaluator.evaluated_by == EvaluatedBy::Native;
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
        let is_different = |found: &Deviations, precision, part: f64| {
            let outputs = std::iter::zip(&group.outputs, &found.of_outputs);
            outputs.into_iter().any(|(output, &deviation)| {
                exceeds(deviation, part * self.tolerance(&output.output, precision))
            })
        };
        if is_native && precision == Precision::OfGraph && is_different(&found, precision, IN_DOUBT)
        {
            precision = Precision::Double;
            found = match self.deviations(group, &rows, precision)? {
                Ok(found) => found,
                Err(refusal) => return Ok(Err(refusal)),
            };
        }
        // A mask that is computed from the ids may take another id than 0 for padding.
        if is_different(&found, precision, 1.0)
            && boundary.masks.is_empty()
            && !boundary.has_unmasked_attention
            && let Ok(unpadded) = self.rows(boundary, false)
            && let Ok(other) = self.deviations(group, &unpadded, precision)?
            && !is_different(&other, precision, 1.0)
        {
            (rows, found) = (unpadded, other);
        }
        let mut differences = Vec::new();
        if is_different(&found, precision, 1.0) {
            if let Err(refusal) = self.check_consistent(group, &rows) {
                return Ok(Err(refusal));
            }
            differences = self.first_difference(group, &rows)?.into_iter().collect();
        }
        let outputs = std::iter::zip(&group.outputs, found.of_outputs);
        let outputs = outputs.map(|(output, deviation)| {
            let tolerance = self.tolerance(&output.output, precision);
            ComparedOutput {
                name: output.output.to_string(),
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
        self.begin()?;
        let positions = Self::positions(group, rows);
        let tensors: Vec<Tensor> = group.outputs.iter().map(|output| output.tensor).collect();
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
        let model = ModelOutputs::compute(
            self.model().with_dtype(dtype),
            self.plan.class,
            rows,
            Layers::Last,
        )?;
        let mut of_outputs = Vec::new();
        for (of_group, graph) in std::iter::zip(&group.outputs, evaluated.values) {
            let chosen = of_group.chosen(&positions);
            let output = &of_group.output;
            let expected = model.values(output, chosen)?;
            let found = graph.to_f64();
            if expected.len() != found.len() {
                let why = format!(
                    "the graph computes the shape {:?}, the model {} values",
                    graph.shape(),
                    expected.len()
                );
                return Ok(Err(Refusal::at(of_group.tensor.node, why)));
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

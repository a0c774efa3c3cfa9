//! Evaluates outputs of the training graph on given rows.

use tf_checkpoint::{MetaGraph, NodeId, Tensor};
use tf_graph::{Array, ArrayType, Evaluated, Evaluation, Meter, Precision, Variables, data_type};

use super::boundary::Boundary;
use super::masks::{Mask, MaskForm};
use super::positions::{PositionForm, Positions};
use super::refusal::Refusal;
use super::rows::Rows;
use crate::plan::Plan;

/// The memory of intermediate values, in bytes.
const MEMORY: u64 = 1 << 30;
/// The most floating-point operations. A model of 24 layers takes 3e11 for two rows of 512 tokens.
pub(super) const MAX_WORK: u64 = 1 << 43;

/// The implementation that evaluates the training graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EvaluatedBy {
    /// The interpreter of [`tf_graph`].
    #[default]
    Native,
    /// TensorFlow's own library, loaded at run time.
    #[cfg(feature = "tensorflow")]
    TensorFlow,
}

/// Returns the memory that an evaluation may take: the weights in float64, and intermediate values.
pub(super) fn memory_of(plan: &Plan) -> u64 {
    let weights = (plan.parameters() as u64).saturating_mul(8);
    weights.saturating_add(MEMORY)
}

/// A training graph with the values of its variables.
pub(super) struct Evaluator<'a> {
    pub(super) graph: &'a MetaGraph,
    pub(super) values: &'a dyn Variables,
    pub(super) evaluated_by: EvaluatedBy,
    /// The most memory of the values that are alive at a time, in bytes.
    pub(super) memory: u64,
    pub(super) is_cancelled: &'a (dyn Fn() -> bool + Sync),
}

impl Evaluator<'_> {
    /// Returns the values of `outputs`, fed at `boundary`. The positions of chosen tokens are `positions`, the
    /// same in each row.
    pub(super) fn run(
        &self,
        boundary: &Boundary,
        rows: &Rows,
        positions: &[usize],
        precision: Precision,
        outputs: &[Tensor],
    ) -> Result<Evaluated, Refusal> {
        let evaluation = self.fed(boundary, rows, positions)?.precision(precision);
        let evaluated = match self.evaluated_by {
            EvaluatedBy::Native => evaluation.run(outputs),
            #[cfg(feature = "tensorflow")]
            EvaluatedBy::TensorFlow => evaluation.run_in_tensorflow(outputs),
        };
        evaluated.map_err(Refusal::from)
    }

    /// Returns the nodes that `outputs` are computed from.
    pub(super) fn nodes(
        &self,
        boundary: &Boundary,
        rows: &Rows,
        positions: &[usize],
        outputs: &[Tensor],
    ) -> Result<Vec<NodeId>, Refusal> {
        let evaluation = self.fed(boundary, rows, positions)?;
        evaluation.nodes(outputs).map_err(Refusal::from)
    }

    /// Returns an evaluation with everything fed that a boundary needs.
    fn fed(
        &self,
        boundary: &Boundary,
        rows: &Rows,
        positions: &[usize],
    ) -> Result<Evaluation<'_>, Refusal> {
        let meter = Meter::new(self.memory, MAX_WORK, self.is_cancelled);
        let mut evaluation = Evaluation::new(self.graph, self.values).meter(meter);
        if let Some(batch) = boundary.batch {
            evaluation = evaluation.batch(batch, rows.batch);
        }
        let shape = [rows.batch, rows.length];
        let mut feeds: Vec<(Tensor, Vec<usize>, Vec<u32>, usize)> = Vec::new();
        let mut feed = |tensor: Tensor, values: &[u32]| {
            feeds.push((tensor, shape.to_vec(), values.to_vec(), 1));
        };
        for &tensor in &boundary.ids {
            feed(tensor, &rows.ids);
        }
        for &tensor in &boundary.types {
            feed(tensor, &rows.types);
        }
        for &tensor in &boundary.position_ids {
            feed(tensor, &rows.positions());
        }
        for mask in &boundary.masks {
            let (shape, values) = self.mask(mask, rows);
            feeds.push((mask.tensor, shape, values, 1));
        }
        for index in &boundary.positions {
            let (shape, values) = self.index(index, rows, positions);
            let inner = shape[0] / rows.batch;
            feeds.push((index.indices, shape, values, inner));
        }
        for (tensor, shape, values, inner) in feeds {
            let kind = data_type(self.graph, tensor).unwrap_or(ArrayType::Int32);
            let values = values.into_iter().map(f64::from).collect();
            let array = Array::of_type(kind, &shape, values)
                .map_err(|error| Refusal::at(tensor.node, error.to_string()))?;
            evaluation = evaluation.feed(tensor, array, inner);
        }
        Ok(evaluation)
    }

    /// Returns the shape and the elements of a mask.
    fn mask(&self, mask: &Mask, rows: &Rows) -> (Vec<usize>, Vec<u32>) {
        let own: Vec<u32> = if mask.one_is_attended {
            rows.mask.clone()
        } else {
            rows.mask.iter().map(|&present| 1 - present).collect()
        };
        let rank = self.graph.shape(mask.tensor).map_or(2, |shape| shape.len());
        let mut shape = vec![1; rank.max(2)];
        shape[0] = rows.batch;
        let last = shape.len() - 1;
        shape[last] = rows.length;
        if mask.form != MaskForm::Pairs {
            return (shape, own);
        }
        shape[last - 1] = rows.length;
        let every_query = |row: &[u32]| row.repeat(rows.length);
        (
            shape,
            own.chunks(rows.length).flat_map(every_query).collect(),
        )
    }

    /// Returns the shape and the elements of an index of tokens.
    fn index(&self, index: &Positions, rows: &Rows, positions: &[usize]) -> (Vec<usize>, Vec<u32>) {
        let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let mut values = Vec::new();
        for row in 0..rows.batch {
            for &position in positions {
                match index.form {
                    PositionForm::Flat => values.push(narrow(row * rows.length + position)),
                    PositionForm::PerRow => values.push(narrow(position)),
                    PositionForm::Pairs => values.extend([narrow(row), narrow(position)]),
                }
            }
        }
        // The recorded shape, with our numbers of rows and positions.
        let recorded = self.graph.shape(index.indices).unwrap_or_default();
        let count = rows.batch * positions.len();
        let pair = values.len() / count.max(1);
        // Pairs lie along the last axis.
        let rows_axes = match index.form {
            PositionForm::Pairs => recorded.split_last().map_or(&[][..], |(_, axes)| axes),
            _ => &recorded[..],
        };
        let is_number = |axis: i64, n: usize| usize::try_from(axis).ok() == Some(n);
        let is_split = match (index.form, rows_axes) {
            (PositionForm::PerRow, _) => true,
            (_, [_, each, ..]) => is_number(*each, positions.len()) && *each != 1,
            _ => false,
        };
        let mut shape = if is_split {
            vec![rows.batch, positions.len()]
        } else {
            vec![count]
        };
        if pair > 1 {
            shape.push(pair);
        }
        while shape.len() < recorded.len() {
            shape.push(1);
        }
        (shape, values)
    }
}

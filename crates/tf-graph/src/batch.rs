//! Another batch size than the one that a graph was built for.
//!
//! A training graph has its batch size B in constants: targets of reshapes, ends of slices, masks of ones.
//! It is evaluated with b sequences. Each value records in which axis the batch lies, and how many elements
//! of that axis one sequence takes ([`Carry`]); what is fed has its batch in the first axis. Before an
//! operation, inputs that hold B are changed to b:
//!
//! - the target of a reshape, in the axis into which the step from one sequence to the next falls;
//! - the size of a slice and the shape of a broadcast along the batch;
//! - a value that does not depend on the batch and has B equal rows: one row replaces them.
//!
//! After an operation, every axis must have its recorded length, except for the
//! axis of the batch, which has b instead of B. Anything else is refused.

use tf_checkpoint::Tensor;

use crate::array::Array;
use crate::failure::Failure;
use crate::operations::is_of_shape;
use crate::ops::{self, Operation};

/// Operations whose inputs have the same number of axes and, apart from one axis, the same shape.
const JOINING: &[&str] = &["AddN", "Pack", "ConcatV2", "Concat", "Select"];

/// Where the batch lies in a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Carry {
    pub(crate) axis: usize,
    /// Elements of the axis for each sequence.
    pub(crate) inner: usize,
}

/// A change of the batch size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rebatch {
    /// The batch size of the graph, B.
    pub(crate) from: usize,
    /// The batch size of what is fed, b.
    pub(crate) to: usize,
}

fn refuse<T>(why: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Unsupported(why.into()))
}

impl Rebatch {
    /// Changes the inputs of an operation from B to b. Returns where a reshape or an elementwise operation
    /// places the batch.
    pub(crate) fn adapt(
        &self,
        operation: Operation<'_>,
        inputs: &mut [Array],
        carries: &[Option<Carry>],
    ) -> Result<Option<Carry>, Failure> {
        let op = operation.graph.op(operation.node);
        if op == "Reshape" {
            return self.adapt_reshape(operation, inputs, carries);
        }
        if JOINING.contains(&op) {
            self.adapt_joined(inputs, carries)?;
        } else if is_broadcasting(op) {
            self.adapt_broadcast(inputs, carries)?;
        } else if op.starts_with("FusedBatchNorm") {
            self.adapt_channels(inputs, carries)?;
        } else if let ("Slice" | "StridedSlice" | "BroadcastTo", Some(Some(carry))) =
            (op, carries.first())
        {
            self.adapt_shape(op, inputs, *carry)?;
        }
        Ok(if ops::is_elementwise(op) {
            broadcast(inputs, carries)
        } else {
            None
        })
    }

    /// Reduces values that do not depend on the batch to one row, where their rows are equal.
    fn adapt_broadcast(
        &self,
        inputs: &mut [Array],
        carries: &[Option<Carry>],
    ) -> Result<(), Failure> {
        let Some((from_end, inner)) =
            std::iter::zip(inputs.iter(), carries).find_map(|(input, carry)| {
                let carry = (*carry)?;
                Some((input.rank().checked_sub(carry.axis)?, carry.inner))
            })
        else {
            return Ok(());
        };
        for (input, carry) in std::iter::zip(inputs, carries) {
            let Some(axis) = input.rank().checked_sub(from_end) else {
                continue;
            };
            if carry.is_none() && input.shape().get(axis) == Some(&(self.from * inner)) {
                self.keep_rows(input, axis, 1)?;
            }
        }
        Ok(())
    }

    /// Gives values that do not depend on the batch b rows, where their rows are equal.
    fn adapt_joined(&self, inputs: &mut [Array], carries: &[Option<Carry>]) -> Result<(), Failure> {
        let Some(carry) = carries.iter().find_map(|carry| *carry) else {
            return Ok(());
        };
        let rows = self.to * carry.inner;
        for (input, own) in std::iter::zip(inputs, carries) {
            if own.is_none() && input.shape().get(carry.axis) == Some(&(self.from * carry.inner)) {
                self.keep_rows(input, carry.axis, rows)?;
            }
        }
        Ok(())
    }

    /// Gives the parameters of a normalisation whose channels are tokens, as Keras computes LayerNorm, as many
    /// channels as there are tokens now.
    fn adapt_channels(
        &self,
        inputs: &mut [Array],
        carries: &[Option<Carry>],
    ) -> Result<(), Failure> {
        let Some(Some(carry)) = carries.first() else {
            return Ok(());
        };
        for parameter in inputs.iter_mut().skip(1) {
            if parameter.shape() == [self.from * carry.inner] {
                self.keep_rows(parameter, 0, self.to * carry.inner)?;
            }
        }
        Ok(())
    }

    fn keep_rows(&self, input: &mut Array, axis: usize, rows: usize) -> Result<(), Failure> {
        if !input.is_row_constant(axis) {
            let from = self.from;
            return refuse(format!(
                "an input has different values for the {from} sequences of the graph's own batch"
            ));
        }
        *input = input.repeat_first(axis, rows);
        Ok(())
    }

    /// Changes the size of a slice, or the shape of a broadcast, along the batch.
    fn adapt_shape(&self, op: &str, inputs: &mut [Array], carry: Carry) -> Result<(), Failure> {
        let (from, to) = (self.from * carry.inner, self.to * carry.inner);
        let at = match op {
            "BroadcastTo" => {
                // The shape may have more axes in front.
                let rank = inputs[0].rank();
                let axes = inputs.get(1).map_or(0, Array::len);
                (1, carry.axis + axes.saturating_sub(rank))
            }
            _ => (2, carry.axis),
        };
        let (operand, axis) = at;
        let Some(mut sizes) = inputs.get(operand).map(Array::integers).transpose()? else {
            return Ok(());
        };
        let is_whole = match op {
            "Slice" | "StridedSlice" => inputs[1].integers()?.get(axis) == Some(&0),
            _ => true,
        };
        let changed = i64::try_from(to).unwrap_or(i64::MAX);
        if let Some(size) = sizes.get_mut(axis)
            && is_whole
            && usize::try_from(*size) == Ok(from)
        {
            *size = changed;
            inputs[operand] = Array::of_integers(sizes);
        }
        Ok(())
    }

    /// Changes the target of a reshape: the axis into which the step from one sequence to the next falls
    /// gets b instead of B.
    fn adapt_reshape(
        &self,
        operation: Operation<'_>,
        inputs: &mut [Array],
        carries: &[Option<Carry>],
    ) -> Result<Option<Carry>, Failure> {
        let [features, target] = inputs else {
            return Ok(None);
        };
        let recorded = operation.graph.shape(operation.node.into());
        let recorded: Option<Vec<usize>> = recorded.and_then(|axes| {
            axes.into_iter()
                .map(|axis| usize::try_from(axis).ok())
                .collect()
        });
        let (Some(Some(carry)), Some(mut axes)) = (carries.first().copied(), recorded) else {
            return Ok(None);
        };
        let count = axes
            .iter()
            .try_fold(1_usize, |n, &axis| n.checked_mul(axis));
        if count.and_then(|n| n.checked_mul(self.to)) != features.len().checked_mul(self.from) {
            return refuse("the batch does not lie in one axis of this reshape");
        }
        let after = features.shape().get(carry.axis + 1..).unwrap_or_default();
        let after: usize = after.iter().product();
        let step = after * carry.inner;
        let mut stride = 1_usize;
        for axis in (0..axes.len()).rev() {
            let next: usize = stride.saturating_mul(axes[axis]);
            if next <= step && axis > 0 {
                stride = next;
                continue;
            }
            let inner = step / stride.max(1);
            let rows = self.from * inner;
            if !step.is_multiple_of(stride) || rows == 0 || !axes[axis].is_multiple_of(rows) {
                break;
            }
            axes[axis] = axes[axis] / self.from * self.to;
            let axes: Option<Vec<i64>> = axes.iter().map(|&n| i64::try_from(n).ok()).collect();
            *target = Array::of_integers(axes.unwrap_or_default());
            return Ok(Some(Carry { axis, inner }));
        }
        refuse("the batch does not lie in one axis of this reshape")
    }

    /// Finds the batch in the shape of an output.
    pub(crate) fn place(
        &self,
        operation: Operation<'_>,
        tensor: Tensor,
        shape: &[usize],
        carries: &[Option<Carry>],
        expected: Option<Carry>,
    ) -> Result<Option<Carry>, Failure> {
        let graph = operation.graph;
        let op = graph.op(operation.node);
        let Some(recorded) = graph.shape(tensor) else {
            return match expected {
                Some(carry) => Ok(Some(carry)),
                _ if carries.iter().all(Option::is_none) || is_of_shape(op) => Ok(None),
                _ => refuse("the graph does not record the shape of this node"),
            };
        };
        let mut found = None;
        if recorded.len() == shape.len() {
            for (axis, (&own, &len)) in std::iter::zip(&recorded, shape).enumerate() {
                let Ok(own) = usize::try_from(own) else {
                    continue;
                };
                if own == len {
                    continue;
                }
                let is_batch = len.checked_mul(self.from) == own.checked_mul(self.to);
                if !is_batch || found.replace(axis).is_some() {
                    return refuse(self.differs(&recorded, shape));
                }
            }
        } else {
            return refuse(self.differs(&recorded, shape));
        }
        let sources = sources(op, carries);
        match (found, expected, sources.first()) {
            (Some(axis), Some(carry), _) if axis == carry.axis => Ok(Some(carry)),
            (Some(_), Some(_), _) => refuse("the batch does not lie where the inputs have it"),
            (Some(axis), None, Some(first)) => {
                let inner = first.inner;
                if sources.iter().any(|carry| carry.inner != inner) {
                    return refuse("the inputs have their batches in different places");
                }
                Ok(Some(Carry { axis, inner }))
            }
            // Made from a shape, such as a fill: as many rows as there are now.
            (Some(axis), None, None) => Ok(Some(Carry {
                axis,
                inner: shape[axis] / self.to,
            })),
            (None, _, Some(_)) if !is_of_shape(op) => {
                refuse("this operation mixes the sequences of a batch")
            }
            (None, ..) => Ok(None),
        }
    }

    fn differs(&self, recorded: &[i64], shape: &[usize]) -> String {
        format!(
            "the result has the shape {shape:?}, the graph records {recorded:?} for a batch of {} \
             (evaluated with {})",
            self.from, self.to
        )
    }
}

/// Returns the batches of the inputs that decide where the batch of the output is: of a gather with
/// indices for each sequence, those of the indices.
fn sources(op: &str, carries: &[Option<Carry>]) -> Vec<Carry> {
    let is_gather = matches!(op, "Gather" | "GatherV2" | "GatherNd" | "ResourceGather");
    match carries {
        [_, Some(indices), ..] if is_gather => vec![*indices],
        _ => carries.iter().flatten().copied().collect(),
    }
}

/// Returns where the batch lies after inputs are broadcast, aligned at their last axes.
fn broadcast(inputs: &[Array], carries: &[Option<Carry>]) -> Option<Carry> {
    let rank = inputs.iter().map(Array::rank).max()?;
    let mut pairs = std::iter::zip(inputs, carries);
    pairs.find_map(|(input, carry)| {
        let carry = (*carry)?;
        let from_end = input.rank().checked_sub(carry.axis)?;
        Some(Carry {
            axis: rank.checked_sub(from_end)?,
            inner: carry.inner,
        })
    })
}

/// Returns true for an operation whose inputs are broadcast against each other, aligned at their last axes.
fn is_broadcasting(op: &str) -> bool {
    ops::is_elementwise(op) || op == "SelectV2" || op.starts_with("BatchMatMul")
}

//! The operations: one function each, found by the name of the operation.
//!
//! An operation takes its inputs by value, so that the buffer of an input that nobody else holds becomes
//! the buffer of the output. Inputs and outputs are in row-major order. Shapes, dtypes and indices are
//! checked, and [`Meter::room`] is called before anything is allocated.
//!
//! TensorFlow never mixes float32 and float64 in one operation. An evaluation in float64 does, where a
//! value of the graph enters as float32: the float32 operand is widened.

use crate::array::Array;
use crate::failure::{Failure, invalid, unsupported};
use crate::meter::{MAX_RANK, Meter};

mod binary;
mod broadcast;
mod cast;
mod einsum;
mod equation;
mod fill;
mod index;
mod join;
mod kernel;
mod movement;
mod multiply;
mod normalise;
mod number;
mod partition;
mod product;
mod reduce;
mod select;
mod shape;
mod strided_slice;
mod unary;

pub(crate) use kernel::Operation;
use kernel::{Call, Kernel, Table};

const TABLES: &[Table] = &[
    binary::TABLE,
    cast::TABLE,
    einsum::TABLE,
    fill::TABLE,
    index::TABLE,
    join::TABLE,
    movement::TABLE,
    normalise::TABLE,
    partition::TABLE,
    product::TABLE,
    reduce::TABLE,
    select::TABLE,
    shape::TABLE,
    strided_slice::TABLE,
    unary::TABLE,
];

/// Returns true if [`compute`] implements an operation.
pub(crate) fn is_known(op: &str) -> bool {
    find(op).is_some()
}

/// Returns true for an operation that computes each element from those at the same place of its inputs, which
/// are broadcast.
pub(crate) fn is_elementwise(op: &str) -> bool {
    let mut all = [binary::TABLE, cast::TABLE, unary::TABLE]
        .into_iter()
        .flatten();
    all.any(|(name, _)| *name == op)
}

fn find(op: &str) -> Option<Kernel> {
    let mut all = TABLES.iter().copied().flatten();
    all.find(|(name, _)| *name == op).map(|&(_, kernel)| kernel)
}

/// Computes the outputs of one operation.
pub(crate) fn compute(
    operation: Operation<'_>,
    inputs: Vec<Array>,
    meter: &Meter<'_>,
) -> Result<Vec<Array>, Failure> {
    let op = operation.graph.op(operation.node);
    let Some(kernel) = find(op) else {
        return unsupported(format!("operation \"{op}\" is not implemented"));
    };
    if let Some(input) = inputs.iter().find(|input| input.rank() > MAX_RANK) {
        return invalid(format!(
            "an input has {} axes; the most supported is {MAX_RANK}",
            input.rank()
        ));
    }
    meter.work(elements(&inputs))?;
    let inputs = inputs.into_iter().map(Array::standard).collect();
    let call = Call { operation, meter };
    let outputs = match kernel {
        Kernel::One(kernel) => vec![kernel(&call, inputs)?],
        Kernel::Many(kernel) => kernel(&call, inputs)?,
    };
    meter.work(elements(&outputs))?;
    Ok(outputs)
}

/// The work of reading or writing arrays.
fn elements(arrays: &[Array]) -> u64 {
    arrays.iter().map(|array| array.len() as u64).sum()
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
pub(crate) mod tests;

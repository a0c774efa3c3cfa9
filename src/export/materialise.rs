//! Computes one tensor from its variables, in memory as a whole.

use tensor_bytes::{AlignedBytes, Overflow, to_f64, transpose};
use tf_checkpoint::{Checkpoint, DType, Variable};

use super::Error;
use super::cast::{cast, source_type};
use super::gelu_offset::{compensated_bias, gelu_offset, identity};
use crate::plan::PlannedTensor;
use crate::variables::Recipe;

/// Reads the variables of a tensor and computes the bytes of the tensor.
pub(crate) fn convert_tensor(
    tensor: &PlannedTensor,
    checkpoint: &Checkpoint,
) -> Result<AlignedBytes, Error> {
    let variables = &tensor.variables;
    let read = |variable| read_bytes(variable, checkpoint);
    let floats = |at: usize| read_floats(&variables[at], checkpoint);
    let cast = |bytes| cast(bytes, tensor.cast).map_err(|overflow| overflow_of(tensor, overflow));
    let bytes = match tensor.recipe {
        Recipe::Copy => read(&variables[0])?,
        Recipe::Transpose => {
            let [rows, columns] = tensor.matrix();
            // Cast first: an overflow is reported with the index in the variable.
            let bytes = cast(read(&variables[0])?)?;
            return Ok(transpose(&bytes, [columns, rows], tensor.cast.to_size()));
        }
        Recipe::Stack => {
            let rows = variables.iter().map(read);
            concat(&rows.collect::<Result<Vec<_>, _>>()?)
        }
        Recipe::Identity => AlignedBytes::of(&identity(tensor.shape[0])),
        Recipe::GeluOffset => AlignedBytes::of(&gelu_offset(&floats(0)?, &floats(1)?)),
        Recipe::CompensatedBias => {
            let offset = gelu_offset(&floats(2)?, &floats(3)?);
            AlignedBytes::of(&compensated_bias(&floats(0)?, &floats(1)?, &offset))
        }
    };
    cast(bytes)
}

/// Concatenates the bytes of all parts.
fn concat(parts: &[AlignedBytes]) -> AlignedBytes {
    let mut bytes = AlignedBytes::zeroed(parts.iter().map(AlignedBytes::len).sum());
    let mut rest = bytes.as_bytes_mut();
    for part in parts {
        let (target, after) = rest.split_at_mut(part.len());
        target.copy_from_slice(part.as_bytes());
        rest = after;
    }
    bytes
}

/// Casts elements of a tensor, the first of which has the index `first` in the variable.
pub(crate) fn cast_step(
    bytes: AlignedBytes,
    tensor: &PlannedTensor,
    first: usize,
) -> Result<AlignedBytes, Error> {
    cast(bytes, tensor.cast).map_err(|overflow| {
        let index = first + overflow.index;
        overflow_of(tensor, Overflow { index, ..overflow })
    })
}

/// Returns the error for an overflow; its index is that of an element of the variable.
pub(super) fn overflow_of(tensor: &PlannedTensor, Overflow { index, value }: Overflow) -> Error {
    Error::Overflow {
        tensor: tensor.name.clone(),
        variable: tensor.variable_names(),
        index,
        value,
        dtype: tensor.cast.to.to_string(),
    }
}

/// Reads the bytes of a variable, row-major.
pub(crate) fn read_bytes(
    variable: &Variable,
    checkpoint: &Checkpoint,
) -> Result<AlignedBytes, Error> {
    // Checked first: the allocation trusts the length that the checkpoint's index gives.
    checkpoint.check_present(variable)?;
    let len = usize::try_from(variable.bytes()).expect("the platform has 64 bits");
    let offset = checkpoint
        .contiguous(variable)
        .map_or(0, |run| run.offset());
    let mut bytes = AlignedBytes::zeroed_for(len, offset);
    checkpoint.read(variable, bytes.as_bytes_mut())?;
    Ok(bytes)
}

/// Reads all elements of a variable, row-major.
pub(crate) fn read_floats(variable: &Variable, checkpoint: &Checkpoint) -> Result<Vec<f64>, Error> {
    let bytes = read_bytes(variable, checkpoint)?;
    Ok(to_f64(&bytes, source_type(variable.dtype)))
}

/// Reads all elements of a variable in float32, row-major. A float32 variable is in memory once.
pub(crate) fn read_singles(
    variable: &Variable,
    checkpoint: &Checkpoint,
) -> Result<Vec<f32>, Error> {
    if variable.dtype != DType::Float32 {
        #[allow(clippy::cast_possible_truncation, reason = "rounded to float32")]
        let single = |value: f64| value as f32;
        return Ok(read_floats(variable, checkpoint)?
            .into_iter()
            .map(single)
            .collect());
    }
    // Checked first: the allocation trusts the length that the checkpoint's index gives.
    checkpoint.check_present(variable)?;
    let mut values = vec![0.0; variable.elements()];
    checkpoint.read(variable, bytemuck::cast_slice_mut(&mut values))?;
    Ok(values)
}

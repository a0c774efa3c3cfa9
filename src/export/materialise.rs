//! Computes one tensor from its variables, in memory.

use tf_checkpoint::{Checkpoint, DType, Variable};

use super::Error;
use super::buffer::AlignedBytes;
use super::gelu_offset::{compensated_bias, gelu_offset, identity};
use super::transform::{Overflow, cast, concat, from_floats, to_floats, transpose};
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
    let bytes = match tensor.recipe {
        Recipe::Copy => read(&variables[0])?,
        Recipe::Transpose => {
            let [rows, columns] = tensor.matrix();
            let element = element_size(variables[0].dtype);
            transpose(&read(&variables[0])?, [columns, rows], element)
        }
        Recipe::Stack => {
            let rows = variables.iter().map(read);
            concat(&rows.collect::<Result<Vec<_>, _>>()?)
        }
        Recipe::Identity => from_floats(&identity(tensor.shape[0])),
        Recipe::GeluOffset => from_floats(&gelu_offset(&floats(0)?, &floats(1)?)),
        Recipe::CompensatedBias => {
            let offset = gelu_offset(&floats(2)?, &floats(3)?);
            from_floats(&compensated_bias(&floats(0)?, &floats(1)?, &offset))
        }
    };
    cast_step(bytes, tensor, 0)
}

/// Casts elements of a tensor, the first of which has the index `first`.
pub(crate) fn cast_step(
    bytes: AlignedBytes,
    tensor: &PlannedTensor,
    first: usize,
) -> Result<AlignedBytes, Error> {
    cast(bytes, tensor.cast).map_err(|Overflow { index, value }| Error::Overflow {
        tensor: tensor.name.clone(),
        variable: tensor.variable_names(),
        index: first + index,
        value,
        dtype: tensor.cast.to.to_string(),
    })
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
    Ok(to_floats(
        &read_bytes(variable, checkpoint)?,
        variable.dtype,
    ))
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

fn element_size(dtype: DType) -> usize {
    dtype.size().expect("only floating-point types are planned")
}

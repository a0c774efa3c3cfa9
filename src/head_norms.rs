//! Reads the norms that show the number of attention heads ([`HeadCount`]), from a checkpoint or from an
//! export.
//!
//! One matrix is in memory for each thread. Of each, only the norms of the units are kept: one number for a
//! row or a column.

use half::{bf16, f16};
use tensor_bytes::{AlignedBytes, Float, FloatType};
use tf_checkpoint::{Checkpoint, Variable};

use crate::config::{Encoder, HeadCount};
use crate::export::{self, float_type};
use crate::progress::{Phase, Watch};
use crate::threads;
use crate::variables::Inventory;
use crate::variables::names::TABLE;

/// The axis of a matrix along which the units of heads lie.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Axis {
    Rows,
    Columns,
}

/// The matrices that touch the units of heads, by the end of the tensor's name, and the axis of those units
/// in the tensor. In a TensorFlow kernel, which is transposed, it is the other axis.
const MATRICES: &[(&str, Axis)] = &[
    (".attention.self.query.weight", Axis::Rows),
    (".attention.self.key.weight", Axis::Rows),
    (".attention.self.value.weight", Axis::Rows),
    (".attention.output.dense.weight", Axis::Columns),
];

/// Determines the head count from the variables of an encoder; `None` if some of them are missing, or their
/// data file is.
///
/// # Errors
/// If a variable cannot be read, or `watch` cancels the work.
pub(crate) fn of_checkpoint(
    checkpoint: &Checkpoint,
    inventory: &Inventory,
    encoder: Encoder,
    watch: &Watch<'_>,
) -> Result<Option<HeadCount>, export::Error> {
    let Some(matrices) = matrices_of(inventory, encoder) else {
        return Ok(None);
    };
    let is_present = |(variable, _): &(&Variable, _)| checkpoint.check_present(variable).is_ok();
    if !matrices.iter().all(is_present) {
        return Ok(None);
    }
    let width = encoder.hidden_size;
    watch.begin(Phase::Reading, matrices.len() as u64);
    watch.check()?;
    let norms = threads::map(matrices.len(), |at| {
        let (variable, axis) = matrices[at];
        let bytes = export::read_bytes(variable, checkpoint)?;
        watch.advance(1)?;
        let dtype = float_type(variable.dtype).expect("only floating-point types are listed");
        Ok::<_, export::Error>(log_norms(&bytes, dtype, width, axis))
    })?;
    Ok(Some(HeadCount::new(width, &norms)))
}

/// Returns the name of a variable that identifies the encoder; `None` if it does not exist.
pub(crate) fn key(inventory: &Inventory, encoder: Encoder) -> Option<&str> {
    let (query, _) = MATRICES[0];
    let rule = TABLE
        .iter()
        .find(|rule| rule.tensor.name.ends_with(query))?;
    let query = inventory.get(&rule.variable(encoder.scopes, 0))?;
    Some(&query.variable.name)
}

/// Returns the variables that [`of_checkpoint`] reads.
pub(crate) fn variables(inventory: &Inventory, encoder: Encoder) -> Vec<&Variable> {
    let matrices = matrices_of(inventory, encoder).unwrap_or_default();
    matrices.into_iter().map(|(variable, _)| variable).collect()
}

/// Returns the variables of all layers; `None` if one is missing or not a square matrix of floats.
fn matrices_of(inventory: &Inventory, encoder: Encoder) -> Option<Vec<(&Variable, Axis)>> {
    let of_layer = |layer: usize| {
        MATRICES.iter().map(move |&(tensor, axis)| {
            let rule = TABLE
                .iter()
                .find(|rule| rule.tensor.name.ends_with(tensor))?;
            let variable = &inventory
                .get(&rule.variable(encoder.scopes, layer))?
                .variable;
            float_type(variable.dtype)?;
            let kernel_axis = match axis {
                Axis::Rows => Axis::Columns,
                Axis::Columns => Axis::Rows,
            };
            let is_square = variable.shape == [encoder.hidden_size; 2];
            is_square.then_some((variable, kernel_axis))
        })
    };
    (0..encoder.layers).flat_map(of_layer).collect()
}

/// Returns the log of the squared norm of each row or column.
fn log_norms(bytes: &AlignedBytes, dtype: FloatType, columns: usize, axis: Axis) -> Vec<f64> {
    let mut squares = Squares::new(columns, columns, axis);
    match dtype {
        FloatType::F32 => squares.add(bytes.elements::<f32>()),
        FloatType::F64 => squares.add(bytes.elements::<f64>()),
        FloatType::F16 => squares.add(bytes.elements::<f16>()),
        FloatType::Bf16 => squares.add(bytes.elements::<bf16>()),
    }
    squares.log()
}

/// The squared norms of the rows or the columns of a matrix that is read in pieces.
#[derive(Debug)]
pub(crate) struct Squares {
    axis: Axis,
    columns: usize,
    /// Of the columns, or of the rows so far.
    sums: Vec<f64>,
}

impl Squares {
    fn new(rows: usize, columns: usize, axis: Axis) -> Self {
        let sums = match axis {
            Axis::Rows => Vec::with_capacity(rows),
            Axis::Columns => vec![0.0; columns],
        };
        Self {
            axis,
            columns,
            sums,
        }
    }

    /// For a tensor of an export; `None` if its norms show nothing of heads.
    pub(crate) fn of_tensor(name: &str, shape: &[usize]) -> Option<Self> {
        let (_, axis) = MATRICES.iter().find(|(tensor, _)| name.ends_with(tensor))?;
        match *shape {
            [rows, columns] if rows == columns => Some(Self::new(rows, columns, *axis)),
            _ => None,
        }
    }

    /// Adds the elements of the next rows.
    pub(crate) fn add<T: Float>(&mut self, elements: &[T]) {
        let rows = elements.chunks_exact(self.columns.max(1));
        match self.axis {
            Axis::Rows => self.sums.extend(rows.map(T::sum_of_squares)),
            Axis::Columns => rows.for_each(|row| T::add_squares(&mut self.sums, row)),
        }
    }

    /// Returns the logarithms.
    pub(crate) fn log(self) -> Vec<f64> {
        self.sums.into_iter().map(f64::ln).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: &[f64], squares: &[f64]) {
        assert_eq!(found.len(), squares.len());
        for (found, square) in std::iter::zip(found, squares) {
            assert!((found - square.ln()).abs() < 1e-12, "{found}, {square}");
        }
    }

    fn of_tensor(
        name: &str,
        dtype: FloatType,
        shape: &[usize],
        bytes: &AlignedBytes,
    ) -> Option<Vec<f64>> {
        let squares = Squares::of_tensor(name, shape)?;
        Some(log_norms(bytes, dtype, squares.columns, squares.axis))
    }

    #[test]
    fn norms_are_those_of_the_units_of_heads() {
        let values = [1.0, 2.0, -3.0, 4.0];
        let narrow = |size: usize| -> Vec<u8> {
            let element = |&x: &f64| match size {
                8 => x.to_le_bytes().to_vec(),
                #[allow(clippy::cast_possible_truncation)]
                4 => (x as f32).to_le_bytes().to_vec(),
                2 => f16::from_f64(x).to_le_bytes().to_vec(),
                _ => bf16::from_f64(x).to_le_bytes().to_vec(),
            };
            values.iter().flat_map(element).collect()
        };
        for (dtype, size) in [
            (FloatType::F64, 8),
            (FloatType::F32, 4),
            (FloatType::F16, 2),
            (FloatType::Bf16, 0),
        ] {
            let bytes = AlignedBytes::of(&narrow(size));
            let norms = |name: &str| of_tensor(name, dtype, &[2, 2], &bytes).unwrap();
            let layer = "electra.encoder.layer.0";
            for matrix in ["query", "key", "value"] {
                close(
                    &norms(&format!("{layer}.attention.self.{matrix}.weight")),
                    &[5.0, 25.0],
                );
            }
            close(
                &norms(&format!("{layer}.attention.output.dense.weight")),
                &[10.0, 20.0],
            );
            let other = format!("{layer}.output.dense.weight");
            assert_eq!(of_tensor(&other, dtype, &[2, 2], &bytes), None);
        }
        let bytes = AlignedBytes::of(&[0_u8; 16]);
        let query = "electra.encoder.layer.0.attention.self.query.weight";
        assert_eq!(of_tensor(query, FloatType::F32, &[4, 1], &bytes), None);
        assert_eq!(of_tensor(query, FloatType::F32, &[4], &bytes), None);
    }

    #[test]
    fn every_matrix_is_in_the_table_of_names() {
        for (tensor, _) in MATRICES {
            let rules = TABLE
                .iter()
                .filter(|rule| rule.tensor.name.ends_with(tensor));
            assert_eq!(rules.count(), 1, "{tensor}");
        }
    }
}

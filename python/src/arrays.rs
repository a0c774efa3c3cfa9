//! Tensors as NumPy arrays, which own the memory that Rust has filled.

use electra_convert::ComputedTensor;
use half::f16;
use numpy::{PyArray1, PyArrayMethods as _};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use safetensors::Dtype;

/// The values of a tensor, row-major.
pub(crate) struct Values {
    /// The name in transformers.
    pub(crate) name: String,
    shape: Vec<usize>,
    elements: Elements,
}

enum Elements {
    F32(Vec<f32>),
    F16(Vec<f16>),
    /// An element type that NumPy does not have.
    Other(Dtype),
}

impl Values {
    /// Takes the values of a computed tensor.
    pub(crate) fn of(tensor: ComputedTensor) -> Self {
        let elements = match tensor.dtype {
            Dtype::F32 => Elements::F32(bytemuck::pod_collect_to_vec(tensor.bytes.as_bytes())),
            Dtype::F16 => Elements::F16(bytemuck::pod_collect_to_vec(tensor.bytes.as_bytes())),
            dtype => Elements::Other(dtype),
        };
        Self {
            name: tensor.name,
            shape: tensor.shape,
            elements,
        }
    }

    /// Returns the array. No value is copied.
    pub(crate) fn into_array(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        match self.elements {
            Elements::F32(values) => Ok(PyArray1::from_vec(py, values)
                .reshape(self.shape)?
                .into_any()),
            Elements::F16(values) => Ok(PyArray1::from_vec(py, values)
                .reshape(self.shape)?
                .into_any()),
            Elements::Other(dtype) => Err(PyTypeError::new_err(format!(
                "NumPy has no {dtype}, the element type of {}; give dtype=\"f32\" or dtype=\"f16\"",
                self.name
            ))),
        }
    }
}

//! Checks the values of one tensor.

use candle_core::{Device, Result, Shape, Tensor};
use half::{bf16, f16};
use tensor_bytes::Float;

/// The kind of the values of a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Values {
    /// Finite and not all equal.
    Ordinary,
    /// Finite and all equal: suspicious in a trained model.
    Constant,
    /// At least one is NaN or infinite.
    NotFinite {
        /// Index of the first one, row-major.
        index: usize,
        /// The value.
        value: f64,
    },
}

/// Number of elements that are checked at once.
const STRIDE: usize = 4096;

/// An element type of which tensors for a model are made.
pub(super) trait Value: Float {
    /// Returns a tensor for a model to compute with, of float32 or float64.
    fn tensor(elements: Vec<Self>, shape: Shape, device: &Device) -> Result<Tensor>;
}

impl Value for f32 {
    fn tensor(elements: Vec<Self>, shape: Shape, device: &Device) -> Result<Tensor> {
        Tensor::from_vec(elements, shape, device)
    }
}

impl Value for f64 {
    fn tensor(elements: Vec<Self>, shape: Shape, device: &Device) -> Result<Tensor> {
        Tensor::from_vec(elements, shape, device)
    }
}

impl Value for f16 {
    fn tensor(elements: Vec<Self>, shape: Shape, device: &Device) -> Result<Tensor> {
        widened(elements, shape, device)
    }
}

impl Value for bf16 {
    fn tensor(elements: Vec<Self>, shape: Shape, device: &Device) -> Result<Tensor> {
        widened(elements, shape, device)
    }
}

fn widened<T: Float>(elements: Vec<T>, shape: Shape, device: &Device) -> Result<Tensor> {
    let floats = T::widened(&elements).expect("16-bit numbers are widened");
    // Before the next tensor is read.
    drop(elements);
    Tensor::from_vec(floats, shape, device)
}

/// Checks the elements of a tensor that is read in pieces.
#[derive(Debug)]
pub(super) struct ValueCheck<T> {
    first: Option<T>,
    seen: usize,
    is_constant: bool,
    not_finite: Option<(usize, f64)>,
}

impl<T: Value> ValueCheck<T> {
    pub(super) fn new() -> Self {
        Self {
            first: None,
            seen: 0,
            is_constant: true,
            not_finite: None,
        }
    }

    /// Adds the next elements.
    pub(super) fn add(&mut self, elements: &[T]) {
        if self.not_finite.is_none() {
            let mut strides = elements.chunks(STRIDE);
            if let Some(at) = strides.position(|stride| !T::all_finite(stride)) {
                let rest = elements[at * STRIDE..].iter();
                let index = at * STRIDE + rest.take_while(|x| x.is_finite()).count();
                self.not_finite = Some((self.seen + index, elements[index].widen()));
            }
        }
        if self.is_constant
            && let Some(first) = self.first.or(elements.first().copied())
        {
            self.first = Some(first);
            self.is_constant = elements.iter().all(|&x| x == first);
        }
        self.seen += elements.len();
    }

    /// Returns the kind of all values.
    pub(super) fn end(self) -> Values {
        match self.not_finite {
            Some((index, value)) => Values::NotFinite { index, value },
            None if self.is_constant && self.seen > 1 => Values::Constant,
            None => Values::Ordinary,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pieces: &[&[f32]]) -> Values {
        let mut check = ValueCheck::new();
        for piece in pieces {
            check.add(piece);
        }
        check.end()
    }

    #[test]
    fn pieces_are_checked_as_a_whole() {
        assert_eq!(check(&[]), Values::Ordinary);
        assert_eq!(check(&[&[1.0]]), Values::Ordinary);
        assert_eq!(check(&[&[1.0], &[1.0]]), Values::Constant);
        assert_eq!(check(&[&[1.0, 1.0], &[1.0, 2.0]]), Values::Ordinary);
        let long = vec![1.0; STRIDE + 5];
        let infinite = check(&[&long, &[0.0, f32::INFINITY, f32::NEG_INFINITY]]);
        let index = STRIDE + 6;
        let value = f64::INFINITY;
        assert_eq!(infinite, Values::NotFinite { index, value });
        assert!(matches!(
            check(&[&[f32::NAN], &[f32::NAN]]),
            Values::NotFinite { index: 0, .. }
        ));
    }
}

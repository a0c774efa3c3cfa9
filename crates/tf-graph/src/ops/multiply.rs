//! One product of two matrices, in one thread: floats go through matrixmultiply.

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2};

use super::number::Number;

/// A type of the elements of matrices that are multiplied.
pub(super) trait Multiply: Number {
    /// Writes the product of two matrices to `target`, which is zero.
    fn multiply(
        a: &ArrayView2<'_, Self>,
        b: &ArrayView2<'_, Self>,
        target: ArrayViewMut2<'_, Self>,
    );
}

macro_rules! float {
    ($type:ty) => {
        impl Multiply for $type {
            fn multiply(
                a: &ArrayView2<'_, Self>,
                b: &ArrayView2<'_, Self>,
                mut target: ArrayViewMut2<'_, Self>,
            ) {
                general_mat_mul(1.0, a, b, 0.0, &mut target);
            }
        }
    };
}
float!(f32);
float!(f64);

macro_rules! integer {
    ($type:ty) => {
        impl Multiply for $type {
            fn multiply(
                a: &ArrayView2<'_, Self>,
                b: &ArrayView2<'_, Self>,
                mut target: ArrayViewMut2<'_, Self>,
            ) {
                for (a, mut target) in std::iter::zip(a.rows(), target.rows_mut()) {
                    for (&x, b) in std::iter::zip(a, b.rows()) {
                        for (z, &y) in std::iter::zip(&mut target, b) {
                            *z = z.plus(x.times(y));
                        }
                    }
                }
            }
        }
    };
}
integer!(i32);
integer!(i64);

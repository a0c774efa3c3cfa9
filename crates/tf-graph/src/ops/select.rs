//! Elements chosen by conditions and limits.

use super::broadcast::{combine, select};
use super::kernel::Kernel::One;
use super::kernel::{Call, Pair, Table, exactly, pair, wrong_type};
use super::number::Number;
use crate::array::{Array, Element, Values};
use crate::failure::{Failure, invalid};

pub(super) const TABLE: Table = &[
    ("ClipByValue", One(clip_by_value)),
    ("Select", One(select_v1)),
    ("SelectV2", One(select_v2)),
];

fn select_v2(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let [condition, a, b] = exactly(inputs)?;
    let Array::Bool(condition) = condition else {
        return wrong_type(condition.dtype());
    };
    match pair(a, b)? {
        Pair::Float32(a, b) => select(call, &condition, &a, &b).map(Element::wrap),
        Pair::Float64(a, b) => select(call, &condition, &a, &b).map(Element::wrap),
        Pair::Int32(a, b) => select(call, &condition, &a, &b).map(Element::wrap),
        Pair::Int64(a, b) => select(call, &condition, &a, &b).map(Element::wrap),
        Pair::Bool(a, b) => select(call, &condition, &a, &b).map(Element::wrap),
    }
}

/// `Select` repeats no axes, except that a vector selects whole rows.
fn select_v1(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let [mut condition, a, b] = exactly(inputs)?;
    let fits = condition.rank() == 0
        || condition.shape() == a.shape()
        || condition.rank() == 1 && condition.shape().first() == a.shape().first();
    if a.shape() != b.shape() || !fits {
        return invalid(format!(
            "the shapes {:?}, {:?} and {:?} do not fit",
            condition.shape(),
            a.shape(),
            b.shape()
        ));
    }
    if condition.rank() == 1 {
        let mut shape = vec![1; a.rank()];
        shape[0] = condition.len();
        condition = condition.reshape(&shape)?;
    }
    select_v2(call, vec![condition, a, b])
}

fn clip_by_value(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let [value, low, high] = exactly(inputs)?;
    let clipped = limited(call, value, high, true)?;
    limited(call, clipped, low, false)
}

fn limited(call: &Call<'_>, value: Array, limit: Array, is_upper: bool) -> Result<Array, Failure> {
    fn limited<T: Number>(
        call: &Call<'_>,
        a: Values<T>,
        b: Values<T>,
        is_upper: bool,
    ) -> Result<Array, Failure> {
        let function = if is_upper { T::smaller } else { T::larger };
        combine(call, a, b, function).map(T::wrap)
    }
    match pair(value, limit)? {
        Pair::Float32(a, b) => limited(call, a, b, is_upper),
        Pair::Float64(a, b) => limited(call, a, b, is_upper),
        Pair::Int32(a, b) => limited(call, a, b, is_upper),
        Pair::Int64(a, b) => limited(call, a, b, is_upper),
        Pair::Bool(a, _) => wrong_type(Element::wrap(a).dtype()),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::ArrayD;

    use super::super::tests::{i32s, run_one};
    use crate::array::Array;

    #[test]
    fn a_vector_selects_whole_rows_in_version_1_only() {
        let rows = || Array::from(ArrayD::from_shape_vec(vec![2], vec![true, false]).unwrap());
        let [a, b] = [1, 2].map(|x| move || i32s(&[2, 3], &[x; 6]));
        let chosen = run_one("Select", &[], vec![rows(), a(), b()]).unwrap();
        assert_eq!(chosen.integers().unwrap(), [1, 1, 1, 2, 2, 2]);
        assert!(run_one("SelectV2", &[], vec![rows(), a(), b()]).is_err());
        let column = rows().reshape(&[2, 1]).unwrap();
        let chosen = run_one("SelectV2", &[], vec![column, a(), i32s(&[], &[5])]).unwrap();
        assert_eq!(chosen.integers().unwrap(), [1, 1, 1, 5, 5, 5]);
        assert!(
            run_one(
                "Select",
                &[],
                vec![rows(), i32s(&[], &[1]), i32s(&[], &[1])]
            )
            .is_err()
        );
    }
}

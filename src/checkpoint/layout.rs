//! Shapes, and the slices of partitioned variables: checked when a file claims them, and joined when
//! they are read.
//!
//! Both formats describe them with the same messages. Errors complete the sentence "the entry of
//! variable … ".

use std::ops::Range;

use ndarray::{ArrayView, ArrayViewMut, Axis, IxDyn, Slice};

use super::proto::{TensorShape, TensorSlice};
use super::{DType, Piece};

/// The most slices accepted of one variable: they are compared in pairs.
pub(super) const MAX_SLICES: usize = 1 << 12;
/// The most axes accepted (`TensorShape::MaxDimensions`).
const MAX_RANK: usize = 254;

/// The sizes of all axes.
pub(super) fn shape(shape: Option<&TensorShape>) -> Result<Vec<usize>, String> {
    let Some(shape) = shape else {
        return Ok(Vec::new());
    };
    if shape.unknown_rank || shape.dim.len() > MAX_RANK {
        return Err("has no usable shape".into());
    }
    shape
        .dim
        .iter()
        .map(|dim| {
            usize::try_from(dim.size).map_err(|_| format!("has an axis of size {}", dim.size))
        })
        .collect()
}

/// Bytes that `shape` takes.
pub(super) fn byte_len(element: usize, shape: &[usize]) -> Result<u64, String> {
    // An axis of size 0 must not hide an overflow that `Variable::elements` would then meet.
    let nonzero = shape.iter().map(|&n| n.max(1));
    nonzero
        .chain([element])
        .try_fold(1_usize, usize::checked_mul)
        .filter(|&n| isize::try_from(n).is_ok())
        .map(|_| (shape.iter().product::<usize>() * element) as u64)
        .ok_or_else(|| format!("has the shape {shape:?}, too large for memory"))
}

/// Checks the slices that a variable is said to have: they lie in its shape, and no two overlap.
/// Whether they fill it is up to [`check_filled`].
pub(super) fn slice_ranges(
    slices: &[TensorSlice],
    shape: &[usize],
) -> Result<Vec<Vec<Range<usize>>>, String> {
    if slices.len() > MAX_SLICES {
        return Err(format!(
            "lists {} slices, more than the {MAX_SLICES} allowed",
            slices.len()
        ));
    }
    let mut checked: Vec<Vec<Range<usize>>> = Vec::with_capacity(slices.len());
    for slice in slices {
        let ranges = ranges(slice, shape)?;
        let overlaps = |other: &Vec<Range<usize>>| {
            std::iter::zip(&ranges, other).all(|(a, b)| a.start < b.end && b.start < a.end)
        };
        if checked.iter().any(overlaps) {
            return Err(format!(
                "lists the slice {ranges:?}, which overlaps another"
            ));
        }
        checked.push(ranges);
    }
    Ok(checked)
}

/// Checks that the pieces, which do not overlap, fill the variable.
pub(super) fn check_filled(pieces: &[Piece], dtype: DType, shape: &[usize]) -> Result<(), String> {
    let total = byte_len(dtype.size().unwrap_or(0), shape)?;
    let covered: u64 = pieces.iter().map(|piece| piece.len).sum();
    if covered != total {
        return Err(format!(
            "has slices of {covered} bytes together, its shape {shape:?} of {dtype} takes {total}"
        ));
    }
    Ok(())
}

/// The index range of a slice on each axis.
fn ranges(slice: &TensorSlice, shape: &[usize]) -> Result<Vec<Range<usize>>, String> {
    if slice.extent.len() != shape.len() {
        return Err(format!(
            "lists a slice of {} axes, its shape {shape:?} has {}",
            slice.extent.len(),
            shape.len()
        ));
    }
    std::iter::zip(&slice.extent, shape)
        .map(|(extent, &size)| {
            let Some(length) = extent.length else {
                return Ok(0..size);
            };
            let start = usize::try_from(extent.start).ok();
            let end = start.and_then(|s| s.checked_add(usize::try_from(length).ok()?));
            match (start, end) {
                (Some(start), Some(end)) if end <= size => Ok(start..end),
                _ => Err(format!(
                    "lists a slice of {length} from {} on an axis of {size}",
                    extent.start
                )),
            }
        })
        .collect()
}

/// The shape of a slice.
pub(super) fn slice_shape(ranges: &[Range<usize>]) -> Vec<usize> {
    ranges.iter().map(ExactSizeIterator::len).collect()
}

/// Copies the bytes of one slice to their place in the bytes of the whole variable.
pub(super) fn place(
    slice: &[u8],
    ranges: &[Range<usize>],
    (dtype, shape): (DType, &[usize]),
    whole: &mut [u8],
) {
    let mut target = ArrayViewMut::from_shape(with_bytes(shape, dtype), whole)
        .expect("the buffer is as long as the variable");
    for (axis, range) in ranges.iter().enumerate() {
        target.slice_axis_inplace(Axis(axis), Slice::from(range.clone()));
    }
    let slice = ArrayView::from_shape(target.raw_dim(), slice).expect("as long as its ranges say");
    target.assign(&slice);
}

/// The bytes of one slice, out of those of the whole variable; `None` when it does not lie in the
/// shape.
pub(crate) fn cut(
    whole: &[u8],
    ranges: &[Range<usize>],
    (dtype, shape): (DType, &[usize]),
) -> Option<Vec<u8>> {
    let inside = ranges.len() == shape.len()
        && std::iter::zip(ranges, shape).all(|(r, &size)| r.start <= r.end && r.end <= size);
    if !inside {
        return None;
    }
    let mut view = ArrayView::from_shape(with_bytes(shape, dtype), whole).ok()?;
    for (axis, range) in ranges.iter().enumerate() {
        view.slice_axis_inplace(Axis(axis), Slice::from(range.clone()));
    }
    Some(view.iter().copied().collect())
}

/// The bytes of an element become a last axis, so that any element type will do.
fn with_bytes(shape: &[usize], dtype: DType) -> IxDyn {
    let shape: Vec<usize> = shape.iter().copied().chain(dtype.size()).collect();
    IxDyn(&shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_along_any_axis_are_joined_and_cut() {
        let variable = (DType::Float16, &[2, 3][..]);
        let slices: [(&[u8], [Range<usize>; 2]); 2] = [
            (&[1, 1, 4, 4], [0..2, 0..1]),
            (&[2, 2, 3, 3, 5, 5, 6, 6], [0..2, 1..3]),
        ];
        let mut whole = vec![0; 12];
        for (slice, ranges) in &slices {
            place(slice, ranges, variable, &mut whole);
        }
        assert_eq!(whole, [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]);
        for (slice, ranges) in &slices {
            assert_eq!(cut(&whole, ranges, variable).unwrap(), *slice);
        }
        for ranges in [[0..3, 0..1], [0..2, 1..4]] {
            assert_eq!(cut(&whole, &ranges, variable), None, "{ranges:?}");
        }
    }
}

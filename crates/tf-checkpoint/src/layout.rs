//! Shapes and slices of partitioned variables: decoding, checking, joining.
//!
//! Both formats use the messages `TensorShapeProto` and `TensorSliceProto`. The slices of a variable must
//! cover it exactly once, which is checked with the corners of their boxes in the time of sorting them.
//! Errors complete the sentence "the entry of variable … ".
//! Source: `tensor_shape.proto`, `tensor_slice.proto` in `tensorflow/core/framework`.

use std::ops::Range;

use ndarray::{ArrayView, ArrayViewMut, Axis, IxDyn, Slice};

use crate::error::Fault;
use crate::limits::Budget;
use crate::protobuf::message::fields;
use crate::slice_key::{self, AxisExtent};
use crate::variable::DType;

/// The largest number of axes (`TensorShape::MaxDimensions`).
const MAX_RANK: usize = 254;
/// The largest number of axes along which a variable may be sliced, so that a box has at most eight
/// corners. TensorFlow's partitioners slice along one.
const MAX_CUT_AXES: usize = 3;

/// Appends the axes of a `TensorShapeProto` to `shape`.
pub(crate) fn read_shape(message: &[u8], shape: &mut Vec<usize>) -> Result<(), Fault> {
    for field in fields(message) {
        let field = field?;
        match field.number {
            2 if shape.len() < MAX_RANK => shape.push(read_axis(field.bytes()?)?),
            2 => return Err(format!("has a shape of more than {MAX_RANK} axes").into()),
            3 if field.int32()? != 0 => return Err("has a shape of unknown rank".into()),
            _ => {}
        }
    }
    Ok(())
}

fn read_axis(message: &[u8]) -> Result<usize, Fault> {
    let mut size = 0;
    for field in fields(message) {
        let field = field?;
        if field.number == 1 {
            size = field.int64()?;
        }
    }
    usize::try_from(size).map_err(|_| format!("has an axis of size {size}").into())
}

/// A slice of a variable, as a file describes it.
#[derive(Debug)]
pub(crate) struct StatedSlice {
    /// The index range of each axis.
    pub(crate) ranges: Vec<Range<usize>>,
    /// The end of its key ([`slice_key::code`]).
    pub(crate) code: Vec<u8>,
}

/// Decodes a `TensorSliceProto` and checks that it lies within `shape`.
pub(crate) fn read_slice(
    message: &[u8],
    shape: &[usize],
    budget: &mut Budget,
) -> Result<StatedSlice, Fault> {
    let mut extents = Vec::new();
    for field in fields(message) {
        let field = field?;
        if field.number == 1 {
            if extents.len() == shape.len() {
                return Err(format!("lists a slice of more axes than its shape {shape:?}").into());
            }
            extents.push(read_extent(field.bytes()?)?);
        }
    }
    if extents.len() < shape.len() {
        let rank = extents.len();
        return Err(format!("lists a slice of {rank} axes, its shape is {shape:?}").into());
    }
    let code = slice_key::code(&extents);
    budget.take(size_of_val(shape) * 2 + code.len())?;
    let ranges = std::iter::zip(&extents, shape).map(|(&extent, &size)| range(extent, size));
    Ok(StatedSlice {
        ranges: ranges.collect::<Result<_, Fault>>()?,
        code,
    })
}

fn read_extent(message: &[u8]) -> Result<AxisExtent, Fault> {
    let mut extent = AxisExtent::default();
    for field in fields(message) {
        let field = field?;
        match field.number {
            1 => extent.start = field.int64()?,
            2 => extent.length = Some(field.int64()?),
            _ => {}
        }
    }
    Ok(extent)
}

fn range(extent: AxisExtent, size: usize) -> Result<Range<usize>, Fault> {
    let Some(length) = extent.length else {
        return Ok(0..size);
    };
    let start = usize::try_from(extent.start).ok();
    let end = start.and_then(|s| s.checked_add(usize::try_from(length).ok()?));
    match (start, end) {
        (Some(start), Some(end)) if end <= size => Ok(start..end),
        _ => {
            let start = extent.start;
            Err(format!("lists a slice of {length} from {start} on an axis of {size}").into())
        }
    }
}

/// Returns the number of bytes of `shape` with `element` bytes an element.
pub(crate) fn byte_len(element: usize, shape: &[usize]) -> Result<u64, Fault> {
    // An axis of size 0 must not hide an overflow that `Variable::elements` would then meet.
    let nonzero = shape.iter().map(|&n| n.max(1));
    nonzero
        .chain([element])
        .try_fold(1_usize, usize::checked_mul)
        .filter(|&n| isize::try_from(n).is_ok())
        .map(|_| (shape.iter().product::<usize>() * element) as u64)
        .ok_or_else(|| format!("has the shape {shape:?}, too large for memory").into())
}

/// Checks that slices, each of which lies within `shape`, cover it exactly once.
///
/// The mixed derivative of a box's indicator function is a sum of points: its corners, positive where
/// an even number of coordinates is a start. Boxes tile the whole exactly if their indicator functions
/// add up to that of the whole, which is the case exactly if the corners do.
pub(crate) fn check_cover<'a>(
    slices: impl Iterator<Item = &'a [Range<usize>]> + Clone,
    shape: &[usize],
    budget: &Budget,
) -> Result<(), Fault> {
    let elements = |ranges: &[Range<usize>]| -> u128 {
        ranges.iter().map(|range| range.len() as u128).product()
    };
    let covered: u128 = slices.clone().map(elements).sum();
    let total: u128 = shape.iter().map(|&size| size as u128).product();
    if covered < total {
        return Err(format!(
            "has slices of {covered} elements together, its shape {shape:?} has {total}"
        )
        .into());
    }
    if covered > total {
        return Err(format!("has slices that overlap: {covered} elements of {total}").into());
    }
    if total == 0 {
        return Ok(());
    }

    let is_cut = |axis: &usize| {
        let mut slices = slices.clone();
        slices.any(|ranges| ranges[*axis] != (0..shape[*axis]))
    };
    let axes: Vec<usize> = (0..shape.len()).filter(is_cut).collect();
    if axes.len() > MAX_CUT_AXES {
        let cut = axes.len();
        return Err(format!("is cut along {cut} axes, more than {MAX_CUT_AXES}").into());
    }
    let count = (slices.clone().count() + 1) << axes.len();
    budget.check(count * size_of::<Corner>())?;
    let mut corners = Vec::with_capacity(count);
    for ranges in slices {
        push_corners(
            &mut corners,
            |axis| ranges[axes[axis]].clone(),
            axes.len(),
            1,
        );
    }
    push_corners(&mut corners, |axis| 0..shape[axes[axis]], axes.len(), -1);
    corners.sort_unstable();
    for same in corners.chunk_by(|a, b| a.0 == b.0) {
        if same.iter().map(|corner| corner.1).sum::<i64>() != 0 {
            let at = &same[0].0[..axes.len()];
            return Err(format!(
                "has slices that overlap and leave gaps, at {at:?} of axes {axes:?}"
            )
            .into());
        }
    }
    Ok(())
}

/// A corner and its weight.
type Corner = ([usize; MAX_CUT_AXES], i64);

fn push_corners(
    corners: &mut Vec<Corner>,
    range: impl Fn(usize) -> Range<usize>,
    axes: usize,
    weight: i64,
) {
    for ends in 0..1_usize << axes {
        let mut corner = [0; MAX_CUT_AXES];
        for (axis, coordinate) in corner.iter_mut().enumerate().take(axes) {
            let is_end = ends >> axis & 1 == 1;
            let range = range(axis);
            *coordinate = if is_end { range.end } else { range.start };
        }
        let sign = if ends.count_ones() % 2 == 0 { 1 } else { -1 };
        corners.push((corner, sign * weight));
    }
}

/// Checks that no two variables share bytes: a list of a few kilobytes could otherwise refer to the same
/// gigabyte a thousand times. No writer shares bytes. Each place is a file, a range of bytes and the name of
/// a variable; the error has the name of the second of two.
pub(crate) fn check_apart<'a>(
    places: impl Iterator<Item = (usize, Range<u64>, &'a str)> + Clone,
    budget: &Budget,
) -> Result<(), (&'a str, Fault)> {
    let places = places.filter(|(_, range, _)| !range.is_empty());
    let count = places.clone().count();
    budget
        .check(count * size_of::<(usize, u64, u64, &str)>())
        .map_err(|error| ("", error.into()))?;
    let places = places.map(|(shard, range, name)| (shard, range.start, range.end, name));
    let mut places: Vec<_> = places.collect();
    places.sort_unstable();
    match places
        .array_windows()
        .find(|[a, b]| a.0 == b.0 && b.1 < a.2)
    {
        Some([a, b]) => {
            let what = format!("shares bytes of data file {} with variable {}", a.0, a.3);
            Err((b.3, what.into()))
        }
        None => Ok(()),
    }
}

/// Returns the shape of a slice.
pub(crate) fn slice_shape(ranges: &[Range<usize>]) -> Vec<usize> {
    ranges.iter().map(ExactSizeIterator::len).collect()
}

/// Copies the bytes of one slice to their place in the bytes of the whole variable.
///
/// # Panics
/// If a buffer has another length than its shape.
pub(crate) fn place(
    slice: &[u8],
    ranges: &[Range<usize>],
    (dtype, shape): (DType, &[usize]),
    whole: &mut [u8],
) {
    let (shape, ranges) = long_axes(shape, ranges, dtype);
    let mut target = ArrayViewMut::from_shape(shape, whole).expect("as long as the variable");
    for (axis, range) in ranges.into_iter().enumerate() {
        target.slice_axis_inplace(Axis(axis), range);
    }
    let slice = ArrayView::from_shape(target.raw_dim(), slice).expect("as long as its ranges");
    target.assign(&slice);
}

/// Returns the bytes of a slice of a variable whose bytes are `whole`, row-major; `None` if the slice
/// does not lie within the variable, or `whole` has another length than dtype and shape imply.
///
/// ```
/// use tf_checkpoint::{DType, cut};
///
/// let whole = [1, 0, 2, 0, 3, 0, 4, 0]; // [[1, 2], [3, 4]], 16-bit elements
/// let column = cut(&whole, &[0..2, 1..2], (DType::Float16, &[2, 2]));
/// assert_eq!(column.unwrap(), [2, 0, 4, 0]);
/// ```
pub fn cut(
    whole: &[u8],
    ranges: &[Range<usize>],
    (dtype, shape): (DType, &[usize]),
) -> Option<Vec<u8>> {
    let inside = ranges.len() == shape.len()
        && std::iter::zip(ranges, shape).all(|(r, &size)| r.start <= r.end && r.end <= size);
    let element = dtype.size().unwrap_or(1);
    if !inside || byte_len(element, shape).ok()? != whole.len() as u64 {
        return None;
    }
    let (shape, ranges) = long_axes(shape, ranges, dtype);
    let mut view = ArrayView::from_shape(shape, whole).ok()?;
    for (axis, range) in ranges.into_iter().enumerate() {
        view.slice_axis_inplace(Axis(axis), range);
    }
    Some(view.iter().copied().collect())
}

/// Removes axes of size 1 from a shape, and returns the ranges of the others: a file may have hundreds of
/// such axes, each of which would cost time for every element. The bytes of an element become the last
/// axis, so that every dtype is handled alike.
fn long_axes(shape: &[usize], ranges: &[Range<usize>], dtype: DType) -> (IxDyn, Vec<Slice>) {
    let is_long = |(size, range): &(&usize, &Range<usize>)| **size != 1 || range.is_empty();
    let (mut long, ranges): (Vec<usize>, Vec<Slice>) = std::iter::zip(shape, ranges)
        .filter(is_long)
        .map(|(&size, range)| (size, Slice::from(range.clone())))
        .unzip();
    long.push(dtype.size().unwrap_or(1));
    (IxDyn(&long), ranges)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn cover(slices: &[&[Range<usize>]], shape: &[usize]) -> Result<(), String> {
        let budget = Limits::default().budget(0);
        check_cover(slices.iter().copied(), shape, &budget).map_err(|fault| match fault {
            Fault::Entry(what) => what,
            Fault::TooDense(error) => error.to_string(),
        })
    }

    #[test]
    fn slices_cover_a_variable_exactly_once() {
        // A pinwheel, which no straight cut takes apart.
        let pinwheel: [&[Range<usize>]; 5] = [
            &[0..2, 0..1],
            &[2..3, 0..2],
            &[1..3, 2..3],
            &[0..1, 1..3],
            &[1..2, 1..2],
        ];
        assert_eq!(cover(&pinwheel, &[3, 3]), Ok(()));
        assert_eq!(cover(&[&[0..3, 0..2], &[0..3, 2..3]], &[3, 3]), Ok(()));
        assert_eq!(cover(&[&[]], &[]), Ok(()));
        assert_eq!(cover(&[&[0..0, 0..5]], &[0, 5]), Ok(()));
        let empty: [&[Range<usize>]; 3] = [&[0..2, 0..1], &[2..2, 0..1], &[2..3, 0..1]];
        assert_eq!(cover(&empty, &[3, 1]), Ok(()));
        let thirds = |a: usize| [a..a + 1, 0..2, 0..2, 0..2];
        assert_eq!(
            cover(&[&thirds(0), &thirds(1), &thirds(2)], &[3, 2, 2, 2]),
            Ok(())
        );

        let mut bent = pinwheel;
        bent[4] = &[0..1, 0..1];
        assert!(cover(&bent, &[3, 3]).unwrap_err().contains("overlap"));
        assert!(
            cover(&pinwheel[1..], &[3, 3])
                .unwrap_err()
                .contains("7 elements")
        );
        let twice: [&[Range<usize>]; 2] = [&[0..2, 0..1], &[0..2, 0..1]];
        assert!(cover(&twice, &[2, 1]).unwrap_err().contains("overlap"));
        assert!(
            cover(&twice, &[4, 1])
                .unwrap_err()
                .contains("gaps, at [0] of axes [0]")
        );
        let cut = [0..1, 0..1, 0..1, 0..1];
        let cut = vec![&cut[..]; 16];
        assert!(cover(&cut, &[2; 4]).unwrap_err().contains("along 4 axes"));
    }

    #[test]
    fn slices_of_many_axes_are_joined_and_cut() {
        let shape = [2, 1, 3, 4, 1, 5];
        let whole: Vec<u8> = (0..120).collect();
        let ranges = [1..2, 0..1, 1..3, 0..2, 0..1, 1..4];
        let expected: Vec<u8> = [1, 2]
            .iter()
            .flat_map(|c| [0, 1].map(|d| (c, d)))
            .flat_map(|(c, d)| [1, 2, 3].map(|f| 60 + c * 20 + d * 5 + f))
            .collect();
        // A type of one byte an element.
        let variable = (DType::Other(0), &shape[..]);
        assert_eq!(cut(&whole, &ranges, variable).unwrap(), expected);
        let mut joined = vec![0; 120];
        place(&expected, &ranges, variable, &mut joined);
        for (at, (&found, &byte)) in std::iter::zip(&joined, &whole).enumerate() {
            let is_placed = expected.contains(&byte);
            assert_eq!(found, if is_placed { byte } else { 0 }, "{at}");
        }
        let empty = [1..1, 0..1, 0..3, 0..4, 0..1, 0..5];
        assert!(cut(&whole, &empty, variable).unwrap().is_empty());
        assert_eq!(cut(&whole[1..], &ranges, variable), None);
    }

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

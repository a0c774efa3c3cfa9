//! `StridedSlice`: Python's `x[1:5:2, ..., None, -1]`.

use super::kernel::Kernel::One;
use super::kernel::{Call, Table, axis, exactly};
use crate::array::{Array, Element, each};
use crate::failure::{Failure, invalid};
use crate::strided::{Strided, StridedAxis, copy, signed};

pub(super) const TABLE: Table = &[("StridedSlice", One(strided_slice))];

/// The masks: bit `n` applies to range `n`.
struct Masks {
    begin: i64,
    end: i64,
    ellipsis: i64,
    new_axis: i64,
    shrink: i64,
}

fn strided_slice(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let mask = |key| call.integer(key).unwrap_or(0);
    let masks = Masks {
        begin: mask("begin_mask"),
        end: mask("end_mask"),
        ellipsis: mask("ellipsis_mask"),
        new_axis: mask("new_axis_mask"),
        shrink: mask("shrink_axis_mask"),
    };
    let [input, begin, end, strides] = exactly(inputs)?;
    let [begin, end, strides] = [begin.integers()?, end.integers()?, strides.integers()?];
    let count = begin.len();
    if end.len() != count || strides.len() != count || count > 32 {
        return invalid("begin, end and strides differ in length");
    }
    let is_set = |mask: i64, at: usize| mask >> at & 1 == 1;
    let ellipses = (0..count).filter(|&at| is_set(masks.ellipsis, at)).count();
    if ellipses > 1 {
        return invalid("there are several ellipses");
    }
    let is_new = |at: usize| is_set(masks.new_axis, at) && !is_set(masks.ellipsis, at);
    let named = (0..count).filter(|&at| !is_set(masks.ellipsis, at) && !is_new(at));
    let Some(covered) = input.rank().checked_sub(named.count()) else {
        return invalid(format!("{count} ranges for {} axes", input.rank()));
    };

    let whole = Strided::whole(input.shape());
    let mut source = whole.axes.iter().copied();
    let mut start = 0_usize;
    let mut axes = Vec::new();
    for at in 0..count {
        if is_set(masks.ellipsis, at) {
            axes.extend(source.by_ref().take(covered));
            continue;
        }
        if is_new(at) {
            axes.push(StridedAxis { len: 1, step: 0 });
            continue;
        }
        let Some(from) = source.next() else {
            return invalid("there are more ranges than axes");
        };
        let range = Range {
            begin: (!is_set(masks.begin, at)).then_some(begin[at]),
            end: (!is_set(masks.end, at)).then_some(end[at]),
            stride: strides[at],
        };
        if is_set(masks.shrink, at) {
            let index = axis(begin[at], from.len).map_err(|_| {
                Failure::Invalid(format!("index {} exceeds {}", begin[at], from.len))
            })?;
            if strides[at] <= 0 {
                return invalid("the stride of a single index is not positive");
            }
            start = start.wrapping_add_signed(signed(index).wrapping_mul(from.step));
        } else {
            let (first, len) = range.resolve(from.len)?;
            start = start.wrapping_add_signed(signed(first).wrapping_mul(from.step));
            let stride = isize::try_from(range.stride).unwrap_or(0);
            // A stride that overflows leaves one element at most.
            axes.push(StridedAxis {
                len,
                step: from.step.checked_mul(stride).unwrap_or(0),
            });
        }
    }
    axes.extend(source);
    let part = Strided { start, axes };
    if part.axes.len() == input.rank() && part.axes == whole.axes {
        return Ok(input);
    }
    each!(&input, values => copy(values, &part, call.meter).map(Element::wrap))
}

/// A range of indices; `None` stands for all from the beginning, or to the end.
struct Range {
    begin: Option<i64>,
    end: Option<i64>,
    stride: i64,
}

impl Range {
    /// Returns the first index and the number of indices in an axis.
    fn resolve(&self, len: usize) -> Result<(usize, usize), Failure> {
        let stride = i128::from(self.stride);
        if stride == 0 {
            return invalid("a stride is 0");
        }
        let len = len as i128;
        // A range that goes down ends before index 0.
        let (low, high) = if stride > 0 { (0, len) } else { (-1, len - 1) };
        let clamp = |index: i64| {
            let index = i128::from(index);
            let index = if index < 0 { index + len } else { index };
            index.clamp(low, high.max(low))
        };
        let begin = self
            .begin
            .map_or(if stride > 0 { low } else { high }, clamp);
        let end = self.end.map_or(if stride > 0 { high } else { low }, clamp);
        let distance = if stride > 0 { end - begin } else { begin - end };
        let step = stride.abs();
        let count = if distance > 0 {
            (distance + step - 1) / step
        } else {
            0
        };
        Ok((
            usize::try_from(begin).unwrap_or(0),
            usize::try_from(count).unwrap_or(0),
        ))
    }
}

#[cfg(test)]
mod tests {
    use testkit::graph_writer::Attr;

    use super::super::tests::{cube, list, parts, run_one};

    #[test]
    fn strided_slices_know_all_masks() {
        let slice = |ranges: [&[i32]; 3], attrs: &[(&str, i64)]| {
            let attrs: Vec<_> = attrs
                .iter()
                .map(|&(key, mask)| (key, Attr::Int(mask)))
                .collect();
            let [begin, end, strides] = ranges.map(list);
            run_one("StridedSlice", &attrs, vec![cube(), begin, end, strides])
        };
        // x[1]
        let shrunk = slice([&[1], &[2], &[1]], &[("shrink_axis_mask", 1)]);
        assert_eq!(parts(shrunk), (vec![2, 3], vec![6, 7, 8, 9, 10, 11]));
        // x[..., ::-2]
        let masks = [("ellipsis_mask", 1), ("begin_mask", 2), ("end_mask", 2)];
        let reversed = slice([&[0, 0], &[0, 0], &[1, -2]], &masks);
        assert_eq!(
            parts(reversed),
            (vec![2, 2, 2], vec![2, 0, 5, 3, 8, 6, 11, 9])
        );
        // x[:, newaxis, -1, 1:9]
        let masks = [
            ("begin_mask", 1),
            ("end_mask", 1),
            ("new_axis_mask", 2),
            ("shrink_axis_mask", 4),
        ];
        let mixed = slice([&[0, 0, -1, 1], &[0, 0, 0, 9], &[1, 1, 1, 1]], &masks);
        assert_eq!(parts(mixed), (vec![2, 1, 2], vec![4, 5, 10, 11]));
        assert_eq!(parts(slice([&[1], &[0], &[1]], &[])).0, [0, 2, 3]);
        let large = slice([&[i32::MIN], &[i32::MAX], &[i32::MAX]], &[]);
        assert_eq!(parts(large).0, [1, 2, 3]);
        assert!(slice([&[2], &[3], &[1]], &[("shrink_axis_mask", 1)]).is_err());
        assert!(slice([&[0], &[1], &[0]], &[]).is_err());
        assert!(slice([&[0; 4], &[1; 4], &[1; 4]], &[]).is_err());
        assert!(slice([&[0; 2], &[1; 2], &[1; 2]], &[("ellipsis_mask", 3)]).is_err());
    }
}

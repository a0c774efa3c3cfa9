//! Loops over the rows of an array, on several threads if the work is worth it.
//!
//! The body of a loop is a trait object that is called for a row. rayon is then compiled once for each type of
//! elements, and not once for each operation, which was half of the time to build this crate.

use rayon::prelude::*;

/// The number of elements from which work is shared by several threads.
pub(crate) const PARALLEL: usize = 1 << 15;
/// The least number of elements that a thread takes at a time.
const LEAST: usize = PARALLEL / 4;

/// Calls `body` for each row of `len` elements with its number; the last row may be shorter. `work` is the
/// number of elements that are read for all rows together.
pub(crate) fn for_each_row<T: Send>(
    elements: &mut [T],
    len: usize,
    work: usize,
    body: &(dyn Fn(usize, &mut [T]) + Sync),
) {
    if work < PARALLEL {
        let rows = elements.chunks_mut(len).enumerate();
        rows.for_each(|(number, row)| body(number, row));
        return;
    }
    let of_row = (work / elements.len().div_ceil(len).max(1)).max(1);
    let rows = elements.par_chunks_mut(len).enumerate();
    rows.with_min_len((LEAST / of_row).max(1))
        .for_each(|(number, row)| body(number, row));
}

/// Calls `body` for pieces of an array that are computed element by element, with the position of each.
pub(crate) fn for_each_piece<T: Send>(elements: &mut [T], body: &(dyn Fn(usize, &mut [T]) + Sync)) {
    let work = elements.len();
    for_each_row(elements, LEAST, work, &|number, piece| {
        body(number * LEAST, piece);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_is_visited_once() {
        for len in [0, 1, 100, PARALLEL, 3 * PARALLEL + 5] {
            let mut numbers = vec![0; len];
            for_each_piece(&mut numbers, &|start, piece| {
                for (at, x) in piece.iter_mut().enumerate() {
                    *x += start + at;
                }
            });
            assert!(numbers.iter().enumerate().all(|(at, &x)| at == x));
            for_each_row(&mut numbers, 7, len, &|number, row| {
                for x in row {
                    *x = number;
                }
            });
            assert!(numbers.iter().enumerate().all(|(at, &x)| at / 7 == x));
        }
    }
}

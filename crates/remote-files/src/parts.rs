//! Which ranges of a file are fetched, and in which order.
//!
//! A request costs as much time as some bytes. Ranges that are no farther apart than [`GAP`] are therefore fetched
//! together, and long ones in parts of at most [`PART`]. No byte belongs to two parts.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

/// The longest run of unwanted bytes that is fetched to save a request: with many requests at once, a request costs
/// the time of about 128 KiB. In a checkpoint with optimizer slots, what lies between two kernels is either a few
/// kilobytes or as long as both.
const GAP: u64 = 128 << 10;
/// The longest part in bytes.
pub(crate) const PART: u64 = 8 << 20;
// No part is a gap alone, which nothing would fetch.
const _: () = assert!(PART / 2 > GAP);
/// The shortest part that is fetched for a read that was not announced.
const READ_AHEAD: u64 = 64 << 10;
/// Files up to this length are fetched as a whole.
const WHOLE: u64 = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Queued,
    Fetching,
    Present,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    end: u64,
    state: State,
}

/// The parts of a file, by their first byte.
#[derive(Debug)]
pub(crate) struct Parts {
    len: u64,
    by_start: BTreeMap<u64, Part>,
    /// The first bytes of the parts to fetch, in this order. A part that was moved forward is in it several
    /// times.
    queue: VecDeque<u64>,
}

impl Parts {
    /// Creates the parts of a file of `len` bytes: none.
    pub(crate) fn new(len: u64) -> Self {
        Self {
            len,
            by_start: BTreeMap::new(),
            queue: VecDeque::new(),
        }
    }

    /// Adds parts that cover `ranges`, and puts all that have a byte of them to the front of the queue, in the order of
    /// `ranges`.
    pub(crate) fn add(&mut self, ranges: &[Range<u64>]) {
        let wanted = merged(ranges, 0);
        for run in merged(ranges, GAP) {
            for missing in self.missing(&run) {
                // Without gaps at its ends: beside parts that were added before they save no request.
                let first = wanted.partition_point(|range| range.end <= missing.start);
                let end = wanted.partition_point(|range| range.start < missing.end);
                if let [first, .., last] | [first @ last] = &wanted[first..end.max(first)] {
                    self.insert(missing.start.max(first.start)..missing.end.min(last.end));
                }
            }
        }
        self.put_first(ranges.iter().flat_map(|range| self.queued(range)).collect());
    }

    /// Adds parts for a read that was not announced, and puts those that cover it to the front of the queue.
    pub(crate) fn demand(&mut self, range: &Range<u64>) {
        let wide = if self.len <= WHOLE {
            0..self.len
        } else {
            // What is read near the end is read backwards: a footer, then what it points to.
            let start = range.start.min(self.len - READ_AHEAD);
            start..range.end.max(start + READ_AHEAD)
        };
        let is_new = !self.missing(range).is_empty();
        if is_new {
            for missing in self.missing(&wide) {
                self.insert(missing);
            }
        }
        let mut first: Vec<u64> = self.queued(range).collect();
        if is_new {
            first.extend(self.queued(&wide));
        }
        self.put_first(first);
    }

    /// Returns the parts in the queue that have a byte of a range.
    fn queued(&self, range: &Range<u64>) -> impl Iterator<Item = u64> {
        let queued = self.covering(range);
        let queued = queued.filter(|(_, part)| part.state == State::Queued);
        queued.map(|(start, _)| start)
    }

    fn put_first(&mut self, parts: Vec<u64>) {
        for part in parts.into_iter().rev() {
            if self.queue.front() != Some(&part) {
                self.queue.push_front(part);
            }
        }
    }

    /// Takes the next part to fetch.
    pub(crate) fn next(&mut self) -> Option<Range<u64>> {
        while let Some(start) = self.queue.pop_front() {
            if let Some(part) = self.by_start.get_mut(&start)
                && part.state == State::Queued
            {
                part.state = State::Fetching;
                return Some(start..part.end);
            }
        }
        None
    }

    /// Records that a part was fetched.
    pub(crate) fn finish(&mut self, start: u64) {
        if let Some(part) = self.by_start.get_mut(&start) {
            part.state = State::Present;
        }
    }

    /// Records that the whole file was fetched.
    pub(crate) fn finish_all(&mut self) {
        self.queue.clear();
        self.by_start.clear();
        let (end, state) = (self.len, State::Present);
        self.by_start.insert(0, Part { end, state });
    }

    /// Returns true if all bytes of a range are fetched or will be.
    pub(crate) fn is_planned(&self, range: &Range<u64>) -> bool {
        self.missing(range).is_empty()
    }

    /// Returns true if all bytes of a range were fetched.
    pub(crate) fn is_present(&self, range: &Range<u64>) -> bool {
        let mut at = range.start;
        for (start, part) in self.covering(range) {
            if start > at || part.state != State::Present {
                return false;
            }
            at = part.end;
        }
        at >= range.end
    }

    /// Returns the ranges that are in no part.
    fn missing(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let mut missing = Vec::new();
        let mut at = range.start;
        let covering: Vec<(u64, Part)> = self.covering(range).collect();
        for (start, part) in covering {
            if at < start {
                missing.push(at..start);
            }
            at = part.end;
        }
        if at < range.end {
            missing.push(at..range.end);
        }
        missing
    }

    /// Returns the parts that have a byte of a range.
    fn covering(&self, range: &Range<u64>) -> impl Iterator<Item = (u64, Part)> {
        let before = self.by_start.range(..=range.start).next_back();
        let before = before.filter(|(_, part)| part.end > range.start);
        let first = before.map_or(range.start, |(&start, _)| start);
        let end = if range.is_empty() {
            first
        } else {
            range.end.max(first)
        };
        let parts = self.by_start.range(first..end);
        parts.map(|(&start, &part)| (start, part))
    }

    fn insert(&mut self, range: Range<u64>) {
        let state = State::Queued;
        for Range { start, end } in cut(range) {
            self.by_start.insert(start, Part { end, state });
        }
    }
}

/// Returns the ranges in order; those that are no farther apart than `gap` are one.
fn merged(ranges: &[Range<u64>], gap: u64) -> Vec<Range<u64>> {
    let mut sorted: Vec<Range<u64>> = ranges
        .iter()
        .filter(|range| !range.is_empty())
        .cloned()
        .collect();
    sorted.sort_unstable_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        match merged.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(gap) => {
                last.end = last.end.max(range.end);
            }
            _ => merged.push(range),
        }
    }
    merged
}

/// Cuts a range into parts of nearly equal length.
fn cut(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let len = range.end - range.start;
    let count = len.div_ceil(PART).max(1);
    let part = len.div_ceil(count).max(1);
    (0..len.div_ceil(part)).map(move |at| {
        let start = range.start + at * part;
        start..range.end.min(start + part)
    })
}

#[expect(clippy::single_range_in_vec_init, reason = "lists of ranges")]
#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn all(parts: &mut Parts) -> Vec<Range<u64>> {
        std::iter::from_fn(|| parts.next()).collect()
    }

    #[test]
    fn near_ranges_are_fetched_together_and_far_ones_apart() {
        let mut parts = Parts::new(100 * MIB);
        parts.add(&[
            MIB..2 * MIB,
            0..10,
            20..30,
            2 * MIB + GAP..3 * MIB,
            4 * MIB..4 * MIB,
        ]);
        assert_eq!(all(&mut parts), [MIB..3 * MIB, 0..30]);
    }

    #[test]
    fn a_gap_beside_parts_that_are_there_is_not_fetched() {
        let mut parts = Parts::new(100 * MIB);
        parts.add(&[0..10]);
        parts.add(&[20..30]);
        parts.add(&[0..10, 20..30, 100..110, 120..130]);
        assert_eq!(all(&mut parts), [0..10, 20..30, 100..130]);
        assert!(!parts.is_planned(&(12..13)) && !parts.is_planned(&(50..51)));
    }

    #[test]
    fn long_ranges_are_cut_evenly() {
        let mut parts = Parts::new(100 * MIB);
        parts.add(&[0..20 * MIB]);
        let lengths: Vec<u64> = all(&mut parts)
            .iter()
            .map(|part| part.end - part.start)
            .collect();
        assert_eq!(lengths.iter().sum::<u64>(), 20 * MIB);
        assert!(
            lengths.len() == 3 && lengths.iter().all(|len| *len <= PART && *len > 6 * MIB),
            "{lengths:?}"
        );
    }

    #[test]
    fn no_byte_is_fetched_twice() {
        let mut parts = Parts::new(100 * MIB);
        parts.add(&[MIB..2 * MIB]);
        parts.add(&[MIB / 2..3 * MIB, 10 * MIB..11 * MIB]);
        parts.demand(&(MIB + 5..MIB + 6));
        assert_eq!(
            all(&mut parts),
            [
                MIB..2 * MIB,
                MIB / 2..MIB,
                2 * MIB..3 * MIB,
                10 * MIB..11 * MIB
            ]
        );
        assert!(!parts.is_present(&(MIB..3 * MIB)));
        parts.finish(MIB);
        assert!(parts.is_present(&(MIB..2 * MIB)) && parts.is_present(&(MIB + 1..MIB + 2)));
        parts.finish(2 * MIB);
        assert!(parts.is_present(&(MIB..3 * MIB)));
        assert!(!parts.is_present(&(MIB..3 * MIB + 1)) && !parts.is_present(&(0..1)));
    }

    #[test]
    fn a_read_comes_first_and_reads_ahead() {
        let mut parts = Parts::new(100 * MIB);
        parts.add(&[0..MIB, 50 * MIB..51 * MIB]);
        parts.demand(&(50 * MIB..50 * MIB + 8));
        parts.demand(&(70 * MIB..70 * MIB + 8));
        let order = all(&mut parts);
        assert_eq!(
            order,
            [70 * MIB..70 * MIB + READ_AHEAD, 50 * MIB..51 * MIB, 0..MIB]
        );
    }

    #[test]
    fn parts_come_in_the_order_of_the_last_announcement() {
        let mut parts = Parts::new(100 * MIB);
        parts.add(&[0..10, MIB..2 * MIB, 5 * MIB..6 * MIB, 9 * MIB..10 * MIB]);
        parts.add(&[
            9 * MIB..9 * MIB + 1,
            20 * MIB..21 * MIB,
            5 * MIB + 1..5 * MIB + 2,
        ]);
        let first = [9 * MIB..10 * MIB, 20 * MIB..21 * MIB, 5 * MIB..6 * MIB];
        let rest = [0..10, MIB..2 * MIB];
        assert_eq!(all(&mut parts), [&first[..], &rest[..]].concat());
    }

    #[test]
    fn small_files_are_fetched_as_a_whole() {
        let mut parts = Parts::new(5000);
        parts.demand(&(4000..4048));
        assert_eq!(all(&mut parts), [0..5000]);
        parts.finish_all();
        assert!(parts.is_present(&(0..5000)));
    }

    /// Announcements and demands of several ranges, while parts are fetched.
    #[test]
    fn any_order_of_calls_fetches_what_was_asked_for_once() {
        let mut random = 7u64;
        let mut draw = |below: u64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) % below
        };
        for _ in 0..300 {
            let mut parts = Parts::new(64 * MIB);
            let mut wanted = Vec::new();
            let mut fetching = Vec::new();
            let mut fetched = Vec::new();
            for _ in 0..=draw(12) {
                let ranges: Vec<Range<u64>> = (0..=draw(3))
                    .scan(draw(50 * MIB), |at, _| {
                        // Some are empty, and some are so near that the gap is fetched too.
                        let [apart, longest] =
                            [draw(3), draw(4)].map(|at| usize::try_from(at).unwrap());
                        let start = *at + draw([10, GAP * 2, 9 * MIB][apart]);
                        let len = draw([1, 1000, MIB, 20 * MIB][longest]);
                        let range = start.min(64 * MIB)..(start + len).min(64 * MIB);
                        *at = range.end;
                        Some(range)
                    })
                    .collect();
                if draw(3) == 0 {
                    let [range, ..] = &ranges[..] else { continue };
                    parts.demand(range);
                    wanted.push(range.clone());
                } else {
                    parts.add(&ranges);
                    let is_queued = |range: &&Range<u64>| parts.queued(range).next().is_some();
                    if let Some(first) = ranges.iter().find(is_queued) {
                        let next = *parts.queue.front().unwrap();
                        assert!(parts.queued(first).any(|part| part == next), "{first:?}");
                    }
                    wanted.extend(ranges);
                }
                for _ in 0..draw(6) {
                    fetching.extend(parts.next());
                }
                if !fetching.is_empty() && draw(2) == 0 {
                    let at = usize::try_from(draw(fetching.len() as u64)).unwrap();
                    let part = fetching.swap_remove(at);
                    parts.finish(part.start);
                    fetched.push(part);
                }
            }
            fetching.extend(all(&mut parts));
            for part in fetching {
                parts.finish(part.start);
                fetched.push(part);
            }
            fetched.sort_unstable_by_key(|part| part.start);
            assert!(
                fetched.windows(2).all(|pair| pair[0].end <= pair[1].start),
                "{fetched:?}"
            );
            let planned = parts.by_start.values();
            assert!(planned.clone().all(|part| part.state == State::Present));
            assert_eq!(planned.len(), fetched.len());
            assert!(
                wanted.iter().all(|range| parts.is_present(range)),
                "{wanted:?} {fetched:?}"
            );
        }
    }
}

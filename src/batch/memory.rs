//! How much memory a job needs, and how much there is.
//!
//! The estimate is a rule with measured parts (`docs/performance.md`): a fixed part, and in proportion to the largest
//! layer, because a verified model is streamed layer by layer. What makes whole tensors in memory, and a training
//! graph, is added. It is an upper bound of what was measured, not a guarantee.

use std::cmp::Reverse;
use std::fs;
use std::path::Path;

use tf_checkpoint::{Format, Location};

use crate::export::thread_count;
use crate::plan::{Plan, PlannedTensor};

/// What every job needs: buffers, tokenizer, reports, and memory that the allocator keeps.
const FIXED: u64 = 56 << 20;
/// What the training graph needs in proportion to its file: its nodes, and the values of an evaluation.
const GRAPH: u64 = 6;
/// The part of the available memory that is used by default, in percent.
const SHARE: u64 = 75;

/// Returns the estimated peak memory in bytes of an export on this many threads. `graph` is the length of the training
/// graph's file.
pub(super) fn estimate(plan: &Plan, location: &Location, graph: u64, threads: usize) -> u64 {
    let config = plan.config();
    let [hidden, inner] = [config.hidden_size, config.intermediate_size].map(|size| size as u64);
    let elements = hidden
        .saturating_mul(hidden)
        .saturating_mul(4)
        .saturating_add(hidden.saturating_mul(inner).saturating_mul(2));
    let layer = elements.saturating_mul(size_of::<f32>() as u64);
    // Half a layer more: the next one is read while one is computed.
    let mut needed = FIXED
        .saturating_add(layer.saturating_mul(3) / 2)
        .saturating_add(graph.saturating_mul(GRAPH));
    let is_streamed =
        location.format() == Format::TensorBundle || location.format() == Format::SavedModel;
    let has_pieces = plan.variables().any(|variable| variable.pieces.len() > 1);
    if !is_streamed || has_pieces {
        // The stored bytes, the variable and the tensor are in memory at once.
        let whole = |tensor: &PlannedTensor| {
            let read = tensor.source_bytes().saturating_mul(2);
            read.saturating_add(tensor.bytes() as u64)
        };
        let mut tensors: Vec<u64> = plan.tensors.iter().map(whole).collect();
        tensors.sort_unstable_by_key(|&bytes| Reverse(bytes));
        let count = thread_count(plan.tensors.iter(), threads);
        let at_once = tensors.into_iter().take(count);
        needed = at_once.fold(needed, u64::saturating_add);
    }
    needed
}

/// Parses a size such as `2GiB`, `1500MB` or `800000000` (bytes).
///
/// # Errors
/// What is expected in place of other words.
pub fn parse_size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 9] = [
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("gib", 1 << 30),
        ("tib", 1 << 40),
        ("kb", 1_000),
        ("mb", 1_000_000),
        ("gb", 1_000_000_000),
        ("tb", 1_000_000_000_000),
        ("b", 1),
    ];
    let lower = text.trim().to_ascii_lowercase();
    let unit = UNITS.iter().find(|(unit, _)| lower.ends_with(unit));
    let (number, factor) = match unit {
        Some((unit, factor)) => (lower[..lower.len() - unit.len()].trim_end(), *factor),
        None => (&lower[..], 1),
    };
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number: Option<u64> = number.parse().ok().filter(|_| is_number);
    let bytes = number.and_then(|number| number.checked_mul(factor));
    let bytes = bytes.filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| "expected a size such as 2GiB, 1500MB or a number of bytes".to_owned())
}

/// Returns the default budget: three quarters of the memory that is available to this process, and to its control group
/// on Linux; `None` where that cannot be determined.
pub(super) fn default_budget() -> Option<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
    let available = available_in(&meminfo)?;
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    let root = Path::new("/sys/fs/cgroup");
    let own = group.map(|group| root.join(group)).unwrap_or_default();
    // A limit may be that of a group above.
    let groups = own.ancestors().take_while(|path| path.starts_with(root));
    let left = groups.filter_map(|group| {
        let number = |file| -> Option<u64> {
            fs::read_to_string(group.join(file))
                .ok()?
                .trim()
                .parse()
                .ok()
        };
        // Inactive pages of files count as used, but the kernel reclaims them first.
        let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
        let inactive = stat
            .lines()
            .find_map(|line| line.strip_prefix("inactive_file "));
        let inactive: u64 = inactive
            .and_then(|bytes| bytes.trim().parse().ok())
            .unwrap_or(0);
        let used = number("memory.current")?.saturating_sub(inactive);
        Some(number("memory.max")?.saturating_sub(used))
    });
    let least = left.chain([available]).min()?;
    Some(least / 100 * SHARE)
}

fn available_in(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1 << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("2GiB", 2 << 30),
            ("1500 MB", 1_500_000_000),
            ("512mib", 512 << 20),
            ("7", 7),
            ("7B", 7),
        ] {
            assert_eq!(parse_size(text).unwrap(), bytes, "{text}");
        }
        for text in [
            "",
            "GiB",
            "-1GiB",
            "1.5GiB",
            "0",
            "2 G",
            "99999999999TiB",
            "x",
        ] {
            let error = parse_size(text).unwrap_err();
            assert!(error.contains("such as 2GiB"), "{error}");
        }
    }

    #[test]
    fn available_memory_is_read() {
        let text = "MemTotal:  9 kB\nMemAvailable:   1024 kB\n";
        assert_eq!(available_in(text), Some(1 << 20));
        assert_eq!(available_in("MemTotal: 9 kB\n"), None);
    }
}

//! The memory of this process, as the system counts it: buffers on huge pages are mapped, and no allocator
//! sees them.

use std::fs;

/// Returns by how many bytes the resident memory of this process was larger at its peak during `work`. A test
/// that measures it must be alone in its process.
pub fn peak_during(work: impl FnOnce()) -> usize {
    // Sets the peak to what is resident now.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = status("VmRSS");
    work();
    status("VmHWM") - before
}

/// Returns a value of `/proc/self/status` in bytes.
fn status(key: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let kib = line.unwrap().trim_matches([':', ' ', '\t']);
    kib.strip_suffix(" kB").unwrap().parse::<usize>().unwrap() << 10
}

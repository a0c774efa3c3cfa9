//! The memory of a conversion does not grow with its tensors.
//!
//! Measured is the peak of the resident memory of this process, because buffers on huge pages are mapped and
//! no allocator sees them. It is that of the whole process, so this file has one test.

#![cfg(target_os = "linux")]

use std::fs;
use std::num::NonZeroUsize;

use electra_convert::{Conversion, ElectraCheckpoint, Model, PlanOptions, TargetDtype};
use testkit::bundle_writer::{SMALL, Sizes, discriminator};
use testkit::temp;

/// The memory for the transposed bands of all threads, and the rest of the process beside them.
const LIMIT: usize = (64 + 16) << 20;

/// Two kernels and the word embeddings have 64 MiB each.
const SIZES: Sizes = Sizes {
    vocab: 1 << 17,
    embedding: 128,
    hidden: 128,
    intermediate: 1 << 17,
    layers: 1,
    ..SMALL
};

/// Returns a value of `/proc/self/status` in bytes.
fn status(key: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let kib = line.unwrap().trim_matches([':', ' ', '\t']);
    kib.strip_suffix(" kB").unwrap().parse::<usize>().unwrap() << 10
}

#[test]
fn the_peak_is_that_of_the_buffers_of_the_threads() {
    let folder = temp();
    discriminator(SIZES).write(&folder.path().join("model"));
    let checkpoint = ElectraCheckpoint::open(folder.path()).unwrap();
    for (name, dtype) in [
        ("keep", TargetDtype::Keep),
        ("f16", TargetDtype::F16),
        ("bf16", TargetDtype::Bf16),
    ] {
        let mut options = PlanOptions::default();
        options.dtype = dtype;
        let conversion = Conversion::new(&checkpoint, Model::Discriminator)
            .options(options)
            .verify(false)
            .threads(NonZeroUsize::new(2));
        // Sets the peak to what is resident now.
        fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = status("VmRSS");
        conversion.run(folder.path().join(name), &()).unwrap();
        let peak = status("VmHWM") - before;
        println!("{name}: {} MiB", peak >> 20);
        assert!(peak < LIMIT, "{name}: {} MiB", peak >> 20);
    }
}

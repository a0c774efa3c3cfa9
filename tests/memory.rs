//! The memory of a conversion does not grow with its tensors. Alone in its file, because the memory is that of
//! the whole process.

#![cfg(target_os = "linux")]

use std::num::NonZeroUsize;

use electra_convert::{Conversion, ElectraCheckpoint, Model, PlanOptions, TargetDtype};
use testkit::bundle_writer::{SMALL, Sizes, discriminator};
use testkit::{peak_during, temp};

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
        let out = folder.path().join(name);
        let peak = peak_during(|| drop(conversion.run(out, &()).unwrap()));
        println!("{name}: {} MiB", peak >> 20);
        assert!(peak < LIMIT, "{name}: {} MiB", peak >> 20);
    }
}

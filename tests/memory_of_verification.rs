//! The memory of a verification does not grow with the number of layers. Alone in its file, because the memory
//! is that of the whole process.

#![cfg(target_os = "linux")]

use std::num::NonZeroUsize;

use electra_convert::{Conversion, ElectraCheckpoint, Model};
use testkit::bundle_writer::{SMALL, Sizes, discriminator};
use testkit::{peak_during, temp};

/// The weights of a layer have 16 MiB, nearly all in two matrices.
const SIZES: Sizes = Sizes {
    hidden: 256,
    intermediate: 1 << 13,
    ..SMALL
};
const LAYER: usize = 16 << 20;

#[test]
fn the_peak_does_not_grow_with_the_layers() {
    let peak = |layers: i64| {
        let folder = temp();
        discriminator(Sizes { layers, ..SIZES }).write(&folder.path().join("model"));
        let checkpoint = ElectraCheckpoint::open(folder.path()).unwrap();
        let out = folder.path().join("out");
        let conversion =
            Conversion::new(&checkpoint, Model::Discriminator).threads(NonZeroUsize::new(2));
        let peak = peak_during(|| {
            let exports = conversion.run(out, &()).unwrap();
            assert!(exports[0].report.as_ref().unwrap().passed());
        });
        println!("{layers} layers: {} MiB", peak >> 20);
        peak
    };
    let few = peak(3);
    let many = peak(9);
    assert!(many < few + LAYER, "{few} bytes, then {many}");
    // One layer, one matrix that is transposed, and the rest of the process.
    assert!(many < 2 * LAYER + (32 << 20), "{many} bytes");
}

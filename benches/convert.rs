//! What a conversion is made of: transposing, checksums, reading an index.
//!
//! `cargo bench --bench convert`

use divan::Bencher;
use divan::counter::BytesCount;
use ndarray::ArrayView2;
use tensor_bytes::{AlignedBytes, transpose};
use tf_checkpoint::{Checkpoint, locate};

use testkit::bundle_writer::{Bundle, SMALL, Sizes, discriminator};

fn main() {
    divan::main();
}

/// The kernels of ELECTRA-Base and ELECTRA-Large.
const SHAPES: [[usize; 2]; 5] = [
    [768, 768],
    [768, 3072],
    [1024, 1024],
    [1024, 4096],
    [4096, 1024],
];

fn matrix([rows, columns]: [usize; 2]) -> AlignedBytes {
    let mut bytes = AlignedBytes::zeroed(rows * columns * size_of::<f32>());
    for (at, byte) in bytes.as_bytes_mut().iter_mut().enumerate() {
        *byte = (at % 251).to_le_bytes()[0];
    }
    bytes
}

#[divan::bench(args = SHAPES)]
fn transpose_in_squares(bencher: Bencher<'_, '_>, shape: [usize; 2]) {
    let source = matrix(shape);
    bencher
        .counter(BytesCount::of_slice(source.as_bytes()))
        .bench(|| transpose(&source, shape, size_of::<f32>()));
}

#[divan::bench(args = SHAPES)]
fn transpose_by_ndarray(bencher: Bencher<'_, '_>, shape: [usize; 2]) {
    let source = matrix(shape);
    let elements: &[f32] = bytemuck::cast_slice(source.as_bytes());
    let view = ArrayView2::from_shape(shape, elements).unwrap();
    bencher
        .counter(BytesCount::of_slice(source.as_bytes()))
        .bench(|| view.t().as_standard_layout().into_owned());
}

#[divan::bench]
fn crc32c_of_a_step(bencher: Bencher<'_, '_>) {
    let bytes = matrix([256, 256]);
    bencher
        .counter(BytesCount::of_slice(bytes.as_bytes()))
        .bench(|| crc32c::crc32c(bytes.as_bytes()));
}

/// The index of a discriminator of 24 layers with two optimizer slots for each weight.
#[divan::bench]
fn read_an_index(bencher: Bencher<'_, '_>) {
    let weights = discriminator(Sizes {
        layers: 24,
        ..SMALL
    });
    let mut bundle = Bundle::default();
    for entry in &weights.entries {
        let name = String::from_utf8(entry.name.clone()).unwrap();
        for slot in ["", "/adam_m", "/adam_v"] {
            bundle.add_floats(&format!("{name}{slot}"), &entry.shape);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    bundle.write(&folder.path().join("m"));
    let location = locate(folder.path(), None).unwrap();
    bencher.bench(|| Checkpoint::open(location.clone()).unwrap());
}

//! Writes TensorBundles without any code of the crate.

use std::fs;
use std::path::Path;

/// Numbers of dtypes in TensorFlow's `types.proto`.
pub(crate) const FLOAT32: u64 = 1;
pub(crate) const INT64: u64 = 9;

/// A variable in one data file.
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) dtype: u64,
    pub(crate) shape: Vec<u64>,
    pub(crate) bytes: Vec<u8>,
}

impl Entry {
    pub(crate) fn floats(name: &'static str, shape: &[u64], values: &[f32]) -> Self {
        Self {
            name,
            dtype: FLOAT32,
            shape: shape.to_vec(),
            bytes: values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        }
    }

    pub(crate) fn int64(name: &'static str, value: i64) -> Self {
        Self {
            name,
            dtype: INT64,
            shape: Vec::new(),
            bytes: value.to_le_bytes().to_vec(),
        }
    }
}

/// Writes `PREFIX.index` and `PREFIX.data-00000-of-00001`; the entries are sorted by name.
pub(crate) fn write_bundle(prefix: &Path, entries: &[Entry]) {
    let mut data = Vec::new();
    // num_shards 1, version { producer 1 }
    let mut pairs = vec![(Vec::new(), vec![0x08, 1, 0x1a, 2, 0x08, 1])];
    for entry in entries {
        let value = value(entry, data.len() as u64);
        pairs.push((entry.name.as_bytes().to_vec(), value));
        data.extend(&entry.bytes);
    }
    let with = |suffix: &str| {
        let mut path = prefix.as_os_str().to_owned();
        path.push(suffix);
        path
    };
    fs::write(with(".index"), table(&pairs)).unwrap();
    fs::write(with(".data-00000-of-00001"), data).unwrap();
}

/// A `BundleEntryProto`.
fn value(entry: &Entry, offset: u64) -> Vec<u8> {
    let mut shape = Vec::new();
    for &size in &entry.shape {
        let size = [&[0x08][..], &varint(size)].concat();
        shape.extend([&[0x12][..], &varint(size.len() as u64), &size].concat());
    }
    let crc = mask(crc32c::crc32c(&entry.bytes));
    [
        &[0x08][..],
        &varint(entry.dtype),
        &[0x12],
        &varint(shape.len() as u64),
        &shape,
        &[0x20],
        &varint(offset),
        &[0x28],
        &varint(entry.bytes.len() as u64),
        &[0x35],
        &crc.to_le_bytes(),
    ]
    .concat()
}

/// A table with one block for each pair.
fn table(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut index = Vec::new();
    for (key, value) in pairs {
        let handle = push_block(&mut file, &[(key.clone(), value.clone())]);
        index.push((key.clone(), handle));
    }
    let meta = push_block(&mut file, &[]);
    let index = push_block(&mut file, &index);
    let mut footer = [meta, index].concat();
    footer.resize(40, 0);
    file.extend(footer);
    file.extend(0xdb47_7524_8b80_fb57_u64.to_le_bytes());
    file
}

/// Appends a block without shared prefixes; returns its handle.
fn push_block(file: &mut Vec<u8>, pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut block = Vec::new();
    let mut restarts = Vec::new();
    for (key, value) in pairs {
        restarts.push(u32::try_from(block.len()).unwrap());
        block.push(0);
        block.extend(varint(key.len() as u64));
        block.extend(varint(value.len() as u64));
        block.extend(key);
        block.extend(value);
    }
    if restarts.is_empty() {
        restarts.push(0);
    }
    block.extend(restarts.iter().flat_map(|at| at.to_le_bytes()));
    block.extend(u32::try_from(restarts.len()).unwrap().to_le_bytes());
    let handle = [varint(file.len() as u64), varint(block.len() as u64)].concat();
    // No compression.
    block.push(0);
    let crc = mask(crc32c::crc32c(&block));
    file.extend(block);
    file.extend(crc.to_le_bytes());
    handle
}

fn mask(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
    bytes
}

//! Writes V1 checkpoints, sound and unsound, without any code of the program.

use crate::bundle_writer::{
    Bundle, Compression, Entry, FLOAT32, FLOAT64, Field, block, message, push_block, push_footer,
};

/// A V1 table in the making: what the list in it says, and the values.
pub struct Tables {
    /// Fields of each `SavedSliceMeta`.
    pub list: Vec<Vec<u8>>,
    /// Key and `SavedTensorSlices` of each slice.
    pub slices: Vec<(Vec<u8>, Vec<u8>)>,
    /// The lowest version of a reader that the file allows.
    pub min_consumer: u64,
}

impl Tables {
    /// The same variables as a bundle has.
    pub fn of(bundle: &Bundle) -> Self {
        let mut tables = Self {
            list: Vec::new(),
            slices: Vec::new(),
            min_consumer: 0,
        };
        for entry in &bundle.entries {
            let at = usize::try_from(entry.offset).unwrap();
            let len = usize::try_from(entry.size).unwrap();
            tables.list.push(listed(entry));
            let values = values(entry.dtype, &bundle.data[at..at + len]);
            tables.slices.push((key(entry), saved(&entry.name, values)));
        }
        tables
    }

    /// The bytes of the file.
    pub fn bytes(&self) -> Vec<u8> {
        let list = self.list.iter().map(|meta| (1, Field::Bytes(meta.clone())));
        let versions = message(&[(2, Field::Varint(self.min_consumer))]);
        let list: Vec<(u32, Field)> = list.chain([(2, Field::Bytes(versions))]).collect();
        let head = message(&[(1, Field::Bytes(message(&list)))]);
        let mut pairs = self.slices.clone();
        pairs.sort();
        pairs.insert(0, (Vec::new(), head));

        let mut file = Vec::new();
        let mut index = Vec::new();
        for chunk in pairs.chunks(5) {
            let handle = push_block(&mut file, &block(chunk), Compression::None);
            index.push((chunk.last().unwrap().0.clone(), handle));
        }
        let meta = push_block(&mut file, &block(&[]), Compression::None);
        let index = push_block(&mut file, &block(&index), Compression::None);
        push_footer(&mut file, &[meta, index].concat());
        file
    }
}

/// The `SavedSliceMeta` of a variable in one slice.
pub fn listed(entry: &Entry) -> Vec<u8> {
    let dims: Vec<(u32, Field)> = entry
        .shape
        .iter()
        .map(|&size| {
            let dim = message(&[(1, Field::Varint(size.cast_unsigned()))]);
            (2, Field::Bytes(dim))
        })
        .collect();
    let whole: Vec<(u32, Field)> = entry
        .shape
        .iter()
        .map(|_| (1, Field::Bytes(Vec::new())))
        .collect();
    message(&[
        (1, Field::Bytes(entry.name.clone())),
        (2, Field::Bytes(message(&dims))),
        (3, Field::Varint(entry.dtype)),
        (4, Field::Bytes(message(&whole))),
    ])
}

/// The key of a whole variable.
fn key(entry: &Entry) -> Vec<u8> {
    let rank = u8::try_from(entry.shape.len()).unwrap();
    let mut key = [&[0], &entry.name[..], &[0, 1]].concat();
    key.extend(if rank == 0 { vec![0] } else { vec![1, rank] });
    key.extend([0x80, 0x7f].repeat(rank.into()));
    key
}

/// A `SavedTensorSlices` with one slice.
pub fn saved(name: &[u8], values: Vec<u8>) -> Vec<u8> {
    let slice = message(&[(1, Field::Bytes(name.to_vec())), (3, Field::Bytes(values))]);
    message(&[(2, Field::Bytes(slice))])
}

/// A `TensorProto`: floats packed, other types as varints one by one, which is as valid.
pub fn values(dtype: u64, bytes: &[u8]) -> Vec<u8> {
    let varints = |field: u32, size: usize| {
        let fields: Vec<(u32, Field)> = bytes
            .chunks(size)
            .map(|element| {
                let mut value = [0; 8];
                value[..size].copy_from_slice(element);
                (field, Field::Varint(u64::from_le_bytes(value)))
            })
            .collect();
        message(&fields)
    };
    match dtype {
        FLOAT32 => message(&[(5, Field::Bytes(bytes.to_vec()))]),
        FLOAT64 => message(&[(6, Field::Bytes(bytes.to_vec()))]),
        9 => varints(10, 8),
        14 | 19 => varints(13, 2),
        other => panic!("no field for dtype {other}"),
    }
}

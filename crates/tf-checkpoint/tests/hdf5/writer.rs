//! Writes HDF5 structures, valid or not.

/// An address that is not set.
pub(crate) const UNDEFINED: u64 = u64::MAX;

/// The types of header messages.
pub(crate) const DATASPACE: u16 = 1;
pub(crate) const DATATYPE: u16 = 3;
pub(crate) const LAYOUT: u16 = 8;
pub(crate) const ATTRIBUTE: u16 = 12;
pub(crate) const CONTINUATION: u16 = 16;
pub(crate) const SYMBOL_TABLE: u16 = 17;

/// The length of the superblock.
const SUPERBLOCK_LEN: usize = 96;

/// A file that grows at its end.
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn new() -> Self {
        Self(vec![0; SUPERBLOCK_LEN])
    }

    /// Returns the address of the next structure.
    pub(crate) fn end(&self) -> u64 {
        self.0.len() as u64
    }

    /// Appends a structure; returns its address.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> u64 {
        let address = self.end();
        self.0.extend(bytes);
        self.0.resize(self.0.len().next_multiple_of(8), 0);
        address
    }

    /// Writes the superblock; returns the file.
    pub(crate) fn finish(mut self, root: u64) -> Vec<u8> {
        let mut bytes = b"\x89HDF\r\n\x1a\n\0\0\0\0\0\x08\x08\0\x04\0\x10\0\0\0\0\0".to_vec();
        for number in [0, UNDEFINED, self.end(), UNDEFINED, 0, root, 0, 0, 0] {
            bytes.extend(number.to_le_bytes());
        }
        self.0[..SUPERBLOCK_LEN].copy_from_slice(&bytes);
        self.0
    }

    /// Appends an object header.
    pub(crate) fn header(&mut self, messages: &[(u16, Vec<u8>)]) -> u64 {
        let block = block(messages);
        let mut bytes = vec![1, 0];
        bytes.extend(u16::try_from(messages.len()).unwrap().to_le_bytes());
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend(u32::try_from(block.len()).unwrap().to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(block);
        self.put(&bytes)
    }

    /// Appends a group with these links and attributes.
    pub(crate) fn group(&mut self, links: &[(&str, u64)], attributes: &[(&str, &[&str])]) -> u64 {
        let mut names = vec![0; 8];
        let mut entries = Vec::new();
        for &(name, address) in links {
            entries.push((names.len() as u64, address));
            names.extend(name.as_bytes());
            names.push(0);
        }
        let heap = self.heap(&names);
        let node = self.node(&entries);
        let tree = self.tree(0, &[node]);
        let mut messages = vec![(SYMBOL_TABLE, numbers(&[tree, heap]))];
        messages.extend(
            attributes
                .iter()
                .map(|(name, values)| strings(name, values)),
        );
        self.header(&messages)
    }

    /// Appends a local heap.
    pub(crate) fn heap(&mut self, names: &[u8]) -> u64 {
        let data = self.put(names);
        self.heap_of(data, names.len() as u64)
    }

    /// Appends a local heap with a data segment that is elsewhere.
    pub(crate) fn heap_of(&mut self, data: u64, len: u64) -> u64 {
        let mut bytes = b"HEAP\0\0\0\0".to_vec();
        bytes.extend(numbers(&[len, 1, data]));
        self.put(&bytes)
    }

    /// Appends a symbol table node; an entry has the place of its name and an address.
    pub(crate) fn node(&mut self, entries: &[(u64, u64)]) -> u64 {
        let mut bytes = b"SNOD\x01\0".to_vec();
        bytes.extend(u16::try_from(entries.len()).unwrap().to_le_bytes());
        for &(name, address) in entries {
            bytes.extend(numbers(&[name, address, 0, 0, 0]));
        }
        self.put(&bytes)
    }

    /// Appends a node of a B-tree.
    pub(crate) fn tree(&mut self, level: u8, children: &[u64]) -> u64 {
        let mut bytes = b"TREE\0".to_vec();
        bytes.push(level);
        bytes.extend(u16::try_from(children.len()).unwrap().to_le_bytes());
        bytes.extend(numbers(&[UNDEFINED, UNDEFINED]));
        for &child in children {
            bytes.extend(numbers(&[0, child]));
        }
        bytes.extend(numbers(&[0]));
        self.put(&bytes)
    }

    /// Appends a B-tree without links.
    pub(crate) fn empty_tree(&mut self) -> u64 {
        let node = self.node(&[]);
        self.tree(0, &[node])
    }

    /// Appends a collection of a global heap, which states that it has `len` bytes. The objects are numbered
    /// from 1 on.
    pub(crate) fn collection(&mut self, len: u64, objects: &[&[u8]]) -> u64 {
        let mut bytes = b"GCOL\x01\0\0\0".to_vec();
        bytes.extend(numbers(&[len]));
        for (number, object) in (1..).zip(objects) {
            bytes.extend(numbers(&[number, object.len() as u64]));
            bytes.extend(*object);
            bytes.resize(bytes.len().next_multiple_of(8), 0);
        }
        self.put(&bytes)
    }

    /// Appends the header of a float32 dataset.
    pub(crate) fn dataset(&mut self, shape: &[u64], offset: u64, len: u64) -> u64 {
        self.header(&[
            (DATASPACE, dataspace(shape)),
            (
                DATATYPE,
                b"\x11\x20\x1f\0\x04\0\0\0\0\0\x20\0\x17\x08\0\x17\x7f\0\0\0".to_vec(),
            ),
            (LAYOUT, [b"\x03\x01", &numbers(&[offset, len])[..]].concat()),
        ])
    }
}

/// The messages of a header's block.
pub(crate) fn block(messages: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (kind, bytes) in messages {
        let len = bytes.len().next_multiple_of(8);
        block.extend(kind.to_le_bytes());
        block.extend(u16::try_from(len).unwrap().to_le_bytes());
        block.extend([0; 4]);
        block.extend(bytes);
        block.resize(block.len().next_multiple_of(8), 0);
    }
    block
}

pub(crate) fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect()
}

fn dataspace(shape: &[u64]) -> Vec<u8> {
    let rank = u8::try_from(shape.len()).unwrap();
    [&[1, rank, 0, 0, 0, 0, 0, 0], &numbers(shape)[..]].concat()
}

/// An attribute message with strings of fixed length.
pub(crate) fn strings(name: &str, values: &[&str]) -> (u16, Vec<u8>) {
    let width = values
        .iter()
        .map(|value| value.len())
        .max()
        .unwrap_or(0)
        .max(1);
    let mut datatype = vec![0x13, 0, 0, 0];
    datatype.extend(u32::try_from(width).unwrap().to_le_bytes());
    let mut data = Vec::new();
    for value in values {
        data.extend(value.as_bytes());
        data.resize(data.len() + width - value.len(), 0);
    }
    attribute(name, &datatype, &dataspace(&[values.len() as u64]), &data)
}

/// An attribute message with references to objects of global heaps: address, number, length.
pub(crate) fn references(name: &str, values: &[(u64, u32, u32)]) -> (u16, Vec<u8>) {
    let datatype = b"\x19\x01\0\0\x10\0\0\0\x10\0\0\0\x01\0\0\0\0\0\x08\0\0\0\0\0";
    let mut data = Vec::new();
    for (address, number, len) in values {
        data.extend(len.to_le_bytes());
        data.extend(address.to_le_bytes());
        data.extend(number.to_le_bytes());
    }
    attribute(name, datatype, &dataspace(&[values.len() as u64]), &data)
}

fn attribute(name: &str, datatype: &[u8], dataspace: &[u8], data: &[u8]) -> (u16, Vec<u8>) {
    let name = [name.as_bytes(), &[0]].concat();
    let mut bytes = vec![1, 0];
    let parts = [&name[..], datatype, dataspace];
    for part in parts {
        bytes.extend(u16::try_from(part.len()).unwrap().to_le_bytes());
    }
    for part in parts {
        bytes.extend(part);
        bytes.resize(bytes.len() + part.len().next_multiple_of(8) - part.len(), 0);
    }
    bytes.extend(data);
    (ATTRIBUTE, bytes)
}

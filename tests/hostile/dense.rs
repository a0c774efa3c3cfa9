//! The densest sound checkpoints, and lies about lengths: what a parser keeps of a file stays in proportion to
//! the file's length, and so does the time that it takes.
//!
//! Each input is a few megabytes of the construct that costs most for each byte. It is read with a limit
//! on the allocator of twice what [`Limits`] allow (a list that grows exists twice for a moment), and
//! with a deadline that only work linear in the length can meet.

use std::path::Path;

use tf_checkpoint::{Checkpoint, Error, Limits, locate};

use super::*;
use testkit::bundle_writer::{Bundle, INT32, block, mask, push_block, push_footer};

/// Does some work on a file of `len` bytes, in time and memory for as many.
pub(super) fn within<T>(len: usize, work: impl FnOnce() -> T) -> T {
    let memory = Limits::default().memory_for(len as u64) * 2;
    let (result, taken) = limited(usize::try_from(memory).unwrap(), work);
    assert!(taken < TIME, "{taken:?}");
    result
}

/// Does some work with a limit on the allocator; returns how long it took.
pub(super) fn limited<T>(memory: usize, work: impl FnOnce() -> T) -> (T, Duration) {
    ALLOCATOR.set_limit(ALLOCATOR.allocated() + memory).unwrap();
    let start = Instant::now();
    let result = work();
    let taken = start.elapsed();
    ALLOCATOR.set_limit(usize::MAX).unwrap();
    (result, taken)
}

/// Opens the checkpoint of a folder.
fn open(prefix: &Path, len: usize) -> Result<Checkpoint, Error> {
    within(len, || locate(prefix, None).and_then(Checkpoint::open))
}

/// A table of one block whose keys share all that they can.
fn dense_table(pairs: &[(Vec<u8>, Vec<u8>)], compression: Compression) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut last: &[u8] = &[];
    for (key, value) in pairs {
        let pairs = std::iter::zip(last, key);
        let shared = pairs.take_while(|(a, b)| a == b).count();
        bytes.extend(varint(shared as u64));
        bytes.extend(varint((key.len() - shared) as u64));
        bytes.extend(varint(value.len() as u64));
        bytes.extend(&key[shared..]);
        bytes.extend(value);
        last = key;
    }
    bytes.extend([0_u32, 1].into_iter().flat_map(u32::to_le_bytes));
    let mut file = Vec::new();
    let data = push_block(&mut file, &bytes, compression);
    let index = block(&[(last.to_vec(), data.clone())]);
    let index = push_block(&mut file, &index, Compression::None);
    push_footer(&mut file, &[data, index].concat());
    file
}

/// Names of three or four letters, in ascending order.
pub(super) fn short_names(count: u32) -> impl Iterator<Item = Vec<u8>> {
    (0..count).map(|n| {
        let digit = |place: u32| b'0' + u8::try_from(n / 64_u32.pow(place) % 64).unwrap();
        (0..4).rev().map(digit).collect()
    })
}

pub(super) fn bundle(
    pairs: &[(Vec<u8>, Vec<u8>)],
    compression: Compression,
) -> Result<usize, Error> {
    let folder = temp();
    let prefix = folder.path().join("m");
    let index = dense_table(pairs, compression);
    fs::write(prefix.with_extension("index"), &index).unwrap();
    fs::write(prefix.with_extension("data-00000-of-00001"), [0; 64]).unwrap();
    Ok(open(&prefix, index.len())?.variables().len())
}

fn too_dense(opened: Result<usize, Error>) {
    let error = opened.unwrap_err();
    assert!(matches!(error, Error::TooDense { .. }), "{error}");
    assert!(error.to_string().contains("m.index"), "{error}");
}

#[test]
fn an_index_of_empty_entries() {
    let _alone = alone();
    // Four bytes each: a scalar of an unknown type, without data.
    let index = |count| {
        let entries = short_names(count).map(|name| (name, Vec::new()));
        bundle(
            &[header()].into_iter().chain(entries).collect::<Vec<_>>(),
            Compression::None,
        )
    };
    assert_eq!(index(50_000).unwrap(), 50_000);
    too_dense(index(1_000_000));
}

#[test]
fn an_index_of_long_names() {
    let _alone = alone();
    let index = |count: u32, len| {
        let names = short_names(count).map(|name| [vec![b'n'; len], name].concat());
        let entries = names.map(|name| (name, Vec::new()));
        bundle(
            &[header()].into_iter().chain(entries).collect::<Vec<_>>(),
            Compression::None,
        )
    };
    assert_eq!(index(1000, 8000).unwrap(), 1000);
    too_dense(index(20_000, 8000));
    let error = index(2, 60_000).unwrap_err();
    assert!(error.to_string().contains("m.index"), "{error}");
}

#[test]
fn an_index_that_inflates() {
    let _alone = alone();
    let index = |len| {
        let (key, value) = header();
        // A field that nobody knows, of zeroes.
        let field = message(&[(99, Field::Bytes(vec![0; len]))]);
        let name = (b"v".to_vec(), entry("v").encode());
        bundle(&[(key, [value, field].concat()), name], Compression::Snappy)
    };
    assert_eq!(index(30 << 20).unwrap(), 1);
    too_dense(index(220 << 20));
}

#[test]
fn an_entry_of_many_axes() {
    let _alone = alone();
    let mut many = entry("v");
    many.shape = vec![1; 1 << 20];
    let error = bundle(
        &[header(), (b"v".to_vec(), many.encode())],
        Compression::None,
    )
    .unwrap_err();
    assert!(matches!(error, Error::Entry { .. }), "{error}");
    assert!(error.to_string().contains("more than 254 axes"), "{error}");
}

#[test]
fn variables_that_share_their_bytes() {
    let _alone = alone();
    let pairs: Vec<_> = ["a", "b"]
        .map(|name| (name.as_bytes().to_vec(), entry(name).encode()))
        .into();
    let pairs = [vec![header()], pairs].concat();
    let error = bundle(&pairs, Compression::None).unwrap_err();
    assert!(matches!(error, Error::Entry { .. }), "{error}");
    assert!(
        error.to_string().contains("variable b shares bytes"),
        "{error}"
    );
}

/// An extent of a slice: start and length.
fn extent(start: u32, length: u32) -> (u32, Field) {
    let [start, length] = [start, length].map(|n| Field::Varint(n.into()));
    let extent = message(&[(1, start), (2, length)]);
    (1, Field::Bytes(extent))
}

/// The end of the key of a slice of one axis: start, and length 1.
fn slice_code(start: u32) -> Vec<u8> {
    let [_, a, b, c] = start.to_be_bytes();
    let start = match start {
        0..64 => vec![0x80 | c],
        64..8192 => vec![0xc0 | b, c],
        _ => vec![0xe0 | a, b, c],
    };
    [vec![1, 1], start, vec![0x81]].concat()
}

#[test]
fn a_variable_of_many_slices() {
    const COUNT: u32 = 60_000;
    let _alone = alone();
    let one = |n: u32| message(&[extent(n, 1)]);
    let partitioned = |slices: &mut dyn Iterator<Item = u32>| {
        let dim = message(&[(1, Field::Varint(COUNT.into()))]);
        let mut fields = vec![
            (1, Field::Varint(FLOAT32)),
            (2, Field::Bytes(message(&[(2, Field::Bytes(dim))]))),
        ];
        fields.extend(slices.map(|n| (7, Field::Bytes(one(n)))));
        (b"v".to_vec(), message(&fields))
    };
    let stored = (0..COUNT).map(|n| {
        let mut entry = entry("");
        entry.offset = u64::from(n) * 4;
        ([&b"\0v\0\x01"[..], &slice_code(n)].concat(), entry.encode())
    });
    let mut pairs: Vec<_> = [header()].into_iter().chain(stored).collect();
    pairs.push(partitioned(&mut (0..COUNT)));
    assert_eq!(bundle(&pairs, Compression::None).unwrap(), 1);

    // The last one twice, and the first not at all.
    pairs.pop();
    pairs.push(partitioned(&mut (1..COUNT).chain([COUNT - 1])));
    let error = bundle(&pairs, Compression::None).unwrap_err();
    assert!(
        error.to_string().contains("overlap and leave gaps, at [0]"),
        "{error}"
    );
}

/// The head of a V1 table that lists these `SavedSliceMeta`s.
fn v1_list(listed: impl Iterator<Item = Vec<u8>>) -> (Vec<u8>, Vec<u8>) {
    let list: Vec<(u32, Field)> = listed.map(|meta| (1, Field::Bytes(meta))).collect();
    (Vec::new(), message(&[(1, Field::Bytes(message(&list)))]))
}

fn v1(pairs: &[(Vec<u8>, Vec<u8>)]) -> (TempDir, usize) {
    let folder = temp();
    let table = dense_table(pairs, Compression::None);
    fs::write(folder.path().join("m.ckpt"), &table).unwrap();
    (folder, table.len())
}

#[test]
fn a_v1_list_of_scalars() {
    let _alone = alone();
    let list = |count| {
        let listed = short_names(count)
            .map(|name| message(&[(1, Field::Bytes(name)), (4, Field::Bytes(Vec::new()))]));
        let (folder, len) = v1(&[v1_list(listed)]);
        let opened = open(&folder.path().join("m.ckpt"), len);
        opened.map(|checkpoint| checkpoint.variables().len())
    };
    assert_eq!(list(50_000).unwrap(), 50_000);
    let error = list(1_000_000).unwrap_err();
    assert!(matches!(error, Error::TooDense { .. }), "{error}");
}

#[test]
fn a_v1_variable_of_many_slices() {
    let _alone = alone();
    // The name is in the key of each slice, but not in the file as often.
    let list = |name: usize, count: u32| {
        let dim = message(&[(1, Field::Varint(count.into()))]);
        let mut fields = vec![
            (1, Field::Bytes(vec![b'n'; name])),
            (2, Field::Bytes(message(&[(2, Field::Bytes(dim))]))),
            (3, Field::Varint(FLOAT32)),
        ];
        fields.extend((0..count).map(|n| (4, Field::Bytes(message(&[extent(n, 1)])))));
        let (folder, len) = v1(&[v1_list([message(&fields)].into_iter())]);
        let checkpoint = open(&folder.path().join("m.ckpt"), len)?;
        let variable = &checkpoint.variables()[0];
        assert_eq!(variable.pieces.len(), count as usize);
        checkpoint.check_present(variable)
    };
    for (name, count) in [(8, 60_000), (8000, 20_000)] {
        let error = list(name, count).unwrap_err();
        assert!(
            error.to_string().contains("more than its block can hold"),
            "{error}"
        );
    }
}

#[test]
fn many_v1_values_in_one_block() {
    let _alone = alone();
    let names: Vec<Vec<u8>> = short_names(20_000).collect();
    let listed = names.iter().map(|name| {
        let name = Field::Bytes(name.clone());
        message(&[
            (1, name),
            (3, Field::Varint(INT32)),
            (4, Field::Bytes(Vec::new())),
        ])
    });
    let mut pairs = vec![v1_list(listed)];
    pairs.extend(names.iter().map(|name| {
        let value = message(&[(7, Field::Varint(7))]);
        let slice = message(&[(1, Field::Bytes(name.clone())), (3, Field::Bytes(value))]);
        let key = [&[0], &name[..], &[0, 1, 0]].concat();
        (key, message(&[(2, Field::Bytes(slice))]))
    }));
    let (folder, len) = v1(&pairs);
    let checkpoint = open(&folder.path().join("m.ckpt"), len).unwrap();
    within(len, || {
        for variable in checkpoint.variables() {
            assert_eq!(checkpoint.read_integer(variable).unwrap(), Some(7));
        }
    });
}

#[test]
fn v1_values_that_are_not_there() {
    let _alone = alone();
    let dim = |size: u64| (2, Field::Bytes(message(&[(1, Field::Varint(size))])));
    let meta = message(&[
        (1, Field::Bytes(b"v".to_vec())),
        (2, Field::Bytes(message(&[dim(1 << 40), dim(1 << 18)]))),
        (3, Field::Varint(FLOAT32)),
        (
            4,
            Field::Bytes(message(&[
                (1, Field::Bytes(vec![])),
                (1, Field::Bytes(vec![])),
            ])),
        ),
    ]);
    let slice = message(&[(1, Field::Bytes(b"v".to_vec()))]);
    let key = b"\0v\0\x01\x01\x02\x80\x7f\x80\x7f".to_vec();
    let value = message(&[(2, Field::Bytes(slice))]);
    let (folder, len) = v1(&[v1_list([meta].into_iter()), (key, value)]);
    let checkpoint = open(&folder.path().join("m.ckpt"), len).unwrap();
    let error = checkpoint
        .check_present(&checkpoint.variables()[0])
        .unwrap_err();
    assert!(
        error.to_string().contains("more than its block can hold"),
        "{error}"
    );
}

/// A checkpoint of one object, with this graph.
fn objects(graph: &[u8]) -> Result<usize, Error> {
    let len = u32::try_from(graph.len()).unwrap();
    let mut sum = crc32c::crc32c(&len.to_le_bytes());
    let stored = mask(sum).to_le_bytes();
    sum = crc32c::crc32c_append(sum, &stored);
    let mut bundle = Bundle::default();
    let string = [&varint(len.into())[..], &stored, graph].concat();
    bundle.add("_CHECKPOINTABLE_OBJECT_GRAPH", 7, &[], &string);
    bundle.entry("_CHECKPOINTABLE_OBJECT_GRAPH").crc32c = crc32c::crc32c_append(sum, graph);
    bundle.add_floats("v/.ATTRIBUTES/VARIABLE_VALUE", &[1]);
    let folder = temp();
    bundle.write(&folder.path().join("m"));
    Ok(open(&folder.path().join("m"), string.len())?
        .variables()
        .len())
}

#[test]
fn a_graph_of_many_objects() {
    let _alone = alone();
    // Empty ones: a record of each does not fit, and a model has some thousand.
    assert_eq!(objects(&[0x0a, 0].repeat(100_000)).unwrap(), 2);
    let error = objects(&[0x0a, 0].repeat(4_000_000)).unwrap_err();
    assert!(matches!(error, Error::TooDense { .. }), "{error}");
    // Empty attributes, and attributes of variables that are not there.
    let attributes = message(&[(1, Field::Bytes([0x12, 0].repeat(4_000_000)))]);
    assert_eq!(objects(&attributes).unwrap(), 2);
    let named = short_names(400_000).flat_map(|name| {
        let name = |number| (number, Field::Bytes(name.clone()));
        message(&[(2, Field::Bytes(message(&[name(2), name(3)])))])
    });
    let node = message(&[(1, Field::Bytes(named.collect()))]);
    assert_eq!(objects(&node).unwrap(), 2);
    let error = objects(&[0x0a, 1, 0x13]).unwrap_err();
    assert!(matches!(error, Error::Entry { .. }), "{error}");
}

#[test]
fn a_training_graph_of_many_nodes() {
    let _alone = alone();
    let folder = copy_of("tiny_noproj");
    // Empty nodes, and nodes of empty attributes.
    for node in [
        vec![0x0a, 0],
        message(&[(1, Field::Bytes([0x2a, 0].repeat(1000)))]),
        // Named nodes, and nodes of inputs.
        message(&[(1, Field::Bytes(vec![0x0a, 1, b'a', 0x12, 1, b'b']))]),
        message(&[(1, Field::Bytes([0x1a, 1, b'a'].repeat(1000)))]),
    ] {
        let nodes = node.repeat(4_000_000 / node.len());
        let graph = message(&[(2, Field::Bytes(nodes))]);
        fs::write(folder.path().join("model.ckpt-60.meta"), &graph).unwrap();
        if let Err(error) = within(graph.len(), || read(folder.path()).map(drop)) {
            assert!(error.to_string().contains("model.ckpt-60.meta"), "{error}");
        }
    }
}

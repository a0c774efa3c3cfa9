//! Damaged and hostile HDF5 files: an error that names the file, never a panic, in bounded time and memory.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tf_checkpoint::{Checkpoint, Error};

use crate::writer::{
    CONTINUATION, SYMBOL_TABLE, UNDEFINED, Writer, block, numbers, references, strings,
};
use crate::{data, open, put, read};

/// Generous, for a machine under load and a build without optimisation.
const TIME: Duration = Duration::from_secs(20);

/// Opens a file and reads all of its variables.
fn read_all(path: &Path) -> Result<Checkpoint, Error> {
    let checkpoint = open(path)?;
    for variable in checkpoint.variables() {
        read(&checkpoint, variable)?;
    }
    Ok(checkpoint)
}

fn read_bytes(folder: &TempDir, bytes: &[u8]) -> Result<Checkpoint, Error> {
    read_all(&put(folder, "model.h5", bytes))
}

/// A small file: a shared variable, a list in the global heap, a compact value.
fn small() -> Vec<u8> {
    let mut file = Writer::new();
    let values = file.put(&[1; 64]);
    let kernel = file.dataset(&[4, 2], values, 32);
    let again = file.dataset(&[4, 2], values + 32, 32);
    let empty = file.dataset(&[0], UNDEFINED, 0);
    let heap = file.collection(16 + 24 + 24, &[b"kernel:0", b"bias:0"]);
    let a = {
        let names = file.heap(b"\0\0\0\0\0\0\0\0kernel:0\0bias:0\0");
        let node = file.node(&[(8, kernel), (17, empty)]);
        let tree = file.tree(0, &[node]);
        file.header(&[
            (SYMBOL_TABLE, numbers(&[tree, names])),
            references("weight_names", &[(heap, 1, 8), (heap, 2, 6)]),
        ])
    };
    let b = file.group(&[("kernel:0", again)], &[("weight_names", &["kernel:0"])]);
    let root = file.group(&[("a", a), ("b", b)], &[("layer_names", &["a", "b"])]);
    file.finish(root)
}

#[test]
fn the_writer_writes_valid_files() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = read_bytes(&folder, &small()).unwrap();
    let names = checkpoint
        .variables()
        .iter()
        .map(|v| (&v.name[..], &v.shape[..]));
    assert!(names.eq([("bias", &[0][..]), ("kernel", &[4, 2])]));
}

#[test]
fn files_cut_short_are_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let model = fs::read(data("model.h5")).unwrap();
    for (bytes, step) in [(small(), 1), (model, 7)] {
        let path = put(&folder, "model.h5", &bytes);
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        for len in (8..bytes.len()).rev().step_by(step) {
            file.set_len(len as u64).unwrap();
            let error = read_all(&path).unwrap_err();
            assert!(error.to_string().contains("model.h5 is damaged"), "{error}");
            // The same with an end that fits.
            if len >= 48 {
                overwrite(&file, 40, &(len as u64).to_le_bytes());
                if let Err(error) = read_all(&path) {
                    assert!(error.to_string().contains("model.h5"), "{error}");
                }
                overwrite(&file, 40, &bytes[40..48]);
            }
        }
    }
}

/// Writes in place, which is faster than to write the file again.
fn overwrite(mut file: &File, at: usize, bytes: &[u8]) {
    file.seek(SeekFrom::Start(at as u64)).unwrap();
    file.write_all(bytes).unwrap();
}

#[test]
fn flipped_bytes_do_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = 0;
    let model = fs::read(data("model.h5")).unwrap();
    for (bytes, changes, step) in [(small(), &[0x01, 0x80, 0xff][..], 1), (model, &[0xff], 3)] {
        let path = put(&folder, "model.h5", &bytes);
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        for at in (8..bytes.len()).step_by(step) {
            for change in changes {
                overwrite(&file, at, &[bytes[at] ^ change]);
                match read_all(&path) {
                    Ok(_) => opened += 1,
                    Err(error) => assert!(error.to_string().contains("model.h5"), "{error}"),
                }
            }
            overwrite(&file, at, &bytes[at..=at]);
        }
    }
    // Most bytes are values, padding and unused parts of nodes.
    assert!(opened > 1000, "{opened}");
}

/// What is wrong, the function that writes the file and returns the address of its root group, and a part of
/// the error.
type Case = (&'static str, fn(&mut Writer) -> u64, &'static str);

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("a block of a header that continues in itself", endless_header, "overlap"),
    ("a B-tree that contains itself", endless_tree, "a node of level 3"),
    ("a B-tree with the same child a hundred times on each level", wide_tree, "overlap"),
    ("thousands of heaps with the same names", shared_names, "overlap"),
    ("a name of a link without an end", endless_name, "name does not end"),
    ("a group in itself", endless_group, "more than 64 groups"),
    ("the same layer thousands of times", repeated_layer, "overlap"),
    ("values beyond the end", |file| model_of(file, &[1 << 40], 4 << 40), "beyond the end"),
    ("fewer values than its shape has", |file| model_of(file, &[2, 3], 20), "its shape [2, 3] has 24"),
    ("a shape too large for memory", |file| model_of(file, &[u64::MAX >> 2; 2], 4), "too large for memory"),
    ("a heap longer than the file", long_heap, "beyond the end"),
    ("a global heap shorter than its prefix", short_collection, "global heap of 8 bytes"),
    ("an object of a global heap that thousands of strings share", shared_object, "lists"),
];

#[test]
fn hostile_files_are_refused_in_time() {
    let folder = tempfile::tempdir().unwrap();
    for (name, write, words) in CASES {
        let mut file = Writer::new();
        let root = write(&mut file);
        let bytes = file.finish(root);
        let started = Instant::now();
        let error = read_bytes(&folder, &bytes).unwrap_err();
        assert!(started.elapsed() < TIME, "{name}");
        let error = error.to_string();
        assert!(error.contains("model.h5"), "{name}: {error:.500}");
        assert!(error.contains(words), "{name}: {error:.500}");
    }
}

fn endless_header(file: &mut Writer) -> u64 {
    let at = file.end() + 16;
    let message = (CONTINUATION, numbers(&[at, 24 * 1000]));
    file.header(&vec![message; 1000])
}

fn endless_tree(file: &mut Writer) -> u64 {
    let at = file.end();
    let tree = file.tree(3, &[at; 100]);
    let heap = file.heap(&[0; 8]);
    file.header(&[(SYMBOL_TABLE, numbers(&[tree, heap]))])
}

fn wide_tree(file: &mut Writer) -> u64 {
    let mut child = file.node(&[]);
    for level in 0..200 {
        child = file.tree(level, &[child; 100]);
    }
    let heap = file.heap(&[0; 8]);
    file.header(&[(SYMBOL_TABLE, numbers(&[child, heap]))])
}

fn shared_names(file: &mut Writer) -> u64 {
    let names = file.put(&vec![b'n'; 1 << 20]);
    let tree = file.empty_tree();
    let layers: Vec<String> = (0..3000).map(|at| at.to_string()).collect();
    let mut links = Vec::new();
    for layer in &layers {
        let heap = file.heap_of(names, 1 << 20);
        let group = file.header(&[
            (SYMBOL_TABLE, numbers(&[tree, heap])),
            strings("weight_names", &[]),
        ]);
        links.push((&layer[..], group));
    }
    let layers: Vec<&str> = layers.iter().map(|layer| &layer[..]).collect();
    file.group(&links, &[("layer_names", &layers)])
}

fn endless_name(file: &mut Writer) -> u64 {
    let heap = file.heap(&vec![b'n'; 1 << 20]);
    let node = file.node(&vec![(0, 0); 60_000]);
    let tree = file.tree(0, &[node]);
    file.header(&[(SYMBOL_TABLE, numbers(&[tree, heap]))])
}

fn endless_group(file: &mut Writer) -> u64 {
    let path = "a/".repeat(1000) + "kernel:0";
    let attributes = [
        strings("layer_names", &["a"]),
        strings("weight_names", &[&path]),
    ];
    let names = file.heap(b"\0\0\0\0\0\0\0\0a\0");
    // The node and the tree are between this address and that of the group.
    let at = file.end() + 96;
    let node = file.node(&[(8, at)]);
    let tree = file.tree(0, &[node]);
    let [layers, weights] = attributes;
    let table = (SYMBOL_TABLE, numbers(&[tree, names]));
    let group = file.header(&[table, layers, weights]);
    assert_eq!(group, at);
    group
}

fn repeated_layer(file: &mut Writer) -> u64 {
    let dataset = file.dataset(&[0], 0, 0);
    let a = file.group(&[("k", dataset)], &[("weight_names", &vec!["k"; 60_000])]);
    file.group(&[("a", a)], &[("layer_names", &vec!["a"; 60_000])])
}

/// Writes a model with one variable, whose values are those of the superblock.
fn model_of(file: &mut Writer, shape: &[u64], len: u64) -> u64 {
    let dataset = file.dataset(shape, 0, len);
    let a = file.group(&[("k", dataset)], &[("weight_names", &["k"])]);
    file.group(&[("a", a)], &[("layer_names", &["a"])])
}

fn long_heap(file: &mut Writer) -> u64 {
    let heap = file.heap_of(96, u64::MAX - 96);
    let tree = file.empty_tree();
    file.header(&[(SYMBOL_TABLE, numbers(&[tree, heap]))])
}

fn short_collection(file: &mut Writer) -> u64 {
    let collection = file.collection(8, &[]);
    list_in_heap(file, (collection, 1, 1), 1)
}

fn shared_object(file: &mut Writer) -> u64 {
    let collection = file.collection(32 + (1 << 16), &[&[b'n'; 1 << 12].repeat(16)]);
    list_in_heap(file, (collection, 1, 1 << 12), 4000)
}

/// Writes a group with a list of layers in a global heap.
fn list_in_heap(file: &mut Writer, name: (u64, u32, u32), count: usize) -> u64 {
    let names = file.heap(&[0; 8]);
    let tree = file.empty_tree();
    file.header(&[
        (SYMBOL_TABLE, numbers(&[tree, names])),
        references("layer_names", &vec![name; count]),
    ])
}

#[test]
fn many_variables_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = Writer::new();
    let names: Vec<String> = (0..30_000).map(|at| format!("{at:05}:0")).collect();
    let mut links = Vec::new();
    for name in &names {
        let values = file.put(&[3; 8]);
        links.push((&name[..], file.dataset(&[1], values, 4)));
    }
    let names: Vec<&str> = names.iter().map(|name| &name[..]).collect();
    let lists = names.chunks(7000).enumerate();
    let lists: Vec<(String, &[&str])> = lists
        .map(|(at, part)| (format!("weight_names{at}"), part))
        .collect();
    let lists: Vec<(&str, &[&str])> = lists
        .iter()
        .map(|(name, part)| (&name[..], *part))
        .collect();
    let a = file.group(&links, &lists);
    let root = file.group(&[("a", a)], &[("layer_names", &["a"])]);
    let started = Instant::now();
    let checkpoint = read_bytes(&folder, &file.finish(root)).unwrap();
    assert!(started.elapsed() < TIME);
    let found = checkpoint
        .variables()
        .iter()
        .map(|variable| &variable.key[2..]);
    assert!(found.eq(names));
}

#[test]
fn a_header_continues_in_other_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = Writer::new();
    let values = file.put(&[2; 4]);
    let dataset = file.dataset(&[1], values, 4);
    let a = file.group(&[("k:0", dataset)], &[("weight_names", &["k:0"])]);
    let last = block(&[strings("layer_names", &["a"])]);
    let last = (CONTINUATION, numbers(&[file.put(&last), last.len() as u64]));
    let names = file.heap(b"\0\0\0\0\0\0\0\0a\0");
    let node = file.node(&[(8, a)]);
    let tree = file.tree(0, &[node]);
    let next = block(&[last, (SYMBOL_TABLE, numbers(&[tree, names]))]);
    let next = (CONTINUATION, numbers(&[file.put(&next), next.len() as u64]));
    let root = file.header(&[next]);
    let checkpoint = read_bytes(&folder, &file.finish(root)).unwrap();
    assert_eq!(checkpoint.variables()[0].name, "k");
}

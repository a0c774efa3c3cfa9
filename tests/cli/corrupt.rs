//! Hostile and damaged indexes: a clear error, never a panic, never a wrong export.

use std::fs;
use std::path::Path;

use electra_convert::{ElectraCheckpoint, ErrorKind, Model, Plan, PlanOptions};
use proptest::prelude::*;
use tempfile::TempDir;
use tf_checkpoint::sstable::{self, Table};

use testkit::bundle_writer::{
    Bundle, Compression, Entry, FLOAT32, Field, SMALL, block, discriminator, mask, message,
    push_block, push_footer, table, varint,
};
use testkit::{Run, copy_of, fixture, run, temp};

fn inspect(index: &[u8]) -> Run {
    let folder = temp();
    fs::write(folder.path().join("m.index"), index).unwrap();
    fs::write(folder.path().join("m.data-00000-of-00001"), [0; 64]).unwrap();
    run!["inspect", folder.path().join("m")]
}

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn scan(bytes: &[u8]) -> Result<Pairs, sstable::Error> {
    let mut pairs = Vec::new();
    Table::open(bytes)?.scan(|key, value| {
        pairs.push((key.to_vec(), value.to_vec()));
        Ok::<(), sstable::Error>(())
    })?;
    Ok(pairs)
}

proptest! {
    #[test]
    fn tables_are_read_as_they_were_written(
        pairs in prop::collection::btree_map(
            prop::collection::vec(0..3_u8, 1..12),
            prop::collection::vec(any::<u8>(), 0..40),
            1..120,
        ),
        per_block in 1..30_usize,
        snappy in any::<bool>(),
    ) {
        let pairs: Pairs = pairs.into_iter().collect();
        let compression = if snappy { Compression::Snappy } else { Compression::None };
        let bytes = table(&pairs, per_block, compression);
        prop_assert_eq!(scan(&bytes).unwrap(), pairs);
    }

    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..400), at in 0..60_usize) {
        let _ = scan(&bytes);
        // With a sound footer the parser gets further.
        let handle = [varint(0), varint(0), varint(at as u64), varint(bytes.len() as u64 / 2)];
        push_footer(&mut bytes, &handle.concat());
        let _ = scan(&bytes);
    }

    #[test]
    fn arbitrary_blocks_never_panic(bytes in prop::collection::vec(0..9_u8, 0..80)) {
        let mut file = Vec::new();
        let data = push_block(&mut file, &bytes, Compression::None);
        let index = push_block(&mut file, &block(&[(vec![9], data.clone())]), Compression::None);
        push_footer(&mut file, &[data, index].concat());
        let _ = scan(&file);
    }
}

/// The plan and all bytes that the discriminator would be made from.
fn export(folder: &Path) -> Result<(Vec<String>, Vec<Vec<u8>>), electra_convert::Error> {
    let source = ElectraCheckpoint::open(folder.join("model.ckpt-400"))?;
    let plan: Plan = source.plan(Model::Discriminator, &PlanOptions::default())?;
    let mut read = Vec::new();
    for tensor in &plan.tensors {
        let checkpoint = source.checkpoint();
        checkpoint.check_present(&tensor.variables[0])?;
        let mut bytes = vec![0; usize::try_from(tensor.variables[0].bytes()).unwrap()];
        checkpoint.read(&tensor.variables[0], &mut bytes)?;
        read.push(bytes);
    }
    let names = plan
        .tensors
        .iter()
        .map(|t| format!("{} {:?}", t.name, t.shape));
    Ok((names.collect(), read))
}

#[test]
fn every_changed_byte_of_an_index_is_an_error_or_does_not_matter() {
    for name in ["fmt_weights_only", "fmt_partitioned"] {
        let folder = copy_of(name);
        for file in testkit::listing(folder.path()) {
            let renamed = file.replace("electra_tiny", "model.ckpt-400");
            fs::rename(folder.path().join(&file), folder.path().join(renamed)).unwrap();
        }
        let path = folder.path().join("model.ckpt-400.index");
        let sound = fs::read(&path).unwrap();
        let expected = export(folder.path()).unwrap();
        let mut harmless = 0;
        for at in 0..sound.len() {
            let mut bytes = sound.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(&path, &bytes).unwrap();
            match export(folder.path()) {
                Ok(found) => {
                    assert!(found == expected, "{name}: byte {at} changed the export");
                    harmless += 1;
                }
                Err(error) => assert!(
                    error.to_string().contains("model.ckpt-400.index"),
                    "{error}"
                ),
            }
        }
        // The unused meta-index block and its handle, and the padding of the footer.
        assert!(harmless < 70, "{name}: {harmless} bytes are not covered");
    }
}

#[test]
fn every_truncation_of_an_index_is_an_error() {
    let folder = copy_of("tiny_uniform");
    let path = folder.path().join("model.ckpt-60.index");
    let sound = fs::read(&path).unwrap();
    for len in 0..sound.len() {
        fs::write(&path, &sound[..len]).unwrap();
        let error = ElectraCheckpoint::open(folder.path()).unwrap_err();
        assert!(
            error.to_string().contains("model.ckpt-60.index"),
            "{len}: {error}"
        );
    }
}

#[test]
fn damage_is_reported_with_its_place() {
    let folder = copy_of("tiny_uniform");
    let path = folder.path().join("model.ckpt-60.index");
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 0xff;
    fs::write(&path, &bytes).unwrap();
    run!["inspect", folder.path()].fails(3, &["model.ckpt-60.index", "checksum", "copy it again"]);
    fs::write(&path, b"not a table").unwrap();
    run!["inspect", folder.path()].fails(3, &["too short"]);
    fs::write(&path, [7; 100]).unwrap();
    run!["inspect", folder.path()].fails(3, &["magic number"]);
}

fn entry(change: impl FnOnce(&mut Entry)) -> Vec<u8> {
    let mut bundle = Bundle::default();
    bundle.add("v", FLOAT32, &[2, 2], &[0; 16]);
    change(bundle.entry("v"));
    bundle.index()
}

#[test]
fn entries_that_contradict_themselves_are_refused() {
    inspect(&entry(|_| {})).ok();
    for (index, word) in [
        (entry(|e| e.size = 12), "takes 16"),
        (entry(|e| e.shape = vec![-1, 4]), "axis of size -1"),
        (entry(|e| e.shape = vec![1 << 40, 1 << 40]), "too large"),
        (entry(|e| e.shape = vec![i64::MAX, 2, 0]), "too large"),
        (entry(|e| e.shape = vec![1; 300]), "more than 254 axes"),
        (entry(|e| e.shard = 1), "data file 1, of 1"),
        (entry(|e| e.shard = u64::MAX), "data file -1"),
        (entry(|e| e.offset = u64::MAX), "outside"),
        (entry(|e| e.size = 1 << 63), "outside"),
    ] {
        inspect(&index).fails(3, &["m.index", "variable v", word]);
    }
}

#[test]
fn a_claim_of_terabytes_is_refused_by_the_length_of_the_file() {
    let mut bundle = discriminator(SMALL);
    let huge = bundle.entry("electra/embeddings/word_embeddings");
    huge.shape = vec![1 << 40, 8];
    huge.size = 1 << 45;
    huge.offset = 1 << 20;
    let folder = temp();
    bundle.write(&folder.path().join("m"));
    run![
        "--model",
        "discriminator",
        folder.path(),
        folder.path().join("out")
    ]
    .fails(3, &["cut short", "word_embeddings"]);
}

#[test]
fn headers_are_checked() {
    let bundle = discriminator(SMALL);
    for (fields, words) in [
        (
            vec![(1, Field::Varint(1)), (2, Field::Varint(2))],
            ["byte order 2", "m.index"],
        ),
        (vec![(1, Field::Varint(0))], ["0 data files", "m.index"]),
        (
            vec![
                (1, Field::Varint(1)),
                (3, Field::Bytes(message(&[(2, Field::Varint(9))]))),
            ],
            ["version 9", "m.index"],
        ),
    ] {
        inspect(&bundle.index_with_header(&message(&fields))).fails(3, &words);
    }
    inspect(&bundle.index_with_header(b"\xff\xff")).fails(3, &["header"]);
    inspect(&table(&[(b"v".to_vec(), Vec::new())], 9, Compression::None)).fails(3, &["header"]);
    inspect(&Bundle::default().index()).fails(3, &["no variables"]);
}

#[test]
fn a_variable_of_another_checkpoint_is_an_error() {
    let folders = ["fmt_sharded", "fmt_partitioned", "fmt_v1", "tiny_noproj"].map(copy_of);
    let open = |folder: &TempDir| {
        let location = tf_checkpoint::locate(folder.path(), None).unwrap();
        tf_checkpoint::Checkpoint::open(location).unwrap()
    };
    let checkpoints = folders.each_ref().map(open);
    for (at, own) in checkpoints.iter().enumerate() {
        for (other_at, other) in checkpoints.iter().enumerate() {
            let mut foreign = 0;
            for variable in other.variables() {
                let mut bytes = vec![0; usize::try_from(variable.bytes()).unwrap()];
                match own.read(variable, &mut bytes) {
                    Ok(()) => assert!(own.variables().contains(variable)),
                    Err(tf_checkpoint::Error::UnknownVariable { .. }) => foreign += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            assert_eq!(foreign == 0, at == other_at, "{:?}", other.location());
        }
        // One of its own that was changed.
        let mut bent = own.variables()[0].clone();
        bent.pieces[0].shard = 7;
        let error = own.check_present(&bent).unwrap_err();
        assert!(error.to_string().contains(&bent.name), "{error}");
        bent.pieces.clear();
        assert!(own.read(&bent, &mut []).is_err());
    }
}

#[test]
fn axes_of_size_zero_are_an_error_of_the_model_or_hold_nothing() {
    let sound = discriminator(SMALL);
    for at in 0..sound.entries.len() {
        for axis in 0..sound.entries[at].shape.len() {
            let mut bundle = sound.clone();
            bundle.entries[at].shape[axis] = 0;
            bundle.entries[at].size = 0;
            let folder = temp();
            bundle.write(&folder.path().join("model.ckpt-400"));
            let error = export(folder.path()).unwrap_err();
            assert!(
                matches!(error.kind(), ErrorKind::Model | ErrorKind::Checkpoint),
                "{error}"
            );
        }
    }
}

#[test]
fn other_kinds_of_variables_are_listed() {
    let mut bundle = discriminator(SMALL);
    bundle.add("names", 7, &[3], b"abc");
    let folder = temp();
    bundle.write(&folder.path().join("m"));
    let shown = run!["inspect", folder.path(), "--grep", "names"].ok();
    assert!(shown.stdout.contains("dtype 7"), "{}", shown.stdout);
}

#[test]
fn tables_that_promise_too_much_are_refused() {
    // Keys that share a long prefix: few bytes on disk, many in memory.
    let long = |tail: u8| [vec![b'k'; 9000], vec![tail]].concat();
    let file = table(
        &[(long(1), Vec::new()), (long(2), Vec::new())],
        9,
        Compression::None,
    );
    assert!(
        scan(&file)
            .unwrap_err()
            .to_string()
            .contains("key is longer")
    );

    // Two handles to the same block.
    let mut file = Vec::new();
    let data = push_block(&mut file, &block(&[(vec![1], vec![])]), Compression::None);
    let twice = [(vec![1], data.clone()), (vec![2], data.clone())];
    let index = push_block(&mut file, &block(&twice), Compression::None);
    push_footer(&mut file, &[data, index].concat());
    assert!(
        scan(&file)
            .unwrap_err()
            .to_string()
            .contains("starts inside")
    );

    // A Snappy block that claims a gigabyte.
    let mut file = Vec::new();
    let mut bomb = varint(1 << 30);
    bomb.extend([0, 0]);
    let at = file.len();
    file.extend(&bomb);
    file.push(1);
    let crc = crc32c::crc32c(&file[at..]);
    file.extend(mask(crc).to_le_bytes());
    let handle = [varint(at as u64), varint(bomb.len() as u64)].concat();
    push_footer(&mut file, &[handle.clone(), handle].concat());
    assert!(scan(&file).unwrap_err().to_string().contains("Snappy"));

    // Keys out of order.
    let mut file = Vec::new();
    let data = push_block(
        &mut file,
        &block(&[(vec![2], vec![]), (vec![1], vec![])]),
        Compression::None,
    );
    let index = push_block(
        &mut file,
        &block(&[(vec![2], data.clone())]),
        Compression::None,
    );
    push_footer(&mut file, &[data, index].concat());
    assert!(scan(&file).unwrap_err().to_string().contains("ascend"));
}

#[test]
fn the_fixtures_are_tables_without_surprises() {
    let index = fs::read(fixture("fmt_partitioned").join("model.ckpt-400.index")).unwrap();
    let pairs = scan(&index).unwrap();
    assert!(pairs[0].0.is_empty());
    assert_eq!(
        pairs
            .iter()
            .filter(|(key, _)| key.first() == Some(&0))
            .count(),
        3
    );
}

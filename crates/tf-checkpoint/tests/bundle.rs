//! Checkpoints from finding them to reading them, through the public interface alone.

mod writer;

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tf_checkpoint::storage::{Disk, Kind, Storage as _};
use tf_checkpoint::{Checkpoint, DType, Error, FileKind, Format, Limits, locate, locate_within};
use writer::{Entry, write_bundle};

/// A directory with the checkpoints of steps 1 and 2.
fn run() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for step in [1_u8, 2] {
        let entries = [
            Entry::floats("bias", &[2], &[f32::from(step), -2.0]),
            Entry::int64("global_step", step.into()),
            Entry::floats("kernel", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        ];
        let name = format!("model.ckpt-{step}");
        write_bundle(&folder.path().join(name), &entries);
    }
    folder
}

fn open(path: &Path) -> Result<Checkpoint, Error> {
    Checkpoint::open(locate(path, None)?)
}

fn read(checkpoint: &Checkpoint, name: &str) -> Result<Vec<u8>, Error> {
    let mut variables = checkpoint.variables().iter();
    let variable = variables.find(|variable| variable.name == name).unwrap();
    let mut bytes = vec![0; usize::try_from(variable.bytes()).unwrap()];
    checkpoint.read(variable, &mut bytes)?;
    Ok(bytes)
}

#[test]
fn variables_are_listed_and_read() {
    let folder = run();
    let checkpoint = open(&folder.path().join("model.ckpt-2")).unwrap();
    assert_eq!(checkpoint.location().format(), Format::TensorBundle);
    assert_eq!(checkpoint.shard_count(), 1);
    assert!(!checkpoint.is_object_based());
    assert!(checkpoint.meta_graph().unwrap().is_none());
    let listed: Vec<_> = checkpoint.variables().iter().collect();
    let described = listed
        .iter()
        .map(|v| (v.name.as_str(), v.dtype, &v.shape[..]));
    assert!(described.eq([
        ("bias", DType::Float32, &[2][..]),
        ("global_step", DType::Int64, &[]),
        ("kernel", DType::Float32, &[2, 3]),
    ]));
    assert_eq!(
        read(&checkpoint, "bias").unwrap(),
        [0, 0, 0, 0x40, 0, 0, 0, 0xc0]
    );
    assert_eq!(checkpoint.read_integer(listed[1]).unwrap(), Some(2));
    assert_eq!(checkpoint.read_integer(listed[0]).unwrap(), None);

    let run = checkpoint.contiguous(listed[2]).unwrap();
    assert_eq!(run.offset(), 16);
    let mut bytes = [0; 24];
    let (front, back) = bytes.split_at_mut(10);
    run.read(front, 0).unwrap();
    run.read(back, 10).unwrap();
    run.check(crc32c::crc32c(&bytes)).unwrap();
    let error = run.check(0).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Checksum {
                found: 0,
                len: 24,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn every_path_of_a_checkpoint_finds_it() {
    let folder = run();
    let root = folder.path();
    for name in [
        "model.ckpt-2",
        "model.ckpt-2.index",
        "model.ckpt-2.data-00000-of-00001",
        "model.ckpt-2.meta",
    ] {
        let location = locate(&root.join(name), None).unwrap();
        assert_eq!(location.prefix(), root.join("model.ckpt-2"), "{name}");
        assert_eq!(location.folder(), root);
        assert_eq!(
            (location.name().as_str(), location.step_in_name()),
            ("model.ckpt-2", Some(2))
        );
    }
    for (path, step) in [(root.to_owned(), 1), (root.join("model.ckpt"), 2)] {
        let location = locate(&path, Some(step)).unwrap();
        assert_eq!(location.step_in_name(), Some(step));
    }
    let error = locate(root, None).unwrap_err();
    let names = ["model.ckpt-1", "model.ckpt-2"];
    assert!(
        matches!(&error, Error::Ambiguous { names: found, .. } if found == &names),
        "{error}"
    );

    fs::write(
        root.join("checkpoint"),
        "model_checkpoint_path: \"/far/model.ckpt-1\"",
    )
    .unwrap();
    for path in [root.to_owned(), root.join("checkpoint")] {
        assert_eq!(locate(&path, None).unwrap().step_in_name(), Some(1));
    }
}

#[test]
fn an_error_names_the_checkpoint_that_may_be_meant() {
    let folder = run();
    let root = folder.path();
    let inner = root.join("inner");
    fs::create_dir(&inner).unwrap();
    fs::write(
        inner.join("checkpoint"),
        "model_checkpoint_path: \"../model.ckpt-2\"",
    )
    .unwrap();
    let error = locate(&inner, None).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    let meant = error.checkpoint().unwrap();
    assert_eq!(locate(meant, None).unwrap().step_in_name(), Some(2));
}

fn kind(error: &Error) -> Option<FileKind> {
    match error {
        Error::Unsupported { kind, .. } => Some(*kind),
        _ => None,
    }
}

#[test]
fn other_files_are_recognised() {
    for (name, bytes, expected) in [
        ("a.txt.gz", &b"\x1f\x8b\x08\0"[..], FileKind::Archive),
        (
            "model.safetensors",
            b"\x02\0\0\0\0\0\0\0{\"a\"",
            FileKind::Safetensors,
        ),
        ("pytorch_model.bin", b"\x80\x02}q", FileKind::Model),
        ("config.json", b"{\n", FileKind::Json),
        (
            "model.ckpt-4",
            b"version https://git-lfs.github.com/spec/v1\n",
            FileKind::StandIn,
        ),
        ("model.ckpt-4.index", b"<!doctype html>", FileKind::StandIn),
        ("empty", b"", FileKind::Other),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let error = open(&path).unwrap_err();
        assert_eq!(kind(&error), Some(expected), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    let error = locate(Path::new("hdfs://host/model.ckpt-4"), None).unwrap_err();
    assert_eq!(kind(&error), Some(FileKind::Address));
}

#[test]
fn damage_is_found() {
    let damaged = |change: &dyn Fn(&Path)| {
        let folder = run();
        let prefix = folder.path().join("model.ckpt-1");
        change(&prefix);
        let checkpoint = open(&prefix)?;
        checkpoint
            .variables()
            .iter()
            .try_for_each(|v| checkpoint.check_present(v))?;
        read(&checkpoint, "kernel").map(drop)
    };
    let file = |prefix: &Path, suffix: &str| PathBuf::from(format!("{}{suffix}", prefix.display()));
    let data = |prefix: &Path| file(prefix, ".data-00000-of-00001");
    damaged(&|_| {}).unwrap();

    let error = damaged(&|prefix| {
        let mut bytes = fs::read(data(prefix)).unwrap();
        bytes[20] ^= 1;
        fs::write(data(prefix), bytes).unwrap();
    });
    let error = error.unwrap_err();
    assert!(
        matches!(&error, Error::Checksum { variable, .. } if variable == "kernel"),
        "{error}"
    );

    let error = damaged(&|prefix| {
        let file = OpenOptions::new().write(true).open(data(prefix)).unwrap();
        file.set_len(39).unwrap();
    });
    let error = error.unwrap_err();
    assert!(
        matches!(
            error,
            Error::ShardTruncated {
                end: 40,
                len: 39,
                ..
            }
        ),
        "{error}"
    );

    let error = damaged(&|prefix| fs::remove_file(data(prefix)).unwrap()).unwrap_err();
    assert!(matches!(error, Error::ShardMissing { .. }), "{error}");

    // Every byte of the index is covered by a checksum or checked.
    let folder = run();
    let index = folder.path().join("model.ckpt-1.index");
    let sound = fs::read(&index).unwrap();
    for at in 0..sound.len() {
        let mut bytes = sound.clone();
        bytes[at] ^= 0x10;
        fs::write(&index, bytes).unwrap();
        if let Ok(checkpoint) = open(&index) {
            // Padding of the footer.
            assert_eq!(
                read(&checkpoint, "bias").unwrap(),
                [0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0],
                "{at}"
            );
        }
    }
}

#[test]
fn a_variable_of_another_checkpoint_is_an_error() {
    let folder = run();
    let [one, two] =
        ["model.ckpt-1", "model.ckpt-2"].map(|name| open(&folder.path().join(name)).unwrap());
    let mut bytes = [0; 8];
    let error = one.read(&two.variables()[0], &mut bytes).unwrap_err();
    assert!(matches!(error, Error::UnknownVariable { .. }), "{error}");
    assert!(one.contiguous(&two.variables()[0]).is_none());
}

#[test]
fn a_change_while_reading_is_found() {
    let folder = run();
    let prefix = folder.path().join("model.ckpt-2");
    let checkpoint = open(&prefix).unwrap();
    checkpoint.check_unchanged().unwrap();
    // Other checkpoints and the state file may change.
    fs::write(folder.path().join("checkpoint"), "").unwrap();
    fs::remove_file(folder.path().join("model.ckpt-1.index")).unwrap();
    checkpoint.check_unchanged().unwrap();
    let data = folder.path().join("model.ckpt-2.data-00000-of-00001");
    let mut file = OpenOptions::new().append(true).open(&data).unwrap();
    file.write_all(&[0]).unwrap();
    let error = checkpoint.check_unchanged().unwrap_err();
    assert!(
        matches!(&error, Error::Changed { path } if *path == data),
        "{error}"
    );
}

#[test]
fn limits_are_obeyed() {
    let folder = run();
    let mut limits = Limits::default();
    (limits.memory, limits.memory_per_byte) = (100, 0);
    let location = locate_within(&folder.path().join("model.ckpt-1"), None, &limits).unwrap();
    let error = Checkpoint::open(location).unwrap_err();
    assert!(matches!(error, Error::TooDense { .. }), "{error}");
}

#[test]
fn only_regular_files_are_opened() {
    let folder = run();
    let disk = Disk::default();
    assert_eq!(disk.kind(folder.path()).unwrap(), Some(Kind::Directory));
    assert_eq!(disk.kind(&folder.path().join("absent")).unwrap(), None);
    let long = folder.path().join("x".repeat(400));
    assert_eq!(disk.kind(&long).unwrap(), None);
    let error = disk.open(folder.path()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::IsADirectory);
    let index = folder.path().join("model.ckpt-1.index");
    let len = fs::metadata(&index).unwrap().len();
    assert!(disk.read(&index, len - 1).is_err());
    assert_eq!(disk.read(&index, len).unwrap(), fs::read(&index).unwrap());
    assert_eq!(
        disk.read_if_there(&folder.path().join("absent"), 9)
            .unwrap(),
        None
    );
}

#[test]
fn values_can_be_read_from_several_threads() {
    fn is_shared<T: Send + Sync + 'static>(_: &T) {}
    let folder = run();
    let checkpoint = open(&folder.path().join("model.ckpt-1")).unwrap();
    is_shared(&checkpoint);
    is_shared(checkpoint.location());
    is_shared(&locate(Path::new("absent"), None).unwrap_err());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(read(&checkpoint, "kernel").unwrap().len(), 24));
        }
    });
}

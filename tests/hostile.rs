//! Damaged files in every way: an error that names the file, or the same export; never a panic, never
//! more than 256 MiB, never longer than two seconds. The densest sound files are in `hostile/`.
//!
//! A limit on the allocator proves the memory: what asks for more ends the process. `cargo test --test
//! hostile -- --nocapture` prints how many cases there were.

#[path = "hostile/archives.rs"]
mod archives;
#[path = "hostile/dense.rs"]
mod dense;
#[path = "hostile/files.rs"]
mod files;

use std::alloc::System;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cap::Cap;
use electra_convert::{ElectraCheckpoint, Model, PlanOptions};
use tempfile::TempDir;
use tf_checkpoint::{self, locate};

use testkit::bundle_writer::{Compression, Entry, FLOAT32, Field, message, varint};
use testkit::{copy_of, temp};

const MEMORY: usize = 256 << 20;
/// Ten times as much without optimisation.
const TIME: Duration = Duration::from_secs(if cfg!(debug_assertions) { 20 } else { 2 });

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// Lets tests run one at a time, each from its first line on: the limit on the allocator is that of the
/// process, and what another test prepares would count.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Everything that an export is made of: the configuration, names, shapes and all bytes.
#[derive(PartialEq)]
struct Contents {
    config: String,
    tensors: Vec<(String, Vec<usize>, Vec<u8>)>,
}

fn read(folder: &Path) -> Result<Contents, electra_convert::Error> {
    let source = ElectraCheckpoint::open(folder)?;
    let plan = source.plan(Model::Discriminator, &PlanOptions::default())?;
    let checkpoint = source.checkpoint();
    let tensors = plan.tensors.iter().map(|tensor| {
        let variable = &tensor.variables[0];
        checkpoint.check_present(variable)?;
        let mut bytes = vec![0; usize::try_from(variable.bytes()).unwrap()];
        checkpoint.read(variable, &mut bytes)?;
        Ok((tensor.name.clone(), tensor.shape.clone(), bytes))
    });
    let tensors = tensors.collect::<Result<_, electra_convert::Error>>()?;
    Ok(Contents {
        config: plan.config().to_json(),
        tensors,
    })
}

/// Puts one damaged version after the other in the place of a file.
struct Damage {
    folder: TempDir,
    path: PathBuf,
    sound: Vec<u8>,
    expected: Contents,
    errors: usize,
    harmless: usize,
    slowest: Duration,
}

impl Damage {
    fn of(fixture: &str, file: &str) -> Self {
        let folder = copy_of(fixture);
        let path = folder.path().join(file);
        Self {
            sound: fs::read(&path).unwrap(),
            expected: read(folder.path()).unwrap(),
            path,
            folder,
            errors: 0,
            harmless: 0,
            slowest: Duration::ZERO,
        }
    }

    fn case(&mut self, bytes: &[u8], what: &str) {
        fs::write(&self.path, bytes).unwrap();
        let (found, taken) = dense::limited(MEMORY, || read(self.folder.path()));
        assert!(taken < TIME, "{what}: {taken:?}");
        self.slowest = self.slowest.max(taken);
        match found {
            Ok(found) => {
                assert!(found == self.expected, "{what} changed the export");
                self.harmless += 1;
            }
            Err(error) => {
                let text = error.to_string();
                let folder = self.folder.path().to_str().unwrap();
                assert!(text.contains(folder), "{what}: {text}");
                self.errors += 1;
            }
        }
    }

    /// Another byte at a place: one value, or all 255.
    fn byte(&mut self, at: usize, all_values: bool) {
        let mut bytes = self.sound.clone();
        let last = if all_values { 255 } else { 1 };
        for change in 1..=last {
            let change = if all_values { change } else { 1 << (at % 8) };
            bytes[at] = self.sound[at] ^ change;
            self.case(&bytes, &format!("byte {at} ^ {change}"));
        }
    }

    fn truncation(&mut self, len: usize) {
        let bytes = self.sound[..len].to_vec();
        self.case(&bytes, &format!("length {len}"));
    }

    fn report(&self, what: &str) {
        println!(
            "{what}: {} cases, {} errors, {} without effect; the slowest took {:.0?}",
            self.errors + self.harmless,
            self.errors,
            self.harmless,
            self.slowest
        );
    }
}

#[test]
fn index() {
    let _alone = alone();
    let mut damage = Damage::of("tiny_noproj", "model.ckpt-60.index");
    let len = damage.sound.len();
    for at in 0..len {
        damage.byte(at, at % 67 == 0);
    }
    damage.report("bytes of the index");
    let mut damage = Damage::of("tiny_noproj", "model.ckpt-60.index");
    (0..len).for_each(|len| damage.truncation(len));
    damage.report("truncations of the index");
}

#[test]
fn data() {
    const FILE: &str = "model.ckpt-60.data-00000-of-00001";
    let _alone = alone();
    let mut damage = Damage::of("tiny_noproj", FILE);
    let len = damage.sound.len();
    for at in (0..len).step_by(449) {
        damage.byte(at, at % 16 == 0 && at < 30_000);
    }
    damage.report("bytes of the data");
    let mut damage = Damage::of("tiny_noproj", FILE);
    for at in (0..len).filter(|at| at % 991 == 0 || at + 300 > len) {
        damage.truncation(at);
    }
    damage.report("truncations of the data");
}

#[test]
fn training_graph() {
    let _alone = alone();
    let mut damage = Damage::of("tiny_default", "model.ckpt-400.meta");
    let len = damage.sound.len();
    for at in (0..len).filter(|at| at % 131 == 0 || *at < 200) {
        damage.byte(at, at % 50 == 0 && at < 200);
    }
    damage.report("bytes of the training graph");
    let mut damage = Damage::of("tiny_default", "model.ckpt-400.meta");
    for at in (0..len).filter(|at| at % 331 == 0 || *at < 100 || at + 100 > len) {
        damage.truncation(at);
    }
    damage.report("truncations of the training graph");
}

#[test]
fn state_file() {
    let _alone = alone();
    let folder = copy_of("tiny_noproj");
    let path = folder.path().join("checkpoint");
    let sound = fs::read(&path).unwrap();
    let expected = locate(folder.path(), None).unwrap().prefix().to_owned();
    let (mut errors, mut harmless) = (0, 0);
    let mut case = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        match locate(folder.path(), None) {
            Ok(location) => {
                assert_eq!(location.prefix(), expected);
                harmless += 1;
            }
            Err(error) => {
                assert!(
                    error.to_string().contains(folder.path().to_str().unwrap()),
                    "{error}"
                );
                errors += 1;
            }
        }
    };
    for at in 0..sound.len() {
        case(&sound[..at]);
        for value in 0..=255 {
            let mut bytes = sound.clone();
            bytes[at] = value;
            case(&bytes);
        }
    }
    println!("state file: {errors} errors, {harmless} without effect");
}

fn header() -> (Vec<u8>, Vec<u8>) {
    let version = message(&[(1, Field::Varint(1))]);
    (
        Vec::new(),
        message(&[(1, Field::Varint(1)), (3, Field::Bytes(version))]),
    )
}

fn entry(name: &str) -> Entry {
    Entry {
        name: name.as_bytes().to_vec(),
        dtype: FLOAT32,
        shape: vec![1],
        shard: 0,
        offset: 0,
        size: 4,
        crc32c: 0,
    }
}

#[test]
fn deeply_nested_messages() {
    let _alone = alone();
    // A group in a group in a group, in a place where unknown fields are skipped.
    let nested = |depth: usize| [vec![0x7b; depth], vec![0x7c; depth]].concat();
    for depth in [50, 1000, 1_000_000] {
        let (key, value) = header();
        let error = dense::bundle(&[(key, [value, nested(depth)].concat())], Compression::None);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("does not start with the header"), "{error}");

        let folder = copy_of("tiny_noproj");
        fs::write(folder.path().join("model.ckpt-60.meta"), nested(depth)).unwrap();
        assert!(read(folder.path()).is_err());
        let wrapped = [vec![0x12], varint(2 * depth as u64), nested(depth)].concat();
        fs::write(folder.path().join("model.ckpt-60.meta"), wrapped).unwrap();
        assert!(read(folder.path()).is_err());
    }
}

/// Files whose names look like parts of checkpoints: `.ckpt` in them, of tables, with graphs beside them.
#[test]
fn a_folder_of_many_files() {
    let _alone = alone();
    let folder = temp();
    for n in 0..10_000 {
        for name in [
            format!("run.ckpt.{n}.txt"),
            format!("m{n}-00000-of-00002"),
            format!("word{n}"),
        ] {
            fs::write(folder.path().join(name), "").unwrap();
        }
    }
    let start = Instant::now();
    let error = locate(folder.path(), None).unwrap_err();
    let taken = start.elapsed();
    assert!(taken < TIME, "{taken:?}");
    assert!(
        matches!(error, tf_checkpoint::Error::Ambiguous { .. }),
        "{error}"
    );
}

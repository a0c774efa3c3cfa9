//! Checkpoints in a bucket and behind a web address: how they are named, and what is fetched of them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use testkit::bucket_server::{Operation, Seen};
use testkit::bundle_writer::{Bundle, SMALL, Sizes, discriminator};
use testkit::{Run, fixture, listing, run};

use crate::world::World;

/// Puts all files below a directory of the disk under a key.
pub(crate) fn put(world: &World, folder: &Path, key: &str) {
    for file in listing(folder) {
        let bytes = fs::read(folder.join(&file)).unwrap();
        world.server.put(&format!("models/{key}/{file}"), bytes);
    }
}

/// Writes a discriminator with optimizer slots, some megabytes, and returns its prefix.
pub(crate) fn with_slots(world: &World) -> PathBuf {
    let sizes = Sizes {
        vocab: 1000,
        hidden: 192,
        intermediate: 256,
        layers: 6,
        ..SMALL
    };
    let model = discriminator(sizes);
    let mut bundle = Bundle::default();
    let mut entries = model.entries.clone();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    for entry in entries {
        let name = String::from_utf8(entry.name).unwrap();
        for end in ["", "/adam_m", "/adam_v"] {
            bundle.add_floats(&format!("{name}{end}"), &entry.shape);
        }
    }
    let folder = world.folder.path().join("slots");
    fs::create_dir_all(&folder).unwrap();
    let prefix = folder.join("model.ckpt-7");
    bundle.write(&prefix);
    prefix
}

/// Converts a checkpoint to the directory `out`.
#[track_caller]
pub(crate) fn convert_to(world: &World, checkpoint: &str, out: &Path, options: &[&str]) -> Run {
    let mut args: Vec<&dyn AsRef<OsStr>> = vec![&"--model", &"discriminator", &"--no-verify"];
    args.extend(options.iter().map(|option| option as &dyn AsRef<OsStr>));
    args.extend([&checkpoint as &dyn AsRef<OsStr>, &out]);
    world.run(&args)
}

/// Converts a checkpoint to a directory of the disk.
#[track_caller]
fn convert(world: &World, checkpoint: &str, options: &[&str]) -> (Run, BTreeMap<String, Vec<u8>>) {
    let out = world.folder.path().join("out");
    let _ = fs::remove_dir_all(&out);
    let run = convert_to(world, checkpoint, &out, options);
    let files = if out.exists() {
        listing(&out)
    } else {
        Vec::new()
    };
    let files = files.into_iter().map(|file| {
        let bytes = fs::read(out.join(&file)).unwrap();
        (file, bytes)
    });
    (run, files.collect())
}

/// Converts a checkpoint on the disk, to compare with.
fn right(world: &World, checkpoint: &Path) -> BTreeMap<String, Vec<u8>> {
    let here = world.folder.path().join("right");
    let _ = fs::remove_dir_all(&here);
    run!["--model", "discriminator", "--no-verify", checkpoint, here].ok();
    let files = listing(&here).into_iter();
    let files = files.map(|file| {
        let bytes = fs::read(here.join(&file)).unwrap();
        (file, bytes)
    });
    files.collect()
}

#[test]
fn what_names_a_checkpoint_on_a_disk_names_it_in_a_bucket() {
    let world = World::new();
    let folder = fixture("tiny_default");
    put(&world, &folder, "runs/a");
    let right = right(&world, &folder);
    for name in [
        "runs/a",
        "runs/a/",
        "runs/a/model.ckpt-400",
        "runs/a/model.ckpt-400.index",
        "runs/a/model.ckpt-400.data-00000-of-00001",
        "runs/a/checkpoint",
    ] {
        let (run, files) = convert(&world, &format!("s3://models/{name}"), &[]);
        run.ok();
        assert!(files == right, "{name}");
    }
    // A web server lists nothing; a name that is not there may be refused.
    let web = world.server.url();
    for name in [
        "runs/a",
        "runs/a/model.ckpt-400",
        "runs/a/model.ckpt-400.index",
    ] {
        let (run, files) = convert(&world, &format!("{web}/models/{name}"), &[]);
        run.ok();
        assert!(files == right, "{name}");
    }
    let lists = world.server.seen();
    let lists = lists
        .iter()
        .filter(|seen| seen.operation == Operation::List);
    assert!(
        lists
            .clone()
            .all(|seen| !seen.key.starts_with("models/models"))
    );
}

#[test]
fn a_vocabulary_is_found_above_and_given_by_its_url() {
    let world = World::new();
    let folder = fixture("tiny_default");
    put(&world, &folder, "data/models/a");
    let vocabulary = fs::read(folder.join("vocab.txt")).unwrap();
    let right = right(&world, &folder);
    let remove = || world.server.remove("models/data/models/a/vocab.txt");
    remove();
    let (run, files) = convert(&world, "s3://models/data/models/a", &[]);
    assert!(run.ok().stderr.contains("no vocabulary found"));
    assert!(!files.contains_key("vocab.txt"));
    world.server.put("models/data/vocab.txt", vocabulary);
    let (run, files) = convert(&world, "s3://models/data/models/a", &[]);
    run.ok();
    assert!(files == right);
    let (run, files) = convert(
        &world,
        "s3://models/data/models/a",
        &["--vocab", "s3://models/data/vocab.txt"],
    );
    run.ok();
    assert!(files == right);
    let (run, _) = convert(
        &world,
        "s3://models/data/models/a",
        &["--vocab", "s3://models/none.txt"],
    );
    run.fails(2, &["--vocab s3://models/none.txt", "no such file"]);
}

#[test]
fn archives_and_other_formats_are_read_in_a_bucket() {
    let world = World::new();
    for (fixture_name, key) in [
        ("garden_encoder", "garden"),
        ("h5_pre_training", "keras"),
        ("fmt_v1", "v1"),
    ] {
        let folder = fixture(fixture_name);
        put(&world, &folder, key);
        let right = right(&world, &folder);
        let (run, files) = convert(&world, &format!("s3://models/{key}"), &[]);
        run.ok();
        assert!(files == right, "{fixture_name}");
    }
}

#[test]
fn only_the_bytes_of_the_chosen_model_are_fetched() {
    let world = World::new();
    let prefix = with_slots(&world);
    let folder = prefix.parent().unwrap();
    put(&world, folder, "run");
    let right = right(&world, folder);
    world.server.reset();
    let (run, files) = convert(&world, "s3://models/run", &[]);
    run.ok();
    assert!(files == right);
    let weights = files["model.safetensors"].len() as u64;
    let mut fetched: Vec<(u64, u64)> = Vec::new();
    for seen in world.server.seen() {
        if seen.operation == Operation::Get && seen.key.contains(".data-") {
            let range = seen.range.expect("a part of the file");
            let (start, end) = range
                .strip_prefix("bytes=")
                .unwrap()
                .split_once('-')
                .unwrap();
            fetched.push((start.parse().unwrap(), end.parse::<u64>().unwrap() + 1));
        }
    }
    fetched.sort_unstable();
    assert!(
        fetched.windows(2).all(|pair| pair[0].1 <= pair[1].0),
        "{fetched:?}"
    );
    let bytes: u64 = fetched.iter().map(|(start, end)| end - start).sum();
    let whole = fs::metadata(format!("{}.data-00000-of-00001", prefix.display()))
        .unwrap()
        .len();
    assert!(
        bytes * 100 <= weights * 105 && bytes * 2 < whole,
        "{bytes} of {weights}, {whole}"
    );
}

#[test]
fn looking_at_a_checkpoint_reads_no_weights() {
    let world = World::new();
    put(&world, &fixture("tiny_default"), "run");
    for has_graph in [true, false] {
        if !has_graph {
            world.server.remove("models/run/model.ckpt-400.meta");
        }
        let before = world.server.seen().len();
        let run = world.run(&[&"inspect", &"s3://models/run", &"--json"]).ok();
        assert_eq!(run.json()["checkpoint"]["step"], 400);
        let seen = world.server.seen().split_off(before);
        let of_data =
            |seen: &&Seen| seen.operation == Operation::Get && seen.key.contains(".data-");
        // The step is one number.
        let ranges: Vec<_> = seen
            .iter()
            .filter(of_data)
            .map(|seen| seen.range.clone())
            .collect();
        assert_eq!(ranges.len(), 1, "{has_graph}: {ranges:?}");
    }
}

#[test]
fn a_long_directory_is_listed_in_pages_and_not_without_end() {
    let world = World::new();
    put(&world, &fixture("tiny_default"), "run");
    for number in 0..2500 {
        world
            .server
            .put(&format!("models/run/events.{number:05}"), Vec::new());
    }
    let (run, _) = convert(&world, "s3://models/run", &[]);
    run.ok();
    for number in 0..25_000 {
        world
            .server
            .put(&format!("models/run/events.{number:05}"), Vec::new());
    }
    world.server.remove("models/run/checkpoint");
    let (run, _) = convert(&world, "s3://models/run", &[]);
    run.fails(1, &["too many names", "give the prefix"]);
    let (run, _) = convert(&world, "s3://models/run/model.ckpt-400", &[]);
    run.ok();
}

#[test]
fn a_signed_address_works_and_is_never_shown() {
    let world = World::new();
    let folder = fixture("tiny_default");
    put(&world, &folder, "run");
    let url = format!(
        "{}/models/run/model.ckpt-400?X-Signature=secret-of-the-test",
        world.server.url()
    );
    let (run, files) = convert(&world, &url, &["--json"]);
    let report = run.ok().stdout;
    assert!(report.contains("/models/run/model.ckpt-400"));
    assert!(files == right(&world, &folder));
    // `World::check` looks for the secret.
    let url = format!(
        "{}/models/none?X-Signature=secret-of-the-test",
        world.server.url()
    );
    let (run, _) = convert(&world, &url, &[]);
    run.fails(3, &["/models/none"]);
}

#[test]
fn errors_name_what_is_missing() {
    let world = World::new();
    put(&world, &fixture("tiny_default"), "run");
    for (checkpoint, code, words) in [
        ("s3://models/rum", 3, "s3://models/rum"),
        ("s3://none/run", 1, "NoSuchBucket"),
        ("s3://models/run/model.ckpt-40", 3, "model.ckpt-400"),
        ("s3:///run", 3, "names no bucket"),
        (
            "https://user:secret-of-the-test@127.0.0.1:1/run",
            3,
            "user name or password",
        ),
    ] {
        let (run, files) = convert(&world, checkpoint, &[]);
        run.fails(code, &[words]);
        assert!(files.is_empty());
    }
}

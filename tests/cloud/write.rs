//! Exports into a bucket: what is written, what is refused, what is replaced.

use std::fs;
use std::time::Instant;

use testkit::bucket_server::{Action, Fault, Operation};
use testkit::{fixture, run};

use crate::world::{OUT, World};

#[test]
fn an_export_in_a_bucket_is_that_of_a_disk() {
    let world = World::new();
    let checkpoint = World::large();
    let here = world.folder.path().join("here");
    run!["--model", "discriminator", "--no-verify", checkpoint, here].ok();
    let report = world.convert(&checkpoint, &["--json"]).ok().json();
    world.is_like(&here);
    let files = report["exports"][0]["files"].as_array().unwrap();
    let paths: Vec<_> = files
        .iter()
        .map(|file| file["path"].as_str().unwrap())
        .collect();
    assert_eq!(paths[0], "s3://models/run/out/config.json");
    assert_eq!(paths[5], "s3://models/run/out/model.safetensors");
    assert!(
        world
            .written()
            .last()
            .unwrap()
            .ends_with("/model.safetensors")
    );
    let parts = world.server.seen();
    let parts = parts
        .iter()
        .filter(|seen| seen.operation == Operation::Part);
    assert_eq!(parts.count(), 4);
    // Before the conversion, before the upload, and after the parts.
    let listings = world.server.seen();
    let listings = listings
        .iter()
        .filter(|seen| seen.operation == Operation::List);
    assert_eq!(listings.count(), 3);
    // A slash at the end of a URL means nothing.
    run![
        "--dry-run",
        "--model",
        "discriminator",
        checkpoint,
        "s3://models/run/out/"
    ]
    .ok();
}

#[test]
fn both_models_appear_with_their_weights_last() {
    let world = World::new();
    let here = world.folder.path().join("here");
    let checkpoint = fixture("tiny_default");
    run!["--model", "both", checkpoint, here].ok();
    world
        .run(&[&"--model", &"both", &checkpoint, &"s3://models/run/out/"])
        .ok();
    for model in ["discriminator", "generator"] {
        for file in fs::read_dir(here.join(model)).unwrap() {
            let file = file.unwrap();
            let name = format!("{model}/{}", file.file_name().to_str().unwrap());
            assert!(
                *world.objects()[&name] == fs::read(file.path()).unwrap(),
                "{name}"
            );
        }
    }
    let written = world.written();
    let (small, weights) = written.split_at(written.len() - 2);
    assert!(
        small.iter().all(|key| !key.ends_with(".safetensors")),
        "{small:?}"
    );
    assert!(
        weights.iter().all(|key| key.ends_with(".safetensors")),
        "{weights:?}"
    );
}

#[test]
fn a_model_card_is_uploaded_with_the_export() {
    let world = World::new();
    let checkpoint = fixture("tiny_default");
    world.server.put("models/run/out/README.md", "mine");
    world.convert(&checkpoint, &[]).ok();
    assert_eq!(**world.objects()["README.md"], *b"mine");
    world
        .convert(&checkpoint, &["--force", "--model-card"])
        .ok();
    assert!(world.objects()["README.md"].starts_with(b"---\n"));
}

#[test]
fn a_dry_run_asks_nothing_of_the_bucket() {
    let world = World::new();
    world.convert(&fixture("tiny_default"), &["--dry-run"]).ok();
    assert_eq!(world.server.seen(), []);
}

#[test]
fn files_that_conflict_are_refused_before_anything_is_converted() {
    let checkpoint = fixture("tiny_default");
    for (file, words, options) in [
        (
            "model.safetensors",
            "exists already: choose another",
            &[][..],
        ),
        ("config.json", "exists already: choose another", &[]),
        (
            "README.md",
            "exists already: choose another",
            &["--model-card"],
        ),
        ("vocab.txt", "would be loaded with it", &["--vocab", "none"]),
        ("pytorch_model.bin", "use_safetensors=False", &[]),
        ("adapter_config.json", "the Auto classes", &[]),
    ] {
        let world = World::new();
        world.server.put(&format!("models/run/out/{file}"), "there");
        world.server.put("models/run/outside/config.json", "other");
        let url = format!("{OUT}/{file}");
        world.convert(&checkpoint, options).fails(2, &[&url, words]);
        let seen = world.server.seen();
        assert!(
            seen.iter().all(|seen| seen.operation == Operation::List),
            "{seen:?}"
        );
        assert_eq!(world.server.objects().len(), 2);
    }
}

#[test]
fn force_replaces_an_export_and_nothing_else() {
    let world = World::new();
    let checkpoint = World::large();
    let here = world.folder.path().join("here");
    run![
        "--model",
        "discriminator",
        "--no-verify",
        "--vocab",
        "none",
        checkpoint,
        here
    ]
    .ok();
    for (name, bytes) in [
        ("model.safetensors", "old"),
        ("config.json", "old"),
        ("vocab.txt", "old"),
        ("README.md", "a readme"),
        ("deep/config.json", "another model"),
        ("discriminator/model.safetensors", "old"),
        ("discriminator/config.json", "old"),
        ("generator/model.safetensors", "old"),
        ("generator/README.md", "a readme"),
    ] {
        world.server.put(&format!("models/run/out/{name}"), bytes);
    }
    world
        .convert(&checkpoint, &["--force", "--vocab", "none"])
        .ok();
    let mut objects = world.objects();
    for name in ["README.md", "deep/config.json", "generator/README.md"] {
        assert!(objects.remove(name).is_some(), "{name}");
    }
    assert_eq!(objects.len(), 2, "{:?}", objects.keys());
    for (name, bytes) in objects {
        assert!(*bytes == fs::read(here.join(&name)).unwrap(), "{name}");
    }
    // Again: what is the same is not written again.
    world.server.reset();
    world
        .convert(&checkpoint, &["--force", "--vocab", "none"])
        .ok();
    assert_eq!(world.written(), ["models/run/out/model.safetensors"]);
}

#[test]
fn a_vocabulary_beside_the_checkpoint_is_never_removed() {
    let world = World::new();
    for file in fs::read_dir(fixture("tiny_default")).unwrap() {
        let file = file.unwrap();
        let key = format!("models/run/out/{}", file.file_name().to_str().unwrap());
        world.server.put(&key, fs::read(file.path()).unwrap());
    }
    let before = world.objects();
    world
        .run(&[
            &"--model",
            &"discriminator",
            &"--vocab",
            &"none",
            &"--force",
            &OUT,
            &OUT,
        ])
        .fails(
            2,
            &["s3://models/run/out/vocab.txt", "beside the checkpoint"],
        );
    assert!(world.objects() == before);
}

#[test]
fn credentials_are_needed_before_anything_is_converted() {
    let world = World::new();
    let start = Instant::now();
    let mut command =
        world.command(&[&"--model", &"discriminator", &fixture("tiny_default"), &OUT]);
    command
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY");
    let run = testkit::Run::from(command.output().unwrap());
    world
        .check(run)
        .fails(1, &[OUT, "there are no credentials", "AWS_ACCESS_KEY_ID"]);
    assert!(start.elapsed().as_secs() < 10);
    assert_eq!(world.server.seen(), []);
}

#[test]
fn a_bucket_that_cannot_be_written_is_noticed_before_anything_is_converted() {
    let world = World::new();
    let checkpoint = fixture("tiny_default");
    world
        .run(&[
            &"--model",
            &"discriminator",
            &checkpoint,
            &"s3://nothing/out",
        ])
        .fails(1, &["s3://nothing/out", "NoSuchBucket"]);
    world
        .server
        .add_fault(Fault::every(Operation::List, "", Action::Status(403)));
    world
        .convert(&checkpoint, &[])
        .fails(1, &[OUT, "403", "the credentials must allow"]);
    assert_eq!(world.server.objects().len(), 0);
}

#[test]
fn other_addresses_are_wrong_usage() {
    let world = World::new();
    let checkpoint = fixture("tiny_default");
    for (out, words) in [
        ("https://host/out", "cannot be written to"),
        ("http://host/out", "curl -T"),
        ("hdfs://host/out", "hdfs dfs -put"),
        ("s3://", "names no bucket"),
        ("s3:///out", "names no bucket"),
        ("s3://key:secret@bucket/out", "user name or password"),
    ] {
        let run = world.run(&[&"--model", &"discriminator", &checkpoint, &out]);
        let run = run.fails(2, &["OUT", words]);
        assert!(!run.stderr.contains("key:secret"), "{}", run.stderr);
    }
    assert_eq!(world.server.seen(), []);
}

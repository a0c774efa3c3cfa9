//! Faults while a checkpoint is read from a bucket.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use testkit::bucket_server::{Action, Fault, Operation};
use testkit::fixture;

use crate::read::{convert_to, put, with_slots};
use crate::world::World;

const DATA: &str = ".data-00000-of-00001";
const INDEX: &str = ".index";

#[test]
fn passing_faults_are_survived() {
    for (operation, ending, action, skip, count) in [
        (Operation::List, "", Action::Status(503), 0, 1),
        (Operation::Get, INDEX, Action::Status(500), 0, 2),
        (Operation::Get, INDEX, Action::Truncate, 0, 1),
        (Operation::Get, DATA, Action::Status(503), 1, 8),
        (Operation::Get, DATA, Action::Status(429), 0, 3),
        (Operation::Get, DATA, Action::Drop, 1, 3),
        (Operation::Get, DATA, Action::Truncate, 0, 5),
        (Operation::Head, "", Action::Drop, 0, 2),
    ] {
        let world = World::new();
        let prefix = with_slots(&world);
        put(&world, prefix.parent().unwrap(), "run");
        let fault = Fault::every(operation, ending, action)
            .after(skip)
            .times(count);
        world.server.add_fault(fault);
        let out = world.folder.path().join("out");
        convert_to(&world, "s3://models/run", &out, &[]).ok();
        assert!(
            out.join("model.safetensors").exists(),
            "{operation:?} {action:?}"
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn without_certificate_authorities_the_package_is_named() {
    let folder = testkit::temp();
    let mut command = testkit::command(&[&"inspect", &"https://127.0.0.1:1/model.ckpt-1"]);
    command.env("SSL_CERT_FILE", folder.path().join("none.crt"));
    command.env("SSL_CERT_DIR", folder.path());
    let run = testkit::Run::from(command.output().unwrap());
    run.fails(
        1,
        &["No CA certificates", "ca-certificates", "SSL_CERT_FILE"],
    );
}

#[test]
fn lasting_faults_are_errors_that_leave_nothing() {
    for (operation, ending, action, code, words) in [
        (Operation::Get, DATA, Action::Status(403), 1, "403"),
        (Operation::Get, DATA, Action::Status(404), 3, "missing"),
        (Operation::Get, INDEX, Action::Status(400), 1, "400"),
        (
            Operation::List,
            "",
            Action::Status(403),
            1,
            "cannot be listed",
        ),
    ] {
        let world = World::new();
        put(&world, &fixture("tiny_default"), "run");
        world.server.remove("models/run/checkpoint");
        world
            .server
            .add_fault(Fault::every(operation, ending, action));
        let out = world.folder.path().join("out");
        convert_to(&world, "s3://models/run", &out, &[]).fails(code, &[words]);
        assert!(!out.exists(), "{operation:?} {action:?}");
    }
}

#[test]
fn whole_files_that_always_break_off_end_in_an_error() {
    let world = World::new();
    put(&world, &fixture("tiny_default"), "run");
    let fault = Fault::every(Operation::Get, DATA, Action::TruncateWhole);
    world.server.add_fault(fault);
    let out = world.folder.path().join("out");
    let url = format!("{}/models/run/model.ckpt-400", world.server.url());
    convert_to(&world, &url, &out, &[]).fails(1, &["the transfer of the whole file broke off"]);
    assert!(!out.exists());
}

#[test]
fn a_replaced_file_is_never_mixed() {
    let world = World::new();
    let prefix = with_slots(&world);
    let folder = prefix.parent().unwrap();
    put(&world, folder, "run");
    world.server.set_latency(Duration::from_millis(30));
    let data = fs::read(format!("{}{DATA}", prefix.display())).unwrap();
    let out = world.folder.path().join("out");
    let run = thread::scope(|scope| {
        scope.spawn(|| {
            // The first answers have come.
            world.server.wait_for(Operation::Get, DATA, 20);
            world
                .server
                .put(&format!("models/run/model.ckpt-7{DATA}"), data);
        });
        convert_to(&world, "s3://models/run", &out, &[])
    });
    // The same bytes, but another version: nothing else shows that they are the same.
    assert_ne!(run.code, Some(0), "{}", run.stdout);
    assert!(
        run.stderr.contains("changed") || run.stderr.contains("replaced"),
        "{}",
        run.stderr
    );
    assert!(!out.exists());
}

#[test]
fn without_credentials_public_files_are_read() {
    let world = World::new();
    put(&world, &fixture("tiny_default"), "run");
    let out = world.folder.path().join("out");
    let unsigned = |checkpoint: &str| {
        let mut command = world.command(&[
            &"--model",
            &"discriminator",
            &"--no-verify",
            &checkpoint,
            &out,
        ]);
        command
            .env_remove("AWS_ACCESS_KEY_ID")
            .env_remove("AWS_SECRET_ACCESS_KEY");
        world.check(testkit::Run::from(command.output().unwrap()))
    };
    unsigned("s3://models/run/model.ckpt-400").ok();
    fs::remove_dir_all(&out).unwrap();
    let words = [
        "no credentials",
        "AWS_ACCESS_KEY_ID",
        "prefix",
        "AWS_SKIP_SIGNATURE",
    ];
    unsigned("s3://models/run").fails(1, &words);
    for file in testkit::listing(&fixture("tiny_default")) {
        let bytes = fs::read(fixture("tiny_default").join(&file)).unwrap();
        world.server.put(&format!("models/{file}"), bytes);
    }
    unsigned("s3://models").fails(1, &words);
    unsigned("s3://models/model.ckpt-400").ok();
    fs::remove_dir_all(&out).unwrap();
    world.server.remove("models/run/checkpoint");
    unsigned("s3://models/run").fails(1, &words);
    world.server.refuse_unsigned();
    let start = Instant::now();
    unsigned("s3://models/run/model.ckpt-400").fails(1, &["no credentials"]);
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(!out.exists());
}

#[test]
fn what_is_gone_is_not_there() {
    let world = World::new();
    put(&world, &fixture("tiny_default"), "run");
    let fault = Fault::every(Operation::Head, ".meta", Action::Status(410));
    world.server.add_fault(fault);
    let out = world.folder.path().join("out");
    let url = format!("{}/models/run/model.ckpt-400", world.server.url());
    convert_to(&world, &url, &out, &[]).ok();
}

#[test]
fn an_address_where_nobody_answers_is_an_error() {
    let world = World::new();
    let out = world.folder.path().join("out");
    let mut command = world.command(&[&"--model", &"discriminator", &"s3://models/run", &out]);
    command.env("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
    let run = world.check(testkit::Run::from(command.output().unwrap()));
    run.fails(1, &["s3://models/run", "refused"]);
}

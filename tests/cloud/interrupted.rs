//! Signals while an export is uploaded, and while a batch opens a checkpoint.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use testkit::bucket_server::{Action, Fault, Operation};
use testkit::{Run, fixture, send_signal};

use crate::read::put;
use crate::world::{OUT, World};

/// Generous, because tests run beside each other without optimisation.
const SOON: Duration = Duration::from_secs(3);

fn start(world: &World, options: &[&str]) -> Child {
    let checkpoint = World::large();
    let mut args: Vec<&dyn AsRef<std::ffi::OsStr>> =
        vec![&"--model", &"discriminator", &"--no-verify"];
    args.extend(
        options
            .iter()
            .map(|option| option as &dyn AsRef<std::ffi::OsStr>),
    );
    args.extend([&checkpoint as &dyn AsRef<std::ffi::OsStr>, &OUT]);
    let mut command = world.command(&args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

#[test]
fn a_signal_leaves_the_bucket_as_it_was() {
    use Operation::{Create, Get, Head, List, Part, Put};
    for (operation, ending, count) in [
        (List, "", 1),
        (List, "", 2),
        (Create, "", 1),
        (Part, "", 1),
        (Part, "", 3),
        (List, "", 3),
        (Put, "", 1),
        (Put, "", 4),
        (Get, "vocab.txt", 1),
        (Head, "model.safetensors", 1),
    ] {
        for force in [&[][..], &["--force"]] {
            let world = World::new();
            world.server.put("models/run/out/README.md", "a readme");
            if !force.is_empty() {
                for file in ["model.safetensors", "config.json"] {
                    world.server.put(&format!("models/run/out/{file}"), "old");
                }
            }
            let before = world.server.objects();
            world.server.set_latency(Duration::from_millis(120));
            let child = start(&world, force);
            if operation == Head && !force.is_empty() {
                // The earlier weights are not looked for.
                world.server.wait_for(Get, "vocab.txt", 1);
            } else {
                world.server.wait_for(operation, ending, count);
            }
            let started = Instant::now();
            send_signal(&child, "INT");
            let output = child.wait_with_output().unwrap();
            let what = format!("{operation:?} {ending} {count} {force:?}");
            assert_eq!(output.status.signal(), Some(2), "{what}: {output:?}");
            assert!(started.elapsed() < SOON, "{what}: {:?}", started.elapsed());
            world.check(Run::from(output));
            assert!(world.server.objects() == before, "{what}");
            assert_eq!(world.server.open_uploads(), 0, "{what}");
        }
    }
}

#[test]
fn a_signal_ends_a_batch_that_opens_a_checkpoint() {
    let out = "out";
    let batch = |world: &World| {
        let out = world.folder.path().join(out);
        let args: [&dyn AsRef<std::ffi::OsStr>; 6] = [
            &"batch",
            &"--no-verify",
            &"--model",
            &"discriminator",
            &"s3://models/runs",
            &out,
        ];
        let mut command = world.command(&args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let new_world = || {
        let world = World::new();
        for run in ["a", "b"] {
            put(&world, &fixture("tiny_default"), &format!("runs/{run}"));
        }
        world
    };
    // Every index is read as often by the plan as by the conversion, which reads the second half.
    let world = new_world();
    assert!(batch(&world).wait().unwrap().success());
    let seen = world.server.seen().into_iter();
    let reads = seen.filter(|seen| {
        seen.operation == Operation::Get && seen.key.ends_with("model.ckpt-400.index")
    });
    let reads = reads.count();

    for before in [0, reads / 2] {
        let world = new_world();
        let slow = Action::Delay(Duration::from_secs(10));
        let fault = Fault::every(Operation::Get, ".index", slow).after(before);
        world.server.add_fault(fault);
        let child = batch(&world);
        world.server.wait_for(Operation::Get, ".index", before + 1);
        let started = Instant::now();
        send_signal(&child, "INT");
        let output = child.wait_with_output().unwrap();
        assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
        assert_eq!(output.status.signal(), Some(2), "{output:?}");
        let out = world.folder.path().join(out);
        // Nothing is written before all is planned.
        assert_eq!(out.exists(), before > 0);
        if before > 0 {
            assert_eq!(testkit::read_json(&out.join("batch.json"))["not_run"], 2);
        }
    }
}

#[test]
fn a_signal_while_an_upload_completes_ends_with_all_or_nothing() {
    for delay in [50, 600] {
        let world = World::new();
        world.server.add_fault(Fault::every(
            Operation::Complete,
            "",
            Action::Delay(Duration::from_millis(delay)),
        ));
        let child = start(&world, &[]);
        world.server.wait_for(Operation::Complete, "", 1);
        send_signal(&child, "INT");
        let output = child.wait_with_output().unwrap();
        let expected = if output.status.success() { 6 } else { 0 };
        world.check(Run::from(output));
        assert_eq!(world.objects().len(), expected);
        assert_eq!(world.server.open_uploads(), 0);
    }
}

#[test]
fn what_cannot_be_cleaned_up_is_named() {
    let world = World::new();
    world
        .server
        .add_fault(Fault::every(Operation::Abort, "", Action::Status(403)));
    world.server.set_latency(Duration::from_millis(100));
    let child = start(&world, &[]);
    world.server.wait_for(Operation::Part, "", 2);
    let started = Instant::now();
    send_signal(&child, "INT");
    let run = Run::from(child.wait_with_output().unwrap());
    assert!(started.elapsed() < 3 * SOON, "{:?}", started.elapsed());
    let upload = format!("the multipart upload of {OUT}/model.safetensors (abort it");
    world
        .check(run)
        .fails(1, &["interrupted", "could not be taken back", &upload]);
}

#[test]
fn the_bar_names_the_upload() {
    let world = World::new();
    world.server.set_latency(Duration::from_millis(100));
    let checkpoint = World::large();
    let command = format!(
        "{} --model discriminator --no-verify {} {OUT}",
        testkit::program(),
        checkpoint.display()
    );
    // `script` gives the program a terminal.
    let mut script = Command::new("script");
    script.args(["-qec", &command, "/dev/null"]);
    script.envs(world.server.environment()).stdin(Stdio::null());
    let Ok(output) = script.output() else {
        eprintln!("there is no `script` to make a terminal");
        return;
    };
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && shown.contains("uploading"),
        "{shown}"
    );
}

#[test]
fn a_killed_process_leaves_no_weights() {
    let world = World::new();
    world.server.set_latency(Duration::from_millis(100));
    let mut child = start(&world, &[]);
    world.server.wait_for(Operation::Put, "", 2);
    child.kill().unwrap();
    child.wait().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(!world.objects().contains_key("model.safetensors"));
}

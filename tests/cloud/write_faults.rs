//! Faults while an export is uploaded: either it is complete, or everything is as it was.

use std::thread;
use std::time::Duration;

use testkit::bucket_server::{Action, Fault, Operation};
use testkit::{fixture, run};

use crate::world::{OUT, World};

#[test]
fn faults_that_pass_are_passed_over() {
    use Action::{Drop, ErrorBody, LoseAnswer, Status};
    use Operation::{Complete, Create, Get, Head, List, Part, Put};
    let world = World::new();
    let checkpoint = World::large();
    let here = world.folder.path().join("here");
    run!["--model", "discriminator", "--no-verify", checkpoint, here].ok();
    for (operation, ending, action) in [
        (List, "", Status(503)),
        (Put, "vocab.txt", Status(503)),
        (Put, "vocab.txt", Drop),
        (Put, "vocab.txt", LoseAnswer),
        (Get, "vocab.txt", Drop),
        (Get, "vocab.txt", Action::Truncate),
        (Part, "", Status(503)),
        (Part, "", Drop),
        (Part, "", LoseAnswer),
        (Create, "", Status(503)),
        (Complete, "", Status(503)),
        (Complete, "", ErrorBody),
        (Complete, "", LoseAnswer),
        (Head, "", Status(503)),
    ] {
        let world = World::new();
        world
            .server
            .add_fault(Fault::every(operation, ending, action).times(1));
        world.convert(&checkpoint, &[]).ok();
        world.is_like(&here);
    }
}

#[test]
fn weights_that_are_sent_whole_may_lose_their_answer() {
    let world = World::new();
    let lost = Fault::every(Operation::Put, "model.safetensors", Action::LoseAnswer);
    world.server.add_fault(lost.times(1));
    world.convert(&fixture("tiny_default"), &[]).ok();
    assert_eq!(world.objects().len(), 6);
}

#[test]
fn a_failure_of_any_step_leaves_the_bucket_as_it_was() {
    use Operation::{Complete, Create, Delete, Get, Head, Part, Put};
    let checkpoint = World::large();
    for (operation, ending, skip) in [
        (Create, "/model.safetensors", 0),
        (Part, "/model.safetensors", 0),
        (Part, "/model.safetensors", 2),
        (Put, "/config.json", 0),
        (Put, "/tokenizer.json", 0),
        (Get, "/tokenizer.json", 0),
        (Get, "/tokenizer.json", 1),
        (Complete, "/model.safetensors", 0),
    ] {
        for force in [&[][..], &["--force"]] {
            let world = World::new();
            world.server.put("models/run/out/README.md", "a readme");
            if !force.is_empty() {
                for file in ["model.safetensors", "config.json", "tokenizer.json"] {
                    world.server.put(&format!("models/run/out/{file}"), "old");
                }
            }
            let before = world.server.objects();
            world.server.add_fault(
                Fault::every(operation, ending, Action::Status(403))
                    .after(skip)
                    .times(1),
            );
            // Cleaning up is repeated.
            for (operation, action) in [(Delete, 503), (Operation::Abort, 500), (Head, 503)] {
                world
                    .server
                    .add_fault(Fault::every(operation, "", Action::Status(action)).times(2));
            }
            let verb = if operation == Get { "read" } else { "write" };
            let was_met = operation != Get || !force.is_empty() || skip == 0;
            if !was_met {
                continue;
            }
            world.convert(&checkpoint, force).fails(
                1,
                &[
                    &format!("cannot {verb} {OUT}{ending}"),
                    "403",
                    "credentials must allow",
                ],
            );
            assert!(
                world.server.objects() == before,
                "{operation:?} {ending} {force:?}"
            );
            assert_eq!(
                world.server.open_uploads(),
                0,
                "{operation:?} {ending} {force:?}"
            );
        }
    }
}

#[test]
fn weights_are_read_again_where_the_store_verifies_no_checksum() {
    let (small, large) = (fixture("tiny_default"), World::large());
    for (operation, checkpoint) in [(Operation::Put, &small), (Operation::Part, &large)] {
        let world = World::new();
        let convert = || world.convert_unsigned_payload(checkpoint);
        world
            .server
            .add_fault(Fault::every(operation, "/model.safetensors", Action::Damage).times(1));
        convert().fails(
            1,
            &[
                &format!("cannot write {OUT}/model.safetensors"),
                "differs from the file after the upload, first at byte ",
            ],
        );
        assert_eq!(world.server.objects().len(), 0, "{operation:?}");
        convert().ok();
        assert_eq!(world.objects().len(), 6);
    }
}

#[test]
fn faults_while_weights_are_read_again_are_passed_over_or_taken_back() {
    let checkpoint = World::large();
    for (action, fails) in [
        (Action::Status(503), None),
        (Action::Drop, None),
        (Action::Truncate, None),
        (Action::Status(403), Some("403")),
    ] {
        let world = World::new();
        let fault = Fault::every(Operation::Get, "/model.safetensors", action);
        world.server.add_fault(fault.times(1));
        let run = world.convert_unsigned_payload(&checkpoint);
        match fails {
            None => {
                run.ok();
                assert_eq!(world.objects().len(), 6, "{action:?}");
            }
            Some(words) => {
                run.fails(1, &["model.safetensors", words]);
                assert_eq!(world.server.objects().len(), 0, "{action:?}");
            }
        }
        assert_eq!(world.server.open_uploads(), 0, "{action:?}");
    }
}

#[test]
fn a_store_without_metadata_is_written_and_cleaned_up_too() {
    let world = World::new();
    world.server.drop_metadata();
    let checkpoint = World::large();
    let fault = Fault::every(Operation::Complete, "", Action::Status(403));
    world.server.add_fault(fault);
    world.convert(&checkpoint, &[]).fails(1, &["403"]);
    assert_eq!(world.server.objects().len(), 0);
    world.server.reset();
    world.convert(&checkpoint, &[]).ok();
    world.convert(&fixture("tiny_default"), &["--force"]).ok();
    assert_eq!(world.objects().len(), 6);
}

#[test]
fn two_models_appear_together_or_not_at_all() {
    let checkpoint = fixture("tiny_default");
    let args = |force: bool| {
        let mut args: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"--model", &"both", &"--no-verify"];
        if force {
            args.push(&"--force");
        }
        args
    };
    let world = World::new();
    let fault = || {
        Fault::every(
            Operation::Put,
            "generator/model.safetensors",
            Action::Status(403),
        )
    };
    world.server.add_fault(fault());
    let mut command = args(false);
    command.extend([&checkpoint as &dyn AsRef<std::ffi::OsStr>, &OUT]);
    world
        .run(&command)
        .fails(1, &["generator/model.safetensors"]);
    assert_eq!(world.server.objects().len(), 0);

    // With --force the first is the new one, the second the earlier one.
    for model in ["discriminator", "generator"] {
        for file in ["model.safetensors", "config.json"] {
            world
                .server
                .put(&format!("models/run/out/{model}/{file}"), "old");
        }
    }
    let mut command = args(true);
    command.extend([&checkpoint as &dyn AsRef<std::ffi::OsStr>, &OUT]);
    world.run(&command).fails(
        1,
        &[
            "generator/model.safetensors: the server answered 403",
            "discriminator/model.safetensors (the new weights",
        ],
    );
    let objects = world.objects();
    assert_eq!(objects.len(), 8, "{:?}", objects.keys());
    assert_eq!(*objects["generator/config.json"], b"old");
    assert_eq!(*objects["generator/model.safetensors"], b"old");
    assert!(objects["discriminator/config.json"].len() > 3);
    assert!(objects["discriminator/model.safetensors"].len() > 3);
}

#[test]
fn an_object_that_another_program_writes_meanwhile_stays() {
    for file in ["model.safetensors", "config.json", "tokenizer.json"] {
        let world = World::new();
        let checkpoint = World::large();
        world.server.set_latency(Duration::from_millis(50));
        let run = thread::scope(|scope| {
            let run = scope.spawn(|| world.convert(&checkpoint, &[]));
            world
                .server
                .wait_for(Operation::Part, "model.safetensors", 2);
            world
                .server
                .put(&format!("models/run/out/{file}"), "of another program");
            run.join().unwrap()
        });
        run.fails(2, &[&format!("{OUT}/{file} exists already")]);
        let objects = world.objects();
        assert_eq!(objects.len(), 1, "{:?}", objects.keys());
        assert_eq!(**objects[file], *b"of another program");
        assert_eq!(world.server.open_uploads(), 0);
    }
}

#[test]
fn two_conversions_into_one_directory_make_one_export() {
    let world = World::new();
    let checkpoint = fixture("tiny_default");
    world.server.set_latency(Duration::from_millis(30));
    let runs: Vec<_> = thread::scope(|scope| {
        let run = || {
            let args: &[&dyn AsRef<std::ffi::OsStr>] = &[
                &"--model",
                &"discriminator",
                &"--no-verify",
                &checkpoint,
                &OUT,
            ];
            testkit::Run::from(world.command(args).output().unwrap())
        };
        let running: Vec<_> = (0..3).map(|_| scope.spawn(run)).collect();
        running.into_iter().map(|run| run.join().unwrap()).collect()
    });
    let won = runs.iter().filter(|run| run.code == Some(0)).count();
    assert!(won <= 1, "{won} of three");
    for run in runs.into_iter().filter(|run| run.code != Some(0)) {
        run.fails(2, &["exists already"]);
    }
    let objects = world.objects();
    assert!(objects.len() == 6 * won, "{:?}", objects.keys());
}

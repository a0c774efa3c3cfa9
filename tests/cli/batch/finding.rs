//! Which checkpoints are found, and under which names.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use testkit::bundle_writer::SMALL;
use testkit::{copy_of, fixture, listing, read_json, run, temp};

use super::{assert_exports, checkpoint, documents, statuses, write_run, write_runs};

/// Writes an archive of a directory, beside it.
fn archive_of(folder: &Path) -> PathBuf {
    let path = folder.with_file_name("run.tar");
    let mut tar = tar::Builder::new(fs::File::create(&path).unwrap());
    tar.append_dir_all("a", folder).unwrap();
    tar.finish().unwrap();
    path
}

#[test]
fn every_step_of_every_run_is_converted() {
    let folder = temp();
    let runs = write_runs(folder.path());
    let out = folder.path().join("out");
    let run = run!["batch", "--model", "discriminator", runs, out].ok();
    let names = [
        "a-100-discriminator",
        "a-200-discriminator",
        "group-b-100-discriminator",
    ];
    assert_exports(&out, &names);
    run.stdout_has(&["converted  a-100-discriminator", "3 converted"]);
    let summary = read_json(&out.join("batch.json"));
    assert_eq!(summary["converted"], 3);
    assert_eq!(summary["jobs"][1]["step"], 200);

    // The same files as those of single conversions, but for the record.
    let single = folder.path().join("single");
    run![
        "--model",
        "discriminator",
        runs.join("a/model.ckpt-100"),
        single
    ]
    .ok();
    for file in ["config.json", "model.safetensors"] {
        let [one, other] =
            [&single, &out.join(names[0])].map(|folder| fs::read(folder.join(file)).unwrap());
        assert_eq!(one, other, "{file}");
    }
}

#[test]
fn a_run_and_a_checkpoint_are_sources_too() {
    let folder = temp();
    let runs = write_runs(folder.path());
    let out = folder.path().join("out");
    let one = runs.join("a/model.ckpt-200.index");
    run![
        "batch",
        "--model",
        "discriminator",
        runs.join("group/b"),
        one,
        out
    ]
    .ok();
    assert_exports(&out, &["a-200-discriminator", "b-100-discriminator"]);
    // The working directory has a name.
    let out = folder.path().join("here");
    let mut command = testkit::command(&[&"batch", &"--model", &"discriminator", &".", &out]);
    let run = testkit::Run::from(command.current_dir(runs.join("a")).output().unwrap());
    run.ok();
    assert_exports(&out, &["a-100-discriminator", "a-200-discriminator"]);
}

#[test]
fn steps_are_selected() {
    let folder = temp();
    let run_folder = folder.path().join("a");
    write_run(&run_folder, &[100, 150, 200, 300]);
    checkpoint(SMALL, 7).write(&run_folder.join("best"));
    let out = folder.path().join("out");
    let run = run![
        "batch",
        "--model",
        "discriminator",
        "--steps",
        "100..300:100",
        run_folder,
        out
    ]
    .ok();
    let names = [
        "a-100-discriminator",
        "a-200-discriminator",
        "a-300-discriminator",
    ];
    assert_exports(&out, &names);
    assert!(
        run.stderr.contains("leaves out 1 of the checkpoints"),
        "{}",
        run.stderr
    );
    run![
        "batch",
        "--model",
        "discriminator",
        "--steps",
        "100,250",
        run_folder,
        out
    ]
    .fails(
        2,
        &[
            "there is no step 250 in",
            "the steps found: 100, 150, 200, 300",
        ],
    );
    run![
        "batch",
        "--model",
        "discriminator",
        "--steps",
        "400..",
        run_folder,
        out
    ]
    .fails(2, &["has a step of --steps"]);
    run![
        "batch",
        "--model",
        "discriminator",
        "--steps",
        "x",
        run_folder,
        out
    ]
    .fails(2, &["--steps", "expected steps"]);
}

#[test]
fn what_an_unfinished_save_or_copy_leaves_is_no_checkpoint() {
    let folder = temp();
    let [source, out] = ["a", "out"].map(|name| folder.path().join(name));
    write_run(&source, &[100]);
    let index = fs::read(source.join("model.ckpt-100.index")).unwrap();
    for name in [
        ".model.ckpt-300.index.Xa12",
        ".model.ckpt-300.index",
        "model.ckpt-300.index.part",
        "model.ckpt-300.data-00000-of-00001.tempstate123",
        "model.ckpt-300.meta.tmp",
    ] {
        fs::write(source.join(name), &index).unwrap();
    }
    for name in ["model.ckpt-200_temp_0123abcd", "ckpt-3_temp"] {
        let saved = source.join(name);
        fs::create_dir(&saved).unwrap();
        checkpoint(SMALL, 200).write(&saved.join("part-00000-of-00001"));
    }
    // On S3, TensorFlow writes them beside the checkpoint.
    for shard in ["00000", "00001"] {
        let name = format!("model.ckpt-200.part-{shard}-of-00002");
        checkpoint(SMALL, 200).write(&source.join(name));
    }
    // The data file comes first.
    fs::remove_file(source.join("model.ckpt-200.part-00001-of-00002.index")).unwrap();
    run!["batch", "--model", "discriminator", source, out].ok();
    assert_exports(&out, &["a-100-discriminator"]);

    // The directory and an archive of it name one checkpoint too.
    let archive = archive_of(&source);
    let archived = folder.path().join("archived");
    run!["batch", "--model", "discriminator", &archive, archived].ok();
    for (number, path) in [source, archive].into_iter().enumerate() {
        let out = folder.path().join(number.to_string());
        run!["--model", "discriminator", path, out].ok();
    }

    // Runs with such names are runs.
    for name in ["low_temp", "electra_temp_05"] {
        let [source, out] = ["runs", name].map(|name| folder.path().join(name));
        write_run(&source.join(name), &[100]);
        run!["batch", "--model", "discriminator", source, out].ok();
        assert_exports(&out, &[&format!("{name}-100-discriminator")]);
        fs::remove_dir_all(&source).unwrap();
    }
}

#[test]
fn a_checkpoint_that_is_found_twice_is_an_error() {
    let folder = temp();
    let runs = write_runs(folder.path());
    let out = folder.path().join("out");
    let again = runs.join("a");
    run![
        "batch",
        "--model",
        "discriminator",
        "--name-template",
        "{step}",
        again,
        again,
        out
    ]
    .fails(2, &["model.ckpt-100 is given twice for the output 100"]);
}

#[test]
fn a_checkpoint_without_a_step_has_its_own_name() {
    let folder = temp();
    let run_folder = folder.path().join("a");
    fs::create_dir(&run_folder).unwrap();
    checkpoint(SMALL, 7).write(&run_folder.join("best"));
    let out = folder.path().join("out");
    run!["batch", "--model", "discriminator", run_folder, out].ok();
    assert_exports(&out, &["a-best-discriminator"]);
}

#[test]
fn the_template_makes_names() {
    let folder = temp();
    let runs = write_runs(folder.path());
    let out = folder.path().join("out");
    let template = "{run}/step-{step}/{checkpoint}";
    run![
        "batch",
        "--model",
        "discriminator",
        "--name-template",
        template,
        runs,
        out
    ]
    .ok();
    assert_eq!(listing(&out), ["a", "batch.json", "group-b"]);
    assert!(
        out.join("a/step-200/model.ckpt-200/model.safetensors")
            .exists()
    );
    run![
        "batch",
        "--model",
        "discriminator",
        "--name-template",
        "{size}",
        runs,
        out
    ]
    .fails(2, &["--name-template", "there is no field {size}", "{run}"]);
}

#[test]
fn other_formats_are_found() {
    let folder = temp();
    let runs = folder.path().join("runs");
    for name in [
        "fmt_v1",
        "fmt_v1_sharded",
        "fmt_partitioned",
        "h5_pre_training",
    ] {
        fs::create_dir_all(runs.join(name)).unwrap();
        for file in listing(&fixture(name)) {
            fs::copy(fixture(name).join(&file), runs.join(name).join(&file)).unwrap();
        }
    }
    let out = folder.path().join("out");
    let options = ["batch", "--json", "--model", "discriminator"];
    let first = run![options[0], options[1], options[2], options[3], runs, out].ok();
    assert_eq!(statuses(&first).len(), 4);
    let again = run![options[0], options[1], options[2], options[3], runs, out].ok();
    assert!(statuses(&again).values().all(|status| status == "skipped"));
    // A byte of the values of V1, whose table has no checksums of them in its index.
    let path = runs.join("fmt_v1/model.ckpt-400");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    let changed = run![options[0], options[1], options[2], options[3], runs, out];
    assert_eq!(statuses(&changed)["fmt_v1-400-discriminator"], "failed");
    changed
        .fails(2, &[])
        .stdout_has(&["does not match: its input checkpoint is"]);
}

#[test]
fn an_archive_of_several_steps_is_a_run() {
    let folder = temp();
    let runs = folder.path().join("runs");
    write_run(&runs, &[100, 200]);
    let archive = archive_of(&runs);
    let out = folder.path().join("out");
    run!["batch", "--model", "discriminator", archive, out].ok();
    assert_exports(&out, &["a-100-discriminator", "a-200-discriminator"]);
}

#[test]
fn a_checkpoint_without_its_index_or_data_is_a_failure_that_names_it() {
    let folder = temp();
    let runs = write_runs(folder.path());
    fs::remove_file(runs.join("a/model.ckpt-100.index")).unwrap();
    fs::remove_file(runs.join("group/b/model.ckpt-100.data-00000-of-00001")).unwrap();
    let out = folder.path().join("out");
    let run = run!["batch", "--json", "--model", "discriminator", runs, out];
    let found = statuses(&run);
    assert_eq!(found["a-200-discriminator"], "converted");
    assert_eq!(found["a-100-discriminator"], "failed");
    assert_eq!(found["group-b-100-discriminator"], "failed");
    assert_exports(&out, &["a-200-discriminator"]);
    run.fails(3, &["2 conversions failed"]);
    let jobs = read_json(&out.join("batch.json"));
    let error = |at: usize| jobs["jobs"][at]["error"].as_str().unwrap().to_owned();
    assert!(
        error(1).contains("model.ckpt-100.index is not"),
        "{}",
        error(1)
    );
    assert!(
        error(2).contains("model.ckpt-100.data-00000-of-00001"),
        "{}",
        error(2)
    );
}

#[test]
fn links_to_directories_are_followed_once() {
    let folder = temp();
    let runs = write_runs(folder.path());
    let elsewhere = folder.path().join("elsewhere");
    write_run(&elsewhere, &[5]);
    symlink(&runs, runs.join("a/loop")).unwrap();
    symlink(runs.join("a"), runs.join("latest")).unwrap();
    symlink(&elsewhere, runs.join("linked")).unwrap();
    symlink(&runs, elsewhere.join("back")).unwrap();
    symlink("nowhere", runs.join("dangling")).unwrap();
    let out = folder.path().join("out");
    let run = run![
        "batch",
        "--json",
        "--dry-run",
        "--model",
        "discriminator",
        runs,
        out
    ]
    .ok();
    let document = run.json();
    let jobs = document["jobs"].as_array().unwrap();
    let names: Vec<&str> = jobs
        .iter()
        .map(|job| job["name"].as_str().unwrap())
        .collect();
    let expected = [
        "a-100-discriminator",
        "a-200-discriminator",
        "group-b-100-discriminator",
        "linked-5-discriminator",
    ];
    assert_eq!(names, expected);
    assert!(!out.exists());
    // A link that leads to itself cannot be followed.
    symlink("itself", runs.join("itself")).unwrap();
    run!["batch", "--model", "discriminator", runs, out].fails(1, &["runs/itself"]);
    assert!(!out.exists());
}

#[test]
fn a_directory_that_cannot_be_read_is_an_error() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = temp();
    let runs = write_runs(folder.path());
    let closed = runs.join("group");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let is_open = fs::read_dir(&closed).is_ok();
    let out = folder.path().join("out");
    let run = run!["batch", "--model", "discriminator", runs, out];
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
    if is_open {
        eprintln!("root reads every directory");
        return;
    }
    run.fails(1, &["runs/group"]);
    assert!(!out.exists());
}

#[test]
fn a_place_without_checkpoints_is_an_error() {
    let folder = temp();
    let out = folder.path().join("out");
    run!["batch", "--model", "discriminator", folder.path(), out].fails(3, &["no checkpoint at"]);
    let absent = folder.path().join("absent");
    run!["batch", "--model", "discriminator", absent, out].fails(3, &["absent"]);
    let deep = (0..30).fold(folder.path().to_owned(), |path, at| {
        path.join(at.to_string())
    });
    fs::create_dir_all(deep).unwrap();
    run!["batch", "--model", "discriminator", folder.path(), out]
        .fails(3, &["more than 16 directories deep"]);
    assert!(!out.exists());
}

#[test]
fn a_real_checkpoint_is_exported_with_its_tokenizer_and_compared_with_its_graph() {
    let folder = copy_of("trained");
    let out = temp();
    let run = run![
        "batch",
        "--json",
        "--model",
        "both",
        folder.path(),
        out.path()
    ]
    .ok();
    let documents = documents(&run);
    let exports = documents[0]["conversion"]["exports"].as_array().unwrap();
    assert_eq!(exports.len(), 2);
    for export in exports {
        let outputs = export["verification"]["graph"]["outputs"]
            .as_array()
            .unwrap();
        assert!(!outputs.is_empty());
    }
    let name = documents[0]["name"].as_str().unwrap();
    for model in ["discriminator", "generator"] {
        let files = listing(&out.path().join(name).join(model));
        assert!(files.contains(&"tokenizer.json".to_owned()));
        assert!(files.contains(&"conversion.json".to_owned()));
    }
    let again = run![
        "batch",
        "--json",
        "--model",
        "both",
        folder.path(),
        out.path()
    ]
    .ok();
    assert_eq!(statuses(&again)[name], "skipped");
}

#[test]
fn a_hundred_thousand_steps_are_listed_and_selected() {
    let folder = temp();
    let source = folder.path().join("a");
    write_run(&source, &[5]);
    for step in 10..100_010 {
        fs::write(source.join(format!("model.ckpt-{step}.index")), "").unwrap();
    }
    let out = folder.path().join("out");
    let start = std::time::Instant::now();
    run![
        "batch",
        "--model",
        "discriminator",
        "--steps",
        "..5",
        source,
        out
    ]
    .ok();
    // A second, when nothing else runs.
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
    assert_exports(&out, &["a-5-discriminator"]);
}

#[test]
fn a_link_to_a_directory_above_is_not_followed() {
    let folder = temp();
    let runs = write_runs(folder.path());
    write_run(&folder.path().join("other"), &[100]);
    symlink("..", runs.join("Above")).unwrap();
    let out = folder.path().join("out");
    run!["batch", "--model", "discriminator", runs, out].ok();
    let names = [
        "a-100-discriminator",
        "a-200-discriminator",
        "group-b-100-discriminator",
    ];
    assert_exports(&out, &names);
}

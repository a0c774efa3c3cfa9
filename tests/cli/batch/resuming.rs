//! Finished exports are recognised by their record; others are not replaced.

use std::fs;
use std::path::Path;

use testkit::bundle_writer::SMALL;
use testkit::{Run, copy_of, read_json, run, temp};

use super::{assert_exports, checkpoint, statuses, write_run};

const NAME: &str = "a-100-discriminator";

fn batch(options: &[&str], source: &Path, out: &Path) -> Run {
    let mut command = testkit::command(&[&"batch", &"--json", &"--model", &"discriminator"]);
    Run::from(command.args(options).args([source, out]).output().unwrap())
}

#[test]
fn a_finished_export_is_skipped_and_stays_as_it_is() {
    let folder = temp();
    let [source, out] = ["a", "out"].map(|name| folder.path().join(name));
    write_run(&source, &[100, 200]);
    batch(&["--steps", "100"], &source, &out).ok();
    let weights = out.join(NAME).join("model.safetensors");
    let before = fs::metadata(&weights).unwrap().modified().unwrap();
    let again = batch(&[], &source, &out).ok();
    assert_eq!(statuses(&again)[NAME], "skipped");
    assert_eq!(statuses(&again)["a-200-discriminator"], "converted");
    // Not even with --force.
    let forced = batch(&["--force"], &source, &out).ok();
    assert!(statuses(&forced).values().all(|status| status == "skipped"));
    assert_eq!(fs::metadata(&weights).unwrap().modified().unwrap(), before);
    let redone = batch(&["--redo"], &source, &out).ok();
    assert!(
        statuses(&redone)
            .values()
            .all(|status| status == "converted")
    );
    assert_ne!(fs::metadata(&weights).unwrap().modified().unwrap(), before);
    // A record has no time and no path: the same inputs give the same bytes.
    let elsewhere = folder.path().join("elsewhere");
    batch(&[], &source, &elsewhere).ok();
    for file in super::FILES {
        let [one, other] =
            [&out, &elsewhere].map(|out| fs::read(out.join(NAME).join(file)).unwrap());
        assert_eq!(one, other, "{file}");
    }
}

#[test]
fn the_model_card_may_be_edited() {
    let folder = temp();
    let [source, out] = ["a", "out"].map(|name| folder.path().join(name));
    write_run(&source, &[100]);
    let card = out.join(NAME).join("README.md");
    for status in ["converted", "skipped"] {
        let run = batch(&["--model-card"], &source, &out).ok();
        assert_eq!(statuses(&run)[NAME], status);
        fs::write(&card, "mine").unwrap();
    }
    assert_eq!(fs::read(card).unwrap(), b"mine");
}

#[test]
fn an_export_of_other_inputs_is_replaced_only_with_force() {
    let folder = temp();
    let [source, out] = ["a", "out"].map(|name| folder.path().join(name));
    write_run(&source, &[100]);
    batch(&[], &source, &out).ok();
    let weights = || fs::read(out.join(NAME).join("model.safetensors")).unwrap();
    let first = weights();

    // Other options.
    batch(&["--dtype", "f16"], &source, &out)
        .fails(2, &[])
        .stdout_has(&["its option dtype is absent, not f16", "--force"]);
    assert_eq!(weights(), first);
    let forced = batch(&["--dtype", "f16", "--force"], &source, &out).ok();
    assert_eq!(statuses(&forced)[NAME], "converted");
    assert_ne!(weights(), first);
    batch(&["--force"], &source, &out).ok();
    assert_eq!(weights(), first);

    // An unverified export is not a verified one.
    batch(&["--no-verify"], &source, &out)
        .fails(2, &[])
        .stdout_has(&["no_verify"]);

    // Another checkpoint of the same name.
    let mut bundle = checkpoint(SMALL, 100);
    bundle.add_floats("electra/encoder/layer_0/output/dense/extra/adam_m", &[3]);
    bundle.write(&source.join("model.ckpt-100"));
    batch(&[], &source, &out)
        .fails(2, &[])
        .stdout_has(&["its input checkpoint is", "CRC-32C"]);

    // A vocabulary that was not there.
    write_run(&source, &[100]);
    fs::write(
        source.join("vocab.txt"),
        "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n",
    )
    .unwrap();
    batch(&[], &source, &out)
        .fails(2, &[])
        .stdout_has(&["its input vocabulary is absent"]);
}

#[test]
fn a_training_graph_is_an_input() {
    let source = copy_of("tiny_default");
    let out = temp();
    batch(&["--name-template", "x"], source.path(), out.path()).ok();
    fs::remove_file(source.path().join("model.ckpt-400.meta")).unwrap();
    batch(&["--name-template", "x"], source.path(), out.path())
        .fails(2, &[])
        .stdout_has(&["its input graph is", "not absent"]);
}

#[test]
fn an_incomplete_export_is_not_taken_for_a_finished_one() {
    let folder = temp();
    let [source, out] = ["a", "out"].map(|name| folder.path().join(name));
    write_run(&source, &[100]);
    batch(&[], &source, &out).ok();
    let export = out.join(NAME);
    // Cut, as by a full disk of a copy.
    let weights = fs::read(export.join("model.safetensors")).unwrap();
    fs::write(export.join("model.safetensors"), &weights[..100]).unwrap();
    batch(&[], &source, &out)
        .fails(2, &[])
        .stdout_has(&["its model.safetensors has 100 bytes"]);
    fs::write(export.join("model.safetensors"), &weights).unwrap();
    fs::remove_file(export.join("config.json")).unwrap();
    batch(&[], &source, &out)
        .fails(2, &[])
        .stdout_has(&["its config.json is missing"]);
    batch(&["--force"], &source, &out).ok();
    assert_exports(&out, &[NAME]);

    // Records that are damaged, and one that names a file elsewhere.
    let record = export.join("conversion.json");
    let text = fs::read_to_string(&record).unwrap();
    for (damaged, words) in [
        (String::new(), "is not a record"),
        (
            text.replace("config.json", "../../../etc/passwd"),
            "passwd is missing",
        ),
        (
            text.replace("\"format_version\": 1", "\"format_version\": 9"),
            "format version is 9",
        ),
        (
            text.replace("electra-convert 0", "electra-convert 999"),
            "program is electra-convert 999",
        ),
        ("[".repeat(50_000), "is not a record"),
        (" ".repeat((1 << 20) + 1), "are more than"),
    ] {
        fs::write(&record, damaged).unwrap();
        batch(&[], &source, &out).fails(2, &[]).stdout_has(&[words]);
    }
    fs::remove_file(&record).unwrap();
    batch(&[], &source, &out)
        .fails(2, &[])
        .stdout_has(&["it has no conversion.json"]);
    batch(&["--force"], &source, &out).ok();
    assert_eq!(read_json(&record)["model"], "discriminator");
}

#[test]
fn an_export_of_convert_is_not_replaced_and_convert_removes_the_record() {
    let folder = temp();
    let [source, out] = ["a", "out"].map(|name| folder.path().join(name));
    write_run(&source, &[100]);
    run!["--model", "discriminator", source, out.join(NAME)].ok();
    batch(&[], &source, &out)
        .fails(2, &[])
        .stdout_has(&["it has no conversion.json"]);
    batch(&["--force"], &source, &out).ok();
    run![
        "--force",
        "--model",
        "discriminator",
        source,
        out.join(NAME)
    ]
    .ok();
    let files = testkit::listing(&out.join(NAME));
    assert_eq!(files, ["config.json", "model.safetensors"]);
}

#[test]
fn what_a_killed_conversion_left_beside_a_complete_export_is_removed() {
    let folder = temp();
    let [source, out] = ["a", "out"].map(|name| folder.path().join(name));
    write_run(&source, &[100]);
    batch(&[], &source, &out).ok();
    let staging = out.join(NAME).join(".electra-convert/new");
    fs::create_dir_all(&staging).unwrap();
    fs::write(staging.join("model.safetensors"), "half").unwrap();
    let again = batch(&[], &source, &out).ok();
    assert_eq!(statuses(&again)[NAME], "skipped");
    assert_exports(&out, &[NAME]);
    assert!(!staging.exists());
}

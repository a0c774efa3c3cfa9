//! An export replaces an earlier one as a whole, and what is not understood stays.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use testkit::{EXPORTED, Run, command, copy_of, fixture, listing, run, temp};

/// The files of an export without a tokenizer, sorted.
const BARE: [&str; 2] = ["config.json", "model.safetensors"];

/// Every file below a directory with its content; directories have none.
fn snapshot(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut files = BTreeMap::new();
    for name in listing(folder) {
        let path = folder.join(name);
        if path.is_dir() {
            files.extend(snapshot(&path));
            files.insert(path, None);
        } else {
            let bytes = fs::read(&path).unwrap();
            files.insert(path, Some(bytes));
        }
    }
    files
}

fn convert(model: &str, out: &Path, options: &[&str]) -> Run {
    let checkpoint = fixture("tiny_default");
    let mut args: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"-q", &"--model", &model];
    for option in options {
        args.push(option);
    }
    args.extend([&checkpoint as &dyn AsRef<std::ffi::OsStr>, &out]);
    testkit::command(&args).output().unwrap().into()
}

fn exported(model: &str) -> TempDir {
    let out = temp();
    convert(model, out.path(), &[]).ok();
    out
}

#[test]
fn no_tokenizer_of_an_earlier_export_stays() {
    let out = exported("discriminator");
    fs::write(out.path().join("README.md"), "mine").unwrap();
    convert("generator", out.path(), &["--force", "--vocab", "none"]).ok();
    let mut expected = vec!["README.md"];
    expected.extend(BARE);
    assert_eq!(listing(out.path()), expected);
    run!["verify", out.path()].ok();
}

#[test]
fn a_stray_file_of_an_export_is_not_mixed_with_a_new_one() {
    for name in EXPORTED {
        let out = temp();
        let stray = out.path().join(name);
        fs::write(&stray, "stray").unwrap();
        convert("discriminator", out.path(), &["--vocab", "none"]).fails(2, &[name, "--force"]);
        assert_eq!(listing(out.path()), [name]);
        assert_eq!(fs::read(&stray).unwrap(), b"stray");
        convert("discriminator", out.path(), &["--vocab", "none", "--force"]).ok();
        assert_eq!(listing(out.path()), BARE);

        fs::remove_dir_all(out.path()).unwrap();
        fs::create_dir_all(&stray).unwrap();
        for force in [&["--vocab", "none"][..], &["--vocab", "none", "--force"]] {
            convert("discriminator", out.path(), force).fails(2, &[name, "is a directory"]);
            assert_eq!(listing(out.path()), [name]);
        }
    }
}

#[test]
fn one_model_replaces_two_and_two_replace_one() {
    let out = exported("both");
    fs::write(out.path().join("generator/notes"), "mine").unwrap();
    let before = snapshot(out.path());
    let words = ["/discriminator/config.json", "--force"];
    convert("discriminator", out.path(), &[]).fails(2, &words);
    assert_eq!(snapshot(out.path()), before);
    convert("discriminator", out.path(), &["--force"]).ok();
    assert_eq!(
        listing(out.path()),
        [&EXPORTED[..1], &["generator"], &EXPORTED[1..]].concat()
    );
    assert_eq!(listing(&out.path().join("generator")), ["notes"]);

    let before = snapshot(out.path());
    convert("both", out.path(), &[]).fails(2, &["config.json", "--force"]);
    assert_eq!(snapshot(out.path()), before);
    convert("both", out.path(), &["--force", "--vocab", "none"]).ok();
    assert_eq!(listing(out.path()), ["discriminator", "generator"]);
    assert_eq!(listing(&out.path().join("discriminator")), BARE);

    convert("both", out.path(), &["--force"]).ok();
    assert_eq!(listing(&out.path().join("discriminator")), EXPORTED);
}

#[test]
fn an_export_that_somebody_put_below_another_stays_with_a_warning() {
    let out = temp();
    convert("generator", &out.path().join("generator"), &[]).ok();
    let checkpoint = fixture("tiny_default");
    let run = run!["--model", "discriminator", checkpoint, out.path(), "--json"].ok();
    let words = "generator contains a separate export, which stays";
    assert!(run.stderr.contains(words), "{}", run.stderr);
    let warnings = run.json()["exports"][0]["warnings"].to_string();
    assert!(warnings.contains(words), "{warnings}");
    assert_eq!(listing(&out.path().join("generator")), EXPORTED);
}

#[test]
fn files_that_transformers_may_load_instead_are_reported() {
    for name in [
        "adapter_config.json",
        "generation_config.json",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
        "tf_model.h5",
        "tf_model.h5.index.json",
        "flax_model.msgpack",
        "flax_model.msgpack.index.json",
    ] {
        for (model, below) in [("discriminator", ""), ("both", "generator")] {
            let out = temp();
            let foreign = out.path().join(below).join(name);
            fs::create_dir_all(foreign.parent().unwrap()).unwrap();
            fs::write(&foreign, "theirs").unwrap();
            let before = snapshot(out.path());
            convert(model, out.path(), &[]).fails(2, &[name, "move it away"]);
            assert_eq!(snapshot(out.path()), before);
            let args = ["--force", "--model", model];
            let checkpoint = fixture("tiny_default");
            let run = run![args[0], args[1], args[2], checkpoint, out.path()].ok();
            assert!(run.stderr.contains("stays"), "{}", run.stderr);
            assert!(run.stderr.contains(name), "{}", run.stderr);
            assert_eq!(fs::read(&foreign).unwrap(), b"theirs");
        }
    }
}

#[test]
fn the_files_beside_a_checkpoint_are_never_replaced_or_removed() {
    for name in ["vocab.txt", "config.json", "tokenizer_config.json"] {
        let folder = copy_of("tiny_default");
        let path = folder.path().join(name);
        if name != "vocab.txt" {
            fs::write(&path, "mine").unwrap();
        }
        let link = temp();
        let out = link.path().join("out");
        std::os::unix::fs::symlink(folder.path(), &out).unwrap();
        let before = snapshot(folder.path());
        for options in [&[][..], &["--force"], &["--force", "--vocab", "none"]] {
            let mut command = command(&[&"--model", &"discriminator"]);
            command.args(options).args([folder.path(), &out]);
            Run::from(command.output().unwrap()).fails(
                2,
                &["would be replaced or removed: choose another directory"],
            );
            assert_eq!(snapshot(folder.path()), before);
        }
        // Two models go into directories of their own, where it is in nobody's way.
        run!["--model", "both", folder.path(), out].ok();
        assert_eq!(Some(fs::read(&path).unwrap()), before[&path]);
    }
}

#[test]
fn the_directory_of_an_archive_and_of_linked_files_is_that_of_the_checkpoint() {
    let folder = copy_of("tiny_default");
    let path = folder.path();
    fs::write(path.join("config.json"), "mine").unwrap();
    fs::copy(fixture("fmt_zip.zip"), path.join("a.zip")).unwrap();
    let links = temp();
    for name in listing(path) {
        if name.starts_with("model") {
            let link = links.path().join(&name);
            std::os::unix::fs::symlink(path.join(name), link).unwrap();
        }
    }
    let before = snapshot(path);
    for checkpoint in [path.join("a.zip"), links.path().join("model.ckpt-400")] {
        let args = ["--force", "--vocab", "none", "--model", "discriminator"];
        run![
            args[0], args[1], args[2], args[3], args[4], checkpoint, path
        ]
        .fails(2, &["config.json is beside the checkpoint"]);
        assert_eq!(snapshot(path), before);
    }
}

#[test]
fn files_that_are_read_are_never_replaced() {
    for (option, name, text) in [
        ("--vocab", "vocab.txt", crlf_vocabulary()),
        (
            "--config",
            "config.json",
            r#"{"num_attention_heads": 2}"#.to_owned(),
        ),
    ] {
        let folder = temp();
        let out = folder.path();
        let file = out.join(name);
        fs::write(&file, text).unwrap();
        let before = snapshot(out);
        let args = ["--force", "--model", "discriminator", option];
        let checkpoint = fixture("tiny_default");
        run![args[0], args[1], args[2], args[3], file, checkpoint, out]
            .fails(2, &[name, "is read by this conversion"]);
        assert_eq!(snapshot(out), before);
    }
}

/// A vocabulary that is written in another form than it is read.
fn crlf_vocabulary() -> String {
    let text = fs::read_to_string(fixture("tiny_default/vocab.txt")).unwrap();
    text.replace('\n', "\r\n")
}

#[test]
fn an_export_beside_its_checkpoint_is_replaced_but_no_file_of_the_user() {
    let folder = copy_of("tiny_default");
    let path = folder.path();
    let own = path.join("vocab.txt");
    fs::remove_file(&own).unwrap();
    let force = |options: &[&str]| {
        let mut command = command(&[&"--force", &"--model"]);
        Run::from(command.args(options).args([path, path]).output().unwrap())
    };
    force(&["discriminator"]).ok();
    // A vocabulary that the user adds to the export does not belong to it.
    fs::write(&own, crlf_vocabulary()).unwrap();
    let before = snapshot(path);
    for options in [
        &["discriminator"][..],
        &["discriminator", "--vocab", "none"],
        &["both"],
    ] {
        force(options).fails(2, &["vocab.txt", "would be replaced or removed"]);
        assert_eq!(snapshot(path), before);
    }
    // With the other tokenizer files it does.
    fs::remove_file(&own).unwrap();
    let elsewhere = fixture("tiny_default/vocab.txt");
    force(&["discriminator", "--vocab", elsewhere.to_str().unwrap()]).ok();
    force(&["discriminator"]).ok();
    force(&["discriminator", "--vocab", "none"]).ok();
}

/// A journal of this version, for the files that it names.
fn journal(old: &str, new: &str) -> String {
    format!(
        r#"{{"version":2,"old":[{old}],"new":[{{"path":"{new}","identity":{{"inode":1,"len":1,"modified":[1,1]}}}}]}}"#
    )
}

#[test]
fn a_journal_that_is_not_understood_is_kept_with_all_files() {
    let sound = journal(r#""model.safetensors""#, "model.safetensors");
    let old_version = r#"{"files":[{"path":"model.safetensors","identity":{"inode":1,"len":1,"modified":[1,1]}}]}"#;
    let mut journals: Vec<(String, &str)> = (0..sound.len())
        .step_by(11)
        .map(|len| (sound[..len].to_owned(), "damaged"))
        .collect();
    journals.extend([
        (old_version.to_owned(), "another version"),
        (sound.replace("\"version\":2", "\"version\":3"), "format 3"),
        (sound.replace("\"old\"", "\"saved\""), "cannot be read"),
        (sound.replace("[1,1]", "[1,1],\"more\":1"), "cannot be read"),
        (journal("", "../config.json"), "outside"),
        (journal("\"/etc/passwd\"", "config.json"), "outside"),
        (" ".repeat((1 << 20) + 1), "not a file of up to"),
        ("null".to_owned(), "another version"),
    ]);
    let out = temp();
    let hidden = out.path().join(".electra-convert");
    for folder in ["old", "new"] {
        fs::create_dir_all(hidden.join(folder)).unwrap();
        fs::write(hidden.join(folder).join("model.safetensors"), folder).unwrap();
    }
    for (text, words) in &journals {
        fs::write(hidden.join("journal.json"), text).unwrap();
        let before = snapshot(out.path());
        let run = convert("discriminator", out.path(), &["--force"]);
        run.fails(1, &[words, "directory `old`", "convert again"]);
        assert!(snapshot(out.path()) == before, "{text}");
    }
    // No journal, but saved files; a journal that is no file; one whose conversion somebody tidied up.
    fs::remove_file(hidden.join("journal.json")).unwrap();
    convert("discriminator", out.path(), &["--force"]).fails(1, &["has no journal.json"]);
    fs::create_dir(hidden.join("journal.json")).unwrap();
    convert("discriminator", out.path(), &["--force"]).fails(1, &["not a file"]);
    fs::remove_dir(hidden.join("journal.json")).unwrap();
    fs::write(hidden.join("journal.json"), &sound).unwrap();
    fs::remove_file(hidden.join("new/model.safetensors")).unwrap();
    convert("discriminator", out.path(), &["--force"]).fails(1, &["moved or removed"]);
    assert_eq!(
        fs::read(hidden.join("old/model.safetensors")).unwrap(),
        b"old"
    );

    // What the error says to do helps.
    fs::rename(
        hidden.join("old/model.safetensors"),
        out.path().join("model.safetensors"),
    )
    .unwrap();
    fs::remove_dir_all(&hidden).unwrap();
    convert("discriminator", out.path(), &["--force"]).ok();
    assert_eq!(listing(out.path()), EXPORTED);
}

#[test]
fn a_conversion_that_was_killed_before_its_journal_was_complete_moved_nothing() {
    let out = exported("generator");
    let before = snapshot(out.path());
    let hidden = out.path().join(".electra-convert");
    for folder in ["old", "new"] {
        fs::create_dir_all(hidden.join(folder)).unwrap();
    }
    fs::write(hidden.join("new/model.safetensors"), "begun").unwrap();
    fs::write(hidden.join("journal.json.partial"), "{\"vers").unwrap();
    convert("discriminator", out.path(), &[]).fails(2, &["exists already"]);
    assert!(snapshot(out.path()) == before);
}

#[test]
fn a_journal_of_this_version_is_undone_with_files_that_the_new_export_lacks() {
    let out = exported("both");
    let before = snapshot(out.path());
    let hidden = out.path().join(".electra-convert");
    // Killed after the old files were moved away and before the new one was moved to its place.
    for folder in ["old/discriminator", "old/generator", "new"] {
        fs::create_dir_all(hidden.join(folder)).unwrap();
    }
    let mut old = Vec::new();
    for model in ["generator", "discriminator"] {
        for file in EXPORTED {
            let file = format!("{model}/{file}");
            fs::rename(out.path().join(&file), hidden.join("old").join(&file)).unwrap();
            old.push(format!("{file:?}"));
        }
    }
    fs::write(hidden.join("new/model.safetensors"), "new").unwrap();
    let text = journal(&old.join(","), "model.safetensors");
    fs::write(hidden.join("journal.json"), text).unwrap();
    convert("discriminator", out.path(), &[]).fails(2, &["exists already"]);
    assert!(snapshot(out.path()) == before);
}

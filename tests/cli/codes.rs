//! Every input of every command that can be wrong: command line, exit code, words.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use testkit::{Run, copy_of, fixture, program, temp};

/// Command lines, run in a directory that [`prepare`] has filled. `T` stands for a checkpoint.
const CASES: &[(&str, i32, &[&str])] = &[
    // Usage
    ("--model critic T out", 2, &["critic", "discriminator"]),
    ("--model discriminator T", 2, &["OUT"]),
    ("verify", 2, &["DIR"]),
    ("probe", 2, &["DIR"]),
    ("inspect T --grep (", 2, &["--grep"]),
    ("--model discriminator --threads 0 T out", 2, &["--threads"]),
    // convert
    (
        "--model discriminator none out",
        3,
        &["no checkpoint at none"],
    ),
    ("--model discriminator notes.txt out", 3, &["notes.txt"]),
    ("--model discriminator empty out", 3, &["empty"]),
    (
        "--model generator uniform out",
        4,
        &["--model discriminator"],
    ),
    (
        "--model discriminator T notes.txt",
        2,
        &["notes.txt is not a directory"],
    ),
    (
        "--model discriminator T notes.txt/below",
        1,
        &["cannot write"],
    ),
    ("--model discriminator T /proc/out", 1, &["/proc/out"]),
    (
        "--model discriminator T d",
        2,
        &["exists already", "--force"],
    ),
    (
        "--model discriminator --config none T out",
        2,
        &["--config none"],
    ),
    (
        "--model discriminator --config empty T out",
        2,
        &["--config empty"],
    ),
    (
        "--model discriminator --config notes.txt T out",
        2,
        &["not a JSON object"],
    ),
    (
        "--model discriminator --vocab none.txt T out",
        2,
        &["--vocab none.txt"],
    ),
    (
        "--model discriminator --text none T out",
        2,
        &["--text none"],
    ),
    (
        "--model discriminator --text empty T out",
        2,
        &["--text empty"],
    ),
    (
        "--model discriminator --text binary T out",
        2,
        &["--text binary"],
    ),
    (
        "--model discriminator --text notes.txt T out",
        2,
        &["notes.txt", "too few"],
    ),
    // inspect
    ("inspect none", 3, &["no checkpoint at none"]),
    ("inspect notes.txt", 3, &["notes.txt"]),
    ("inspect empty", 3, &["empty"]),
    ("inspect T --config none", 2, &["--config none"]),
    // verify
    ("verify none", 2, &["none does not exist"]),
    ("verify notes.txt", 2, &["notes.txt is not a directory"]),
    (
        "verify empty",
        5,
        &[
            "empty/config.json",
            "missing",
            "convert the checkpoint again",
        ],
    ),
    (
        "verify no_weights",
        5,
        &["no_weights/model.safetensors", "missing"],
    ),
    (
        "verify killed",
        5,
        &["killed/model.safetensors", "convert again"],
    ),
    ("verify bad_config", 5, &["bad_config/config.json"]),
    ("verify bad_heads", 5, &["3 attention heads"]),
    ("verify d --source none", 3, &["no checkpoint at none"]),
    ("verify d --source notes.txt", 3, &["notes.txt"]),
    (
        "verify d --source uniform",
        5,
        &["did not pass verification"],
    ),
    ("verify d --golden none", 2, &["cannot read none"]),
    (
        "verify d --golden notes.txt",
        2,
        &["notes.txt", "safetensors"],
    ),
    ("verify d --golden d", 2, &["cannot read d"]),
    ("verify d --golden d/model.safetensors", 2, &["input_ids"]),
    ("verify d --text none", 2, &["--text none"]),
    ("verify d --text d", 2, &["--text d"]),
    ("verify d --text binary", 2, &["--text binary"]),
    ("verify d --text notes.txt", 2, &["too few"]),
    (
        "verify d --text notes.txt --generator none",
        2,
        &["--generator", "none does not exist"],
    ),
    (
        "verify d --text notes.txt --generator empty",
        2,
        &["--generator", "empty"],
    ),
    ("verify d --step 3", 2, &["--source"]),
    // probe
    ("probe none a", 2, &["none does not exist"]),
    ("probe notes.txt a", 2, &["notes.txt is not a directory"]),
    ("probe empty a", 5, &["empty/config.json", "missing"]),
    (
        "probe no_weights a",
        5,
        &["no_weights/model.safetensors", "missing"],
    ),
    ("probe bad_config a", 5, &["bad_config/config.json"]),
    ("probe bad_heads a", 5, &["3 attention heads"]),
    ("probe d --file none", 2, &["--file none"]),
    ("probe d --file d", 2, &["--file d"]),
    ("probe d d a", 2, &["a generator is needed"]),
    ("probe d", 2, &["no text"]),
];

fn prepare(folder: &Path) {
    let path = |name: &str| folder.join(name);
    fs::write(path("notes.txt"), "notes\n").unwrap();
    fs::write(path("binary"), [0xff, 0xfe]).unwrap();
    fs::create_dir(path("empty")).unwrap();
    for (name, link) in [("trained", "T"), ("tiny_uniform", "uniform")] {
        std::os::unix::fs::symlink(fixture(name), path(link)).unwrap();
    }
    run_in(folder, "-q --model discriminator T d").ok();
    for name in ["no_weights", "killed", "bad_config", "bad_heads"] {
        fs::create_dir(path(name)).unwrap();
        for file in fs::read_dir(path("d")).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), path(name).join(file.file_name())).unwrap();
        }
    }
    fs::remove_file(path("no_weights/model.safetensors")).unwrap();
    fs::remove_file(path("killed/model.safetensors")).unwrap();
    fs::create_dir(path("killed/.electra-convert")).unwrap();
    fs::write(path("bad_config/config.json"), "{").unwrap();
    let config = fs::read_to_string(path("d/config.json")).unwrap();
    let config = config.replace("\"num_attention_heads\": 4", "\"num_attention_heads\": 3");
    fs::write(path("bad_heads/config.json"), config).unwrap();
}

fn run_in(folder: &Path, line: &str) -> Run {
    let output = Command::new(program())
        .args(line.split_whitespace())
        .current_dir(folder)
        .stdin(Stdio::null())
        .output();
    output.unwrap().into()
}

#[test]
fn every_failure_has_its_exit_code_and_its_document() {
    let folder = temp();
    prepare(folder.path());
    for &(line, code, words) in CASES {
        let run = run_in(folder.path(), line);
        assert_eq!(run.code, Some(code), "{line}: {}", run.stderr);
        let run = run.fails(code, words);
        assert!(
            !run.stderr.contains(".electra-convert"),
            "{line}: {}",
            run.stderr
        );
        assert!(!folder.path().join("out").exists(), "{line}");

        let run = run_in(folder.path(), &format!("{line} --json"));
        assert_eq!(run.code, Some(code), "{line} --json: {}", run.stderr);
        let document: Value = serde_json::from_str(&run.stdout)
            .unwrap_or_else(|error| panic!("{line} --json: {error}: {}", run.stdout));
        let first = line.split_whitespace().next().unwrap();
        let command = if first.starts_with('-') {
            "convert"
        } else {
            first
        };
        assert_eq!(document["format_version"], 2, "{line}");
        assert_eq!(document["command"], command, "{line}");
        assert_eq!(document["status"], "failed", "{line}");
        assert_eq!(document["exit_code"], code, "{line}");
        assert!(document["error"].is_string(), "{line}");
    }
}

#[test]
fn a_damaged_checkpoint_is_3_for_every_command() {
    let folder = temp();
    prepare(folder.path());
    let damaged = copy_of("trained");
    fs::write(damaged.path().join("model.ckpt-6000.index"), "damaged").unwrap();
    std::os::unix::fs::symlink(damaged.path(), folder.path().join("damaged")).unwrap();
    for line in [
        "--model discriminator damaged out",
        "inspect damaged",
        "verify d --source damaged",
    ] {
        run_in(folder.path(), line).fails(3, &["model.ckpt-6000.index"]);
    }
}

#[test]
fn help_is_no_failure() {
    for line in [
        "--help",
        "-h",
        "--version",
        "verify --help",
        "inspect --json --help",
    ] {
        let run = run_in(Path::new("."), line).ok();
        assert!(!run.stdout.is_empty());
    }
}

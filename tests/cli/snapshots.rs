//! The layout of reports and help, as whole texts in `snapshots/`.
//!
//! Other tests check facts in the output; the wording is here. `INSTA_UPDATE=always cargo test --test cli
//! snapshots` writes the texts anew after a change that is wanted.

use std::path::Path;

use testkit::{Run, command, temp};

/// What differs between runs or machines, and what stands for it.
const VARIABLE: &[(&str, &str)] = &[
    (r"\d+\.\d+ s\b", "[time]"),
    (r" +\d+ ms\b", " [time]"),
    (r"output +time", "output time"),
    (r"\d\.\de-\d+", "[deviation]"),
];

/// Runs the commands in a folder with `fixtures/` and returns the output of the last one.
fn output_of(commands: &[&str]) -> String {
    let folder = temp();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    std::os::unix::fs::symlink(fixtures, folder.path().join("fixtures")).unwrap();
    let mut output = String::new();
    for line in commands {
        let mut program = command(&[]);
        program
            .args(line.split_whitespace())
            .current_dir(folder.path());
        let Run {
            code,
            stdout,
            stderr,
        } = program.output().unwrap().into();
        output = format!("$ electra-convert {line}\n{stdout}{stderr}");
        if let Some(code) = code.filter(|&code| code != 0) {
            output += &format!("exit code {code}\n");
        }
    }
    output
}

/// Compares the output of the last command with the text of this name.
#[track_caller]
fn check(name: &str, commands: &[&str]) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for (pattern, name) in VARIABLE {
        settings.add_filter(pattern, *name);
    }
    settings.bind(|| insta::assert_snapshot!(name, output_of(commands)));
}

#[test]
fn help() {
    check("help_short", &["-h"]);
    check("help", &["--help"]);
    check("help_inspect", &["inspect --help"]);
    check("help_verify", &["verify --help"]);
    check("help_probe", &["probe --help"]);
}

#[test]
fn reports_of_a_conversion() {
    let convert = "--model discriminator fixtures/trained out";
    check("convert", &[convert]);
    check("convert_verbose", &[&format!("{convert} -v")]);
    check("convert_both", &["--model both fixtures/trained out"]);
    check(
        "convert_finetuned",
        &["--model finetuned fixtures/ft_sst out"],
    );
    check(
        "convert_no_verify",
        &["--model discriminator fixtures/tiny_default out --no-verify"],
    );
}

#[test]
fn reports_of_other_commands() {
    let convert = "--model discriminator fixtures/trained out";
    check("inspect", &["inspect fixtures/trained"]);
    check("inspect_finetuned", &["inspect fixtures/ft_sst"]);
    check("verify", &[convert, "verify out --source fixtures/trained"]);
}

#[test]
fn wrong_commands_name_the_right_one() {
    check("error_no_arguments", &["--dry-run"]);
    check("error_no_model", &["fixtures/trained out"]);
    check(
        "error_misspelled_model",
        &["--model disc fixtures/trained out"],
    );
    check("error_misspelled_command", &["insepct fixtures/trained"]);
    check(
        "error_no_checkpoint",
        &["--model discriminator fixtures/missing out"],
    );
    let convert = "--model discriminator fixtures/trained out";
    check("error_out_exists", &[convert, convert]);
}

//! Commands that code in the same process runs: results and failures are those of the program.

use std::ffi::OsString;
use std::fs;

use electra_convert::cli;
use electra_convert::{PlannedConversion, Progress};
use safetensors::SafeTensors;
use serde_json::Value;
use testkit::{command, fixture, temp};

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// Parses a document, without what differs from run to run.
fn comparable(document: &str) -> Value {
    fn drop_times(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.retain(|key, _| key != "seconds");
                fields.values_mut().for_each(drop_times);
            }
            Value::Array(items) => items.iter_mut().for_each(drop_times),
            _ => {}
        }
    }
    let mut document = serde_json::from_str(document).unwrap();
    drop_times(&mut document);
    document
}

#[test]
fn a_call_returns_what_the_program_prints() {
    let out = temp();
    let trained = fixture("trained");
    let trained = trained.to_str().unwrap();
    let new = out.path().join("new");
    let new = new.to_str().unwrap();
    for (line, exit_code) in [
        (&["inspect", "--json", trained][..], 0),
        (&["inspect", "--json", "/nowhere"], 3),
        (&["--json", "--model", "finetuned", trained, new], 4),
        (
            &["--json", "--model", "generator", trained, new, "--dry-run"],
            0,
        ),
        (&["--json", "--model", "generator", trained], 2),
        (&["verify", "--json", trained], 5),
    ] {
        let called = cli::call(words(line), &(), None);
        let printed = command(&[]).args(line).output().unwrap();
        assert_eq!(called.exit_code, exit_code, "{line:?}");
        assert_eq!(printed.status.code(), Some(exit_code.into()), "{line:?}");
        let printed = String::from_utf8(printed.stdout).unwrap();
        assert_eq!(comparable(&called.document), comparable(&printed));
        assert!(!called.is_interrupted);
    }
}

#[test]
fn warnings_are_returned() {
    let trained = fixture("trained");
    let line = words(&[
        "--json",
        "--dry-run",
        "--model=generator",
        "--rename=^unused=used",
        trained.to_str().unwrap(),
        "out",
    ]);
    let called = cli::call(line, &(), None);
    assert_eq!(called.exit_code, 0);
    let [warning] = &called.warnings[..] else {
        panic!("{:?}", called.warnings);
    };
    assert!(warning.contains("^unused=used"), "{warning}");
}

#[test]
fn a_dry_run_computes_the_tensors_of_the_file() {
    for (name, model, dtype) in [
        ("trained", "discriminator", "keep"),
        ("trained", "generator", "bf16"),
        ("ft_sst", "finetuned", "keep"),
        ("fmt_v1", "discriminator", "f16"),
    ] {
        let source = fixture(name);
        let out = temp();
        let paths = [source.to_str().unwrap(), out.path().to_str().unwrap()];
        let model = format!("--model={model}");
        let dtype = format!("--dtype={dtype}");
        let line = ["--json", "--vocab=none", &model, &dtype, paths[0], paths[1]];
        let converted = cli::call(words(&line), &(), None);
        assert_eq!(converted.exit_code, 0, "{}", converted.document);

        let mut tensors = Vec::new();
        let mut compute = |planned: &PlannedConversion<'_>, progress: &dyn Progress| {
            planned.compute(progress, &mut |tensor| tensors.push(tensor))
        };
        let line = [&["--dry-run"], &line[..]].concat();
        let computed = cli::call(words(&line), &(), Some(&mut compute));
        assert_eq!(computed.exit_code, 0, "{}", computed.document);
        let file = fs::read(out.path().join("model.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&file).unwrap();
        assert_eq!(tensors.len(), file.len());
        for tensor in tensors {
            let written = file.tensor(&tensor.name).unwrap();
            let form = (written.shape(), written.dtype());
            assert_eq!(form, (&tensor.shape[..], tensor.dtype), "{}", tensor.name);
            assert_eq!(written.data(), tensor.bytes.as_bytes(), "{}", tensor.name);
        }
    }
}

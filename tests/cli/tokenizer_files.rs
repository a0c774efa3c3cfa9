//! Tokenizer files that are damaged after the export, or come from another one.

use std::fs;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use crate::made_vocabulary::{each, english_with, export};
use testkit::{Run, command};

/// An export whose tokenizer files are then damaged.
fn exported() -> (TempDir, std::path::PathBuf) {
    let tokens = english_with(&each('A'..='Z'));
    let (folder, run) = export(tokens.join("\n").as_bytes(), tokens.len(), &[]);
    run.ok();
    let out = folder.path().join("out");
    (folder, out)
}

fn verify(out: &Path) -> Run {
    Run::from(command(&[&"verify", &out]).output().unwrap())
}

/// Replaces `from` by `to` in one file at a time: verification must fail, with `words`.
#[track_caller]
fn damaged(file: &str, damage: &[(&str, &str, &str)]) {
    let (_folder, out) = exported();
    verify(&out).ok();
    let path = out.join(file);
    let sound = fs::read_to_string(&path).unwrap();
    for (from, to, words) in damage {
        assert!(sound.contains(from), "no {from:?} in {file}");
        fs::write(&path, sound.replacen(from, to, 1)).unwrap();
        verify(&out)
            .fails(5, &["did not pass verification"])
            .prints(words);
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    if file != "config.json" {
        let words = format!("{file} cannot be used: it is a directory");
        verify(&out).fails(5, &[]).prints(&words);
    }
}

#[test]
fn vocab_txt_must_fit() {
    let other = "for token \"bade\", vocab.txt has no id";
    let more = "vocab.txt has id 676 for token \"more\", the word embeddings have 676 rows";
    damaged(
        "vocab.txt",
        &[
            ("\nbade\n", "\nbadf\n", other),
            ("\nbade\n", "\n", "differences"),
            ("[MASK]\n", "[MASKE]\n", "vocab.txt lacks [MASK]"),
            ("##Z\n", "##Z\nmore\n", more),
        ],
    );
}

#[test]
fn tokenizer_json_must_fit() {
    let rows = "the word embeddings have 676 rows";
    let lower = "tokenizer_config.json has do_lower_case false, tokenizer.json has true";
    let accents = "strip_accents false, tokenizer.json has true";
    let split = (
        "\"handle_chinese_chars\": true",
        "\"handle_chinese_chars\": false",
    );
    let template = ("\"ids\": [\n          2\n", "\"ids\": [\n          3\n");
    damaged(
        "tokenizer.json",
        &[
            ("\"bade\": ", "\"bade\": 9", rows),
            ("\"lowercase\": false", "\"lowercase\": true", lower),
            (
                "\"strip_accents\": null",
                "\"strip_accents\": true",
                accents,
            ),
            (split.0, split.1, "tokenize_chinese_chars"),
            (template.0, template.1, "puts the ids [3, 3] around text"),
            ("{", "", "tokenizer.json is not a tokenizer"),
        ],
    );
}

#[test]
fn tokenizer_settings_must_fit() {
    let lower = "\"do_lower_case\": false";
    let mask = "has mask_token \"<mask>\", special_tokens_map.json has \"[MASK]\"";
    let is_true = "do_lower_case true, tokenizer.json has false";
    damaged(
        "tokenizer_config.json",
        &[
            (lower, "\"do_lower_case\": true", is_true),
            (&format!("{lower},"), "", is_true),
            (lower, "\"do_lower_case\": \"no\"", "not true or false"),
            (
                "\"mask_token\": \"[MASK]\"",
                "\"mask_token\": \"<mask>\"",
                mask,
            ),
            ("\"0\": {", "\"7\": {", "has id 7 for token \"[PAD]\""),
            ("{", "[", "tokenizer_config.json is not a JSON object"),
        ],
    );
    let bos = "special_tokens_map.json has \"[BOS]\"";
    damaged("special_tokens_map.json", &[("[CLS]", "[BOS]", bos)]);
    let pad = "config.json has pad_token_id 3, [PAD] has id 0";
    let id = ("\"pad_token_id\": 0", "\"pad_token_id\": 3");
    damaged("config.json", &[(id.0, id.1, pad)]);
}

/// An export over an older one must not leave the tokenizer of the older model.
#[test]
fn a_tokenizer_of_a_larger_model_is_not_right() {
    let (_folder, out) = exported();
    let small = english_with(&[]);
    let (other, run) = export(small.join("\n").as_bytes(), small.len(), &[]);
    run.ok();
    for file in ["config.json", "model.safetensors"] {
        fs::copy(other.path().join("out").join(file), out.join(file)).unwrap();
    }
    verify(&out)
        .fails(5, &[])
        .prints("the word embeddings have 624 rows");
}

#[test]
fn missing_tokenizer_files_are_reported() {
    let (_folder, out) = exported();
    let names = [
        "vocab.txt",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
    ];
    let files = names.map(|name| (name, fs::read(out.join(name)).unwrap()));
    let with = |kept: &[&str]| {
        for (name, bytes) in &files {
            let path = out.join(name);
            if kept.contains(name) {
                fs::write(path, bytes).unwrap();
            } else if path.exists() {
                fs::remove_file(path).unwrap();
            }
        }
        verify(&out)
    };
    with(&[]).ok().prints("no tokenizer files");
    with(&names)
        .ok()
        .prints("tokenizer: 676 tokens for 676 rows, cased, accents kept");
    with(&names[1..])
        .ok()
        .prints("without vocab.txt the slow tokenizer");
    with(&["vocab.txt", "tokenizer_config.json"])
        .ok()
        .prints("without tokenizer.json");
    // transformers would lower-case.
    with(&["vocab.txt", "tokenizer.json"])
        .fails(5, &[])
        .prints("tokenizer_config.json is missing, so that do_lower_case is true");
    with(&names[2..])
        .fails(5, &[])
        .prints("without vocab.txt and tokenizer.json");

    let run = Run::from(command(&[&"verify", &out, &"--json"]).output().unwrap());
    assert_eq!(
        run.json()["tokenizer"]["missing"],
        json!(["vocab.txt", "tokenizer.json"])
    );
    with(&names);
    let run = Run::from(command(&[&"verify", &out, &"--json"]).output().unwrap()).ok();
    let expected = json!({
        "tokens": 676, "rows": 676, "do_lower_case": false, "strip_accents": false,
        "missing": [], "notes": [],
    });
    assert_eq!(run.json()["tokenizer"], expected);
}

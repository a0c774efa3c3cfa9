//! `docs/json.md` names every field that the program prints, and no other.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use testkit::{fixture, run, temp};

/// Fields whose own keys are names from elsewhere.
const MAPS: [&str; 1] = ["config"];

/// Adds the keys of all objects in a document.
fn keys(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                found.insert(key.clone());
                if key == "config_sources" {
                    object[key]
                        .as_object()
                        .unwrap()
                        .values()
                        .for_each(|source| keys(source, found));
                } else if !MAPS.contains(&key.as_str()) {
                    keys(value, found);
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

/// The words between backticks in a text.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn the_documented_fields_are_those_that_are_printed() {
    let folder = temp();
    let [out, both, tuned] = ["out", "both", "tuned"].map(|name| folder.path().join(name));
    let text = fixture("text/english.txt");
    let documents = [
        run![
            "--json",
            "--model",
            "discriminator",
            "--text",
            text,
            fixture("trained"),
            out
        ],
        run!["--json", "--model", "both", fixture("tiny_default"), both],
        run!["--json", "--model", "finetuned", fixture("ft_sst"), tuned],
        run![
            "--json",
            "--dry-run",
            "--model",
            "both",
            fixture("trained"),
            out
        ],
        run!["--json", "--model", "both", fixture("tiny_default"), both],
        run![
            "batch",
            "--json",
            "--dry-run",
            "--model",
            "generator",
            fixture("tiny_default"),
            out
        ],
        run!["inspect", "--json", fixture("tiny_default")],
        run!["inspect", "--json", fixture("fmt_partitioned")],
        run!["inspect", "--json", "--graph", fixture("trained")],
        run!["verify", "--json", out],
        run!["verify", "--json", both.join("generator")],
        run!["verify", "--json", folder.path()],
        run!["probe", "--json", out, "the red fox"],
    ];
    let mut printed = BTreeSet::new();
    for document in documents {
        keys(&document.json(), &mut printed);
    }
    let many = folder.path().join("many");
    let batch = run![
        "batch",
        "--json",
        "--model",
        "generator",
        fixture("tiny_default"),
        many
    ];
    for line in batch.stdout.lines() {
        keys(&serde_json::from_str(line).unwrap(), &mut printed);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/json.md");
    let page = fs::read_to_string(path).unwrap();
    let (page, _) = page.split_once("## Metadata of").unwrap();
    let documented: BTreeSet<&str> = quoted(page).collect();
    let missing: Vec<&String> = printed
        .iter()
        .filter(|key| !documented.contains(key.as_str()))
        .collect();
    assert!(missing.is_empty(), "not in docs/json.md: {missing:?}");

    // The first cell of a row of a table is a field.
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let fields = rows.filter_map(|row| row.split_once('`').map(|(field, _)| field));
    // What only a generator with a vocabulary prints.
    let elsewhere = ["masks", "words"];
    let unknown: Vec<&str> = fields
        .filter(|field| !printed.contains(*field) && !elsewhere.contains(field))
        .collect();
    assert!(unknown.is_empty(), "not printed: {unknown:?}");
}

//! The library names neither the program that it was written for nor that program's options.

use std::fs;
use std::path::{Path, PathBuf};

const WORDS: [&str; 7] = [
    "electra-convert",
    "--step",
    "--reader",
    "--config",
    "--num-attention-heads",
    "--hidden-act",
    "scripts/",
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
fn no_source_names_the_program_or_its_options() {
    let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(sources.len() > 30, "{sources:?}");
    for path in sources {
        let text = fs::read_to_string(&path).unwrap();
        for word in WORDS {
            assert!(!text.contains(word), "{} contains {word}", path.display());
        }
    }
}

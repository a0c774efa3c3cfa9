//! What the program is made of.

use std::fs;
use std::path::Path;

/// The names that a file has between two marks, in quotes.
fn quoted<'a>(text: &'a str, start: &str, end: &str) -> Vec<&'a str> {
    let (_, rest) = text.split_once(start).unwrap();
    let (list, _) = rest.split_once(end).unwrap();
    list.split('"').skip(1).step_by(2).collect()
}

#[test]
fn nothing_in_it_speaks_to_a_network() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let [rules, lock] =
        ["deny.toml", "Cargo.lock"].map(|file| fs::read_to_string(root.join(file)).unwrap());
    let denied = quoted(&rules, "\ndeny = [", "]");
    assert!(denied.contains(&"hyper") && denied.len() > 5, "{denied:?}");
    for name in denied {
        assert!(
            !lock.contains(&format!("name = \"{name}\"\n")),
            "{name} is in Cargo.lock"
        );
    }
    assert!(lock.contains("name = \"candle-core\"\n"));
}

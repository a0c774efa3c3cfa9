//! What the program is made of.

use std::collections::BTreeSet;
use std::process::Command;

/// Crates that need a C library, or cmake, to be built.
const NEVER: [&str; 5] = ["aws-lc-rs", "aws-lc-sys", "cmake", "native-tls", "openssl"];

/// Crates that speak to a network.
const NETWORK: [&str; 8] = [
    "curl", "hf-hub", "hyper", "quinn", "reqwest", "rustls", "tokio", "ureq",
];

/// Returns the crates that a build of the program with these features consists of.
fn crates(features: &str) -> BTreeSet<String> {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "-p", "electra-convert"])
        .args(["-e", "normal,build", "--prefix", "none", "-f", "{p}"])
        .args(["--features", features])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        tree.status.success(),
        "{}",
        String::from_utf8_lossy(&tree.stderr)
    );
    let text = String::from_utf8(tree.stdout).unwrap();
    let names = text.lines().filter_map(|line| line.split(' ').next());
    names.map(str::to_owned).collect()
}

#[test]
fn nothing_in_it_speaks_to_a_network() {
    for features in ["", "tensorflow"] {
        let crates = crates(features);
        assert!(crates.contains("candle-core"), "{crates:?}");
        let found: Vec<_> = NETWORK
            .iter()
            .filter(|name| crates.contains(**name))
            .collect();
        assert!(found.is_empty(), "{features}: {found:?}");
    }
}

#[test]
fn buckets_need_no_library_in_c() {
    let crates = crates("cloud");
    assert!(
        crates.contains("hyper") && crates.contains("ring"),
        "{crates:?}"
    );
    let found: Vec<_> = NEVER
        .iter()
        .filter(|name| crates.contains(**name))
        .collect();
    assert!(found.is_empty(), "{found:?}");
}

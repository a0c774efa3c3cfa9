//! Many conversions into one directory at once: one wins, no mixture, nothing left over.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use testkit::{Run, copy_of, fixture, listing, program, temp};

type Snapshot = BTreeMap<PathBuf, Vec<u8>>;

/// Every file below a directory, by its path below it.
fn snapshot(root: &Path) -> Snapshot {
    fn collect(root: &Path, folder: &Path, files: &mut Snapshot) {
        for name in listing(folder) {
            let path = folder.join(name);
            if path.is_dir() {
                collect(root, &path, files);
            } else {
                let bytes = fs::read(&path).unwrap();
                files.insert(path.strip_prefix(root).unwrap().to_owned(), bytes);
            }
        }
    }
    let mut files = Snapshot::new();
    collect(root, root, &mut files);
    files
}

/// Conversions whose outputs differ in every way: layout, tokenizer, model.
const CONVERSIONS: [(&str, &[&str]); 5] = [
    ("tiny_default", &["--model", "both"]),
    ("tiny_noproj", &["--model", "discriminator"]),
    ("tiny_noproj", &["--model", "generator", "--vocab", "none"]),
    (
        "tiny_tied",
        &["--model", "discriminator", "--vocab", "none"],
    ),
    ("tiny_default", &["--model", "both", "--vocab", "none"]),
];

fn start(conversion: usize, force: bool, checkpoint: &Path, out: &Path) -> Child {
    let (_, options) = CONVERSIONS[conversion];
    Command::new(program())
        .args(["-q", "--no-verify"])
        .args(force.then_some("--force"))
        .args(options)
        .args([checkpoint, out])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn end(child: Child) -> Run {
    child.wait_with_output().unwrap().into()
}

/// Starts `count` conversions at once, `rounds` times.
fn race(rounds: usize, count: usize) {
    let reference = temp();
    let expected: Vec<Snapshot> = (0..CONVERSIONS.len())
        .map(|n| {
            let out = reference.path().join(n.to_string());
            end(start(n, false, &fixture(CONVERSIONS[n].0), &out)).ok();
            snapshot(&out)
        })
        .collect();
    for round in 0..rounds {
        // Into a new directory, below a new one, over an earlier export.
        let force = round % 2 == 1;
        let folder = temp();
        let out = folder.path().join(["out", "new/out"][round / 2 % 2]);
        if force {
            end(start(
                round % 5,
                false,
                &fixture(CONVERSIONS[round % 5].0),
                &out,
            ))
            .ok();
        }
        let children: Vec<(usize, Child)> = (0..count)
            .map(|n| (n + round) % CONVERSIONS.len())
            .map(|n| (n, start(n, force, &fixture(CONVERSIONS[n].0), &out)))
            .collect();
        let mut winners = Vec::new();
        for (n, child) in children {
            let run = end(child);
            match run.code {
                Some(0) => winners.push(n),
                Some(2) if !force => drop(run.fails(2, &["exists already"])),
                _ => drop(run.fails(1, &["another conversion is writing into"])),
            }
        }
        assert!(!winners.is_empty(), "round {round}");
        assert!(force || winners.len() == 1, "round {round}: {winners:?}");
        let found = snapshot(&out);
        let is_one = winners.iter().any(|&n| found == expected[n]);
        let names: Vec<_> = found.keys().collect();
        assert!(is_one, "round {round}, {winners:?} won: {names:?}");
        let top = out.strip_prefix(folder.path()).unwrap().iter().next();
        assert_eq!(listing(folder.path()), [top.unwrap().to_str().unwrap()]);
    }
}

#[test]
fn of_many_conversions_at_once_one_wins_and_nothing_is_mixed() {
    race(8, 6);
}

#[test]
#[ignore = "takes minutes"]
fn of_very_many_conversions_at_once_one_wins() {
    race(400, 12);
}

#[test]
fn conversions_that_all_fail_leave_nothing() {
    let damaged = copy_of("tiny_default");
    let data = damaged.path().join("model.ckpt-400.data-00000-of-00001");
    // Found while it is written, when OUT and the staging directory are there.
    let inspected = testkit::run!["inspect", damaged.path(), "--json"]
        .ok()
        .json();
    let words = "electra/embeddings/word_embeddings";
    let variables = inspected["variables"].as_array().unwrap();
    let words = variables
        .iter()
        .find(|variable| variable["name"] == words)
        .unwrap();
    let offset = usize::try_from(words["pieces"][0]["offset"].as_u64().unwrap()).unwrap();
    let mut bytes = fs::read(&data).unwrap();
    bytes[offset] ^= 1;
    fs::write(&data, bytes).unwrap();
    for _ in 0..10 {
        let folder = temp();
        let out = folder.path().join("out");
        let children: Vec<Child> = (0..8)
            .map(|n| start(n % 5, false, damaged.path(), &out))
            .collect();
        for child in children {
            let run = end(child);
            assert!(matches!(run.code, Some(1 | 3 | 4)), "{}", run.stderr);
        }
        // A conversion that fails does not know whether a directory that it found was created by
        // another one: OUT may stay, empty.
        assert!(listing(&out).is_empty(), "{:?}", listing(&out));
    }
}

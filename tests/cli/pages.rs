//! The `console` blocks of README.md and of the documents print what they show.

use std::fs;
use std::path::Path;

use testkit::{Run, command, temp};
use tf_checkpoint::{ArchiveFormat, Format};

/// A command with the lines that it prints.
struct Example {
    command: String,
    printed: Vec<String>,
}

/// The commands in the `console` blocks of a page; `console,ignore` marks a block that is not run.
fn examples(page: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut is_console = false;
    for line in page.lines() {
        if let Some(language) = line.strip_prefix("```") {
            is_console = language == "console";
        } else if is_console && let Some(command) = line.strip_prefix("$ ") {
            examples.push(Example {
                command: command.to_owned(),
                printed: Vec::new(),
            });
        } else if is_console && let Some(example) = examples.last_mut() {
            example.printed.push(line.to_owned());
        }
    }
    examples
}

/// The words of a command line, without quotes.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = command.trim_start();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('\'') {
            Some(quoted) => quoted.split_once('\'').expect("a closing quote"),
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    words
}

/// True if the lines are the pattern, in which `...` stands for any lines.
fn fits(pattern: &[String], lines: &[&str]) -> bool {
    match pattern.split_first() {
        None => lines.iter().all(|line| line.is_empty()),
        Some((first, rest)) if first == "..." => {
            (0..=lines.len()).any(|skipped| fits(rest, &lines[skipped..]))
        }
        Some((first, rest)) => {
            let line = lines.split_first();
            line.is_some_and(|(line, lines)| line == first && fits(rest, lines))
        }
    }
}

#[test]
fn every_example_prints_what_it_shows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let documents = fs::read_dir(root.join("docs")).unwrap();
    let documents = documents.map(|entry| entry.unwrap().path());
    let mut pages: Vec<_> = documents.chain([root.join("README.md")]).collect();
    pages.sort();
    let mut run = 0;
    for page in pages
        .iter()
        .filter(|page| page.extension().is_some_and(|end| end == "md"))
    {
        let folder = temp();
        std::os::unix::fs::symlink(root.join("fixtures"), folder.path().join("fixtures")).unwrap();
        for Example {
            command: line,
            printed,
        } in examples(&fs::read_to_string(page).unwrap())
        {
            let arguments = line
                .strip_prefix("electra-convert ")
                .or_else(|| line.strip_prefix("cargo run --release -- "));
            let Some(arguments) = arguments else {
                continue;
            };
            let mut program = command(&[]);
            let program = program.args(words(arguments)).current_dir(folder.path());
            let Run { stdout, stderr, .. } = program.output().unwrap().into();
            let output = if stdout.is_empty() { &stderr } else { &stdout };
            let lines: Vec<&str> = output.lines().collect();
            assert!(
                fits(&printed, &lines),
                "{}: {line} prints\n{stdout}{stderr}",
                page.display()
            );
            run += 1;
        }
    }
    assert!(run >= 5, "{run} examples were run");
}

#[test]
fn the_guide_has_the_table_of_what_is_read() {
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide.md")).unwrap();
    let formats = Format::ALL.map(Format::markdown);
    let archives = ArchiveFormat::ALL.map(ArchiveFormat::markdown);
    for line in formats.iter().chain(&archives) {
        assert!(page.contains(line), "docs/guide.md lacks {line}");
    }
}

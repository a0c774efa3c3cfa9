//! The `console` blocks of README.md and of the documents print what they show.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

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

/// The line as a shell runs it here, or `None` if it builds or installs something.
fn runnable(line: &str) -> Option<String> {
    if let Some(arguments) = line.strip_prefix("cargo run --release -- ") {
        return Some(format!("electra-convert {arguments}"));
    }
    let is_build = ["cargo ", "pip "].iter().any(|word| line.starts_with(word));
    (!is_build).then(|| line.to_owned())
}

/// A shell in `folder` that finds the program under its name.
fn shell(folder: &Path, line: &str) -> Run {
    let program = command(&[]);
    let programs = Path::new(program.get_program()).parent().unwrap();
    let others = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(
        [programs.to_owned()]
            .into_iter()
            .chain(env::split_paths(&others)),
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).current_dir(folder);
    shell.env("PATH", path.unwrap()).output().unwrap().into()
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
        for Example { command, printed } in examples(&fs::read_to_string(page).unwrap()) {
            let Some(line) = runnable(&command) else {
                continue;
            };
            let Run {
                code,
                stdout,
                stderr,
            } = shell(folder.path(), &line);
            assert_eq!(code, Some(0), "{}: {command}: {stderr}", page.display());
            let output = if stdout.is_empty() { &stderr } else { &stdout };
            let lines: Vec<&str> = output.lines().collect();
            assert!(
                fits(&printed, &lines),
                "{}: {command} prints\n{stdout}{stderr}",
                page.display()
            );
            run += 1;
        }
    }
    assert!(run >= 15, "{run} examples were run");
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

//! Vocabularies that are made up, and exports with them.

use std::fs;

use tempfile::TempDir;

use testkit::bundle_writer::{SMALL, Sizes, discriminator};
use testkit::{Run, command, temp};

pub(crate) const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// Exports a discriminator with this many rows and this `vocab.txt`.
pub(crate) fn export(vocab: &[u8], rows: usize, options: &[&str]) -> (TempDir, Run) {
    let folder = temp();
    let sizes = Sizes {
        vocab: i64::try_from(rows).unwrap(),
        ..SMALL
    };
    discriminator(sizes).write(&folder.path().join("model"));
    fs::write(folder.path().join("vocab.txt"), vocab).unwrap();
    let out = folder.path().join("out");
    let run = command(&[
        &"--model",
        &"discriminator",
        &folder.path().join("model"),
        &out,
    ])
    .args(options)
    .output();
    (folder, Run::from(run.unwrap()))
}

/// Special tokens, the alphabet and six hundred words in lower case, then `tokens`.
pub(crate) fn english_with(tokens: &[String]) -> Vec<String> {
    let letters = 'a'..='z';
    let mut all: Vec<String> = SPECIAL.map(str::to_owned).to_vec();
    all.extend(
        letters
            .clone()
            .flat_map(|c| [c.to_string(), format!("##{c}")]),
    );
    let syllables = ["ba", "de", "fi", "go", "hu", "ka", "le", "mi", "no"];
    for first in syllables {
        for second in syllables {
            all.extend(
                ["", "n", "r", "s", "t", "x", "q"].map(|end| format!("{first}{second}{end}")),
            );
        }
    }
    all.extend_from_slice(tokens);
    all
}

/// The tokens of a list.
pub(crate) fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Each character alone and within a word.
pub(crate) fn each(chars: impl Iterator<Item = char>) -> Vec<String> {
    chars
        .flat_map(|c| [c.to_string(), format!("##{c}")])
        .collect()
}

/// Decomposed Hangul, as a vocabulary has it that was made from stripped text.
pub(crate) fn jamo() -> Vec<String> {
    let syllables = ('\u{1100}'..'\u{1110}')
        .flat_map(|first| ('\u{1161}'..'\u{1171}').map(move |second| format!("{first}{second}")));
    syllables.collect()
}

/// Each letter with each mark.
pub(crate) fn marked(letters: impl Iterator<Item = char>, marks: &str) -> Vec<String> {
    letters
        .flat_map(|letter| marks.chars().map(move |mark| format!("{letter}{mark}")))
        .collect()
}

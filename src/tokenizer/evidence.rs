//! Counts the tokens of a vocabulary that each setting of the tokenizer would change.
//!
//! Each token, without its `##`, goes through the normaliser of the `tokenizers` crate. A token that changes is
//! lost: no text produces it. A class of lost tokens is distinguished from a few odd ones by number, by share,
//! and by whether its letters are tokens themselves: a vocabulary contains the alphabet of the text that it
//! was made from, so that cased text leaves capital letters as tokens, and text with accents leaves accented
//! letters.

use std::collections::{BTreeMap, BTreeSet};

use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{
    NormalizedString, Normalizer as _, OffsetReferential, OffsetType, PreTokenizedString,
    PreTokenizer as _,
};

use super::special::is_special;
use super::text::listed;
use super::vocabulary::Vocabulary;

/// Lost tokens are odd ones up to a share of one in this many ...
const ODD: usize = 500;
/// ... and up to this number.
const MOST_ODD: usize = 20;
/// A vocabulary with accents loses a larger share than one in this many by stripping them.
const ACCENTED: usize = 200;
/// A cased vocabulary loses a larger share than one in this many by lower-casing.
const CASED: usize = 20;
/// A vocabulary with a larger share of words with Chinese characters than one in this many is not of this
/// tokenizer.
const SPLIT: usize = 100;
/// The smallest number of lost tokens of a class.
const FEWEST: usize = 5;
/// The smallest number of capital letters, or letters with accents, of an alphabet.
const ALPHABET: usize = 10;

/// Scripts whose letters are counted together: name, first and last code point. The last row is for all other
/// letters.
const SCRIPTS: [(&str, char, char); 7] = [
    ("Latin", 'A', 'z'),
    ("accented Latin", '\u{c0}', '\u{24f}'),
    ("Greek", '\u{370}', '\u{3ff}'),
    ("Cyrillic", '\u{400}', '\u{52f}'),
    ("Armenian", '\u{530}', '\u{58f}'),
    ("full-width Latin", '\u{ff21}', '\u{ff5a}'),
    ("other", '\0', char::MAX),
];

/// Tokens that a setting would lose, or that only one setting can produce.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Tokens {
    /// Number of tokens.
    pub count: usize,
    /// The first tokens.
    pub examples: Vec<String>,
    /// The tokens that are a single letter, without `##`.
    letters: BTreeSet<char>,
}

impl Tokens {
    const EXAMPLES: usize = 8;

    fn add(&mut self, token: &str, piece: &str) {
        self.count += 1;
        if self.examples.len() < Self::EXAMPLES {
            self.examples.push(token.to_owned());
        }
        self.letters.extend(single_letter(piece));
    }

    /// True for a larger share of `total` than one in `n`.
    fn is_above(&self, n: usize, total: usize) -> bool {
        self.count.saturating_mul(n) > total
    }

    /// True for a few odd tokens among `total`.
    fn is_odd(&self, total: usize) -> bool {
        self.count <= MOST_ODD && !self.is_above(ODD, total)
    }

    /// Lists the first tokens.
    pub(super) fn listed(&self) -> String {
        let more = self.count - self.examples.len();
        let mut text = listed(self.examples.iter().map(String::as_str));
        if more > 0 && !text.ends_with('…') {
            text.push_str(", …");
        }
        text
    }
}

/// The letters of one script that have two cases.
#[derive(Clone, Debug, Default)]
struct Script {
    /// Letters that are a token in either case, in lower case.
    letters: BTreeSet<char>,
    /// Letters that are a token as a capital letter, in lower case.
    capitals: BTreeSet<char>,
    /// Tokens with a letter of the script.
    tokens: usize,
}

impl Script {
    /// True if most letters are tokens as capital letters too.
    fn is_cased(&self) -> bool {
        self.capitals.len() >= ALPHABET && self.capitals.len() * 2 > self.letters.len()
    }
}

/// The effect of each setting on the tokens of a vocabulary.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Evidence {
    /// Number of tokens that were counted: all but special tokens, `[unused1]`, `<S>`, and tokens that the
    /// tokenizer splits under every setting.
    pub tokens: usize,
    /// Number of tokens with a letter that has two cases.
    pub with_case: usize,
    /// Tokens that lower-casing would lose.
    pub lost_by_lower_casing: Tokens,
    /// Tokens that stripping accents would lose.
    pub lost_by_stripping: Tokens,
    /// Tokens that composed text produces only if accents are stripped.
    pub only_by_stripping: Tokens,
    /// Decomposed tokens that stripping accents would lose.
    pub decomposed: Tokens,
    /// Words that the tokenizer splits at their Chinese characters under every setting.
    pub split_words: Tokens,
    scripts: BTreeMap<usize, Script>,
}

impl Evidence {
    /// Normalises every token of the vocabulary under each setting.
    pub fn of(vocabulary: &Vocabulary) -> Self {
        let mut evidence = Self::default();
        for token in vocabulary.tokens().filter(|token| !is_marker(token)) {
            let piece = token.strip_prefix("##").filter(|piece| !piece.is_empty());
            let piece = piece.unwrap_or(token);
            // Without this shortcut an English vocabulary takes a third of a second more in a debug build.
            let is_ascii = piece.is_ascii();
            let lost_by_lower_casing = if is_ascii {
                piece.bytes().any(|byte| byte.is_ascii_uppercase())
            } else {
                normalised(piece, NO_CHANGE.lower()) != piece
            };
            let stripped = (!is_ascii).then(|| normalised(piece, NO_CHANGE.strip()));
            let lost_by_stripping = stripped.as_ref().is_some_and(|stripped| stripped != piece);
            if !is_ascii && is_split_word(piece) {
                evidence.split_words.add(token, piece);
                continue;
            }
            // Which code points are combining marks depends on the version of Unicode.
            let is_mark = stripped.is_some_and(|stripped| stripped.is_empty());
            let is_changed = lost_by_lower_casing || lost_by_stripping;
            if is_mark || (is_changed && !is_one_word(piece)) {
                continue;
            }
            evidence.tokens += 1;
            evidence.add_letters(piece, lost_by_lower_casing);
            if lost_by_lower_casing {
                evidence.lost_by_lower_casing.add(token, piece);
            }
            let is_decomposed = !is_ascii && is_decomposed(piece);
            if lost_by_stripping {
                evidence.lost_by_stripping.add(token, piece);
                if is_decomposed {
                    evidence.decomposed.add(token, piece);
                }
            } else if is_decomposed {
                evidence.only_by_stripping.add(token, piece);
            }
        }
        evidence
    }

    fn add_letters(&mut self, piece: &str, is_lost: bool) {
        let Some(letter) = piece.chars().find(|c| has_case(*c)) else {
            self.with_case += usize::from(is_lost);
            return;
        };
        self.with_case += 1;
        let script = self.scripts.entry(script_of(letter)).or_default();
        script.tokens += 1;
        if let Some(letter) = single_letter(piece) {
            let small = letter.to_lowercase().next().unwrap_or(letter);
            script.letters.insert(small);
            if is_lost {
                script.capitals.insert(small);
            }
        }
    }

    /// Returns whether the vocabulary is cased.
    pub(super) fn case(&self) -> Verdict {
        let lost = &self.lost_by_lower_casing;
        if lost.count == 0 {
            return Verdict::No;
        }
        let size = |cased: bool| {
            let scripts = self.scripts.values();
            let scripts = scripts.filter(|script| script.is_cased() == cased);
            scripts.map(|script| script.tokens).max().unwrap_or(0)
        };
        let (cased, lower) = (size(true), size(false));
        let is_most = lost.is_above(2, self.with_case);
        let are_words = lost.is_above(CASED, self.with_case) && !lost.letters.is_empty();
        if cased > lower
            || (is_most && lost.count >= 3)
            || (are_words && lost.count >= FEWEST && cased == 0)
        {
            Verdict::Yes
        } else if cased == 0 && lost.is_odd(self.with_case) {
            Verdict::No
        } else {
            Verdict::Unclear(are_words && lost.count >= 3)
        }
    }

    /// Returns whether the vocabulary has accents.
    pub(super) fn accents(&self) -> Verdict {
        let lost = &self.lost_by_stripping;
        if lost.count == 0 {
            return Verdict::No;
        }
        let above = |n| lost.is_above(n, self.tokens);
        let are_letters = lost.letters.len() >= 2 && above(ACCENTED) && lost.count >= FEWEST;
        let is_alphabet = lost.letters.len() >= ALPHABET && !lost.is_odd(self.tokens);
        let are_words = above(ACCENTED / 4) && lost.count >= 2 * FEWEST;
        if are_letters || is_alphabet || are_words || (above(2) && lost.count >= 3) {
            Verdict::Yes
        } else if lost.is_odd(self.tokens) {
            Verdict::No
        } else {
            Verdict::Unclear(above(ACCENTED) && lost.count >= 3)
        }
    }

    /// True if many tokens match decomposed text only.
    pub(super) fn has_many_decomposed(&self) -> bool {
        self.decomposed.count >= FEWEST && self.decomposed.is_above(ACCENTED, self.tokens)
    }

    /// True if many tokens are words that are split at Chinese characters.
    pub(super) fn has_many_split_words(&self) -> bool {
        let total = self.tokens + self.split_words.count;
        self.split_words.count >= 2 * FEWEST && self.split_words.is_above(SPLIT, total)
    }

    /// True if a class of tokens needs accents to be stripped.
    pub(super) fn needs_stripping(&self) -> bool {
        let only = &self.only_by_stripping;
        only.count >= FEWEST && only.is_above(ACCENTED, self.tokens)
    }
}

/// Whether the vocabulary has a class of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// No tokens of the class, or a few odd ones.
    No,
    /// The whole class.
    Yes,
    /// Too few tokens to decide; true if the class is more likely.
    Unclear(bool),
}

/// No change at all; the start for normalisations with one change.
const NO_CHANGE: Normalisation = Normalisation {
    lower: false,
    strip: false,
    split: false,
};

/// The changes that a normaliser makes.
#[derive(Clone, Copy)]
struct Normalisation {
    lower: bool,
    strip: bool,
    split: bool,
}

impl Normalisation {
    fn lower(self) -> Self {
        Self {
            lower: true,
            ..self
        }
    }

    fn strip(self) -> Self {
        Self {
            strip: true,
            ..self
        }
    }

    fn split(self) -> Self {
        Self {
            split: true,
            ..self
        }
    }
}

/// Returns the normalised text.
fn normalised(text: &str, changes: Normalisation) -> String {
    let normalizer = BertNormalizer::new(
        changes.split,
        changes.split,
        Some(changes.strip),
        changes.lower,
    );
    let mut text = NormalizedString::from(text);
    match normalizer.normalize(&mut text) {
        Ok(()) => text.get().to_owned(),
        Err(_) => String::new(),
    }
}

/// True if the piece has fewer characters after composition.
fn is_decomposed(piece: &str) -> bool {
    let mut text = NormalizedString::from(piece);
    text.nfc().get().chars().count() < piece.chars().count()
}

/// True if the tokenizer does not split the piece when nothing is lower-cased or stripped.
fn is_one_word(piece: &str) -> bool {
    let text = normalised(piece, NO_CHANGE.split());
    let mut text = PreTokenizedString::from(text.trim());
    if BertPreTokenizer.pre_tokenize(&mut text).is_err() {
        return false;
    }
    let words = text.get_splits(OffsetReferential::Normalized, OffsetType::Byte);
    matches!(words[..], [(word, ..)] if word == piece)
}

/// True for a word that the tokenizer splits at a Chinese character.
fn is_split_word(piece: &str) -> bool {
    piece.chars().nth(1).is_some()
        && normalised(piece, NO_CHANGE.split()).trim().contains(' ')
        && !piece.contains(char::is_whitespace)
}

/// True for tokens that do not stand for text: `[unused1]`, `<S>`.
fn is_marker(token: &str) -> bool {
    let inside = |open: char, close: char| {
        let inside = token.strip_prefix(open)?.strip_suffix(close)?;
        (!inside.is_empty()).then_some(inside)
    };
    is_special(token)
        || inside('[', ']').is_some()
        || inside('<', '>').is_some_and(|inside| inside.chars().all(char::is_alphanumeric))
}

fn single_letter(piece: &str) -> Option<char> {
    let mut chars = piece.chars();
    let letter = chars.next().filter(|c| c.is_alphabetic())?;
    chars.next().is_none().then_some(letter)
}

fn has_case(c: char) -> bool {
    c.to_lowercase().ne([c]) || c.to_uppercase().ne([c])
}

fn script_of(letter: char) -> usize {
    let is_in = |(_, first, last): &(&str, char, char)| (*first..=*last).contains(&letter);
    SCRIPTS.iter().position(is_in).unwrap_or(SCRIPTS.len() - 1)
}

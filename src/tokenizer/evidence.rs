//! Counts what each setting of the tokenizer would do to the tokens of a vocabulary.
//!
//! Each token, without its `##`, goes through the normaliser of the `tokenizers` crate. A token that
//! does not stay itself is lost: no text gives it. A class of lost tokens is told from a few odd ones
//! by number, by share, and by whether its letters are tokens themselves: a vocabulary holds the
//! alphabet of the text that it was made from, so cased text leaves capital letters as tokens, and
//! text with accents leaves accented letters.

use std::collections::{BTreeMap, BTreeSet};

use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{
    NormalizedString, Normalizer as _, OffsetReferential, OffsetType, PreTokenizedString,
    PreTokenizer as _,
};

use super::{Vocabulary, is_special, listed};

/// Up to this share of lost tokens, one in this many, and up to this many are put down to chance.
const ODD: usize = 500;
const MOST_ODD: usize = 20;
/// An accented or cased vocabulary loses a larger share than one in this many.
const ACCENTED: usize = 200;
const CASED: usize = 20;
/// More words with Chinese characters than one token in this many are no accident.
const SPLIT: usize = 100;
/// The fewest lost tokens that make a class.
const FEWEST: usize = 5;
/// The fewest capital letters, or letters with accents, that make an alphabet.
const ALPHABET: usize = 10;

/// Letters that are counted together: name, first and last code point. The last row is for all others.
const SCRIPTS: [(&str, char, char); 7] = [
    ("Latin", 'A', 'z'),
    ("accented Latin", '\u{c0}', '\u{24f}'),
    ("Greek", '\u{370}', '\u{3ff}'),
    ("Cyrillic", '\u{400}', '\u{52f}'),
    ("Armenian", '\u{530}', '\u{58f}'),
    ("full-width Latin", '\u{ff21}', '\u{ff5a}'),
    ("other", '\0', char::MAX),
];

/// Tokens that a setting would lose, or that only it can produce.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    /// How many there are.
    pub count: usize,
    /// The first of them.
    pub examples: Vec<String>,
    /// The tokens of a single letter among them, without `##`.
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

    /// True above a share of one in `n`.
    fn is_above(&self, n: usize, total: usize) -> bool {
        self.count.saturating_mul(n) > total
    }

    /// True for a few odd tokens among `total`.
    fn is_odd(&self, total: usize) -> bool {
        self.count <= MOST_ODD && !self.is_above(ODD, total)
    }

    pub(super) fn listed(&self) -> String {
        let more = self.count - self.examples.len();
        let mut text = listed(self.examples.iter().map(String::as_str));
        if more > 0 && !text.ends_with('…') {
            text.push_str(", …");
        }
        text
    }
}

/// Letters of one script with two cases.
#[derive(Clone, Debug, Default)]
struct Script {
    /// Letters that are a token in either case, in lower case.
    letters: BTreeSet<char>,
    /// Those that are a token as a capital letter.
    capitals: BTreeSet<char>,
    /// Tokens with a letter of the script.
    tokens: usize,
}

impl Script {
    /// True if most letters are there as capital letters too.
    fn is_cased(&self) -> bool {
        self.capitals.len() >= ALPHABET && self.capitals.len() * 2 > self.letters.len()
    }
}

/// What the vocabulary shows.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Tokens that were counted. Special tokens, `[unused1]`, `<S>` and whatever the tokenizer splits
    /// in any case are not evidence.
    pub tokens: usize,
    /// Those with a letter that has two cases.
    pub with_case: usize,
    /// Tokens that lower-casing would lose.
    pub lost_by_lower_casing: Tokens,
    /// Tokens that stripping accents would lose.
    pub lost_by_stripping: Tokens,
    /// Tokens that composed text gives only if accents are stripped.
    pub only_by_stripping: Tokens,
    /// Those of the tokens that stripping would lose that are decomposed.
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
            // The shortcut saves a third of a second on an English vocabulary, unoptimised.
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

    /// Whether the vocabulary is cased.
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

    /// Whether accents are kept.
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

    /// True if many tokens match decomposed text alone.
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

/// Whether a class of tokens is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing of it, or a few odd tokens.
    No,
    /// A whole class.
    Yes,
    /// Too few tokens to decide, and what is likelier.
    Unclear(bool),
}

/// A normaliser that changes nothing: a start for those that do one thing.
const NO_CHANGE: Only = Only {
    lower: false,
    strip: false,
    split: false,
};

/// What a normaliser does.
#[derive(Clone, Copy)]
struct Only {
    lower: bool,
    strip: bool,
    split: bool,
}

impl Only {
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

fn normalised(text: &str, only: Only) -> String {
    let normalizer = BertNormalizer::new(only.split, only.split, Some(only.strip), only.lower);
    let mut text = NormalizedString::from(text);
    match normalizer.normalize(&mut text) {
        Ok(()) => text.get().to_owned(),
        Err(_) => String::new(),
    }
}

/// True if composing makes fewer characters of the piece.
fn is_decomposed(piece: &str) -> bool {
    let mut text = NormalizedString::from(piece);
    text.nfc().get().chars().count() < piece.chars().count()
}

/// True if the tokenizer takes the piece as one word when nothing is lower-cased or stripped.
fn is_one_word(piece: &str) -> bool {
    let text = normalised(piece, NO_CHANGE.split());
    let mut text = PreTokenizedString::from(text.trim());
    if BertPreTokenizer.pre_tokenize(&mut text).is_err() {
        return false;
    }
    let words = text.get_splits(OffsetReferential::Normalized, OffsetType::Byte);
    matches!(words[..], [(word, ..)] if word == piece)
}

/// True for a word that is split at a Chinese character in it.
fn is_split_word(piece: &str) -> bool {
    piece.chars().nth(1).is_some()
        && normalised(piece, NO_CHANGE.split()).trim().contains(' ')
        && !piece.contains(char::is_whitespace)
}

/// True for tokens that stand for something else than text: `[unused1]`, `<S>`.
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

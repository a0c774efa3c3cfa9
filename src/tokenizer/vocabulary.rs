//! Reads a `vocab.txt`; each line gets the id that the original code assigns to it.
//!
//! The original loader strips white space from each line (Python's `str.strip`) and counts the lines, whatever
//! they contain: an empty line has an id, and a repeated token has its last id. `BertTokenizer` does the same,
//! except that it strips only the line end. Where the two differ, this module follows the original code, and
//! [`Vocabulary::written`] returns lines from which both read the same ids: a line whose id has no token
//! (empty, or repeated later) becomes a unique placeholder that no text produces, so that the number of tokens
//! equals the number of ids.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tf_checkpoint::storage::regular;

use super::error::Error;
use super::special::{SPECIAL, UNK, is_special};
use super::text::{grouped, listed};

/// The maximum length of a vocabulary in bytes. The largest published one (XLM-V) has 15 MB.
pub const MAX_LEN: u64 = 64 << 20;
/// The maximum number of lines. XLM-V has 901,629.
const MAX_LINES: usize = 1 << 20;

const BYTE_ORDER_MARK: &str = "\u{feff}";

/// Everything in a `vocab.txt` besides one token a line.
#[derive(Clone, Debug, Default)]
struct Oddities {
    byte_order_mark: Option<ByteOrderMark>,
    carriage_returns: bool,
    /// Numbers of the lines, from 1, that have white space around their token.
    padded: Vec<usize>,
    /// Numbers of the lines without a token.
    empty: Vec<usize>,
    /// Numbers of the lines whose token is repeated later, with the token.
    repeated: Vec<(usize, String)>,
}

/// How a byte order mark was treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ByteOrderMark {
    /// Removed, because it was before a special token.
    Removed,
    /// Kept as a part of the first token, as in the original code and in `BertTokenizer`.
    Kept,
}

/// A vocabulary: the token of line `i`, from 0, has the id `i`.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    path: PathBuf,
    /// The token of each line; empty for a line without a token.
    tokens: Vec<String>,
    /// The last id of each token.
    ids: HashMap<String, u32>,
    /// Number of rows of the word embeddings, if they are known.
    rows: Option<usize>,
    oddities: Oddities,
}

impl Vocabulary {
    /// Reads a `vocab.txt`.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let io_error = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        Self::parse(path, &regular::read(path, MAX_LEN).map_err(io_error)?)
    }

    /// Parses the bytes of a `vocab.txt`, which were read from `path`.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let path = path.to_owned();
        let bytes_without_mark = bytes.strip_prefix(BYTE_ORDER_MARK.as_bytes());
        let has_mark = bytes_without_mark.is_some();
        let bytes = bytes_without_mark.unwrap_or(bytes);
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let lines = bytes.split(|&byte| byte == b'\n').count();
        if lines > MAX_LINES {
            return Err(Error::TooManyLines { path, lines });
        }

        let mut oddities = Oddities::default();
        let mut tokens = Vec::with_capacity(lines);
        let mut ids: HashMap<String, u32> = HashMap::with_capacity(lines);
        for (line, id) in bytes.split(|&byte| byte == b'\n').zip(0_u32..) {
            let number = id as usize + 1;
            let Ok(line) = std::str::from_utf8(line) else {
                return Err(Error::NotUtf8 { path, line: number });
            };
            let without_end = line.strip_suffix('\r').unwrap_or(line);
            oddities.carriage_returns |= without_end.len() < line.len();
            let mut token = line.trim_matches(is_python_space).to_owned();
            if token.len() < without_end.len() && !token.is_empty() {
                oddities.padded.push(number);
            }
            if has_mark && id == 0 {
                let removed = is_special(&token) || token.is_empty();
                oddities.byte_order_mark = Some(if removed {
                    ByteOrderMark::Removed
                } else {
                    token.insert_str(0, BYTE_ORDER_MARK);
                    ByteOrderMark::Kept
                });
            }
            // For BertTokenizer a carriage return ends the line. No text produces such a token.
            if token.contains('\r') {
                token.clear();
            }
            if token.is_empty() {
                oddities.empty.push(number);
            } else if let Some(earlier) = ids.insert(token.clone(), id) {
                oddities
                    .repeated
                    .push((earlier as usize + 1, token.clone()));
            }
            tokens.push(token);
        }
        let missing: Vec<&str> = SPECIAL
            .iter()
            .map(|(_, token)| *token)
            .filter(|token| !ids.contains_key(*token))
            .collect();
        if !missing.is_empty() {
            return Err(Error::MissingSpecial {
                path,
                tokens: missing.join(" "),
            });
        }
        Ok(Self {
            path,
            tokens,
            ids,
            rows: None,
            oddities,
        })
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the number of ids: one for each line.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Always false: every vocabulary has the special tokens.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Returns the number of rows of the word embeddings; `None` before the vocabulary is fitted to a model.
    pub fn rows(&self) -> Option<usize> {
        self.rows
    }

    /// Returns the id of a token.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.ids.get(token).copied()
    }

    /// Returns the distinct tokens, by id.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        let own = |(token, id): (&String, u32)| self.ids.get(token) == Some(&id);
        let tokens = self.tokens.iter().zip(0_u32..);
        tokens
            .filter(move |&(token, id)| own((token, id)))
            .map(|(token, _)| token.as_str())
    }

    /// Returns the token of each id as it is written to `vocab.txt`, each token once.
    pub(super) fn written(&self) -> impl Iterator<Item = String> {
        self.tokens.iter().zip(0_u32..).map(|(token, id)| {
            if self.ids.get(token) == Some(&id) {
                token.clone()
            } else {
                self.placeholder(id)
            }
        })
    }

    /// Returns a token that no text produces (because of its brackets) and that no other line has.
    fn placeholder(&self, id: u32) -> String {
        let mut name = format!("[unused-{id}]");
        while self.ids.contains_key(&name) {
            name.insert(1, '-');
        }
        name
    }

    /// Checks that each line has one of the `rows` of the word embeddings. An empty line has an id too, as in
    /// the original loader.
    pub(super) fn fit(&mut self, rows: usize) -> Result<(), Error> {
        self.rows = Some(rows);
        if self.tokens.len() <= rows {
            return Ok(());
        }
        let mut surplus = self.tokens.iter().zip(1_usize..).skip(rows);
        let first = match surplus.find(|(token, _)| !token.is_empty()) {
            Some((token, line)) => {
                format!("the first token without a row is {token:?} in line {line}")
            }
            None => format!(
                "line {} and all after it are empty: remove them if they were added after training",
                rows + 1
            ),
        };
        let mut seen = vec![first];
        seen.extend(self.oddities.notes());
        Err(Error::Size {
            path: self.path.clone(),
            found: self.tokens.len(),
            expected: rows,
            seen: seen.join("; "),
        })
    }

    /// Returns notes about the file for the report, one fact each.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.oddities.notes();
        let len = self.tokens.len();
        if let Some(rows) = self.rows.filter(|&rows| rows > len) {
            notes.push(format!(
                "{} tokens for {} rows of the word embeddings: the ids from {len} to {} have no token",
                grouped(len),
                grouped(rows),
                rows - 1
            ));
        }
        notes
    }

    /// Returns the reasons for doubt that this is the right file.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let path = self.path.display();
        if self.oddities.byte_order_mark == Some(ByteOrderMark::Kept) {
            let token = self.tokens[0].trim_start_matches(BYTE_ORDER_MARK);
            warnings.push(format!(
                "{path} starts with a byte order mark, which the original code reads as a part of the \
                 first token: {token:?} becomes {UNK} in text; remove the mark if it was added after \
                 training"
            ));
        }
        let len = self.tokens.len();
        if let Some(rows) = self.rows {
            let unused = rows.saturating_sub(len);
            if unused >= MANY_UNUSED && unused > rows / 20 {
                warnings.push(format!(
                    "{path} has {} tokens, the word embeddings have {} rows: check that it is the \
                     vocabulary of this model (--vocab FILE gives another one)",
                    grouped(len),
                    grouped(rows)
                ));
            }
        }
        warnings
    }
}

/// Fewer rows without a token than this are padding to a multiple of 8, 64 or 128.
const MANY_UNUSED: usize = 128;

impl Oddities {
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        match self.byte_order_mark {
            Some(ByteOrderMark::Removed) => notes.push("byte order mark removed".to_owned()),
            Some(ByteOrderMark::Kept) => {
                notes.push("byte order mark kept as part of the first token".to_owned());
            }
            None => {}
        }
        if self.carriage_returns {
            notes.push("lines end in CRLF".to_owned());
        }
        if let Some(first) = self.padded.first() {
            notes.push(format!(
                "white space around the token removed in {} (the first is line {first})",
                lines(self.padded.len())
            ));
        }
        if let Some(first) = self.empty.first() {
            notes.push(format!(
                "{} without a token, which {} an id as in the original code (the first is line \
                 {first})",
                lines(self.empty.len()),
                if self.empty.len() == 1 { "has" } else { "have" }
            ));
        }
        if !self.repeated.is_empty() {
            let examples = self.repeated.iter().map(|(_, token)| token.as_str());
            notes.push(format!(
                "{} (the first is in line {}): {}; the last id counts, as in the original code",
                match self.repeated.len() {
                    1 => "1 repeated token".to_owned(),
                    n => format!("{} repeated tokens", grouped(n)),
                },
                self.repeated[0].0,
                listed(examples)
            ));
        }
        notes
    }
}

/// Formats a number of lines.
fn lines(n: usize) -> String {
    match n {
        1 => "1 line".to_owned(),
        n => format!("{} lines", grouped(n)),
    }
}

/// True for the characters that Python's `str.strip` removes: white space, and four separators that are no
/// white space in Rust.
fn is_python_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

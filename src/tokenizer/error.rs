//! Errors of reading a vocabulary and of making a tokenizer.

use std::io;
use std::path::PathBuf;

/// An error of reading a vocabulary or making a tokenizer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An I/O error.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The file has more lines than any vocabulary.
    #[error(
        "{} has {lines} lines, more than any vocabulary: give the right file with --vocab FILE",
        path.display()
    )]
    TooManyLines {
        /// The file.
        path: PathBuf,
        /// Number of lines.
        lines: usize,
    },
    /// A line is not UTF-8.
    #[error("line {line} of {} is not UTF-8: save the file as UTF-8, or leave the tokenizer out with --vocab none", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
    },
    /// Special tokens are missing.
    #[error("{} lacks {tokens}: is it the vocabulary of this model? (--vocab FILE gives another one, --vocab none leaves the tokenizer out)", path.display())]
    MissingSpecial {
        /// The file.
        path: PathBuf,
        /// The missing tokens, separated by spaces.
        tokens: String,
    },
    /// The vocabulary has more tokens than the word embeddings have rows.
    #[error(
        "{} has {found} tokens (one a line), the word embeddings have {expected} rows ({seen}): it is \
         not the vocabulary of this model; give the right one with --vocab FILE, or leave the tokenizer \
         out with --vocab none",
        path.display()
    )]
    Size {
        /// The file.
        path: PathBuf,
        /// Number of tokens.
        found: usize,
        /// Number of rows.
        expected: usize,
        /// The first token without a row, and what is unusual about the file.
        seen: String,
    },
    /// The request needs a tokenizer, and there is no vocabulary.
    #[error("{what} needs a tokenizer, and there is no vocabulary{looked}: give --vocab FILE")]
    Needed {
        /// What was requested.
        what: &'static str,
        /// Where a vocabulary was looked for, in parentheses; empty if it was not.
        looked: String,
    },
    /// The `tokenizers` crate returned an error.
    #[error("the tokenizer cannot be built: {0}")]
    Tokenizers(String),
}

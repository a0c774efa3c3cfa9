//! From a `vocab.txt` to the tokenizer files of Hugging Face.
//!
//! ELECTRA's tokenizer is BERT's: clean the text, split it at white space, punctuation and Chinese
//! characters, cut words into pieces of the vocabulary.
//!
//! | module | knows |
//! |---|---|
//! | `vocabulary` | how a `vocab.txt` is read, and which id each line has |
//! | `evidence` | what lower-casing and stripping accents would do to its tokens |
//! | `settings` | whether text is lower-cased and accents are stripped |
//! | `files` | the four files, which give the same ids in transformers 4 and 5, slow and fast |
//!
//! `tokenizer.json` is made with the `tokenizers` crate, which is also what `probe` tokenizes with.

mod evidence;
mod files;
mod settings;
mod vocabulary;

pub use evidence::{Evidence, Tokens};
pub use settings::Settings;
pub use vocabulary::{MAX_LEN, Vocabulary};

use std::io;
use std::path::PathBuf;

/// The vocabulary's name beside a checkpoint, and in an export.
pub const VOCAB_FILE: &str = "vocab.txt";
/// The whole tokenizer, as the `tokenizers` crate reads it.
pub const TOKENIZER_FILE: &str = "tokenizer.json";
/// The settings of the tokenizer, as transformers reads them.
pub const TOKENIZER_CONFIG_FILE: &str = "tokenizer_config.json";
/// The special tokens, as transformers 4 reads them.
pub const SPECIAL_TOKENS_FILE: &str = "special_tokens_map.json";
/// All files of a tokenizer.
pub const FILES: [&str; 4] = [
    VOCAB_FILE,
    TOKENIZER_FILE,
    TOKENIZER_CONFIG_FILE,
    SPECIAL_TOKENS_FILE,
];

/// The padding token.
pub const PAD: &str = "[PAD]";
/// The token that stands for a masked one.
pub const MASK: &str = "[MASK]";
pub(crate) const UNK: &str = "[UNK]";
pub(crate) const CLS: &str = "[CLS]";
pub(crate) const SEP: &str = "[SEP]";
/// The tokens that a vocabulary must have, with the key of each in the configuration files.
pub(crate) const SPECIAL: [(&str, &str); 5] = [
    ("pad_token", PAD),
    ("unk_token", UNK),
    ("cls_token", CLS),
    ("sep_token", SEP),
    ("mask_token", MASK),
];

fn is_special(token: &str) -> bool {
    SPECIAL.iter().any(|(_, special)| *special == token)
}

/// A vocabulary and how text is normalised for it.
#[derive(Clone, Debug)]
pub struct TokenizerSetup {
    /// The vocabulary.
    pub vocabulary: Vocabulary,
    /// Lower-casing and accents, and what decided on them.
    pub settings: Settings,
}

impl TokenizerSetup {
    /// Decides on the settings: by the options, else by the vocabulary.
    pub fn new(
        vocabulary: Vocabulary,
        do_lower_case: Option<bool>,
        strip_accents: Option<bool>,
    ) -> Self {
        let settings = Settings::new(&vocabulary, do_lower_case, strip_accents);
        Self {
            vocabulary,
            settings,
        }
    }

    /// Returns the tokenizer of a model whose word embeddings have `rows` rows.
    ///
    /// # Errors
    /// [`Error::Size`] if a token has no row. Fewer tokens than rows are fine.
    pub fn fitted(&self, rows: usize) -> Result<Self, Error> {
        let mut fitted = self.clone();
        fitted.vocabulary.fit(rows)?;
        Ok(fitted)
    }

    /// What the user should know although nothing failed.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.vocabulary.warnings();
        warnings.extend(self.settings.warnings.iter().cloned());
        warnings
    }
}

/// Why no tokenizer can be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// More lines than any vocabulary has.
    #[error("{} has {lines} lines, more than any vocabulary", path.display())]
    TooManyLines {
        /// The file.
        path: PathBuf,
        /// Number of lines.
        lines: usize,
    },
    /// A line that is not text.
    #[error("line {line} of {} is not UTF-8: save the file as UTF-8, or leave the tokenizer out with --vocab none", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
    },
    /// Tokens that every BERT vocabulary has.
    #[error("{} lacks {tokens}: is it the vocabulary of this model? (--vocab FILE gives another one, --vocab none leaves the tokenizer out)", path.display())]
    MissingSpecial {
        /// The file.
        path: PathBuf,
        /// The tokens, separated by spaces.
        tokens: String,
    },
    /// More tokens than word embeddings.
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
        /// What is odd about the file.
        seen: String,
    },
    /// A request that needs a tokenizer, without a vocabulary.
    #[error("{what} needs a tokenizer, and there is no vocabulary: give --vocab FILE")]
    Needed {
        /// What was requested.
        what: &'static str,
    },
    /// The `tokenizers` crate refused.
    #[error("the tokenizer cannot be built: {0}")]
    Tokenizers(String),
}

/// A number with a comma after each three digits.
pub(crate) fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The first few tokens, quoted.
pub(crate) fn listed<'a>(tokens: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 5;
    let mut quoted: Vec<String> = tokens.take(SHOWN + 1).map(|t| format!("{t:?}")).collect();
    if quoted.len() > SHOWN {
        "…".clone_into(&mut quoted[SHOWN]);
    }
    quoted.join(", ")
}

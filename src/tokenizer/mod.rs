//! Converts a `vocab.txt` to the tokenizer files of Hugging Face.
//!
//! ELECTRA's tokenizer is BERT's: it cleans the text, splits it at white space, punctuation and Chinese
//! characters, and splits words into pieces of the vocabulary.
//!
//! | module | contents |
//! |---|---|
//! | `vocabulary` | reads a `vocab.txt`; the id of each line |
//! | `evidence` | the effect of lower-casing and stripping accents on its tokens |
//! | `settings` | decides whether text is lower-cased and accents are stripped |
//! | `files` | the four files, which give the same ids in transformers 4 and 5, slow and fast |
//! | `special` | the special tokens |
//! | `text` | numbers and lists of tokens in messages |
//!
//! `tokenizer.json` is written by the `tokenizers` crate, with which `probe` tokenizes too.

mod error;
mod evidence;
mod files;
mod settings;
mod setup;
mod special;
mod text;
mod vocabulary;

pub use error::Error;
pub use evidence::{Evidence, Tokens};
pub use files::{FILES, SPECIAL_TOKENS_FILE, TOKENIZER_CONFIG_FILE, TOKENIZER_FILE, VOCAB_FILE};
pub use settings::Settings;
pub use setup::TokenizerSetup;
pub(crate) use special::{CLS, SEP, SPECIAL};
pub use special::{MASK, PAD};
pub(crate) use text::grouped;
pub use vocabulary::{MAX_LEN, Vocabulary};

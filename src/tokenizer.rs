//! From a `vocab.txt` to the tokenizer files of Hugging Face.
//!
//! ELECTRA's tokenizer is BERT's: clean the text, split it at white space, punctuation and Chinese
//! characters, cut words into pieces of the vocabulary. A [`Vocabulary`] is read and checked here; a
//! [`TokenizerSetup`] adds what the vocabulary cannot tell for sure; its files give the same ids
//! in transformers 4 and 5, slow and fast.
//!
//! `tokenizer.json` is made with the `tokenizers` crate, which is also what `probe` tokenizes with.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use serde_json::{Map, Value, json};
use tokenizers::Tokenizer;

/// The vocabulary's name beside a checkpoint, and in an export.
pub const VOCAB_FILE: &str = "vocab.txt";
/// The whole tokenizer, as the `tokenizers` crate reads it.
pub const TOKENIZER_FILE: &str = "tokenizer.json";
/// The other files of a tokenizer.
const TOKENIZER_CONFIG_FILE: &str = "tokenizer_config.json";
const SPECIAL_TOKENS_FILE: &str = "special_tokens_map.json";
/// All files of a tokenizer.
pub const FILES: [&str; 4] = [
    VOCAB_FILE,
    TOKENIZER_FILE,
    TOKENIZER_CONFIG_FILE,
    SPECIAL_TOKENS_FILE,
];

/// The padding token.
pub const PAD: &str = "[PAD]";
/// What stands for a masked token.
pub const MASK: &str = "[MASK]";
const UNK: &str = "[UNK]";
const CLS: &str = "[CLS]";
const SEP: &str = "[SEP]";
/// What a vocabulary must have, with the key of each in the configuration files.
const SPECIAL: [(&str, &str); 5] = [
    ("pad_token", PAD),
    ("unk_token", UNK),
    ("cls_token", CLS),
    ("sep_token", SEP),
    ("mask_token", MASK),
];

/// The largest vocabulary read, in bytes. Those of multilingual BERT take 1 MB.
pub const MAX_LEN: u64 = 64 << 20;
/// Words of more characters become `[UNK]`; Hugging Face's limit, Google's is 200.
const MAX_WORD_LEN: usize = 100;

/// A checked vocabulary: token `i` has the id `i`.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    path: PathBuf,
    tokens: Vec<String>,
    ids: HashMap<String, u32>,
}

impl Vocabulary {
    /// Reads a `vocab.txt`: a token a line, with either kind of line ending.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let io_error = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        let len = std::fs::metadata(path).map_err(io_error)?.len();
        if len > MAX_LEN {
            return Err(Error::TooLarge {
                path: path.to_owned(),
                len,
            });
        }
        Self::parse(
            path,
            &crate::checkpoint::regular::read(path, MAX_LEN).map_err(io_error)?,
        )
    }

    /// The vocabulary in the bytes of a `vocab.txt`, which were read from `path`.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let path = path.to_owned();
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let mut tokens = Vec::new();
        let mut ids = HashMap::new();
        for (line, id) in bytes.split(|&byte| byte == b'\n').zip(0_u32..) {
            let token = line.strip_suffix(b"\r").unwrap_or(line);
            let Ok(token) = std::str::from_utf8(token) else {
                return Err(Error::NotUtf8 {
                    path,
                    line: id as usize + 1,
                });
            };
            if let Some(first) = ids.insert(token.to_owned(), id) {
                return Err(Error::Duplicate {
                    path,
                    token: token.to_owned(),
                    first: first as usize + 1,
                    second: id as usize + 1,
                });
            }
            tokens.push(token.to_owned());
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
        Ok(Self { path, tokens, ids })
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Never true: the special tokens are there.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The id of a token.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.ids.get(token).copied()
    }

    /// A word piece with an upper-case letter, if there is one. Bracketed tokens do not count.
    fn cased_token(&self) -> Option<&str> {
        let is_bracketed = |token: &str| token.starts_with('[') && token.ends_with(']');
        self.tokens
            .iter()
            .map(String::as_str)
            .find(|token| !is_bracketed(token) && token.contains(char::is_uppercase))
    }
}

/// A vocabulary and how text is brought into its form.
#[derive(Clone, Debug)]
pub struct TokenizerSetup {
    /// The vocabulary.
    pub vocabulary: Vocabulary,
    /// Lower-case all text.
    pub do_lower_case: bool,
    /// What decided on lower-casing, for people.
    pub decided_by: String,
    /// Take accents off; where it is not given, as lower-casing is.
    pub strip_accents: Option<bool>,
}

impl TokenizerSetup {
    /// Lower-cases as told, else unless the vocabulary has cased words.
    pub fn new(
        vocabulary: Vocabulary,
        do_lower_case: Option<bool>,
        strip_accents: Option<bool>,
    ) -> Self {
        let (do_lower_case, decided_by) = match (do_lower_case, vocabulary.cased_token()) {
            (Some(told), _) => (told, "--do-lower-case".to_owned()),
            (None, Some(token)) => (false, format!("the vocabulary has {token:?}")),
            (None, None) => (
                true,
                "no token of the vocabulary has an upper-case letter".into(),
            ),
        };
        Self {
            vocabulary,
            do_lower_case,
            decided_by,
            strip_accents,
        }
    }

    /// Checks that there is a token for each row of the word embeddings.
    pub fn check_size(&self, vocab_size: usize) -> Result<(), Error> {
        if self.vocabulary.len() == vocab_size {
            return Ok(());
        }
        Err(Error::Size {
            path: self.vocabulary.path.clone(),
            found: self.vocabulary.len(),
            expected: vocab_size,
        })
    }

    /// The files to write, with their contents, in the order of [`FILES`]. `max_len` is the number of
    /// positions of the model.
    pub fn files(&self, max_len: usize) -> Result<[(&'static str, String); 4], Error> {
        let special: Map<String, Value> = SPECIAL
            .iter()
            .map(|&(key, token)| (key.to_owned(), token.into()))
            .collect();
        let mut vocabulary = self.vocabulary.tokens.join("\n");
        vocabulary.push('\n');
        let tokenizer = self.tokenizer()?;
        let json = tokenizer
            .to_string(true)
            .map_err(|error| Error::Tokenizers(error.to_string()))?;
        let pretty = |value: &Value| format!("{value:#}\n");
        Ok([
            (VOCAB_FILE, vocabulary),
            (TOKENIZER_FILE, json),
            (
                TOKENIZER_CONFIG_FILE,
                pretty(&self.config(max_len, &special)),
            ),
            (
                SPECIAL_TOKENS_FILE,
                pretty(&Value::Object(sorted(special.clone()))),
            ),
        ])
    }

    /// The union of what transformers 4 and 5 write, sorted.
    fn config(&self, max_len: usize, special: &Map<String, Value>) -> Value {
        let added: Map<String, Value> = self
            .special_by_id()
            .into_iter()
            .map(|(id, token)| (id.to_string(), sorted(added_token(token)).into()))
            .collect();
        let Value::Object(mut config) = json!({
            "added_tokens_decoder": added,
            "backend": "tokenizers",
            "clean_up_tokenization_spaces": true,
            "do_basic_tokenize": true,
            "do_lower_case": self.do_lower_case,
            "model_max_length": max_len,
            "never_split": null,
            "strip_accents": self.strip_accents,
            "tokenize_chinese_chars": true,
            "tokenizer_class": "ElectraTokenizer",
        }) else {
            unreachable!("an object");
        };
        config.extend(special.clone());
        Value::Object(sorted(config))
    }

    fn special_by_id(&self) -> Vec<(u32, &'static str)> {
        let mut special: Vec<(u32, &str)> = SPECIAL
            .iter()
            .map(|&(_, token)| (self.vocabulary.ids[token], token))
            .collect();
        special.sort_unstable();
        special
    }

    /// The tokenizer itself.
    pub fn tokenizer(&self) -> Result<Tokenizer, Error> {
        let added: Vec<Value> = self
            .special_by_id()
            .into_iter()
            .map(|(id, token)| {
                let mut value = Map::from_iter([("id".to_owned(), id.into())]);
                value.extend(added_token(token));
                value.into()
            })
            .collect();
        let vocabulary: Map<String, Value> = self
            .vocabulary
            .tokens
            .iter()
            .zip(0_u32..)
            .map(|(token, id)| (token.clone(), id.into()))
            .collect();
        let special = |token: &str, type_id: u32| json!({ "SpecialToken": { "id": token, "type_id": type_id } });
        let sequence =
            |name: &str, type_id: u32| json!({ "Sequence": { "id": name, "type_id": type_id } });
        let template = |token: &str| json!({ "id": token, "ids": [self.vocabulary.ids[token]], "tokens": [token] });
        let definition = json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added,
            "normalizer": {
                "type": "BertNormalizer",
                "clean_text": true,
                "handle_chinese_chars": true,
                "strip_accents": self.strip_accents,
                "lowercase": self.do_lower_case,
            },
            "pre_tokenizer": { "type": "BertPreTokenizer" },
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [special(CLS, 0), sequence("A", 0), special(SEP, 0)],
                "pair": [
                    special(CLS, 0), sequence("A", 0), special(SEP, 0),
                    sequence("B", 1), special(SEP, 1),
                ],
                "special_tokens": { CLS: template(CLS), SEP: template(SEP) },
            },
            "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
            "model": {
                "type": "WordPiece",
                "unk_token": UNK,
                "continuing_subword_prefix": "##",
                "max_input_chars_per_word": MAX_WORD_LEN,
                "vocab": vocabulary,
            },
        });
        Tokenizer::from_str(&definition.to_string())
            .map_err(|error| Error::Tokenizers(error.to_string()))
    }
}

fn added_token(token: &str) -> Map<String, Value> {
    let flags = ["single_word", "lstrip", "rstrip", "normalized"];
    let mut value = Map::from_iter([("content".to_owned(), token.into())]);
    value.extend(flags.map(|flag| (flag.to_owned(), false.into())));
    value.insert("special".to_owned(), true.into());
    value
}

fn sorted(mut map: Map<String, Value>) -> Map<String, Value> {
    map.sort_keys();
    map
}

/// Why there is no tokenizer.
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
    /// No vocabulary is that large.
    #[error("{} takes {len} bytes, more than any vocabulary", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its length.
        len: u64,
    },
    /// A line that is no text.
    #[error("line {line} of {} is not UTF-8: save it as UTF-8, or go without with --vocab none", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
    },
    /// A token that is there twice.
    #[error("{} has {token:?} twice, in lines {first} and {second}: is it the vocabulary of this model? (--vocab none goes without)", path.display())]
    Duplicate {
        /// The file.
        path: PathBuf,
        /// The token.
        token: String,
        /// Number of the first line, from 1.
        first: usize,
        /// Number of the second line.
        second: usize,
    },
    /// Tokens that every BERT vocabulary has.
    #[error("{} lacks {tokens}: is it the vocabulary of this model? (--vocab none goes without)", path.display())]
    MissingSpecial {
        /// The file.
        path: PathBuf,
        /// The tokens, separated by spaces.
        tokens: String,
    },
    /// Another number of tokens than of word embeddings.
    #[error(
        "{} has {found} tokens, the word embeddings have {expected} rows: it is not the vocabulary of \
         this model; give the right one with --vocab FILE, or go without with --vocab none",
        path.display()
    )]
    Size {
        /// The file.
        path: PathBuf,
        /// Number of tokens.
        found: usize,
        /// Number of rows.
        expected: usize,
    },
    /// The `tokenizers` crate refused.
    #[error("the tokenizer cannot be built: {0}")]
    Tokenizers(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &[u8]) -> Result<Vocabulary, Error> {
        Vocabulary::parse(Path::new("vocab.txt"), text)
    }

    #[test]
    fn line_endings_make_no_difference() {
        let unix = parse(b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n").unwrap();
        for text in [
            &b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na"[..],
            b"[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\n[MASK]\r\na\r\n",
        ] {
            assert_eq!(parse(text).unwrap().tokens, unix.tokens);
        }
    }

    #[test]
    fn what_is_no_vocabulary_is_refused() {
        for (text, words) in [
            (&b"[PAD]\na\n\xff\n"[..], "line 3"),
            (b"[PAD]\na\nb\na\n", "lines 2 and 4"),
            (b"[PAD]\na\n", "lacks [UNK] [CLS] [SEP] [MASK]"),
            (b"", "lacks [PAD]"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn lower_casing_follows_the_vocabulary() {
        let setup = |extra: &str, told| {
            let text = format!("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n{extra}");
            TokenizerSetup::new(parse(text.as_bytes()).unwrap(), told, None).do_lower_case
        };
        assert!(setup("haus\n[Unused1]", None));
        assert!(!setup("Haus", None));
        assert!(!setup("Ärger", None));
        assert!(setup("Haus", Some(true)));
    }
}

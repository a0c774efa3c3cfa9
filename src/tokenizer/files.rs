//! The four tokenizer files of an export.

use std::str::FromStr as _;

use serde_json::{Map, Value, json};
use tokenizers::Tokenizer;

use super::error::Error;
use super::setup::TokenizerSetup;
use super::special::{CLS, SEP, SPECIAL, UNK};

/// Name of the vocabulary, beside a checkpoint and in an export.
pub const VOCAB_FILE: &str = "vocab.txt";
/// Name of the whole tokenizer, which the `tokenizers` crate reads.
pub const TOKENIZER_FILE: &str = "tokenizer.json";
/// Name of the settings of the tokenizer, which transformers reads.
pub const TOKENIZER_CONFIG_FILE: &str = "tokenizer_config.json";
/// Name of the special tokens, which transformers 4 reads.
pub const SPECIAL_TOKENS_FILE: &str = "special_tokens_map.json";
/// The names of all tokenizer files.
pub const FILES: [&str; 4] = [
    VOCAB_FILE,
    TOKENIZER_FILE,
    TOKENIZER_CONFIG_FILE,
    SPECIAL_TOKENS_FILE,
];

/// The maximum length of a word in characters; longer words become `[UNK]`. This is the limit of Hugging Face,
/// the original code has 200.
const MAX_WORD_LEN: usize = 100;

impl TokenizerSetup {
    /// Returns the files with their contents, in the order of [`FILES`].
    ///
    /// `max_len` is the number of positions of the model, in tokens.
    pub fn files(&self, max_len: usize) -> Result<[(&'static str, String); 4], Error> {
        let special: Map<String, Value> = SPECIAL
            .iter()
            .map(|&(key, token)| (key.to_owned(), token.into()))
            .collect();
        let vocabulary: String = self
            .vocabulary
            .written()
            .flat_map(|token| [token, "\n".to_owned()])
            .collect();
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

    /// Returns `tokenizer_config.json`: the union of the keys that transformers 4 and 5 write, sorted.
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
            "do_lower_case": self.settings.do_lower_case,
            "model_max_length": max_len,
            "never_split": null,
            "strip_accents": self.settings.strip_accents,
            "tokenize_chinese_chars": true,
            "tokenizer_class": "ElectraTokenizer",
        }) else {
            unreachable!("an object");
        };
        config.extend(special.clone());
        Value::Object(sorted(config))
    }

    fn id_of_special(&self, token: &str) -> u32 {
        let id = self.vocabulary.id(token);
        id.expect("a vocabulary has all special tokens")
    }

    fn special_by_id(&self) -> Vec<(u32, &'static str)> {
        let mut special: Vec<(u32, &str)> = SPECIAL
            .iter()
            .map(|&(_, token)| (self.id_of_special(token), token))
            .collect();
        special.sort_unstable();
        special
    }

    /// Returns the tokenizer of `tokenizer.json`.
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
            .written()
            .zip(0_u32..)
            .map(|(token, id)| (token, id.into()))
            .collect();
        let special = |token: &str, type_id: u32| json!({ "SpecialToken": { "id": token, "type_id": type_id } });
        let sequence =
            |name: &str, type_id: u32| json!({ "Sequence": { "id": name, "type_id": type_id } });
        let template = |token: &str| json!({ "id": token, "ids": [self.id_of_special(token)], "tokens": [token] });
        let definition = json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added,
            "normalizer": {
                "type": "BertNormalizer",
                "clean_text": true,
                "handle_chinese_chars": true,
                "strip_accents": self.settings.strip_accents,
                "lowercase": self.settings.do_lower_case,
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

//! Checks the tokenizer files against the weights and against each other.
//!
//! transformers reads the same tokenizer from several files: the slow classes from `vocab.txt`, the
//! fast ones from `tokenizer.json`, both with the settings of `tokenizer_config.json`, which override
//! those of `tokenizer.json`. If the files disagree, the ids depend on the class that is loaded, so that any
//! disagreement is a failure. Missing files are not: a directory may have no tokenizer at all, and for some
//! missing files transformers uses defaults, which are then compared.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use candle_electra::ElectraConfig;
use serde_json::{Map, Value};
use tf_checkpoint::storage::regular;
use tokenizers::Tokenizer;

use super::error::Error;
use super::failure::Failure;
use crate::export::{CONFIG_FILE, LoadError};
use crate::tokenizer::{
    self, CLS, FILES, PAD, SEP, SPECIAL, SPECIAL_TOKENS_FILE, TOKENIZER_CONFIG_FILE,
    TOKENIZER_FILE, VOCAB_FILE, grouped,
};

/// The maximum length of a tokenizer file in bytes: `tokenizer.json` is up to four times as long as its
/// `vocab.txt`.
const MAX_FILE_LEN: u64 = 4 * tokenizer::MAX_LEN;

/// The tokenizer of a directory.
#[derive(Debug)]
#[non_exhaustive]
pub struct TokenizerReport {
    /// Number of tokens.
    pub tokens: usize,
    /// Rows of the word embeddings.
    pub rows: usize,
    /// Whether text is lower-cased.
    pub do_lower_case: bool,
    /// Whether accents are stripped.
    pub strip_accents: bool,
    /// Names of the missing tokenizer files.
    pub missing: Vec<&'static str>,
    /// The consequences of the missing files, in words.
    pub notes: Vec<String>,
}

/// Ids by token.
type Ids = HashMap<String, u32>;

/// Checks the tokenizer files of `folder`; returns `None` if there are none.
pub(super) fn check(
    folder: &Path,
    config: &ElectraConfig,
    rows: usize,
    failures: &mut Vec<Failure>,
) -> Result<Option<TokenizerReport>, Error> {
    let mut files = Files {
        rows,
        failures,
        missing: Vec::new(),
    };
    let vocab = files.read(folder, VOCAB_FILE)?;
    let json = files.read(folder, TOKENIZER_FILE)?;
    let settings = files.read(folder, TOKENIZER_CONFIG_FILE)?;
    let special = files.read(folder, SPECIAL_TOKENS_FILE)?;
    if files.missing.len() == FILES.len() {
        return Ok(None);
    }

    let lines = vocab.and_then(|bytes| files.lines(&bytes));
    let tokenizer = json.and_then(|bytes| files.tokenizer(&bytes));
    let settings = settings.and_then(|bytes| files.object(TOKENIZER_CONFIG_FILE, &bytes));
    let special = special.and_then(|bytes| files.object(SPECIAL_TOKENS_FILE, &bytes));
    let (settings, special) = (settings.unwrap_or_default(), special.unwrap_or_default());

    let names = files.special_names(&settings, &special);
    if let Some(ids) = &lines {
        files.check_ids(VOCAB_FILE, ids, &names);
    }
    if let Some((tokenizer, _)) = &tokenizer {
        files.check_ids(TOKENIZER_FILE, &tokenizer.get_vocab(true), &names);
        files.check_template(tokenizer, &names);
    }
    if let (Some(lines), Some((tokenizer, _))) = (&lines, &tokenizer) {
        files.compare(lines, &tokenizer.get_vocab(false));
    }
    let ids = match (&tokenizer, lines) {
        (Some((tokenizer, _)), _) => tokenizer.get_vocab(true),
        (None, Some(lines)) => lines,
        (None, None) => {
            if [VOCAB_FILE, TOKENIZER_FILE]
                .iter()
                .all(|file| files.missing.contains(file))
            {
                let what = format!("exists without {VOCAB_FILE} and {TOKENIZER_FILE}");
                let file = if files.missing.contains(&TOKENIZER_CONFIG_FILE) {
                    SPECIAL_TOKENS_FILE
                } else {
                    TOKENIZER_CONFIG_FILE
                };
                files.fail(file, what);
            }
            Ids::new()
        }
    };
    files.check_added(&settings, &ids);
    files.check_padding(config, &ids, &names);
    let normalizer = tokenizer.as_ref().map(|(_, json)| &json["normalizer"]);
    let (do_lower_case, strip_accents) = files.check_settings(&settings, normalizer);

    let missing = files.missing;
    let notes = missing.iter().filter_map(|&file| without(file));
    Ok(Some(TokenizerReport {
        tokens: ids.len(),
        rows,
        do_lower_case,
        strip_accents,
        notes: notes.map(ToOwned::to_owned).collect(),
        missing,
    }))
}

/// Returns the consequence of a missing file, in words.
fn without(file: &str) -> Option<&'static str> {
    match file {
        VOCAB_FILE => {
            Some("without vocab.txt the slow tokenizer of transformers 4 cannot be loaded")
        }
        TOKENIZER_FILE => Some(
            "without tokenizer.json transformers converts vocab.txt, and probe and --text do not work",
        ),
        TOKENIZER_CONFIG_FILE => {
            Some("without tokenizer_config.json transformers lower-cases and strips accents")
        }
        _ => None,
    }
}

/// The special tokens of a tokenizer, in the order of [`SPECIAL`].
type Names = Vec<String>;

/// The state of the checks.
struct Files<'a> {
    rows: usize,
    failures: &'a mut Vec<Failure>,
    missing: Vec<&'static str>,
}

impl Files<'_> {
    fn fail(&mut self, file: &'static str, what: String) {
        self.failures.push(Failure::Tokenizer { file, what });
    }

    /// Reads a file; `None` if it is missing. Anything but a regular file is a failure and is not opened.
    fn read(&mut self, folder: &Path, file: &'static str) -> Result<Option<Vec<u8>>, Error> {
        let path = folder.join(file);
        match regular::read(&path, MAX_FILE_LEN) {
            Ok(bytes) => return Ok(Some(bytes)),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound => self.missing.push(file),
                io::ErrorKind::IsADirectory
                | io::ErrorKind::Unsupported
                | io::ErrorKind::FileTooLarge => {
                    self.fail(file, format!("cannot be used: {error}"));
                }
                _ => {
                    return Err(Error::Load(LoadError::Io {
                        path,
                        source: error,
                    }));
                }
            },
        }
        Ok(None)
    }

    /// Returns the ids that `BertTokenizer` reads from the lines of `vocab.txt`: for Python `\r` and `\r\n`
    /// end a line too, and a repeated token has its last id.
    fn lines(&mut self, bytes: &[u8]) -> Option<Ids> {
        let Ok(text) = std::str::from_utf8(bytes) else {
            self.fail(VOCAB_FILE, "is not UTF-8".to_owned());
            return None;
        };
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let text = text.strip_suffix('\n').unwrap_or(&text);
        Some(text.split('\n').map(str::to_owned).zip(0..).collect())
    }

    /// Parses `tokenizer.json`, with the crate and as JSON.
    fn tokenizer(&mut self, bytes: &[u8]) -> Option<(Tokenizer, Value)> {
        let json = serde_json::from_slice(bytes).map_err(|error| error.to_string());
        let read = json.and_then(|json| {
            let tokenizer = Tokenizer::from_bytes(bytes).map_err(|error| error.to_string())?;
            Ok((tokenizer, json))
        });
        match read {
            Ok(read) => Some(read),
            Err(error) => {
                self.fail(TOKENIZER_FILE, format!("is not a tokenizer: {error}"));
                None
            }
        }
    }

    fn object(&mut self, file: &'static str, bytes: &[u8]) -> Option<Map<String, Value>> {
        match serde_json::from_slice(bytes) {
            Ok(object) => Some(object),
            Err(error) => {
                self.fail(file, format!("is not a JSON object: {error}"));
                None
            }
        }
    }

    /// Returns the special tokens. Both files may have them, as a string or as an object with flags.
    fn special_names(
        &mut self,
        settings: &Map<String, Value>,
        special: &Map<String, Value>,
    ) -> Names {
        let name = |object: &Map<String, Value>, key: &str| {
            let value = object.get(key)?;
            let value = value.get("content").unwrap_or(value);
            value.as_str().map(str::to_owned)
        };
        let mut names = Names::new();
        for (key, default) in SPECIAL {
            let (first, second) = (name(settings, key), name(special, key));
            if let (Some(first), Some(second)) = (&first, &second)
                && first != second
            {
                let what = format!("has {key} {first:?}, {SPECIAL_TOKENS_FILE} has {second:?}");
                self.fail(TOKENIZER_CONFIG_FILE, what);
            }
            names.push(first.or(second).unwrap_or_else(|| default.to_owned()));
        }
        names
    }

    /// Checks that every id has a row of the word embeddings, and that no special token is missing.
    fn check_ids(&mut self, file: &'static str, ids: &Ids, names: &Names) {
        let beyond = |id: u32| usize::try_from(id).is_ok_and(|id| id >= self.rows);
        let beyond = ids.iter().filter(|(_, id)| beyond(**id));
        if let Some((token, id)) = beyond.min_by_key(|(_, id)| **id) {
            let what = format!(
                "has id {id} for token {token:?}, the word embeddings have {} rows",
                grouped(self.rows)
            );
            self.fail(file, what);
        }
        let missing = names.iter().filter(|name| !ids.contains_key(*name));
        let missing: Vec<&str> = missing.map(String::as_str).collect();
        if !missing.is_empty() {
            self.fail(file, format!("lacks {}", missing.join(" ")));
        }
    }

    /// Compares the ids of `vocab.txt` with those of `tokenizer.json`.
    fn compare(&mut self, lines: &Ids, json: &Ids) {
        let mut differing: Vec<(u32, &str)> = Vec::new();
        for (these, those) in [(lines, json), (json, lines)] {
            let tokens = these
                .iter()
                .filter(|(token, id)| those.get(*token) != Some(id));
            differing.extend(tokens.map(|(token, id)| (*id, token.as_str())));
        }
        let Some((_, token)) = differing.iter().min() else {
            return;
        };
        let id = |ids: &Ids| match ids.get(*token) {
            Some(id) => format!("id {id}"),
            None => "no id".to_owned(),
        };
        let mut tokens: Vec<&str> = differing.iter().map(|(_, token)| *token).collect();
        tokens.sort_unstable();
        tokens.dedup();
        let what = format!(
            "has {} for token {token:?}, {VOCAB_FILE} has {} ({} in total)",
            id(json),
            id(lines),
            match tokens.len() {
                1 => "1 difference".to_owned(),
                n => format!("{} differences", grouped(n)),
            }
        );
        self.fail(TOKENIZER_FILE, what);
    }

    /// Checks the special tokens that `tokenizer.json` puts around a text.
    fn check_template(&mut self, tokenizer: &Tokenizer, names: &Names) {
        let id = |wanted: &str| {
            let at = SPECIAL.iter().position(|(_, token)| *token == wanted)?;
            tokenizer.token_to_id(&names[at])
        };
        let (Some(cls), Some(sep)) = (id(CLS), id(SEP)) else {
            return;
        };
        let found = match tokenizer.encode("", true) {
            Ok(encoding) if encoding.get_ids() == [cls, sep] => return,
            Ok(encoding) => format!("puts the ids {:?} around text", encoding.get_ids()),
            Err(error) => format!("cannot encode text: {error}"),
        };
        let what = format!("{found}, expected {:?} for {CLS} and {SEP}", [cls, sep]);
        self.fail(TOKENIZER_FILE, what);
    }

    /// Checks the added tokens of `tokenizer_config.json`, whose ids slow tokenizers use.
    fn check_added(&mut self, settings: &Map<String, Value>, ids: &Ids) {
        let added = settings.get("added_tokens_decoder");
        let added = added.and_then(Value::as_object).into_iter().flatten();
        for (key, token) in added {
            let content = token["content"].as_str().unwrap_or_default();
            let id = key.parse::<u32>().ok();
            let expected = ids.get(content).copied();
            let has_row = id.is_some_and(|id| (id as usize) < self.rows);
            if has_row && (expected.is_none() || expected == id) {
                continue;
            }
            let what = match expected {
                Some(expected) if has_row => {
                    format!("has id {key} for token {content:?}, the vocabulary has {expected}")
                }
                _ => format!(
                    "has id {key} for token {content:?}, the word embeddings have {} rows",
                    grouped(self.rows)
                ),
            };
            self.fail(TOKENIZER_CONFIG_FILE, what);
            return;
        }
    }

    /// Compares the `pad_token_id` of `config.json` with the id of the padding token.
    fn check_padding(&mut self, config: &ElectraConfig, ids: &Ids, names: &Names) {
        let at = SPECIAL.iter().position(|(_, token)| *token == PAD);
        let found = at.and_then(|at| Some((&names[at], *ids.get(&names[at])?)));
        if let (Some(stated), Some((name, id))) = (config.pad_token_id, found)
            && stated != id
        {
            let what = format!("has pad_token_id {stated}, {name} has id {id}");
            self.fail(CONFIG_FILE, what);
        }
    }

    /// Compares the settings of `tokenizer_config.json` with those of `tokenizer.json`. Returns
    /// `do_lower_case` and `strip_accents`.
    fn check_settings(
        &mut self,
        settings: &Map<String, Value>,
        normalizer: Option<&Value>,
    ) -> (bool, bool) {
        let is_missing = self.missing.contains(&TOKENIZER_CONFIG_FILE);
        let mut stated = |key: &str| match settings.get(key) {
            None | Some(Value::Null) => None,
            Some(Value::Bool(value)) => Some(*value),
            Some(other) => {
                let what = format!("has {key} {other}, which is not true or false");
                self.failures.push(Failure::Tokenizer {
                    file: TOKENIZER_CONFIG_FILE,
                    what,
                });
                None
            }
        };
        let lower = stated("do_lower_case").unwrap_or(true);
        let strip = stated("strip_accents").unwrap_or(lower);
        let split = stated("tokenize_chinese_chars").unwrap_or(true);

        let normalizer = normalizer.filter(|normalizer| normalizer["type"] == "BertNormalizer");
        if let Some(normalizer) = normalizer {
            let flag = |key: &str, default: bool| normalizer[key].as_bool().unwrap_or(default);
            let lowercase = flag("lowercase", true);
            let found = [
                ("do_lower_case", lower, lowercase),
                ("strip_accents", strip, flag("strip_accents", lowercase)),
                (
                    "tokenize_chinese_chars",
                    split,
                    flag("handle_chinese_chars", true),
                ),
            ];
            for (key, stated, found) in found.into_iter().filter(|(_, a, b)| a != b) {
                let what = if is_missing {
                    format!("is missing, so that {key} is {stated}, {TOKENIZER_FILE} has {found}")
                } else {
                    format!("has {key} {stated}, {TOKENIZER_FILE} has {found}")
                };
                self.fail(TOKENIZER_CONFIG_FILE, what);
            }
        }
        (lower, strip)
    }
}

//! A config.json that the user gives (`--config`), or that lies beside an HDF5 file: a source of candidate
//! values.

use std::collections::BTreeMap;
use std::path::PathBuf;

use candle_electra::{Activation, ElectraConfig};
use serde_json::{Map, Value};
use tf_checkpoint::Limits;

use crate::config::candidate::{Candidate, ValueSource};
use crate::config::epsilon::Epsilon;
use crate::config::keys::{ACTIVATION, EPSILON};
use crate::variables::Error;

/// Keys with a fixed set of values, which the file must respect if it has them.
const FIXED: &[(&str, &[&str])] = &[
    ("model_type", &["electra", "bert"]),
    ("position_embedding_type", &["absolute"]),
];

/// Keys that no checkpoint determines and that the file can set.
const CARRIED: &[&str] = &[
    "attention_probs_dropout_prob",
    "bos_token_id",
    "classifier_dropout",
    "eos_token_id",
    "hidden_dropout_prob",
    "initializer_range",
    "pad_token_id",
    "summary_activation",
    "summary_last_dropout",
    "summary_type",
    "summary_use_proj",
    "use_cache",
];

/// A Hugging Face or BERT config.json.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConfigFile {
    /// The path it was read from.
    pub path: PathBuf,
    /// Its keys and values.
    pub values: Map<String, Value>,
}

impl ConfigFile {
    /// Creates a config file from its content.
    pub fn new(path: PathBuf, values: Map<String, Value>) -> Self {
        Self { path, values }
    }

    /// Parses a file.
    ///
    /// # Errors
    /// If it is not a JSON object, in words.
    pub fn from_json(path: PathBuf, text: &[u8]) -> Result<Self, String> {
        let checked = Limits::default().check_json(text);
        checked.map_err(|error| error.to_string())?;
        let values = serde_json::from_slice(text);
        let values = values.map_err(|error| format!("not a JSON object: {error}"))?;
        Ok(Self::new(path, values))
    }

    /// Removes sizes and head count.
    pub(super) fn without_sizes(mut self) -> Self {
        self.values.retain(|key, _| {
            key == ACTIVATION || key == EPSILON || CARRIED.contains(&key.as_str())
        });
        self
    }

    /// Fails if a key that every ELECTRA has in common has another value.
    pub(super) fn check_fixed(&self) -> Result<(), Error> {
        for &(key, allowed) in FIXED {
            let Some(found) = self.value(key) else {
                continue;
            };
            if !found.value.as_str().is_some_and(|v| allowed.contains(&v)) {
                let expected = format!("expected {} for an ELECTRA", allowed.join(" or "));
                return Err(found.invalid(key, expected));
            }
        }
        Ok(())
    }

    /// Returns a size.
    pub(super) fn size(&self, key: &'static str) -> Result<Option<Candidate<usize>>, Error> {
        self.parse(key, |value| {
            let size = value.as_u64().and_then(|n| usize::try_from(n).ok());
            size.ok_or_else(|| "it must be a whole number".to_owned())
        })
    }

    /// Returns the activation.
    pub(super) fn activation(&self) -> Result<Option<Candidate<Activation>>, Error> {
        self.parse(ACTIVATION, |value| {
            serde_json::from_value(value.clone()).map_err(|_| {
                let names = Activation::ALL.map(Activation::key).join(", ");
                format!("the known activations are {names}")
            })
        })
    }

    /// Returns the LayerNorm epsilon.
    pub(super) fn epsilon(&self) -> Result<Option<Candidate<Epsilon>>, Error> {
        self.parse(EPSILON, |value| {
            let epsilon = value.as_f64().and_then(Epsilon::new);
            epsilon.ok_or_else(|| "it must be a number of 0 or more".to_owned())
        })
    }

    /// Converts a value; an error of `parse` is the rule that the value breaks.
    fn parse<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Result<Option<Candidate<T>>, Error> {
        let Some(Candidate { value, source }) = self.value(key) else {
            return Ok(None);
        };
        match parse(value) {
            Ok(parsed) => Ok(Some(Candidate::new(parsed, source))),
            Err(why) => Err(Candidate::new(value, source).invalid(key, why)),
        }
    }

    fn value(&self, key: &str) -> Option<Candidate<&Value>> {
        let value = self.values.get(key)?;
        Some(Candidate::new(
            value,
            ValueSource::ConfigFile(self.path.clone()),
        ))
    }
}

/// Returns transformers' defaults, with the [`CARRIED`] values of the file, and adds their sources.
pub(super) fn defaults(
    file: Option<&ConfigFile>,
    sources: &mut BTreeMap<&'static str, ValueSource>,
) -> Result<ElectraConfig, Error> {
    let defaults = serde_json::to_value(ElectraConfig::default()).expect("plain data");
    let Value::Object(mut values) = defaults else {
        unreachable!("a struct is an object");
    };
    for &key in CARRIED {
        let Some(found) = file.and_then(|file| file.value(key)) else {
            sources.insert(key, ValueSource::TransformersDefault);
            continue;
        };
        values.insert(key.to_owned(), found.value.clone());
        // One key at a time, so that the error can name it.
        serde_json::from_value::<ElectraConfig>(Value::Object(values.clone()))
            .map_err(|error| found.invalid(key, error.to_string()))?;
        sources.insert(key, found.source);
    }
    Ok(serde_json::from_value(Value::Object(values)).expect("every key was checked"))
}

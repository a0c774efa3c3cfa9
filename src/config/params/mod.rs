//! `params.yaml`, the configuration that Model Garden's `Trainer` writes beside its checkpoints: a source of
//! settings that the variables do not show.
//!
//! The settings of an encoder are in a mapping with the name of its type, such as
//! `task.model.discriminator_encoder.bert` (`official/nlp/configs/encoders.py`). Only the encoder that is exported
//! must be understood, each of its keys included.

mod yaml;

use std::path::PathBuf;

use candle_electra::{Activation, Dim};

use self::yaml::Node;
use crate::config::candidate::{Candidate, ValueSource};
use crate::config::keys::{ACTIVATION, HEADS, LAYERS};
use crate::variables::names::{GENERATOR_BODY, Scopes};
use crate::variables::{Error, list};

/// The encoder of `ElectraPretrainerConfig` that is the generator.
const GENERATOR_ENCODER: &str = "generator_encoder";
/// The encoders that are the discriminator: that of `ElectraPretrainerConfig`, and that of tasks with one
/// encoder.
const DISCRIMINATOR_ENCODERS: &[&str] = &["discriminator_encoder", "encoder"];
/// The types of encoders that are `BertEncoder` and `BertEncoderV2`.
const TYPES: &[&str] = &["bert", "bert_v2"];
const TYPE: &str = "type";
const NORM_FIRST: &str = "norm_first";
const HIDDEN_ACTIVATION: &str = "hidden_activation";
const HIDDEN_SIZE: &str = "hidden_size";
const EMBEDDING_SIZE: &str = "embedding_size";
/// The sizes, by the keys of config.json and of this file.
const SIZES: &[(&str, &str)] = &[
    (Dim::Vocab.key(), "vocab_size"),
    (Dim::Embedding.key(), EMBEDDING_SIZE),
    (Dim::Position.key(), "max_position_embeddings"),
    (Dim::TokenType.key(), "type_vocab_size"),
    (Dim::Hidden.key(), HIDDEN_SIZE),
    (Dim::Intermediate.key(), "intermediate_size"),
    (LAYERS, "num_layers"),
    (HEADS, "num_attention_heads"),
];
/// Settings that change no value that an encoder computes after training.
const WITHOUT_EFFECT: &[&str] = &[
    "attention_dropout_rate",
    "dropout_rate",
    "initializer_range",
    "output_range",
    "return_all_encoder_outputs",
    "return_attention_scores",
    "return_word_embeddings",
];
/// The activations of `official/modeling/tf_utils.py` and tf_keras that transformers has. `gelu` is the tanh
/// approximation.
const ACTIVATIONS: &[(&str, Activation)] = &[
    ("gelu", Activation::GeluNew),
    ("identity", Activation::Linear),
    ("linear", Activation::Linear),
    ("mish", Activation::Mish),
    ("relu", Activation::Relu),
    ("relu6", Activation::Relu6),
    ("sigmoid", Activation::Sigmoid),
    ("silu", Activation::Silu),
    ("simple_swish", Activation::Silu),
    ("swish", Activation::Silu),
    ("tanh", Activation::Tanh),
];
/// The activations of the same code that no ELECTRA class has here. The slope of `leaky_relu` is 0.2, that of
/// transformers 0.01.
const OTHER_ACTIVATIONS: &[&str] = &[
    "elu",
    "exponential",
    "hard_sigmoid",
    "hard_swish",
    "leaky_relu",
    "log_softmax",
    "selu",
    "softmax",
    "softplus",
    "softsign",
];
/// The settings of an encoder that leave no trace in its variables.
pub(super) const NOT_SHOWN: [&str; 3] = [HIDDEN_ACTIVATION, NORM_FIRST, TYPE];
const OTHER_MODEL: &str = "if the file belongs to another model, move it elsewhere";

/// A `params.yaml`.
#[derive(Clone, Debug)]
pub(crate) struct ParamsFile {
    path: PathBuf,
    /// The mapping `task`.
    task: Node,
}

/// The settings of an encoder in a [`ParamsFile`].
#[derive(Clone, Debug)]
pub(super) struct EncoderParams<'a> {
    file: &'a ParamsFile,
    /// The keys that lead to the settings.
    key: String,
    settings: &'a Node,
    /// True if the file is that of a pre-training run of an ELECTRA.
    pub(super) is_electra: bool,
}

impl ParamsFile {
    /// Parses a file.
    pub(crate) fn parse(path: PathBuf, text: &[u8]) -> Result<Self, Error> {
        let task = yaml::parse(text).and_then(|root| root.get("task").map(Option::<&Node>::cloned));
        match task {
            Ok(Some(task)) => Ok(Self { path, task }),
            Ok(None) => Err(Error::ParamsFile {
                path,
                what: "no task, expected the configuration of a training run".to_owned(),
            }),
            Err(what) => Err(Error::ParamsFile { path, what }),
        }
    }

    /// Returns the settings of the encoder with these scopes.
    ///
    /// # Errors
    /// If the file does not have exactly one such encoder, or if no class computes the encoder.
    pub(super) fn encoder(&self, scopes: Scopes) -> Result<EncoderParams<'_>, Error> {
        let names = if scopes.body == GENERATOR_BODY {
            &[GENERATOR_ENCODER][..]
        } else {
            DISCRIMINATOR_ENCODERS
        };
        let model = self.model()?;
        let mut found = Vec::new();
        for name in names {
            found.extend(
                self.get(model, name, "task.model")?
                    .map(|node| (name, node)),
            );
        }
        let [(name, node)] = found[..] else {
            let found = if found.is_empty() { "none" } else { "several" };
            return Err(self.error(format!(
                "task.model has {found} of {}, expected one",
                names.join(", ")
            )));
        };
        let (key, kind, settings) = self.one_of(name, node)?;
        if !kind.text().is_some_and(|kind| TYPES.contains(&kind)) {
            let why = format!(
                "expected {}: no Hugging Face ELECTRA class computes another encoder; {OTHER_MODEL}",
                TYPES.join(" or ")
            );
            let source = self.source(&format!("task.model.{name}"), TYPE);
            return Err(Candidate::new(kind, source).invalid(TYPE, why));
        }
        let params = EncoderParams {
            file: self,
            key,
            settings,
            is_electra: *name != "encoder",
        };
        params.check()?;
        self.check_hub(name)?;
        Ok(params)
    }

    /// Fails if the head of the discriminator applies another activation than its encoder. It applies that of
    /// the generator's encoder (`tasks/electra_task.py`).
    pub(super) fn check_discriminator_head(
        &self,
        encoder: &EncoderParams<'_>,
        (of_encoder, source): (Activation, &ValueSource),
    ) -> Result<(), Error> {
        let Some(node) = self.get(self.model()?, GENERATOR_ENCODER, "task.model")? else {
            return Ok(());
        };
        let (key, _, settings) = self.one_of(GENERATOR_ENCODER, node)?;
        let params = EncoderParams {
            file: self,
            key,
            settings,
            is_electra: true,
        };
        let name = |params: &EncoderParams<'_>| -> Result<Option<String>, Error> {
            let found = params.value(HIDDEN_ACTIVATION)?;
            Ok(found.and_then(|found| Some(found.value.text()?.to_lowercase())))
        };
        if name(encoder)? == name(&params)? {
            return Ok(());
        }
        match params.activation(false)? {
            Some(head) if head.value != of_encoder => {
                let why = format!(
                    "the head of the discriminator applies it, but the encoder applies {of_encoder} by \
                     {source:#}, and no Hugging Face ELECTRA class applies two activations; {OTHER_MODEL}"
                );
                Err(head.invalid(HIDDEN_ACTIVATION, why))
            }
            _ => Ok(()),
        }
    }

    fn model(&self) -> Result<&Node, Error> {
        let model = self.get(&self.task, "model", "task")?;
        model
            .ok_or_else(|| self.error("no task.model, expected the settings of a model".to_owned()))
    }

    /// Returns the key, the type and the settings of an encoder, which are under the name of its type.
    fn one_of<'a>(
        &'a self,
        name: &str,
        node: &'a Node,
    ) -> Result<(String, &'a Node, &'a Node), Error> {
        static NONE: Node = Node::Mapping(Vec::new());
        let key = format!("task.model.{name}");
        let missing = |what: &str| self.error(format!("no {key}.{what}"));
        let kind = self.get(node, TYPE, &key)?;
        let kind = kind.ok_or_else(|| missing(TYPE))?;
        let Some(kind_name) = kind.text() else {
            return Err(self.error(format!("{key}.type is {kind}, expected a name")));
        };
        let settings = match self.get(node, kind_name, &key)? {
            Some(settings) => settings,
            None if TYPES.contains(&kind_name) => return Err(missing(kind_name)),
            None => &NONE,
        };
        Ok((format!("{key}.{kind_name}"), kind, settings))
    }

    /// Refuses an encoder that was loaded from a hub instead of being built from the settings
    /// (`tasks/tagging.py`).
    fn check_hub(&self, name: &str) -> Result<(), Error> {
        const KEY: &str = "hub_module_url";
        let from = self.get(&self.task, KEY, "task")?;
        let from = from.filter(|from| !from.is_null() && from.text() != Some(""));
        match from {
            Some(from) if name == "encoder" => Err(self.error(format!(
                "task.{KEY} is {from}: the encoder was loaded from there, and task.model.{name} does not \
                 have its settings"
            ))),
            _ => Ok(()),
        }
    }

    fn get<'a>(&self, node: &'a Node, key: &str, at: &str) -> Result<Option<&'a Node>, Error> {
        node.get(key)
            .map_err(|what| self.error(format!("{at} is {what}")))
    }

    fn error(&self, what: String) -> Error {
        Error::ParamsFile {
            path: self.path.clone(),
            what,
        }
    }

    fn source(&self, at: &str, key: &str) -> ValueSource {
        ValueSource::ParamsFile {
            path: self.path.clone(),
            key: format!("{at}.{key}"),
        }
    }
}

impl EncoderParams<'_> {
    /// Fails if the encoder has a setting that is not understood, or that no class computes.
    fn check(&self) -> Result<(), Error> {
        let Node::Mapping(entries) = self.settings else {
            let what = format!("{} is {}, expected a mapping", self.key, self.settings);
            return Err(self.file.error(what));
        };
        let is_known = |key: &str| {
            [NORM_FIRST, HIDDEN_ACTIVATION].contains(&key)
                || WITHOUT_EFFECT.contains(&key)
                || SIZES.iter().any(|(_, size)| *size == key)
        };
        let names = entries.iter().map(|(key, _)| key.as_str());
        let unknown: Vec<&str> = names.filter(|key| !is_known(key)).collect();
        if !unknown.is_empty() {
            return Err(self.file.error(format!(
                "{} has settings that no ELECTRA encoder of Model Garden has: {}",
                self.key,
                list(&unknown)
            )));
        }
        let Some(norm_first) = self.value(NORM_FIRST)? else {
            return Ok(());
        };
        let why = match norm_first.value.boolean() {
            Some(false) => return Ok(()),
            Some(true) => {
                "LayerNorm comes before attention and feed-forward layers, which no Hugging Face ELECTRA \
                 class computes"
            }
            None => "expected true or false",
        };
        Err(norm_first.invalid(NORM_FIRST, format!("{why}; {OTHER_MODEL}")))
    }

    /// Returns the size with this key of config.json.
    pub(super) fn size(&self, key: &'static str) -> Result<Option<Candidate<usize>>, Error> {
        let Some((_, name)) = SIZES.iter().find(|(of_config, _)| *of_config == key) else {
            return Ok(None);
        };
        let Some(mut found) = self.value(name)? else {
            return Ok(None);
        };
        // `embedding_size: null` is the hidden size.
        if *name == EMBEDDING_SIZE && found.value.is_null() {
            let Some(hidden) = self.value(HIDDEN_SIZE)? else {
                return Ok(None);
            };
            found.value = hidden.value;
        }
        match found.value.size() {
            Some(size) => Ok(Some(Candidate::new(size, found.source))),
            None => Err(found.invalid(key, format!("expected a whole number; {OTHER_MODEL}"))),
        }
    }

    /// Returns the activation. An activation that is not known is an error, unless the user gives its value.
    pub(super) fn activation(
        &self,
        is_given: bool,
    ) -> Result<Option<Candidate<Activation>>, Error> {
        let Some(found) = self.value(HIDDEN_ACTIVATION)? else {
            return Ok(None);
        };
        let name = found.value.text().unwrap_or_default().to_lowercase();
        if let Some((_, activation)) = ACTIVATIONS.iter().find(|(known, _)| *known == name) {
            return Ok(Some(Candidate::new(*activation, found.source)));
        }
        let why = if OTHER_ACTIVATIONS.contains(&name.as_str()) {
            format!("no Hugging Face ELECTRA class computes it as Model Garden does; {OTHER_MODEL}")
        } else if is_given {
            return Ok(None);
        } else {
            "not an activation of Model Garden; if you know the activation of the training run, give it \
             with --hidden-act"
                .to_owned()
        };
        Err(found.invalid(ACTIVATION, why))
    }

    /// Returns the settings that leave no trace in the variables and that the file does not state.
    pub(super) fn not_stated(&self) -> Result<Vec<&'static str>, Error> {
        let mut missing = Vec::new();
        for key in [HIDDEN_ACTIVATION, NORM_FIRST] {
            if self.value(key)?.is_none() {
                missing.push(key);
            }
        }
        Ok(missing)
    }

    fn value(&self, key: &str) -> Result<Option<Candidate<&Node>>, Error> {
        let found = self.file.get(self.settings, key, &self.key)?;
        let source = || self.file.source(&self.key, key);
        Ok(found.map(|node| Candidate::new(node, source())))
    }
}

//! The options of a job: what the command `convert` takes for one checkpoint.

use serde_json::{Map, Value};
use tf_checkpoint::storage::Storage;
use tf_checkpoint::{Location, ReadBy};

use crate::config::ConfigOptions;
use crate::conversion::{Conversion, Models, TextRequest};
use crate::electra_checkpoint::ElectraCheckpoint;
use crate::error::Error;
use crate::model_card::ModelCard;
use crate::plan::{PlanOptions, TargetDtype, TokenizerChoice, Weights};
use crate::record::{Fingerprint, Record};
use crate::surroundings;
use crate::tokenizer::{TokenizerSetup, Vocabulary};
use crate::variables::Rename;

/// Where the vocabulary of a job comes from.
#[derive(Clone, Debug, Default)]
pub enum VocabularySource {
    /// The first file that is found beside the checkpoint or above it.
    #[default]
    Beside,
    /// No tokenizer is written.
    None,
    /// A file that was read before.
    Given(Box<Vocabulary>, Fingerprint),
}

/// The options of a job.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(clippy::struct_excessive_bools, reason = "each is an option")]
pub struct Settings {
    /// The models to export.
    pub models: Models,
    /// Renamings of variables.
    pub renames: Vec<Rename>,
    /// What reads the values.
    pub read_by: ReadBy,
    /// Choices about the configuration.
    pub config: ConfigOptions,
    /// The element type to write.
    pub dtype: TargetDtype,
    /// Leave out variables without a role.
    pub allow_unknown: bool,
    /// Export a generator whose head transformers computes differently.
    pub allow_inexact: bool,
    /// The weights to write, if a checkpoint also holds moving averages.
    pub weights: Weights,
    /// The vocabulary.
    pub vocabulary: VocabularySource,
    /// Whether text is lower-cased.
    pub do_lower_case: Option<bool>,
    /// Whether accents are stripped.
    pub strip_accents: Option<bool>,
    /// The text that the model is measured on.
    pub text: Option<TextRequest>,
    /// Verify the export before it is published.
    pub verify: bool,
    /// Compare with the training graph.
    pub compare_with_graph: bool,
    /// The model card to write.
    pub model_card: Option<ModelCard>,
}

impl Settings {
    /// Creates the options of `convert` without any option but `--model`.
    pub fn new(models: impl Into<Models>) -> Self {
        Self {
            models: models.into(),
            renames: Vec::new(),
            read_by: ReadBy::default(),
            config: ConfigOptions::default(),
            dtype: TargetDtype::default(),
            allow_unknown: false,
            allow_inexact: false,
            weights: Weights::default(),
            vocabulary: VocabularySource::default(),
            do_lower_case: None,
            strip_accents: None,
            text: None,
            verify: true,
            compare_with_graph: true,
            model_card: None,
        }
    }

    /// Reads the vocabulary of a checkpoint.
    fn tokenizer(&self, checkpoint: &ElectraCheckpoint) -> Result<TokenizerChoice, Error> {
        let found = match &self.vocabulary {
            VocabularySource::None => return Ok(TokenizerChoice::Omit),
            VocabularySource::Given(vocabulary, _) => Some((**vocabulary).clone()),
            VocabularySource::Beside => checkpoint.vocabulary()?,
        };
        Ok(match found {
            None => TokenizerChoice::NotFound(checkpoint.vocabulary_places()),
            Some(vocabulary) => {
                let [lower, strip] = [self.do_lower_case, self.strip_accents];
                TokenizerChoice::Write(TokenizerSetup::new(vocabulary, lower, strip).into())
            }
        })
    }

    /// Returns the options that shape the plans.
    pub(crate) fn plan_options(
        &self,
        checkpoint: &ElectraCheckpoint,
    ) -> Result<PlanOptions, Error> {
        Ok(PlanOptions {
            config: self.config.clone(),
            dtype: self.dtype,
            allow_unknown: self.allow_unknown,
            allow_inexact: self.allow_inexact,
            weights: self.weights,
            tokenizer: self.tokenizer(checkpoint)?,
        })
    }

    /// Returns the conversion of a checkpoint.
    pub(crate) fn conversion<'a>(
        &self,
        checkpoint: &'a ElectraCheckpoint,
    ) -> Result<Conversion<'a>, Error> {
        Ok(Conversion::new(checkpoint, self.models)
            .options(self.plan_options(checkpoint)?)
            .verify(self.verify)
            .compare_with_graph(self.compare_with_graph)
            .text(self.text.clone())
            .model_card(self.model_card.clone()))
    }

    /// Returns the record of an export of the checkpoint at `location`. Reads the files whose fingerprints it has.
    pub(super) fn record(&self, location: &Location) -> Result<Record, Error> {
        let inputs = self.inputs(location)?;
        Ok(Record::new(self.models.key(), inputs, self.options()))
    }

    fn inputs(&self, location: &Location) -> Result<Map<String, Value>, Error> {
        let storage = location.storage();
        let read = |path: &std::path::Path| {
            let found = Fingerprint::of_file(storage, path);
            found.map_err(|source| tf_checkpoint::Error::reading(path, source))
        };
        let mut inputs = Map::new();
        inputs.insert("name".into(), location.name().into());
        inputs.insert("format".into(), location.format().key().into());
        let mut files = Vec::new();
        for path in location.identifying_files() {
            let found = read(&path)?.ok_or_else(|| missing(&path))?;
            files.push(found.to_string());
        }
        inputs.insert("checkpoint".into(), files.join("; ").into());
        let mut add = |key: &str, found: Option<Fingerprint>| {
            if let Some(found) = found {
                inputs.insert(key.into(), found.to_string().into());
            }
        };
        add("graph", read(&location.graph_path())?);
        let vocabulary = match &self.vocabulary {
            VocabularySource::None => None,
            VocabularySource::Given(_, fingerprint) => Some(*fingerprint),
            VocabularySource::Beside => first(
                storage,
                surroundings::vocabulary_places(location).into_iter(),
            )?,
        };
        add("vocabulary", vocabulary);
        let config = match &self.config.file {
            // The values that were read, without their layout.
            Some(given) => serde_json::to_vec(&given.values)
                .ok()
                .map(|text| Fingerprint::of(&text)),
            None => match surroundings::config(location)? {
                Some(beside) => read(&beside.path)?,
                None => None,
            },
        };
        add("config", config);
        add(
            "params",
            first(storage, surroundings::params_places(location))?,
        );
        Ok(inputs)
    }

    /// Returns the options that change what is written or verified, without those that have their default.
    fn options(&self) -> Map<String, Value> {
        let config = &self.config;
        let texts = |texts: &[String]| (!texts.is_empty()).then(|| Value::from(texts.to_vec()));
        let renames: Vec<String> = self.renames.iter().map(ToString::to_string).collect();
        let is_set = |set: bool| set.then_some(Value::Bool(true));
        let card = self.model_card.as_ref();
        let text = self.text.as_ref();
        let options = [
            ("rename", texts(&renames)),
            ("dtype", self.dtype.key().map(Value::from)),
            ("allow_unknown", is_set(self.allow_unknown)),
            ("allow_inexact", is_set(self.allow_inexact)),
            (
                "weights",
                (self.weights != Weights::default()).then(|| self.weights.key().into()),
            ),
            (
                "num_attention_heads",
                config.num_attention_heads.map(Value::from),
            ),
            ("hidden_act", config.hidden_act.map(|act| act.key().into())),
            (
                "layer_norm_eps",
                config.layer_norm_eps.map(|epsilon| epsilon.value().into()),
            ),
            ("task", config.task.clone().map(Value::from)),
            ("task_kind", config.task_kind.map(|kind| kind.key().into())),
            ("labels", config.labels.clone().map(Value::from)),
            ("do_lower_case", self.do_lower_case.map(Value::from)),
            ("strip_accents", self.strip_accents.map(Value::from)),
            (
                "text",
                text.map(|text| Fingerprint::of(text.text.as_bytes()).to_string().into()),
            ),
            ("seed", text.map(|text| text.seed.into())),
            ("no_verify", is_set(!self.verify)),
            ("no_graph", is_set(!self.compare_with_graph)),
            ("model_card", is_set(card.is_some())),
            (
                "license",
                card.and_then(|card| card.license.clone()).map(Value::from),
            ),
            ("language", card.and_then(|card| texts(&card.languages))),
            (
                "base_model",
                card.and_then(|card| card.base_model.clone())
                    .map(Value::from),
            ),
        ];
        let given = options.into_iter();
        given
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect()
    }
}

fn missing(path: &std::path::Path) -> tf_checkpoint::Error {
    tf_checkpoint::Error::reading(path, std::io::ErrorKind::NotFound.into())
}

/// Returns the fingerprint of the first file that exists.
fn first(
    storage: &dyn Storage,
    paths: impl Iterator<Item = std::path::PathBuf>,
) -> Result<Option<Fingerprint>, Error> {
    for path in paths {
        let found = Fingerprint::of_file(storage, &path);
        let found = found.map_err(|source| tf_checkpoint::Error::reading(&path, source))?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

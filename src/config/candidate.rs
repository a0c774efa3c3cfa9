//! Values and their sources.
//!
//! The shapes of several variables, an option, a config.json, a params.yaml and the training graph can all give
//! the same config value. Each source yields a [`Candidate`]. [`resolve`] takes the first candidate and fails if
//! another one differs, so that no source is overruled silently.

use std::fmt;
use std::path::PathBuf;

use crate::variables::Error;

/// The source of a config value.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ValueSource {
    /// The shape of this variable.
    Shape(String),
    /// The number of layers in this scope.
    Layers(&'static str),
    /// The name of this variable, or of a scope.
    Names(String),
    /// This command-line option.
    Option(&'static str),
    /// A config.json given by the user.
    ConfigFile(PathBuf),
    /// A key of Model Garden's `params.yaml`.
    ParamsFile {
        /// The file.
        path: PathBuf,
        /// The keys that lead to the value, joined by dots.
        key: String,
    },
    /// A node of the training graph.
    Graph {
        /// The `.meta` file.
        path: PathBuf,
        /// The name of the node.
        node: String,
    },
    /// An evaluation of the training graph, which agrees with the model if it has this value.
    EvaluatedGraph {
        /// The `.meta` file.
        path: PathBuf,
        /// The largest deviation, relative to the largest value, or to 1.
        deviation: f64,
    },
    /// The weights, by their statistics.
    Weights {
        /// The lead of the value over the second best, rounded, in units of twice the log likelihood.
        margin: u64,
    },
    /// A `vocab.txt`.
    Vocabulary(PathBuf),
    /// A default of the original code, with the rule that gives it.
    OriginalCode(&'static str),
    /// A default of Model Garden's code, with the setting that can replace it.
    ModelGarden(&'static str),
    /// A default of transformers, for values that no checkpoint determines.
    TransformersDefault,
}

impl ValueSource {
    /// Returns the name in JSON.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Shape(_) | Self::Layers(_) => "shape",
            Self::Names(_) => "name",
            Self::Option(_) => "option",
            Self::ConfigFile(_) => "config_file",
            Self::ParamsFile { .. } => "params_file",
            Self::Graph { .. } => "meta_graph",
            Self::EvaluatedGraph { .. } => "training_graph",
            Self::Weights { .. } => "weights",
            Self::Vocabulary(_) => "vocabulary",
            Self::OriginalCode(_) => "original_code",
            Self::ModelGarden(_) => "model_garden",
            Self::TransformersDefault => "transformers_default",
        }
    }

    /// Returns the source of a value that the weights show with this margin.
    pub(crate) fn weights(margin: f64) -> Self {
        // A margin is positive and finite: at most the number of norms times the logarithm of a float64.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let margin = margin.round() as u64;
        Self::Weights { margin }
    }

    /// Returns true if the checkpoint itself shows the value, by its shapes, its training graph, or its weights, or
    /// if its training run stated the value.
    pub fn is_evidence(&self) -> bool {
        self.is_shape()
            || matches!(
                self,
                Self::ParamsFile { .. }
                    | Self::Graph { .. }
                    | Self::EvaluatedGraph { .. }
                    | Self::Weights { .. }
            )
    }

    /// Returns true if the variables show the value.
    pub fn is_shape(&self) -> bool {
        matches!(self, Self::Shape(_) | Self::Layers(_))
    }
}

/// The alternate form (`{:#}`) has the full path of a training graph or a params.yaml.
impl fmt::Display for ValueSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape(variable) => write!(f, "the shape of {variable}"),
            Self::Layers(scope) => write!(f, "the layers in {scope}/encoder"),
            Self::Names(name) => write!(f, "the name {name}"),
            Self::Option(option) => f.write_str(option),
            Self::ConfigFile(path) | Self::Vocabulary(path) => write!(f, "{}", path.display()),
            Self::ParamsFile { path, key } if f.alternate() => {
                write!(f, "{key} in {}", path.display())
            }
            Self::ParamsFile { path, key } => write!(
                f,
                "{key} in {}",
                path.file_name().unwrap_or(path.as_os_str()).display()
            ),
            Self::Graph { path, node } if f.alternate() => {
                write!(f, "{node} in {}", path.display())
            }
            Self::Graph { path, node } => write!(
                f,
                "{node} in {}",
                path.file_name().unwrap_or(path.as_os_str()).display()
            ),
            Self::EvaluatedGraph { path, deviation } => write!(
                f,
                "the evaluated training graph {} (agrees within {deviation:.1e})",
                path.file_name().unwrap_or(path.as_os_str()).display()
            ),
            Self::Weights { margin } => write!(f, "the weights (margin {margin})"),
            Self::OriginalCode(rule) => write!(f, "the original code's rule ({rule})"),
            Self::ModelGarden(rule) => write!(f, "the default of Model Garden's code ({rule})"),
            Self::TransformersDefault => f.write_str("transformers' default"),
        }
    }
}

/// A value with its source.
#[derive(Clone, Debug)]
pub struct Candidate<T> {
    /// The value.
    pub value: T,
    /// The source of the value.
    pub source: ValueSource,
}

impl<T> Candidate<T> {
    /// Creates a candidate.
    pub fn new(value: T, source: ValueSource) -> Self {
        Self { value, source }
    }
}

impl<T: fmt::Display> Candidate<T> {
    /// Returns the error for a value that no model can have. `why` is the rule that it breaks.
    pub(crate) fn invalid(&self, key: &'static str, why: impl Into<String>) -> Error {
        Error::InvalidValue {
            key,
            value: self.value.to_string(),
            origin: format!("{:#}", self.source),
            why: why.into(),
        }
    }
}

/// Returns the first candidate if all others have the same value; `None` if there is no candidate.
pub fn resolve<T: PartialEq + fmt::Display>(
    key: &'static str,
    candidates: impl IntoIterator<Item = Candidate<T>>,
) -> Result<Option<Candidate<T>>, Error> {
    let mut candidates = candidates.into_iter();
    let Some(first) = candidates.next() else {
        return Ok(None);
    };
    match candidates.find(|candidate| candidate.value != first.value) {
        None => Ok(Some(first)),
        Some(other) => Err(Error::Contradiction {
            key,
            first: first.value.to_string().into(),
            first_source: format!("{:#}", first.source).into(),
            second: other.value.to_string().into(),
            second_source: format!("{:#}", other.source).into(),
        }),
    }
}

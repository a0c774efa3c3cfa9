//! Values and where they come from.
//!
//! A config value can be told by the shapes of several variables, by an option, by a config.json
//! and by the training graph. Each such telling is a [`Candidate`]; [`resolve`] takes the first of them
//! and refuses when another says something else. So nothing is overruled silently.

use std::fmt;
use std::path::PathBuf;

use crate::variables::Error;

/// Where a config value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueSource {
    /// The shape of this variable.
    Shape(String),
    /// The number of this scope's layers.
    Layers(&'static str),
    /// The name of this variable, or of a scope.
    Names(String),
    /// This command-line option.
    Option(&'static str),
    /// A config.json given by the user.
    ConfigFile(PathBuf),
    /// A node of the training graph.
    Graph {
        /// The `.meta` file.
        path: PathBuf,
        /// Name of the node.
        node: String,
    },
    /// A `vocab.txt`.
    Vocabulary(PathBuf),
    /// What the original code does when it is not told.
    OriginalCode(&'static str),
    /// What transformers takes when it is not told; nothing in a checkpoint tells of it.
    TransformersDefault,
}

impl ValueSource {
    /// The name in JSON.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Shape(_) | Self::Layers(_) => "shape",
            Self::Names(_) => "name",
            Self::Option(_) => "option",
            Self::ConfigFile(_) => "config_file",
            Self::Graph { .. } => "meta_graph",
            Self::Vocabulary(_) => "vocabulary",
            Self::OriginalCode(_) => "original_code",
            Self::TransformersDefault => "transformers_default",
        }
    }

    /// True when the checkpoint itself says so: its shapes, or its training graph.
    pub fn is_evidence(&self) -> bool {
        self.is_shape() || matches!(self, Self::Graph { .. })
    }

    /// True when it was read off the variables themselves.
    pub fn is_shape(&self) -> bool {
        matches!(self, Self::Shape(_) | Self::Layers(_))
    }
}

/// The alternate form (`{:#}`) has the whole path of a training graph.
impl fmt::Display for ValueSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape(variable) => write!(f, "the shape of {variable}"),
            Self::Layers(scope) => write!(f, "the layers in {scope}/encoder"),
            Self::Names(name) => write!(f, "the name {name}"),
            Self::Option(option) => f.write_str(option),
            Self::ConfigFile(path) | Self::Vocabulary(path) => write!(f, "{}", path.display()),
            Self::Graph { path, node } if f.alternate() => {
                write!(f, "{node} in {}", path.display())
            }
            Self::Graph { path, node } => write!(
                f,
                "{node} in {}",
                path.file_name().unwrap_or(path.as_os_str()).display()
            ),
            Self::OriginalCode(rule) => write!(f, "the original code's rule ({rule})"),
            Self::TransformersDefault => f.write_str("transformers' default"),
        }
    }
}

/// A value with its source.
#[derive(Clone, Debug)]
pub struct Candidate<T> {
    /// The value.
    pub value: T,
    /// Where it comes from.
    pub source: ValueSource,
}

impl<T> Candidate<T> {
    /// A value from a source.
    pub fn new(value: T, source: ValueSource) -> Self {
        Self { value, source }
    }
}

/// The first of the claims, if all others say the same; `None` when there is none.
pub fn resolve<T: PartialEq + fmt::Display>(
    key: &'static str,
    claims: impl IntoIterator<Item = Candidate<T>>,
) -> Result<Option<Candidate<T>>, Error> {
    let mut claims = claims.into_iter();
    let Some(first) = claims.next() else {
        return Ok(None);
    };
    match claims.find(|claim| claim.value != first.value) {
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

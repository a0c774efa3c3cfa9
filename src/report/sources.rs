//! Where the values of a configuration come from.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::config::candidate::ValueSource;
use crate::config::{HEADS, ResolvedConfig};

/// Where a value of the configuration comes from.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct SourceReport {
    /// The kind of source.
    pub kind: &'static str,
    /// The source in words.
    pub detail: String,
    /// The other sources that give the same value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreed: Option<Vec<AgreedReport>>,
    /// What else is known of the value, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// True if the value is transformers' default, about which a checkpoint says nothing.
    #[serde(skip)]
    pub is_default: bool,
    /// True for a size that follows from the shapes of variables. The head count is no such size: few
    /// checkpoints show it in a shape.
    #[serde(skip)]
    pub is_size: bool,
}

impl SourceReport {
    fn new(source: &ValueSource, agreed: Option<&Vec<ValueSource>>, note: Option<&String>) -> Self {
        let agreed = agreed.map(|sources| sources.iter().map(AgreedReport::new).collect());
        Self {
            kind: source.key(),
            detail: source.to_string(),
            agreed,
            note: note.cloned(),
            is_default: *source == ValueSource::TransformersDefault,
            is_size: false,
        }
    }

    /// Adds a source that gives the same value, if it is of another kind than those that are known.
    pub(super) fn agree(&mut self, source: &ValueSource) {
        let agreed = self.agreed.get_or_insert_default();
        let mut kinds = agreed.iter().map(|other| other.kind).chain([self.kind]);
        if kinds.all(|kind| kind != source.key()) {
            agreed.push(AgreedReport::new(source));
        }
    }
}

/// Another source of a value.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct AgreedReport {
    /// The kind of source.
    pub kind: &'static str,
    /// The source in words.
    pub detail: String,
}

impl AgreedReport {
    fn new(source: &ValueSource) -> Self {
        Self {
            kind: source.key(),
            detail: source.to_string(),
        }
    }
}

/// Describes the sources of a configuration.
pub(super) fn config_sources(resolved: &ResolvedConfig) -> BTreeMap<&'static str, SourceReport> {
    let source = |(&key, source): (&&'static str, &ValueSource)| {
        let (agreed, note) = (resolved.agreed.get(key), resolved.notes.get(key));
        let is_size = source.is_shape() && key != HEADS;
        let report = SourceReport::new(source, agreed, note);
        (key, SourceReport { is_size, ..report })
    };
    resolved.sources.iter().map(source).collect()
}

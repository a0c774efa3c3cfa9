//! A resolved configuration as data.

use std::collections::BTreeMap;

use candle_electra::{Activation, ElectraConfig};

use crate::config::candidate::ValueSource;

/// A configuration with the source of each value that is not fixed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ResolvedConfig {
    /// The configuration, without `dtype`, which the plan decides.
    pub config: ElectraConfig,
    /// The source of each value, by key.
    pub sources: BTreeMap<&'static str, ValueSource>,
    /// The other sources that give the same value, by key: one of each kind.
    pub agreed: BTreeMap<&'static str, Vec<ValueSource>>,
    /// What else is known of a value, by key, in words.
    pub notes: BTreeMap<&'static str, String>,
    /// The settings that a Model Garden checkpoint does not show and that no params.yaml states.
    pub not_stated: Vec<&'static str>,
    /// True if a params.yaml shows that the encoder was trained as an ELECTRA.
    pub is_stated_electra: bool,
    /// The activation of the generator's head; `None` if the training graph does not show it.
    pub generator_head: Option<HeadActivation>,
}

/// The activation of a head in the training graph.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeadActivation {
    /// An activation of transformers.
    Known(Activation),
    /// A computation that is not recognised, described for messages.
    Unknown(String),
}

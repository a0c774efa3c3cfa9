//! Converts the names of TensorFlow 2 code (Hugging Face's and NVIDIA's) to those of the original code.
//!
//! A Keras variable has a full name, made of the layers around it from the outermost model on
//! (`pretraining_model/tf_electra_for_pre_training/electra/encoder/layer_._0/output/dense/kernel`), and
//! in an object-based checkpoint a path through the attributes. The name table ([`super::names`]) has
//! the end of both. The beginning is a scope:
//!
//! - an encoder's scope is the common scope of its layers, such as `…/electra`, whatever the names of the
//!   models around it;
//! - a head belongs to the encoder that is a direct child of the head's model. Any other head, such as a
//!   dense layer that a user's model puts on the encoder, is not one of transformers' heads;
//! - embeddings shared by two models are stored once, in the scope of the model that used them first;
//!   that can differ from one embedding layer to the next.

use std::collections::{BTreeMap, BTreeSet};

use candle_electra::Part;

use crate::variables::Error;
use crate::variables::entry::InventoryEntry;
use crate::variables::names::{self, ELECTRA, GENERATOR, KerasMatch, Scopes};
use crate::variables::role::Role;

/// The scope of an encoder in the code of Hugging Face and NVIDIA, and a part of their classes' names.
const ELECTRA_WORD: &str = "electra";

/// An encoder and the heads in its model.
#[derive(Default)]
struct Encoder {
    /// True if its name, or one of its parts, shows that it is an ELECTRA.
    is_electra: bool,
    heads: BTreeSet<Role>,
}

/// Renames the variables of Keras models to the names of the original code. Returns the scopes of their
/// encoders; if there is no ELECTRA in Keras, returns no scope and changes nothing.
pub(crate) fn rename(entries: &mut [InventoryEntry]) -> Result<Vec<String>, Error> {
    let found: Vec<Option<KerasMatch>> = entries.iter().map(lookup).collect();
    let encoders = encoders(entries, &found);
    if encoders.is_empty() {
        return Ok(Vec::new());
    }
    let places = places(&encoders)?;
    let shared = shared_embeddings(&found);
    let mut renamed = BTreeMap::new();
    for (at, found) in found.iter().enumerate() {
        let Some(KerasMatch { rule, layer, scope }) = found else {
            continue;
        };
        let name = match rule.part() {
            // Shared embeddings may be in the scope of either model, or of the model around both.
            Part::Embeddings if shared.contains(&rule.tensor.name_in(0)) => {
                Some(rule.variable(ELECTRA, 0))
            }
            Part::Embeddings | Part::Projection | Part::Layer => places
                .get(scope.as_str())
                .map(|scopes| rule.variable(*scopes, layer.unwrap_or(0))),
            _ => places
                .keys()
                .any(|encoder| parent(encoder) == scope)
                .then(|| rule.head_variable()),
        };
        if let Some(name) = name {
            renamed.insert(at, name);
        }
    }
    let distinct: BTreeSet<&String> = renamed.values().collect();
    if distinct.len() < renamed.len() {
        return Err(several(&encoders));
    }
    for (at, name) in renamed {
        entries[at].name = name;
    }
    Ok(places.into_keys().map(str::to_owned).collect())
}

/// Returns the rule for the full name of a weight, or else for its object path.
fn lookup(entry: &InventoryEntry) -> Option<KerasMatch> {
    if entry.role != Role::Unknown {
        return None;
    }
    let by_path = || {
        // The object path of an average is its place in the optimizer.
        let path = entry
            .average_of
            .is_none()
            .then(|| entry.variable.object_path());
        names::lookup_keras(path??)
    };
    names::lookup_keras(&entry.name).or_else(by_path)
}

/// Finds the encoders, by scope.
fn encoders(entries: &[InventoryEntry], found: &[Option<KerasMatch>]) -> BTreeMap<String, Encoder> {
    let mut encoders: BTreeMap<String, Encoder> = BTreeMap::new();
    let matches = || {
        std::iter::zip(entries, found).filter_map(|(entry, found)| Some((entry, found.as_ref()?)))
    };
    for (entry, found) in matches().filter(|(_, found)| found.rule.part() == Part::Layer) {
        let encoder = encoders.entry(found.scope.clone()).or_default();
        encoder.is_electra |=
            names_electra(&entry.name) || entry.variable.object_path().is_some_and(names_electra);
    }
    let mut heads: BTreeMap<&str, BTreeSet<Role>> = BTreeMap::new();
    for (_, found) in matches() {
        let role = match found.rule.part() {
            Part::DiscriminatorHead => Role::DiscriminatorHead,
            Part::GeneratorHead => Role::GeneratorHead,
            Part::TokenClassificationHead
            | Part::SequenceClassificationHead
            | Part::QuestionAnsweringHead
            | Part::MultipleChoiceHead => Role::TaskHead,
            Part::Projection => {
                if let Some(encoder) = encoders.get_mut(&found.scope) {
                    encoder.is_electra = true;
                }
                continue;
            }
            Part::Embeddings | Part::Layer => continue,
        };
        heads.entry(&found.scope).or_default().insert(role);
    }
    for (scope, encoder) in &mut encoders {
        encoder.heads = heads.remove(parent(scope)).unwrap_or_default();
        encoder.is_electra |= encoder.heads.contains(&Role::DiscriminatorHead)
            || encoder.heads.contains(&Role::GeneratorHead);
    }
    // A BERT in Keras has layers with the same names.
    encoders.retain(|_, encoder| encoder.is_electra);
    encoders
}

fn names_electra(name: &str) -> bool {
    name.to_ascii_lowercase().contains(ELECTRA_WORD)
}

/// Returns the scope of the model around a scope.
fn parent(scope: &str) -> &str {
    scope.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Assigns each encoder the scopes of the original code. Two encoders must be a discriminator and its
/// generator. A single encoder has the scopes of the discriminator, even with a generator's head, as in the
/// original code. In all other cases the encoder without a model's name around it is taken: the user can
/// choose it with `--rename`.
fn places(encoders: &BTreeMap<String, Encoder>) -> Result<BTreeMap<&str, Scopes>, Error> {
    let place = |encoder: &Encoder| {
        let mut heads = encoder.heads.iter();
        match (heads.next(), heads.next()) {
            _ if encoders.len() == 1 => Some(ELECTRA),
            (Some(Role::DiscriminatorHead), None) => Some(ELECTRA),
            (Some(Role::GeneratorHead), None) => Some(GENERATOR),
            _ => None,
        }
    };
    let mut places = BTreeMap::new();
    for (scope, encoder) in encoders {
        let scopes = place(encoder).filter(|scopes| !places.values().any(|taken| taken == scopes));
        if let Some(scopes) = scopes {
            places.insert(scope.as_str(), scopes);
        }
    }
    if places.len() == encoders.len() {
        return Ok(places);
    }
    match encoders.get_key_value(ELECTRA.body) {
        Some((scope, _)) => Ok(BTreeMap::from([(scope.as_str(), ELECTRA)])),
        None => Err(several(encoders)),
    }
}

fn several(encoders: &BTreeMap<String, Encoder>) -> Error {
    Error::SeveralEncoders {
        scopes: encoders.keys().cloned().collect(),
        replacement: "",
    }
}

/// Returns the embeddings that are stored once.
fn shared_embeddings(found: &[Option<KerasMatch>]) -> BTreeSet<String> {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for found in found.iter().flatten() {
        if found.rule.part() == Part::Embeddings {
            *times.entry(found.rule.tensor.name_in(0)).or_default() += 1;
        }
    }
    times
        .into_iter()
        .filter_map(|(name, times)| (times == 1).then_some(name))
        .collect()
}

//! The names of TensorFlow 2 code, Hugging Face's and NVIDIA's, as those of the original.
//!
//! A Keras variable has a full name, after the layers around it, from the outermost model on
//! (`pretraining_model/tf_electra_for_pre_training/electra/encoder/layer_._0/output/dense/kernel`), and
//! in an object-based checkpoint a path through the attributes. The name table ([`super::names`]) knows
//! the end of both. What is before it is a scope:
//!
//! - an encoder's scope is that of its layers, such as `…/electra`, whatever the models around it are
//!   called;
//! - a head belongs to the encoder that is directly in the head's model. A head elsewhere, such as a
//!   dense layer that a user's model puts on the encoder, is not one of transformers';
//! - embeddings that two models use are there once, and which model's name they bear is up to who used
//!   them first, layer by layer.

use std::collections::{BTreeMap, BTreeSet};

use candle_electra::Part;

use crate::variables::Error;
use crate::variables::item::InventoryEntry;
use crate::variables::names::{self, ELECTRA, GENERATOR, KerasMatch, Scopes};
use crate::variables::role::Role;

/// What an encoder's scope is called in the code of Hugging Face and NVIDIA; part of the names of their
/// classes.
const ELECTRA_WORD: &str = "electra";

/// An encoder and the heads in its model.
#[derive(Default)]
struct Encoder {
    /// True when a name says that it is an ELECTRA's, or its parts do.
    is_electra: bool,
    heads: BTreeSet<Role>,
}

/// Gives the variables of models in Keras the names that the original code would have given them.
/// Returns the scopes of their encoders; none, and nothing is changed, where there is no ELECTRA of Keras.
pub(crate) fn rename(items: &mut [InventoryEntry]) -> Result<Vec<String>, Error> {
    let found: Vec<Option<KerasMatch>> = items.iter().map(lookup).collect();
    let encoders = encoders(items, &found);
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
            // They may have the scope of either model, or of what is around both.
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
        items[at].name = name;
    }
    Ok(places.into_keys().map(str::to_owned).collect())
}

/// The rule that the full name of a weight follows, or else its object path.
fn lookup(item: &InventoryEntry) -> Option<KerasMatch> {
    if item.role != Role::Unknown {
        return None;
    }
    let by_path = || {
        // The path of an average is its place in the optimizer.
        let path = item
            .average_of
            .is_none()
            .then(|| item.variable.object_path());
        names::lookup_keras(path??)
    };
    names::lookup_keras(&item.name).or_else(by_path)
}

/// The encoders by scope.
fn encoders(items: &[InventoryEntry], found: &[Option<KerasMatch>]) -> BTreeMap<String, Encoder> {
    let mut encoders: BTreeMap<String, Encoder> = BTreeMap::new();
    let matches = || std::iter::zip(items, found).filter_map(|(i, f)| Some((i, f.as_ref()?)));
    for (item, found) in matches().filter(|(_, found)| found.rule.part() == Part::Layer) {
        let encoder = encoders.entry(found.scope.clone()).or_default();
        encoder.is_electra |=
            says_electra(&item.name) || item.variable.object_path().is_some_and(says_electra);
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
    // A BERT in Keras has layers of the same names.
    encoders.retain(|_, encoder| encoder.is_electra);
    encoders
}

fn says_electra(name: &str) -> bool {
    name.to_ascii_lowercase().contains(ELECTRA_WORD)
}

/// The model around a scope.
fn parent(scope: &str) -> &str {
    scope.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Which of the original's scopes each encoder is in. Two of them must be a discriminator and its
/// generator; a generator alone has the checkpoint's only encoder, as the original's plain masked model.
/// Otherwise the one without a model's name around it is meant, which `--rename` can bring about.
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
    }
}

/// The embeddings that are there once.
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

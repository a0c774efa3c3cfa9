//! The names of TensorFlow 2 code, Hugging Face's and NVIDIA's, as those of the original.
//!
//! A Keras variable is named after the layers around it, from the outermost model on:
//! `pretraining_model/tf_electra_for_pre_training/electra/encoder/layer_._0/output/dense/kernel`. What
//! follows the model's own name is in the name table ([`super::names`]); which of the two
//! models it is shows in the heads that have the same beginning. Embeddings that both models use are
//! there once, and which model's name they bear is up to who used them first, layer by layer.

use std::collections::{BTreeMap, BTreeSet};

use super::names::{self, ELECTRA, GENERATOR, KerasMatch, Part};
use super::role::Item;
use super::setup::Model;

/// Gives the variables of a model in Keras the names that the original code would have given them.
/// Returns false, and changes nothing, where there is none, or more than one of a kind.
pub(super) fn rename(items: &mut [Item]) -> bool {
    let found: Vec<Option<KerasMatch>> = items
        .iter()
        .map(|item| {
            let is_weight = item.variable.object_path().is_some() && !item.role.is_bookkeeping();
            is_weight.then(|| names::lookup_keras(&item.name))?
        })
        .collect();
    // Much is called the same in the original code, whose variables may be saved as objects too.
    if !found
        .iter()
        .flatten()
        .any(|found| found.rule.has_keras_name())
    {
        return false;
    }
    let Some(models) = models(items, &found) else {
        return false;
    };
    let shared = shared_embeddings(&found);
    // A generator alone has the checkpoint's only encoder, as the original's plain masked model.
    let has_discriminator = models.values().any(|model| *model == Model::Discriminator);

    let mut renamed = BTreeMap::new();
    for (at, found) in found.iter().enumerate() {
        let Some(KerasMatch { rule, layer, start }) = found else {
            continue;
        };
        let scopes = match models.get(&items[at].name[..*start]) {
            // Shared embeddings may bear the name of either model, or of what is around both.
            _ if shared.contains(&rule.tensor(0)) => ELECTRA,
            Some(Model::Generator) if has_discriminator => GENERATOR,
            Some(_) => ELECTRA,
            None => continue,
        };
        renamed.insert(at, rule.variable(scopes, layer.unwrap_or(0)));
    }
    let distinct: BTreeSet<&String> = renamed.values().collect();
    if distinct.len() < renamed.len() {
        return false;
    }
    for (at, name) in renamed {
        items[at].name = name;
    }
    true
}

/// The model at each beginning of names; `None` where there are none, or two of a kind.
fn models(items: &[Item], found: &[Option<KerasMatch>]) -> Option<BTreeMap<String, Model>> {
    let mut models: BTreeMap<String, Model> = BTreeMap::new();
    for (item, found) in std::iter::zip(items, found) {
        let Some(KerasMatch { rule, start, .. }) = found else {
            continue;
        };
        let model = match rule.part {
            Part::DiscriminatorHead => Model::Discriminator,
            Part::GeneratorHead => Model::Generator,
            Part::Embeddings | Part::Projection | Part::Layer => continue,
        };
        let beginning = &item.name[..*start];
        match models.insert(beginning.to_owned(), model) {
            Some(other) if other != model => return None,
            _ => {}
        }
    }
    let kinds: BTreeSet<&str> = models.values().map(|model| model.key()).collect();
    (!models.is_empty() && kinds.len() == models.len()).then_some(models)
}

/// The embeddings that are there once.
fn shared_embeddings(found: &[Option<KerasMatch>]) -> BTreeSet<String> {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for found in found.iter().flatten() {
        if found.rule.part == Part::Embeddings {
            *times.entry(found.rule.tensor(0)).or_default() += 1;
        }
    }
    times
        .into_iter()
        .filter_map(|(name, times)| (times == 1).then_some(name))
        .collect()
}

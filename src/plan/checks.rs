//! The checks of a plan: what cannot be exported, or only with the user's permission.

use std::collections::HashSet;

use candle_electra::{Activation, ModelClass, Part};

use crate::config::{HeadActivation, ResolvedConfig};
use crate::plan::error::Error;
use crate::plan::options::{PlanOptions, Weights};
use crate::plan::types::{LeftOut, PlannedTensor};
use crate::variables::names::{ELECTRA, Scopes, TABLE};
use crate::variables::{self, Inventory, Model, Role, list};

/// Returns the class without the discriminator's head, if the head is incomplete and unknown variables may
/// be left out: its remaining variables are left out too, with a warning.
pub(super) fn without_incomplete_head(
    class: ModelClass,
    inventory: &Inventory,
    options: &PlanOptions,
    warnings: &mut Vec<String>,
) -> ModelClass {
    if class != ModelClass::PreTraining || !options.allow_unknown {
        return class;
    }
    let rules = TABLE
        .iter()
        .filter(|rule| class.head() == Some(rule.part()));
    let names = rules.map(|rule| rule.variable(ELECTRA, 0));
    let missing: Vec<String> = names.filter(|name| inventory.get(name).is_none()).collect();
    if missing.is_empty() {
        return class;
    }
    warnings.push(format!(
        "left out the incomplete head of the discriminator (--allow-unknown), missing: {}",
        list(&missing)
    ));
    ModelClass::Model
}

/// Fails if averages are requested and a variable of the model has none.
pub(super) fn check_averaged(
    tensors: &[PlannedTensor],
    inventory: &Inventory,
    model: Model,
    options: &PlanOptions,
) -> Result<(), Error> {
    if options.weights == Weights::Raw {
        return Ok(());
    }
    let entries = inventory.entries().iter();
    let averages: HashSet<&str> = entries
        .filter(|entry| entry.average_of.is_some())
        .map(|entry| entry.variable.key.as_str())
        .collect();
    let variables = tensors.iter().flat_map(|tensor| &tensor.variables);
    let raw = variables.filter(|variable| !averages.contains(variable.key.as_str()));
    let mut names: Vec<String> = raw.map(|variable| variable.name.clone()).collect();
    names.sort();
    names.dedup();
    if names.is_empty() {
        return Ok(());
    }
    Err(variables::Error::NotAveraged { model, names }.into())
}

/// Fails if an unknown variable is left out, or a weight of the exported model itself that its architecture
/// has no tensor for (such as a projection between equal sizes). With `allow_unknown` this is a warning.
pub(super) fn check_left_out(
    left_out: &[LeftOut],
    (class, scopes): (ModelClass, Scopes),
    inventory: &Inventory,
    options: &PlanOptions,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    let mut own = own_roles(class, scopes);
    if class == ModelClass::Model {
        own.retain(|role| *role != Role::DiscriminatorHead);
    }
    let names: Vec<String> = left_out
        .iter()
        .filter(|group| group.role == Role::Unknown || own.contains(&group.role))
        .flat_map(|group| group.names.iter().cloned())
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    let is_head = class == ModelClass::Model && !inventory.has_in_encoder(&names);
    if !options.allow_unknown {
        return Err(if is_head {
            variables::Error::ForeignHead { names }.into()
        } else {
            variables::Error::Unknown { names }.into()
        });
    }
    let what = if is_head {
        "a head of other code"
    } else {
        "variables that are not part of any ELECTRA"
    };
    warnings.push(format!(
        "left out {what} ({}, --allow-unknown): {}",
        names.len(),
        list(&names)
    ));
    Ok(())
}

/// Replaces an error about contradicting shapes by one about unknown variables, if there are any: they are
/// the likely cause.
pub(super) fn prefer_unknown(
    inventory: &Inventory,
    options: &PlanOptions,
    error: variables::Error,
) -> variables::Error {
    use crate::variables::Error;
    let unknown = inventory.entries().iter();
    let unknown = unknown.filter(|entry| entry.role == Role::Unknown);
    let names: Vec<String> = unknown.map(|entry| entry.name.clone()).collect();
    match error {
        Error::Contradiction { .. } | Error::UnexpectedVariable { .. }
            if !names.is_empty() && !options.allow_unknown =>
        {
            Error::Unknown { names }
        }
        error => error,
    }
}

/// Returns the roles of the variables that form the model.
fn own_roles(class: ModelClass, scopes: Scopes) -> Vec<Role> {
    let sample = |part: Part| {
        TABLE
            .iter()
            // Another model may share the word embeddings.
            .find(|rule| rule.part() == part && !rule.is_word_embeddings())
            .map(|rule| Role::of(&rule.variable(scopes, 0)))
    };
    [Some(Part::Embeddings), Some(Part::Layer), class.head()]
        .into_iter()
        .flatten()
        .filter_map(sample)
        .collect()
}

/// Fails if the generator's head applies another activation than gelu. `ElectraForMaskedLM` and the Keras
/// classes always apply gelu; the original code's head applies `hidden_act`. The training graph shows the
/// activation of this head. With `allow_inexact`, returns a description of the difference.
pub(super) fn check_head(
    class: ModelClass,
    resolved: &ResolvedConfig,
    inventory: &Inventory,
    options: &PlanOptions,
) -> Result<Option<String>, Error> {
    if class != ModelClass::MaskedLm {
        return Ok(None);
    }
    let activation = match &resolved.generator_head {
        Some(HeadActivation::Known(activation)) => activation.to_string(),
        Some(HeadActivation::Unknown(what)) => {
            format!("an activation that is not recognised: {what}")
        }
        None if inventory.is_keras() => return Ok(None),
        None => resolved.config.hidden_act.to_string(),
    };
    if activation == Activation::Gelu.key() {
        return Ok(None);
    }
    if !options.allow_inexact {
        let has_discriminator = inventory.has(Role::DiscriminatorHead);
        return Err(variables::Error::InexactHead {
            activation,
            has_discriminator,
        }
        .into());
    }
    // The weights' metadata contain this text: another text changes the bytes of the export.
    Ok(Some(format!(
        "the logits are not those of the original graph: its head applies {activation}, \
         ElectraForMaskedLM applies gelu (--allow-inexact)"
    )))
}

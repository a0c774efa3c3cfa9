//! What a plan refuses, and what it warns of.

use std::collections::HashSet;

use candle_electra::{Activation, ModelClass, Part};

use crate::config::{HeadActivation, ResolvedConfig};
use crate::plan::cast::TargetDtype;
use crate::plan::error::Error;
use crate::plan::options::{PlanOptions, Weights};
use crate::plan::types::{LeftOut, PlannedTensor};
use crate::variables::names::{self, Scopes, TABLE};
use crate::variables::{Inventory, Model, Role};

/// A discriminator's head that is not whole is left out like what is no part of any ELECTRA.
pub(super) fn whole_head(
    head: ModelClass,
    inventory: &Inventory,
    options: &PlanOptions,
    warnings: &mut Vec<String>,
) -> ModelClass {
    if head != ModelClass::PreTraining || !options.allow_unknown {
        return head;
    }
    let rules = TABLE.iter().filter(|rule| head.head() == Some(rule.part()));
    let names = rules.map(|rule| rule.variable(names::ELECTRA, 0));
    let missing: Vec<String> = names.filter(|name| inventory.get(name).is_none()).collect();
    if missing.is_empty() {
        return head;
    }
    warnings.push(format!(
        "left out the discriminator's head, of which {} is missing (--allow-unknown)",
        crate::variables::list(&missing)
    ));
    ModelClass::Model
}

/// Every variable of the model must have an average, where averages are to be written.
pub(super) fn check_averaged(
    tensors: &[PlannedTensor],
    inventory: &Inventory,
    model: Model,
    options: &PlanOptions,
) -> Result<(), Error> {
    if options.weights == Weights::Raw {
        return Ok(());
    }
    let items = inventory.items().iter();
    let averages: HashSet<&str> = items
        .filter(|item| item.average_of.is_some())
        .map(|item| item.variable.key.as_str())
        .collect();
    let variables = tensors.iter().flat_map(|tensor| &tensor.variables);
    let raw = variables.filter(|variable| !averages.contains(variable.key.as_str()));
    let mut names: Vec<String> = raw.map(|variable| variable.name.clone()).collect();
    names.sort();
    names.dedup();
    if names.is_empty() {
        return Ok(());
    }
    Err(crate::variables::Error::NotAveraged { model, names }.into())
}

/// Refuses variables that have no place: unknown ones, and weights of the exported model itself
/// that its architecture has no tensor for (a projection where both sizes are equal, say).
pub(super) fn check_left_out(
    left_out: &[LeftOut],
    (head, scopes): (ModelClass, Scopes),
    inventory: &Inventory,
    options: &PlanOptions,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    let mut own = own_roles(head, scopes);
    if head == ModelClass::Model {
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
    let is_head =
        head == ModelClass::Model && !names.iter().any(|name| inventory.is_in_encoder(name));
    if !options.allow_unknown {
        return Err(if is_head {
            crate::variables::Error::ForeignHead { names }.into()
        } else {
            crate::variables::Error::Unknown { names }.into()
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
        crate::variables::list(&names)
    ));
    Ok(())
}

/// A note on heads that are not there, or that training went on without.
pub(super) fn on_heads(
    head: ModelClass,
    inventory: &Inventory,
    exportable_tasks: impl FnOnce() -> String,
) -> Option<String> {
    let has_task = inventory.has(Role::TaskHead);
    let note = match head {
        ModelClass::Model if has_task => {
            return Some(format!(
                "a fine-tuned checkpoint has no discriminator head: only the encoder is exported, \
                 and ElectraForPreTraining will start with a new head{}",
                exportable_tasks()
            ));
        }
        ModelClass::Model => {
            "this checkpoint has no discriminator head: the encoder is exported as ElectraModel, and \
             every other class will start with a new head"
        }
        ModelClass::PreTraining | ModelClass::MaskedLm if has_task => {
            "this checkpoint was fine-tuned for a task: its pre-training heads may be older than its \
             encoder"
        }
        _ => return None,
    };
    Some(note.to_owned())
}

/// A note on averages that are not exported.
pub(super) fn on_averages(inventory: &Inventory, options: &PlanOptions) -> Option<String> {
    let averages = inventory.averages();
    (options.weights == Weights::Raw && averages > 0).then(|| {
        format!(
            "this checkpoint also holds moving averages of {averages} variables: the raw weights are \
             exported; --weights average exports the averages"
        )
    })
}

/// Names the variables that are not part of any ELECTRA, if there are any, in place of shapes that
/// contradict each other because of them.
pub(super) fn unknown_first(
    inventory: &Inventory,
    options: &PlanOptions,
    error: crate::variables::Error,
) -> crate::variables::Error {
    use crate::variables::Error;
    let unknown = inventory.items().iter();
    let unknown = unknown.filter(|item| item.role == Role::Unknown);
    let names: Vec<String> = unknown.map(|item| item.name.clone()).collect();
    match error {
        Error::Contradiction { .. } | Error::WrongKind { .. }
            if !names.is_empty() && !options.allow_unknown =>
        {
            Error::Unknown { names }
        }
        error => error,
    }
}

/// The roles whose variables make up the model.
pub(super) fn own_roles(head: ModelClass, scopes: Scopes) -> Vec<Role> {
    let sample = |part: Part| {
        TABLE
            .iter()
            .find(|rule| rule.part() == part)
            .map(|rule| Role::of(&rule.variable(scopes, 0)))
    };
    [Some(Part::Embeddings), Some(Part::Layer), head.head()]
        .into_iter()
        .flatten()
        .filter_map(sample)
        .collect()
}

/// `ElectraForMaskedLM` applies gelu in its head whatever `hidden_act` is, and so do its Keras
/// twins; the original code's generator head applies `hidden_act`. The training graph shows what
/// this one applies.
pub(super) fn check_head(
    head: ModelClass,
    resolved: &ResolvedConfig,
    inventory: &Inventory,
    options: &PlanOptions,
) -> Result<Option<String>, Error> {
    if head != ModelClass::MaskedLm {
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
        return Err(crate::variables::Error::InexactHead {
            activation,
            has_discriminator,
        }
        .into());
    }
    Ok(Some(format!(
        "the logits are not those of the original graph: its head applies {activation}, \
         ElectraForMaskedLM applies gelu (--allow-inexact)"
    )))
}

/// A note on float64 variables that `keep` does not keep.
pub(super) fn narrowing(tensors: &[PlannedTensor], dtype: TargetDtype) -> Option<String> {
    let narrowed = tensors
        .iter()
        .filter(|tensor| dtype == TargetDtype::Keep && tensor.cast.is_lossy())
        .count();
    (narrowed > 0).then(|| format!("rounded {narrowed} float64 variables to float32"))
}

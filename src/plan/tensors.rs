//! The tensors of an export, and the variables that they are computed from.

use candle_electra::{ElectraConfig, ModelClass};
use safetensors::Dtype;
use tf_checkpoint::Variable;

use crate::plan::cast::{Cast, TargetDtype, torch_name};
use crate::plan::error::Error;
use crate::plan::options::PlanOptions;
use crate::plan::types::PlannedTensor;
use crate::tasks::TaskHead;
use crate::variables::names::{self, Rule, Scopes};
use crate::variables::{self, Inventory, InventoryEntry, Model, Role};

/// Plans the tensors of the encoder and of a pre-training head. One error lists all missing variables.
pub(super) fn plan_architecture(
    config: &ElectraConfig,
    (class, scopes): (ModelClass, Scopes),
    inventory: &Inventory,
    model: Model,
    options: &PlanOptions,
) -> Result<Vec<PlannedTensor>, Error> {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for (rule, layer) in names::tensors(config, class.head()) {
        let name = rule.variable(scopes, layer);
        match inventory.get(&name) {
            Some(entry) => found.push((rule, layer, entry)),
            None => missing.push(name),
        }
    }
    if !missing.is_empty() {
        let mut roles = missing.iter().map(|name| Role::of(name));
        let is_head = roles.all(|role| role == Role::DiscriminatorHead);
        return Err(variables::Error::Missing {
            model,
            needed: missing.len() + found.len(),
            names: missing,
            is_head,
        }
        .into());
    }
    found
        .into_iter()
        .map(|(rule, layer, entry)| plan_tensor(rule, layer, entry, options.dtype))
        .collect()
}

fn plan_tensor(
    rule: &Rule,
    layer: usize,
    entry: &InventoryEntry,
    dtype: TargetDtype,
) -> Result<PlannedTensor, Error> {
    let variable = entry.variable.clone();
    let recipe = rule.recipe();
    Ok(PlannedTensor {
        name: rule.tensor.name_in(layer),
        recipe,
        cast: cast_of(&variable, dtype)?,
        shape: recipe.reorder(&entry.shape()),
        variables: vec![variable],
    })
}

/// Plans the tensors of a fine-tuned head.
pub(super) fn plan_task_head(
    task: &TaskHead,
    config: &ElectraConfig,
    inventory: &Inventory,
    options: &PlanOptions,
) -> Result<Vec<PlannedTensor>, Error> {
    let mut tensors = Vec::new();
    for tensor in task.tensors(inventory, config)? {
        let casts = tensor.variables.iter().map(|v| cast_of(v, options.dtype));
        let casts: Vec<Cast> = casts.collect::<Result<_, _>>()?;
        let cast = if tensor.recipe.is_computed() {
            if let TargetDtype::F16 | TargetDtype::Bf16 = options.dtype {
                return Err(variables::Error::NeedsFloat32 {
                    task: task.name.clone(),
                    dtype: torch_name(options.dtype.or_kept(Dtype::F32)),
                }
                .into());
            }
            Cast::NONE
        } else {
            common_cast(&tensor.variables, &casts)?
        };
        tensors.push(PlannedTensor {
            name: tensor.name.to_owned(),
            variables: tensor.variables.into_iter().cloned().collect(),
            recipe: tensor.recipe,
            cast,
            shape: tensor.shape,
        });
    }
    Ok(tensors)
}

/// Returns the cast of variables that form one tensor. They must have the same element type.
fn common_cast(variables: &[&Variable], casts: &[Cast]) -> Result<Cast, Error> {
    let mut pairs = std::iter::zip(variables, casts);
    let (first, &cast) = pairs
        .next()
        .expect("only a computed tensor has no variables");
    match pairs.find(|&(_, other)| *other != cast) {
        None => Ok(cast),
        Some((other, _)) => Err(variables::Error::UnexpectedVariable {
            variable: other.name.clone(),
            found: format!("elements of {}", other.dtype),
            expected: format!("{}, as {}", first.dtype, first.name),
        }
        .into()),
    }
}

fn cast_of(variable: &Variable, dtype: TargetDtype) -> Result<Cast, Error> {
    let cast = Cast::new(variable.dtype, dtype);
    Ok(cast.ok_or_else(|| variables::Error::UnexpectedVariable {
        variable: variable.name.clone(),
        found: format!("elements of {}", variable.dtype),
        expected: "floating-point numbers".into(),
    })?)
}

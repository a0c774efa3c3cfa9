//! Applies the tables to the variables of one checkpoint.

use std::collections::{HashMap, HashSet};

use tf_checkpoint::Variable;

use super::tables::{
    AVERAGE_SLOT, METRICS, MODEL_SCOPES, OBJECTS, OPTIMIZER_ATTRIBUTES, ROOT_OBJECTS, SCALARS,
    SLOT, STEP_COUNTER, TEMPERATURE, WordRule, unnumbered, word,
};
use crate::variables::entry::InventoryEntry;
use crate::variables::names;
use crate::variables::role::Role;

/// The role of a variable that is state of a training run.
pub(crate) struct State {
    pub(crate) role: Role,
    /// The name of the variable whose moving average it is.
    pub(crate) average_of: Option<String>,
}

impl From<Role> for State {
    fn from(role: Role) -> Self {
        Self {
            role,
            average_of: None,
        }
    }
}

/// Distinguishes the state of a training run from the weights, in one checkpoint.
pub(crate) struct States<'a> {
    names: HashSet<&'a str>,
    paths: HashSet<&'a str>,
    /// The names by object path.
    by_path: HashMap<&'a str, &'a str>,
    /// The object paths of optimizers, each with a trailing slash, sorted, none below another.
    optimizers: Vec<String>,
}

impl<'a> States<'a> {
    /// Prepares the lookup among these entries.
    pub(crate) fn new(entries: &'a [InventoryEntry]) -> Self {
        let paths: HashSet<&str> = entries
            .iter()
            .filter_map(|entry| entry.variable.object_path())
            .collect();
        let mut optimizers: Vec<String> = paths
            .iter()
            .filter_map(|path| path.rsplit_once('/'))
            .filter(|(_, attribute)| OPTIMIZER_ATTRIBUTES.contains(attribute))
            .map(|(parent, _)| format!("{parent}/"))
            .collect();
        optimizers.sort();
        optimizers.dedup_by(|below, above| below.starts_with(above.as_str()));
        let by_path = entries
            .iter()
            .filter_map(|entry| Some((entry.variable.object_path()?, entry.name.as_str())));
        Self {
            by_path: by_path.collect(),
            names: entries.iter().map(|entry| entry.name.as_str()).collect(),
            paths,
            optimizers,
        }
    }

    /// Returns the state that an entry is; `None` if it may be a weight.
    pub(crate) fn of(&self, entry: &InventoryEntry) -> Option<State> {
        let name = entry.name.as_str();
        if names::lookup(name).is_some() {
            return None;
        }
        self.of_words(name)
            .or_else(|| self.of_object(&entry.variable))
            .or_else(|| of_scalar(name, &entry.variable).map(State::from))
            .or_else(|| is_metric(name, &self.names).then(|| State::from(Role::Bookkeeping)))
    }

    /// Applies [`WORDS`](tables::WORDS).
    fn of_words(&self, name: &str) -> Option<State> {
        let (before, last) = name.rsplit_once('/')?;
        if let Some(rule) = word(last) {
            if self.is_variable(before) {
                return Some(state(rule, before));
            }
            // With a scope in front: `train/X/Adam`, `training/Adam/X/m`.
            if let Some(inner) = inner_names(before).find(|inner| self.is_variable(inner)) {
                return Some(state(rule, inner));
            }
        }
        // `m/X`: an optimizer inside LossScaleOptimizer.
        if let Some((first, inner)) = name.split_once('/')
            && let Some(rule) = word(first)
            && self.names.contains(inner)
        {
            return Some(state(rule, inner));
        }
        // `Adam/m/X`, `training/Adam/average/X`
        let (scope, rest) = after_optimizer(name)?;
        if let Some((first, inner)) = rest.split_once('/')
            && let Some(rule) = word(first)
            && self.is_variable(inner)
        {
            return Some(state(rule, inner));
        }
        // `Adam/X`, `SGD/X/unknown_slot`: any slot of a variable of this checkpoint, in the scope of an
        // optimizer.
        let slot_of = rest.rsplit_once('/').map(|(inner, _)| inner);
        [Some(rest), slot_of]
            .into_iter()
            .flatten()
            .find(|inner| self.names.contains(inner))
            .map(|_| State::from(scope.role))
    }

    /// Returns true for the name of a variable in this checkpoint, or of any ELECTRA variable.
    fn is_variable(&self, name: &str) -> bool {
        self.names.contains(name)
            || names::lookup(name).is_some()
            || names::lookup_keras(name).is_some()
    }

    /// Applies [`OBJECTS`], [`ROOT_OBJECTS`], [`OPTIMIZER_ATTRIBUTES`] and [`METRICS`].
    fn of_object(&self, variable: &Variable) -> Option<State> {
        const ATTRIBUTES: &str = "/.ATTRIBUTES/";
        let path = variable.object_path();
        let whole = path.unwrap_or(&variable.key);
        if let Some((_, role)) = ROOT_OBJECTS.iter().find(|(object, _)| whole == *object) {
            return Some(State::from(*role));
        }
        let Some(path) = path else {
            // Iterators and Python objects: `iterator/.ATTRIBUTES/ITERATOR_STATE`.
            let is_other = variable.key.contains(ATTRIBUTES) && !variable.dtype.is_float();
            return is_other.then(|| State::from(Role::Bookkeeping));
        };
        if names::lookup_keras(path).is_some() {
            return None;
        }
        if let Some((base, slot)) = path.split_once(SLOT)
            && slot.rsplit('/').next() == Some(AVERAGE_SLOT)
            && let Some(name) = self.by_path.get(base)
        {
            return Some(State {
                role: Role::Average,
                average_of: Some((*name).to_owned()),
            });
        }
        let mut parts = OBJECTS.iter();
        let part = parts.find(|(object, _)| path.split('/').any(|part| part == *object));
        if let Some((_, role)) = part {
            return Some(State::from(*role));
        }
        // In sorted order nothing stands between an optimizer's path and the paths below it.
        let behind = self.optimizers.partition_point(|o| o.as_str() <= path);
        if behind > 0 && path.starts_with(&self.optimizers[behind - 1]) {
            return Some(State::from(Role::OptimizerSlot));
        }
        is_metric(path, &self.paths).then(|| State::from(Role::Bookkeeping))
    }
}

/// Returns true for an attribute of a Keras metric whose partner in [`METRICS`] exists too.
fn is_metric(name: &str, names: &HashSet<&str>) -> bool {
    let (parent, attribute) = name.rsplit_once('/').unwrap_or(("", name));
    METRICS.iter().any(|pair| {
        let sibling = |other: &&str| format!("{parent}/{other}").trim_matches('/').to_owned();
        let has = |other: &&str| names.contains(sibling(other).as_str());
        pair.contains(&attribute) && pair.iter().all(has)
    })
}

/// Applies [`SCALARS`].
fn of_scalar(name: &str, variable: &Variable) -> Option<Role> {
    if name == STEP_COUNTER {
        return Some(Role::StepCounter);
    }
    if name == TEMPERATURE {
        return Some(Role::Temperature);
    }
    let is_number = variable.elements() == 1;
    // No weight of a model is an integer, a boolean or a string.
    if is_number && variable.shape.is_empty() && !variable.dtype.is_float() {
        return Some(Role::Bookkeeping);
    }
    let scope = name.split('/').next().unwrap_or(name);
    if !is_number || MODEL_SCOPES.contains(&scope) {
        return None;
    }
    let last = unnumbered(name.rsplit('/').next().unwrap_or(name));
    let known = SCALARS.iter().find(|(scalar, _)| last == *scalar);
    // Any scalar directly in the scope of an optimizer: `Adam/epsilon`.
    let of_optimizer = || {
        let (_, rest) = after_optimizer(name)?;
        (!rest.contains('/')).then_some(Role::OptimizerSlot)
    };
    known.map(|(_, role)| *role).or_else(of_optimizer)
}

/// Returns the state that `rule` gives for a slot or an average of the variable `base`.
fn state(rule: &WordRule, base: &str) -> State {
    State {
        role: rule.role,
        average_of: (rule.role == Role::Average).then(|| base.to_owned()),
    }
}

/// The largest number of scopes in front of a variable's own name in a slot's name.
const MAX_SCOPES: usize = 4;

/// Returns the name without its first scope, without its first two scopes, and so on.
fn inner_names(name: &str) -> impl Iterator<Item = &str> {
    let starts = name.match_indices('/').map(|(at, _)| at + 1);
    starts.take(MAX_SCOPES).map(|at| &name[at..])
}

/// Returns the rule for the first component that names an optimizer, and the rest of the name.
fn after_optimizer(name: &str) -> Option<(&'static WordRule, &str)> {
    let mut rest = name;
    for _ in 0..MAX_SCOPES {
        let (first, behind) = rest.split_once('/')?;
        if let Some(rule) = word(first).filter(|rule| rule.is_scope) {
            return Some((rule, behind));
        }
        rest = behind;
    }
    None
}

#[cfg(test)]
mod tests {
    use tf_checkpoint::DType;

    use super::super::tables::WORDS;
    use super::*;

    const X: &str = "electra/encoder/layer_0/output/dense/kernel";
    const KERAS_X: &str = "tf_electra_model_3/electra/encoder/layer_._0/output/dense/kernel";
    const HEAD: &str = "task_specific/sst/dense/kernel";

    fn entry(name: &str, shape: &[usize], dtype: DType) -> InventoryEntry {
        InventoryEntry {
            variable: Variable {
                key: name.to_owned(),
                name: name.to_owned(),
                full_name: None,
                object_paths: Vec::new(),
                dtype,
                shape: shape.to_vec(),
                pieces: Vec::new(),
            },
            name: name.to_owned(),
            role: Role::Unknown,
            average_of: None,
            head_axis: None,
        }
    }

    fn role(name: &str, others: &[&str], shape: &[usize], dtype: DType) -> Option<Role> {
        let entries: Vec<InventoryEntry> = others
            .iter()
            .map(|other| entry(other, &[4, 4], DType::Float32))
            .collect();
        let state = States::new(&entries).of(&entry(name, shape, dtype));
        state.map(|state| state.role)
    }

    #[test]
    fn every_word_is_a_slot_of_a_variable_and_of_nothing_else() {
        for rule in WORDS {
            for x in [X, KERAS_X, HEAD, "output_weights"] {
                for scope in ["", "train/", "training/outer/"] {
                    let name = format!("{scope}{}", rule.example.replace('X', x));
                    // Slots of an average need the average in the checkpoint.
                    let average = format!("{x}/ExponentialMovingAverage");
                    let there = [x, &average];
                    let found = role(&name, &there, &[4, 4], DType::Float32);
                    assert_eq!(found, Some(rule.role), "{name}");
                }
            }
            let name = rule.example.replace('X', "my/layer");
            let found = role(&name, &[X], &[4, 4], DType::Float32);
            assert_eq!(found, None, "{name}");
        }
        let found = role(&format!("m/{KERAS_X}"), &[KERAS_X], &[4, 4], DType::Float32);
        assert_eq!(found, Some(Role::OptimizerSlot));
        // The weight itself may be missing.
        assert_eq!(
            role(&format!("{X}/Adam"), &[], &[4, 4], DType::Float32),
            Some(Role::OptimizerSlot)
        );
        for name in [
            format!("{X}/lora_a"),
            format!("{X}/mask"),
            "task_specific/sst/momentum".to_owned(),
            "electra/adapter/Adam".to_owned(),
            format!("momentum_encoder/{KERAS_X}"),
        ] {
            let found = role(&name, &[X], &[4, 4], DType::Float32);
            assert_eq!(found, None, "{name}");
        }
    }

    #[test]
    fn scalars_are_state_only_outside_of_models() {
        for (name, dtype, expected) in [
            ("beta1_power_1", DType::Float32, Some(Role::OptimizerSlot)),
            (
                "train/beta2_power",
                DType::Float32,
                Some(Role::OptimizerSlot),
            ),
            ("loss_scale", DType::Float32, Some(Role::OptimizerSlot)),
            ("Adam/epsilon", DType::Float32, Some(Role::OptimizerSlot)),
            ("training/Adam/iter", DType::Int64, Some(Role::Bookkeeping)),
            ("Variable", DType::Int32, Some(Role::Bookkeeping)),
            ("Variable", DType::Float32, None),
            ("global_step", DType::Int64, Some(Role::StepCounter)),
            (TEMPERATURE, DType::Float32, Some(Role::Temperature)),
            ("generator_predictions/scale", DType::Float32, None),
            ("task_specific/sst/temperature", DType::Float32, None),
            ("task_specific/sst/decay", DType::Float32, None),
            ("my_head/temperature", DType::Float32, None),
        ] {
            assert_eq!(role(name, &[X], &[], dtype), expected, "{name}");
        }
        assert_eq!(role("learning_rate", &[X], &[5], DType::Float32), None);
        assert_eq!(role("positions", &[X], &[5], DType::Int32), None);
    }

    #[test]
    fn names_of_many_slashes_take_linear_time() {
        // In quadratic time it would take hours.
        for part in ["/", "adam/", "m/", "Adam_1/"] {
            let long = part.repeat(1_000_000);
            let key = format!("{long}x/.ATTRIBUTES/VARIABLE_VALUE");
            let mut other = entry(&long, &[4], DType::Float32);
            other.variable.key = key;
            let mut optimizer = entry("opt", &[], DType::Int64);
            optimizer.variable.key = format!("{long}iter/.ATTRIBUTES/VARIABLE_VALUE");
            let entries = [other, optimizer];
            let states = States::new(&entries);
            for entry in &entries {
                let _ = states.of(entry);
            }
        }
    }
}

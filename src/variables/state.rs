//! Variables that are the state of a training run and no weights of a model: slots of optimizers,
//! moving averages, accumulators, loss scales, counters, iterators.
//!
//! Three kinds of rules, all of them data, each with an example from real code:
//!
//! | table | asks for | so that |
//! |---|---|---|
//! | [`WORDS`] | a word behind the name of a variable, or between an optimizer's name and it | a weight is never taken for a slot: the rest of the name must be a variable itself |
//! | [`OBJECTS`], [`ROOT_OBJECTS`] | a component of an object path | attributes of any name are covered |
//! | [`SCALARS`] | the last component of the name, and a single number | a head's own scalar is left alone: names in a model's scope do not count |
//!
//! The rules do not depend on the model: they cover encoder, heads and task heads, in the original
//! code's names and in TensorFlow 2's. What no rule covers has no state and must be a weight.

use std::collections::HashSet;

use tf_checkpoint::Variable;

use crate::variables::item::InventoryEntry;
use crate::variables::names::{self, ELECTRA_BODY, GENERATOR_BODY, TASK_HEAD_SCOPE};
use crate::variables::role::Role;

/// How a component of a name is compared, in lower case and without a number such as `_1` behind it.
#[derive(Clone, Copy)]
enum Word {
    /// The whole component.
    Is(&'static str),
    /// Its first part, up to `_`.
    Starts(&'static str),
    /// Any part of it.
    Has(&'static str),
}

use Word::{Has, Is, Starts};

struct WordRule {
    word: Word,
    role: Role,
    /// True for a word that names an optimizer and can stand before what belongs to it.
    is_scope: bool,
    /// `X` is a variable. Documentation only, and what the tests try.
    #[cfg_attr(not(test), allow(dead_code, reason = "read by the tests"))]
    example: &'static str,
}

const fn slot(word: Word, example: &'static str) -> WordRule {
    WordRule {
        word,
        role: Role::OptimizerSlot,
        is_scope: false,
        example,
    }
}

const fn optimizer(word: Word, example: &'static str) -> WordRule {
    WordRule {
        is_scope: true,
        ..slot(word, example)
    }
}

const fn average(word: Word, example: &'static str) -> WordRule {
    WordRule {
        role: Role::Average,
        ..slot(word, example)
    }
}

/// Words beside a variable's name; the first that matches decides.
#[rustfmt::skip]
const WORDS: &[WordRule] = &[
    // tf.train.ExponentialMovingAverage; its `name` can be chosen.
    average(Has("movingaverage"),  "X/ExponentialMovingAverage"),
    average(Has("moving_average"), "X/moving_average"),
    average(Starts("ema"),         "X/ema"),
    average(Starts("swa"),         "X/swa"),
    average(Is("shadow"),          "X/shadow"),
    // use_ema of Keras' optimizers; MovingAverage and SWA of TensorFlow Addons.
    average(Is("average"),         "Adam/average/X"),
    average(Is("averaged"),        "X/averaged"),

    // tf.train's optimizers call a slot as themselves, and number it. `name` can be chosen, and mostly
    // says what it is. google-research/electra, BERT: adam_m, adam_v. Adafactor: adafactor_vr.
    optimizer(Has("adam"),         "X/Adam_1"),
    optimizer(Has("adafactor"),    "X/adafactor_vr"),
    optimizer(Has("adagrad"),      "X/ProximalAdagrad"),
    optimizer(Has("adadelta"),     "X/Adadelta_1"),
    optimizer(Has("adabelief"),    "AdaBelief/X/s"),
    optimizer(Has("momentum"),     "X/Momentum"),
    optimizer(Has("rmsprop"),      "X/RMSProp_2"),
    optimizer(Has("novograd"),     "NovoGrad/X/v"),
    optimizer(Has("shampoo"),      "X/Shampoo"),
    optimizer(Has("lookahead"),    "X/LookAheadSlowVariables"),
    optimizer(Has("optimizer"),    "X/LARSOptimizer"),
    optimizer(Starts("ftrl"),      "X/Ftrl_1"),
    optimizer(Starts("lamb"),      "X/lamb_m"),
    optimizer(Starts("lans"),      "X/lans_v"),
    optimizer(Starts("lars"),      "LARS/X/momentum"),
    optimizer(Starts("lion"),      "Lion/m/X"),
    optimizer(Starts("yogi"),      "Yogi/X/v"),
    optimizer(Starts("sgd"),       "SGD/m/X"),
    optimizer(Starts("sgdw"),      "SGDW/X/momentum"),
    optimizer(Starts("swats"),     "X/SWATS"),
    optimizer(Starts("ggt"),       "X/GGT"),
    optimizer(Starts("addsign"),   "X/AddSign"),
    optimizer(Starts("powersign"), "X/PowerSign"),

    // Moments and accumulators under names of their own: Keras' optimizers, tensor2tensor's Adafactor.
    slot(Is("m"),                  "Adam/X/m"),
    slot(Is("v"),                  "Adam/v/X"),
    slot(Is("vhat"),               "Adam/X/vhat"),
    slot(Is("velocity_hat"),       "Adam/velocity_hat/X"),
    slot(Is("velocity"),           "Adam/velocity/X"),
    slot(Is("u"),                  "Adamax/u/X"),
    slot(Is("r"),                  "Adafactor/r/X"),
    slot(Is("c"),                  "Adafactor/c/X"),
    slot(Is("vr"),                 "X/vr"),
    slot(Is("vc"),                 "X/vc"),
    slot(Is("rms"),                "RMSprop/X/rms"),
    slot(Is("mg"),                 "RMSprop/X/mg"),
    slot(Is("linear"),             "Ftrl/linear/X"),
    slot(Is("gg"),                 "X/gg"),
    slot(Is("slow"),               "Lookahead/X/slow"),
    // NVIDIA and others add up gradients: accum, grad_accum, accum_grad, accumulated_gradient, accum_var.
    slot(Has("accum"),             "X/accum"),
    slot(Has("gradient"),          "X/gradients"),
    slot(Starts("grad"),           "X/grad_acc"),
    // The steps of an unbiased average (zero_debias).
    slot(Is("biased"),             "X/ExponentialMovingAverage/biased"),
    slot(Is("local_step"),         "X/ExponentialMovingAverage/local_step"),
];

/// Components of an object path: attributes of optimizers, of Keras, of accumulators.
const OBJECTS: &[(&str, Role)] = &[
    (".OPTIMIZER_SLOT", Role::OptimizerSlot),
    ("optimizer", Role::OptimizerSlot),
    ("_variables", Role::OptimizerSlot),
    ("_gradients", Role::OptimizerSlot),
    ("_accumulated_gradients", Role::OptimizerSlot),
    ("loss_scale", Role::OptimizerSlot),
    ("keras_api", Role::Bookkeeping),
    ("_random_generator", Role::Bookkeeping),
    ("seed_generator", Role::Bookkeeping),
    ("compiled_metrics", Role::Bookkeeping),
    ("loss_tracker", Role::Bookkeeping),
];

/// Whole object paths, or the key of what is no variable. `step` and `phase2` are NVIDIA's.
const ROOT_OBJECTS: &[(&str, Role)] = &[
    ("step", Role::StepCounter),
    ("global_step", Role::StepCounter),
    ("save_counter", Role::Bookkeeping),
    ("phase2", Role::Bookkeeping),
    ("_CHECKPOINTABLE_OBJECT_GRAPH", Role::Bookkeeping),
];

/// Attributes whose parent is a Keras optimizer, whatever its own name: of the new optimizers, of
/// those before 2.11.
const OPTIMIZER_ATTRIBUTES: &[&str] = &["_iterations", "iter", "iterations"];

/// Pairs of attributes of Keras' metrics: a mean has the first two, an AUC the others.
const METRICS: &[&str] = &[
    "total",
    "count",
    "true_positives",
    "true_negatives",
    "false_positives",
    "false_negatives",
];

/// Names of single numbers, whatever is before the last component.
const SCALARS: &[(&str, Role)] = &[
    // tf.train.AdamOptimizer
    ("beta1_power", Role::OptimizerSlot),
    ("beta2_power", Role::OptimizerSlot),
    // Keras' optimizers
    ("iter", Role::OptimizerSlot),
    ("iteration", Role::OptimizerSlot),
    ("iterations", Role::OptimizerSlot),
    ("learning_rate", Role::OptimizerSlot),
    ("lr", Role::OptimizerSlot),
    ("current_learning_rate", Role::OptimizerSlot),
    ("decay", Role::OptimizerSlot),
    ("weight_decay", Role::OptimizerSlot),
    ("beta_1", Role::OptimizerSlot),
    ("beta_2", Role::OptimizerSlot),
    ("rho", Role::OptimizerSlot),
    ("momentum_cache", Role::OptimizerSlot),
    ("_u_product", Role::OptimizerSlot),
    ("u_product", Role::OptimizerSlot),
    // Loss scaling in 16 bits: tf.contrib.mixed_precision, tf.train.experimental, NVIDIA
    ("loss_scale", Role::OptimizerSlot),
    ("current_loss_scale", Role::OptimizerSlot),
    ("good_steps", Role::OptimizerSlot),
    ("bad_steps", Role::OptimizerSlot),
    ("global_norm", Role::OptimizerSlot),
    // NVIDIA's gradient accumulation
    ("local_step", Role::OptimizerSlot),
    ("accum_step", Role::OptimizerSlot),
    ("batch_finite", Role::OptimizerSlot),
    // Counters of training loops, in numbers of any type
    ("current_step", Role::Bookkeeping),
    ("num_tokens", Role::Bookkeeping),
    ("num_examples", Role::Bookkeeping),
    ("epoch", Role::Bookkeeping),
];

const STEP_COUNTER: &str = "global_step";
/// Divides the logits that the generator's tokens are drawn from, in Google's released checkpoints.
/// Nothing else depends on it.
const TEMPERATURE: &str = "generator_predictions/temperature";

/// Scopes of models, in which no scalar is bookkeeping by its name alone.
const MODEL_SCOPES: &[&str] = &[
    ELECTRA_BODY,
    GENERATOR_BODY,
    TASK_HEAD_SCOPE,
    "discriminator_predictions",
    "generator_predictions",
    "task_specific",
];

/// What the state of a training run is for.
pub(crate) struct State {
    pub(crate) role: Role,
    /// The name of the variable that it is the average of.
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

/// Sets the state of a training run apart from weights, in one checkpoint.
pub(crate) struct States<'a> {
    names: HashSet<&'a str>,
    paths: HashSet<&'a str>,
    /// Object paths of optimizers, each with a slash behind it, sorted, none below another.
    optimizers: Vec<String>,
}

impl<'a> States<'a> {
    pub(crate) fn new(items: &'a [InventoryEntry]) -> Self {
        let paths: HashSet<&str> = items
            .iter()
            .filter_map(|item| item.variable.object_path())
            .collect();
        let mut optimizers: Vec<String> = paths
            .iter()
            .filter_map(|path| path.rsplit_once('/'))
            .filter(|(_, attribute)| OPTIMIZER_ATTRIBUTES.contains(attribute))
            .map(|(parent, _)| format!("{parent}/"))
            .collect();
        optimizers.sort();
        optimizers.dedup_by(|below, above| below.starts_with(above.as_str()));
        Self {
            names: items.iter().map(|item| item.name.as_str()).collect(),
            paths,
            optimizers,
        }
    }

    /// The state that an item is; `None` where it may be a weight.
    pub(crate) fn of(&self, item: &InventoryEntry) -> Option<State> {
        let name = item.name.as_str();
        if names::lookup(name).is_some() {
            return None;
        }
        self.of_words(name)
            .or_else(|| self.of_object(&item.variable))
            .or_else(|| of_scalar(name, &item.variable).map(State::from))
            .or_else(|| is_metric(name, &self.names).then(|| State::from(Role::Bookkeeping)))
    }

    fn of_words(&self, name: &str) -> Option<State> {
        let (before, last) = name.rsplit_once('/')?;
        if let Some(rule) = word(last) {
            if self.is_variable(before) {
                return Some(state(rule, before));
            }
            // A scope before it: `train/X/Adam`, `training/Adam/X/m`.
            if let Some(inner) = inner_names(before).find(|inner| self.is_variable(inner)) {
                return Some(state(rule, inner));
            }
        }
        // `m/X`, as an optimizer inside of LossScaleOptimizer has it.
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
        // `Adam/X`, `SGD/X/momentum` of an unknown slot: what an optimizer keeps of a variable that is
        // there, under its own name.
        let slot_of = rest.rsplit_once('/').map(|(inner, _)| inner);
        [Some(rest), slot_of]
            .into_iter()
            .flatten()
            .find(|inner| self.names.contains(inner))
            .map(|_| State::from(scope.role))
    }

    /// True for the name of a variable, in this checkpoint or of an ELECTRA.
    fn is_variable(&self, name: &str) -> bool {
        self.names.contains(name)
            || names::lookup(name).is_some()
            || names::lookup_keras(name).is_some()
    }

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
        let mut parts = OBJECTS.iter();
        let part = parts.find(|(object, _)| path.split('/').any(|part| part == *object));
        if let Some((_, role)) = part {
            return Some(State::from(*role));
        }
        // Whatever is sorted between an optimizer and what is below it would be below it too.
        let behind = self.optimizers.partition_point(|o| o.as_str() <= path);
        if behind > 0 && path.starts_with(&self.optimizers[behind - 1]) {
            return Some(State::from(Role::OptimizerSlot));
        }
        is_metric(path, &self.paths).then(|| State::from(Role::Bookkeeping))
    }
}

/// True for one of a pair of attributes that a metric of Keras has, where the other one is there too.
fn is_metric(name: &str, names: &HashSet<&str>) -> bool {
    let (parent, attribute) = name.rsplit_once('/').unwrap_or(("", name));
    METRICS.chunks(2).any(|pair| {
        let sibling = |other: &&str| format!("{parent}/{other}").trim_matches('/').to_owned();
        let has = |other: &&str| names.contains(sibling(other).as_str());
        pair.contains(&attribute) && pair.iter().all(has)
    })
}

fn of_scalar(name: &str, variable: &Variable) -> Option<Role> {
    if name == STEP_COUNTER {
        return Some(Role::StepCounter);
    }
    if name == TEMPERATURE {
        return Some(Role::Temperature);
    }
    let is_number = variable.elements() == 1;
    // No model has a weight that is a whole number, a truth value or a text.
    if is_number && variable.shape.is_empty() && !variable.dtype.is_float() {
        return Some(Role::Bookkeeping);
    }
    let scope = name.split('/').next().unwrap_or(name);
    if !is_number || MODEL_SCOPES.contains(&scope) {
        return None;
    }
    let last = unnumbered(name.rsplit('/').next().unwrap_or(name));
    let known = SCALARS.iter().find(|(scalar, _)| last == *scalar);
    // Whatever number an optimizer keeps directly under its name: `Adam/epsilon`.
    let of_optimizer = || {
        let (_, rest) = after_optimizer(name)?;
        (!rest.contains('/')).then_some(Role::OptimizerSlot)
    };
    known.map(|(_, role)| *role).or_else(of_optimizer)
}

fn state(rule: &WordRule, base: &str) -> State {
    State {
        role: rule.role,
        average_of: (rule.role == Role::Average).then(|| base.to_owned()),
    }
}

/// The most scopes before a variable's own name in a slot's name.
const MAX_SCOPES: usize = 4;

/// A name without its first scopes.
fn inner_names(name: &str) -> impl Iterator<Item = &str> {
    let starts = name.match_indices('/').map(|(at, _)| at + 1);
    starts.take(MAX_SCOPES).map(|at| &name[at..])
}

/// The first component that names an optimizer, and what is behind it.
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

/// The rule for a component of a name.
fn word(component: &str) -> Option<&'static WordRule> {
    /// No word is longer, so that a long name is not searched for each of them.
    const MAX_LEN: usize = 64;
    if component.len() > MAX_LEN {
        return None;
    }
    let found = unnumbered(component).to_ascii_lowercase();
    WORDS.iter().find(|rule| match rule.word {
        Is(word) => found == word,
        Starts(word) => found.split('_').next() == Some(word),
        Has(word) => found.contains(word),
    })
}

/// `Adam` of `Adam_1`.
fn unnumbered(component: &str) -> &str {
    match component.rsplit_once('_') {
        Some((before, digits))
            if !before.is_empty()
                && !digits.is_empty()
                && digits.bytes().all(|b| b.is_ascii_digit()) =>
        {
            before
        }
        _ => component,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tf_checkpoint::DType;

    const X: &str = "electra/encoder/layer_0/output/dense/kernel";
    const KERAS_X: &str = "tf_electra_model_3/electra/encoder/layer_._0/output/dense/kernel";
    const HEAD: &str = "task_specific/sst/dense/kernel";

    fn item(name: &str, shape: &[usize], dtype: DType) -> InventoryEntry {
        InventoryEntry {
            variable: Variable {
                key: name.to_owned(),
                name: name.to_owned(),
                dtype,
                shape: shape.to_vec(),
                pieces: Vec::new(),
            },
            name: name.to_owned(),
            role: Role::Unknown,
            average_of: None,
        }
    }

    fn role(name: &str, others: &[&str], shape: &[usize], dtype: DType) -> Option<Role> {
        let items: Vec<InventoryEntry> = others
            .iter()
            .map(|other| item(other, &[4, 4], DType::Float32))
            .collect();
        let state = States::new(&items).of(&item(name, shape, dtype));
        state.map(|state| state.role)
    }

    #[test]
    fn every_word_is_a_slot_of_a_variable_and_of_nothing_else() {
        for rule in WORDS {
            for x in [X, KERAS_X, HEAD, "output_weights"] {
                for scope in ["", "train/", "training/outer/"] {
                    let name = format!("{scope}{}", rule.example.replace('X', x));
                    // A slot of an average is one of a variable that is there.
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
        // The variable itself may have been left out.
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
    fn numbers_count_outside_of_models_only() {
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
            let mut other = item(&long, &[4], DType::Float32);
            other.variable.key = key;
            let mut optimizer = item("opt", &[], DType::Int64);
            optimizer.variable.key = format!("{long}iter/.ATTRIBUTES/VARIABLE_VALUE");
            let items = [other, optimizer];
            let states = States::new(&items);
            for item in &items {
                let _ = states.of(item);
            }
        }
    }
}

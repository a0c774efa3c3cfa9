//! The words, object paths and scalars that identify the state of a training run.

use crate::variables::names::{
    DISCRIMINATOR_HEAD, ELECTRA_BODY, GENERATOR_BODY, GENERATOR_HEAD, TASK_HEAD, TRANSFORMERS_HEAD,
};
use crate::variables::role::Role;

/// How a component of a name is compared: in lower case, without a trailing number such as `_1`.
#[derive(Clone, Copy)]
pub(super) enum Word {
    /// With the whole component.
    Is(&'static str),
    /// With its first part, up to `_`.
    Starts(&'static str),
    /// With any part of it.
    Has(&'static str),
}

use Word::{Has, Is, Starts};

/// A word and the role of the variables whose names have it.
pub(super) struct WordRule {
    word: Word,
    pub(super) role: Role,
    /// True if the word names an optimizer, so that it can also be the scope of the optimizer's variables.
    pub(super) is_scope: bool,
    /// The name of such a variable, where `X` is the name of a weight; documentation and test input.
    #[cfg_attr(not(test), allow(dead_code, reason = "read by the tests"))]
    pub(super) example: &'static str,
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

/// Words next to a variable's name; the first match decides.
#[rustfmt::skip]
pub(super) const WORDS: &[WordRule] = &[
    // tf.train.ExponentialMovingAverage; its `name` can be chosen.
    average(Has("movingaverage"),  "X/ExponentialMovingAverage"),
    average(Has("moving_average"), "X/moving_average"),
    average(Starts("ema"),         "X/ema"),
    average(Starts("swa"),         "X/swa"),
    average(Is("shadow"),          "X/shadow"),
    // use_ema of Keras' optimizers; MovingAverage and SWA of TensorFlow Addons.
    average(Is("average"),         "Adam/average/X"),
    average(Is("averaged"),        "X/averaged"),

    // tf.train's optimizers name a slot after themselves and number it. `name` can be chosen, and mostly
    // has the name of the optimizer. google-research/electra, BERT: adam_m, adam_v. Adafactor: adafactor_vr.
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

    // Moments and accumulators with their own names: Keras' optimizers, tensor2tensor's Adafactor.
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
    // NVIDIA and others accumulate gradients: accum, grad_accum, accum_grad, accumulated_gradient, accum_var.
    slot(Has("accum"),             "X/accum"),
    slot(Has("gradient"),          "X/gradients"),
    slot(Starts("grad"),           "X/grad_acc"),
    // The step counters of an unbiased average (zero_debias).
    slot(Is("biased"),             "X/ExponentialMovingAverage/biased"),
    slot(Is("local_step"),         "X/ExponentialMovingAverage/local_step"),
];

/// Components of an object path: attributes of optimizers, of Keras, of accumulators.
pub(super) const OBJECTS: &[(&str, Role)] = &[
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

/// What stands between the object path of a weight and the place of its slot in an optimizer.
pub(crate) const SLOT: &str = "/.OPTIMIZER_SLOT/";
/// The slot in which Model Garden's `ExponentialMovingAverage` keeps the average of a weight
/// (`modeling/optimization/ema_optimizer.py`): `X/.OPTIMIZER_SLOT/optimizer/average`.
pub(super) const AVERAGE_SLOT: &str = "average";

/// Whole object paths, or keys of entries that are not variables. `step` and `phase2` are NVIDIA's.
pub(super) const ROOT_OBJECTS: &[(&str, Role)] = &[
    ("step", Role::StepCounter),
    ("global_step", Role::StepCounter),
    ("save_counter", Role::Bookkeeping),
    ("phase2", Role::Bookkeeping),
    ("_CHECKPOINTABLE_OBJECT_GRAPH", Role::Bookkeeping),
];

/// Attributes whose parent is a Keras optimizer, whatever its own name: of the current optimizers, and of
/// those before TensorFlow 2.11.
pub(super) const OPTIMIZER_ATTRIBUTES: &[&str] = &["_iterations", "iter", "iterations"];

/// Pairs of attributes of Keras' metrics: a mean has the first pair, an AUC the others.
pub(super) const METRICS: &[[&str; 2]] = &[
    ["total", "count"],
    ["true_positives", "true_negatives"],
    ["false_positives", "false_negatives"],
];

/// Names of scalars, by their last component.
pub(super) const SCALARS: &[(&str, Role)] = &[
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
    // Loss scaling for 16-bit training: tf.contrib.mixed_precision, tf.train.experimental, NVIDIA
    ("loss_scale", Role::OptimizerSlot),
    ("current_loss_scale", Role::OptimizerSlot),
    ("good_steps", Role::OptimizerSlot),
    ("bad_steps", Role::OptimizerSlot),
    ("global_norm", Role::OptimizerSlot),
    // NVIDIA's gradient accumulation
    ("local_step", Role::OptimizerSlot),
    ("accum_step", Role::OptimizerSlot),
    ("batch_finite", Role::OptimizerSlot),
    // Counters of training loops, of any number type
    ("current_step", Role::Bookkeeping),
    ("num_tokens", Role::Bookkeeping),
    ("num_examples", Role::Bookkeeping),
    ("epoch", Role::Bookkeeping),
];

/// The counter of training steps.
pub(super) const STEP_COUNTER: &str = "global_step";
/// The sampling temperature of the generator in Google's released checkpoints. Only the sampled tokens
/// depend on it.
pub(super) const TEMPERATURE: &str = "generator_predictions/temperature";

/// Scopes of models. A scalar in them may be a weight, whatever its name.
pub(super) const MODEL_SCOPES: &[&str] = &[
    ELECTRA_BODY,
    GENERATOR_BODY,
    DISCRIMINATOR_HEAD,
    GENERATOR_HEAD,
    TASK_HEAD,
    TRANSFORMERS_HEAD,
];

/// Returns the rule for a component of a name.
pub(super) fn word(component: &str) -> Option<&'static WordRule> {
    /// More than any word, so that a long component is not compared with each of them.
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

/// Removes the number from the end of a component: `Adam` for `Adam_1`.
pub(super) fn unnumbered(component: &str) -> &str {
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

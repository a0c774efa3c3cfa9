//! Operations that are not computed: they forward a tensor, hold a value, or draw random numbers.

/// Operations whose output is their first input. A `Switch` forwards its data to both outputs; which one is
/// used is decided at the `Merge`.
pub(crate) const FORWARDING: &[&str] = &[
    "Identity",
    "StopGradient",
    "PreventGradient",
    "Snapshot",
    "Enter",
    "RefEnter",
    "Switch",
    "RefSwitch",
    "RefIdentity",
    "EnsureShape",
    "CheckNumerics",
    "ReadVariableOp",
    "PlaceholderWithDefault",
    "TPUReplicatedInput",
    "TPUReplicatedOutput",
    "TPUPartitionedInput",
    "DeepCopy",
    "Copy",
    "Print",
];

/// Operations that are variables.
const VARIABLES: &[&str] = &[
    "VariableV2",
    "Variable",
    "VarHandleOp",
    "AutoReloadVariable",
];

/// Operations through which data enters a graph.
const INPUTS: &[&str] = &[
    "Placeholder",
    "PlaceholderV2",
    "IteratorGetNext",
    "IteratorV2",
    "OneShotIterator",
    "InfeedDequeue",
    "InfeedDequeueTuple",
    "ParseExample",
    "ParseExampleV2",
    "ParseSingleExample",
    "QueueDequeueV2",
    "QueueDequeueManyV2",
    "QueueDequeueUpToV2",
    "_Arg",
];

/// Operations that draw uniform numbers in [0, 1).
pub(crate) const UNIFORM: &[&str] = &[
    "RandomUniform",
    "StatelessRandomUniform",
    "StatelessRandomUniformV2",
];

/// Operations that draw other random numbers.
pub(crate) const OTHER_RANDOM: &[&str] = &[
    "RandomStandardNormal",
    "TruncatedNormal",
    "RandomUniformInt",
    "StatelessRandomNormal",
    "StatelessRandomNormalV2",
    "StatelessTruncatedNormal",
    "StatelessTruncatedNormalV2",
    "StatelessRandomUniformInt",
    "StatelessRandomUniformIntV2",
    "StatelessRandomUniformFullInt",
    "Multinomial",
    "StatelessMultinomial",
    "RandomShuffle",
    "RandomGamma",
    "RandomPoissonV2",
];

/// Operations whose output depends on the shape of their input, not on its values.
const OF_SHAPE: &[&str] = &["Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike"];

/// Returns true for an operation that is a variable.
pub fn is_variable(op: &str) -> bool {
    VARIABLES.contains(&op)
}

/// Returns true for an operation whose output depends on the shape of its input, and not on its values.
pub fn is_of_shape(op: &str) -> bool {
    OF_SHAPE.contains(&op)
}

/// Returns why an operation that is not computed here has no value.
pub(crate) fn unsupported(op: &str) -> String {
    if INPUTS.contains(&op) {
        format!("{op} is an input of the graph that is not fed")
    } else {
        format!("the operation {op} is not supported")
    }
}

/// Returns true for an operation that draws random numbers.
pub(crate) fn is_random(op: &str) -> bool {
    UNIFORM.contains(&op) || OTHER_RANDOM.contains(&op)
}

//! The heads of the original code as data: the names of Google's tasks, and the tensors of each kind.

use crate::config::TaskKind;
use crate::variables::Recipe;

/// The key of the kind of task in messages.
pub(super) const TASK_KIND: &str = "the kind of task";
/// The option that gives the kind of task.
pub(super) const TASK_KIND_OPTION: &str = "--task-kind";

/// Google's tasks, by kind.
const TASKS: &[(TaskKind, &[&str])] = &[
    (TaskKind::Tagging, &["chunk"]),
    (
        TaskKind::Span,
        &[
            "squad",
            "squadv1",
            "newsqa",
            "naturalqs",
            "triviaqa",
            "searchqa",
        ],
    ),
    (
        TaskKind::Classification,
        &["cola", "mrpc", "mnli", "sst", "rte", "qnli", "qqp", "sts"],
    ),
];

/// Returns the kind of one of Google's tasks; `None` for any other name.
pub(super) fn kind_of_googles(task: &str) -> Option<TaskKind> {
    let row = TASKS.iter().find(|(_, names)| names.contains(&task));
    row.map(|(kind, _)| *kind)
}

/// One tensor of a head: its name, its recipe, and the variables of the recipe. `{D}` is the scope of the
/// dense layer, `{B}` the scope of the encoder, `{N}` its last layer.
pub(super) type TensorRow = (&'static str, Recipe, &'static [&'static str]);

const GAMMA: &str = "{B}/encoder/layer_{N}/output/LayerNorm/gamma";
const BETA: &str = "{B}/encoder/layer_{N}/output/LayerNorm/beta";

/// The tensors of each kind of head.
#[rustfmt::skip]
const TENSORS: &[(TaskKind, &[TensorRow])] = &[
    (TaskKind::Tagging, &[
        ("classifier.weight", Recipe::Transpose, &["{D}/kernel"]),
        ("classifier.bias",   Recipe::Copy,      &["{D}/bias"]),
    ]),
    (TaskKind::Classification, &[
        ("classifier.dense.weight",    Recipe::Identity,        &[]),
        ("classifier.dense.bias",      Recipe::GeluOffset,      &[GAMMA, BETA]),
        ("classifier.out_proj.weight", Recipe::Transpose,       &["{D}/kernel"]),
        ("classifier.out_proj.bias",   Recipe::CompensatedBias, &["{D}/bias", "{D}/kernel", GAMMA, BETA]),
    ]),
    (TaskKind::Span, &[
        ("qa_outputs.weight", Recipe::Stack, &["{D}/kernel", "{D}_1/kernel"]),
        ("qa_outputs.bias",   Recipe::Stack, &["{D}/bias", "{D}_1/bias"]),
    ]),
];

/// Returns the tensors of a head that is made from dense layers; none for a kind that the original code
/// does not have.
pub(super) fn tensors_of(kind: TaskKind) -> &'static [TensorRow] {
    let row = TENSORS.iter().find(|(of, _)| *of == kind);
    row.map_or(&[], |(_, tensors)| tensors)
}

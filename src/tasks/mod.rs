//! Heads of fine-tuned models: their kind, and the Hugging Face class that computes the same.
//!
//! The original code puts the head of each task into `task_specific/TASK/`, as unnamed dense layers
//! (`dense_layers`):
//!
//! | kind | head | class |
//! |---|---|---|
//! | tagging | `dense` on every token | `ElectraForTokenClassification` |
//! | classification, regression | `dense` on the first token | `ElectraForSequenceClassification`, with [`Recipe::GeluOffset`](crate::variables::Recipe::GeluOffset) |
//! | span | `dense` (start) and `dense_1` (end) on every token | `ElectraForQuestionAnswering` |
//! | joint span | the end depends on the start (`qa_hidden`) | none |
//!
//! Tagging and classification heads have the same variables. The training graph shows which tokens the
//! dense layer reads (`input`); without a graph, the name of the task decides if it is one of Google's
//! (`table`), or else the user. A layer that reads something else, such as the mean of all tokens, has no
//! class. Sources: `finetune/task_builder.py`, `finetune/*/…_tasks.py` in google-research/electra.
//!
//! The heads of transformers' TensorFlow classes (`classifier`, `qa_outputs`, `sequence_summary`; NVIDIA has
//! the same) have the tensors of its PyTorch classes, as listed in the name table (`transformers_head`). Only
//! a single layer `classifier` is ambiguous, because a user's own class may put it on the first token. The
//! name of the class decides; for any other name it is taken as in transformers, with a warning.

mod dense_layers;
mod find;
mod head;
mod input;
mod table;
mod transformers_head;

pub use head::TaskHead;

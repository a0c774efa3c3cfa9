//! Heads of fine-tuned models: what they predict, and which class of transformers computes the same.

mod head;

pub use head::TaskHead;

//! Verifies a converted directory.
//!
//! | check | question | in |
//! |---|---|---|
//! | structure | does each of the eight classes find the tensors that it expects? | `structure` |
//! | checksums | is each tensor its variable, transformed back, by the CRC-32C in the checkpoint? | `checksums` |
//! | values | are all numbers finite, and is no tensor constant? | `values` |
//! | heads | do the weights show another head count than config.json? | `head_count` |
//! | forward | does each class compute finite outputs that do not depend on padding and batch order? | `forward` |
//! | task | does the head of a fine-tuned model compute the same as the checkpoint's own? | `task_head` |
//! | graph | does the model compute what the training graph computes? (if there is one) | `graph` |
//! | tokenizer | do the tokenizer files agree with the weights and with each other? (if there are any) | `tokenizer` |
//! | text | does another head count predict a text clearly better? (if a text is given) | [`text_check`](crate::probe::text_check) |
//! | golden | are the outputs those of a reference? (if one is given) | `golden` |
//!
//! `run` runs all of them. `tensors` reads each tensor once for *checksums*, *values* and *heads*, and gives it to
//! *forward*, which requests one layer after the other: the memory does not grow with the number of layers. The
//! other computations read the weights again in the same way
//! (`streamed_model`).
//!
//! # What the checks prove
//!
//! Against the checkpoint ([`CompareWith::Checkpoint`]) *checksums* proves that every tensor holds the bytes
//! of the variable that the name table assigns to it, whatever happened to the file since. The `.index` file
//! is enough for that: it holds the CRC-32C of every variable. Rounded tensors (`--dtype`) are compared
//! value by value, which needs the data files.
//!
//! Without the checkpoint ([`CompareWith::RecordedChecksums`]) *checksums* compares with the checksums that
//! the conversion recorded in the metadata. That proves that no tensor was changed, moved or swapped since;
//! it does not prove that the conversion was correct, nor that nobody changed tensor and checksum together.
//!
//! Neither detects a wrong activation in config.json: the shapes match and the numbers stay finite. *golden*
//! detects it, and so does a `.meta` file beside the checkpoint. They detect a wrong head count too, *heads*
//! does in a model that was trained well, and *text* often does.

mod checksums;
mod config;
mod differences;
mod distribution;
mod error;
mod failure;
mod files;
mod forward;
mod golden;
mod graph;
mod head_count;
mod in_order;
mod inputs;
mod report;
mod run;
mod structure;
mod task_head;
mod tensors;
mod tied_decoder;
mod tokenizer;
mod values;
mod weight_statistics;

pub use checksums::ChecksumReport;
pub use distribution::{BINS, DEVIATIONS, TensorStatistics};
pub use error::Error;
pub use failure::{Check, Failure};
pub use files::check_files;
pub use forward::ClassOutput;
pub use golden::{Deviation, GoldenReport};
pub use graph::{
    ComparedOutput, DescribedOutput, DescribedPart, Difference, EvaluatedBy, GraphReport,
    NotEvaluated, TrainingGraph, describe,
};
pub(crate) use graph::{Doubts, decide};
pub use head_count::HeadCountReport;
pub use inputs::{CompareWith, GOLDEN_TOLERANCE, Golden, NoGraph, References};
pub use report::{ClassReport, Report};
pub use run::verify;
pub(crate) use run::watched;
pub use structure::Structure;
pub use task_head::TaskReport;
pub use tokenizer::TokenizerReport;
pub use weight_statistics::{UnitNorms, WeightStatistics};

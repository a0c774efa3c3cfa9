//! TensorFlow's checkpoint formats, and nothing of ELECTRA.
//!
//! [`locate()`] finds the files behind whatever a person types, [`Checkpoint::open`] reads the index,
//! and [`Checkpoint::read`] fetches one variable with its checksum checked. The graph that the
//! training run may have left beside it is a [`MetaGraph`].
//!
//! | file | format |
//! |---|---|
//! | `PREFIX.index`, `PREFIX.data-00000-of-00001` | TensorBundle (V2): `bundle`, `index` over `sstable` |
//! | the same, with a graph of objects | what TensorFlow 2 adds: `object_graph` |
//! | `PREFIX`, or `PREFIX-00000-of-00002` | V1: `v1` over `sstable` |
//! | `ARCHIVE.zip` | any of these in an archive: `zip` |
//! | `PREFIX.meta` | `MetaGraphDef`: `meta_graph`, `functions` over `wire` |
//! | `checkpoint` | which checkpoint is the latest: `state_file` |
//! | anything else | what it is and what to do: `foreign` |
//!
//! Nothing read from a file is trusted: lengths, offsets, counts and shapes are checked before
//! anything is allocated or read. What a file may take in memory is in proportion to its length, see
//! [`Limits`].

pub mod address;
mod bundle;
mod checkpoint;
mod contiguous;
mod crc;
mod error;
mod foreign;
mod graph;
mod layout;
mod limits;
mod locate;
mod protobuf;
mod reader;
mod slice_key;
pub mod sstable;
pub mod storage;
#[cfg(feature = "tensorflow")]
mod tensorflow;
mod v1;
mod variable;

pub use checkpoint::{Checkpoint, ReadBy};
pub use contiguous::Contiguous;
pub use error::Error;
pub use foreign::{FileKind, refuse_stand_in, start};
pub use graph::{Constant, MetaGraph, NodeId, Tensor, Use};
pub use layout::cut;
pub use limits::{Limits, TooDense};
pub use locate::{Format, Location, locate, locate_within};
pub use variable::{DType, Piece, StoredBytes, Variable, swap_bytes};

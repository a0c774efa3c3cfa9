//! Reads TensorFlow checkpoints, and the graphs beside them, without TensorFlow.
//!
//! [`locate()`] finds the files for the path that a user gives, [`Checkpoint::open`] reads the list of
//! variables, and [`Checkpoint::read`] reads the value of one and verifies its checksum.
//! [`Checkpoint::meta_graph`] reads the training graph or the graph of a SavedModel, if there is one.
//!
//! ```
//! use tf_checkpoint::{Checkpoint, DType, locate};
//!
//! # let folder = tempfile::tempdir()?;
//! # let index = b"\x00\x00\x06\x08\x01\x1a\x02\x08\x01\x00\x04\x0fbias\x08\x01\x12\x04\x12\x02\x08\x02(\x085\
//! #     =3\xc8\xf4\x00\x00\x00\x00\x01\x00\x00\x00\x00\x5c\xa8\xe1\xc9\x00\x00\x00\x00\x01\x00\x00\x00\x00\
//! #     \xc0\xf2\xa1\xb0\x00\x04\x02bias\x00'\x00\x00\x00\x00\x01\x00\x00\x00\x008H\x08\x0d,\x089\x11\x00\x00\
//! #     \x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\
//! #     \x00\x00\x00\x00\x00\x00\x00\x00\x00W\xfb\x80\x8b$uG\xdb";
//! # std::fs::write(folder.path().join("model.ckpt-400.index"), index)?;
//! # let values: Vec<u8> = [1.5_f32, -2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
//! # std::fs::write(folder.path().join("model.ckpt-400.data-00000-of-00001"), values)?;
//! # let path = folder.path();
//! // A prefix, one of the checkpoint's files, a directory, a SavedModel or a zip archive.
//! let location = locate(path, None)?;
//! assert_eq!(location.step_in_name(), Some(400));
//!
//! let checkpoint = Checkpoint::open(location)?;
//! let [bias] = checkpoint.variables() else { panic!("one variable") };
//! assert_eq!((bias.name.as_str(), bias.dtype, &bias.shape[..]), ("bias", DType::Float32, &[2][..]));
//!
//! let mut bytes = [0; 8];
//! checkpoint.read(bias, &mut bytes)?; // little-endian, row-major
//! assert_eq!(bytes, [0x00, 0x00, 0xc0, 0x3f, 0x00, 0x00, 0x00, 0xc0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | format | files | what of it is read |
//! |---|---|---|
//! | TensorBundle | `PREFIX.index`, `PREFIX.data-00000-of-00001` | V2, the default since TensorFlow 1.0: one or several data files, partitioned variables, big-endian files, object-based checkpoints of TensorFlow 2 |
//! | V1 checkpoint | `PREFIX`, or `PREFIX-00000-of-00002` | the default before TensorFlow 1.0: one or several files, partitioned variables |
//! | SavedModel | `saved_model.pb`, `variables/variables.index` and its data files | of TensorFlow 1 and 2, with or without signatures; not as text (`saved_model.pbtxt`) |
//! | HDF5 file of Keras weights | `tf_model.h5`, `weights.h5` | weights and whole models of Keras 2; neither compressed nor in chunks |
//!
//! Their files may be in a directory or in an archive:
//!
//! | archive | names | how it is read |
//! |---|---|---|
//! | zip archive | `.zip` | compressed members are inflated into temporary files when they are needed |
//! | tar archive | `.tar` | read in place |
//! | tar archive compressed with gzip | `.tar.gz`, `.tgz` | inflated when it is opened; long members into temporary files when they are needed |
//!
//! Beside a checkpoint, `PREFIX.meta` is its training graph, a `MetaGraphDef`; `checkpoint` is the state file
//! that names the latest checkpoint.
//!
//! A path that leads to anything else is an error that states what it is and what to do, see
//! [`FileKind`].
//!
//! # Untrusted files
//!
//! Lengths, offsets, counts and shapes are checked before anything is allocated or read. The memory for
//! a file is limited in proportion to its length, see [`Limits`]. There is no `unsafe` code.
//!
//! # Platforms
//!
//! 64-bit targets. Linux is tested. The code for Windows compiles and was never run; macOS shares the
//! code for Unix.

pub mod address;
mod bundle;
mod checkpoint;
mod contiguous;
mod crc;
mod error;
mod file_kind;
mod file_range;
mod foreign;
mod formats;
mod graph;
mod hdf5;
mod layout;
mod limits;
mod locate;
mod protobuf;
mod reader;
mod slice_key;
pub mod sstable;
pub mod storage;
mod sys;
#[cfg(feature = "tensorflow")]
mod tensorflow;
mod v1;
mod variable;

pub use checkpoint::{Checkpoint, ReadBy};
pub use contiguous::Contiguous;
pub use error::Error;
pub use file_kind::FileKind;
pub use file_range::FileRange;
pub use foreign::{refuse_stand_in, start};
pub use formats::{ArchiveFormat, Format};
pub use graph::{Constant, Literal, MetaGraph, NodeId, Tensor, Use};
pub use layout::cut;
pub use limits::{Limits, TooDense};
pub use locate::{Incomplete, Location, Run, locate, locate_within, runs};
pub use variable::{DType, Piece, StoredBytes, Variable, swap_bytes};

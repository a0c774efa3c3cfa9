//! HDF5 files of Keras weights: `tf_model.h5` of transformers, `save_weights("weights.h5")` and
//! `save("model.h5")` of Keras.
//!
//! A tree of groups ends in datasets, one for each variable. Two attributes select them
//! ([`keras`]): `layer_names` of the model's group lists groups, and `weight_names` of each group lists
//! paths of datasets below it.
//!
//! Keras writes a small part of HDF5, in the oldest version of the format, which h5py writes by default.
//! This part is read:
//!
//! | structure | module |
//! |---|---|
//! | superblock, versions 0 and 1 | [`superblock`] |
//! | object header, version 1, with continuation blocks | [`header`] |
//! | group: B-tree, version 1, symbol table nodes, local heap | [`group`] |
//! | dataset: dataspace, datatype, contiguous or compact layout | [`dataset`] |
//! | attribute: strings of fixed and of variable length, global heap | [`attribute`], [`global_heap`] |
//!
//! The rest (later versions of these structures, chunks, filters, links to other files) is an error that
//! names the object and the command that rewrites the file. A library for all of HDF5 would be more code to
//! trust: these files come from the internet.
//!
//! In a valid file no two structures share bytes. [`source::Source`] therefore reads no more metadata than
//! the file has bytes, which limits the time for every file, those with loops of pointers included. What is
//! kept is counted first ([`crate::limits`]). HDF5 has no checksums of values and none of these structures.
//!
//! Source: "HDF5 File Format Specification Version 3.0" of The HDF Group, whose terms are used here; Keras,
//! `keras/src/legacy/saving/legacy_h5_format.py`.

mod attribute;
mod cursor;
mod dataset;
mod global_heap;
mod group;
mod header;
mod keras;
mod problem;
mod reader;
mod source;
mod space;
mod superblock;

pub(crate) use reader::Weights;
pub(crate) use superblock::SIGNATURE;

/// The address of a structure that does not exist.
const UNDEFINED: u64 = u64::MAX;

/// The longest name of a link or a variable, in bytes. Those of Keras have less than 300.
const MAX_NAME_LEN: usize = 1 << 12;

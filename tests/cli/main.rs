//! Drives the program over real checkpoints, and over odd and hostile ones made here.

mod bundle_writer;
mod changed;
mod convert;
mod corrupt;
mod errors;
mod finetuned;
mod graph_writer;
mod graphs;
mod inspect;
mod locate;
mod model;
mod objects;
mod probe;
mod publish;
mod roles;
mod supply;
mod support;
mod synthetic;
mod tf2;
mod tokenizer;
mod v1;
mod v1_writer;
mod verify;
mod worlds;
mod zip;

//! Drives the program over real checkpoints, and over odd and hostile ones made here.
//! Modules for Unix alone use links, permissions, signals or names that Windows does not have.

mod batch;
mod call;
mod card;
mod changed;
#[cfg(unix)]
mod codes;
mod convert;
mod corrupt;
#[cfg(unix)]
mod errors;
mod finetuned;
mod garden;
mod graphs;
mod hdf5;
mod head_count;
mod inspect;
mod json;
mod locate;
mod made_vocabulary;
mod model;
mod objects;
#[cfg(unix)]
mod pages;
#[cfg(unix)]
mod paths;
mod probe;
#[cfg(unix)]
mod publish;
mod races;
#[cfg(unix)]
mod replace;
mod report;
mod roles;
mod saved_model;
mod saved_model_files;
#[cfg(unix)]
mod signals;
#[cfg(unix)]
mod snapshots;
mod supply;
mod synthetic;
mod tar;
mod tf2;
mod tokenizer;
mod tokenizer_files;
mod tokenizer_settings;
mod training_graph;
mod v1;
mod verify;
mod vocabulary;
#[cfg(unix)]
mod worlds;
mod zip;

//! Writes SavedModels.

use std::fs;
use std::path::Path;

use crate::bundle_writer::{Bundle, Field, message};

/// Encodes a SavedModel of graphs, each a `MetaGraphDef` with its tags.
pub fn saved_model(graphs: &[(&[&str], &[u8])]) -> Vec<u8> {
    let mut fields = vec![(1, Field::Varint(1))];
    for (tags, graph) in graphs {
        let tags = tags.iter();
        let tags: Vec<(u32, Field)> = tags
            .map(|tag| (4, Field::Bytes(tag.as_bytes().to_vec())))
            .collect();
        let info = message(&[(1, Field::Bytes(message(&tags)))]);
        fields.push((2, Field::Bytes([&info, *graph].concat())));
    }
    message(&fields)
}

/// Writes a SavedModel: a graph, a `MetaGraphDef`, for serving, and its variables.
pub fn write_saved_model(directory: &Path, graph: &[u8], variables: &Bundle) {
    let below = directory.join("variables");
    fs::create_dir_all(&below).unwrap();
    let graph = saved_model(&[(&["serve"], graph)]);
    fs::write(directory.join("saved_model.pb"), graph).unwrap();
    variables.write(&below.join("variables"));
}

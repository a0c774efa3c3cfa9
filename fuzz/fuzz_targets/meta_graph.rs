//! The bytes of a training graph.
#![no_main]

use electra_convert_fuzz::put;
use tf_checkpoint::storage::Disk;
use tf_checkpoint::{Limits, MetaGraph};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let path = put("model.meta", bytes);
    if let Ok(Some(graph)) = MetaGraph::open(&Disk::default(), &path, &Limits::default()) {
        for node in graph.nodes() {
            let _ = (graph.name(node), graph.constant(node), graph.strings(node));
            let _ = (graph.consumers(node), graph.shape(node.into()));
        }
    }
});

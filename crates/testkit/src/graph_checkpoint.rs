//! Checkpoints around the training graphs in the fixtures.

use tempfile::TempDir;
use tf_checkpoint::{Checkpoint, DType};

use crate::bundle_writer::Bundle;
use crate::unpacked;

/// Unpacks an archive of `fixtures/graphs`, which has a graph and an index, and gives its variables
/// pseudo-random values.
pub fn graph_checkpoint(name: &str) -> TempDir {
    let folder = unpacked(&format!("graphs/{name}.zip"));
    let location = tf_checkpoint::locate(folder.path(), None).unwrap();
    let prefix = location.prefix().to_owned();
    let mut bundle = Bundle::default();
    for variable in Checkpoint::open(location).unwrap().variables() {
        let shape: Vec<i64> = variable
            .shape
            .iter()
            .map(|&n| n.try_into().unwrap())
            .collect();
        if variable.dtype != DType::Float32 {
            bundle.add(&variable.name, 9, &shape, &[0; 8]);
            continue;
        }
        let mut random = fastrand::Rng::with_seed(crc32c::crc32c(variable.name.as_bytes()).into());
        let centre = if variable.name.ends_with("gamma") {
            1.0
        } else {
            0.0
        };
        let values = (0..variable.elements()).map(|_| centre + 0.6 * (random.f32() - 0.5));
        let bytes: Vec<u8> = values.flat_map(f32::to_le_bytes).collect();
        bundle.add(&variable.name, 1, &shape, &bytes);
    }
    bundle.write(&prefix);
    folder
}

//! A model that is saved twice: as a SavedModel, and in an HDF5 file of the same directory.
//!
//! `save_pretrained(directory, saved_model=True)` of transformers writes both from one model. The SavedModel
//! is read, because it has a graph. The files can be from different saves, so every variable of either is
//! compared with that of the other by its CRC-32C, which the SavedModel records. Variables are compared by
//! their names in the original code: Keras numbers the instances of a class in one process
//! (`tf_electra_model_1`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};
use tf_checkpoint::{Checkpoint, Variable};

use crate::error::Error;
use crate::progress::Watch;
use crate::variables::{Inventory, InventoryEntry, Role};

/// The number of bytes of an HDF5 file that are read at a time.
const PART: usize = 1 << 20;

/// Compares a SavedModel with the HDF5 files in the directory from which it was found. Reads these files
/// once, in parts, and of the SavedModel only what has no checksum.
pub(crate) fn check(
    (checkpoint, inventory): (&Checkpoint, &Inventory),
    watch: &Watch<'_>,
) -> Result<(), Error> {
    for path in checkpoint.location().passed_over() {
        let other = Checkpoint::open(tf_checkpoint::locate(path, None)?)?;
        let pair = Pair {
            saved_model: checkpoint,
            hdf5: &other,
            watch,
        };
        let compared = pair.compare(inventory);
        // Checked first: this error explains a difference.
        other.check_unchanged()?;
        if let Some(what) = compared? {
            return Err(Error::SavedTwice {
                saved_model: given(checkpoint, path),
                hdf5: path.clone(),
                what,
            });
        }
    }
    Ok(())
}

/// Returns the path that chooses the SavedModel.
fn given(checkpoint: &Checkpoint, hdf5: &Path) -> PathBuf {
    let location = checkpoint.location();
    if hdf5.parent() == Some(location.folder()) {
        location.graph_path()
    } else {
        location.folder().to_owned()
    }
}

/// Two checkpoints of one model.
struct Pair<'a> {
    saved_model: &'a Checkpoint,
    hdf5: &'a Checkpoint,
    watch: &'a Watch<'a>,
}

impl Pair<'_> {
    /// Returns the first difference in words; `None` if both hold the same variables.
    fn compare(&self, inventory: &Inventory) -> Result<Option<String>, Error> {
        let other = Inventory::new(self.hdf5.variables(), inventory.renames())?;
        let [own, other] = [inventory, &other].map(weights);
        if let Some((_, missing)) = own.iter().find(|(name, _)| !other.contains_key(*name)) {
            return Ok(Some(format!(
                "the HDF5 file has no variable {}",
                missing.name
            )));
        }
        if let Some((_, missing)) = other.iter().find(|(name, _)| !own.contains_key(*name)) {
            return Ok(Some(format!(
                "the SavedModel has no variable {}",
                missing.name
            )));
        }
        let pairs = own.iter().map(|(name, variable)| [*variable, other[name]]);
        let pairs: Vec<[&Variable; 2]> = pairs.collect();
        let found: Result<Vec<Option<String>>, Error> = pairs
            .par_iter()
            .map(|pair| self.difference(*pair))
            .collect();
        Ok(found?.into_iter().flatten().next())
    }

    /// Returns how two variables with the same name differ, in words.
    fn difference(&self, [own, other]: [&Variable; 2]) -> Result<Option<String>, Error> {
        let name = &own.name;
        if (own.dtype, &own.shape) != (other.dtype, &other.shape) {
            let [own, other] =
                [own, other].map(|variable| format!("{} {:?}", variable.dtype, variable.shape));
            return Ok(Some(format!(
                "variable {name} is {own} in the SavedModel and {other} in the HDF5 file"
            )));
        }
        let own = checksum(self.saved_model, own, self.watch)?;
        let other = checksum(self.hdf5, other, self.watch)?;
        Ok((own != other).then(|| {
            format!(
                "variable {name} has the CRC-32C {own:#010x} in the SavedModel and {other:#010x} in \
                 the HDF5 file"
            )
        }))
    }
}

/// Returns the variables that are not state of a training run, by name.
fn weights(inventory: &Inventory) -> BTreeMap<String, &Variable> {
    let mut found = BTreeMap::new();
    for InventoryEntry {
        role,
        name,
        variable,
        ..
    } in inventory.entries()
    {
        if role.is_state() {
            continue;
        }
        // The model around a variable of other code may have another number.
        let below_model = name
            .split_once('/')
            .map_or(name.as_str(), |(_, below)| below);
        let is_known = *role != Role::Unknown || found.contains_key(below_model);
        let name = if is_known { name.as_str() } else { below_model };
        found.insert(name.to_owned(), variable);
    }
    found
}

/// Returns the CRC-32C of a variable: the recorded one, or that of its bytes.
fn checksum(checkpoint: &Checkpoint, variable: &Variable, watch: &Watch<'_>) -> Result<u32, Error> {
    watch.check()?;
    let Some(run) = checkpoint.contiguous(variable) else {
        let mut bytes = vec![0; usize::try_from(variable.bytes()).expect("checked when opened")];
        checkpoint.read(variable, &mut bytes)?;
        return Ok(crc32c::crc32c(&bytes));
    };
    let stored = variable.pieces.first().and_then(|piece| piece.extent);
    if let Some(recorded) = stored.and_then(|stored| stored.crc32c) {
        return Ok(recorded);
    }
    let len = usize::try_from(variable.bytes()).expect("checked when opened");
    let mut part = vec![0; len.min(PART)];
    let mut sum = 0;
    for start in (0..len).step_by(PART) {
        let part = &mut part[..PART.min(len - start)];
        run.read(part, start as u64)?;
        sum = crc32c::crc32c_append(sum, part);
        watch.check()?;
    }
    Ok(sum)
}

//! Makes an export appear complete or not at all, whenever the program ends.
//!
//! A bucket has its own rules: see `bucket_stage`. On a disk:
//!
//! Everything is written into a staging directory inside the output directory, on the same file system,
//! and synced. Then a journal in it lists the files to move, and four steps move them, with a sync after
//! each: the weights of an earlier export into the staging directory, its other files after them, the new
//! files to their places, the new weights last. So **a directory with `model.safetensors` is a complete
//! export, the earlier one or the new one; a directory without it is incomplete**, even after a crash of
//! the machine, if the file system keeps what was synced. If a step fails, all moves are rolled back. If
//! the program was killed, the next conversion into the directory rolls back, or removes the earlier files
//! if every new file is at its place, and then removes the staging directory.
//!
//! | file | contents |
//! |---|---|
//! | `destination` | where an export goes: one interface for disks and buckets |
//! | `disk_stage` | the staging directory, from its creation to publication or removal |
//! | `bucket_stage` | upload to a bucket |
//! | `in_bucket` | the objects that are in a bucket already |
//! | `export_files` | which files belong to an export, and which existing files conflict with it |
//! | `lock` | creates and locks the output directory |
//! | `journal` | moves files, rolls back, recovers after a kill |
//! | `files` | file operations that never replace a file |
//!
//! A rename never replaces a file that appeared in the meantime (`renameat2` with `RENAME_NOREPLACE` on
//! Linux, through `tempfile`), and a rollback moves only files that are still the ones that were moved
//! there (same inode, length and time). Dropping a
//! [`Stage`] removes the staging directory, and the output
//! directory if it was created for this export.

#[cfg(feature = "cloud")]
mod bucket_stage;
mod destination;
mod disk_stage;
mod export_files;
mod files;
#[cfg(feature = "cloud")]
mod in_bucket;
mod journal;
mod lock;

pub(crate) use destination::{Destination, Stage};
pub(crate) use disk_stage::STAGING;
pub(crate) use export_files::{ExportFiles, Inputs};

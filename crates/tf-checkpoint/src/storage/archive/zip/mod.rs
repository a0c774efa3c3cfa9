//! Zip archives; Google publishes its models in this format.
//!
//! The [`directory`] lists the members; a [`member`] is stored as it is or deflated.

mod directory;
mod member;

use std::io;
use std::sync::Arc;

use crate::limits::Budget;
use crate::storage::ReadAt;
use crate::storage::archive::inflation::Inflation;
use crate::storage::archive::packed::{Listed, Listing};

use self::member::ZipMember;

/// The first bytes of an archive that is not empty.
pub(crate) const MAGIC: &[u8] = b"PK\x03\x04";

/// Lists the members of an archive.
pub(super) fn list(
    archive: &Arc<dyn ReadAt>,
    inflation: &Arc<Inflation>,
    budget: &mut Budget,
) -> io::Result<Listing> {
    let records = directory::read(archive, budget)?;
    let archive = Arc::clone(archive);
    let inflation = Arc::clone(inflation);
    let entries = records.into_iter().map(move |mut record| {
        let is_folder = record.is_folder();
        Listed {
            // The path holds the name from here on.
            name: std::mem::take(&mut record.name),
            member: (!is_folder)
                .then(|| ZipMember::new(record, &archive, &inflation).into_packed()),
        }
    });
    Ok(Listing {
        entries: Box::new(entries),
        member_size: size_of::<ZipMember>(),
        inflated: 0,
    })
}

//! Tar archives, compressed with gzip or not.
//!
//! The [`entries`] are read from the start to the end of the archive; members are read in place from a
//! [`plain`] archive, and from a temporary file of a [`gzip`]ped one.

mod entries;
mod gzip;
mod pax;
mod plain;
mod recognise;

use std::io::{self, Read};
use std::sync::Arc;

use self::entries::{Entry, EntryKind};
use self::gzip::{EDGE, ListedStream, Place, Stream, offset_in_edges};
use self::plain::Plain;
use crate::limits::Budget;
use crate::storage::ReadAt;
use crate::storage::archive::inflation::Inflation;
use crate::storage::archive::packed::{
    Listed, Listing, Packed, Section, not_followed, unsupported,
};

pub(crate) use self::recognise::{GZIP, GZIPPED_NAMES, is_gzipped_tar, is_tar};

/// Lists the entries of an archive that is not compressed.
pub(super) fn list(
    archive: &Arc<dyn ReadAt>,
    inflation: &Arc<Inflation>,
    budget: &mut Budget,
) -> io::Result<Listing> {
    let entries = entries::read(&mut Plain::new(archive), budget)?;
    let archive = Arc::clone(archive);
    let limits = *inflation.limits();
    let contents = move |start, len| Contents::InPlace(section(&archive, start, len));
    Ok(listing(
        entries,
        0,
        move |len| limits.memory_for(len),
        contents,
    ))
}

/// Lists the entries of an archive that is compressed with gzip.
pub(super) fn list_gzipped(
    archive: &Arc<dyn ReadAt>,
    inflation: &Arc<Inflation>,
    budget: &mut Budget,
) -> io::Result<Listing> {
    let mut listed = ListedStream::new(archive, inflation)?;
    let entries = entries::read(&mut listed, budget)?;
    let (kept, inflated) = listed.into_kept()?;
    let stream = Arc::new(Stream::new(archive, inflation));
    let max_memory = inflation.limits().memory_for(archive.len());
    let contents = move |place, len| match place {
        Place::Kept(start) => Contents::InPlace(section(&kept, start, len)),
        Place::Packed {
            start,
            crc32,
            edges,
        } => Contents::Packed {
            stream: Arc::clone(&stream),
            start,
            len,
            crc32,
            edges: section(&kept, edges, 2 * EDGE),
        },
    };
    Ok(listing(entries, inflated, move |_| max_memory, contents))
}

fn section(file: &Arc<dyn ReadAt>, start: u64, len: u64) -> Section {
    Section {
        file: Arc::clone(file),
        start,
        len,
    }
}

/// Returns the listing of entries; `contents` locates those of a place and a length.
fn listing<P: 'static>(
    entries: Vec<Entry<P>>,
    inflated: u64,
    max_memory: impl Fn(u64) -> u64 + 'static,
    contents: impl Fn(P, u64) -> Contents + 'static,
) -> Listing {
    let entries = entries.into_iter().map(move |entry| {
        let member = TarMember {
            kind: entry.kind,
            max_memory: max_memory(entry.len),
            contents: contents(entry.place, entry.len),
        };
        Listed {
            name: entry.name,
            member: match entry.kind {
                EntryKind::Directory => None,
                _ => Some(Box::new(member)),
            },
        }
    });
    Listing {
        entries: Box::new(entries),
        member_size: size_of::<TarMember>(),
        inflated,
    }
}

/// A member of a tar archive.
struct TarMember {
    kind: EntryKind,
    max_memory: u64,
    contents: Contents,
}

/// The contents of a member.
enum Contents {
    /// In the archive, or in the file of what was kept when it was listed.
    InPlace(Section),
    /// In the inflated archive.
    Packed {
        stream: Arc<Stream>,
        start: u64,
        len: u64,
        crc32: u32,
        /// The first and the last [`EDGE`] bytes.
        edges: Section,
    },
}

impl Packed for TarMember {
    fn len(&self) -> u64 {
        match &self.contents {
            Contents::InPlace(section) => section.len,
            Contents::Packed { len, .. } => *len,
        }
    }

    fn crc32(&self) -> Option<u32> {
        match self.contents {
            Contents::InPlace(_) => None,
            Contents::Packed { crc32, .. } => Some(crc32),
        }
    }

    fn max_memory(&self) -> u64 {
        self.max_memory
    }

    fn check(&self) -> io::Result<()> {
        match self.kind {
            EntryKind::File | EntryKind::Directory => Ok(()),
            EntryKind::Sparse => Err(unsupported(
                "it is stored in the archive as a sparse file, which is not supported; unpack the \
                 archive first",
            )),
            EntryKind::Special(what) => Err(not_followed(what)),
        }
    }

    fn in_place(&self) -> io::Result<Option<Section>> {
        Ok(match &self.contents {
            Contents::InPlace(section) => Some(section.clone()),
            Contents::Packed { .. } => None,
        })
    }

    fn read_kept(&self, buf: &mut [u8], offset: u64) -> io::Result<bool> {
        let Contents::Packed { len, edges, .. } = &self.contents else {
            return Ok(false);
        };
        let Some(offset) = offset_in_edges(*len, offset, buf.len() as u64) else {
            return Ok(false);
        };
        edges.read_exact_at(buf, offset)?;
        Ok(true)
    }

    fn unpack(
        &self,
        len: u64,
        read: &mut dyn FnMut(&mut dyn Read) -> io::Result<()>,
    ) -> io::Result<()> {
        match &self.contents {
            Contents::InPlace(section) => read(&mut section.clone().reader()),
            Contents::Packed { stream, start, .. } => stream.read(*start, len, read),
        }
    }
}

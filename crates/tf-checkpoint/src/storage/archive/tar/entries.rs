//! The entries of a tar archive, from its start to its end.
//!
//! The crate `tar` decodes the fields of a header. Its iterator over entries is not used: it reads names
//! of any length into memory, falls back to the length in a header if a pax record is malformed, takes a
//! sparse file of the pax format for a plain one, and reports no missing end. Here an archive must be
//! complete, and what programs read differently is an error: contents of a link, bytes behind the end, two
//! names of one entry, defaults for all later entries.
//!
//! Sources: POSIX.1-2017, `pax`, "ustar Interchange Format"; GNU tar's manual, "Basic Tar Format".

use std::io;

use tar::{EntryType, GnuExtSparseHeader, Header};

use super::pax::Extended;
use super::recognise::{BLOCK, is_sound};
use crate::limits::Budget;
use crate::storage::archive::packed::invalid;

/// The longest name or pax header, in bytes.
const MAX_EXTENSION_LEN: u64 = 1 << 20;

/// The bytes of an archive.
pub(super) trait Input {
    /// Where the contents of a member are.
    type Place;

    /// Fills `buf` with the next bytes; returns false at the end of the archive.
    ///
    /// # Errors
    /// `UnexpectedEof` if there are fewer bytes, or the error of reading.
    fn fill(&mut self, buf: &mut [u8]) -> io::Result<bool>;

    /// Passes over the contents of a member.
    fn place(&mut self, len: u64) -> io::Result<Self::Place>;

    /// Passes over bytes.
    fn skip(&mut self, len: u64) -> io::Result<()>;

    /// Reads to the end of the archive; returns true if all bytes are zero.
    fn ends_in_zeros(&mut self) -> io::Result<bool>;
}

/// An entry.
pub(super) struct Entry<P> {
    pub(super) name: Vec<u8>,
    pub(super) kind: EntryKind,
    /// Length of the contents.
    pub(super) len: u64,
    pub(super) place: P,
}

/// The kind of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryKind {
    File,
    Directory,
    /// A file with holes.
    Sparse,
    /// A link or a device, in words.
    Special(&'static str),
}

/// The parts of an entry that come before its header.
#[derive(Default)]
struct Extensions {
    long_name: Option<Vec<u8>>,
    pax: Option<Extended>,
}

/// Reads all entries.
pub(super) fn read<I: Input>(
    input: &mut I,
    budget: &mut Budget,
) -> io::Result<Vec<Entry<I::Place>>> {
    read_all(input, budget).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            invalid("it is not a tar archive, or cut short: it ends within an entry")
        }
        _ => error,
    })
}

fn read_all<I: Input>(input: &mut I, budget: &mut Budget) -> io::Result<Vec<Entry<I::Place>>> {
    let mut entries = Vec::new();
    let mut extensions = Extensions::default();
    while let Some(header) = next_header(input)? {
        let kind = match header.entry_type() {
            EntryType::Regular | EntryType::Continuous => EntryKind::File,
            EntryType::Directory => EntryKind::Directory,
            EntryType::Link => EntryKind::Special("a hard link"),
            EntryType::Symlink => EntryKind::Special("a symbolic link"),
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                EntryKind::Special("a special file")
            }
            EntryType::GNUSparse => {
                skip_sparse_headers(input, &header)?;
                EntryKind::Sparse
            }
            extension => {
                read_extension(input, budget, &header, extension, &mut extensions)?;
                continue;
            }
        };
        let entry = read_entry(input, &header, kind, std::mem::take(&mut extensions))?;
        // A list that grows holds its elements twice for a moment.
        take(budget, 2 * size_of::<Entry<I::Place>>() + entry.name.len())?;
        entries.push(entry);
    }
    if extensions.long_name.is_some() || extensions.pax.is_some() {
        return Err(invalid("it is cut short: its last entry has no header"));
    }
    if !input.ends_in_zeros()? {
        return Err(invalid(
            "bytes other than zero follow its end; unpack it by hand if you trust it",
        ));
    }
    Ok(entries)
}

/// Reads the next header; returns `None` at the block of zeros that ends an archive.
fn next_header(input: &mut impl Input) -> io::Result<Option<Header>> {
    let mut header = Header::new_old();
    if !input.fill(header.as_mut_bytes())? {
        return Err(invalid(
            "it is cut short: the block of zeros that ends a tar archive is missing",
        ));
    }
    if *header.as_bytes() == [0; BLOCK] {
        return Ok(None);
    }
    if !is_sound(&header) {
        return Err(invalid(
            "it is not a tar archive, or damaged: a header has another checksum than it states",
        ));
    }
    Ok(Some(header))
}

fn read_entry<I: Input>(
    input: &mut I,
    header: &Header,
    mut kind: EntryKind,
    extensions: Extensions,
) -> io::Result<Entry<I::Place>> {
    let pax = extensions.pax.unwrap_or_default();
    let name = match (extensions.long_name, pax.path) {
        (Some(_), Some(_)) => return Err(invalid("an entry has two names")),
        (Some(name), None) | (None, Some(name)) => name,
        (None, None) => header.path_bytes().into_owned(),
    };
    if kind == EntryKind::File {
        if pax.is_sparse {
            kind = EntryKind::Sparse;
        } else if name.ends_with(b"/") {
            // The oldest format has no type for directories.
            kind = EntryKind::Directory;
        }
    }
    let len = match pax.size {
        Some(len) => len,
        None => header_len(header)?,
    };
    let quoted = || format!("{:?}", String::from_utf8_lossy(&name));
    if len > 0 && matches!(kind, EntryKind::Directory | EntryKind::Special(_)) {
        return Err(invalid(format!(
            "the entry {} is not a file and has {len} bytes",
            quoted()
        )));
    }
    let place = input.place(len).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => invalid(format!(
            "it is cut short: it ends before the {len} bytes of {}",
            quoted()
        )),
        _ => error,
    })?;
    input.skip(padding(len))?;
    Ok(Entry {
        name,
        kind,
        len,
        place,
    })
}

/// Reads an entry that describes the next one.
fn read_extension(
    input: &mut impl Input,
    budget: &mut Budget,
    header: &Header,
    kind: EntryType,
    found: &mut Extensions,
) -> io::Result<()> {
    let len = header_len(header)?;
    match kind {
        EntryType::GNULongName => {
            let mut name = contents(input, budget, len)?;
            let end = name.iter().rposition(|&byte| byte != 0);
            name.truncate(end.map_or(0, |last| last + 1));
            if found.long_name.replace(name).is_some() {
                return Err(invalid("an entry has two names"));
            }
        }
        // Links are not followed.
        EntryType::GNULongLink => {
            input.skip(len)?;
            input.skip(padding(len))?;
        }
        EntryType::XHeader => {
            let pax = Extended::parse(&contents(input, budget, len)?)?;
            if found.pax.replace(pax).is_some() {
                return Err(invalid("an entry has two pax headers"));
            }
        }
        EntryType::XGlobalHeader => {
            if !Extended::parse(&contents(input, budget, len)?)?.is_empty() {
                return Err(invalid(
                    "a pax header gives all later entries a name or a length; unpack it by hand if you \
                     trust it",
                ));
            }
        }
        other => {
            let kind = char::from(other.as_byte()).escape_default();
            return Err(invalid(format!(
                "it has an entry of the type '{kind}', which is not supported; unpack it by hand if you \
                 trust it"
            )));
        }
    }
    Ok(())
}

/// Reads the contents of an entry that describes the next one.
fn contents(input: &mut impl Input, budget: &mut Budget, len: u64) -> io::Result<Vec<u8>> {
    if len > MAX_EXTENSION_LEN {
        return Err(invalid(format!(
            "a name or pax header of {len} bytes exceeds the {MAX_EXTENSION_LEN} allowed"
        )));
    }
    let len = usize::try_from(len).expect("checked above");
    let checked = budget.check(len);
    checked.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let mut bytes = vec![0; len];
    if len > 0 && !input.fill(&mut bytes)? {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    input.skip(padding(len as u64))?;
    Ok(bytes)
}

/// Passes over the further headers of a sparse file in GNU's format.
fn skip_sparse_headers(input: &mut impl Input, header: &Header) -> io::Result<()> {
    let mut is_extended = header.as_gnu().is_some_and(tar::GnuHeader::is_extended);
    let mut further = GnuExtSparseHeader::new();
    while is_extended {
        if !input.fill(further.as_mut_bytes())? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        is_extended = further.is_extended();
    }
    Ok(())
}

fn header_len(header: &Header) -> io::Result<u64> {
    let len = header.entry_size();
    len.map_err(|_| invalid("the length in a header is not a number"))
}

/// Returns the number of bytes from the end of contents of `len` bytes to the next block.
fn padding(len: u64) -> u64 {
    len.wrapping_neg() % BLOCK as u64
}

fn take(budget: &mut Budget, bytes: usize) -> io::Result<()> {
    let taken = budget.take(bytes);
    taken.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

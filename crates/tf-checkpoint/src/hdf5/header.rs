//! Object headers, version 1: a list of messages, in one or several blocks.

use std::collections::{HashMap, VecDeque};

use super::attribute::{self, Attribute};
use super::cursor::Cursor;
use super::problem::Problem;
use super::source::Source;

/// The length of the prefix of a header, in bytes.
const PREFIX_LEN: u64 = 16;
/// The length of the prefix of a message, in bytes.
const MESSAGE_PREFIX_LEN: usize = 8;
/// The flag of a message that is stored elsewhere.
const SHARED: u8 = 2;
/// The signature of a header of version 2.
const VERSION_2: &[u8] = b"OHDR";

const DATASPACE: u16 = 0x01;
const LINK_INFO: u16 = 0x02;
const DATATYPE: u16 = 0x03;
const LINK: u16 = 0x06;
const EXTERNAL_FILES: u16 = 0x07;
const LAYOUT: u16 = 0x08;
const FILTERS: u16 = 0x0b;
const ATTRIBUTE: u16 = 0x0c;
const CONTINUATION: u16 = 0x10;
const SYMBOL_TABLE: u16 = 0x11;
const ATTRIBUTE_INFO: u16 = 0x15;

/// The contents of a message.
#[derive(Debug)]
pub(super) struct Message {
    /// Their place in the file.
    pub(super) address: u64,
    pub(super) bytes: Vec<u8>,
}

/// A group or a dataset.
#[derive(Debug, Default)]
pub(super) struct Object {
    pub(super) dataspace: Option<Message>,
    pub(super) datatype: Option<Message>,
    pub(super) layout: Option<Message>,
    /// The addresses of the B-tree and of the local heap of a group.
    pub(super) symbol_table: Option<[u64; 2]>,
    /// By name.
    pub(super) attributes: HashMap<Vec<u8>, Attribute>,
    /// A feature of a dataset that is not supported.
    pub(super) unsupported: Option<&'static str>,
}

impl Object {
    /// Reads the header at `address`.
    pub(super) fn read(source: &mut Source, address: u64) -> Result<Self, Problem> {
        let prefix = source.read(address, PREFIX_LEN)?;
        if prefix.starts_with(VERSION_2) {
            return Err(Problem::unsupported(
                "has an object header of version 2, which h5py writes with the options libver and \
                 track_order",
            ));
        }
        let mut cursor = Cursor::new(&prefix);
        let version = cursor.u8()?;
        if version != 1 {
            return Err(Problem::Damaged(format!(
                "has an object header of version {version} at {address}"
            )));
        }
        // A reserved byte, the number of messages, the number of references.
        cursor.skip(1 + 2 + 4)?;
        let len = u64::from(cursor.u32()?);
        let mut object = Self::default();
        let mut blocks = VecDeque::from([(address.saturating_add(PREFIX_LEN), len)]);
        while let Some((address, len)) = blocks.pop_front() {
            let block = source.read(address, len)?;
            object.read_block(&block, address, source, &mut blocks)?;
        }
        Ok(object)
    }

    fn read_block(
        &mut self,
        block: &[u8],
        address: u64,
        source: &mut Source,
        blocks: &mut VecDeque<(u64, u64)>,
    ) -> Result<(), Problem> {
        let mut cursor = Cursor::new(block);
        while cursor.len() >= MESSAGE_PREFIX_LEN {
            let kind = cursor.u16()?;
            let len = cursor.u16()?;
            let flags = cursor.u8()?;
            cursor.skip(3)?;
            let at = address + (block.len() - cursor.len()) as u64;
            let bytes = cursor.bytes(len.into())?;
            let is_kept = matches!(
                kind,
                DATASPACE | DATATYPE | LAYOUT | ATTRIBUTE | SYMBOL_TABLE
            );
            if is_kept && flags & SHARED != 0 {
                return Err(Problem::unsupported("has a shared header message"));
            }
            match kind {
                DATASPACE => keep(&mut self.dataspace, at, bytes, source)?,
                DATATYPE => keep(&mut self.datatype, at, bytes, source)?,
                LAYOUT => keep(&mut self.layout, at, bytes, source)?,
                ATTRIBUTE => attribute::keep(&mut self.attributes, bytes, source)?,
                SYMBOL_TABLE => {
                    let mut cursor = Cursor::new(bytes);
                    self.symbol_table = Some([cursor.u64()?, cursor.u64()?]);
                }
                CONTINUATION => {
                    let mut cursor = Cursor::new(bytes);
                    blocks.push_back((cursor.u64()?, cursor.u64()?));
                }
                LINK_INFO | LINK => {
                    return Err(Problem::unsupported("lists its links in header messages"));
                }
                ATTRIBUTE_INFO => {
                    return Err(Problem::unsupported(
                        "stores its attributes in a fractal heap",
                    ));
                }
                EXTERNAL_FILES => self.unsupported = Some("has its values in another file"),
                FILTERS => self.unsupported = Some("is compressed or filtered"),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Keeps a message of a kind that an object has once.
fn keep(
    place: &mut Option<Message>,
    address: u64,
    bytes: &[u8],
    source: &mut Source,
) -> Result<(), Problem> {
    if place.is_some() {
        return Err(Problem::damaged("has two header messages of one kind"));
    }
    source.budget.take(bytes.len())?;
    *place = Some(Message {
        address,
        bytes: bytes.to_vec(),
    });
    Ok(())
}

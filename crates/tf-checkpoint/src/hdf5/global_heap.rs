//! Global heaps: collections of numbered objects, such as strings of variable length.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use super::cursor::Cursor;
use super::group::check_version;
use super::problem::Problem;
use super::source::Source;

/// The length of the fixed part of a collection, and of an object, in bytes.
const PREFIX_LEN: u64 = 16;
/// The memory of the place of an object, in bytes; a growing map is partly empty.
const PLACE_COST: usize = 4 * size_of::<(u32, Range<usize>)>();

/// The collections that were read, by address.
#[derive(Debug, Default)]
pub(super) struct GlobalHeap(HashMap<u64, Collection>);

#[derive(Debug)]
struct Collection {
    /// The bytes after the fixed part.
    bytes: Vec<u8>,
    /// The place of each object, by number.
    objects: HashMap<u32, Range<usize>>,
}

impl GlobalHeap {
    /// Returns the bytes of an object of the collection at `address`.
    pub(super) fn object(
        &mut self,
        source: &mut Source,
        address: u64,
        number: u32,
    ) -> Result<&[u8], Problem> {
        let collection = match self.0.entry(address) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Collection::read(source, address)?),
        };
        let place = collection.objects.get(&number).cloned();
        let object = place.and_then(|place| collection.bytes.get(place));
        object.ok_or_else(|| {
            Problem::Damaged(format!(
                "refers to object {number} of the global heap at {address}, which has no such object"
            ))
        })
    }
}

impl Collection {
    fn read(source: &mut Source, address: u64) -> Result<Self, Problem> {
        let prefix = source.read(address, PREFIX_LEN)?;
        let mut cursor = Cursor::new(&prefix);
        cursor.signature(*b"GCOL")?;
        check_version("global heap", cursor.u8()?, 1)?;
        cursor.skip(3)?;
        let len = cursor.u64()?;
        let Some(len) = len.checked_sub(PREFIX_LEN) else {
            return Err(Problem::Damaged(format!(
                "has a global heap of {len} bytes"
            )));
        };
        let bytes = source.read(address + PREFIX_LEN, len)?;
        source.budget.take(bytes.len())?;
        let mut objects = HashMap::new();
        let mut cursor = Cursor::new(&bytes);
        while cursor.len() as u64 >= PREFIX_LEN {
            let number = cursor.u16()?;
            // The number of references, and reserved bytes.
            cursor.skip(2 + 4)?;
            let len = cursor.u64()?;
            // The rest is free space.
            if number == 0 {
                break;
            }
            let start = bytes.len() - cursor.len();
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            cursor.skip(len)?;
            cursor.skip_at_most((8 - len % 8) % 8);
            source.budget.take(PLACE_COST)?;
            objects.insert(number.into(), start..start + len);
        }
        Ok(Self { bytes, objects })
    }
}

//! Groups: the links by name, from a B-tree of symbol table nodes and a local heap of names.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::cursor::Cursor;
use super::problem::Problem;
use super::source::Source;
use super::{MAX_NAME_LEN, UNDEFINED};

/// The length of the fixed part of a node of a B-tree, in bytes.
const TREE_PREFIX_LEN: u64 = 24;
/// The length of a key and a child in a node, in bytes.
const CHILD_LEN: u64 = 16;
/// The length of the fixed part of a symbol table node, in bytes.
const NODE_PREFIX_LEN: u64 = 8;
/// The length of a symbol table entry, in bytes.
const ENTRY_LEN: u64 = 40;
/// The length of the fixed part of a local heap, in bytes.
const HEAP_PREFIX_LEN: u64 = 32;
/// The cache type of the entry of a soft link.
const SOFT_LINK: u32 = 2;
/// The memory of a link besides its name, in bytes; a growing map is partly empty.
const LINK_COST: usize = 4 * size_of::<(Vec<u8>, u64)>();

/// The addresses of the object headers in a group, by name; [`UNDEFINED`] for a soft link.
#[derive(Debug, Default)]
pub(super) struct Links(HashMap<Vec<u8>, u64>);

impl Links {
    /// Reads the links of a group.
    pub(super) fn read(source: &mut Source, [tree, heap]: [u64; 2]) -> Result<Self, Problem> {
        let names = read_heap(source, heap)?;
        let mut links = Self::default();
        // Each with the level of its parent; the root has no parent.
        let mut nodes = vec![(tree, None)];
        while let Some((address, parent)) = nodes.pop() {
            match parent {
                Some(0) => links.read_node(source, address, &names)?,
                _ => read_tree_node(source, address, parent, &mut nodes)?,
            }
        }
        Ok(links)
    }

    /// Returns the address of an object; `None` if there is no link of this name.
    pub(super) fn get(&self, name: &str) -> Option<u64> {
        self.0.get(name.as_bytes()).copied()
    }

    /// Reads a symbol table node.
    fn read_node(
        &mut self,
        source: &mut Source,
        address: u64,
        names: &[u8],
    ) -> Result<(), Problem> {
        let prefix = source.read(address, NODE_PREFIX_LEN)?;
        let mut cursor = Cursor::new(&prefix);
        cursor.signature(*b"SNOD")?;
        check_version("symbol table node", cursor.u8()?, 1)?;
        cursor.skip(1)?;
        let count = u64::from(cursor.u16()?);
        let entries = source.read(address + NODE_PREFIX_LEN, count * ENTRY_LEN)?;
        let mut cursor = Cursor::new(&entries);
        while !cursor.is_empty() {
            let name = name(names, cursor.u64()?)?;
            let header = cursor.u64()?;
            let is_soft = cursor.u32()? == SOFT_LINK;
            cursor.skip(4 + 16)?;
            source.budget.take(LINK_COST + name.len())?;
            match self.0.entry(name.to_vec()) {
                Entry::Vacant(place) => {
                    place.insert(if is_soft { UNDEFINED } else { header });
                }
                Entry::Occupied(_) => {
                    return Err(Problem::Damaged(format!(
                        "has two links of the name \"{}\"",
                        name.escape_ascii()
                    )));
                }
            }
        }
        Ok(())
    }
}

/// Adds the children of a node of a B-tree to `nodes`. The level of a child is one less than that of its
/// parent; the children of level 0 are symbol table nodes.
fn read_tree_node(
    source: &mut Source,
    address: u64,
    parent: Option<u8>,
    nodes: &mut Vec<(u64, Option<u8>)>,
) -> Result<(), Problem> {
    let prefix = source.read(address, TREE_PREFIX_LEN)?;
    let mut cursor = Cursor::new(&prefix);
    cursor.signature(*b"TREE")?;
    let kind = cursor.u8()?;
    if kind != 0 {
        return Err(Problem::Damaged(format!(
            "has a B-tree of type {kind}, not of groups"
        )));
    }
    let level = cursor.u8()?;
    let expected = parent.map_or(level, |parent| parent - 1);
    if level != expected {
        return Err(Problem::Damaged(format!(
            "has a node of level {level} in a B-tree where level {expected} belongs"
        )));
    }
    let count = u64::from(cursor.u16()?);
    let children = source.read(address + TREE_PREFIX_LEN, count * CHILD_LEN)?;
    let mut cursor = Cursor::new(&children);
    while !cursor.is_empty() {
        let _key = cursor.u64()?;
        nodes.push((cursor.u64()?, Some(level)));
    }
    Ok(())
}

/// Reads the data segment of a local heap.
fn read_heap(source: &mut Source, address: u64) -> Result<Vec<u8>, Problem> {
    let prefix = source.read(address, HEAP_PREFIX_LEN)?;
    let mut cursor = Cursor::new(&prefix);
    cursor.signature(*b"HEAP")?;
    check_version("local heap", cursor.u8()?, 0)?;
    cursor.skip(3)?;
    let len = cursor.u64()?;
    let _free = cursor.u64()?;
    source.read(cursor.u64()?, len)
}

/// Returns the name at `offset` of a local heap's data segment, which ends in a zero byte.
fn name(names: &[u8], offset: u64) -> Result<&[u8], Problem> {
    let from = usize::try_from(offset).ok().and_then(|at| names.get(at..));
    let from = from.ok_or_else(|| Problem::damaged("has a link whose name is not in its heap"))?;
    let most = &from[..from.len().min(MAX_NAME_LEN + 1)];
    match most.iter().position(|&byte| byte == 0) {
        Some(end) => Ok(&from[..end]),
        None => Err(Problem::Damaged(format!(
            "has a link whose name does not end, or has more than {MAX_NAME_LEN} bytes"
        ))),
    }
}

pub(super) fn check_version(what: &str, found: u8, expected: u8) -> Result<(), Problem> {
    if found == expected {
        return Ok(());
    }
    Err(Problem::Damaged(format!(
        "has a {what} of version {found}, not {expected}"
    )))
}

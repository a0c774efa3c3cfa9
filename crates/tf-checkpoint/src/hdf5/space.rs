//! Dataspaces and the start of datatypes, which datasets and attributes have in common.

use super::cursor::Cursor;
use super::problem::Problem;

/// The largest number of axes (`H5S_MAX_RANK`).
const MAX_RANK: u8 = 32;

/// Decodes a dataspace message: the size of each axis.
pub(super) fn read_dataspace(message: &[u8]) -> Result<Vec<usize>, Problem> {
    let mut cursor = Cursor::new(message);
    let version = cursor.u8()?;
    let rank = cursor.u8()?;
    let _flags = cursor.u8()?;
    let kind = cursor.u8()?;
    match version {
        1 => cursor.skip(4)?,
        // A dataspace without elements.
        2 if kind == 2 => return Ok(vec![0]),
        2 => {}
        _ => {
            return Err(Problem::Damaged(format!(
                "has a dataspace message of version {version}"
            )));
        }
    }
    if rank > MAX_RANK {
        return Err(Problem::Damaged(format!(
            "has {rank} axes, more than {MAX_RANK}"
        )));
    }
    let mut shape = Vec::with_capacity(rank.into());
    for _ in 0..rank {
        let size = cursor.u64()?;
        let size =
            usize::try_from(size).map_err(|_| Problem::damaged("is too large for memory"))?;
        shape.push(size);
    }
    Ok(shape)
}

/// Reads the start of a datatype: class, bit field and size.
pub(super) fn read_class(cursor: &mut Cursor<'_>) -> Result<(u8, [u8; 3], u32), Problem> {
    let class_and_version = cursor.u8()?;
    let bits = [cursor.u8()?, cursor.u8()?, cursor.u8()?];
    Ok((class_and_version & 0xf, bits, cursor.u32()?))
}

//! Where a tensor differs from its variable, in words.

/// States that a checksum differs; `part` names what it is of, after a space.
pub(super) fn checksum_differs(part: &str, found: Option<u32>, expected: Option<u32>) -> String {
    let hex = |crc: Option<u32>| crc.map_or("none".into(), |crc| format!("{crc:08x}"));
    format!(
        "the CRC-32C{part} is {}, expected {}",
        hex(found),
        hex(expected)
    )
}

/// States that an element differs.
pub(super) fn element_differs(element: usize) -> String {
    format!("element {element} differs from the converted variable")
}

/// Returns the index of the first byte that differs.
pub(super) fn first_difference(a: &[u8], b: &[u8]) -> usize {
    std::iter::zip(a, b)
        .position(|(a, b)| a != b)
        .unwrap_or(a.len().min(b.len()))
}

//! Lists that are cut so that each part fits one frame.

use meshos_protocol::codec;
use serde::Serialize;

/// The most bytes of the items of one part: half a frame, so that what stands beside them fits too.
const PAGE_BYTES_MAX: usize = codec::FRAME_BYTES_MAX / 2;

/// Cuts a list into parts of at most so many items, one part at least, each with whether more follow.
/// An item that is larger than a part has one of its own.
pub(crate) fn pages<T: Serialize>(
    items: Vec<T>,
    items_max: usize,
) -> impl Iterator<Item = (Vec<T>, bool)> {
    let mut pages: Vec<Vec<T>> = Vec::new();
    let mut bytes = 0;
    // One item has a part of its own whatever its size, so nothing is measured of it.
    let alone = items.len() == 1;
    for item in items {
        let size = if alone { 0 } else { codec::encode(&item).len() };
        let full = pages.last().is_none_or(|page| page.len() >= items_max);
        if full || bytes + size > PAGE_BYTES_MAX {
            pages.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        if let Some(page) = pages.last_mut() {
            page.push(item);
        }
    }
    if pages.is_empty() {
        pages.push(Vec::new());
    }
    let last = pages.len() - 1;
    pages.into_iter().enumerate().map(move |(number, page)| (page, number < last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_has_neither_too_many_items_nor_too_many_bytes() {
        let cut = |items: Vec<String>, max| {
            let parts = pages(items, max).map(|(items, more)| (items.len(), more));
            parts.collect::<Vec<_>>()
        };
        assert_eq!(cut(Vec::new(), 2), [(0, false)]);
        assert_eq!(cut(vec![String::new(); 5], 2), [(2, true), (2, true), (1, false)]);
        let third = "x".repeat(PAGE_BYTES_MAX / 3 + 1);
        assert_eq!(cut(vec![third; 5], 9), [(2, true), (2, true), (1, false)]);
        let large = "x".repeat(PAGE_BYTES_MAX + 1);
        assert_eq!(cut(vec![large.clone(), large], 9), [(1, true), (1, false)]);
    }
}

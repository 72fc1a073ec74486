//! A table that readers can take a picture of at any time.

use std::sync::Arc;

use serde::{Serialize, Serializer};

/// Rows in one chunk: what is copied when a row of a chunk changes that a picture still shares.
const CHUNK_ROWS: usize = 128;

type Chunk<T> = Vec<Option<Arc<T>>>;

/// Rows behind reference counts, in chunks behind reference counts.
///
/// Cloning it, which is how a picture is taken, costs one counter. The first change after that
/// copies one chunk and the list of chunks: with 100,000 rows some thousand counters, microseconds,
/// where one flat list would cost 100,000. Rows stand in the order of their slots, which says
/// nothing; readers sort if they care.
#[derive(Debug)]
pub struct Table<T> {
    chunks: Arc<Vec<Arc<Chunk<T>>>>,
    rows: usize,
}

// Derived, it would ask for rows that can be cloned.
impl<T> Clone for Table<T> {
    fn clone(&self) -> Self {
        Self { chunks: Arc::clone(&self.chunks), rows: self.rows }
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { chunks: Arc::default(), rows: 0 }
    }
}

impl<T> Table<T> {
    /// How many rows there are.
    pub const fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is no row.
    pub const fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Every row once.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.chunks.iter().flat_map(|chunk| chunk.iter().flatten())
    }

    /// The rows that are not the same as in an earlier picture, slot by slot: as they were, and as they are. Costs a look at each chunk,
    /// and at the rows of those that differ.
    pub fn changes<'a>(
        &'a self,
        before: &'a Self,
    ) -> impl Iterator<Item = (Option<&'a Arc<T>>, Option<&'a Arc<T>>)> {
        let chunks = self.chunks.len().max(before.chunks.len());
        (0..chunks).flat_map(move |at| {
            let (old, new) = (before.chunks.get(at), self.chunks.get(at));
            let same = old.zip(new).is_some_and(|(old, new)| Arc::ptr_eq(old, new));
            (0..if same { 0 } else { CHUNK_ROWS }).filter_map(move |place| {
                let row = |chunk: Option<&'a Arc<Chunk<T>>>| chunk?.get(place)?.as_ref();
                let (was, is) = (row(old), row(new));
                let differs = was.map(Arc::as_ptr) != is.map(Arc::as_ptr);
                differs.then_some((was, is))
            })
        })
    }

    fn set(&mut self, slot: Slot, row: Option<Arc<T>>) {
        let (chunk, place) = (slot.0 / CHUNK_ROWS, slot.0 % CHUNK_ROWS);
        let chunks = Arc::make_mut(&mut self.chunks);
        if chunk == chunks.len() {
            chunks.push(Arc::new(vec![None; CHUNK_ROWS]));
        }
        let place = &mut Arc::make_mut(&mut chunks[chunk])[place];
        self.rows = self.rows + usize::from(row.is_some()) - usize::from(place.is_some());
        *place = row;
    }
}

impl<T> FromIterator<T> for Table<T> {
    fn from_iter<I: IntoIterator<Item = T>>(rows: I) -> Self {
        let mut table = Self::default();
        for (slot, row) in rows.into_iter().enumerate() {
            table.set(Slot(slot), Some(Arc::new(row)));
        }
        table
    }
}

/// The rows as a sequence.
impl<T: Serialize> Serialize for Table<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// Where a row stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot(usize);

/// The writer's side of a [`Table`].
#[derive(Debug)]
pub(super) struct TableWriter<T> {
    table: Table<T>,
    free: Vec<Slot>,
    used: usize,
}

impl<T> Default for TableWriter<T> {
    fn default() -> Self {
        Self { table: Table::default(), free: Vec::new(), used: 0 }
    }
}

impl<T> TableWriter<T> {
    /// The picture of now.
    pub(super) fn picture(&self) -> Table<T> {
        self.table.clone()
    }

    /// Adds a row.
    pub(super) fn insert(&mut self, row: T) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.used += 1;
            Slot(self.used - 1)
        });
        self.table.set(slot, Some(Arc::new(row)));
        slot
    }

    /// A row as it is.
    pub(super) fn row(&self, slot: Slot) -> Option<&Arc<T>> {
        let (chunk, place) = (slot.0 / CHUNK_ROWS, slot.0 % CHUNK_ROWS);
        self.table.chunks.get(chunk)?.get(place)?.as_ref()
    }

    /// Replaces a row.
    pub(super) fn replace(&mut self, slot: Slot, row: T) {
        self.table.set(slot, Some(Arc::new(row)));
    }

    /// Takes a row out.
    pub(super) fn remove(&mut self, slot: Slot) {
        self.table.set(slot, None);
        self.free.push(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(table: &Table<u32>) -> Vec<u32> {
        let mut rows: Vec<u32> = table.iter().map(|row| **row).collect();
        rows.sort_unstable();
        rows
    }

    #[test]
    fn a_picture_does_not_see_later_changes() {
        let mut writer = TableWriter::default();
        let slots: Vec<Slot> = (0..1_000).map(|row| writer.insert(row)).collect();
        let before = writer.picture();
        writer.replace(slots[5], 7_777);
        writer.remove(slots[999]);
        writer.insert(8_888);
        assert_eq!(rows(&before), (0..1_000).collect::<Vec<_>>());
        let after = writer.picture();
        assert_eq!(after.len(), 1_000);
        assert!(rows(&after).ends_with(&[998, 7_777, 8_888]));
    }

    #[test]
    fn freed_slots_are_used_again() {
        let mut writer = TableWriter::default();
        for round in 0..10_000 {
            let slot = writer.insert(round);
            writer.remove(slot);
        }
        assert_eq!(writer.picture().chunks.len(), 1);
        assert!(writer.picture().is_empty());
    }

    #[test]
    fn changes_are_the_rows_that_differ() {
        let mut writer = TableWriter::default();
        let slots: Vec<Slot> = (0..300_u32).map(|row| writer.insert(row)).collect();
        let before = writer.picture();
        let told = |before: &Table<u32>, after: &Table<u32>| -> Vec<(Option<u32>, Option<u32>)> {
            let row = |row: Option<&Arc<u32>>| row.map(|row| **row);
            after.changes(before).map(|(was, is)| (row(was), row(is))).collect()
        };
        assert_eq!(told(&before, &writer.picture()), []);
        writer.replace(slots[5], 7_777);
        writer.remove(slots[200]);
        let after = writer.picture();
        assert_eq!(told(&before, &after), [(Some(5), Some(7_777)), (Some(200), None)]);
        (0..200).for_each(|row| {
            writer.insert(1_000 + row);
        });
        let later = told(&after, &writer.picture());
        assert_eq!(later.len(), 200);
        assert!(later.iter().all(|(was, is)| was.is_none() && is.is_some()));
        assert_eq!(told(&Table::default(), &before).len(), 300);
    }

    #[test]
    fn a_change_copies_only_its_chunk() {
        let mut writer = TableWriter::default();
        let slots: Vec<Slot> = (0..1_000u32).map(|row| writer.insert(row)).collect();
        let before = writer.picture();
        writer.replace(slots[0], 1);
        let after = writer.picture();
        assert!(!Arc::ptr_eq(&before.chunks[0], &after.chunks[0]));
        assert!(Arc::ptr_eq(&before.chunks[1], &after.chunks[1]));
    }
}

//! What was done to a disk, and what a power cut leaves of it.

use super::dice::Dice;

/// What a disk writes as a whole or not at all, in bytes.
const SECTOR_BYTES: usize = 512;

/// How far whoever writes has come, by numbers of its own that only rise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// This write, and all before it, was asked for.
    Asked(usize),
    /// This write, and all before it, was said to be on disk.
    Acknowledged(usize),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operation {
    Write { offset: usize, data: Vec<u8> },
    Length(usize),
    Sync,
    Note(Progress),
}

/// All that was done to a disk, from the bytes it began with.
#[derive(Debug, Clone, Default)]
pub struct History {
    began_with: Vec<u8>,
    operations: Vec<Operation>,
}

impl History {
    pub(crate) const fn new(began_with: Vec<u8>) -> Self {
        Self { began_with, operations: Vec::new() }
    }

    pub(crate) fn push(&mut self, operation: Operation) {
        self.operations.push(operation);
    }

    /// How many moments there are at which the power can fail: before each operation, and after
    /// the last.
    #[must_use]
    pub const fn moments(&self) -> usize {
        self.operations.len() + 1
    }

    /// The newest write that was acknowledged before this moment, and the newest that was asked
    /// for.
    #[must_use]
    pub fn progress(&self, moment: usize) -> (Option<usize>, Option<usize>) {
        let (mut acknowledged, mut asked) = (None, None);
        for operation in &self.operations[..moment] {
            match operation {
                Operation::Note(Progress::Acknowledged(number)) => acknowledged = Some(*number),
                Operation::Note(Progress::Asked(number)) => asked = Some(*number),
                Operation::Write { .. } | Operation::Length(_) | Operation::Sync => {}
            }
        }
        (acknowledged, asked)
    }

    /// Checks what was found after a power cut at this moment: of the states that were asked for, by their
    /// numbers, one that is not before the one that was acknowledged.
    ///
    /// # Panics
    /// When it is another.
    pub fn check<T: PartialEq + std::fmt::Debug>(
        &self,
        moment: usize,
        found: &T,
        states: &[T],
        what: &str,
    ) {
        let (acknowledged, asked) = self.progress(moment);
        // In the middle of the opening it is what it was before.
        let possible = &states[acknowledged.unwrap_or(0)..=asked.unwrap_or(0)];
        assert!(
            possible.contains(found),
            "{what}: acknowledged {acknowledged:?}, asked {asked:?}, found {found:?}"
        );
    }

    /// What is on the disk when the power fails at this moment: all up to the last sync, and of
    /// what came after it any sectors, in the state of any of their writes, and any of the lengths.
    #[must_use]
    pub fn after_power_cut(&self, moment: usize, dice: &mut Dice) -> Vec<u8> {
        let done = &self.operations[..moment];
        let synced =
            done.iter().rposition(|one| *one == Operation::Sync).map_or(0, |last| last + 1);
        let mut bytes = self.began_with.clone();
        for operation in &done[..synced] {
            apply(operation, &mut bytes);
        }
        let mut length = bytes.len();
        // Sometimes nearly all of it is there, sometimes nearly nothing.
        let (kept, of) = (dice.below(9), 8);
        for operation in &done[synced..] {
            match operation {
                Operation::Write { offset, data } => {
                    for (at, sector) in sectors(*offset, data) {
                        if dice.below(of) < kept {
                            put(&mut bytes, at, sector);
                        }
                    }
                }
                Operation::Length(new) => {
                    if dice.below(of) < kept {
                        length = *new;
                    }
                }
                Operation::Sync | Operation::Note(_) => {}
            }
        }
        bytes.resize(length, 0);
        bytes
    }
}

/// Does to `bytes` what the operation does to a file.
pub(crate) fn apply(operation: &Operation, bytes: &mut Vec<u8>) {
    match operation {
        Operation::Write { offset, data } => put(bytes, *offset, data),
        Operation::Length(length) => bytes.resize(*length, 0),
        Operation::Sync | Operation::Note(_) => {}
    }
}

fn put(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
}

/// The parts of a write that lie in different sectors, each with its place.
fn sectors(offset: usize, data: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let first = (SECTOR_BYTES - offset % SECTOR_BYTES).min(data.len());
    let (head, rest) = data.split_at(first);
    let rest_at = offset + first;
    let whole = rest.chunks(SECTOR_BYTES).enumerate();
    std::iter::once((offset, head))
        .chain(whole.map(move |(index, sector)| (rest_at + index * SECTOR_BYTES, sector)))
}

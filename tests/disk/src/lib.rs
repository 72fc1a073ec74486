//! A double of the disk below a redb file: it fills up, and it loses power.

mod dice;
mod disk;
mod history;
#[cfg(test)]
mod tests;

pub use dice::Dice;
pub use disk::Disk;
pub use history::{History, Progress};

//! The log, the vote and what is committed, on disk.
//!
//! One thread writes, so that everything reaches the disk in the order it was asked for; what
//! queued up while it waited for the disk goes out together with the next fsync. Reads come from
//! memory for the newest entries, and from the file for older ones.

mod file;
mod log;
mod tail;
mod writer;

pub(super) use file::{LOG_FILE, LogFile, Stored, write_durably};
pub(super) use log::LogStore;
pub(super) use writer::Failure;

#[cfg(test)]
pub(super) use file::write_entries_for_test;
#[cfg(test)]
mod tests;

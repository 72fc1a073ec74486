//! The agent against a disk, a launcher and a leader that do what the test says.

mod checks;
mod drain;
mod ends;
mod executors;
mod fit;
mod groups;
mod kill;
mod launch;
mod left_out;
mod operations;
mod overdue;
mod property;
mod recover;
mod register;
mod rig;
mod storage;
mod updates;

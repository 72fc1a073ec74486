//! The end of sandboxes: that of an ended task is kept for a while, for its log and its results, and then removed.
//!
//! The rule is Mesos's ([`Rule`]): a sandbox may grow as old as `--gc-delay`, less as the disk fills. Its age is counted
//! from the end of its container, which is written into the sandbox's own time of modification ([`note_end`]), as Mesos
//! does: it survives every restart and costs no file.
//!
//! * `plan`: which sandboxes go, and when to look again. Pure.
//! * `inventory`: which sandboxes there are, the oldest first.
//! * `bin`: removing one. It is moved out of sight first, into a directory that is the node's alone, and emptied there
//!   bit by bit, without recursion and through no symlink and no mount: a task may have left anything.
//! * `volumes`: the same for a directory of another place.
//! * `collector`: the round that puts these together.

mod bin;
mod collector;
mod inventory;
mod plan;
mod volumes;

pub use collector::{Collector, Disk, Round};
pub use inventory::{SandboxName, locate, note_end};
pub use plan::{Candidate, Plan, Rule, WHOLE, plan};
pub use volumes::remove_directory;

//! The thin shell around the pure cores: moves events in and carries effects out.
//!
//! Each core has one loop that owns it. Whatever waits (streams, disk, containers) runs beside the
//! loop and reports back through its mailbox.

pub(crate) mod agent;
pub(crate) mod master;
mod publish;

pub(crate) use publish::{Publisher, Snapshot, until};

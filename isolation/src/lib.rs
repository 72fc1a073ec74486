//! Containers: what carries out the agent's decisions on one machine.
//!
//! The agent's state machine, in another crate, decides what runs. This crate runs it:
//!
//! * A [`Containerizer`] launches, terminates, destroys, releases and measures containers, and tells of their ends as
//!   [`ContainerEvent`]s. [`NativeContainerizer`] is the one in the box.
//! * Behind it stands the **launcher** ([`launcher_main`]): one small single-threaded process per node, the parent of all
//!   containers. It outlives the node, holds exit statuses until they are released, and can be replaced in place.
//! * **Isolators** ([`isolator`], [`isolators`]) hold containers to their limits through control groups, or only report
//!   use where there are none.
//! * A **sandbox** ([`sandbox`]) is a container's own directory; the **fetcher** ([`fetch_main`]) fills it, in a process that
//!   has the rights of the task's user and no others. Long after its container's end it is removed ([`garbage`]).
//! * **Volumes** ([`volume`]) are directories that outlive containers; a sandbox shows those that its task holds.
//! * **Users** ([`user`]): tasks run as the user they name, never as root by accident.
//!
//! ```text
//!   agent ── Containerizer ── NativeContainerizer ── isolators ── cgroups (v1, v2)
//!                                    │        └───── fetch child, as the task's user
//!                                    │ unix socket, MessagePack
//!                                 launcher ── containers, each a session in its sandbox
//! ```
//!
//! A node binary that uses this crate must offer two subcommands before it starts a thread: `launcher`, which calls
//! [`launcher_main`], and `fetch`, which calls [`fetch_main`].
//!
//! What holds, whatever is killed when:
//!
//! * Nothing runs that has no record: a record is there before its process, and the process completes it.
//! * A launch is never made twice: when the connection breaks, the launcher's table says what became of it.
//! * An end is told until it is released, by whatever launcher there is then; one that nobody could read is told as such.
//! * A signal never reaches a process that merely has the pid of one we knew.

mod build;
mod client;
mod container;
mod containerizer;
mod environment;
mod error;
mod fetcher;
pub mod garbage;
pub mod isolator;
pub mod isolators;
mod launcher;
pub mod linux;
mod native;
pub mod sandbox;
mod sys;
pub mod user;
pub mod volume;

pub use container::{
    CONTAINER_ID_BYTES_MAX, Command, ContainerId, ContainerIdError, ContainerSpec, Limits, Uri,
    VolumeMount,
};
pub use containerizer::{
    ContainerEvent, Containerizer, ExitStatus, Limitation, RecoveredContainer, RecoveredState,
    Started, Usage,
};
pub use error::{Error, LaunchError};
pub use fetcher::{FetchOptions, Fetcher, fetch_main};
pub use isolator::{IsolatorName, IsolatorNameError};
pub use launcher::launcher_main;
pub use native::{NativeContainerizer, Options};
pub use sys::own_cpu_us;

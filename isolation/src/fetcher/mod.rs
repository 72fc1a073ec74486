//! The fetcher: brings URIs into the sandbox before a container starts.
//!
//! What is fetched is chosen by a framework and written by strangers, so it is never touched by the node's own process:
//! a child process (`meshos fetch`) takes the rights of the task's user for good before it looks at the first URI, and
//! writes only beneath the sandbox, through no symlink. It ends with the node: its standard input is a pipe that the node
//! holds open. Without URIs no process is started.
//!
//! * [`plan`]: what the node tells the child, and what it answers.
//! * [`parent`]: the node's side.
//! * [`child`]: the child: rights, and one URI after the other.
//! * [`source`]: reading a URI. [`target`]: writing beneath the sandbox. [`archive`]: unpacking.

mod archive;
mod child;
mod parent;
mod plan;
mod source;
mod target;

pub use child::fetch_main;
pub use plan::FetchOptions;

pub use parent::Fetcher;

//! What the end-to-end tests stand on: real processes of the built `meshos` binary, real sockets and real containers.
//!
//! * [`Cluster`], [`Node`]: nodes on loopback, started, killed and restarted; nothing is left of them when a test ends.
//! * [`Framework`]: a framework on the SDK that writes down each status update before it acts on it.
//! * [`Journal`]: what tasks say of themselves, and the gate that holds them.
//! * [`MesosFramework`]: a framework that speaks Mesos's scheduler API, byte by byte.
//! * [`PythonClient`]: a framework on a client from the Python package index, unmodified.
//! * [`Network`]: machines of their own for nodes, that can be cut off from each other.
//! * [`Command`]: the command line, waited for with a deadline.
//! * [`Clock`]: a wall clock that a test sets, for the processes that it starts.
//! * [`poll_until`]: the one way to wait.
//!
//! Everything here blocks, and panics with what it waited for when it waited too long: that is how a test fails.

#![expect(clippy::print_stderr, reason = "what a failed test shows")]

mod binary;
mod clients;
mod clock;
mod cluster;
mod command;
mod credentials;
mod framework;
mod http;
mod journal;
mod mesos;
mod namespace;
mod node;
mod ports;
mod processes;
mod slots;
mod wait;

pub use binary::{client_packages, example_binary, meshos_binary};
pub use clients::PythonClient;
pub use clock::Clock;
pub use cluster::{Cluster, ClusterOptions, Leader};
pub use command::{Command, Finished, Logged, Running};
pub use credentials::{
    framework_credentials, framework_credentials_pem, signing_request, wire_credentials,
};
pub use framework::{Framework, FrameworkOptions, Handling, Note, WrittenUpdate};
pub use http::{Answer, HttpError};
pub use journal::{Birth, Journal};
pub use mesos::{MesosFramework, MesosStream, Request as MesosRequest, Response as MesosResponse};
pub use namespace::Network;
pub use node::{Node, NodeArguments};
pub use ports::free_ports;
pub use processes::{
    Process, cgroups_below, kill_process, launchers_below, of_path, pid_alive, sweep,
};
pub use slots::Slot;
pub use wait::{PATIENCE, poll_until, say, since_logged, wait_until};

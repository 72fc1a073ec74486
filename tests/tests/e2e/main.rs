//! End to end: the built binary, real processes, sockets and containers on this machine.

mod common;
mod election;

//! Developer commands, run as `cargo xtask COMMAND`.
//!
//! They are Rust, not shell, so that a fresh checkout needs nothing but the toolchain, and they are a library so that
//! the house rules also run as an ordinary test (`cargo test -p xtask`) and the measuring code is tested like any other.

pub mod bench;
pub mod ci;
pub mod clients;
pub mod cmd;
pub mod e2e;
pub mod laws;
pub mod sim;
pub mod soak;
pub mod test_run;
pub mod tidy;

//! `cargo xtask bench`: measurements, each in a file of its own, next to a bare yardstick taken in the same run.
//!
//! Figures are CPU time and ratios where possible: wall-clock time on a busy machine says little. To add a bench, write
//! `bench/NAME.rs` with a `pub const BENCH: Bench` and add it to the registry in `registry.rs`. A bench of the product
//! gets the release binary from `release::binary`.

pub mod bare;
pub mod cluster;
pub mod cpu;
pub mod disk;
pub mod figures;
pub mod idle;
pub mod launch;
mod registry;
pub mod release;

pub use registry::{BENCHES, Bench, command};

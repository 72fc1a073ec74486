//! How long a new leader takes to learn a large cluster anew.

use super::figures::Figures;
use super::{Bench, example};

/// `cargo xtask bench rebuild`.
pub const BENCH: Bench = Bench {
    name: "rebuild",
    about: "a new leader learns 10,000 agents with 100,000 tasks of 1,000 frameworks anew",
    run: bench,
};

fn bench() -> anyhow::Result<Figures> {
    example::figures("meshos-control", "rebuild")
}

//! How long allocation runs take, and what the allocator's memory is: the cases of Mesos's own benchmark and more.
//!
//! The measuring is done by an example of the pure crate (`alloc/examples/allocator`), so that nothing else is built.

use super::figures::Figures;
use super::{Bench, example, instructions};

/// `cargo xtask bench allocator`.
pub const BENCH: Bench = Bench {
    name: "allocator",
    about: "one allocation run of 10,000 to 50,000 agents, and the ledger's memory",
    run: bench,
};

fn bench() -> anyhow::Result<Figures> {
    let mut figures = example::figures("meshos-alloc", "allocator")?;
    instructions::measure(&mut figures)?;
    Ok(figures)
}

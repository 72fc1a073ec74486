//! What happened, as a hash and, when asked for, as text.

use std::fmt::{self, Write as _};

use meshos_protocol::fnv::Fnv1a;

/// Collects a hash (FNV-1a, 64 bits) over everything that happens: two runs of one seed are the
/// same exactly when their hashes are.
#[derive(Debug, Clone)]
pub struct Trace {
    hash: Fnv1a,
    steps: u64,
    verbose: bool,
}

impl Trace {
    /// An empty trace; a verbose one prints what it is told.
    pub const fn new(verbose: bool) -> Self {
        Self { hash: Fnv1a::new(), steps: 0, verbose }
    }

    /// Notes something that happens at `now_ms`.
    #[expect(clippy::print_stdout, reason = "a verbose replay is read by people")]
    pub fn note(&mut self, now_ms: u64, what: fmt::Arguments<'_>) {
        self.steps += 1;
        writeln!(self.hash, "{now_ms} {what}").expect("a hash takes every text");
        if self.verbose {
            println!("{:>4}.{:03} {what}", now_ms / 1000, now_ms % 1000);
        }
    }

    /// The hash of everything noted so far.
    pub const fn hash(&self) -> u64 {
        self.hash.finish()
    }

    /// How many things were noted.
    pub const fn steps(&self) -> u64 {
        self.steps
    }
}

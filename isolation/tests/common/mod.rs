//! A node's containerizer in a directory of its own, and the certainty that nothing of it is left when a test ends,
//! however it ends.
#![expect(dead_code, reason = "each test binary uses a part of it")]
#![expect(clippy::unwrap_used, reason = "test support: a failure is a failed test")]

mod harness;

pub(crate) use harness::*;

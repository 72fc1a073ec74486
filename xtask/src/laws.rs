//! `cargo xtask laws --cases N`: the allocator's laws over more random cases than every test run looks at.

use crate::cmd;

/// Runs the allocator's tests with so many cases of each property and of each policy's suite.
///
/// # Errors
/// When they cannot be built, or a law does not hold.
pub fn run(cases: u32) -> anyhow::Result<()> {
    let mut command = cmd::cargo(&["test", "--locked", "--package", "meshos-alloc"]);
    // The suite has a variable of its own, because it is exported for policies that know no proptest.
    command.env("MESHOS_CASES", cases.to_string()).env("PROPTEST_CASES", cases.to_string());
    cmd::run(&mut command)
}

//! What is particular to Linux: processes in `/proc`, control groups, and the birth of a container's first process.
#![expect(
    unsafe_code,
    reason = "system calls that no safe crate wraps: clone with a stack, execve in the child"
)]

pub mod cgroups;
mod clone;
mod entrance;
pub mod process;
pub(crate) mod spawn;

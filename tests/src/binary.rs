//! The program under test.

use std::path::PathBuf;

/// `meshos`, as built beside this test's executable in the same profile.
///
/// # Panics
/// When it is not built.
#[must_use]
pub fn meshos_binary() -> PathBuf {
    let own = std::env::current_exe().expect("a process knows its own file");
    // .../target/<profile>/deps/<test>-<hash>
    let profile = own.parent().and_then(|deps| deps.parent());
    let binary = profile.expect("tests are built two levels below target").join("meshos");
    assert!(
        binary.is_file(),
        "{} is not there: build it with `cargo build -p meshos-node --bin meshos`, or run `cargo xtask e2e`",
        binary.display()
    );
    binary
}

//! The programs under test.

use std::path::{Path, PathBuf};

/// `meshos`, as built beside this test's executable in the same profile.
///
/// # Panics
/// When it is not built.
#[must_use]
pub fn meshos_binary() -> PathBuf {
    built("meshos", "cargo build -p meshos-node --bin meshos")
}

/// An example framework of the SDK, built likewise.
///
/// # Panics
/// When it is not built.
#[must_use]
pub fn example_binary(name: &str) -> PathBuf {
    let path = Path::new("examples").join(name);
    built(path, &format!("cargo build -p meshos-sdk --example {name}"))
}

fn built(path: impl AsRef<Path>, how: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a process knows its own file");
    // .../target/<profile>/deps/<test>-<hash>, or .../target/<profile>/<program>
    let directory = own.parent().expect("a program is in a directory");
    let is_test = directory.ends_with("deps");
    let profile = if is_test { directory.parent() } else { Some(directory) };
    let binary = profile.expect("tests are built two levels below target").join(path);
    assert!(
        binary.is_file(),
        "{} is not there: build it with `{how}`, or run `cargo xtask e2e`",
        binary.display()
    );
    binary
}

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

/// Python with the clients of Mesos's API that `cargo xtask clients` installs.
///
/// # Panics
/// When they are not there.
pub(crate) fn python_with_clients() -> PathBuf {
    clients().join("bin/python")
}

/// Where the packages of these clients are.
///
/// # Panics
/// When they are not there.
#[must_use]
pub fn client_packages() -> PathBuf {
    let libraries = clients().join("lib");
    let versions = std::fs::read_dir(&libraries).expect("an environment of Python has libraries");
    let packages = versions.flatten().map(|version| version.path().join("site-packages"));
    let mut there = packages.filter(|packages| packages.join("pymesos").is_dir());
    there.next().expect("the clients are installed")
}

fn clients() -> PathBuf {
    let directory = profile().with_file_name("mesos-clients");
    assert!(
        directory.join("installed.txt").is_file(),
        "{} is not there: install the clients with `cargo xtask clients`, or leave the tests out that run them, with `-- --skip pypi_`",
        directory.display()
    );
    directory
}

/// Where this profile's programs are.
fn profile() -> PathBuf {
    let own = std::env::current_exe().expect("a process knows its own file");
    // .../target/<profile>/deps/<test>-<hash>, or .../target/<profile>/<program>
    let directory = own.parent().expect("a program is in a directory");
    let is_test = directory.ends_with("deps");
    let profile = if is_test { directory.parent() } else { Some(directory) };
    profile.expect("tests are built two levels below target").to_owned()
}

fn built(path: impl AsRef<Path>, how: &str) -> PathBuf {
    let binary = profile().join(path);
    assert!(
        binary.is_file(),
        "{} is not there: build it with `{how}`, or run `cargo xtask e2e`",
        binary.display()
    );
    binary
}

//! A wall clock that a test sets, for the processes that it starts.

use std::{fs::File, os::unix::fs::FileExt as _, path::PathBuf, process::Command};

use tempfile::TempDir;

const SOURCE: &str = include_str!("clock_shift.c");

/// A wall clock for processes that are started with [`Clock::wrapper`]. The monotonic clock stays as it is, as it does when
/// somebody sets a machine's time.
#[derive(Debug)]
pub struct Clock {
    directory: TempDir,
    shift: File,
}

impl Clock {
    /// A clock that shows the right time.
    ///
    /// # Panics
    /// When there is no C compiler, or no temporary directory.
    #[must_use]
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let source = directory.path().join("clock_shift.c");
        std::fs::write(&source, SOURCE).expect("the directory is ours");
        let library = library(&directory);
        let compiled = Command::new("cc")
            .args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(&source)
            .status();
        let compiled = compiled.expect("a C compiler is needed to build meshos");
        assert!(compiled.success(), "{} was not compiled: {compiled}", source.display());
        let shift = File::create(shift_file(&directory)).expect("the directory is ours");
        let clock = Self { directory, shift };
        clock.shift_by_s(0);
        clock
    }

    /// From now on the clock is wrong by so many seconds.
    ///
    /// # Panics
    /// When that cannot be written.
    pub fn shift_by_s(&self, seconds: i64) {
        self.shift.write_all_at(&seconds.to_ne_bytes(), 0).expect("the file is ours");
    }

    /// What starts a program under this clock.
    #[must_use]
    pub fn wrapper(&self) -> Vec<String> {
        vec![
            "env".to_owned(),
            format!("LD_PRELOAD={}", library(&self.directory).display()),
            format!("CLOCK_SHIFT_FILE={}", shift_file(&self.directory).display()),
        ]
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

fn library(directory: &TempDir) -> PathBuf {
    directory.path().join("libclockshift.so")
}

fn shift_file(directory: &TempDir) -> PathBuf {
    directory.path().join("shift")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn year(clock: &Clock) -> String {
        let wrapper = clock.wrapper();
        let told =
            Command::new(&wrapper[0]).args(&wrapper[1..]).args(["date", "-u", "+%Y"]).output();
        let told = told.expect("date is everywhere");
        String::from_utf8(told.stdout).expect("a year is text").trim().to_owned()
    }

    #[test]
    fn a_program_sees_the_shifted_year() {
        let clock = Clock::new();
        let now: i32 = year(&clock).parse().expect("a year is a number");
        clock.shift_by_s(-20 * 366 * 24 * 3_600);
        let then: i32 = year(&clock).parse().expect("a year is a number");
        assert!((20..=21).contains(&(now - then)), "{now} {then}");
    }
}

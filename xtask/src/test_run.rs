//! One run of `cargo test`, shown as it goes and counted on the way.
//!
//! Tests that need root have a name with a segment `root_...`, and one `root_ip_...` when they need the program `ip` (iproute2)
//! too; those that run clients from the Python package index (`cargo xtask clients`) one `pypi_...`. They must never be skipped in
//! silence: where these are, every one that `--list` names must be seen to pass; where they are not, the tests are left out by
//! name, and how many is printed.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::{clients, cmd};

/// Which targets `cargo test` is given; empty means all of the workspace, with the examples in the docs.
#[derive(Debug, Default)]
pub struct Selection {
    /// Target flags such as `--test chaos`.
    pub targets: Vec<String>,
}

/// Names of tests, with how many targets have one of that name.
type Names = BTreeMap<String, u64>;

/// What a run of the tests came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
    /// Tests left out, whether ignored in the source or filtered by name.
    pub skipped: u64,
    /// Tests marked as ignored in the source, which the house rules forbid.
    pub ignored: u64,
    /// Names of the passed tests that need root or installed clients, with how often each name passed.
    pub needy_passed: Names,
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

impl Tally {
    /// Takes one line of libtest's output into account.
    fn count(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... ok"))
        {
            if needs_root(name) || needs_clients(name) {
                *self.needy_passed.entry(name.to_owned()).or_default() += 1;
            }
        } else if let Some(totals) = line.strip_prefix("test result: ") {
            self.passed += number_before(totals, " passed");
            self.failed += number_before(totals, " failed");
            self.ignored += number_before(totals, " ignored");
            self.skipped +=
                number_before(totals, " ignored") + number_before(totals, " filtered out");
        }
    }

    /// How many of the tests that passed need root.
    #[must_use]
    pub fn root_passed(&self) -> u64 {
        self.needy_passed.iter().filter(|(name, _)| needs_root(name)).map(|(_, times)| times).sum()
    }

    /// The listed tests that were not seen to pass often enough.
    fn missing(&self, listed: &Names) -> Vec<String> {
        let ran = |name: &String| self.needy_passed.get(name).copied().unwrap_or(0);
        listed
            .iter()
            .filter(|(name, times)| ran(name) < **times)
            .map(|(name, _)| name.clone())
            .collect()
    }
}

/// Builds every program and test once, with the features that `cargo test` will use, so that the `meshos` binary the
/// end-to-end tests start is made of the same compiled crates.
///
/// # Errors
/// When something does not compile.
pub fn build_everything() -> anyhow::Result<()> {
    cmd::run(&mut cmd::cargo(&[
        "build",
        "--workspace",
        "--locked",
        "--bins",
        "--tests",
        "--examples",
    ]))
}

/// Lists, runs and counts the selected tests.
///
/// # Errors
/// When a test fails, is ignored, or could run, needs root or clients and was not seen to pass.
pub fn run(selection: &Selection) -> anyhow::Result<Tally> {
    let (root, ip) = (cmd::is_root(), has_ip());
    let clients = clients::are_there()?;
    let (listed, left_out): (Names, Names) = list_needy(selection)?
        .into_iter()
        .partition(|(name, _)| what_is_missing(name, root, ip, clients).is_none());
    let mut counts = BTreeMap::<_, u64>::new();
    for (name, times) in &left_out {
        *counts.entry(what_is_missing(name, root, ip, clients)).or_default() += times;
    }
    for (missing, count) in counts {
        cmd::say(format_args!("{count} tests are left out, {}", missing.unwrap_or_default()));
    }
    let mut command = cmd::cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]);
    command.args(&selection.targets).stdout(Stdio::piped());
    if !left_out.is_empty() {
        command.args(["--", "--exact"]);
        command.args(left_out.keys().flat_map(|name| ["--skip", name.as_str()]));
    }
    let mut child =
        command.spawn().with_context(|| format!("cannot start `{}`", cmd::shown(&command)))?;
    let output =
        child.stdout.take().context("the child's standard output was piped, yet is not there")?;
    let tally = show_and_count(BufReader::new(output))?;
    let status = child.wait().context("cannot wait for cargo test")?;
    judge(&tally, &listed)?;
    if !status.success() {
        bail!("cargo test failed ({status}): {tally}");
    }
    for (needs, what) in
        [(needs_root as fn(&str) -> bool, "root"), (needs_clients, "clients from PyPI")]
    {
        let count: u64 =
            listed.iter().filter(|(name, _)| needs(name)).map(|(_, times)| times).sum();
        if count > 0 {
            cmd::say(format_args!("{count} tests that need {what} ran"));
        }
    }
    Ok(tally)
}

fn has_ip() -> bool {
    cmd::succeeds(Command::new("ip").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()))
}

/// Why a test of this name cannot run here.
fn what_is_missing(name: &str, root: bool, ip: bool, clients: bool) -> Option<&'static str> {
    if needs_root(name) && !root {
        Some("since they need root")
    } else if needs_ip(name) && !ip {
        Some("since they need the program `ip`: install iproute2 to run them")
    } else if needs_clients(name) && !clients {
        Some(
            "since they run clients of Mesos's API from PyPI: `cargo xtask clients` installs these",
        )
    } else {
        None
    }
}

fn judge(tally: &Tally, listed: &Names) -> anyhow::Result<()> {
    if tally.failed > 0 {
        bail!("tests failed: {tally}");
    }
    if tally.passed == 0 {
        bail!("no test ran");
    }
    if tally.ignored > 0 {
        bail!("{} tests are ignored: make them pass or remove them", tally.ignored);
    }
    let missing = tally.missing(listed);
    if !missing.is_empty() {
        bail!(
            "tests that need root or clients were listed but not seen to pass: {}",
            missing.join(", ")
        );
    }
    Ok(())
}

/// The tests that need more than a toolchain, with how many targets have one of that name.
fn list_needy(selection: &Selection) -> anyhow::Result<Names> {
    let mut command = cmd::cargo(&["test", "--workspace", "--locked"]);
    if selection.targets.is_empty() {
        command.args(["--lib", "--bins", "--tests"]);
    }
    command.args(&selection.targets).args(["--", "--list", "--format", "terse"]);
    Ok(needy_names(&cmd::capture(&mut command)?))
}

fn needy_names(listing: &str) -> Names {
    let mut names = BTreeMap::new();
    for name in listing
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .filter(|name| needs_root(name) || needs_clients(name))
    {
        *names.entry(name.to_owned()).or_default() += 1;
    }
    names
}

fn show_and_count(mut output: impl BufRead) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    let mut bytes = Vec::new();
    while output.read_until(b'\n', &mut bytes).context("cannot read the output of cargo test")? > 0
    {
        let line = String::from_utf8_lossy(&bytes);
        let line = line.trim_end_matches(['\n', '\r']);
        cmd::say(line);
        tally.count(line);
        bytes.clear();
    }
    Ok(tally)
}

fn needs_root(name: &str) -> bool {
    name.split("::").any(|segment| segment.starts_with("root_"))
}

fn needs_ip(name: &str) -> bool {
    name.split("::").any(|segment| segment.starts_with("root_ip_"))
}

fn needs_clients(name: &str) -> bool {
    name.split("::").any(|segment| segment.starts_with("pypi_"))
}

/// The number that stands directly before `unit` in one of the `;`-separated parts of libtest's totals.
fn number_before(totals: &str, unit: &str) -> u64 {
    let part = totals.split(';').find_map(|part| part.trim_end().strip_suffix(unit));
    part.and_then(|part| part.rsplit(' ').next())
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\nrunning 3 tests\ntest plain ... ok\ntest cgroups::root_limit ... ok\ntest bad ... FAILED\n\n\
        test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 4 filtered out; finished in 0.01s\n\n\
        test result: ok. 5 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";

    #[test]
    fn totals_of_all_targets_are_added_up() {
        let tally = show_and_count(OUTPUT.as_bytes()).unwrap();
        assert_eq!((tally.passed, tally.failed, tally.skipped, tally.ignored), (7, 1, 6, 2));
        assert_eq!(tally.to_string(), "7 passed, 1 failed, 6 skipped");
    }

    #[test]
    fn the_name_prefix_counts_only_at_the_start_of_a_segment() {
        assert!(needs_root("root_kill"));
        assert!(needs_root("linux::root_limits::memory"));
        assert!(!needs_root("sandbox::finds_root_folder"));
        assert!(needs_ip("partition::root_ip_cut") && needs_root("partition::root_ip_cut"));
        assert!(!needs_ip("root_kill"));
    }

    #[test]
    fn what_a_test_needs_and_is_not_there_is_named() {
        let missing = |name, root, ip, clients| what_is_missing(name, root, ip, clients);
        assert_eq!(missing("plain", false, false, false), None);
        assert_eq!(missing("root_ip_cut", true, true, false), None);
        assert_eq!(missing("pypi_clients::runs", false, false, true), None);
        for (name, word) in
            [("root_kill", "root"), ("root_ip_cut", "root"), ("pypi_a::b", "cargo xtask clients")]
        {
            assert!(missing(name, false, false, false).unwrap().contains(word), "{name}");
        }
        assert!(missing("root_ip_cut", true, false, false).unwrap().contains("iproute2"));
    }

    #[test]
    fn a_listed_root_test_that_did_not_run_fails_the_run() {
        let listed = needy_names(
            "cgroups::root_limit: test\nroot_other: test\nplain: test\nroot_bench: benchmark\npypi_a::b: test\n",
        );
        assert_eq!(
            listed.keys().collect::<Vec<_>>(),
            ["cgroups::root_limit", "pypi_a::b", "root_other"]
        );
        let mut tally = Tally { passed: 1, ..Tally::default() };
        tally.count("test cgroups::root_limit ... ok");
        tally.count("test pypi_a::b ... ok");
        assert_eq!(tally.missing(&listed), ["root_other"]);
        assert_eq!(tally.root_passed(), 1);
        assert!(judge(&tally, &listed).unwrap_err().to_string().contains("root_other"));
        judge(&tally, &Names::new()).unwrap();
        tally.count("test root_other ... ok");
        judge(&tally, &listed).unwrap();
    }

    #[test]
    fn two_targets_with_one_name_must_both_run() {
        let listed = needy_names("root_same: test\nroot_same: test\n");
        let mut tally = Tally { passed: 1, ..Tally::default() };
        tally.count("test root_same ... ok");
        assert_eq!(tally.missing(&listed), ["root_same"]);
        tally.count("test root_same ... ok");
        assert!(tally.missing(&listed).is_empty());
    }

    #[test]
    fn a_failure_an_ignored_test_and_an_empty_run_are_refused() {
        let none = BTreeMap::new();
        assert!(judge(&Tally { passed: 3, failed: 1, ..Tally::default() }, &none).is_err());
        assert!(judge(&Tally { passed: 3, ignored: 1, ..Tally::default() }, &none).is_err());
        assert!(judge(&Tally::default(), &none).is_err());
        judge(&Tally { passed: 3, ..Tally::default() }, &none).unwrap();
    }
}

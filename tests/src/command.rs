//! The command line, run to its end or watched while it runs.

use std::{
    ffi::OsStr,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    binary::{example_binary, meshos_binary},
    processes::signal,
    wait::{PATIENCE, poll_until},
};

/// A command to run, of `meshos` as a rule. The kernel kills it when the test's thread dies.
#[derive(Debug)]
pub struct Command {
    command: std::process::Command,
    shown: String,
}

/// A command that ended.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// All it wrote to standard output.
    pub stdout: String,
    /// All it wrote to standard error, long sentences in one line.
    pub stderr: String,
}

impl Finished {
    /// Its exit code; -1 when a signal ended it.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// Standard output as JSON, and nothing else on it.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }

    /// Demands exit code 0.
    ///
    /// # Panics
    /// When it is another.
    #[must_use]
    pub fn success(self) -> Self {
        assert!(self.status.success(), "the command failed: {self:?}");
        self
    }
}

/// A command that runs; it is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    output: TempDir,
    shown: String,
}

impl Command {
    /// `meshos` with these arguments, with nothing of this process's environment but the path, and `home` for a home.
    ///
    /// # Panics
    /// When the binary is not built.
    #[must_use]
    pub fn new<S: AsRef<OsStr>>(home: &Path, arguments: impl IntoIterator<Item = S>) -> Self {
        Self::wrapped(home, &[], arguments)
    }

    /// An example framework of the SDK, likewise.
    ///
    /// # Panics
    /// When it is not built.
    #[must_use]
    pub fn example<S: AsRef<OsStr>>(
        name: &str,
        home: &Path,
        arguments: impl IntoIterator<Item = S>,
    ) -> Self {
        Self::of_program(&example_binary(name), home, &[], arguments)
    }

    /// `meshos`, started by `wrapper`, which must execute what follows it.
    pub(crate) fn wrapped<S: AsRef<OsStr>>(
        home: &Path,
        wrapper: &[String],
        arguments: impl IntoIterator<Item = S>,
    ) -> Self {
        Self::of_program(&meshos_binary(), home, wrapper, arguments)
    }

    /// A program, started by `wrapper`, which must execute what follows it.
    #[must_use]
    pub fn of_program<S: AsRef<OsStr>>(
        program: &Path,
        home: &Path,
        wrapper: &[String],
        arguments: impl IntoIterator<Item = S>,
    ) -> Self {
        let arguments: Vec<S> = arguments.into_iter().collect();
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let words = arguments.iter().map(|argument| argument.as_ref().to_string_lossy().into());
        let shown = std::iter::once(name).chain(words).collect::<Vec<String>>().join(" ");
        // The program stays the same process: setpriv sets the signal and executes it.
        let mut command = std::process::Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).args(wrapper).arg(program).args(&arguments);
        command.env_clear().env("HOME", home).env("RUST_BACKTRACE", "1");
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        // So that a test that fails can be run again with more in its nodes' logs.
        command.envs(std::env::var_os("MESHOS_LOG").map(|level| ("MESHOS_LOG", level)));
        command.stdin(Stdio::null()).current_dir(home);
        Self { command, shown }
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Has it read what [`Running::tell`] says.
    #[must_use]
    pub fn listening(mut self) -> Self {
        self.command.stdin(Stdio::piped());
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// When that fails.
    pub fn start(mut self) -> Running {
        let output = tempfile::tempdir().expect("a temporary directory can be made");
        let file = |name: &str| File::create(output.path().join(name)).expect("a file can be made");
        self.command.stdout(file("stdout")).stderr(file("stderr"));
        let child = self.command.spawn().expect("setpriv (util-linux) can be started");
        Running { child, output, shown: self.shown }
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it does not end.
    pub fn run(self) -> Finished {
        self.start().wait()
    }

    /// Starts it with its output appended to `log`, where it stays.
    ///
    /// # Panics
    /// When that fails.
    pub fn start_with_log(self, log: &Path) -> Logged {
        Logged { child: self.start_logging(log) }
    }

    /// Starts it with its output appended to `log`; for nodes.
    pub(crate) fn start_logging(mut self, log: &Path) -> Child {
        let file = File::options().create(true).append(true).open(log).expect("a log can be made");
        let other = file.try_clone().expect("a file can be used twice");
        self.command.stdout(file).stderr(other);
        self.command.spawn().expect("setpriv (util-linux) can be started")
    }
}

/// A command that runs and writes to a log of its own; it is killed when this is dropped.
#[derive(Debug)]
pub struct Logged {
    child: Child,
}

impl Logged {
    /// Whether it has not ended.
    ///
    /// # Panics
    /// When the system does not say.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// Its exit code, once it has ended and no signal has ended it.
    ///
    /// # Panics
    /// When the system does not say.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.child.try_wait().expect("a child can be waited for")?.code()
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Running {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to standard output so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        read(&self.output.path().join("stdout"))
    }

    /// What it wrote to standard error so far, long sentences in one line.
    #[must_use]
    pub fn stderr(&self) -> String {
        // Sentences of the command line are broken between words, and indented as far as its name.
        read(&self.output.path().join("stderr")).replace("\n        ", " ")
    }

    /// Says a line to it, if it is [`Command::listening`].
    ///
    /// # Panics
    /// When it does not listen.
    pub fn tell(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("it was started as one that listens");
        writeln!(input, "{line}").expect("it reads what it is told");
    }

    /// Whether it has not ended.
    ///
    /// # Panics
    /// When the system does not say.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// Sends it SIGINT, as Ctrl-C does.
    pub fn interrupt(&self) {
        signal(self.pid(), Signal::SIGINT);
    }

    /// Sends it a signal.
    pub fn signal(&self, which: Signal) {
        signal(self.pid(), which);
    }

    /// Waits until standard output has `text`.
    ///
    /// # Panics
    /// When it does not come.
    #[track_caller]
    pub fn wait_for_output(&mut self, text: &str) {
        self.wait_for(text, Self::stdout);
    }

    /// Waits until standard error has `text`.
    ///
    /// # Panics
    /// When it does not come.
    #[track_caller]
    pub fn wait_for_error_output(&mut self, text: &str) {
        self.wait_for(text, Self::stderr);
    }

    #[track_caller]
    fn wait_for(&mut self, text: &str, read: impl Fn(&Self) -> String) {
        poll_until(PATIENCE, &format!("`{}` writes {text:?}", self.shown), || {
            let running = self.is_running();
            if read(self).contains(text) {
                return Some(());
            }
            assert!(
                running,
                "`{}` ended without {text:?}: {}{}",
                self.shown,
                self.stdout(),
                self.stderr()
            );
            None
        });
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn wait(mut self) -> Finished {
        let status = poll_until(PATIENCE, &format!("`{}` ends", self.shown), || {
            self.child.try_wait().expect("a child can be waited for")
        });
        Finished { status, stdout: self.stdout(), stderr: self.stderr() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {}\n{}{}", self.shown, self.stdout(), self.stderr());
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn read(path: &PathBuf) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

//! One node: its process, its data, its ports.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Child,
    time::Duration,
};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    command::{Command, Finished},
    http::{self, Answer, HttpError},
    processes::{Process, launchers_below, signal},
    wait::{PATIENCE, poll_until},
};

/// How many lines of a node's log are shown when a test fails.
const LOG_LINES_SHOWN: usize = 120;

/// How a node is started.
#[derive(Debug, Clone)]
pub struct NodeArguments {
    /// Its data directory.
    pub data_dir: PathBuf,
    /// The home of its user, where throwaway keys are.
    pub home: PathBuf,
    /// Where it listens.
    pub address: IpAddr,
    /// The port of HTTP and gossip; that of QUIC is the next.
    pub port: u16,
    /// All flags but those for the data directory and the addresses.
    pub flags: Vec<String>,
    /// What starts the program, such as `ip netns exec NAME`.
    pub wrapper: Vec<String>,
}

impl NodeArguments {
    /// A node on loopback without flags.
    #[must_use]
    pub fn on_loopback(data_dir: PathBuf, home: PathBuf, port: u16) -> Self {
        let address = Ipv4Addr::LOCALHOST.into();
        Self { data_dir, home, address, port, flags: Vec::new(), wrapper: Vec::new() }
    }

    /// Names these seeds in the place of those named before.
    pub fn name_seeds(&mut self, seeds: &[String]) {
        let mut old = std::mem::take(&mut self.flags).into_iter();
        while let Some(flag) = old.next() {
            if flag == "--seed" {
                old.next();
            } else {
                self.flags.push(flag);
            }
        }
        for seed in seeds {
            self.flags.extend(["--seed".to_owned(), seed.clone()]);
        }
    }

    /// The whole command.
    ///
    /// # Panics
    /// When the binary is not built.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut arguments = vec!["node".to_owned()];
        let mut flag = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        flag("--data-dir", self.data_dir.display().to_string());
        flag("--listen", SocketAddr::new(self.address, self.port).to_string());
        flag("--agent-listen", SocketAddr::new(self.address, self.port + 1).to_string());
        arguments.extend(self.flags.iter().cloned());
        Command::wrapped(&self.home, &self.wrapper, arguments)
    }
}

/// A node. Its process is killed when this is dropped; its launcher and tasks are left to the cluster.
#[derive(Debug)]
pub struct Node {
    arguments: NodeArguments,
    log: PathBuf,
    child: Option<Child>,
}

impl Node {
    /// A node that does not run yet; its log is beside its data directory.
    #[must_use]
    pub fn new(arguments: NodeArguments) -> Self {
        let log = arguments.data_dir.with_extension("log");
        Self { arguments, log, child: None }
    }

    /// How it is started; changes hold from the next start on.
    pub fn arguments(&mut self) -> &mut NodeArguments {
        &mut self.arguments
    }

    /// Starts its process.
    ///
    /// # Panics
    /// When it runs already, or cannot be started.
    pub fn start(&mut self) {
        assert!(!self.is_running(), "the node runs already");
        self.child = Some(self.arguments.command().start_logging(&self.log));
    }

    /// Starts it where it must refuse to run, and waits for its end.
    ///
    /// # Panics
    /// When it does not end.
    #[must_use]
    pub fn run_to_end(&self) -> Finished {
        self.arguments.command().run()
    }

    /// Where HTTP and gossip are.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        SocketAddr::new(self.arguments.address, self.arguments.port)
    }

    /// Where QUIC is.
    #[must_use]
    pub fn quic(&self) -> SocketAddr {
        SocketAddr::new(self.arguments.address, self.arguments.port + 1)
    }

    /// Its data directory.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.arguments.data_dir
    }

    /// The home of its user.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.arguments.home
    }

    /// Whether its process has not ended.
    ///
    /// # Panics
    /// When the system does not say.
    pub fn is_running(&mut self) -> bool {
        let ended =
            self.child.as_mut().map(|child| child.try_wait().expect("a child can be waited for"));
        matches!(ended, Some(None))
    }

    /// The process id.
    ///
    /// # Panics
    /// When it was never started.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the node was started").id()
    }

    /// `kill -9`, and waits for the end.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Panics
    /// When it does not end, or not with exit code 0.
    pub fn terminate(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        signal(child.id(), Signal::SIGTERM);
        let status = poll_until(PATIENCE, "a node ends after SIGTERM", || {
            child.try_wait().expect("a child can be waited for")
        });
        assert!(status.success(), "a node ended with {status} after SIGTERM");
    }

    /// The exit code once the process has ended by itself.
    ///
    /// # Panics
    /// When it does not end.
    pub fn wait_for_end(&mut self) -> i32 {
        let child = self.child.as_mut().expect("the node was started");
        let status = poll_until(PATIENCE, "a node ends by itself", || {
            child.try_wait().expect("a child can be waited for")
        });
        self.child = None;
        status.code().unwrap_or(-1)
    }

    /// Its launcher.
    #[must_use]
    pub fn launcher(&self) -> Option<Process> {
        launchers_below(self.data_dir()).first().copied()
    }

    /// Asks `GET path`.
    ///
    /// # Errors
    /// When the node does not answer.
    pub fn get(&self, path: &str) -> Result<Answer, HttpError> {
        http::get(self.http(), path, &self.token())
    }

    /// Sends JSON to `path`.
    ///
    /// # Errors
    /// When the node does not answer.
    pub fn post(&self, path: &str, body: &Value) -> Result<Answer, HttpError> {
        http::post(self.http(), path, &self.token(), body)
    }

    /// What its HTTP asks for: nothing where it is open.
    pub(crate) fn token(&self) -> String {
        let token = fs::read_to_string(self.data_dir().join("http-token"));
        token.map(|token| token.trim().to_owned()).unwrap_or_default()
    }

    /// The JSON at `path`, if the node answers with status 200.
    #[must_use]
    pub fn json(&self, path: &str) -> Option<Value> {
        self.get(path).ok().filter(|answer| answer.status == 200).map(|answer| answer.json())
    }

    /// Its id, from its own lips.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn id(&self) -> String {
        poll_until(PATIENCE, "a node tells its id", || {
            let health = self.get("/health").ok()?.json();
            health["node_id"].as_str().map(str::to_owned)
        })
    }

    /// A command that talks to this node.
    ///
    /// # Panics
    /// When the binary is not built.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        Command::wrapped(self.home(), &[], arguments.iter().map(|argument| (*argument).to_owned()))
            .env("MESHOS_NODE", self.http().to_string())
    }

    /// All that it has logged in all its lives.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until its log has `text`.
    ///
    /// # Panics
    /// When it does not come.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) {
        self.wait_for_log_within(PATIENCE, text);
    }

    /// The same with another limit.
    ///
    /// # Panics
    /// When it does not come.
    #[track_caller]
    pub fn wait_for_log_within(&self, limit: Duration, text: &str) {
        poll_until(limit, &format!("a node logs {text:?}"), || {
            self.log().contains(text).then_some(())
        });
    }

    /// Shows the end of its log; for tests that fail.
    pub(crate) fn show_log(&self) {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let shown = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
        eprintln!(
            "--- the log of {} at {}\n{}",
            self.data_dir().display(),
            self.http(),
            shown.join("\n")
        );
        let launcher = fs::read_to_string(self.data_dir().join("launcher/log")).unwrap_or_default();
        if !launcher.is_empty() {
            eprintln!("--- the log of its launcher\n{launcher}");
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

//! A cluster of one node for a bench: the release binary, in a directory of its own, on free ports.

use std::fs::File;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::release;
use crate::cmd;

/// How long the node may take until it leads.
const READY_LIMIT: Duration = Duration::from_secs(30);

/// How long it may take to end when asked.
const END_LIMIT: Duration = Duration::from_secs(20);

/// A running node; ended, with its launcher, when dropped. Its directory stays.
#[derive(Debug)]
pub struct OneNode {
    binary: PathBuf,
    folder: PathBuf,
    node: Child,
    port: u16,
}

impl OneNode {
    /// Starts the release binary with these isolators; `folder` must not exist.
    ///
    /// # Errors
    /// When it does not compile, or the node does not lead within 30 seconds.
    pub fn start(folder: PathBuf, isolation: &str) -> anyhow::Result<Self> {
        let binary = release::binary()?;
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let port = free_pair()?;
        let log = File::create(folder.join("log")).context("cannot create the node's log")?;
        cmd::run(
            Command::new(&binary)
                .args(["keygen", "--dir"])
                .arg(folder.join("keys"))
                .stdout(Stdio::null()),
        )?;
        let node = Command::new(&binary)
            .args([
                "node",
                "--open-http",
                "--allow-root-tasks",
                "--stop-tasks",
                "--isolation",
                isolation,
            ])
            .args(["--resources", "cpus:64;mem:65536;disk:65536"])
            .arg("--listen")
            .arg(format!("127.0.0.1:{port}"))
            .arg("--agent-listen")
            .arg(format!("127.0.0.1:{}", port + 1))
            .arg("--advertise")
            .arg("127.0.0.1")
            .arg("--keys")
            .arg(folder.join("keys"))
            .arg("--data-dir")
            .arg(folder.join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot start the node")?;
        let started = Self { binary, folder, node, port };
        started.wait_until_it_leads()?;
        Ok(started)
    }

    /// `host:port` of its QUIC port.
    pub fn quic(&self) -> String {
        format!("127.0.0.1:{}", self.port + 1)
    }

    /// The node's process and its launcher's: the roots of all CPU time that tasks cost.
    ///
    /// # Errors
    /// When the launcher cannot be found.
    pub fn processes(&self) -> anyhow::Result<Vec<u32>> {
        let needle = self.folder.join("data").canonicalize()?;
        let launcher = find_launcher(&needle)?.context("the node has no launcher")?;
        Ok(vec![self.node.id(), launcher])
    }

    /// Makes credentials of a framework and returns the file.
    ///
    /// # Errors
    /// When the keys cannot be used.
    pub fn framework_credentials(&self) -> anyhow::Result<PathBuf> {
        let file = self.folder.join("framework.pem");
        cmd::run(
            Command::new(&self.binary)
                .args(["keygen", "framework", "bench", "--dir"])
                .arg(self.folder.join("keys"))
                .arg("--out")
                .arg(&file)
                .stdout(Stdio::null()),
        )?;
        Ok(file)
    }

    fn wait_until_it_leads(&self) -> anyhow::Result<()> {
        let give_up = Instant::now() + READY_LIMIT;
        loop {
            let mut ask = Command::new(&self.binary);
            ask.args(["leader", "--json", "--node"]).arg(format!("127.0.0.1:{}", self.port));
            if cmd::succeeds(ask.stdout(Stdio::null()).stderr(Stdio::null())) {
                return Ok(());
            }
            if Instant::now() > give_up {
                let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                bail!("the node does not lead after {READY_LIMIT:?}; its log:\n{log}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for OneNode {
    fn drop(&mut self) {
        // Asked to end it ends its tasks and its launcher, and removes their cgroups.
        let asked =
            Command::new("kill").arg("-TERM").arg(self.node.id().to_string()).status().is_ok();
        let give_up = Instant::now() + END_LIMIT;
        while asked && Instant::now() < give_up && matches!(self.node.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.node.kill().ok();
        let data = self.folder.join("data").canonicalize().unwrap_or_default();
        if let Ok(Some(launcher)) = find_launcher(&data) {
            cmd::complain(format_args!("the launcher {launcher} has outlived its node"));
            Command::new("kill").arg("-KILL").arg(launcher.to_string()).status().ok();
        }
        self.node.wait().ok();
    }
}

/// The process that runs `launcher` for a data directory.
fn find_launcher(data: &Path) -> anyhow::Result<Option<u32>> {
    for entry in std::fs::read_dir("/proc").context("cannot read /proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words: Vec<_> = line.split(|byte| *byte == 0).collect();
        let of_this_node = |word: &&[u8]| {
            std::str::from_utf8(word).is_ok_and(|word| Path::new(word).starts_with(data))
        };
        if words.get(1) == Some(&b"launcher".as_slice()) && words.iter().any(of_this_node) {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

/// A port P such that P and P + 1 are free for TCP and UDP.
fn free_pair() -> anyhow::Result<u16> {
    for _ in 0..100 {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let Some(next) = port.checked_add(1) else { continue };
        let free = [port, next].into_iter().all(|port| {
            TcpListener::bind(("127.0.0.1", port)).is_ok()
                && UdpSocket::bind(("127.0.0.1", port)).is_ok()
        });
        if free {
            return Ok(port);
        }
    }
    bail!("no two adjacent ports are free on loopback")
}

//! A cluster of the release binary, started as a user starts one: `meshos dev`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

use super::release;
use crate::cmd;

/// Ports that a node of `meshos dev` takes, and those up to the next one's.
const PORTS_PER_NODE: u16 = 10;
/// Longer than any answer of a node on loopback takes.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// A running cluster; it is ended, with all its tasks, when dropped.
#[derive(Debug)]
pub struct DevCluster {
    binary: PathBuf,
    process: Child,
    /// Its standard output: kept open, so that it may write as long as it runs.
    output: BufReader<ChildStdout>,
    base: u16,
    nodes: u16,
}

impl DevCluster {
    /// Starts that many nodes and waits until all are ready.
    ///
    /// # Errors
    /// When the binary does not compile or the cluster does not become ready.
    pub fn start(nodes: u16) -> anyhow::Result<Self> {
        Self::start_with(nodes, &[])
    }

    /// The same with its data in that directory.
    ///
    /// # Errors
    /// As above.
    pub fn start_in(nodes: u16, dir: &Path) -> anyhow::Result<Self> {
        let dir = dir.to_str().context("the directory's name is no text")?;
        Self::start_with(nodes, &["--dir", dir])
    }

    fn start_with(nodes: u16, more: &[&str]) -> anyhow::Result<Self> {
        let binary = release::binary()?;
        let base = free_ports(nodes)?;
        let mut process = Command::new(&binary)
            .args(["dev", "--nodes", &nodes.to_string(), "--base-port", &base.to_string()])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start `meshos dev`")?;
        let output = process.stdout.take().context("the cluster has no output")?;
        let mut cluster = Self { binary, process, output: BufReader::new(output), base, nodes };
        // It gives up by itself when a node does not come up, and says why.
        let mut lines = cluster.output.by_ref().lines();
        let ready = lines.any(|line| line.is_ok_and(|line| line == "ready"));
        anyhow::ensure!(ready, "`meshos dev` ended before it was ready");
        Ok(cluster)
    }

    /// The addresses of all nodes.
    pub fn addresses(&self) -> Vec<String> {
        (0..self.nodes)
            .map(|index| format!("127.0.0.1:{}", self.base + PORTS_PER_NODE * index))
            .collect()
    }

    /// A node that does not lead.
    ///
    /// # Errors
    /// When no leader is known.
    pub fn follower(&self) -> anyhow::Result<String> {
        let mut ask = self.command(&self.addresses()[0]);
        let told: Value = serde_json::from_str(&cmd::capture(ask.args(["leader", "--json"]))?)?;
        let leader = told["address"].as_str().context("the leader has no address")?;
        let other = self.addresses().into_iter().find(|address| address != leader);
        other.context("a cluster of one has no follower")
    }

    /// Whom a node takes for the leader, with the term; none while it knows none or is not there. Answers at once when the
    /// node knows, and waits for a leader otherwise.
    pub fn leader_of(&self, node: &str) -> Option<(String, u64)> {
        let answer = get(node, "/api/leader").ok()?;
        let body = answer.split_once("\r\n\r\n")?.1;
        let told: Value = serde_json::from_str(body).ok()?;
        Some((told["address"].as_str()?.to_owned(), told["term"].as_u64()?))
    }

    /// The processes of the nodes, the leader's first.
    ///
    /// # Errors
    /// When the cluster does not list its nodes.
    pub fn processes(&self) -> anyhow::Result<Vec<u32>> {
        let mut ask = self.command(&self.addresses()[0]);
        let told: Value = serde_json::from_str(&cmd::capture(ask.args(["nodes", "--json"]))?)?;
        let mut rows = told.as_array().context("the nodes are no list")?.clone();
        rows.sort_by_key(|row| row["leader"] != true);
        let pid = |row: &Value| {
            let pid = row["pid"].as_u64().context("a node has no pid")?;
            u32::try_from(pid).context("a pid is too large")
        };
        rows.iter().map(pid).collect()
    }

    /// A command that talks to this node; its subcommand is still to be added.
    pub fn command(&self, node: &str) -> Command {
        let mut command = Command::new(&self.binary);
        command.env("MESHOS_NODE", node).stdin(Stdio::null());
        command
    }

    /// The metric's value on each node.
    ///
    /// # Errors
    /// When a node does not answer, or does not export it.
    pub fn metric(&self, name: &str) -> anyhow::Result<Vec<f64>> {
        let value_on = |address: &String| -> anyhow::Result<f64> {
            let text = get(address, "/metrics")?;
            let row = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            let row = row.with_context(|| format!("{address} exports no {name}"))?;
            Ok(row.trim().parse()?)
        };
        self.addresses().iter().map(value_on).collect()
    }
}

impl Drop for DevCluster {
    fn drop(&mut self) {
        let interrupt =
            Command::new("kill").arg("-INT").arg(self.process.id().to_string()).status();
        if let Err(error) = interrupt.and_then(|_| self.process.wait()) {
            cmd::complain(format_args!("cannot end the cluster: {error}"));
        }
    }
}

/// One GET, without a library: the answers of a node on loopback to a client that closes.
fn get(address: &str, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    anyhow::ensure!(answer.starts_with("HTTP/1.1 200"), "{address} answers {answer:.200}");
    Ok(answer)
}

/// The first of ports that are free for that many nodes.
fn free_ports(nodes: u16) -> anyhow::Result<u16> {
    for _ in 0..100 {
        let base = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let free = (0..nodes).all(|index| {
            [0, 1].into_iter().all(|more| {
                let port = base.checked_add(PORTS_PER_NODE * index + more);
                port.is_some_and(|port| {
                    TcpListener::bind(("127.0.0.1", port)).is_ok()
                        && UdpSocket::bind(("127.0.0.1", port)).is_ok()
                })
            })
        });
        if free {
            return Ok(base);
        }
    }
    bail!("no ports are free for {nodes} nodes on loopback")
}

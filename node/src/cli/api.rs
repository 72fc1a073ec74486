//! Asks a node: over its HTTP API, or over QUIC with an operator's certificate.

mod operator;

use std::{
    io::Read as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::Args;
use reqwest::{Method, StatusCode, header};
use serde_json::Value;

use operator::Operator;

use crate::{
    config::{Places, TOKEN_FILE},
    detect::{Machine as _, ThisMachine},
};

/// The variable with the token itself; a flag would show it to everybody on the machine.
const TOKEN_VARIABLE: &str = "MESHOS_TOKEN";
const TOKEN_BYTES_MAX: u64 = 4_096;
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// A node waits up to a few seconds for a leader before it answers.
const READ_LIMIT: Duration = Duration::from_secs(15);
/// Changes of the voters wait for a log to be copied.
const CHANGE_LIMIT: Duration = Duration::from_secs(90);
/// The longest answer that is read, in bytes: a hundred thousand tasks take less than half of it.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// Nodes that are tried when the first cannot be reached.
const NODES_MAX: usize = 16;

/// Which node a command talks to, and as whom.
#[derive(Debug, Clone, Args)]
pub(super) struct Choice {
    /// The node to ask; any node of the cluster will do
    #[arg(
        long,
        env = "MESHOS_NODE",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:5050",
        hide_env_values = true,
        value_parser = parse_node
    )]
    pub node: String,
    /// The file with the node's token, which lies as http-token in its data directory [default: that
    /// file in the default data directory of a node on this machine; the variable MESHOS_TOKEN, when it
    /// is set, holds the token itself, not the name of a file]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// An operator's certificate, made by `meshos keygen operator`: the node is then asked over
    /// QUIC, at the port after that of --node or at that port itself, and needs no token
    #[arg(
        long,
        env = "MESHOS_CREDENTIALS",
        value_name = "FILE",
        hide_env_values = true,
        conflicts_with = "token_file"
    )]
    pub credentials: Option<PathBuf>,
    /// The data directory of the node on this machine whose token is used
    #[arg(long, env = "MESHOS_DATA_DIR", value_name = "DIR", hide = true)]
    pub data_dir: Option<PathBuf>,
}

fn parse_node(text: &str) -> Result<String, String> {
    let text = text.trim().trim_end_matches('/');
    let bare = text.strip_prefix("http://").unwrap_or(text);
    let valid = bare.rsplit_once(':').is_some_and(|(host, port)| {
        let bracketed = host.starts_with('[') && host.ends_with(']');
        !host.is_empty()
            && !host.contains(['/', '@', ' '])
            && (bracketed || !host.contains(':'))
            && port.parse::<u16>().is_ok_and(|port| port != 0)
    });
    if valid {
        return Ok(bare.to_owned());
    }
    Err("expected HOST:PORT of a node's cluster port, for example 127.0.0.1:5050".to_owned())
}

/// Why a node did not give what was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// There is no node there.
    #[error(
        "cannot reach a node at {node} ({why}); start one with `meshos dev` or `meshos node`, \
         or name another with --node HOST:PORT or MESHOS_NODE"
    )]
    Unreachable {
        /// `host:port`.
        node: String,
        /// What the system said.
        why: String,
    },
    /// It did not finish its answer.
    #[error("node {node} has not answered: {why}")]
    NoAnswer {
        /// `host:port`.
        node: String,
        /// What happened.
        why: String,
    },
    /// It wants to know who asks.
    #[error(
        "node {node} {}; its token lies in the file {TOKEN_FILE} in its data directory: \
         name that file with --token-file, or set MESHOS_TOKEN to what stands in it",
        if *.sent { "refuses the token" } else { "wants a token" }
    )]
    Credentials {
        /// `host:port`.
        node: String,
        /// Whether it was shown one.
        sent: bool,
    },
    /// It says why not.
    #[error("{message}")]
    Refused {
        /// The status of HTTP.
        status: u16,
        /// The node's sentence.
        message: String,
    },
    /// It answered something else than JSON.
    #[error("what answers at {node} is no node of this release: {why}")]
    Malformed {
        /// `host:port`.
        node: String,
        /// What was wrong.
        why: String,
    },
}

impl ApiError {
    /// Whether there is no such thing, or not yet.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// Whether there was such a thing, and will never be again.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Refused { status: 410, .. })
    }

    /// Whether another node may be luckier.
    fn is_of_the_node(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::NoAnswer { .. })
    }
}

/// Asks one node, or another when that one is gone.
#[derive(Debug)]
pub(super) struct Api {
    http: reqwest::Client,
    /// The one that answered last comes first.
    nodes: Mutex<Vec<String>>,
    token: Option<String>,
    /// Asks over QUIC instead.
    operator: Option<Operator>,
}

impl Api {
    /// Asks the node of the command line, as the operator who was named, else with the node's token
    /// where one can be found.
    ///
    /// # Errors
    /// When the certificate or the token that was named cannot be read.
    pub(super) fn new(choice: &Choice) -> Result<Self> {
        let Some(file) = &choice.credentials else {
            return Self::with_token(&choice.node, token(choice)?);
        };
        let operator = Some(Operator::load(file)?);
        Ok(Self { operator, ..Self::with_token(&choice.node, None)? })
    }

    /// Asks this node with this token.
    ///
    /// # Errors
    /// When the system gives no sockets.
    pub(super) fn with_token(node: &str, token: Option<String>) -> Result<Self> {
        let http = reqwest::Client::builder()
            // Nodes are reached directly, whatever the environment says about the web.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_LIMIT)
            .build()
            .context("cannot set up HTTP")?;
        Ok(Self { http, nodes: Mutex::new(vec![node.to_owned()]), token, operator: None })
    }

    /// The nodes that the leader knows, as it lists them; none when they are not told in time.
    pub(super) async fn nodes_within(&self, limit: Duration) -> Vec<Value> {
        match tokio::time::timeout(limit, self.get("/api/nodes")).await {
            Ok(Ok(Value::Array(nodes))) => nodes,
            _ => Vec::new(),
        }
    }

    /// The same, and each of them is tried when the present one is gone.
    pub(super) async fn learn_nodes(&self, limit: Duration) -> Vec<Value> {
        let nodes = self.nodes_within(limit).await;
        self.also(nodes.iter().filter_map(|node| node["address"].as_str()).map(str::to_owned));
        nodes
    }

    /// Tries these nodes too when the present one is gone.
    pub(super) fn also(&self, more: impl IntoIterator<Item = String>) {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        for node in more {
            if nodes.len() < NODES_MAX && !node.is_empty() && !nodes.contains(&node) {
                nodes.push(node);
            }
        }
    }

    /// Reads JSON.
    pub(super) async fn get(&self, path: &str) -> Result<Value, ApiError> {
        let (node, body) = self.read(path).await?;
        parse(&node, &body)
    }

    /// Reads bytes.
    pub(super) async fn bytes(&self, path: &str) -> Result<Vec<u8>, ApiError> {
        self.read(path).await.map(|(_, body)| body)
    }

    /// Changes something. It is asked of one node only, once.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, ApiError> {
        let node = self.node();
        let answer = self.send(&node, Method::POST, path, Some(body)).await?;
        parse(&node, &answer)
    }

    /// `host:port` of the node that is asked first.
    pub(super) fn node(&self) -> String {
        self.known().swap_remove(0)
    }

    fn known(&self) -> Vec<String> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads from the first node that answers.
    async fn read(&self, path: &str) -> Result<(String, Vec<u8>), ApiError> {
        let mut first_error = None;
        for node in self.known() {
            match self.send(&node, Method::GET, path, None).await {
                Ok(body) => {
                    if first_error.is_some() {
                        self.prefer(&node);
                    }
                    return Ok((node, body));
                }
                Err(error) if error.is_of_the_node() => {
                    first_error.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        let none =
            || ApiError::Unreachable { node: String::new(), why: "no node is known".to_owned() };
        Err(first_error.unwrap_or_else(none))
    }

    fn prefer(&self, node: &str) {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = nodes.iter().position(|known| known == node) {
            nodes.swap(0, index);
        }
    }

    /// What a node says of its own health, which it says with an error's status when it is ill.
    pub(super) async fn health(&self) -> Result<Value, ApiError> {
        let node = self.node();
        let (_, body) = self.exchange(&node, Method::GET, "/health", None).await?;
        parse(&node, &body)
    }

    async fn send(
        &self,
        node: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Vec<u8>, ApiError> {
        match self.exchange(node, method, path, body).await? {
            (status, bytes) if status.is_success() => Ok(bytes),
            (StatusCode::UNAUTHORIZED, _) if self.operator.is_none() => {
                Err(ApiError::Credentials { node: node.to_owned(), sent: self.token.is_some() })
            }
            (status, bytes) => Err(refused(status, &bytes)),
        }
    }

    async fn exchange(
        &self,
        node: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Vec<u8>), ApiError> {
        let limit = if method == Method::GET { READ_LIMIT } else { CHANGE_LIMIT };
        if let Some(operator) = &self.operator {
            let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
            let (status, bytes) = operator.ask(node, method.as_str(), path, body, limit).await?;
            return Ok((StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY), bytes));
        }
        let mut request = self.http.request(method, format!("http://{node}{path}")).timeout(limit);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let lost = |error: reqwest::Error| lost(node, &error);
        let mut response = request.send().await.map_err(lost)?;
        let mut bytes = Vec::new();
        while let Some(part) = response.chunk().await.map_err(lost)? {
            if bytes.len() + part.len() > ANSWER_BYTES_MAX {
                let why = format!("the answer is longer than {ANSWER_BYTES_MAX} bytes");
                return Err(ApiError::NoAnswer { node: node.to_owned(), why });
            }
            bytes.extend_from_slice(&part);
        }
        Ok((response.status(), bytes))
    }
}

fn lost(node: &str, error: &reqwest::Error) -> ApiError {
    let node = node.to_owned();
    if error.is_timeout() && !error.is_connect() {
        return ApiError::NoAnswer { node, why: "it took too long".to_owned() };
    }
    // The innermost cause is the system's.
    let mut why = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        why = cause.to_string();
        source = cause.source();
    }
    if error.is_connect() {
        ApiError::Unreachable { node, why }
    } else {
        ApiError::NoAnswer { node, why }
    }
}

fn refused(status: StatusCode, body: &[u8]) -> ApiError {
    let value: Option<Value> = serde_json::from_slice(body).ok();
    let said = value.as_ref().and_then(|value| value.get("error")).and_then(Value::as_str);
    let message = match said {
        Some(message) => message.to_owned(),
        None => format!("the node answered {status}"),
    };
    ApiError::Refused { status: status.as_u16(), message: super::text::plain(&message) }
}

fn parse(node: &str, body: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(body)
        .map_err(|error| ApiError::Malformed { node: node.to_owned(), why: error.to_string() })
}

/// The token to show: the one that was named, else that of the node on this machine.
fn token(choice: &Choice) -> Result<Option<String>> {
    if let Some(file) = &choice.token_file {
        let token = read_token(file);
        let token =
            token.with_context(|| format!("cannot read the token file {}", file.display()))?;
        anyhow::ensure!(!token.is_empty(), "the token file {} is empty", file.display());
        return Ok(Some(token));
    }
    if let Some(token) = std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.trim().is_empty())
    {
        return Ok(Some(token.trim().to_owned()));
    }
    let data_dir = choice.data_dir.clone().or_else(|| Places::of_process().data_dir());
    let file = data_dir.map(|data_dir| data_dir.join(TOKEN_FILE)).filter(|file| file.exists());
    // Another machine's node has another token; ours is not for its eyes.
    let file = file.filter(|_| is_here(&choice.node));
    Ok(file.and_then(|file| read_token(&file).ok()).filter(|token| !token.is_empty()))
}

fn read_token(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(file)?.take(TOKEN_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text.trim().to_owned())
}

fn is_here(node: &str) -> bool {
    let host = node.rsplit_once(':').map_or(node, |(host, _)| host);
    let addresses = ThisMachine.addresses_of(host);
    !addresses.is_empty() && addresses.into_iter().all(|ip| ThisMachine.is_local(ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_a_host_and_a_port() {
        for text in ["127.0.0.1:5050", "a:1", "[::1]:5050"] {
            assert_eq!(parse_node(text).unwrap(), text);
        }
        assert_eq!(parse_node("http://a:5050/").unwrap(), "a:5050");
        for text in ["", "a", ":5050", "a:0", "a:70000", "::1:5050", "a/b:5050", "u@a:5050"] {
            assert!(parse_node(text).unwrap_err().starts_with("expected HOST:PORT"), "{text}");
        }
    }

    #[test]
    fn the_nodes_own_sentence_is_passed_on() {
        let body = br#"{"error":"there is no leader: an election may be under way"}"#;
        let error = refused(StatusCode::SERVICE_UNAVAILABLE, body);
        assert_eq!(error.to_string(), "there is no leader: an election may be under way");
        let error = refused(StatusCode::NOT_FOUND, b"<html>");
        assert_eq!(error.to_string(), "the node answered 404 Not Found");
        assert!(error.is_not_found());
    }

    #[test]
    fn the_token_is_kept_on_this_machine() {
        assert!(is_here("127.0.0.1:5050"));
        assert!(!is_here("192.0.2.1:5050"));
    }

    #[tokio::test]
    async fn a_node_that_is_not_there_is_told_with_what_to_do() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let node = free.local_addr().unwrap().to_string();
        drop(free);
        let error = Api::with_token(&node, None).unwrap().get("/api/nodes").await.unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with(&format!("cannot reach a node at {node} (")), "{text}");
        assert!(text.contains("start one with `meshos dev`"), "{text}");
    }
}

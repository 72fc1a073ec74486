//! A small HTTP client: one request, one answer, the connection closed.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;

/// How long a node may take to answer.
const LIMIT: Duration = Duration::from_secs(30);
/// How long connecting may take: a node that does not run refuses at once.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// What a node answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum HttpError {
    /// The connection failed or ended early.
    Io(io::Error),
    /// What came back is not HTTP.
    Garbled(String),
}

impl From<io::Error> for HttpError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Answer {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }
}

/// Asks `GET path`.
pub(crate) fn get(address: SocketAddr, path: &str, token: &str) -> Result<Answer, HttpError> {
    let head = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n{}\r\n", authorization(token));
    exchange(address, &head, &[])
}

/// Sends a JSON body to `path`.
pub(crate) fn post(
    address: SocketAddr,
    path: &str,
    token: &str,
    body: &Value,
) -> Result<Answer, HttpError> {
    let body = body.to_string();
    let head = format!(
        "POST {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{}\r\n",
        body.len(),
        authorization(token)
    );
    exchange(address, &head, body.as_bytes())
}

fn authorization(token: &str) -> String {
    if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") }
}

/// HTTP/1.0, so that the answer ends with the connection and comes in one piece.
fn exchange(address: SocketAddr, head: &str, body: &[u8]) -> Result<Answer, HttpError> {
    let mut stream = TcpStream::connect_timeout(&address, CONNECT_LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let garbled =
        || HttpError::Garbled(String::from_utf8_lossy(&bytes).chars().take(200).collect());
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(garbled)?;
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| garbled())?;
    let status =
        head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(garbled)?;
    Ok(Answer { status, body: bytes[end + 4..].to_vec() })
}

//! A framework that only listens: subscribed over Mesos's HTTP API of one node, it notes when offers come and keeps them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::Context;

/// Longer than the pause between two heartbeats.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);
const SUBSCRIBE: &str = r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"root","name":"listener","failover_timeout":60}}}"#;
const OFFERS: &[u8] = br#""OFFERS""#;

/// The moments at which offers came.
#[derive(Debug)]
pub struct Listener {
    moments: Receiver<Instant>,
    stream: TcpStream,
}

impl Listener {
    /// Subscribes at a node and waits for the first offers.
    ///
    /// # Errors
    /// When the node does not take it, or offers nothing.
    pub fn start(node: &str) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(node).context("cannot connect to a node")?;
        stream.set_read_timeout(Some(SILENCE_LIMIT))?;
        write!(
            stream,
            "POST /api/v1/scheduler HTTP/1.1\r\nHost: {node}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{SUBSCRIBE}",
            SUBSCRIBE.len()
        )?;
        let (sender, moments) = channel();
        let mut reader = stream.try_clone()?;
        std::thread::spawn(move || {
            let mut bytes = [0; 64 * 1024];
            // The end of what was read, in case that the word is torn.
            let mut tail: Vec<u8> = Vec::new();
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                let now = Instant::now();
                tail.extend_from_slice(&bytes[..count]);
                let found = tail.windows(OFFERS.len()).rposition(|window| window == OFFERS);
                if found.is_some() && sender.send(now).is_err() {
                    return;
                }
                let keep = match found {
                    Some(at) => at + 1,
                    None => tail.len().saturating_sub(OFFERS.len() - 1),
                };
                tail.drain(..keep);
            }
        });
        let listener = Self { moments, stream };
        listener.next(SILENCE_LIMIT).context("nothing was offered at all")?;
        Ok(listener)
    }

    /// When the first offers after `moment` came.
    ///
    /// # Errors
    /// When none do within `limit`.
    pub fn first_after(&self, moment: Instant, limit: Duration) -> anyhow::Result<Instant> {
        loop {
            let offered = self.next(limit).context("nothing was offered again")?;
            if offered > moment {
                return Ok(offered);
            }
        }
    }

    fn next(&self, limit: Duration) -> anyhow::Result<Instant> {
        Ok(self.moments.recv_timeout(limit)?)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Ends the thread that reads; the node may be gone.
        self.stream.shutdown(std::net::Shutdown::Both).ok();
    }
}

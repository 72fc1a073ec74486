//! A framework that only listens: subscribed over Mesos's HTTP API of one node, it notes when offers come and keeps them.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::Context;

/// Longer than the pause between two heartbeats.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);
const SUBSCRIBE: &str = r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"root","name":"listener","failover_timeout":60}}}"#;
/// Longer than the end of an offer's id, `-O<term>.<number>"`.
const ID_BYTES_MAX: usize = 48;

/// An offer's id, as its leader numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct OfferName {
    term: u64,
    number: u64,
}

/// The offers that came, and when.
#[derive(Debug)]
pub struct Listener {
    named: Receiver<(Instant, OfferName)>,
    stream: TcpStream,
}

impl Listener {
    /// Subscribes at a node and waits until so many offers are open.
    ///
    /// # Errors
    /// When the node does not take it, or offers less.
    pub fn start(node: &str, offers: usize) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(node).context("cannot connect to a node")?;
        stream.set_read_timeout(Some(SILENCE_LIMIT))?;
        write!(
            stream,
            "POST /api/v1/scheduler HTTP/1.1\r\nHost: {node}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{SUBSCRIBE}",
            SUBSCRIBE.len()
        )?;
        let (sender, named) = channel();
        let mut reader = stream.try_clone()?;
        std::thread::spawn(move || {
            let mut bytes = [0; 64 * 1024];
            // The end of what was read, in case that a name is torn.
            let mut text: Vec<u8> = Vec::new();
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                let now = Instant::now();
                text.extend_from_slice(&bytes[..count]);
                for name in names(&text) {
                    if sender.send((now, name)).is_err() {
                        return;
                    }
                }
                text.drain(..text.len().saturating_sub(ID_BYTES_MAX));
            }
        });
        let listener = Self { named, stream };
        let mut seen = BTreeSet::new();
        while seen.len() < offers {
            let (_, name) = listener.next(SILENCE_LIMIT).context("too little was offered")?;
            seen.insert(name);
        }
        Ok(listener)
    }

    /// When the first offer of a leader after `term` came.
    ///
    /// # Errors
    /// When none does within `limit`.
    pub fn first_after(&self, term: u64, limit: Duration) -> anyhow::Result<Instant> {
        loop {
            let (at, name) = self.next(limit).context("nothing was offered again")?;
            if name.term > term {
                return Ok(at);
            }
        }
    }

    fn next(&self, limit: Duration) -> anyhow::Result<(Instant, OfferName)> {
        Ok(self.named.recv_timeout(limit)?)
    }
}

/// The whole names of offers in a text.
fn names(text: &[u8]) -> Vec<OfferName> {
    let starts = text.windows(2).enumerate().filter(|(_, window)| window == b"-O");
    let name = |(at, _): (usize, &[u8])| {
        let rest = text.get(at + 2..)?;
        let end = rest.iter().take(ID_BYTES_MAX).position(|byte| *byte == b'"')?;
        let (term, number) = std::str::from_utf8(&rest[..end]).ok()?.split_once('.')?;
        Some(OfferName { term: term.parse().ok()?, number: number.parse().ok()? })
    };
    starts.filter_map(name).collect()
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Ends the thread that reads; the node may be gone.
        self.stream.shutdown(std::net::Shutdown::Both).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_when_they_are_whole() {
        let text =
            br#"{"id":{"value":"c0ffee-O12.7"}},{"value":"c0ffee-O12.8"},"-Ox.1","c0ffee-O13.4"#;
        let expected = [(12, 7), (12, 8)].map(|(term, number)| OfferName { term, number });
        assert_eq!(names(text), expected);
    }
}

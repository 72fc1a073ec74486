//! Writers of a running cluster's registry: each sets the weight of a role of its own, again and again, over one HTTP connection
//! to the leader, and waits for each answer.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::Context;

/// Longer than any write takes.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// No answer to a write is longer.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What they have measured.
#[derive(Debug, Default)]
pub struct Written {
    /// From each call to its answer.
    pub latencies: Vec<Duration>,
    /// How long they wrote.
    pub elapsed: Duration,
}

impl Written {
    /// Adds another slice.
    pub fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.elapsed += other.elapsed;
    }

    /// Writes a second.
    pub fn rate_per_s(&self) -> f64 {
        let count = u32::try_from(self.latencies.len()).unwrap_or(u32::MAX);
        f64::from(count) / self.elapsed.as_secs_f64()
    }
}

/// Lets that many writers write to the node at `address` side by side for `time`.
///
/// # Errors
/// When a write fails.
pub fn write(address: &str, writers: usize, time: Duration) -> anyhow::Result<Written> {
    let ready = Barrier::new(writers);
    let one = |writer: usize| -> anyhow::Result<(Vec<Duration>, Duration)> {
        let connection = Connection::open(address);
        ready.wait();
        let mut connection = connection?;
        let (start, mut latencies) = (Instant::now(), Vec::new());
        while start.elapsed() < time {
            let begin = Instant::now();
            // Another value each time, so that none changes nothing.
            connection.set_weight(writer, latencies.len() % 1_000 + 1)?;
            latencies.push(begin.elapsed());
        }
        Ok((latencies, start.elapsed()))
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        let one = &one;
        let threads: Vec<_> = (0..writers).map(|writer| scope.spawn(move || one(writer))).collect();
        threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
    });
    let mut written = Written::default();
    for result in results {
        let (latencies, elapsed) = result.map_err(|_| anyhow::anyhow!("a writer panicked"))??;
        written.latencies.extend(latencies);
        written.elapsed = written.elapsed.max(elapsed);
    }
    Ok(written)
}

struct Connection {
    address: String,
    stream: BufReader<TcpStream>,
}

impl Connection {
    fn open(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).context("cannot connect to the leader")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        Ok(Self { address: address.to_owned(), stream: BufReader::new(stream) })
    }

    fn set_weight(&mut self, writer: usize, weight: usize) -> anyhow::Result<()> {
        let body = format!("{{\"role\":\"writer-{writer}\",\"weight\":\"{weight}\"}}");
        let call = format!(
            "POST /api/weights/set HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        self.stream.get_mut().write_all(call.as_bytes()).context("cannot write to the leader")?;
        let status = self.line()?;
        let mut length = 0;
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().context("the answer's length is no number")?;
            }
        }
        anyhow::ensure!(length <= ANSWER_BYTES_MAX, "an answer has {length} bytes");
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer).context("an answer ends early")?;
        let answer = String::from_utf8_lossy(&answer);
        anyhow::ensure!(
            status.starts_with("HTTP/1.1 20"),
            "a write is answered: {status} {answer}"
        );
        Ok(())
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        let length = u64::try_from(ANSWER_BYTES_MAX).unwrap_or(u64::MAX);
        self.stream.by_ref().take(length).read_line(&mut line).context("the leader is silent")?;
        anyhow::ensure!(line.ends_with('\n'), "the leader has closed the connection");
        Ok(line.trim_end().to_owned())
    }
}

//! One connection to a launcher: finding it, starting it, greeting it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::Command;
use tokio::time::timeout;

use crate::launcher::protocol::{Call, Message, Request, VERSIONS, Welcome, decode, encode};
use crate::launcher::{LOG_FILE, READY, SOCKET_FILE, through_descriptor};

/// How long a launcher may take from its start to its socket. It waits up to 5 s for the lock of one that was killed.
const START_TIME_MAX: Duration = Duration::from_secs(15);
/// How long a launcher may take to answer a hello.
const HELLO_TIME_MAX: Duration = Duration::from_secs(10);
/// At this size the launcher's log is begun anew.
const LOG_BYTES_MAX: u64 = 1 << 20;
/// How much is read at a time.
const READ_BYTES: usize = 64 * 1024;

/// Where the launcher lives and what it is.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Its own directory.
    pub(crate) directory: PathBuf,
    /// The binary that has the subcommand `launcher`.
    pub(crate) runtime: PathBuf,
    /// How long it stays with nothing to do; none is its own default.
    pub(crate) idle_exit: Option<Duration>,
}

/// A greeted connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) reader: Reader,
    pub(super) writer: OwnedWriteHalf,
    pub(super) welcome: Welcome,
}

/// The receiving side.
#[derive(Debug)]
pub(super) struct Reader {
    half: OwnedReadHalf,
    buffer: Vec<u8>,
    used: usize,
}

impl Reader {
    /// The next message; none at the end of the connection. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> io::Result<Option<Message>> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            self.buffer.drain(..self.used);
            self.used = 0;
            self.buffer.reserve(READ_BYTES);
            if self.half.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// A message that has arrived already.
    pub(super) fn take(&mut self) -> io::Result<Option<Message>> {
        let decoded = decode::<Message>(&self.buffer[self.used..]);
        let decoded = decoded.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        Ok(decoded.map(|(message, length)| {
            self.used += length;
            message
        }))
    }
}

/// Writes several requests at once.
pub(super) async fn write<T: Serialize>(
    writer: &mut OwnedWriteHalf,
    requests: impl IntoIterator<Item = T>,
) -> io::Result<()> {
    let mut bytes = Vec::new();
    for request in requests {
        encode(&request, &mut bytes)?;
    }
    writer.write_all(&bytes).await
}

/// Connects to the launcher of `place`, after starting it when there is none.
pub(super) async fn connect(place: &Place) -> Result<Link, String> {
    let in_directory = |error: io::Error| format!("{:?}: {error}", place.directory);
    DirBuilder::new().recursive(true).mode(0o700).create(&place.directory).map_err(in_directory)?;
    let directory = File::open(&place.directory).map_err(in_directory)?;
    let socket = through_descriptor(&directory, SOCKET_FILE);
    // A launcher that has just been killed, or that just leaves, still takes a connection: then there is no welcome.
    if let Ok(stream) = UnixStream::connect(&socket).await {
        match timeout(HELLO_TIME_MAX, greet(stream)).await {
            Ok(Ok(greeted)) => return greeted,
            Ok(Err(_)) => {}
            Err(_) => return Err(format!("it has not answered for {HELLO_TIME_MAX:?}")),
        }
    }
    start(place).await?;
    let stream = UnixStream::connect(&socket).await.map_err(|error| format!("connect: {error}"))?;
    match timeout(HELLO_TIME_MAX, greet(stream)).await {
        Ok(greeted) => greeted.map_err(|error| format!("it has hung up: {error}"))?,
        Err(_) => Err(format!("it has not answered for {HELLO_TIME_MAX:?}")),
    }
}

/// Says hello. The outer error is that of the connection, the inner one the launcher's refusal.
async fn greet(stream: UnixStream) -> io::Result<Result<Link, String>> {
    let (half, mut writer) = stream.into_split();
    let mut reader = Reader { half, buffer: Vec::new(), used: 0 };
    let hello = Request { id: 0, call: Call::Hello { versions: VERSIONS.to_vec() } };
    write(&mut writer, [hello]).await?;
    loop {
        match reader.next().await? {
            Some(Message::Welcome(welcome)) => return Ok(Ok(Link { reader, writer, welcome })),
            Some(Message::Refused { reason }) => return Ok(Err(reason)),
            Some(_) => {}
            None => return Err(ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Starts a launcher and waits until its socket is there, or until it has found that another launcher is.
async fn start(place: &Place) -> Result<(), String> {
    let log =
        open_log(&place.directory.join(LOG_FILE)).map_err(|error| format!("its log: {error}"))?;
    let mut command = Command::new(&place.runtime);
    command.arg("launcher").arg("--dir").arg(&place.directory).current_dir("/").env_clear();
    if let Some(idle_exit) = place.idle_exit {
        command.arg("--idle-exit-ms").arg(idle_exit.as_millis().to_string());
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    let child = command.spawn();
    let mut child =
        child.map_err(|error| format!("could not execute {:?}: {error}", place.runtime))?;
    let mut ready = [0; READY.len()];
    let mut output = child.stdout.take().ok_or("it has no standard output")?;
    let read = timeout(START_TIME_MAX, output.read_exact(&mut ready)).await;
    match read {
        Ok(Ok(_)) if ready == READY => Ok(()),
        Err(_) => Err(format!("it was not ready within {START_TIME_MAX:?}; {}", see_log(place))),
        Ok(_) => match child.wait().await {
            // Another launcher has the lock: it is the one to connect to.
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("it ended at its start ({status}); {}", see_log(place))),
            Err(error) => Err(format!("it could not be waited for: {error}")),
        },
    }
    // The child is let go: it leads a session of its own, and the runtime waits for it when it ends.
}

fn see_log(place: &Place) -> String {
    format!("see {:?}", place.directory.join(LOG_FILE))
}

fn open_log(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let log = options.create(true).append(true).mode(0o600).open(path)?;
    if log.metadata()?.len() > LOG_BYTES_MAX {
        log.set_len(0)?;
    }
    Ok(log)
}

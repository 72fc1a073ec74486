//! The same frames over a local stream: a unix socket between an agent and an executor.

use std::{
    fs::File,
    io,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
};

use bytes::BytesMut;
use meshos_protocol::codec;
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    net::UnixStream,
};

use super::{WireError, frame::take_frame};

/// How much one read may bring.
const READ_BYTES: usize = 64 << 10;

/// Reads frames from a local stream. Cancel-safe: what has arrived is kept for the next call.
#[derive(Debug)]
pub struct LocalReader<R> {
    half: R,
    buffer: BytesMut,
    bytes_max: usize,
}

impl<R: AsyncRead + Unpin> LocalReader<R> {
    /// Reads frames of at most `bytes_max`.
    pub fn new(half: R, bytes_max: usize) -> Self {
        Self { half, buffer: BytesMut::new(), bytes_max }
    }

    /// From now on frames may have so many bytes.
    pub fn limit_frames(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    /// The next frame; none when the peer has closed the stream between two frames.
    ///
    /// # Errors
    /// When the stream is broken, or the bytes are not a frame with a `T`.
    pub async fn read<T: DeserializeOwned>(&mut self) -> Result<Option<T>, WireError> {
        loop {
            if let Some(body) = take_frame(&mut self.buffer, self.bytes_max)? {
                return Ok(Some(codec::decode(&body)?));
            }
            self.buffer.reserve(READ_BYTES);
            let read = self.half.read_buf(&mut self.buffer).await;
            match read.map_err(|error| WireError::Lost(error.to_string()))? {
                0 if self.buffer.is_empty() => return Ok(None),
                0 => return Err(WireError::Lost("the stream ended within a frame".into())),
                _ => {}
            }
        }
    }
}

/// A path to a socket that is short enough for the system whatever the length of `path` is: it goes
/// through a descriptor of the directory, which must stay open as long as the path is used.
///
/// # Errors
/// When the directory cannot be opened.
pub fn short_path(path: &Path) -> io::Result<(File, PathBuf)> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"));
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let directory = File::open(parent)?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
    Ok((directory, short))
}

/// Connects to a unix socket.
///
/// # Errors
/// When nobody listens there.
pub async fn connect_local(path: &Path) -> io::Result<UnixStream> {
    let (_directory, short) = short_path(path)?;
    UnixStream::connect(short).await
}

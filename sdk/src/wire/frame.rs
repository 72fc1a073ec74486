//! Length-prefixed MessagePack over one QUIC stream.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use bytes::{Buf, Bytes, BytesMut};
use meshos_protocol::codec::{self, FRAME_BYTES_MAX};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{Notify, mpsc};

use super::WireError;

const LENGTH_BYTES: usize = 4;
/// The largest frame before both sides have agreed on what a stream is for, and the largest that a
/// peer without a certificate may send at all.
pub const OPENING_BYTES_MAX: usize = 16 << 10;
/// What a frame that waits takes beside its bytes.
const FRAME_COST: usize = 64;
/// How much one read from the stream may bring.
const READ_BYTES_MAX: usize = 256 << 10;

/// The value as a frame: its length (four bytes, big-endian) and its MessagePack.
///
/// # Errors
/// When the value is larger than a frame may be.
pub fn frame<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, WireError> {
    let body = codec::encode(value);
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= FRAME_BYTES_MAX);
    let Some(length) = length else {
        let size = body.len();
        return Err(WireError::Protocol(format!(
            "a message of {size} bytes exceeds the limit of {FRAME_BYTES_MAX} bytes for a frame"
        )));
    };
    let mut bytes = Vec::with_capacity(LENGTH_BYTES + body.len());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&body);
    Ok(bytes.into())
}

/// Reads frames. Cancel-safe: what has arrived is kept for the next call.
#[derive(Debug)]
pub struct FrameReader {
    stream: quinn::RecvStream,
    buffer: BytesMut,
    bytes_max: usize,
}

impl FrameReader {
    /// Reads from `stream` frames of at most [`OPENING_BYTES_MAX`].
    pub fn new(stream: quinn::RecvStream) -> Self {
        Self { stream, buffer: BytesMut::new(), bytes_max: OPENING_BYTES_MAX }
    }

    /// From now on frames may have so many bytes; never more than any frame may have.
    pub fn limit_frames(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max.min(FRAME_BYTES_MAX);
    }

    /// The next frame; none when the peer has finished the stream between two frames.
    ///
    /// # Errors
    /// When the connection is lost, or the bytes are not a frame with a `T`.
    pub async fn read<T: DeserializeOwned>(&mut self) -> Result<Option<T>, WireError> {
        loop {
            if let Some(body) = self.take_frame()? {
                return Ok(Some(codec::decode(&body)?));
            }
            let chunk = self
                .stream
                .read_chunk(READ_BYTES_MAX, true)
                .await
                .map_err(|error| WireError::Lost(error.to_string()))?;
            match chunk {
                Some(chunk) => self.buffer.extend_from_slice(&chunk.bytes),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(WireError::Lost("the stream ended within a frame".into())),
            }
        }
    }

    /// A frame that is already here, without waiting.
    ///
    /// # Errors
    /// When the bytes are not a frame with a `T`.
    pub fn read_buffered<T: DeserializeOwned>(&mut self) -> Result<Option<T>, WireError> {
        match self.take_frame()? {
            Some(body) => Ok(Some(codec::decode(&body)?)),
            None => Ok(None),
        }
    }

    fn take_frame(&mut self) -> Result<Option<BytesMut>, WireError> {
        take_frame(&mut self.buffer, self.bytes_max)
    }
}

/// Takes the first frame out of what has arrived, once it is whole.
pub(super) fn take_frame(
    buffer: &mut BytesMut,
    bytes_max: usize,
) -> Result<Option<BytesMut>, WireError> {
    let Some(prefix) = buffer.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
    if length > bytes_max {
        return Err(WireError::Protocol(format!(
            "a frame of {length} bytes is announced, the limit is {bytes_max} bytes"
        )));
    }
    if buffer.len() < LENGTH_BYTES + length {
        return Ok(None);
    }
    buffer.advance(LENGTH_BYTES);
    Ok(Some(buffer.split_to(length)))
}

/// Bounds of one stream's outgoing queue.
#[derive(Debug, Clone, Copy)]
pub struct WriterOptions {
    /// Frames that may wait; a peer that is slower is cut off.
    pub frames_max: usize,
    /// Bytes that may wait, with what their frames take beside them.
    pub bytes_max: usize,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self { frames_max: 4_096, bytes_max: 4 * FRAME_BYTES_MAX }
    }
}

/// Sends frames without waiting. Clones share one stream; it is finished when the last is dropped.
#[derive(Debug, Clone)]
pub struct FrameSender {
    queue: mpsc::Sender<Bytes>,
    waiting: Arc<Waiting>,
    bytes_max: usize,
}

/// What waits in a queue.
#[derive(Debug, Default)]
struct Waiting {
    bytes: AtomicUsize,
    /// Bytes that have gone out so far.
    written: AtomicU64,
    /// Told whenever some of it has gone.
    gone: Notify,
}

fn cost(frame: &Bytes) -> usize {
    frame.len() + FRAME_COST
}

impl FrameSender {
    /// Queues the value.
    ///
    /// # Errors
    /// When the stream is broken, the queue is full, or the value is too large. After a full queue
    /// the stream has a gap and must be given up.
    pub fn send<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), WireError> {
        self.send_frame(frame(value)?)
    }

    /// Queues a frame made by [`frame`].
    ///
    /// # Errors
    /// As [`FrameSender::send`].
    pub fn send_frame(&self, bytes: Bytes) -> Result<(), WireError> {
        let size = cost(&bytes);
        if self.waiting.bytes.fetch_add(size, Ordering::Relaxed) + size > self.bytes_max {
            self.waiting.bytes.fetch_sub(size, Ordering::Relaxed);
            return Err(WireError::Full(self.waiting_frames()));
        }
        self.queue.try_send(bytes).map_err(|error| {
            self.waiting.bytes.fetch_sub(size, Ordering::Relaxed);
            match error {
                mpsc::error::TrySendError::Full(_) => WireError::Full(self.waiting_frames()),
                mpsc::error::TrySendError::Closed(_) => {
                    WireError::Lost("the stream is closed".into())
                }
            }
        })
    }

    /// Whether the stream is broken.
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Bytes that the connection has taken so far: it takes more as the peer reads.
    pub fn bytes_written(&self) -> u64 {
        self.waiting.written.load(Ordering::Relaxed)
    }

    /// Ends when the stream is broken: the peer is gone, or reads no more. Cancel-safe.
    pub async fn closed(&self) {
        self.queue.closed().await;
    }

    /// Whether at most half of what may wait does; also when the stream is broken, which the next frame
    /// finds out.
    pub fn has_room(&self) -> bool {
        self.is_closed()
            || self.waiting.bytes.load(Ordering::Relaxed) <= self.bytes_max / 2
                && self.waiting_frames() <= self.queue.max_capacity() / 2
    }

    /// Ends when there is room, see [`FrameSender::has_room`]. Cancel-safe.
    pub async fn room(&self) {
        loop {
            let mut gone = std::pin::pin!(self.waiting.gone.notified());
            // From here on nothing that goes is missed.
            gone.as_mut().enable();
            if self.has_room() {
                return;
            }
            gone.await;
        }
    }

    fn waiting_frames(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }
}

/// Starts the task that writes to `stream`; frames that wait together go out in one write.
pub fn spawn_writer(stream: quinn::SendStream, options: WriterOptions) -> FrameSender {
    let (queue, receiver) = mpsc::channel(options.frames_max);
    let waiting = Arc::<Waiting>::default();
    let sender = FrameSender { queue, waiting: Arc::clone(&waiting), bytes_max: options.bytes_max };
    tokio::spawn(async move {
        write_frames(stream, receiver, &waiting).await;
        // The queue is closed now, which whoever waits for room is to see.
        waiting.gone.notify_waiters();
    });
    sender
}

async fn write_frames(
    mut stream: quinn::SendStream,
    mut queue: mpsc::Receiver<Bytes>,
    waiting: &Waiting,
) {
    const BATCH_FRAMES: usize = 256;
    let mut batch = Vec::with_capacity(BATCH_FRAMES);
    // Whoever has nothing to say finds out too that nobody listens any more.
    let mut stopped = std::pin::pin!(stream.stopped());
    loop {
        let frames = tokio::select! {
            biased;
            frames = queue.recv_many(&mut batch, BATCH_FRAMES) => frames,
            _ = stopped.as_mut() => return,
        };
        if frames == 0 {
            break;
        }
        let size: usize = batch.iter().map(cost).sum();
        let written = write_batch(&mut stream, &mut batch, waiting).await;
        waiting.bytes.fetch_sub(size, Ordering::Relaxed);
        waiting.gone.notify_waiters();
        batch.clear();
        if let Err(error) = written {
            tracing::debug!(%error, "stream writer stopped");
            return;
        }
    }
    if let Err(error) = stream.finish() {
        tracing::debug!(%error, "stream was closed before it was finished");
    }
}

/// Counts as it goes: a large frame may take a while.
async fn write_batch(
    stream: &mut quinn::SendStream,
    mut batch: &mut [Bytes],
    waiting: &Waiting,
) -> Result<(), quinn::WriteError> {
    while !batch.is_empty() {
        let written = stream.write_chunks(batch).await?;
        let bytes = u64::try_from(written.bytes).unwrap_or(u64::MAX);
        waiting.written.fetch_add(bytes, Ordering::Relaxed);
        batch = &mut batch[written.chunks..];
    }
    Ok(())
}

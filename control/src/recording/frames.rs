//! What stands in a recording, and how it is read.

use std::io::{self, Read as _};

use meshos_protocol::{
    codec::{self, DecodeError},
    ids::{Fence, NodeId},
    messages::agent::TaskHint,
    time::Now,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::{
    framing::LENGTH_BYTES,
    master::{Event, MasterConfig},
    registry::SnapshotError,
};

/// The format of recordings that this release writes and reads.
pub(super) const VERSION: u32 = 1;
/// The largest frame: an event may hold a whole message, which may be longer here than it was on the
/// wire, since its fields are written by name.
pub(super) const FRAME_BYTES_MAX: usize = 8 * codec::FRAME_BYTES_MAX;
/// The registry is cut into pieces of this size.
pub(super) const PIECE_BYTES: usize = 4 << 20;

/// One frame.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Record {
    /// The first: it is read by every release, so nothing is ever added to it.
    Format(Format),
    Start(Box<Start>),
    /// A piece of the registry's snapshot; as many as it takes.
    Registry(ByteBuf),
    Hint(Box<TaskHint>),
    /// From here on there are steps only.
    Begun,
    Step(Box<Step>),
    /// No more was recorded, for want of room.
    Full,
}

/// In which format a recording is, and who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Format {
    pub(super) version: u32,
    pub(super) release: String,
}

/// What a master was made from, but for the registry and the hints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// The release that led.
    pub release: String,
    /// The master's fence: its cluster and term.
    pub fence: Fence,
    /// The node that led.
    pub node: NodeId,
    /// When it was made.
    pub now: Now,
    /// What decides between equals.
    pub seed: u64,
    /// The master's settings.
    pub config: MasterConfig,
}

/// One event that a master was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When.
    pub now: Now,
    /// What.
    pub event: Event,
    /// Of the effects that it led to.
    pub fingerprint: u64,
}

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("it is no recording of a leader's events: it does not begin like one")]
    Foreign,
    /// It was written in another format.
    #[error(
        "it has format {version} and this release reads format {VERSION}: play it with release {release}, which wrote it"
    )]
    Version {
        /// Its format.
        version: u32,
        /// The release that wrote it.
        release: String,
    },
    /// It ends before the first step: the master was never told anything, or the file is cut off.
    #[error("it is cut off before its first event")]
    CutOff,
    /// A frame cannot be read.
    #[error("frame {position} cannot be read: {source}")]
    Frame {
        /// Counts from 0, the start.
        position: u64,
        /// What the decoder found.
        source: DecodeError,
    },
    /// The registry in it cannot be read.
    #[error("the registry in it cannot be read: {0}")]
    Registry(#[from] SnapshotError),
    /// A frame stands where none of its kind may be.
    #[error("frame {position} is not where it belongs")]
    Misplaced {
        /// Counts from 0, the start.
        position: u64,
    },
}

/// Reads frames one after the other.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    position: u64,
}

impl<R: io::Read> Reader<R> {
    /// Reads from the beginning of a recording.
    pub fn new(from: R) -> Self {
        Self { from, position: 0 }
    }

    /// How many frames were read.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// The next frame; nothing at the end, also when the last frame is cut off.
    pub(super) fn take(&mut self) -> Result<Option<Record>, ReadError> {
        let mut length = [0; LENGTH_BYTES];
        if !self.fill(&mut length)? {
            return Ok(None);
        }
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > FRAME_BYTES_MAX {
            let source = DecodeError::TooLong { bytes: length, limit: FRAME_BYTES_MAX };
            return Err(self.unreadable(source));
        }
        let mut frame = Vec::new();
        let most = u64::try_from(length).unwrap_or(u64::MAX);
        if (&mut self.from).take(most).read_to_end(&mut frame)? < length {
            return Ok(None);
        }
        let record = codec::decode_within(&frame, FRAME_BYTES_MAX);
        let record = record.map_err(|source| self.unreadable(source))?;
        self.position += 1;
        Ok(Some(record))
    }

    /// What is wrong with the present frame. Only the first tells that this is something else.
    fn unreadable(&self, source: DecodeError) -> ReadError {
        match self.position {
            0 => ReadError::Foreign,
            position => ReadError::Frame { position, source },
        }
    }

    /// False when there is not so much any more.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<bool, ReadError> {
        match self.from.read_exact(buffer) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

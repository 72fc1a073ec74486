//! Bytes to frames.

use super::{ARE_YOU_OK, FRAME_BYTES_MAX};

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Sent {
    /// A frame, without its length.
    Frame(Vec<u8>),
    /// The word [`ARE_YOU_OK`] in the place of the first frame.
    AreYouOk,
}

/// A frame of more bytes than any client needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {0} bytes: those of a client have at most {FRAME_BYTES_MAX}")]
pub struct TooLong(pub u32);

/// Collects the bytes of one client.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    began: bool,
}

impl Frames {
    /// Adds what arrived. At most a frame and one such part are kept, when all frames are taken before more is added.
    pub fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next frame that is whole.
    ///
    /// # Errors
    /// When its length is out of bounds; nothing after it can be read.
    pub fn take(&mut self) -> Result<Option<Sent>, TooLong> {
        let Some((head, rest)) = self.bytes.split_first_chunk::<4>() else { return Ok(None) };
        if !self.began && *head == ARE_YOU_OK {
            self.bytes.clear();
            self.began = true;
            return Ok(Some(Sent::AreYouOk));
        }
        let announced = u32::from_be_bytes(*head);
        let length = usize::try_from(announced).unwrap_or(usize::MAX);
        if length > FRAME_BYTES_MAX {
            return Err(TooLong(announced));
        }
        if rest.len() < length {
            return Ok(None);
        }
        self.began = true;
        let frame = rest[..length].to_vec();
        self.bytes.drain(..4 + length);
        Ok(Some(Sent::Frame(frame)))
    }
}

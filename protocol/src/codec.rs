//! MessagePack with limits: the only way in and out for bytes.
//!
//! Fields travel by name, so that nodes one release apart understand each other: unknown fields are
//! skipped, new ones have defaults, and enums that may grow carry an `Unknown` variant. Bytes that
//! arrive are untrusted: size and depth are bounded and trailing bytes are refused.

use serde::{Serialize, de::DeserializeOwned};

/// The version of the wire that this build speaks.
pub const WIRE_VERSION: u32 = 1;
/// The oldest version that this build still understands.
pub const WIRE_VERSION_MIN: u32 = 1;
/// The largest frame on a stream of any class.
pub const FRAME_BYTES_MAX: usize = 16 << 20;
/// How deep values may nest.
pub const DEPTH_MAX: usize = 64;

/// Why bytes are not a message.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// More bytes than any message may have.
    #[error("message of {bytes} bytes exceeds the limit of {limit} bytes")]
    TooLong {
        /// As received.
        bytes: usize,
        /// The most allowed.
        limit: usize,
    },
    /// Not the expected shape, or nested too deep.
    #[error("message is not a valid {what}: {why}")]
    Malformed {
        /// The type that was expected.
        what: &'static str,
        /// What the decoder found.
        why: String,
    },
    /// Something follows the value.
    #[error("{extra} bytes follow the end of the {what}")]
    Trailing {
        /// The type that was decoded.
        what: &'static str,
        /// How many bytes are left.
        extra: usize,
    },
}

/// The value as MessagePack with named fields.
///
/// # Panics
/// Never for the types of this crate: they have no maps with keys that MessagePack cannot hold and
/// no serialiser that fails.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    rmp_serde::to_vec_named(value).expect("messages are plain data that always serialises")
}

/// Reads one value that fills `bytes` wholly.
///
/// # Errors
/// When the bytes are too many, nested too deep, not a `T`, or followed by others.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    if bytes.len() > FRAME_BYTES_MAX {
        return Err(DecodeError::TooLong { bytes: bytes.len(), limit: FRAME_BYTES_MAX });
    }
    let what = short_type_name::<T>();
    let mut rest = bytes;
    let mut decoder = rmp_serde::Deserializer::new(&mut rest);
    decoder.set_max_depth(DEPTH_MAX);
    let value = T::deserialize(&mut decoder)
        .map_err(|error| DecodeError::Malformed { what, why: error.to_string() })?;
    match rest.len() {
        0 => Ok(value),
        extra => Err(DecodeError::Trailing { what, extra }),
    }
}

fn short_type_name<T>() -> &'static str {
    let full = std::any::type_name::<T>();
    full.rsplit("::").next().unwrap_or(full)
}

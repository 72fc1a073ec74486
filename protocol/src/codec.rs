//! MessagePack with limits: the only way in and out for bytes.
//!
//! Fields travel by name, so that nodes one release apart understand each other: unknown fields are
//! skipped, new ones have defaults, and enums that may grow carry an `Unknown` variant. Bytes that
//! arrive are untrusted: size and depth are bounded and trailing bytes are refused.

use std::io;

use serde::{Serialize, de::DeserializeOwned};

/// The version of the wire that this build speaks.
pub const WIRE_VERSION: u32 = 1;
/// The oldest version that this build still understands.
pub const WIRE_VERSION_MIN: u32 = 1;
/// The largest frame on a stream of any class.
pub const FRAME_BYTES_MAX: usize = 16 << 20;
/// How deep values may nest.
pub const DEPTH_MAX: usize = 64;

const SERIALISES: &str = "messages are plain data that always serialises";

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
    rmp_serde::to_vec_named(value).expect(SERIALISES)
}

/// The same behind what `bytes` holds already.
///
/// # Panics
/// When nothing can be written there, which memory always allows.
pub fn encode_into<T: Serialize + ?Sized>(value: &T, bytes: impl io::Write) {
    value.serialize(&mut rmp_serde::Serializer::new(bytes).with_struct_map()).expect(SERIALISES);
}

/// Reads one value that fills `bytes` wholly.
///
/// # Errors
/// When the bytes are too many, nested too deep, not a `T`, or followed by others.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    decode_within(bytes, FRAME_BYTES_MAX)
}

/// The same with another limit than that of frames, for what holds frames.
///
/// # Errors
/// As [`decode`].
pub fn decode_within<T: DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T, DecodeError> {
    if bytes.len() > limit {
        return Err(DecodeError::TooLong { bytes: bytes.len(), limit });
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

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::ids::{ClusterId, Fence, Term};

    /// A value that may hold others of its kind.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Nest(Vec<Nest>);

    fn nest(depth: usize) -> Nest {
        (1..depth).fold(Nest(Vec::new()), |inner, _| Nest(vec![inner]))
    }

    fn fence() -> Fence {
        Fence { cluster: ClusterId::from_u128(1), term: Term(7) }
    }

    #[test]
    fn a_value_is_read_as_it_was_written() {
        assert_eq!(decode::<Fence>(&encode(&fence())).ok(), Some(fence()));
    }

    #[test]
    fn values_nest_only_so_deep() {
        // Each level costs two: the list, and the type around it.
        let deepest =
            (1..=DEPTH_MAX).rev().find(|depth| decode::<Nest>(&encode(&nest(*depth))).is_ok());
        let deepest = deepest.expect("some depth is allowed");
        assert!((DEPTH_MAX / 2 - 1..=DEPTH_MAX).contains(&deepest), "{deepest}");
        for depth in [deepest + 1, 10_000] {
            let bytes: Vec<u8> = [vec![0x91; depth], vec![0x90]].concat();
            let error = decode::<Nest>(&bytes).unwrap_err();
            assert!(matches!(error, DecodeError::Malformed { what: "Nest", .. }), "{error}");
            assert!(error.to_string().contains("depth"), "{error}");
        }
    }

    #[test]
    fn more_bytes_than_a_frame_may_have_are_not_even_looked_at() {
        let blob = |bytes: usize| encode(serde_bytes::Bytes::new(&vec![0; bytes]));
        let head = blob(1 << 20).len() - (1 << 20);
        let largest = blob(FRAME_BYTES_MAX - head);
        assert_eq!(largest.len(), FRAME_BYTES_MAX);
        assert!(decode::<serde_bytes::ByteBuf>(&largest).is_ok());
        let error = decode::<serde_bytes::ByteBuf>(&blob(FRAME_BYTES_MAX)).unwrap_err();
        let expected = format!(
            "message of {} bytes exceeds the limit of {FRAME_BYTES_MAX} bytes",
            FRAME_BYTES_MAX + head
        );
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_length_that_is_only_claimed_costs_no_memory() {
        // A list, a text and bytes of four gigabytes each, of which nothing follows.
        for head in [0xdd, 0xdb, 0xc6] {
            let bytes = [head, 0xff, 0xff, 0xff, 0xff];
            assert!(decode::<Vec<u64>>(&bytes).is_err());
            assert!(decode::<String>(&bytes).is_err());
            assert!(decode::<serde_bytes::ByteBuf>(&bytes).is_err());
        }
    }

    #[test]
    fn what_follows_a_value_is_refused() {
        let mut bytes = encode(&fence());
        bytes.extend([0xc0, 0xc0]);
        let error = decode::<Fence>(&bytes).unwrap_err();
        assert_eq!(error.to_string(), "2 bytes follow the end of the Fence");
        bytes.truncate(bytes.len() - 3);
        let error = decode::<Fence>(&bytes).unwrap_err();
        assert!(error.to_string().starts_with("message is not a valid Fence: "), "{error}");
    }
}

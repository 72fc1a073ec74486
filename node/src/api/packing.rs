//! Bodies that are compressed with gzip.

use std::io::{self, Read as _, Write as _};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};

/// Compresses a body: fast rather than small.
pub(crate) fn pack(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 8), Compression::fast());
    encoder.write_all(body)?;
    encoder.finish()
}

/// The body again.
///
/// # Errors
/// When it is not compressed, or longer than `max`.
pub(crate) fn unpack(packed: &[u8], max: usize) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    GzDecoder::new(packed).take(limit).read_to_end(&mut body)?;
    if body.len() > max {
        return Err(io::Error::other(format!("the answer has more than {max} bytes")));
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_back_and_no_more_than_is_allowed() {
        let body = b"{\"tasks\":[]}".repeat(1_000);
        let packed = pack(&body).unwrap();
        assert!(packed.len() < body.len() / 20, "{}", packed.len());
        assert_eq!(unpack(&packed, body.len()).unwrap(), body);
        assert!(unpack(&packed, body.len() - 1).is_err());
        assert!(unpack(b"{}", 10).is_err());
    }
}

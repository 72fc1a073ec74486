//! RecordIO, in which Mesos sends streams: the length of a record in bytes, as decimal digits, a line
//! feed, and the record.

/// The most digits of a length.
const DIGITS_MAX: usize = 20;

/// A record with its length in front.
#[must_use]
pub fn encode(record: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{}\n", record.len()).into_bytes();
    bytes.extend_from_slice(record);
    bytes
}

/// Why bytes are not RecordIO.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// No length.
    #[error("a record must begin with its length in decimal digits and a line feed")]
    Length,
    /// Longer than is taken.
    #[error("a record of {bytes} bytes is longer than {limit} bytes")]
    TooLong {
        /// As announced.
        bytes: usize,
        /// The most that is taken.
        limit: usize,
    },
}

/// Puts records together again from whatever parts they arrive in.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    buffer: Vec<u8>,
    /// The length of the record at the front of the buffer, once its line is read.
    length: Option<usize>,
}

impl Decoder {
    /// Takes records of at most so many bytes.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { limit, buffer: Vec::new(), length: None }
    }

    /// Takes more bytes. Whoever adds takes the records out before adding more: the buffer then holds
    /// at most one record that is not complete, and what was added last.
    pub fn add(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next record, if it is complete.
    ///
    /// # Errors
    /// When the bytes are not RecordIO; nothing that follows can be read.
    pub fn take(&mut self) -> Result<Option<Vec<u8>>, RecordError> {
        let length = match self.length {
            Some(length) => length,
            None => match self.read_length()? {
                Some(length) => length,
                None => return Ok(None),
            },
        };
        self.length = Some(length);
        if self.buffer.len() < length {
            return Ok(None);
        }
        self.length = None;
        let rest = self.buffer.split_off(length);
        Ok(Some(std::mem::replace(&mut self.buffer, rest)))
    }

    fn read_length(&mut self) -> Result<Option<usize>, RecordError> {
        let within = &self.buffer[..self.buffer.len().min(DIGITS_MAX + 1)];
        let end = within.iter().position(|byte| *byte == b'\n');
        let digits = &within[..end.unwrap_or(within.len())];
        if !digits.iter().all(u8::is_ascii_digit) || (end.is_none() && within.len() > DIGITS_MAX) {
            return Err(RecordError::Length);
        }
        let Some(end) = end else { return Ok(None) };
        let length = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        let bytes: usize = length.ok_or(RecordError::Length)?;
        if bytes > self.limit {
            return Err(RecordError::TooLong { bytes, limit: self.limit });
        }
        self.buffer.drain(..=end);
        Ok(Some(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_whatever_parts_they_arrive_in() {
        let records: [&[u8]; 4] = [b"{\"type\":\"HEARTBEAT\"}", b"", b"5\nhello", "ü".as_bytes()];
        let bytes: Vec<u8> = records.iter().flat_map(|record| encode(record)).collect();
        assert!(bytes.starts_with(b"20\n{\"type\":\"HEARTBEAT\"}0\n7\n5\nhello2\n"));
        for part in 1..bytes.len() {
            let (mut decoder, mut read) = (Decoder::new(64), Vec::new());
            for part in bytes.chunks(part) {
                decoder.add(part);
                while let Some(record) = decoder.take().unwrap() {
                    read.push(record);
                }
            }
            assert_eq!(read, records);
        }
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for bytes in ["x", "\n", "-1\n", "1 \n", "+1\n", &"1".repeat(21), "99999999999999999999\n"]
        {
            let mut decoder = Decoder::new(64);
            decoder.add(bytes.as_bytes());
            assert_eq!(decoder.take(), Err(RecordError::Length), "{bytes:?}");
        }
        let mut decoder = Decoder::new(64);
        decoder.add(b"65\n");
        assert_eq!(decoder.take(), Err(RecordError::TooLong { bytes: 65, limit: 64 }));
    }
}

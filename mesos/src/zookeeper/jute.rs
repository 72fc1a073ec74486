//! ZooKeeper's records: numbers are big-endian, texts, bytes and lists begin with their length in four bytes.

/// Reads a record. Whatever is not there is nothing.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    pub(super) fn int(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(*self.take(4)?.first_chunk()?))
    }

    pub(super) fn long(&mut self) -> Option<i64> {
        Some(i64::from_be_bytes(*self.take(8)?.first_chunk()?))
    }

    pub(super) fn bool(&mut self) -> Option<bool> {
        Some(*self.take(1)?.first()? != 0)
    }

    /// Bytes; a length below zero stands for none.
    pub(super) fn buffer(&mut self) -> Option<&'a [u8]> {
        let length = self.int()?;
        self.take(usize::try_from(length).unwrap_or(0))
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.buffer()?).ok()
    }

    /// A list of texts.
    pub(super) fn texts(&mut self) -> Option<Vec<&'a str>> {
        let count = usize::try_from(self.int()?).unwrap_or(0);
        // Each has a length, so no list is longer than its bytes allow.
        if count > self.rest.len() / 4 {
            return None;
        }
        (0..count).map(|_| self.text()).collect()
    }
}

/// Writes frames, one after the other.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// A frame of what `write` writes.
    pub(super) fn frame(&mut self, write: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.int(0);
        write(self);
        let length = self.bytes.len() - start - 4;
        let length = u32::try_from(length).expect("answers are short");
        self.bytes[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }

    /// What was written elsewhere.
    pub(super) fn append(&mut self, other: Self) {
        self.bytes.extend(other.bytes);
    }

    pub(super) fn int(&mut self, value: i32) {
        self.bytes.extend(value.to_be_bytes());
    }

    pub(super) fn long(&mut self, value: i64) {
        self.bytes.extend(value.to_be_bytes());
    }

    pub(super) fn bool(&mut self, value: bool) {
        self.bytes.push(value.into());
    }

    pub(super) fn buffer(&mut self, value: &[u8]) {
        self.int(i32::try_from(value.len()).expect("answers are short"));
        self.bytes.extend(value);
    }

    pub(super) fn text(&mut self, value: &str) {
        self.buffer(value.as_bytes());
    }
}

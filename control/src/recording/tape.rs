//! Writes a recording.

use meshos_protocol::{messages::agent::TaskHint, time::Now};
use serde_bytes::ByteBuf;

use super::{
    Start, Step,
    fingerprint::fingerprint,
    frames::{Format, PIECE_BYTES, Record, VERSION},
};
use crate::{
    framing::put,
    master::{Effect, Event, Master},
    registry::Registry,
};

/// A recording while it is made: bytes that the shell takes away and keeps.
#[derive(Debug)]
pub struct Tape {
    /// What was not taken yet.
    bytes: Vec<u8>,
    /// How many bytes may still come.
    left: u64,
}

impl Tape {
    /// Begins the recording of a master that is made from the same. It will have about `bytes_max`
    /// bytes at most, beside what the master is made from.
    pub fn begin(start: Start, registry: &Registry, hints: &[TaskHint], bytes_max: u64) -> Self {
        let mut bytes = Vec::new();
        let format = Format { version: VERSION, release: start.release.clone() };
        put(&mut bytes, &Record::Format(format));
        put(&mut bytes, &Record::Start(Box::new(start)));
        for piece in registry.to_snapshot().chunks(PIECE_BYTES) {
            put(&mut bytes, &Record::Registry(ByteBuf::from(piece)));
        }
        for hint in hints {
            put(&mut bytes, &Record::Hint(Box::new(hint.clone())));
        }
        put(&mut bytes, &Record::Begun);
        Self { bytes, left: bytes_max }
    }

    /// Hands an event to the master and writes it down, with what became of it.
    pub fn handle(&mut self, master: &mut Master, now: Now, event: Event, out: &mut Vec<Effect>) {
        if self.is_full() {
            return master.handle(now, event, out);
        }
        let kept = event.clone();
        let before = out.len();
        master.handle(now, event, out);
        let fingerprint = fingerprint(out.get(before..).unwrap_or_default());
        self.put(&Record::Step(Box::new(Step { now, event: kept, fingerprint })));
        if self.is_full() {
            put(&mut self.bytes, &Record::Full);
        }
    }

    /// What was written since the last call.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// How many bytes there are to take.
    pub const fn news(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is no room for more.
    pub const fn is_full(&self) -> bool {
        self.left == 0
    }

    fn put(&mut self, record: &Record) {
        let before = self.bytes.len();
        put(&mut self.bytes, record);
        let written = self.bytes.len().saturating_sub(before);
        self.left = self.left.saturating_sub(u64::try_from(written).unwrap_or(u64::MAX));
    }
}

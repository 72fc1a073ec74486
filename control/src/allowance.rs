//! How much somebody may send in a second: a bound on traffic that nobody must deliver.

use meshos_protocol::time::Mono;

const SECOND_MS: u64 = 1_000;

/// So many messages with so many bytes in each second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    pub(crate) messages: u32,
    pub(crate) bytes: usize,
}

/// What is left of the present second.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Allowance {
    since: Option<Mono>,
    messages: u32,
    bytes: usize,
}

impl Allowance {
    /// Takes one message of so many bytes; false when that is more than the rate allows.
    pub(crate) fn take(&mut self, now: Mono, bytes: usize, rate: Rate) -> bool {
        if self.since.is_none_or(|since| now.0 >= since.0.saturating_add(SECOND_MS)) {
            *self = Self { since: Some(now), messages: 0, bytes: 0 };
        }
        let (messages, all) = (self.messages + 1, self.bytes.saturating_add(bytes));
        if messages > rate.messages || all > rate.bytes {
            return false;
        }
        (self.messages, self.bytes) = (messages, all);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_so_many_messages_and_bytes_and_the_next_as_many() {
        let rate = Rate { messages: 2, bytes: 10 };
        let mut allowance = Allowance::default();
        assert!(allowance.take(Mono(5_000), 4, rate));
        assert!(!allowance.take(Mono(5_001), 7, rate), "too many bytes");
        assert!(allowance.take(Mono(5_002), 6, rate));
        assert!(!allowance.take(Mono(5_999), 0, rate), "too many messages");
        assert!(allowance.take(Mono(6_000), 10, rate));
    }
}

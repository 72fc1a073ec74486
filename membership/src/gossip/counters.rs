//! What gossip counts, for metrics and tests.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// How often each thing has happened since the start of the process.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        /// The counters while they count.
        #[derive(Debug, Default)]
        pub(super) struct Tally {
            $(pub(super) $name: Counter,)*
        }

        impl Tally {
            pub(super) fn snapshot(&self) -> Counters {
                Counters { $($name: self.$name.get(),)* }
            }
        }
    };
}

counters! {
    /// Packets handed to the socket.
    packets_sent,
    /// Packets read from the socket, whatever became of them.
    packets_received,
    /// Messages sent, each in one or more packets.
    messages_sent,
    /// Messages received whole.
    messages_received,
    /// Packets dropped because they are not in the form of any.
    garbled,
    /// Packets dropped because they were not sealed with the cluster's key.
    forged,
    /// Packets dropped because they were seen before or come from an earlier start of their sender.
    replayed,
    /// Packets dropped because a bound of memory was reached.
    crowded,
    /// Messages given up because some of their packets did not come in time.
    incomplete,
    /// Messages of peers that are well sealed and make no sense.
    undecodable,
    /// Messages not sent because a queue or the socket was full.
    unsent,
    /// Messages of nodes that this cluster has no room for.
    refused,
    /// How often a peer changed what this node says of itself; it was set right each time.
    overwritten,
    /// How often gossip broke and was started again.
    restarts,
}

/// One number that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, amount: u64) {
        // Nothing is ordered by these numbers.
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

//! Who is let in: bounds on connections, so that strangers cannot keep nodes out.
//!
//! Who a peer is turns out only when its handshake is done, so handshakes are bounded by where they
//! come from. From then on peers with a certificate and peers without one have places of their own.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Peer;

/// Bits of an IPv6 address that tell one network from another; the others are its owner's.
const NETWORK_BITS_V6: u32 = 64;

/// Bounds on what peers may take up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Handshakes that may be under way at a time.
    pub handshakes: usize,
    /// The same from one address.
    pub handshakes_per_source: usize,
    /// With so many under way, a peer must first show that its address is its own.
    pub handshakes_unproven: usize,
    /// How long a handshake may take.
    pub handshake_time: Duration,
    /// Connections of peers with a certificate that may be open at a time.
    pub known: usize,
    /// Connections of peers without a certificate.
    pub anonymous: usize,
    /// How long a connection of a peer without a certificate may last.
    pub anonymous_time: Duration,
    /// How long the first frame of a stream may take.
    pub hello_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshakes: 256,
            handshakes_per_source: 64,
            handshakes_unproven: 64,
            handshake_time: Duration::from_secs(10),
            known: 20_000,
            anonymous: 64,
            anonymous_time: Duration::from_secs(30),
            hello_time: Duration::from_secs(10),
        }
    }
}

/// What is to be done with a peer that knocks.
pub(super) enum Entry {
    /// Let it in; the handshake counts until this is dropped.
    Enter(Handshake),
    /// It must show first that its address is its own.
    Prove,
    /// Not now.
    Refuse,
}

/// A handshake under way.
pub(super) struct Handshake {
    under_way: Arc<Mutex<UnderWay>>,
    source: IpAddr,
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let mut under_way = lock(&self.under_way);
        under_way.total -= 1;
        if let Some(count) = under_way.by_source.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                under_way.by_source.remove(&self.source);
            }
        }
    }
}

#[derive(Default)]
struct UnderWay {
    total: usize,
    by_source: BTreeMap<IpAddr, usize>,
}

/// Counts what is open.
pub(super) struct Admission {
    limits: Limits,
    under_way: Arc<Mutex<UnderWay>>,
    known: Arc<Semaphore>,
    anonymous: Arc<Semaphore>,
}

impl Admission {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            under_way: Arc::default(),
            known: Arc::new(Semaphore::new(limits.known)),
            anonymous: Arc::new(Semaphore::new(limits.anonymous)),
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Decides about a peer at this address; `proven` when the address is known to be its own.
    pub(super) fn knock(&self, address: IpAddr, proven: bool) -> Entry {
        let source = network_of(address);
        let mut under_way = lock(&self.under_way);
        if !proven && under_way.total >= self.limits.handshakes_unproven {
            return Entry::Prove;
        }
        let of_source = under_way.by_source.get(&source).copied().unwrap_or(0);
        let full = under_way.total >= self.limits.handshakes
            || of_source >= self.limits.handshakes_per_source;
        if full {
            return Entry::Refuse;
        }
        under_way.total += 1;
        under_way.by_source.insert(source, of_source + 1);
        Entry::Enter(Handshake { under_way: Arc::clone(&self.under_way), source })
    }

    #[cfg(test)]
    pub(super) fn under_way(&self) -> usize {
        lock(&self.under_way).total
    }

    /// A place for a connection of this peer, until it is dropped; none when all are taken.
    pub(super) fn place(&self, peer: &Peer) -> Option<OwnedSemaphorePermit> {
        let places = match peer {
            Peer::Node(_) | Peer::Framework(_) | Peer::Operator(_) => &self.known,
            Peer::Anonymous => &self.anonymous,
        };
        Arc::clone(places).try_acquire_owned().ok()
    }
}

/// What one owner of addresses cannot choose at will.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => {
            let network = v6.to_bits() & (u128::MAX << (Ipv6Addr::BITS - NETWORK_BITS_V6));
            Ipv6Addr::from_bits(network).into()
        }
    }
}

fn lock(under_way: &Mutex<UnderWay>) -> MutexGuard<'_, UnderWay> {
    under_way.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Admission {
        Admission::new(Limits {
            handshakes: 6,
            handshakes_per_source: 3,
            handshakes_unproven: 4,
            known: 2,
            anonymous: 1,
            ..Limits::default()
        })
    }

    fn enter(
        admission: &Admission,
        address: &str,
        proven: bool,
    ) -> Result<Handshake, &'static str> {
        match admission.knock(address.parse().unwrap(), proven) {
            Entry::Enter(handshake) => Ok(handshake),
            Entry::Prove => Err("prove"),
            Entry::Refuse => Err("refuse"),
        }
    }

    #[test]
    fn one_address_cannot_hold_all_handshakes() {
        let admission = small();
        let held: Vec<_> = (0..3).map(|_| enter(&admission, "10.0.0.1", false).unwrap()).collect();
        assert_eq!(enter(&admission, "10.0.0.1", true).err(), Some("refuse"));
        assert_eq!(enter(&admission, "::ffff:10.0.0.1", true).err(), Some("refuse"));
        let other = enter(&admission, "10.0.0.2", false).unwrap();
        // Beyond this, addresses could be made up.
        assert_eq!(enter(&admission, "10.0.0.3", false).err(), Some("prove"));
        let proven = enter(&admission, "10.0.0.3", true).unwrap();
        let last = enter(&admission, "10.0.0.3", true).unwrap();
        assert_eq!(enter(&admission, "10.0.0.4", true).err(), Some("refuse"));
        drop((held, other, proven, last));
        assert!(enter(&admission, "10.0.0.1", false).is_ok());
        assert!(lock(&admission.under_way).by_source.is_empty());
    }

    #[test]
    fn addresses_of_one_network_count_as_one() {
        let admission = small();
        let held: Vec<_> = (1..4)
            .map(|host| enter(&admission, &format!("2001:db8::{host}"), false).unwrap())
            .collect();
        assert_eq!(enter(&admission, "2001:db8::ffff", false).err(), Some("refuse"));
        assert!(enter(&admission, "2001:db8:0:1::1", false).is_ok());
        drop(held);
    }

    #[test]
    fn strangers_take_no_place_of_those_who_are_known() {
        let admission = small();
        let node = Peer::Node(meshos_protocol::ids::NodeId::from_bits(1));
        let stranger = admission.place(&Peer::Anonymous);
        assert!(stranger.is_some() && admission.place(&Peer::Anonymous).is_none());
        let first = admission.place(&node).unwrap();
        let second = admission.place(&node);
        assert!(second.is_some() && admission.place(&node).is_none());
        drop(first);
        assert!(admission.place(&node).is_some());
    }
}

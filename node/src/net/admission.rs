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
    /// Handshakes that may be under way at a time with peers that have shown that their address is
    /// their own.
    pub handshakes: usize,
    /// The same from one network.
    pub handshakes_per_source: usize,
    /// Handshakes with peers that have not shown it; further ones must.
    pub handshakes_unproven: usize,
    /// How long a handshake may take.
    pub handshake_time: Duration,
    /// Connections of nodes that may be open at a time.
    pub nodes: usize,
    /// Connections of frameworks and operators.
    pub clients: usize,
    /// Connections of peers without a certificate.
    pub anonymous: usize,
    /// The same from one network.
    pub anonymous_per_source: usize,
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
            nodes: 10_000,
            clients: 10_000,
            anonymous: 64,
            anonymous_per_source: 16,
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

/// A handshake under way: it counts until it is dropped.
pub(super) enum Handshake {
    /// Of an address that may be made up, and so is held against nobody.
    Unproven(#[expect(dead_code, reason = "it counts by being held")] OwnedSemaphorePermit),
    /// Of an address that is the peer's own.
    Proven(#[expect(dead_code, reason = "it counts by being held")] Place),
}

/// A place among a bounded number, until it is dropped.
pub(super) struct Place {
    _place: OwnedSemaphorePermit,
    _of_source: Option<Share>,
}

/// Places of which one network has only so many.
struct Shared {
    places: Arc<Semaphore>,
    per_source: usize,
    taken: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
}

/// One of the places of a network.
struct Share {
    taken: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
    source: IpAddr,
}

impl Shared {
    fn new(places: usize, per_source: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), per_source, taken: Arc::default() }
    }

    /// A place for a peer at this address; none when all are taken, or all of its network's.
    fn take(&self, address: IpAddr) -> Option<Place> {
        let share = self.share(network_of(address))?;
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(Place { _place: place, _of_source: Some(share) })
    }

    fn share(&self, source: IpAddr) -> Option<Share> {
        let mut taken = lock(&self.taken);
        let of_source = taken.get(&source).copied().unwrap_or(0);
        if of_source >= self.per_source {
            return None;
        }
        taken.insert(source, of_source + 1);
        Some(Share { taken: Arc::clone(&self.taken), source })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        if let Some(count) = taken.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.source);
            }
        }
    }
}

/// Counts what is open.
pub(super) struct Admission {
    limits: Limits,
    unproven: Arc<Semaphore>,
    proven: Shared,
    nodes: Arc<Semaphore>,
    clients: Arc<Semaphore>,
    anonymous: Shared,
}

impl Admission {
    pub(super) fn new(limits: Limits) -> Self {
        let semaphore = |places| Arc::new(Semaphore::new(places));
        Self {
            limits,
            unproven: semaphore(limits.handshakes_unproven),
            proven: Shared::new(limits.handshakes, limits.handshakes_per_source),
            nodes: semaphore(limits.nodes),
            clients: semaphore(limits.clients),
            anonymous: Shared::new(limits.anonymous, limits.anonymous_per_source),
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Decides about a peer at this address; `proven` when the address is known to be its own.
    /// Addresses that may be made up use no other's share.
    pub(super) fn knock(&self, address: IpAddr, proven: bool) -> Entry {
        if proven {
            let place = self.proven.take(address).map(Handshake::Proven);
            return place.map_or(Entry::Refuse, Entry::Enter);
        }
        let permit = Arc::clone(&self.unproven).try_acquire_owned();
        permit.map_or(Entry::Prove, |permit| Entry::Enter(Handshake::Unproven(permit)))
    }

    #[cfg(test)]
    pub(super) fn under_way(&self) -> usize {
        let unproven = self.limits.handshakes_unproven - self.unproven.available_permits();
        unproven + self.limits.handshakes - self.proven.places.available_permits()
    }

    /// A place for a connection of this peer, until it is dropped; none when all are taken.
    pub(super) fn place(&self, peer: &Peer, address: IpAddr) -> Option<Place> {
        let places = match peer {
            Peer::Node(_) => &self.nodes,
            Peer::Framework(_) | Peer::Operator(_) => &self.clients,
            Peer::Anonymous => return self.anonymous.take(address),
        };
        let place = Arc::clone(places).try_acquire_owned().ok()?;
        Some(Place { _place: place, _of_source: None })
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

fn lock(taken: &Mutex<BTreeMap<IpAddr, usize>>) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use meshos_protocol::ids::{NodeId, Principal};

    use super::*;

    fn small() -> Admission {
        Admission::new(Limits {
            handshakes: 5,
            handshakes_per_source: 3,
            handshakes_unproven: 2,
            nodes: 2,
            clients: 1,
            anonymous: 3,
            anonymous_per_source: 2,
            ..Limits::default()
        })
    }

    fn ip(address: &str) -> IpAddr {
        address.parse().unwrap()
    }

    fn enter(
        admission: &Admission,
        address: &str,
        proven: bool,
    ) -> Result<Handshake, &'static str> {
        match admission.knock(ip(address), proven) {
            Entry::Enter(handshake) => Ok(handshake),
            Entry::Prove => Err("prove"),
            Entry::Refuse => Err("refuse"),
        }
    }

    #[test]
    fn one_network_cannot_hold_all_handshakes() {
        let admission = small();
        let held: Vec<_> = (0..3).map(|_| enter(&admission, "10.0.0.1", true).unwrap()).collect();
        assert_eq!(enter(&admission, "10.0.0.1", true).err(), Some("refuse"));
        assert_eq!(enter(&admission, "::ffff:10.0.0.1", true).err(), Some("refuse"));
        let others: Vec<_> = (0..2).map(|_| enter(&admission, "10.0.0.3", true).unwrap()).collect();
        assert_eq!(enter(&admission, "10.0.0.4", true).err(), Some("refuse"));
        assert_eq!(admission.under_way(), 5);
        drop((held, others));
        assert!(enter(&admission, "10.0.0.1", true).is_ok());
        assert!(lock(&admission.proven.taken).is_empty());
    }

    #[test]
    fn made_up_addresses_use_up_nobodys_share() {
        let admission = small();
        let made_up: Vec<_> =
            (0..2).map(|_| enter(&admission, "10.0.0.1", false).unwrap()).collect();
        assert_eq!(enter(&admission, "10.0.0.1", false).err(), Some("prove"));
        assert_eq!(enter(&admission, "10.0.0.2", false).err(), Some("prove"));
        let own: Vec<_> = (0..3).map(|_| enter(&admission, "10.0.0.1", true)).collect();
        assert!(own.iter().all(Result::is_ok));
        drop(made_up);
        assert!(enter(&admission, "10.0.0.1", false).is_ok());
    }

    #[test]
    fn addresses_of_one_network_count_as_one() {
        let admission = small();
        let held: Vec<_> = (1..4)
            .map(|host| enter(&admission, &format!("2001:db8::{host}"), true).unwrap())
            .collect();
        assert_eq!(enter(&admission, "2001:db8::ffff", true).err(), Some("refuse"));
        assert!(enter(&admission, "2001:db8:0:1::1", true).is_ok());
        drop(held);
    }

    #[test]
    fn each_kind_of_peer_has_places_of_its_own() {
        let admission = small();
        let place = |peer: &Peer, address| admission.place(peer, ip(address));
        let node = Peer::Node(NodeId::from_bits(1));
        let client = Peer::Framework(Principal::new("p").unwrap());

        // A stranger leaves room for strangers from elsewhere.
        let strangers = [place(&Peer::Anonymous, "10.0.0.1"), place(&Peer::Anonymous, "10.0.0.1")];
        assert!(strangers.iter().all(Option::is_some));
        assert!(place(&Peer::Anonymous, "10.0.0.1").is_none());
        let elsewhere = place(&Peer::Anonymous, "10.0.0.2");
        assert!(elsewhere.is_some() && place(&Peer::Anonymous, "10.0.0.3").is_none());

        let framework = place(&client, "10.0.0.1");
        assert!(framework.is_some() && place(&client, "10.0.0.2").is_none());

        let first = place(&node, "10.0.0.1").unwrap();
        let second = place(&node, "10.0.0.1");
        assert!(second.is_some() && place(&node, "10.0.0.1").is_none());
        drop((first, elsewhere));
        assert!(place(&node, "10.0.0.1").is_some());
        assert!(place(&Peer::Anonymous, "10.0.0.3").is_some());
    }
}

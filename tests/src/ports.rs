//! Ports for nodes.

use std::{
    net::{Ipv4Addr, TcpListener, UdpSocket},
    ops::Range,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener},
    },
    sync::{Mutex, PoisonError},
};

/// The lowest port that is given out.
const FIRST: u16 = 10_000;
/// Where the ports begin that the system gives to whoever asks for any, unless it says otherwise.
const EPHEMERAL_DEFAULT: u16 = 32_768;
/// Ports in one region.
const REGION: u16 = 500;

/// The regions of this process.
static HELD: Mutex<Regions> = Mutex::new(Regions { claims: Vec::new(), next: 0, end: 0 });

/// The first of `count` consecutive ports that are free for TCP and UDP on loopback.
///
/// They lie below the range out of which the system gives ports, because a node that is killed must get its ports again:
/// meanwhile no outgoing connection of anybody can have taken them. And nobody else who asks here is given them: what is
/// free now may belong to a node of another test binary that is about to start.
///
/// # Panics
/// When there are none.
#[must_use]
pub fn free_ports(count: u16) -> u16 {
    assert!(count <= REGION, "a region has {REGION} ports, not {count}");
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        while u32::from(held.next) + u32::from(count) <= u32::from(held.end) {
            let ports = held.next..held.next + count;
            held.next = ports.end;
            if ports.clone().all(is_free) {
                return ports.start;
            }
        }
        held.claim_another();
    }
}

/// The regions that this process has claimed. The newest is in use.
struct Regions {
    /// Each holds the name of a region as long as the process lives.
    claims: Vec<UnixListener>,
    next: u16,
    end: u16,
}

impl Regions {
    fn claim_another(&mut self) {
        let regions = (ephemeral_start() - FIRST) / REGION;
        // Processes that start together begin at different places.
        let begin = u16::try_from(std::process::id() % u32::from(regions)).unwrap_or(0);
        let claimed = (0..regions).find_map(|distance| {
            let ports = region((begin + distance) % regions);
            claim(ports.start).map(|claim| (claim, ports))
        });
        let Some((claim, ports)) = claimed else {
            panic!("all ports from {FIRST} on are claimed by test binaries that run")
        };
        self.claims.push(claim);
        (self.next, self.end) = (ports.start, ports.end);
    }
}

fn region(index: u16) -> Range<u16> {
    let start = FIRST + index * REGION;
    start..start + REGION
}

/// A name that one process at a time can have, and that ends with it.
fn claim(first_port: u16) -> Option<UnixListener> {
    let name = format!("meshos-test-ports-{first_port}");
    let address = SocketAddr::from_abstract_name(name).expect("a short name is an address");
    UnixListener::bind_addr(&address).ok()
}

fn ephemeral_start() -> u16 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let start = range.ok().and_then(|text| text.split_whitespace().next()?.parse().ok());
    start.filter(|start| *start > FIRST + 5_000).unwrap_or(EPHEMERAL_DEFAULT)
}

fn is_free(port: u16) -> bool {
    let address = (Ipv4Addr::LOCALHOST, port);
    TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_port_is_given_out_twice() {
        let given: Vec<u16> = (0..100).map(|_| free_ports(10)).collect();
        let ports: BTreeSet<u16> = given.iter().flat_map(|base| *base..base + 10).collect();
        assert_eq!(ports.len(), 1_000);
    }

    #[test]
    fn a_region_has_one_holder() {
        let mut regions = Regions { claims: Vec::new(), next: 0, end: 0 };
        regions.claim_another();
        let first = regions.next;
        assert!(claim(first).is_none(), "it is taken");
    }
}

//! Ports for nodes.

use std::{
    net::{Ipv4Addr, TcpListener, UdpSocket},
    sync::atomic::{AtomicU16, Ordering},
};

/// The lowest port that is given out.
const FIRST: u16 = 10_000;
/// Where the ports begin that the system gives to whoever asks for any, unless it says otherwise.
const EPHEMERAL_DEFAULT: u16 = 32_768;

/// The next candidate, as a distance from [`FIRST`]; zero: none was given out.
static NEXT: AtomicU16 = AtomicU16::new(0);

/// The first of `count` consecutive ports that are free for TCP and UDP on loopback.
///
/// They lie below the range out of which the system gives ports, because a node that is killed must get its ports again:
/// meanwhile no outgoing connection of anybody can have taken them.
///
/// # Panics
/// When there are none.
#[must_use]
pub fn free_ports(count: u16) -> u16 {
    let end = ephemeral_start();
    let span = end - FIRST - count;
    // Test binaries that run at the same time begin at different places.
    let begin = u16::try_from(std::process::id() % u32::from(span)).unwrap_or(0);
    for _ in 0..1_000 {
        let offset = NEXT.fetch_add(count, Ordering::Relaxed);
        let distance = (u32::from(begin) + u32::from(offset)) % u32::from(span);
        let base = FIRST + u16::try_from(distance).unwrap_or(0);
        if (base..base + count).all(is_free) {
            return base;
        }
    }
    panic!("there are no {count} consecutive free ports between {FIRST} and {end}");
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

//! Addresses: where the node listens, and under which address others reach it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::Seed;
use crate::detect::Machine;

/// Reads `ADDR:PORT`.
///
/// # Errors
/// Says what was expected.
pub(super) fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    let address = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    let address: SocketAddr = address.parse().map_err(|_| {
        "expected an address of this machine and a port, for example 127.0.0.1:5050, 0.0.0.0:5050 or [::1]:5050"
            .to_owned()
    })?;
    if address.port() == 0 {
        return Err("port 0 is no port that others could be told; name one".to_owned());
    }
    Ok(address)
}

/// Reads an address that others can reach.
///
/// # Errors
/// Says what was expected.
pub(super) fn parse_advertise(text: &str) -> Result<IpAddr, String> {
    let ip: IpAddr = text
        .trim()
        .parse()
        .map_err(|_| "expected an IP address of this machine, for example 10.0.0.7".to_owned())?;
    if ip.is_unspecified() || ip.is_multicast() {
        return Err("nobody can reach that; name an IP address of this machine".to_owned());
    }
    Ok(ip)
}

/// The address to tell others when none was given.
///
/// # Errors
/// When two seeds are this machine, so that only the operator can say which this node is.
pub(super) fn choose_advertise(
    listen: SocketAddr,
    seeds: &[Seed],
    machine: &dyn Machine,
) -> Result<IpAddr, String> {
    if !listen.ip().is_unspecified() {
        return Ok(listen.ip());
    }
    let mut own: Option<(&Seed, IpAddr)> = None;
    let mut elsewhere = None;
    for seed in seeds {
        let Some((host, port)) = seed.gossip.rsplit_once(':') else { continue };
        let addresses = machine.addresses_of(host);
        let local = addresses.iter().copied().find(|ip| machine.is_local(*ip));
        match local.filter(|_| port == listen.port().to_string()) {
            Some(ip) => match own {
                Some((first, _)) => {
                    return Err(format!(
                        "the seeds {} and {} are both this machine; say with --advertise which of them this node is",
                        first.gossip, seed.gossip
                    ));
                }
                None => own = Some((seed, ip)),
            },
            None => elsewhere = elsewhere.or_else(|| addresses.first().copied()),
        }
    }
    let route = || machine.route_to(elsewhere);
    Ok(own.map(|(_, ip)| ip).or_else(route).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)))
}

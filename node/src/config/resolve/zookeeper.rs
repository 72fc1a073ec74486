//! Whether clients of ZooKeeper are served, and where.

use std::net::{Ipv4Addr, SocketAddr};

use super::{
    super::{Raw, address},
    Check, WITHOUT_KEYS,
};

impl Check<'_> {
    /// Where clients of ZooKeeper are served: on loopback, unless an address is named, since they show no credentials.
    pub(super) fn zookeeper(
        &mut self,
        raw: &Raw,
        bare: bool,
        taken: [SocketAddr; 2],
    ) -> Option<SocketAddr> {
        let (address, from) = match (&raw.zk_listen, &raw.zk_port) {
            (None, None) => return None,
            (Some(address), Some(port)) => {
                self.problems.push(format!(
                    "{} and {} exclude each other: give one of them",
                    address.from, port.from
                ));
                return None;
            }
            (Some(given), None) => match address::parse_listen(&given.value) {
                Ok(address) if bare && !address.ip().is_loopback() => {
                    self.problems.push(given.problem(WITHOUT_KEYS));
                    return None;
                }
                Ok(address) => (address, &given.from),
                Err(why) => {
                    self.problems.push(given.problem(why));
                    return None;
                }
            },
            (None, Some(given)) => match u16::try_from(given.value) {
                Ok(port) if port != 0 => {
                    (SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port), &given.from)
                }
                _ => {
                    self.problems.push(given.problem("expected a port from 1 to 65535"));
                    return None;
                }
            },
        };
        if taken.iter().any(|other| other.port() == address.port()) {
            self.problems.push(format!(
                "{from} names port {}, on which this node listens for something else: give another one",
                address.port()
            ));
        }
        Some(address)
    }
}

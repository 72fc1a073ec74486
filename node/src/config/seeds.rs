//! The seed list.

use std::{collections::BTreeMap, net::IpAddr};

use meshos_membership::bootstrap::SeedList;

use super::Seed;

/// The seeds in one form, sorted, each once; and what the operator should know about the list.
///
/// # Errors
/// Says which seed is wrong, or that there are too many.
pub(super) fn parse_seeds(texts: &[String]) -> Result<(Vec<Seed>, Option<String>), String> {
    let mut seeds = BTreeMap::new();
    for text in texts {
        let (gossip, quic_port) = match text.split_once('/') {
            None => (text.as_str(), None),
            Some((gossip, port)) => (gossip, Some(port)),
        };
        let seed = parse_seed(gossip, quic_port)?;
        let quic = seed.quic.clone();
        if let Some(other) = seeds.insert(seed.gossip.clone(), seed)
            && other.quic != quic
        {
            return Err(format!(
                "seed {} is listed twice with different QUIC ports ({} and {quic}); list it once",
                other.gossip, other.quic
            ));
        }
    }
    let list = SeedList::parse(seeds.keys()).map_err(|error| error.to_string())?;
    Ok((seeds.into_values().collect(), list.warning()))
}

fn parse_seed(gossip: &str, quic_port: Option<&str>) -> Result<Seed, String> {
    let list = SeedList::parse([gossip]).map_err(|error| error.to_string())?;
    let gossip = list.first().unwrap_or_default().to_owned();
    let (host, port) = gossip.rsplit_once(':').unwrap_or_default();
    let quic_port = match quic_port {
        Some(text) => {
            text.trim().parse().ok().filter(|port: &u16| *port != 0).ok_or_else(|| {
                format!(
                    "seed {gossip}/{text}: what follows the slash is its QUIC port, from 1 to 65535"
                )
            })?
        }
        None => port.parse().ok().and_then(|port: u16| port.checked_add(1)).ok_or_else(|| {
            format!("seed {gossip} has no port after its own for QUIC; write {gossip}/QUIC-PORT")
        })?,
    };
    let quic = format!("{host}:{quic_port}");
    Ok(Seed { gossip, quic })
}

/// Whether a seed is on this machine by its name alone, without asking anybody.
pub(super) fn is_loopback(seed: &Seed) -> bool {
    let host = seed.gossip.rsplit_once(':').map_or("", |(host, _)| host);
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

//! A node's facts as the few short keys that gossip carries.

use meshos_protocol::{ids::Term, messages::node::Release};

use crate::view::{Health, LeaderClaim, NodeFacts};

/// The longest value that a key may have. Long values would crowd out others: each message holds 64
/// KB for all nodes, and one value that does not fit stops all later keys of its node.
pub const VALUE_BYTES_MAX: usize = 1_024;

/// A fact is too large to be gossiped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{key}\" of this node has {bytes} bytes, gossip carries at most {VALUE_BYTES_MAX}: shorten it"
)]
pub struct FactsError {
    /// Which fact.
    pub key: &'static str,
    /// Its length.
    pub bytes: usize,
}

const HTTP: &str = "http";
const AGENT: &str = "agent";
const QUIC: &str = "quic";
const HOSTNAME: &str = "hostname";
const RESOURCES: &str = "resources";
const ATTRIBUTES: &str = "attributes";
const VERSION: &str = "version";
const LEVEL: &str = "level";
const ROLES: &str = "roles";
const HEALTH: &str = "health";
const CLUSTER: &str = "cluster";
const LEADER: &str = "leader";

/// Set last, so a peer that has it has all others. Its value names the form of the facts.
const FORM: &str = "form";
const FORM_1: &str = "1";

/// All keys of a node, in the order in which they are set.
pub(super) fn encode(
    facts: &NodeFacts,
    claim: Option<LeaderClaim>,
) -> Result<Vec<(&'static str, String)>, FactsError> {
    let health = facts.health;
    let health = format!(
        "{},{},{},{}",
        health.load_thousandths,
        health.memory_pressure_thousandths,
        health.disk_pressure_thousandths,
        u8::from(health.draining)
    );
    let mut pairs = vec![
        (HTTP, facts.address_http.to_string()),
        (AGENT, facts.address_agent_http.to_string()),
        (QUIC, facts.address_quic.to_string()),
        (HOSTNAME, facts.hostname.clone()),
        (RESOURCES, facts.resources.clone()),
        (ATTRIBUTES, facts.attributes.clone()),
        (VERSION, facts.version.clone()),
        (LEVEL, facts.registry_level.to_string()),
        (ROLES, facts.roles.clone()),
        (HEALTH, health),
    ];
    // What is absent is an empty value: deleting a key would leave a tombstone to be carried.
    let cluster = facts.cluster.map(|cluster| cluster.to_string()).unwrap_or_default();
    pairs.push((CLUSTER, cluster));
    let claim = claim.map(|claim| format!("{}:{}", claim.term, claim.leader)).unwrap_or_default();
    pairs.push((LEADER, claim));
    pairs.push((FORM, FORM_1.to_owned()));
    match pairs.iter().find(|(_, value)| value.len() > VALUE_BYTES_MAX) {
        Some((key, value)) => Err(FactsError { key, bytes: value.len() }),
        None => Ok(pairs),
    }
}

/// The facts in a peer's keys; `None` while some are missing or when one makes no sense.
pub(super) fn decode<'a>(
    get: impl Fn(&str) -> Option<&'a str>,
) -> Option<(NodeFacts, Option<LeaderClaim>)> {
    let text = |key| get(key).filter(|value| value.len() <= VALUE_BYTES_MAX);
    if text(FORM)? != FORM_1 {
        return None;
    }
    let facts = NodeFacts {
        address_http: text(HTTP)?.parse().ok()?,
        address_agent_http: text(AGENT)?.parse().ok()?,
        address_quic: text(QUIC)?.parse().ok()?,
        // Nodes of an older release do not say it.
        hostname: text(HOSTNAME).unwrap_or_default().to_owned(),
        resources: text(RESOURCES)?.to_owned(),
        attributes: text(ATTRIBUTES)?.to_owned(),
        version: text(VERSION)?.to_owned(),
        // Nodes of an older release do not say it.
        registry_level: text(LEVEL)
            .and_then(|level| level.parse().ok())
            .unwrap_or(Release::SILENT.level),
        roles: text(ROLES)?.to_owned(),
        health: decode_health(text(HEALTH)?)?,
        // Nodes of an older release do not say it.
        cluster: text(CLUSTER).and_then(|cluster| cluster.parse().ok()),
    };
    Some((facts, text(LEADER).and_then(decode_claim)))
}

fn decode_health(text: &str) -> Option<Health> {
    let mut fields = text.split(',');
    let health = Health {
        load_thousandths: fields.next()?.parse().ok()?,
        memory_pressure_thousandths: fields.next()?.parse().ok()?,
        disk_pressure_thousandths: fields.next()?.parse().ok()?,
        draining: match fields.next()? {
            "0" => false,
            "1" => true,
            _ => return None,
        },
    };
    // More fields may follow from a newer version.
    Some(health)
}

fn decode_claim(text: &str) -> Option<LeaderClaim> {
    let (term, leader) = text.split_once(':')?;
    Some(LeaderClaim { term: Term(term.parse().ok()?), leader: leader.parse().ok()? })
}

//! From chitchat's state to the view that everybody else reads.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use chitchat::{Chitchat, ChitchatId};
use meshos_protocol::ids::{Generation, NodeId};

use super::{facts, options::RESTART_BITS};
use crate::view::{LeaderClaim, NodeFacts, Peer};

/// Facts that were read from a node's keys, and the version of the keys that they are of.
#[derive(Debug)]
struct Read {
    version: u64,
    facts: Option<(NodeFacts, Option<LeaderClaim>)>,
}

/// Reads peers out of chitchat's state, each one's keys only when they have changed.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    read: BTreeMap<ChitchatId, Read>,
}

impl Assembler {
    /// The newest start of each other node whose facts are complete.
    pub(super) fn peers(&mut self, chitchat: &Chitchat, own: NodeId) -> BTreeMap<NodeId, Peer> {
        let live: BTreeSet<&ChitchatId> = chitchat.live_nodes().collect();
        let mut before = std::mem::take(&mut self.read);
        let mut newest: BTreeMap<NodeId, (bool, &ChitchatId)> = BTreeMap::new();
        for (id, state) in chitchat.node_states() {
            let Ok(node_id) = id.node_id.parse::<NodeId>() else { continue };
            if node_id == own {
                continue;
            }
            let version = state.max_version();
            let read = match before.remove(id) {
                Some(read) if read.version == version => read,
                _ => Read { version, facts: facts::decode(|key| state.get(key)) },
            };
            if read.facts.is_some() {
                let found = (live.contains(id), id);
                match newest.entry(node_id) {
                    Entry::Vacant(slot) => {
                        slot.insert(found);
                    }
                    Entry::Occupied(mut slot) if is_newer(found, *slot.get()) => {
                        slot.insert(found);
                    }
                    Entry::Occupied(_) => {}
                }
            }
            self.read.insert(id.clone(), read);
        }
        newest
            .into_iter()
            .filter_map(|(node_id, (alive, id))| Some((node_id, self.peer(node_id, id, alive)?)))
            .collect()
    }

    fn peer(&self, node_id: NodeId, id: &ChitchatId, alive: bool) -> Option<Peer> {
        let (facts, leader_claim) = self.read.get(id)?.facts.clone()?;
        Some(Peer {
            node_id,
            generation: Generation(id.generation_id >> RESTART_BITS),
            address_gossip: id.gossip_advertise_addr,
            facts,
            alive,
            leader_claim,
        })
    }
}

/// The higher generation. But a start takes two heartbeats to count as alive, and until then the
/// one before it stands, or every restart would look like a death.
fn is_newer(one: (bool, &ChitchatId), other: (bool, &ChitchatId)) -> bool {
    (one.0, one.1.generation_id) > (other.0, other.1.generation_id)
}

/// Keeps the peers of `before` in place of those that gossip, just started again, has not heard
/// yet.
pub(super) fn carry_over(peers: &mut BTreeMap<NodeId, Peer>, before: &BTreeMap<NodeId, Peer>) {
    for (node_id, known) in before {
        match peers.get(node_id) {
            Some(peer) if peer.alive || !known.alive => {}
            _ => {
                peers.insert(*node_id, known.clone());
            }
        }
    }
}

/// Leaves out newcomers that do not fit: those in `before` stay, then the lower ids come first.
/// Gives who was left out.
pub(super) fn limit(
    peers: &mut BTreeMap<NodeId, Peer>,
    before: &BTreeMap<NodeId, Peer>,
    peers_max: usize,
) -> Vec<NodeId> {
    let excess = alive(peers).saturating_sub(peers_max);
    let newcomers = peers.values().filter(|peer| peer.alive && !before.contains_key(&peer.node_id));
    let left_out: Vec<NodeId> = newcomers.rev().take(excess).map(|peer| peer.node_id).collect();
    for node_id in &left_out {
        peers.remove(node_id);
    }
    left_out
}

/// How many of them are alive.
pub(super) fn alive(peers: &BTreeMap<NodeId, Peer>) -> usize {
    peers.values().filter(|peer| peer.alive).count()
}

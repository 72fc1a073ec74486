//! What this node says of itself inside chitchat, and keeping it that way.
//!
//! Chitchat lets any peer overwrite any node's keys, this node's own among them.

use chitchat::{Chitchat, DeletionStatus, NodeState};

/// Our own versions count changes of a few keys. One this far up was set by a peer, and close to it
/// chitchat would overflow.
const VERSION_MAX: u64 = u64::MAX / 2;

/// A peer made this node's own state unusable; gossip must start under a new generation.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Spoiled;

/// Sets this node's keys.
pub(super) fn publish(
    chitchat: &mut Chitchat,
    pairs: &[(&'static str, String)],
) -> Result<(), Spoiled> {
    let own = usable(chitchat)?;
    for (key, value) in pairs {
        own.set(key, value);
    }
    Ok(())
}

/// Sets right what a peer changed, and says how many keys that were.
pub(super) fn reassert(
    chitchat: &mut Chitchat,
    pairs: &[(&'static str, String)],
) -> Result<u64, Spoiled> {
    let own = usable(chitchat)?;
    let strangers: Vec<String> = own
        .key_values()
        .filter(|(found, _)| !pairs.iter().any(|(key, _)| key == found))
        .map(|(key, _)| key.to_owned())
        .collect();
    let mut changed = 0;
    for (key, value) in pairs {
        let right = own.get_versioned(key).is_some_and(|found| {
            found.value == *value && matches!(found.status, DeletionStatus::Set)
        });
        if !right {
            changed += 1;
            own.set(key, value);
        }
    }
    for key in strangers {
        changed += 1;
        own.delete(&key);
    }
    Ok(changed)
}

fn usable(chitchat: &mut Chitchat) -> Result<&mut NodeState, Spoiled> {
    let own = chitchat.self_node_state();
    if own.max_version() > VERSION_MAX { Err(Spoiled) } else { Ok(own) }
}

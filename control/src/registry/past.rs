//! What was used before, for policies that count it.

use std::collections::BTreeMap;

use meshos_alloc::PastUse;
use meshos_protocol::{role::Role, time::Wall};
use serde::{Deserialize, Serialize};

/// The most roles and frameworks of which the record tells. A role counts twice: with all below it, and
/// for the frameworks in itself.
pub const PAST_PARTIES_MAX: usize = 2_000;

/// What roles had used by a time, as the leader of that time counted it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastRecord {
    /// The policy that counted, in its text form. What one counts means nothing to another.
    pub policy: String,
    /// By when.
    pub at: Wall,
    /// By role.
    pub roles: BTreeMap<Role, PastUse>,
}

impl PastRecord {
    /// Of how many parties it tells.
    fn parties(&self) -> usize {
        self.roles.values().map(|past| 2 + past.frameworks.len()).sum()
    }

    /// Whether it is of a size that is kept.
    pub(super) fn check(&self) -> Result<(), String> {
        let parties = self.parties();
        // Each party that is told of makes at most one role known.
        if parties > 3 * PAST_PARTIES_MAX {
            return Err(format!("past use of {parties} parties is more than is kept on record"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use meshos_protocol::{
        ids::{FrameworkId, ProposalId, Term},
        resources::Resources,
    };

    use super::*;
    use crate::registry::{Command, Entry, Outcome, Registry};

    fn noted(registry: &mut Registry, proposal: u64, roles: BTreeMap<Role, PastUse>) -> Outcome {
        let past = PastRecord { policy: "fair-decay:1h".to_owned(), at: Wall(7), roles };
        let command = Command::NotePastUse { past: Box::new(past) };
        registry.apply(&Entry { term: Term(1), proposal: ProposalId(proposal), command })
    }

    /// Roles with long names and one framework each, that have used so many resources.
    fn roles(count: usize) -> BTreeMap<Role, PastUse> {
        let used = "cpus:1.001;mem:77777;disk:99999;gpus:1;a:1;b:2;c:3".parse::<Resources>();
        let used = used.unwrap().quantities();
        let of_role = |index: usize| {
            let id = FrameworkId(u64::MAX - u64::try_from(index).unwrap());
            let frameworks = BTreeMap::from([(id, used.clone())]);
            let past = PastUse { used: used.clone(), own: used.clone(), frameworks };
            (Role::new(&format!("{index:0>60}/{index:0>60}")).unwrap(), past)
        };
        (0..count).map(of_role).collect()
    }

    #[test]
    fn the_largest_record_fits_into_an_entry_and_a_snapshot() {
        let (mut registry, largest) = (Registry::new(), roles(PAST_PARTIES_MAX));
        assert_eq!(noted(&mut registry, 1, largest.clone()), Outcome::Done);
        assert_eq!(registry.past_use().unwrap().roles, largest);
        assert_eq!(Registry::from_snapshot(&registry.to_snapshot()).unwrap(), registry);
        // Whoever tells more tells nothing.
        let refused = noted(&mut registry, 2, roles(PAST_PARTIES_MAX + 1));
        assert!(matches!(refused, Outcome::Refused { .. }));
        assert_eq!(registry.past_use().unwrap().roles, largest);
        assert_eq!(noted(&mut registry, 3, BTreeMap::new()), Outcome::Done);
        assert_eq!(registry.past_use(), None);
    }
}

//! What was used before, for policies that count it.

use std::collections::BTreeMap;

use meshos_alloc::PastUse;
use meshos_protocol::{codec, role::Role, time::Wall};
use serde::{Deserialize, Serialize};

/// The most roles and frameworks of which a record tells. A role counts twice: with all below it, and for the frameworks in
/// itself.
pub const PAST_PARTIES_MAX: usize = 2_000;
/// The most bytes of a record: it is written again and again, and the log keeps thousands of entries.
pub const PAST_BYTES_MAX: usize = 64 << 10;

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
    /// How many bytes it takes.
    pub fn bytes(&self) -> usize {
        codec::encode(self).len()
    }

    /// Whether it is of a size that is kept.
    pub(super) fn check(&self) -> Result<(), String> {
        let bytes = self.bytes();
        if bytes > PAST_BYTES_MAX {
            return Err(format!(
                "past use of {bytes} bytes is more than the {PAST_BYTES_MAX} that are kept"
            ));
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

    fn record(roles: BTreeMap<Role, PastUse>) -> PastRecord {
        PastRecord { policy: "fair-decay:1h".to_owned(), at: Wall(7), roles }
    }

    fn noted(registry: &mut Registry, proposal: u64, past: PastRecord) -> Outcome {
        let command = Command::NotePastUse { past: Box::new(past) };
        registry.apply(&Entry { term: Term(1), proposal: ProposalId(proposal), command })
    }

    /// So many roles with long names and one framework each.
    fn roles(count: usize) -> BTreeMap<Role, PastUse> {
        let used = "cpus:1.001;mem:77777;disk:99999;gpus:1".parse::<Resources>().unwrap();
        let used = used.quantities();
        let of_role = |index: usize| {
            let id = FrameworkId(u64::MAX - u64::try_from(index).unwrap());
            let frameworks = BTreeMap::from([(id, used.clone())]);
            let past = PastUse { used: used.clone(), own: used.clone(), frameworks };
            (Role::new(&format!("{index:0>60}/{index:0>60}")).unwrap(), past)
        };
        (0..count).map(of_role).collect()
    }

    #[test]
    fn a_record_is_replaced_and_one_that_is_too_large_changes_nothing() {
        let (mut registry, small) = (Registry::new(), record(roles(100)));
        assert_eq!(noted(&mut registry, 1, small.clone()), Outcome::Done);
        assert_eq!(registry.past_use(), Some(&small));
        assert_eq!(Registry::from_snapshot(&registry.to_snapshot()).unwrap(), registry);
        let large = record(roles(1_000));
        assert!(large.bytes() > PAST_BYTES_MAX);
        assert!(matches!(noted(&mut registry, 2, large), Outcome::Refused { .. }));
        assert_eq!(registry.past_use(), Some(&small));
        assert_eq!(noted(&mut registry, 3, record(BTreeMap::new())), Outcome::Done);
        assert_eq!(registry.past_use(), None);
    }
}

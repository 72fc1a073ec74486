//! A second account of what is wanted together or not at all.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{ids::FrameworkId, resources::ScalarQuantities, role::Role, time::Mono};

use crate::Grant;

type Holder = (FrameworkId, Role);

/// What somebody wants together, until then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gang {
    pub(super) wanted: ScalarQuantities,
    pub(super) until: Mono,
}

/// Who waits for what, and who is offered it.
#[derive(Debug, Default)]
pub(super) struct Gangs {
    waiting: BTreeMap<Holder, Gang>,
    /// By their numbers, those of which no offer was answered yet.
    offered: BTreeMap<u64, (Holder, Gang)>,
}

impl Gangs {
    /// Somebody says what it wants, in place of what it said before.
    pub(super) fn asked(&mut self, holder: Holder, gang: Option<Gang>) {
        self.retain(|other| *other != holder);
        self.waiting.extend(gang.map(|gang| (holder, gang)));
    }

    /// Whether somebody waits for several things at once.
    pub(super) fn waits(&self, holder: &Holder) -> bool {
        self.waiting.contains_key(holder)
    }

    /// Others want nothing together any more.
    pub(super) fn retain(&mut self, wants: impl Fn(&Holder) -> bool) {
        self.waiting.retain(|holder, _| wants(holder));
        self.offered.retain(|_, (holder, _)| wants(holder));
    }

    /// Who wants several things together is offered all of them in one run, or nothing.
    pub(super) fn granted(&mut self, grants: &[Grant]) {
        let mut offered = BTreeMap::<u64, (Holder, ScalarQuantities)>::new();
        for grant in grants {
            let holder = (grant.framework, grant.role.clone());
            match grant.gang {
                Some(gang) => {
                    let all = offered.entry(gang).or_insert_with(|| (holder, Default::default()));
                    all.1 += &grant.resources.quantities();
                }
                None => assert!(
                    !self.waiting.contains_key(&holder),
                    "a gang is offered a part: {grant:?}"
                ),
            }
        }
        for (number, (holder, all)) in offered {
            let gang = self.waiting.remove(&holder).expect("who is offered a gang waits for one");
            assert_eq!(gang.wanted, all, "{holder:?}: all or nothing");
            self.offered.insert(number, (holder, gang));
        }
    }

    /// An offer was accepted or declined: from now on the gang is its framework's matter.
    pub(super) fn answered(&mut self, gang: Option<u64>) {
        if let Some(gang) = gang {
            self.offered.remove(&gang);
        }
    }

    /// All offers of a gang were taken back. Returns whether it is tried again: it was offered as a
    /// whole, and its framework wants nothing else by now.
    pub(super) fn taken_back(&mut self, gang: u64) -> bool {
        let again = self.offered.remove(&gang);
        let is_wanted = again.is_some();
        self.waiting.extend(again);
        is_wanted
    }

    /// Whoever waited until its time was over is told so, and nobody else is.
    pub(super) fn failed(&mut self, failed: Vec<Holder>, now: Mono) {
        let over = self.waiting.iter().filter(|(_, gang)| gang.until <= now);
        let over: BTreeSet<Holder> = over.map(|(holder, _)| holder.clone()).collect();
        let count = failed.len();
        let told: BTreeSet<Holder> = failed.into_iter().collect();
        assert_eq!(count, told.len(), "a gang fails once");
        assert_eq!(told, over, "gangs whose time is over have failed");
        self.waiting.retain(|holder, _| !over.contains(holder));
    }
}

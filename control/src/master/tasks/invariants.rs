//! What holds of the tasks between any two steps.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::ids::{AgentId, FrameworkId};

use super::{Sum, Tasks, amounts};

impl Tasks {
    /// # Panics
    ///
    /// When what is kept to find tasks quickly, or added up, is not what the tasks say.
    pub(in crate::master) fn check_invariants(&self) {
        let mut sums: BTreeMap<FrameworkId, Sum> = BTreeMap::new();
        let mut live: BTreeMap<AgentId, usize> = BTreeMap::new();
        for (key, task) in &self.map {
            let sum = sums.entry(key.framework).or_default();
            sum.all += 1;
            sum.live += usize::from(!task.state.is_terminal());
            if task.holds() {
                sum.held += &amounts(&task.resources);
            }
            if !task.state.is_terminal() {
                *live.entry(key.agent).or_default() += 1;
            }
            assert_eq!(task.slot.is_some(), !task.state.is_terminal(), "{key:?} is shown as live");
            assert!(self.by_agent.get(&key.agent).is_some_and(|keys| keys.contains(key)));
        }
        assert_eq!(sums, self.by_framework, "the sums of tasks by framework");
        assert_eq!(live, self.live_by_agent, "the live tasks by agent");
        let indexed: usize = self.by_agent.values().map(BTreeSet::len).sum();
        assert_eq!(indexed, self.map.len(), "every task stands in its agent's index");
    }
}

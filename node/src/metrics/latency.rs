//! How long launches take, read off the tasks of the master's pictures.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use meshos_control::master::TaskView;
use meshos_protocol::{
    ids::{FrameworkId, TaskId, Term},
    time::{Wall, millis},
};

/// How far back a picture may bring something new: its age, and clocks that are set right in small
/// steps.
const SLACK: Duration = Duration::from_secs(5);

/// Tells each launch once, however often it is seen.
#[derive(Debug, Default)]
pub(super) struct Launches {
    term: Option<Term>,
    /// The newest start seen.
    newest: Wall,
    /// What was told of the starts that are younger than the slack.
    told: BTreeSet<(Wall, FrameworkId, TaskId)>,
}

impl Launches {
    /// The durations of the launches that were not told before. Tasks that started before the
    /// slack were either told or never seen in time.
    pub(super) fn fresh<'a>(
        &mut self,
        term: Term,
        now: Wall,
        tasks: impl Iterator<Item = &'a Arc<TaskView>>,
    ) -> Vec<Duration> {
        if self.term != Some(term) {
            *self = Self { term: Some(term), ..Self::default() };
        }
        let jumped_back = now.0.saturating_add(millis(SLACK)) < self.newest.0;
        if jumped_back {
            self.newest = now;
        }
        let floor = Wall(self.newest.0.saturating_sub(millis(SLACK)));
        let mut fresh = Vec::new();
        for task in tasks {
            // Those of earlier leaders were told by them, and their agents dated the launch.
            let launched = task.launched_at.filter(|_| task.launched_here);
            let (Some(launched), Some(started)) = (launched, task.started_at) else { continue };
            if started < floor || !self.told.insert((started, task.framework_id, task.id.clone())) {
                continue;
            }
            self.newest = self.newest.max(started.min(now));
            // After a jump nobody can say which of them were told before.
            if !jumped_back {
                fresh.push(started.since(launched));
            }
        }
        let floor = Wall(self.newest.0.saturating_sub(millis(SLACK)));
        self.told.retain(|(started, _, _)| *started >= floor);
        fresh
    }
}

#[cfg(test)]
mod tests {
    use meshos_protocol::{
        ids::{AgentId, NodeId},
        task::TaskState,
    };

    use super::*;

    fn task(id: &str, launched: Option<u64>, started: Option<u64>) -> Arc<TaskView> {
        let node_id = NodeId::from_bits(1);
        Arc::new(TaskView {
            id: TaskId::new(id).unwrap(),
            framework_id: FrameworkId(1),
            agent_id: AgentId::new(node_id, 1),
            node_id,
            name: String::new(),
            role: Default::default(),
            resources: Default::default(),
            extras: None,
            state: TaskState::Running,
            reason: None,
            message: "".into(),
            exit: None,
            healthy: None,
            check_status: None,
            launched_at: launched.map(Wall),
            launched_here: true,
            started_at: started.map(Wall),
            changed_at: Wall(0),
            ended_told: None,
        })
    }

    fn millis_of(durations: Vec<Duration>) -> Vec<u64> {
        durations.into_iter().map(millis).collect()
    }

    #[test]
    fn each_launch_is_told_once() {
        let mut launches = Launches::default();
        let first = [task("a", Some(1_000), Some(1_012)), task("b", Some(1_000), None)];
        let mut look = |now, tasks: &[Arc<TaskView>]| {
            millis_of(launches.fresh(Term(1), Wall(now), tasks.iter()))
        };
        assert_eq!(look(2_000, &first), [12]);
        assert_eq!(look(3_000, &first), [0; 0]);
        let then = [
            task("a", Some(1_000), Some(1_012)),
            task("b", Some(1_000), Some(1_500)),
            task("c", Some(1_490), Some(1_500)),
            task("d", None, Some(1_500)),
        ];
        assert_eq!(look(3_100, &then), [500, 10]);
        let much_later = [then.to_vec(), vec![task("e", Some(60_000), Some(60_003))]].concat();
        assert_eq!(look(61_000, &much_later), [3]);
        assert_eq!(look(62_000, &much_later), [0; 0]);
    }

    #[test]
    fn launches_of_an_earlier_leader_are_not_told_again() {
        let mut earlier = TaskView::clone(&task("a", Some(1_000), Some(1_012)));
        earlier.launched_here = false;
        let seen = [Arc::new(earlier), task("b", Some(1_000), Some(1_020))];
        let told = Launches::default().fresh(Term(2), Wall(2_000), seen.iter());
        assert_eq!(millis_of(told), [20]);
    }

    #[test]
    fn a_clock_that_jumps_back_doubles_nothing_and_blocks_nothing() {
        let mut launches = Launches::default();
        let before = [task("a", Some(99_000), Some(99_010)), task("b", Some(89_000), Some(89_001))];
        assert_eq!(launches.fresh(Term(1), Wall(100_000), before.iter()).len(), 2);
        assert_eq!(launches.fresh(Term(1), Wall(90_000), before.iter()).len(), 0);
        let after = [before.to_vec(), vec![task("c", Some(90_100), Some(90_107))]].concat();
        assert_eq!(millis_of(launches.fresh(Term(1), Wall(91_000), after.iter())), [7]);
    }

    #[test]
    fn what_is_remembered_does_not_grow_with_what_was_told() {
        let mut launches = Launches::default();
        for second in 1..1_000u64 {
            let at = second * 1_000;
            let one = [task("t", Some(at), Some(at + 5))];
            assert_eq!(launches.fresh(Term(1), Wall(at + 10), one.iter()).len(), 1);
        }
        assert!(launches.told.len() <= 6, "{}", launches.told.len());
    }
}

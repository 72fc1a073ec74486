//! Fairness between roles that have others below them, while tasks come and go: Bhattacharya et al.,
//! *Hierarchical Scheduling for Diverse Datacenter Workloads* (SoCC 2013).

use std::collections::BTreeMap;

use meshos_protocol::{attributes::Attributes, ids::FrameworkId, resources::Resources, time::Mono};

use super::support::{Cluster, agent, resources, role, roles};
use crate::{Grant, Share, mix::mix};

/// Frameworks that run tasks which are all alike, and end one after the other.
pub(super) struct Churn {
    pub(super) cluster: Cluster,
    users: BTreeMap<u64, Resources>,
    running: Vec<Grant>,
    draws: u64,
}

impl Churn {
    fn new(total: &str, users: &[(u64, &str, &str)]) -> Self {
        Self::over(1, total, users)
    }

    /// Over so many agents, which have as much each.
    pub(super) fn over(agents: u64, total: &str, users: &[(u64, &str, &str)]) -> Self {
        let mut cluster = Cluster::new();
        for number in 1..=agents {
            let id = agent(number);
            cluster.allocator.add_agent(id, resources(total), Attributes::default(), &[]);
        }
        for (framework, name, _) in users {
            cluster.add_framework(*framework, &[name]);
        }
        let users = users.iter().map(|(user, _, task)| (*user, resources(task))).collect();
        Self { cluster, users, running: Vec::new(), draws: 0 }
    }

    /// Everybody takes what it can use and refuses the rest until something ends.
    pub(super) fn fill(&mut self) {
        self.cluster.now = Mono(self.cluster.now.0 + 1000);
        loop {
            let grants = self.cluster.run();
            if grants.is_empty() {
                return;
            }
            for grant in grants {
                let task = &self.users[&grant.framework.0];
                if grant.resources.contains(task) {
                    self.cluster.accept(&grant, task);
                    self.running.push(Grant { resources: task.clone(), ..grant });
                } else {
                    self.cluster.decline(&grant, Some(1000));
                }
            }
        }
    }

    /// One random task of those that `which` names ends.
    fn end_one(&mut self, which: impl Fn(u64) -> bool) {
        let running = self.running.iter().enumerate();
        let may: Vec<usize> =
            running.filter(|(_, task)| which(task.framework.0)).map(|(place, _)| place).collect();
        self.draws += 1;
        let count = u64::try_from(may.len()).unwrap();
        let place = may[usize::try_from(mix(self.draws) % count).unwrap()];
        let Grant { framework, role, agent, resources, .. } = self.running.swap_remove(place);
        self.cluster.allocator.recover_allocated(agent, framework, &role, &resources);
    }

    pub(super) fn tasks(&self) -> BTreeMap<u64, usize> {
        let mut tasks = BTreeMap::new();
        for task in &self.running {
            *tasks.entry(task.framework.0).or_default() += 1;
        }
        tasks
    }
}

/// Section 4.2: `n1` needs processors alone; below `n2` one leaf needs processors and another memory.
/// When the leaves of `n2` are added up, it has all memory, so each processor that is given back goes
/// to `n1`, and the leaf that needs processors starves.
#[test]
fn no_leaf_starves_when_its_sibling_needs_another_resource() {
    let users = [(1, "n1", "cpus:1"), (2, "n2/cpus", "cpus:1"), (3, "n2/mem", "mem:100")];
    let mut churn = Churn::new("cpus:100;mem:10000", &users);
    churn.fill();
    let half = |churn: &Churn| {
        let tasks = churn.tasks();
        assert!((49..=51).contains(&tasks[&2]), "{tasks:?}");
        assert_eq!((tasks[&1] + tasks[&2], tasks[&3]), (100, 100), "{tasks:?}");
    };
    half(&churn);
    for _ in 0..500 {
        churn.end_one(|user| user != 3);
        churn.fill();
        half(&churn);
    }
    // Nor when tasks that need memory end, too.
    for _ in 0..500 {
        churn.end_one(|_| true);
        churn.fill();
        half(&churn);
    }
}

/// Section 5.1: who cannot go on because all processors are used holds nobody back who needs another
/// resource.
#[test]
fn a_leaf_that_cannot_go_on_does_not_hold_back_its_sibling_nor_others() {
    let users = [
        (1, "n1", "cpus:1"),
        (2, "n2", "cpus:1"),
        (3, "n3/cpus", "cpus:1"),
        (4, "n3/mem", "mem:100"),
        (5, "n4", "mem:100"),
    ];
    let mut churn = Churn::new("cpus:90;mem:9000", &users);
    churn.fill();
    let fair = |churn: &Churn| {
        let tasks = churn.tasks();
        assert!((1..=3).all(|user| (28..=32).contains(&tasks[&user])), "{tasks:?}");
        assert!((4..=5).all(|user| (43..=47).contains(&tasks[&user])), "{tasks:?}");
    };
    fair(&churn);
    for _ in 0..500 {
        churn.end_one(|_| true);
        churn.fill();
        fair(&churn);
    }
}

/// Who waits but takes nothing does not move its whole role to the front.
#[test]
fn who_holds_nothing_and_refuses_everything_gains_nothing_for_its_siblings() {
    let users = [
        (1, "a/busy", "cpus:1"),
        (2, "a/idle", "cpus:1000"),
        (3, "b", "cpus:1"),
        (4, "c", "cpus:1"),
    ];
    let mut churn = Churn::new("cpus:90;mem:9000", &users);
    churn.fill();
    for _ in 0..300 {
        let tasks = churn.tasks();
        assert!([1, 3, 4].iter().all(|user| (29..=31).contains(&tasks[user])), "{tasks:?}");
        churn.end_one(|_| true);
        churn.fill();
    }
}

/// What an operator is told is what the roles are ranked by.
#[test]
fn the_share_of_a_role_is_the_one_it_is_ranked_by() {
    let users = [(1, "n1", "cpus:1"), (2, "n2/cpus", "cpus:1"), (3, "n2/mem", "mem:100")];
    let mut churn = Churn::new("cpus:100;mem:10000", &users);
    churn.fill();
    let shares = churn.cluster.allocator.explain(FrameworkId(2)).unwrap().shares.shown;
    let share = |name: &str| shares.iter().find(|shown| shown.role == role(name)).unwrap().share;
    assert_eq!(share("n2/mem").per_mille(), 1000);
    assert_eq!(share("n2").to_string(), share("n2/cpus").to_string());
}

/// A framework that nobody stands beside is not compared with anybody. When others join its role
/// while it wants nothing, what it holds must count beside theirs from when it wants something again.
#[test]
fn who_was_alone_in_its_role_counts_beside_those_who_join_while_it_is_silent() {
    let mut cluster = Cluster::new();
    cluster.add_framework(1, &["a"]);
    cluster.add_framework(9, &["z"]);
    cluster.add_agent(1, "cpus:8;mem:8192");
    cluster.allocator.set_agent_active(agent(1), false);
    let holds = |cluster: &mut Cluster, framework, held: &str| {
        let id = FrameworkId(framework);
        cluster.allocator.add_allocated(agent(1), id, &role("a"), &resources(held));
        cluster.allocator.check_invariants();
    };
    holds(&mut cluster, 1, "cpus:4");
    assert_eq!(cluster.run(), [], "everybody is ranked, and nothing is offered");
    cluster.allocator.suppress(FrameworkId(1), &roles(&["a"]));
    cluster.add_framework(2, &["a"]);
    holds(&mut cluster, 2, "cpus:2");
    cluster.allocator.revive(FrameworkId(1), &roles(&["a"]));
    cluster.allocator.check_invariants();
    // The second is served next, so the first counts no more than that one.
    let states = cluster.allocator.roles();
    let state = states.iter().find(|state| state.role == role("a")).unwrap();
    assert_eq!(state.share, Share::new(4, 8));
}

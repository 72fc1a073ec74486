//! What a voter keeps of what leaders told it.

use meshos_protocol::{
    ids::{ClusterId, Fence, FrameworkId, Term},
    messages::agent::TaskHint,
    role::Role,
    task::TaskLaunch,
};

use super::{
    ends::end,
    world::{agent, task, task_id},
};
use crate::master::{Hints, hints::ENDS_MAX};

fn fence(term: u64) -> Fence {
    Fence { cluster: ClusterId::from_u128(1), term: Term(term) }
}

fn ended(number: usize, at: u64) -> TaskHint {
    let name = format!("t{number}");
    let end = Some(Box::new(end(&name, at)));
    let task = task_id(&name);
    TaskHint { framework: FrameworkId(1), task, agent: agent(7, 1), launch: None, end }
}

fn ends(hints: &Hints) -> Vec<u64> {
    hints.all().into_iter().filter_map(|hint| Some(hint.end?.ended_at.0)).collect()
}

#[test]
fn the_newest_ends_are_kept_and_of_each_task_the_last_word() {
    let mut hints = Hints::default();
    hints.take(fence(1), [ended(1, 10), ended(2, 20), ended(1, 30)]);
    assert_eq!(ends(&hints), [20, 30]);
    hints.take(fence(2), (10..8 + ENDS_MAX).map(|number| ended(number, 40)));
    assert_eq!(ends(&hints)[..3], [20, 30, 40]);
    hints.take(fence(2), [ended(3, 50)]);
    assert_eq!(ends(&hints).len(), ENDS_MAX);
    assert_eq!(ends(&hints)[0], 30);
    // One that runs elsewhere under the name of one that ended is another.
    let launch = TaskLaunch { description: task("t3", "cpus:1"), role: Role::default() };
    let launched = TaskHint { agent: agent(8, 1), launch: Some(launch), end: None, ..ended(3, 0) };
    hints.take(fence(2), [launched, ended(3, 55)]);
    assert_eq!(hints.live(), 1);
    hints.take(fence(1), [ended(4, 60)]);
    assert!(!ends(&hints).contains(&60), "an earlier leader's word comes too late");
}

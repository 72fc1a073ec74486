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
use crate::master::{Hints, HintsCursor, HintsPlace, hints::ENDS_MAX};

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

fn launched(number: usize) -> TaskHint {
    let launch =
        TaskLaunch { description: task(&format!("t{number}"), "cpus:1"), role: Role::default() };
    TaskHint { launch: Some(launch), end: None, ..ended(number, 0) }
}

fn counted(number: u64) -> HintsPlace {
    HintsPlace { number, afresh: false }
}

#[test]
fn who_has_missed_hints_says_so_until_all_are_told_afresh() {
    let mut hints = Hints::default();
    assert!(!hints.take_counted(fence(1), counted(0), vec![launched(1)]), "what was before?");
    assert!(!hints.take_counted(fence(1), counted(1), vec![]), "still not known");
    let afresh = HintsPlace { number: 0, afresh: true };
    assert!(hints.take_counted(fence(1), afresh, vec![launched(2)]));
    assert_eq!(hints.live(), 1, "what was known before is forgotten");
    assert!(hints.take_counted(fence(1), counted(1), vec![launched(3), launched(4)]));
    assert!(!hints.take_counted(fence(1), counted(4), vec![launched(6)]), "one was missed");
    assert!(hints.take_counted(fence(2), counted(0), vec![]), "the next leader begins as always");
    assert!(hints.take_counted(fence(1), counted(9), vec![launched(7)]), "nobody cares any more");
    assert_eq!(hints.live(), 4);
    hints.take(fence(2), []);
    assert!(!hints.take_counted(fence(2), counted(0), vec![]), "told without counting meanwhile");
}

#[test]
fn pages_hold_all_that_is_known_once() {
    let mut hints = Hints::default();
    hints.take(fence(1), [ended(8, 10), ended(9, 20)]);
    hints.take(fence(1), (1..=5).map(launched));
    let mut cursor = HintsCursor::default();
    let mut pages = Vec::new();
    loop {
        let page = hints.page(&mut cursor, 2);
        if page.is_empty() {
            break;
        }
        pages.push(page.len());
        // It has ended since, and what comes after it is still told.
        hints.take(fence(1), [ended(3, 30)]);
    }
    assert_eq!(pages, [2, 2, 2], "two ends, then t1 and t2, t4 and t5");
}

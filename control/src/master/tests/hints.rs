//! What a voter keeps of what leaders told it.

use meshos_protocol::{
    ids::{ClusterId, Fence, FrameworkId, Term},
    messages::{
        agent::TaskHint,
        node::{HintsPlace, Retold},
    },
    role::Role,
    task::TaskLaunch,
};

use super::{
    ends::end,
    world::{agent, task, task_id},
};
use crate::master::{Hints, HintsCursor, hints::ENDS_MAX};

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
    let launch = TaskLaunch {
        description: task("t3", "cpus:1"),
        role: Role::default(),
        executor_resources: None,
    };
    let launched = TaskHint { agent: agent(8, 1), launch: Some(launch), end: None, ..ended(3, 0) };
    hints.take(fence(2), [launched, ended(3, 55)]);
    assert_eq!(hints.live(), 1);
    hints.take(fence(1), [ended(4, 60)]);
    assert!(!ends(&hints).contains(&60), "an earlier leader's word comes too late");
}

fn launched(number: usize) -> TaskHint {
    let launch = TaskLaunch {
        description: task(&format!("t{number}"), "cpus:1"),
        role: Role::default(),
        executor_resources: None,
    };
    TaskHint { launch: Some(launch), end: None, ..ended(number, 0) }
}

/// What is told as news after so many hints.
fn news(number: u64) -> HintsPlace {
    HintsPlace { number, after: None, retold: None }
}

/// A page of all that a leader knows.
fn page(number: u64, first: bool, last: bool) -> HintsPlace {
    HintsPlace { retold: Some(Retold { first, last, all: true }), ..news(number) }
}

fn live(hints: &Hints) -> Vec<String> {
    let live = hints.all().into_iter().filter(|hint| hint.launch.is_some());
    live.map(|hint| hint.task.to_string()).collect()
}

#[test]
fn who_has_missed_hints_says_so_until_all_are_told_again() {
    let mut hints = Hints::default();
    assert!(!hints.hear(fence(1), news(0), vec![launched(1)]), "what was before?");
    assert!(!hints.hear(fence(1), news(1), vec![]), "still not known");
    assert!(hints.hear(fence(1), page(0, true, false), vec![launched(2)]));
    assert_eq!(live(&hints), ["t1", "t2"], "nothing is forgotten before all is told");
    assert!(hints.hear(fence(1), page(1, false, true), vec![launched(3)]));
    assert_eq!(live(&hints), ["t2", "t3"], "what was not told again is over");
    assert!(hints.hear(fence(1), news(2), vec![launched(4)]));
    assert!(!hints.hear(fence(1), news(4), vec![launched(6)]), "one was missed");
    assert!(!hints.hear(fence(1), page(2, false, true), vec![]), "and no page may be, either");
    assert_eq!(live(&hints).len(), 4);
}

#[test]
fn a_leader_that_does_not_know_all_has_nothing_forgotten() {
    let mut hints = Hints::default();
    hints.take(fence(1), [launched(1)]);
    let some =
        HintsPlace { retold: Some(Retold { first: true, last: true, all: false }), ..news(0) };
    assert!(hints.hear(fence(2), some, vec![launched(2)]));
    assert_eq!(live(&hints), ["t1", "t2"]);
    assert!(hints.hear(fence(2), news(1), vec![launched(3)]));
}

/// A voter that knows all that the leader of term 1 told.
fn complete() -> Hints {
    let mut hints = Hints::default();
    assert!(hints.hear(fence(1), page(0, true, true), vec![launched(1)]));
    hints
}

#[test]
fn after_a_change_of_leader_only_those_have_missed_nothing_who_knew_what_the_new_one_knew() {
    let after = |term: Option<u64>| HintsPlace { after: term.map(Term), ..news(0) };
    let mut next = complete();
    assert_eq!(next.lead(fence(3)), Some(Term(1)), "it knows all of the leader before");
    next.record(fence(3), launched(2));
    let mut hints = complete();
    assert!(hints.hear(fence(3), after(Some(1)), vec![launched(2)]));
    assert_eq!(live(&hints), live(&next));
    // The leader before was another one than this voter's last.
    assert!(!complete().hear(fence(4), after(Some(3)), vec![]));
    // The leader itself does not know all.
    assert!(!complete().hear(fence(4), after(None), vec![]));
    // This voter had missed some, or was just being told.
    let mut behind = complete();
    assert!(!behind.hear(fence(1), news(7), vec![]));
    assert_eq!(behind.clone().lead(fence(3)), None);
    assert!(!behind.hear(fence(3), after(Some(1)), vec![]));
    let mut half = complete();
    assert!(half.hear(fence(1), page(0, true, false), vec![]));
    assert!(!half.hear(fence(3), after(Some(1)), vec![]));
    assert_eq!(live(&half), ["t1"], "and it has lost nothing");
    // A leader that is deposed knows what it told.
    assert!(next.hear(fence(5), after(Some(3)), vec![]));
    // Told without counting, by an earlier release.
    hints.take(fence(5), []);
    assert!(!hints.hear(fence(5), news(0), vec![]));
    assert!(hints.hear(fence(1), news(9), vec![launched(7)]), "of that one nobody cares any more");
    assert!(!live(&hints).contains(&"t7".to_owned()));
}

#[test]
fn pages_hold_all_that_is_known_once() {
    let mut hints = Hints::default();
    hints.take(fence(1), [ended(8, 10), ended(9, 20)]);
    hints.take(fence(1), (1..=5).map(launched));
    let mut cursor = HintsCursor::default();
    let mut pages = Vec::new();
    loop {
        assert!(pages.len() < 3, "it does not end: {pages:?}");
        let page = hints.page(&mut cursor, 3, usize::MAX);
        pages.push(
            page.hints.iter().map(|hint| hint.task.to_string()).collect::<Vec<_>>().join(" "),
        );
        if page.last {
            break;
        }
        // It has ended since, and what comes after it is still told.
        hints.take(fence(1), [ended(3, 30)]);
    }
    assert_eq!(pages, ["t8 t9 t1", "t2 t4 t5"], "the end that came meanwhile is queued");
}

#[test]
fn a_page_has_a_size_and_at_least_one_hint() {
    let mut hints = Hints::default();
    let mut large = launched(1);
    let launch = large.launch.as_mut().unwrap();
    launch.description.command.environment.insert("X".to_owned(), "x".repeat(5_000));
    hints.take(fence(1), [large, launched(2), launched(3)]);
    let mut cursor = HintsCursor::default();
    let first = hints.page(&mut cursor, 10, 2_000);
    assert_eq!((first.hints.len(), first.last), (1, false));
    let second = hints.page(&mut cursor, 10, 2_000);
    assert_eq!((second.hints.len(), second.last), (2, true));
    let last = hints.page(&mut cursor, 10, 2_000);
    assert_eq!((last.hints.len(), last.last), (0, true));
}

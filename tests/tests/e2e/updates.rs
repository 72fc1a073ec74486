//! Frameworks that change what they say of themselves while they run.

use std::collections::{BTreeMap, BTreeSet};

use meshos_sdk::protocol::{
    framework::{Capabilities, FrameworkInfo},
    ids::Term,
    messages::scheduler::CallErrorKind,
    role::Role,
    task::TaskState,
};
use meshos_tests::{Cluster, Framework, FrameworkOptions, Handling, Journal, Note, wait_until};

use crate::common::{assert_alive, gated, ids, wait_for_births};

fn info(roles: &[&str], user: &str) -> FrameworkInfo {
    FrameworkInfo {
        name: "renamed".to_owned(),
        user: user.to_owned(),
        roles: roles.iter().map(|role| Role::new(role).unwrap()).collect(),
        failover_timeout_ms: 60_000,
        capabilities: Capabilities::default(),
        hostname: String::new(),
        webui_url: String::new(),
        labels: BTreeMap::new(),
    }
}

/// The roles of the open offers that were made in a term.
fn offered_in(framework: &Framework, term: u64) -> BTreeSet<String> {
    let open = framework.open_offers().into_iter().filter(|offer| offer.id.term == Term(term));
    open.map(|offer| offer.role.to_string()).collect()
}

fn wait_for_role(framework: &Framework, term: u64, role: &str) {
    wait_until("offers come in that role alone", || {
        offered_in(framework, term) == [role.to_owned()].into()
    });
}

/// How the newest of so many updates was answered.
fn outcome(framework: &Framework, updates: usize) -> Option<CallErrorKind> {
    framework.wait_for("the update is answered", |notes| {
        let told = notes.iter().filter_map(|(_, note)| match note {
            Note::Updated(outcome) => Some(outcome.as_ref().err().map(|error| error.kind)),
            _ => None,
        });
        told.collect::<Vec<_>>().get(updates - 1).copied()
    })
}

#[test]
fn the_roles_of_an_update_survive_the_leader() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let follower = cluster.follower();
    let mut journal = Journal::new();
    let framework = Framework::start(
        &cluster,
        FrameworkOptions {
            roles: vec!["before".to_owned()],
            handling: Handling::Keep,
            ..FrameworkOptions::new("updated", &[follower])
        },
    );
    wait_for_role(&framework, leader.term, "before");
    let tasks = ids("task", 1);
    framework.submit_on(&cluster.nodes[follower].id(), gated(&journal, &tasks, "gate", 0));
    wait_for_births(&journal, &tasks);

    framework.driver().update_framework(info(&["after"], "root"), [].into(), None);
    assert_eq!(outcome(&framework, 1), Some(CallErrorKind::Invalid), "another user");
    framework.driver().update_framework(info(&["after"], ""), [].into(), None);
    assert_eq!(outcome(&framework, 2), None);
    wait_for_role(&framework, leader.term, "after");
    assert_alive(&journal, &tasks);
    let registered = |notes: &[Note]| {
        notes
            .iter()
            .filter(|note| matches!(note, Note::Registered(_) | Note::Reregistered(_)))
            .count()
    };
    let notes: Vec<Note> = framework.notes().into_iter().map(|(_, note)| note).collect();
    assert_eq!(registered(&notes), 1, "under the same subscription");

    cluster.nodes[leader.index].kill();
    // Said while there may be no leader.
    framework.driver().update_framework(info(&["last"], ""), [].into(), None);
    assert_eq!(outcome(&framework, 3), None);
    let next = cluster.leader_after(leader.term);
    wait_for_role(&framework, next.term, "last");
    journal.open_gate("gate");
    framework.wait_for_state(&tasks[0], TaskState::Finished);
    let shown = cluster.nodes[next.index].json("/api/frameworks").unwrap();
    let id = framework.id().to_string();
    let row = shown.as_array().unwrap().iter().find(|row| row["id"] == id).unwrap();
    assert_eq!(row["name"], "renamed", "{row}");
}

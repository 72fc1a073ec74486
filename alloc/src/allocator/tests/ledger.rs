//! The ledger holds under late, repeated and impossible calls.

use std::{collections::BTreeSet, time::Duration};

use meshos_protocol::{
    attributes::Attributes, framework::Capabilities, ids::FrameworkId, resources::Resources,
    time::Mono,
};

use super::support::{Cluster, agent, resources, role};

const FIRST: FrameworkId = FrameworkId(1);

fn free(cluster: &Cluster, number: u64) -> String {
    cluster.allocator.agent(agent(number)).unwrap().free.to_string()
}

#[test]
fn what_came_back_once_does_not_come_back_again() {
    let mut cluster = Cluster::new();
    cluster.add_agent(1, "cpus:4;mem:4096;ports:[1-9]");
    cluster.add_framework(1, &["*"]);
    let grant = cluster.run().remove(0);
    cluster.accept_text(&grant, "cpus:1;mem:1024;ports:[3-4]");
    cluster.decline(&grant, None);
    assert_eq!(free(&cluster, 1), "cpus:3;mem:3072;ports:[1-2,5-9]");
    for _ in 0..2 {
        let used = resources("cpus:1;mem:1024;ports:[3-4]");
        cluster.allocator.recover_allocated(agent(1), FIRST, &role("*"), &used);
        cluster.allocator.check_invariants();
        assert_eq!(free(&cluster, 1), "cpus:4;mem:4096;ports:[1-9]");
    }
}

#[test]
fn more_than_was_offered_cannot_be_used() {
    let mut cluster = Cluster::new();
    cluster.add_agent(1, "cpus:4;mem:4096");
    cluster.add_framework(1, &["*"]);
    let grant = cluster.run().remove(0);
    let greedy = resources("cpus:9;mem:1024;disk:5");
    let offered = &grant.resources;
    cluster.allocator.accept(agent(1), FIRST, &role("*"), offered, &greedy, None);
    cluster.allocator.check_invariants();
    assert_eq!(cluster.allocator.agent(agent(1)).unwrap().allocated, resources("cpus:4;mem:1024"));
}

#[test]
fn strangers_change_nothing() {
    let mut cluster = Cluster::new();
    cluster.add_agent(1, "cpus:4;mem:4096");
    let all = resources("cpus:4;mem:4096");
    let (allocator, role) = (&mut cluster.allocator, role("*"));
    for known in [agent(1), agent(2)] {
        allocator.recover_offered(known, FIRST, &role, &all, Some(Mono(9)));
        allocator.recover_allocated(known, FIRST, &role, &all);
        allocator.accept(known, FIRST, &role, &all, &all, None);
    }
    allocator.add_allocated(agent(2), FIRST, &role, &all);
    allocator.add_allocated(agent(1), FIRST, &role, &Resources::new());
    allocator.remove_agent(agent(2));
    allocator.remove_framework(FIRST);
    allocator.suppress(FIRST, &BTreeSet::new());
    allocator.revive(FIRST, &BTreeSet::new());
    allocator.check_invariants();
    assert_eq!(free(&cluster, 1), "cpus:4;mem:4096");
    assert_eq!(cluster.allocator.roles(), []);
}

#[test]
fn a_framework_that_is_removed_leaves_its_tasks_counted_until_they_end() {
    let mut cluster = Cluster::new();
    cluster.add_agent(1, "cpus:4;mem:4096");
    cluster.add_framework(1, &["a"]);
    let grant = cluster.run().remove(0);
    cluster.accept_text(&grant, "cpus:1;mem:1024");
    let offer = cluster.run().remove(0);
    cluster.allocator.remove_framework(FIRST);
    cluster.allocator.check_invariants();
    assert_eq!(free(&cluster, 1), "cpus:3;mem:3072");
    cluster.decline(&offer, Some(1000));
    assert_eq!(free(&cluster, 1), "cpus:3;mem:3072", "its offers were taken back already");
    assert_eq!(cluster.run(), []);
    let used = resources("cpus:1;mem:1024");
    cluster.allocator.recover_allocated(agent(1), FIRST, &role("a"), &used);
    cluster.allocator.check_invariants();
    assert_eq!(cluster.allocator.roles(), [], "the role went with its last task");
}

#[test]
fn an_agent_that_comes_back_smaller_has_nothing_free_until_enough_has_ended() {
    let mut cluster = Cluster::new();
    cluster.add_agent(1, "cpus:4;mem:4096");
    cluster.add_framework(1, &["*"]);
    let (role, task) = (role("*"), resources("cpus:1;mem:1024"));
    for _ in 0..4 {
        cluster.allocator.add_allocated(agent(1), FIRST, &role, &task);
    }
    let smaller = resources("cpus:2;mem:8192");
    cluster.allocator.update_agent(agent(1), smaller, Attributes::default());
    cluster.allocator.check_invariants();
    assert_eq!(free(&cluster, 1), "mem:4096");
    for expected in ["mem:5120", "mem:6144", "cpus:1;mem:7168", "cpus:2;mem:8192"] {
        cluster.allocator.recover_allocated(agent(1), FIRST, &role, &task);
        cluster.allocator.check_invariants();
        assert_eq!(free(&cluster, 1), expected);
    }
}

#[test]
fn an_agent_that_is_removed_takes_everything_with_it() {
    let mut cluster = Cluster::new();
    cluster.add_agent(1, "cpus:4;mem:4096");
    cluster.add_framework(1, &["*"]);
    let grant = cluster.run().remove(0);
    cluster.accept_text(&grant, "cpus:1;mem:1024");
    let rest = cluster.run().remove(0);
    cluster.decline(&rest, Some(1000));
    cluster.allocator.remove_agent(agent(1));
    cluster.allocator.check_invariants();
    assert_eq!(cluster.allocator.next_deadline(), None);
    assert!(cluster.allocator.total().is_empty());
    cluster.add_agent(2, "cpus:1;mem:64");
    let grants = cluster.run();
    assert_eq!(grants.len(), 1, "no filter of the other agent is left: {grants:?}");
}

#[test]
fn what_another_framework_refused_does_not_bind_the_next_one_in_its_place() {
    let mut cluster = Cluster::new();
    cluster.add_agent(1, "cpus:4;mem:4096");
    for number in 1..200 {
        cluster.add_framework(number, &["*"]);
        let grant = cluster.run().remove(0);
        assert_eq!(grant.framework, FrameworkId(number));
        cluster.decline(&grant, Some(1_000_000));
        cluster.allocator.remove_framework(FrameworkId(number));
    }
}

#[test]
fn refusals_are_cut_to_the_longest_allowed() {
    let cluster = Cluster::new();
    let until = |duration| cluster.allocator.refuse_until(Mono(5), duration);
    assert_eq!(until(Duration::ZERO), None);
    assert_eq!(until(Duration::from_secs(2)), Some(Mono(2005)));
    let year = 365 * 24 * 60 * 60 * 1_000;
    assert_eq!(until(Duration::MAX), Some(Mono(5 + year)));
    assert_eq!(until(Duration::from_millis(year - 1)), Some(Mono(5 + year - 1)));
}

#[test]
fn adding_an_agent_again_replaces_it() {
    let mut cluster = Cluster::new();
    cluster.add_agent(1, "cpus:4;mem:4096");
    cluster.add_agent(1, "cpus:2;mem:4096");
    assert_eq!(cluster.allocator.total().to_string(), "cpus:2;mem:4096");
    let capabilities = Capabilities::default();
    let in_role = BTreeSet::from([role("*")]);
    for _ in 0..2 {
        cluster.allocator.add_framework(FIRST, &in_role, &BTreeSet::new(), capabilities);
        cluster.allocator.check_invariants();
    }
    assert_eq!(cluster.run().len(), 1);
}

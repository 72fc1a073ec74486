//! Each rule that keeps an agent from somebody, by its name.

use std::collections::BTreeMap;

use meshos_protocol::{ids::FrameworkId, time::Mono};

use super::support::{Cluster, agent, resources, role, roles};
use crate::{Grant, OfferMode, Options, Quota, SkipRule};

/// Sets a cluster up of one agent and framework 1 in role `a`, which the rule keeps apart.
type Setting = fn(&mut Cluster);

fn add(cluster: &mut Cluster, total: &str) {
    cluster.add_framework(1, &["a"]);
    cluster.add_agent(1, total);
}

fn limit(cluster: &mut Cluster, cpus: &str) {
    let limit = resources(cpus).quantities();
    let limit = limit.iter().map(|(name, amount)| (name.clone(), amount)).collect();
    cluster.allocator.set_quota(&role("a"), Quota { limit, ..Quota::default() });
}

fn offered_to_it(cluster: &mut Cluster) {
    add(cluster, "cpus:2;mem:1024");
    assert_eq!(cluster.run().len(), 1);
}

fn offered_to_another(cluster: &mut Cluster) {
    cluster.add_framework(2, &["a"]);
    cluster.add_agent(1, "cpus:2;mem:1024");
    assert_eq!(cluster.run().len(), 1);
    cluster.add_framework(1, &["a"]);
    cluster.run();
}

fn declined(cluster: &mut Cluster) {
    add(cluster, "cpus:2;mem:1024");
    let grant = cluster.run().remove(0);
    cluster.decline(&grant, Some(1000));
    cluster.run();
}

/// An offer is not answered in time, and not made again before a second has passed.
fn time_out(cluster: &mut Cluster, grant: &Grant) {
    let until = Some(Mono(cluster.now.0 + 1000));
    let Grant { framework, role, agent, resources, .. } = grant;
    cluster.allocator.take_back_offered(*agent, *framework, role, resources, until);
    cluster.allocator.check_invariants();
}

fn timed_out(cluster: &mut Cluster) {
    add(cluster, "cpus:2;mem:1024");
    let grant = cluster.run().remove(0);
    time_out(cluster, &grant);
    cluster.run();
}

fn turn_taken(cluster: &mut Cluster) {
    add(cluster, "cpus:2;mem:1024");
    let grant = cluster.run().remove(0);
    cluster.decline(&grant, None);
}

fn at_its_limit(cluster: &mut Cluster) {
    add(cluster, "cpus:2;mem:1024");
    let grant = cluster.run().remove(0);
    cluster.accept_text(&grant, "cpus:1;mem:64");
    limit(cluster, "cpus:1");
    cluster.run();
}

fn too_little_is_left(cluster: &mut Cluster) {
    add(cluster, "cpus:2;mem:1024");
    let grant = cluster.run().remove(0);
    cluster.accept_text(&grant, "cpus:1.995;mem:1020");
    cluster.run();
}

fn all_is_reserved(cluster: &mut Cluster) {
    add(cluster, "cpus(z):2;mem(z):1024");
    cluster.run();
}

fn gone(cluster: &mut Cluster) {
    add(cluster, "cpus:2;mem:1024");
    cluster.allocator.set_framework_active(FrameworkId(1), false);
    cluster.run();
}

fn drained(cluster: &mut Cluster) {
    add(cluster, "cpus:2;mem:1024");
    cluster.allocator.set_agent_active(agent(1), false);
    cluster.run();
}

fn silent(cluster: &mut Cluster) {
    add(cluster, "cpus:2;mem:1024");
    cluster.allocator.suppress(FrameworkId(1), &roles(&["a"]));
    cluster.run();
}

#[test]
fn each_rule_is_named_when_it_keeps_an_agent_from_a_framework() {
    let table: [(SkipRule, Setting); 11] = [
        (SkipRule::OfferedAlready, offered_to_it),
        (SkipRule::OfferedElsewhere, offered_to_another),
        (SkipRule::Refused, declined),
        (SkipRule::TimedOut, timed_out),
        (SkipRule::TurnTaken, turn_taken),
        (SkipRule::QuotaLimit, at_its_limit),
        (SkipRule::BelowMinimum, too_little_is_left),
        (SkipRule::ReservedForOtherRole, all_is_reserved),
        (SkipRule::Inactive, gone),
        (SkipRule::AgentInactive, drained),
        (SkipRule::Suppressed, silent),
    ];
    for (rule, setting) in table {
        let mut cluster = Cluster::new();
        setting(&mut cluster);
        let explained = cluster.allocator.explain(FrameworkId(1)).unwrap();
        assert_eq!(explained.roles[0].skipped, BTreeMap::from([(rule, 1)]), "{rule:?}");
    }
}

/// Of the agent for framework 1, and for how long yet.
fn rule_and_time(cluster: &Cluster) -> (SkipRule, Option<u64>) {
    let explained = cluster.allocator.explain(FrameworkId(1)).unwrap();
    let nearest = &explained.roles[0].nearest[0];
    (nearest.rule, nearest.left_ms)
}

#[test]
fn an_offer_that_timed_out_is_told_from_one_that_was_declined() {
    let mut cluster = Cluster::new();
    timed_out(&mut cluster);
    assert_eq!(rule_and_time(&cluster), (SkipRule::TimedOut, Some(1000)));
    // What was declined of one agent is still declined when an offer of another times out.
    let mut cluster = Cluster::new();
    add(&mut cluster, "cpus:2;mem:1024");
    let grant = cluster.run().remove(0);
    cluster.decline(&grant, Some(5000));
    cluster.add_agent(2, "cpus:1;mem:512");
    let small = cluster.run().remove(0);
    time_out(&mut cluster, &small);
    cluster.run();
    let explained = cluster.allocator.explain(FrameworkId(1)).unwrap();
    let rules = [(SkipRule::Refused, 1), (SkipRule::TimedOut, 1)];
    assert_eq!(explained.roles[0].skipped, BTreeMap::from(rules), "each agent for itself");
    // Time passes, the agent is offered again, and this time it says no.
    cluster.now = Mono(1000);
    let again = cluster.run().remove(0);
    assert_eq!(again.agent, agent(2));
    cluster.decline(&again, Some(9000));
    cluster.run();
    let explained = cluster.allocator.explain(FrameworkId(1)).unwrap();
    assert_eq!(explained.roles[0].skipped, BTreeMap::from([(SkipRule::Refused, 2)]));
    // Whoever revives wants it again, whatever kept it away.
    cluster.allocator.revive(FrameworkId(1), &roles(&["a"]));
    assert_eq!(cluster.run().len(), 2);
}

#[test]
fn what_a_framework_is_offered_itself_is_not_held_for_somebody_else() {
    let options = Options { offers: OfferMode::Optimistic, ..Options::default() };
    let mut cluster = Cluster::with(options, 7);
    cluster.add_framework(1, &["a"]);
    cluster.add_framework(2, &["a"]);
    cluster.add_agent(1, "cpus:2;mem:1024");
    assert_eq!(cluster.run().len(), 2, "both at once");
    assert_eq!(rule_and_time(&cluster), (SkipRule::OfferedAlready, None));
    let task = resources("cpus:1;mem:64");
    let explained = cluster.allocator.explain_task(FrameworkId(1), &role("a"), &task).unwrap();
    assert_eq!(explained.fit.skipped, BTreeMap::from([(SkipRule::OfferedAlready, 1)]));
}

#[test]
fn a_role_is_explained_with_those_below_it_and_what_keeps_agents_from_the_first_of_them() {
    let mut cluster = Cluster::new();
    cluster.allocator.set_weight(&role("a"), 2000);
    limit(&mut cluster, "cpus:4");
    cluster.add_framework(1, &["a/b"]);
    cluster.add_framework(2, &["a"]);
    cluster.add_framework(3, &["z"]);
    cluster.add_agent(1, "cpus:2;mem:1024");
    cluster.allocator.suppress(FrameworkId(2), &roles(&["a"]));
    let grant = cluster.run().remove(0);
    assert_eq!(grant.framework, FrameworkId(1));
    cluster.accept_text(&grant, "cpus:1;mem:1024");
    cluster.run();
    let explained = cluster.allocator.explain_role(&role("a")).unwrap();
    assert_eq!(
        (explained.weight_millis, explained.waiting, explained.waiting_in_all),
        (2000, 1, 2)
    );
    // Over its weight it holds half of the memory, and `z` is offered half of the processors.
    assert_eq!(explained.position, Some(0));
    assert_eq!(explained.consumed, resources("cpus:1;mem:1024").quantities());
    let members: Vec<_> =
        explained.frameworks.iter().map(|member| (member.framework.0, member.rule)).collect();
    assert_eq!(members, [(1, None), (2, Some(SkipRule::Suppressed))]);
    let first = explained.first.unwrap();
    assert_eq!((first.role, first.agents), (role("a/b"), 1));
    assert_eq!(first.skipped.values().sum::<usize>(), 1);
    assert!(cluster.allocator.explain_role(&role("nobody")).is_none());
}

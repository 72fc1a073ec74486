//! Each rule that keeps an agent from somebody, by its name.

use std::collections::BTreeMap;

use meshos_protocol::{
    framework::Capabilities, ids::FrameworkId, time::Mono, wishes::ResourceRequest,
};

use super::{
    kinds::volume,
    support::{Cluster, agent, resources, role, roles},
};
use crate::{AgentProfile, Grant, OfferMode, Options, Quota, SkipRule, policy::Priority};

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

/// What framework 1 may not have is free beside what it may.
const WITH_RESERVED: &str = "cpus:2;mem:1024;cpus(z):1;mem(z):64";
const WITH_REVOCABLE: &str = "cpus:2;mem:1024;cpus{revocable}:8;mem{revocable}:512";

fn offered_to_it_beside(cluster: &mut Cluster, total: &str) {
    add(cluster, total);
    assert_eq!(cluster.run().len(), 1);
    cluster.run();
}

fn offered_to_another_beside(cluster: &mut Cluster, total: &str) {
    cluster.add_framework(2, &["a"]);
    cluster.add_agent(1, total);
    assert_eq!(cluster.run().len(), 1);
    cluster.add_framework(1, &["a"]);
    cluster.run();
}

fn used_beside(cluster: &mut Cluster, total: &str, used: &str) {
    add(cluster, total);
    let grant = cluster.run().remove(0);
    cluster.accept_text(&grant, used);
    cluster.run();
}

/// A shared volume of the role is free, however much it is used.
fn all_but_a_shared_volume_is_used(cluster: &mut Cluster) {
    cluster.add_framework(1, &["a"]);
    let mut total = resources("cpus:2;mem:1024");
    total.insert(volume(true));
    cluster.allocator.add_agent(agent(1), total, AgentProfile::default(), &[]);
    let grant = cluster.run().remove(0);
    cluster.accept_text(&grant, "cpus:2;mem:1024");
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
    let table: [(SkipRule, Setting); 20] = [
        (SkipRule::OfferedAlready, offered_to_it),
        (SkipRule::OfferedElsewhere, offered_to_another),
        (SkipRule::Refused, declined),
        (SkipRule::TimedOut, timed_out),
        (SkipRule::TurnTaken, turn_taken),
        (SkipRule::QuotaLimit, at_its_limit),
        (SkipRule::BelowMinimum, too_little_is_left),
        (SkipRule::ReservedForOtherRole, all_is_reserved),
        (SkipRule::NotUnderstood, |it| add(it, "cpus{revocable}:2;mem{revocable}:512")),
        (SkipRule::OfferedAlready, |it| offered_to_it_beside(it, WITH_RESERVED)),
        (SkipRule::OfferedElsewhere, |it| offered_to_another_beside(it, WITH_RESERVED)),
        (SkipRule::NothingFree, |it| used_beside(it, WITH_RESERVED, "cpus:2;mem:1024")),
        (SkipRule::BelowMinimum, |it| used_beside(it, WITH_RESERVED, "cpus:1.995;mem:1020")),
        (SkipRule::OfferedAlready, |it| offered_to_it_beside(it, WITH_REVOCABLE)),
        (SkipRule::OfferedElsewhere, |it| offered_to_another_beside(it, WITH_REVOCABLE)),
        (SkipRule::NothingFree, |it| used_beside(it, WITH_REVOCABLE, "cpus:2;mem:1024")),
        (SkipRule::NothingFree, all_but_a_shared_volume_is_used),
        (SkipRule::Inactive, gone),
        (SkipRule::AgentInactive, drained),
        (SkipRule::Suppressed, silent),
    ];
    for (index, (rule, setting)) in table.into_iter().enumerate() {
        let mut cluster = Cluster::new();
        setting(&mut cluster);
        let explained = cluster.allocator.explain(FrameworkId(1)).unwrap();
        assert_eq!(explained.roles[0].skipped, BTreeMap::from([(rule, 1)]), "{index}: {rule:?}");
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

/// Of two frameworks of one role one is offered what is not reserved; the reservation of another role
/// stays free and is looked at for both.
#[test]
fn what_a_look_costs_is_counted_under_the_rule_that_an_explanation_names() {
    let mut cluster = Cluster::new();
    offered_to_another_beside(&mut cluster, WITH_RESERVED);
    let told = |framework: u64| {
        let mut explained = cluster.allocator.explain(FrameworkId(framework)).unwrap();
        explained.roles.remove(0).skipped_so_far.into_keys().collect::<Vec<_>>()
    };
    assert_eq!(told(1), [SkipRule::OfferedElsewhere]);
    assert_eq!(told(2), [SkipRule::OfferedAlready]);
}

/// When offers are optimistic, and beside a reservation of somebody else.
#[test]
fn those_who_are_offered_the_same_agent_are_told_so() {
    let options = Options { offers: OfferMode::Optimistic, ..Options::default() };
    let mut cluster = Cluster::with(options, 7);
    (1..=9).for_each(|number| cluster.add_framework(number, &["a"]));
    cluster.add_agent(1, WITH_RESERVED);
    let grants = cluster.run();
    assert_eq!(grants.len(), 8, "so many at once");
    let explained = cluster.allocator.explain_agent(agent(1)).unwrap();
    let rules = [(SkipRule::OfferedAlready, 8), (SkipRule::OfferedElsewhere, 1)];
    assert_eq!(explained.skipped, BTreeMap::from(rules));
    // One is faster, and nothing is left that another may have.
    cluster.accept_text(&grants[0], "cpus:2;mem:1024");
    for rescind in cluster.allocator.take_rescinds() {
        let grant = grants.iter().find(|grant| grant.framework == rescind.framework).unwrap();
        let Grant { framework, role, agent, resources, .. } = grant;
        cluster.allocator.take_back_offered(*agent, *framework, role, resources, None);
    }
    cluster.run();
    let explained = cluster.allocator.explain_agent(agent(1)).unwrap();
    assert_eq!(explained.skipped, BTreeMap::from([(SkipRule::NothingFree, 9)]));
}

/// By the first thing that decides it, however many things are short.
#[test]
fn each_agent_on_which_a_task_does_not_fit_is_counted_once() {
    let decided = |cluster: &Cluster, task: &str| {
        let task = resources(task);
        let told = cluster.allocator.explain_task(FrameworkId(1), &role("a"), &task).unwrap();
        let fit = told.fit;
        let sum = fit.fits + fit.kept_by.values().chain(fit.short_of.values()).sum::<usize>();
        assert_eq!(sum, fit.considered, "{fit:?}");
        let short = fit.short_of.keys().map(String::as_str);
        let kept = fit.kept_by.keys().map(|rule| rule.name());
        short.chain(kept).map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    let mut cluster = Cluster::new();
    offered_to_another_beside(&mut cluster, WITH_REVOCABLE);
    assert_eq!(decided(&cluster, "cpus:1;mem:64"), "offered_elsewhere");
    assert_eq!(
        decided(&cluster, "cpus:1;mem:4096;ports:[1-2]"),
        "mem",
        "it has not so much at all"
    );
    let mut cluster = Cluster::new();
    offered_to_it(&mut cluster);
    assert_eq!(decided(&cluster, "cpus:1;mem:64"), "offered_already");
    let mut cluster = Cluster::new();
    used_beside(&mut cluster, WITH_RESERVED, "cpus:2;mem:1024");
    assert_eq!(decided(&cluster, "cpus:1;mem:64"), "nothing_free");
    let mut cluster = Cluster::new();
    used_beside(&mut cluster, WITH_RESERVED, "cpus:0.5;mem:512");
    assert_eq!(decided(&cluster, "cpus:1;mem:64"), "offered_already");
    let mut cluster = Cluster::new();
    all_is_reserved(&mut cluster);
    assert_eq!(decided(&cluster, "cpus:1;mem:64"), "reserved_for_other_role");
    // A part of it is used, a part is offered to somebody else, and what is left is not enough.
    let mut cluster = Cluster::new();
    add(&mut cluster, "cpus:4;mem:1024");
    let request = [ResourceRequest::new(resources("cpus:2;mem:64"), 1)];
    cluster.allocator.set_demand(FrameworkId(1), &role("a"), &request, None).unwrap();
    let task = resources("cpus:1;mem:64");
    cluster.allocator.add_allocated(agent(1), FrameworkId(2), &role("b"), &task);
    assert_eq!(cluster.run().len(), 1);
    assert_eq!(decided(&cluster, "cpus:2;mem:64"), "demand_met");
    cluster.add_framework(2, &["b"]);
    cluster.allocator.set_demand(FrameworkId(1), &role("a"), &[], None).unwrap();
    assert_eq!(decided(&cluster, "cpus:2;mem:64"), "offered_already");
    assert_eq!(decided(&cluster, "cpus:4;mem:64"), "cpus");
}

#[test]
fn a_role_of_which_nobody_is_but_something_is_reserved_is_known() {
    let mut cluster = Cluster::new();
    cluster.add_agent(1, "cpus:2;mem:1024;cpus(db/hot):1");
    let known: Vec<_> =
        cluster.allocator.roles().into_iter().map(|state| state.role.to_string()).collect();
    assert_eq!(known, ["db", "db/hot"]);
    for name in ["db", "db/hot"] {
        let explained = cluster.allocator.explain_role(&role(name)).unwrap();
        assert_eq!(explained.consumed, resources("cpus:1").quantities());
        assert_eq!((explained.waiting, explained.position), (0, None));
    }
    assert_eq!(cluster.allocator.explain_role(&role("db/cold")), None);
}

#[test]
fn what_a_role_holds_that_may_be_taken_back_is_told_apart() {
    let mut cluster = Cluster::new();
    let capabilities = Capabilities { revocable_resources: true, ..Capabilities::default() };
    cluster.add_capable(1, &["a/b"], capabilities);
    cluster.add_agent(1, WITH_REVOCABLE);
    let grant = cluster.run().remove(0);
    cluster.accept_text(&grant, "cpus:1;mem:64;cpus{revocable}:3");
    let rest = cluster.run().remove(0);
    cluster.decline(&rest, Some(1000));
    let explained = cluster.allocator.explain_role(&role("a")).unwrap();
    assert_eq!(explained.held, resources("cpus:1;mem:64").quantities());
    assert_eq!(explained.revocable.to_string(), "cpus:3");
    cluster.add_framework(2, &["z"]);
    assert!(cluster.allocator.explain_role(&role("z")).unwrap().revocable.is_empty());
}

#[test]
fn roles_are_told_by_their_bands_where_the_policy_has_some() {
    let options = Options { policy: Box::new(Priority), split: None, ..Options::default() };
    let mut cluster = Cluster::with(options, 7);
    cluster.allocator.set_priority(&role("urgent"), 10);
    cluster.add_framework(1, &["urgent"]);
    cluster.add_agent(1, "cpus:2;mem:1024");
    assert_eq!(cluster.run().len(), 1);
    cluster.add_framework(2, &["batch"]);
    let shares = cluster.allocator.explain_role(&role("batch")).unwrap().shares;
    let shown = shares.shown.iter().map(|it| (it.role.as_str(), it.band, it.share.per_mille()));
    assert_eq!(shown.collect::<Vec<_>>(), [("urgent", -10, 1000), ("batch", 0, 0)]);
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

//! Guarantees and limits: who is served first, who is cut, and which offers are wanted back.

use std::collections::BTreeMap;

use meshos_protocol::{
    attributes::Attributes,
    framework::Capabilities,
    ids::FrameworkId,
    resources::Resources,
    time::Mono,
    wishes::{OfferWishes, ResourceRequest},
};

use super::support::{Cluster, agent, resources, role};
use crate::{Grant, Options, Quota, QuotaError, Rescind, RescindCause, SkipRule};

fn quota(guarantee: &str, limit: &str) -> Quota {
    let limit = resources(limit).quantities();
    Quota {
        guarantee: resources(guarantee).quantities(),
        limit: limit.iter().map(|(name, amount)| (name.clone(), amount)).collect(),
    }
}

fn set(cluster: &mut Cluster, name: &str, guarantee: &str, limit: &str) {
    cluster.allocator.set_quota(&role(name), quota(guarantee, limit));
    cluster.allocator.check_invariants();
}

/// Who was offered how much of the processors.
fn cpus_by_framework(cluster: &mut Cluster) -> BTreeMap<u64, i64> {
    let mut cpus = BTreeMap::new();
    for grant in cluster.run() {
        *cpus.entry(grant.framework.0).or_default() += grant.resources.cpus().units();
    }
    cpus
}

#[test]
fn a_limit_cuts_offers_at_any_level() {
    let mut cluster = Cluster::new();
    set(&mut cluster, "a", "", "cpus:5");
    set(&mut cluster, "a/b", "", "cpus:2");
    cluster.add_framework(1, &["a/b"]);
    cluster.add_framework(2, &["a/c"]);
    for number in 0..4 {
        cluster.add_agent(number, "cpus:4;mem:4096");
    }
    assert_eq!(cpus_by_framework(&mut cluster), BTreeMap::from([(1, 2), (2, 3)]));
    let states = cluster.allocator.roles();
    let consumed: Vec<_> = states.iter().map(|state| state.consumed.to_string()).collect();
    assert_eq!(consumed[0].split(';').next(), Some("cpus:5"));
    // Whoever has no limit gets what is left.
    cluster.add_framework(3, &["z"]);
    assert_eq!(cpus_by_framework(&mut cluster), BTreeMap::from([(3, 11)]));
}

/// A remainder without memory is nothing to be offered, but for somebody who asks for no memory.
#[test]
fn what_is_asked_for_is_offered_though_a_limit_leaves_nothing_of_something_else() {
    for demand in [true, false] {
        let mut cluster = Cluster::new();
        set(&mut cluster, "a", "", "mem:1024");
        cluster.add_framework(1, &["a"]);
        cluster.add_agent(1, "cpus:4;mem:1024");
        let grant = cluster.run().remove(0);
        cluster.accept_text(&grant, "cpus:4;mem:1024");
        cluster.add_agent(2, "cpus:4;mem:1024");
        if demand {
            let wanted = [ResourceRequest::new(resources("cpus:1"), 1)];
            let said = cluster.allocator.set_demand(FrameworkId(1), &role("a"), &wanted, None);
            said.unwrap();
        }
        let offered = cluster.run().into_iter().map(|grant| grant.resources.to_string());
        let wanted: &[&str] = if demand { &["cpus:1"] } else { &[] };
        assert_eq!(offered.collect::<Vec<_>>(), wanted);
    }
}

/// What the borrower is offered counts for the limit above both, until it comes back.
#[test]
fn what_is_guaranteed_comes_back_within_the_limit_of_the_role_above() {
    for together in [false, true] {
        let mut cluster = Cluster::new();
        set(&mut cluster, "a", "", "cpus:4");
        set(&mut cluster, "a/safe", "cpus:3", "");
        cluster.add_framework(1, &["a/lender"]);
        cluster.add_agent(1, "cpus:4;mem:4096");
        let lent = cluster.run().remove(0);
        let capabilities = Capabilities { gang_offers: true, ..Capabilities::default() };
        cluster.add_capable(2, &["a/safe"], capabilities);
        let until = together.then_some(Mono(60_000));
        let wanted = [ResourceRequest::new(resources("cpus:1.5;mem:64"), 2)];
        let allocator = &mut cluster.allocator;
        allocator.set_demand(FrameworkId(2), &role("a/safe"), &wanted, until).unwrap();
        assert_eq!(cluster.run(), []);
        let rescinds = cluster.allocator.take_rescinds();
        assert_eq!(rescinds.len(), 1, "together: {together}");
        assert_eq!(rescinds[0].framework, lent.framework);
        assert_eq!(rescinds[0].cause, RescindCause::Guarantee);
        cluster.decline(&lent, None);
        let safe = |grant: &Grant| grant.framework == FrameworkId(2);
        let offered: Resources =
            cluster.run().into_iter().filter(safe).map(|it| it.resources).sum();
        assert_eq!(offered, resources("cpus:3;mem:128"));
    }
}

/// What it could have is free, and what others are offered elsewhere uses the limit up.
#[test]
fn offers_come_back_that_keep_somebody_guaranteed_from_what_is_free_elsewhere() {
    for together in [false, true] {
        let mut cluster = Cluster::new();
        set(&mut cluster, "a", "", "cpus:4");
        set(&mut cluster, "a/safe", "cpus:3", "");
        cluster.add_framework(1, &["a/lender"]);
        cluster.add_agent(1, "cpus:4;mem:4096");
        let lent = cluster.run().remove(0);
        cluster.add_agent(2, "cpus:3;mem:2048");
        assert_eq!(cluster.run(), []);
        let capabilities = Capabilities { gang_offers: true, ..Capabilities::default() };
        cluster.add_capable(2, &["a/safe"], capabilities);
        let until = together.then_some(Mono(60_000));
        let named = ResourceRequest::new(resources("cpus:1.5;mem:64"), 2);
        let wanted = [ResourceRequest { agent: Some(agent(2)), ..named }];
        let allocator = &mut cluster.allocator;
        allocator.set_demand(FrameworkId(2), &role("a/safe"), &wanted, until).unwrap();
        assert_eq!(cluster.run(), []);
        let rescinds = cluster.allocator.take_rescinds();
        assert_eq!(rescinds.len(), 1, "together: {together}");
        assert_eq!((rescinds[0].agent, rescinds[0].cause), (agent(1), RescindCause::Guarantee));
        cluster.decline(&lent, None);
        let safe = |grant: &Grant| grant.framework == FrameworkId(2);
        let offered: Vec<_> = cluster.run().into_iter().filter(safe).collect();
        let all: Resources = offered.iter().map(|it| &it.resources).sum();
        assert_eq!(all, resources("cpus:3;mem:128"), "together: {together}");
        assert!(offered.iter().all(|grant| grant.agent == agent(2)));
    }
}

#[test]
fn what_comes_back_to_a_role_at_its_limit_is_offered_to_it_wherever_it_is() {
    let mut cluster = Cluster::new();
    set(&mut cluster, "a", "", "cpus:1");
    cluster.add_framework(1, &["a"]);
    cluster.add_agent(1, "cpus:1;mem:1024");
    let grant = cluster.run().remove(0);
    cluster.accept_text(&grant, "cpus:1;mem:1024");
    cluster.add_agent(2, "cpus:1;mem:1024");
    assert_eq!(cluster.run(), [], "the role is at its limit");
    cluster.allocator.set_agent_active(agent(1), false);
    let used = resources("cpus:1;mem:1024");
    cluster.allocator.recover_allocated(agent(1), FrameworkId(1), &role("a"), &used);
    assert_eq!(cluster.run()[0].agent, agent(2), "the other agent has not changed");
}

#[test]
fn reservations_count_whether_they_are_used_or_not() {
    let mut cluster = Cluster::new();
    set(&mut cluster, "a", "", "cpus:3");
    cluster.add_agent(1, "cpus(a/b):2;mem(a/b):64;cpus:8;mem:1024");
    cluster.add_framework(1, &["a/b"]);
    let [(_, _, _, offered)] = &cluster.offers()[..] else { panic!("one offer") };
    assert_eq!(offered, "cpus:1;mem:1024;cpus(a/b):2;mem(a/b):64");
    // Not a remainder without processors, of which nothing could be made.
    let mut cluster = Cluster::new();
    set(&mut cluster, "a", "", "cpus:2");
    cluster.add_agent(1, "cpus(a):2;mem(a):64;cpus:8;mem:1024");
    cluster.add_framework(1, &["a"]);
    let [(_, _, _, offered)] = &cluster.offers()[..] else { panic!("one offer") };
    assert_eq!(offered, "cpus(a):2;mem(a):64");
}

#[test]
fn guarantees_come_first_and_what_is_not_wanted_is_lent() {
    let mut cluster = Cluster::new();
    set(&mut cluster, "safe/batch", "cpus:2;mem:100", "");
    cluster.add_framework(1, &["other"]);
    cluster.add_framework(2, &["safe/batch"]);
    cluster.add_framework(3, &["safe/rest"]);
    for number in 0..3 {
        cluster.add_agent(number, "cpus:1;mem:1024");
    }
    // Twice the guaranteed, once whoever is next by share.
    assert_eq!(cpus_by_framework(&mut cluster), BTreeMap::from([(1, 1), (2, 2)]));
    cluster.allocator.suppress(FrameworkId(2), &[].into());
    cluster.add_agent(3, "cpus:1;mem:1024");
    assert_eq!(cpus_by_framework(&mut cluster), BTreeMap::from([(1, 1)]), "nobody wants it there");
}

#[test]
fn offers_are_wanted_back_for_those_who_are_guaranteed_them() {
    let mut cluster = Cluster::new();
    set(&mut cluster, "safe", "cpus:2;mem:100", "");
    cluster.add_framework(1, &["other"]);
    for number in 0..3 {
        cluster.add_agent(number, "cpus:1;mem:1024");
    }
    let lent = cluster.run();
    assert_eq!(lent.len(), 3);
    assert_eq!(cluster.allocator.take_rescinds(), [], "nobody is guaranteed them and waits");
    cluster.add_framework(2, &["safe"]);
    assert_eq!(cluster.run(), []);
    let rescinds = cluster.allocator.take_rescinds();
    assert_eq!(rescinds.len(), 2, "no more than is guaranteed: {rescinds:?}");
    assert!(rescinds.iter().all(|rescind| {
        rescind.framework == FrameworkId(1) && rescind.cause == RescindCause::Guarantee
    }));
    for grant in lent.iter().filter(|grant| rescinds.iter().any(|one| one.agent == grant.agent)) {
        cluster.decline(grant, None);
    }
    assert_eq!(cpus_by_framework(&mut cluster), BTreeMap::from([(2, 2)]));
    assert_eq!(cluster.allocator.take_rescinds(), []);
}

#[test]
fn what_is_left_of_an_agent_is_offered_to_those_whom_all_of_it_did_not_suit() {
    let mut cluster = Cluster::new();
    set(&mut cluster, "z", "", "cpus:1");
    set(&mut cluster, "a", "", "cpus:2;mem:1000");
    cluster.add_framework(1, &["z"]);
    cluster.add_agent(1, "cpus:2;mem:2000");
    cluster.add_agent(2, "cpus(z):1;mem(z):32");
    cluster.run();
    assert_eq!(cluster.offers(), [], "memory without processors is kept for others");
    cluster.add_framework(2, &["a"]);
    let given: Vec<_> = cluster.run().iter().map(|grant| grant.resources.to_string()).collect();
    assert_eq!(given, ["cpus:2;mem:1000", "mem:1000"]);
}

/// Framework 1 holds the only agent, which framework 2 in role `safe` would like to have.
fn a_borrower_and_one_who_waits(cluster: &mut Cluster) {
    cluster.add_framework(1, &["other"]);
    cluster.add_framework(2, &["safe"]);
    cluster.add_agent(1, "cpus:1;mem:1024");
    assert_eq!(cpus_by_framework(cluster), BTreeMap::from([(1, 1)]));
}

fn wanted_back(cluster: &mut Cluster) -> usize {
    assert!(cluster.allocator.needs_run() || cluster.allocator.next_deadline().is_some());
    assert_eq!(cluster.run(), []);
    cluster.allocator.take_rescinds().len()
}

#[test]
fn a_guarantee_set_while_somebody_waits_takes_lent_offers_back() {
    let mut cluster = Cluster::new();
    a_borrower_and_one_who_waits(&mut cluster);
    set(&mut cluster, "safe", "cpus:1", "");
    assert_eq!(wanted_back(&mut cluster), 1);
}

#[test]
fn a_filter_that_ends_on_an_agent_with_nothing_free_takes_lent_offers_back() {
    let mut cluster = Cluster::new();
    set(&mut cluster, "safe", "cpus:1", "");
    cluster.add_framework(2, &["safe"]);
    cluster.add_agent(1, "cpus:1;mem:1024");
    let grant = cluster.run().remove(0);
    cluster.decline(&grant, Some(1000));
    cluster.add_framework(1, &["other"]);
    assert_eq!(cpus_by_framework(&mut cluster), BTreeMap::from([(1, 1)]));
    assert_eq!(cluster.allocator.take_rescinds(), [], "it was refused");
    cluster.now = cluster.allocator.next_deadline().unwrap();
    assert_eq!(wanted_back(&mut cluster), 1);
}

/// As a framework does that has no work for a while.
#[test]
fn whoever_declined_and_revived_is_guaranteed_what_others_were_offered_since() {
    for until in [None, Some(3_600_000)] {
        let mut cluster = Cluster::new();
        set(&mut cluster, "safe", "cpus:1", "");
        cluster.add_framework(2, &["safe"]);
        cluster.add_agent(1, "cpus:1;mem:1024");
        let grant = cluster.run().remove(0);
        cluster.decline(&grant, until);
        cluster.allocator.suppress(FrameworkId(2), &[].into());
        cluster.add_framework(1, &["other"]);
        let lent = cluster.run();
        assert_eq!(lent.len(), 1);
        cluster.allocator.revive(FrameworkId(2), &[].into());
        assert_eq!(cluster.run(), []);
        let rescinds = cluster.allocator.take_rescinds();
        assert_eq!(rescinds.len(), 1, "{until:?}");
        assert_eq!(rescinds[0].wanted_by, Some((FrameworkId(2), role("safe"))));
        cluster.decline(&lent[0], None);
        assert_eq!(cpus_by_framework(&mut cluster), BTreeMap::from([(2, 1)]), "{until:?}");
        assert_eq!(cluster.allocator.take_rescinds(), []);
    }
}

#[test]
fn offers_are_not_wanted_back_for_those_who_could_not_have_them() {
    let mut cluster = Cluster::new();
    a_borrower_and_one_who_waits(&mut cluster);
    // As an operator may insist.
    set(&mut cluster, "safe", "cpus:9", "cpus:0.1;mem:1");
    cluster.add_agent(2, "cpus:0.1;mem:1024");
    assert_eq!(cpus_by_framework(&mut cluster).len(), 2, "now it is at its limit");
    assert_eq!(cluster.allocator.take_rescinds(), []);
    // An offer that is smaller than what it wishes does not help either, but two of one agent do.
    let mut cluster = Cluster::with(Options::default(), 7);
    set(&mut cluster, "safe", "cpus:4", "");
    for number in 1..=2 {
        cluster.add_framework(number, &["other"]);
    }
    cluster.add_agent(1, "cpus:2;mem:2048");
    assert_eq!(cluster.run().len(), 2, "a half for each");
    cluster.add_framework(3, &["safe"]);
    let wish = |cluster: &mut Cluster, least: &str| {
        let wishes =
            OfferWishes { minimum: vec![resources(least).quantities()], constraints: Vec::new() };
        cluster.allocator.set_wishes(FrameworkId(3), &role("safe"), &wishes).unwrap();
    };
    wish(&mut cluster, "cpus:3");
    assert_eq!(wanted_back(&mut cluster), 0);
    wish(&mut cluster, "cpus:2");
    assert_eq!(wanted_back(&mut cluster), 2);
}

#[test]
fn offers_are_wanted_back_once_a_task_turns_up_that_meets_the_borrowers_guarantee() {
    let mut cluster = Cluster::new();
    a_borrower_and_one_who_waits(&mut cluster);
    set(&mut cluster, "other", "cpus:1", "");
    set(&mut cluster, "safe", "cpus:1", "");
    assert_eq!(wanted_back(&mut cluster), 0, "neither has more than its guarantee");
    let task = resources("cpus:1;mem:1024");
    cluster.allocator.add_allocated(agent(1), FrameworkId(1), &role("other"), &task);
    assert_eq!(wanted_back(&mut cluster), 1);
}

#[test]
fn what_is_launched_stays_with_the_borrower() {
    let mut cluster = Cluster::new();
    set(&mut cluster, "safe", "cpus:1;mem:100", "");
    cluster.add_framework(1, &["other"]);
    cluster.add_agent(1, "cpus:1;mem:1024");
    let grant = cluster.run().remove(0);
    cluster.accept_text(&grant, "cpus:1;mem:1024");
    cluster.add_framework(2, &["safe"]);
    assert_eq!(cluster.run(), []);
    assert_eq!(cluster.allocator.take_rescinds(), []);
}

#[test]
fn offers_above_a_lowered_limit_are_wanted_back() {
    let mut cluster = Cluster::new();
    cluster.add_framework(1, &["a/b"]);
    for number in 0..3 {
        cluster.add_agent(number, "cpus:2;mem:1024");
    }
    assert_eq!(cluster.run().len(), 3);
    set(&mut cluster, "a", "", "cpus:3");
    let rescinds = cluster.allocator.take_rescinds();
    let expected = |number: u64| Rescind {
        framework: FrameworkId(1),
        role: role("a/b"),
        agent: agent(number),
        cause: RescindCause::Limit,
        wanted_by: None,
    };
    assert_eq!(rescinds, [expected(0), expected(1)]);
    assert_eq!(cluster.allocator.take_rescinds(), [], "told once");
}

#[test]
fn offers_are_wanted_back_when_tasks_turn_up_that_leave_no_room_for_them() {
    let mut cluster = Cluster::new();
    set(&mut cluster, "a", "", "cpus:2");
    cluster.add_framework(1, &["a/b"]);
    cluster.add_agent(1, "cpus:2;mem:1024");
    assert_eq!(cluster.run().len(), 1);
    let task = (FrameworkId(1), role("a/b"), resources("cpus:1;mem:64"));
    let total = resources("cpus:2;mem:1024");
    cluster.allocator.add_agent(agent(2), total, Attributes::default(), &[task]);
    let rescinds = cluster.allocator.take_rescinds();
    assert_eq!(rescinds.len(), 1, "{rescinds:?}");
    assert_eq!(rescinds[0].cause, RescindCause::Limit);
    // So does what is reserved for the role.
    let mut cluster = Cluster::new();
    set(&mut cluster, "a", "", "cpus:2");
    cluster.add_framework(1, &["a"]);
    cluster.add_agent(1, "cpus:2;mem:1024");
    assert_eq!(cluster.run().len(), 1);
    cluster.add_agent(2, "cpus(a/b):1;mem(a/b):64");
    assert_eq!(cluster.allocator.take_rescinds().len(), 1);
}

#[test]
fn a_quota_that_makes_no_sense_is_refused_with_the_reason() {
    let mut cluster = Cluster::new();
    cluster.add_agent(1, "cpus:8;mem:1024");
    set(&mut cluster, "a", "cpus:4", "cpus:6");
    cluster.add_framework(1, &["b"]);
    cluster.run();
    let refused = |name: &str, guarantee: &str, limit: &str| {
        let quota = quota(guarantee, limit);
        cluster.allocator.check_quota(&role(name), &quota).unwrap_err().to_string()
    };
    assert_eq!(
        refused("a/b", "cpus:7", ""),
        "role a/b would be guaranteed cpus:7, but role a is limited to cpus:6; raise the limit, guarantee at most as \
         much, or insist with --force (`force` in the API)"
    );
    assert_eq!(
        refused("c", "cpus:5", "cpus:4"),
        "role c would be guaranteed cpus:5, but role c is limited to cpus:4; raise the limit, guarantee at most as \
         much, or insist with --force (`force` in the API)"
    );
    assert_eq!(
        refused("c", "cpus:5", ""),
        "with this quota of role c, cpus:9 would be guaranteed to all roles together, but the \
         cluster has cpus:8; guarantee less, or insist with --force (`force` in the API)"
    );
    assert_eq!(
        refused("b", "", "cpus:2"),
        "role b consumes cpus:8 already, with what it is offered, more than the limit cpus:2; with \
         --force (`force` in the API) offers above it are taken back and tasks stay"
    );
    let check = |name: &str, guarantee: &str| {
        cluster.allocator.check_quota(&role(name), &quota(guarantee, ""))
    };
    // What a role is guaranteed covers those below it.
    assert_eq!(check("a/b", "cpus:4"), Ok(()));
    assert!(matches!(check("c", "cpus:4.001"), Err(QuotaError::BeyondCluster { .. })));
}

#[test]
fn a_limit_above_that_of_a_role_above_is_refused() {
    let mut cluster = Cluster::new();
    set(&mut cluster, "web", "", "cpus:4");
    let check = |quotas: &[(&str, &str)]| {
        let quotas = quotas.iter().map(|(name, limit)| (role(name), quota("", limit)));
        cluster.allocator.check_quotas(&quotas.collect())
    };
    let error = check(&[("web/a/b", "mem:64;cpus:50")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "role web/a/b would be limited to cpus:50, but role web above it is limited to cpus:4, which \
         counts for both; say at most as much, or insist with --force (`force` in the API)"
    );
    for fine in ["cpus:4", "cpus:1;mem:4096", "mem:4096"] {
        assert_eq!(check(&[("web/a", fine)]), Ok(()));
    }
    assert_eq!(check(&[("web", "cpus:50"), ("web/a", "cpus:50")]), Ok(()), "both are raised");
    assert_eq!(check(&[("webs", "cpus:50")]), Ok(()), "another role");
}

#[test]
fn quotas_that_are_set_together_are_held_against_each_other() {
    let mut cluster = Cluster::new();
    cluster.add_agent(1, "cpus:8;mem:1024");
    set(&mut cluster, "a", "cpus:6", "cpus:6");
    let check = |quotas: &[(&str, &str, &str)]| {
        let quotas =
            quotas.iter().map(|(name, guarantee, limit)| (role(name), quota(guarantee, limit)));
        cluster.allocator.check_quotas(&quotas.collect())
    };
    // Alone each of them would be beyond the cluster, or its limit.
    assert!(check(&[("b", "cpus:4", "")]).is_err());
    assert_eq!(check(&[("a", "cpus:4", "cpus:4"), ("b", "cpus:4", "")]), Ok(()));
    assert!(check(&[("a/b", "cpus:7", "")]).is_err());
    assert_eq!(check(&[("a", "cpus:6", "cpus:7"), ("a/b", "cpus:7", "")]), Ok(()));
    // And each alone would do.
    let both = check(&[("b", "cpus:2", ""), ("c", "cpus:2", "")]);
    assert!(matches!(both, Err(QuotaError::BeyondCluster { .. })), "{both:?}");
}

#[test]
fn guarantees_that_the_limit_of_a_role_above_cannot_hold_are_refused() {
    let mut cluster = Cluster::new();
    cluster.add_agent(1, "cpus:8;mem:4096");
    set(&mut cluster, "par", "", "cpus:4");
    set(&mut cluster, "par/kid", "cpus:3", "");
    // Begins with its name, and is not in it.
    set(&mut cluster, "par-is", "cpus:3", "cpus:3");
    let check = |name: &str, guarantee: &str, limit: &str| {
        let quota = quota(guarantee, limit);
        cluster.allocator.check_quota(&role(name), &quota).map_err(|error| error.to_string())
    };
    assert_eq!(
        check("par/kid2", "cpus:3", "").unwrap_err(),
        "the roles in par would be guaranteed cpus:6 together (par/kid cpus:3, par/kid2 cpus:3), but \
         role par is limited to cpus:4; raise the limit, guarantee less, or insist with --force \
         (`force` in the API)"
    );
    assert_eq!(
        check("par/kid/a", "cpus:4", "").map(drop),
        Ok(()),
        "what is below a role counts in its own"
    );
    assert!(check("par/x/y", "cpus:1.001", "").is_err(), "at any depth");
    for (name, guarantee) in
        [("par/kid2", "cpus:1"), ("par/kid2", "mem:64"), ("par-is/a", "cpus:3")]
    {
        assert_eq!(check(name, guarantee, ""), Ok(()), "{name} {guarantee}");
    }
    let lowered = check("par", "", "cpus:2").unwrap_err();
    assert!(
        lowered.starts_with(
            "the roles in par would be guaranteed cpus:3 together (par/kid cpus:3), but role par is \
             limited to cpus:2;"
        ),
        "{lowered}"
    );
    assert_eq!(check("par", "", "cpus:3"), Ok(()));
}

#[test]
fn a_limit_that_is_lowered_below_that_of_a_role_in_it_is_refused() {
    let mut cluster = Cluster::new();
    set(&mut cluster, "web", "", "cpus:8;mem:64");
    set(&mut cluster, "web/a/b", "", "cpus:6");
    set(&mut cluster, "web-b", "", "cpus:6");
    let check = |name: &str, limit: &str| {
        let checked = cluster.allocator.check_quota(&role(name), &quota("", limit));
        checked.map_err(|error| error.to_string())
    };
    assert_eq!(
        check("web", "cpus:4").unwrap_err(),
        "role web would be limited to cpus:4, but role web/a/b in it is limited to cpus:6, which would \
         not be reached any more; lower that first, or insist with --force (`force` in the API)"
    );
    assert!(check("web/a", "cpus:5").is_err(), "it had none");
    assert_eq!(check("web", "cpus:6;mem:1"), Ok(()));
    let both = [("web", "cpus:4"), ("web/a/b", "cpus:4")];
    let both = both.map(|(name, limit)| (role(name), quota("", limit)));
    assert_eq!(cluster.allocator.check_quotas(&both.into()), Ok(()));
    // What an operator insisted on is not asked about again, as long as it is not made worse.
    set(&mut cluster, "web", "", "cpus:4");
    let kept = quota("cpus:0.5", "cpus:4");
    let kept = cluster.allocator.check_quota(&role("web"), &kept);
    assert!(!matches!(kept, Err(QuotaError::LimitBelowLimit { .. })), "{kept:?}");
}

#[test]
fn what_is_guaranteed_below_a_role_counts_once_at_any_depth() {
    let mut cluster = Cluster::new();
    cluster.add_agent(1, "cpus:10;mem:1024");
    let check = |cluster: &Cluster, quotas: &[(&str, &str)]| {
        let quotas = quotas.iter().map(|(name, guarantee)| (role(name), quota(guarantee, "")));
        cluster.allocator.check_quotas(&quotas.collect())
    };
    // 4 and 3 below `a`, which is more than its own 2; 3 beside it.
    let most = [("a", "cpus:2"), ("a/b", "cpus:3"), ("a/b/x/y", "cpus:4"), ("a/c", "cpus:3")];
    assert_eq!(check(&cluster, &[&most[..], &[("a-b", "cpus:3")]].concat()), Ok(()));
    let beyond = check(&cluster, &[&most[..], &[("a-b", "cpus:3.001")]].concat());
    assert!(matches!(beyond, Err(QuotaError::BeyondCluster { .. })), "{beyond:?}");
    // As many as may be set at once, beside as many as there may be.
    let name = |number: usize| format!("a/{number}/b");
    for number in 0..9_000 {
        set(&mut cluster, &name(number), "cpus:0.001", "");
    }
    let names: Vec<String> = (9_000..10_000).map(name).collect();
    let all: Vec<_> = names.iter().map(|name| (name.as_str(), "cpus:0.001;mem:0.1")).collect();
    assert_eq!(check(&cluster, &all), Ok(()));
}

#[test]
fn a_role_with_a_limit_waits_until_all_tasks_are_known() {
    let mut cluster = Cluster::new();
    set(&mut cluster, "a", "", "cpus:3");
    cluster.add_framework(1, &["a/b"]);
    cluster.add_framework(2, &["free"]);
    cluster.allocator.set_tasks_known(false);
    cluster.add_agent(1, "cpus:4;mem:4096;cpus(a):2");
    let grants = cluster.run();
    // What is reserved for it counts wherever it is, so nothing about it is unknown.
    let shares: BTreeMap<_, _> =
        grants.iter().map(|grant| (grant.framework.0, grant.resources.to_string())).collect();
    let expected = [(1, "cpus(a):2"), (2, "cpus:4;mem:4096")];
    assert_eq!(shares, expected.map(|(id, text)| (id, text.to_owned())).into(), "{grants:?}");
    for grant in &grants {
        cluster.accept_text(grant, "");
    }
    cluster.allocator.suppress(FrameworkId(2), &Default::default());
    cluster.run();
    cluster.add_agent(2, "cpus:4;mem:4096");
    assert_eq!(cluster.run(), []);
    let explained = cluster.allocator.explain(FrameworkId(1)).unwrap();
    let rules = &explained.roles[0].skipped;
    assert_eq!(rules.get(&SkipRule::ConsumptionUnknown), Some(&2), "{rules:?}");
    // A limit that is set meanwhile takes back what was offered before.
    let mut other = Cluster::new();
    other.allocator.set_tasks_known(false);
    other.add_framework(1, &["a"]);
    other.add_agent(1, "cpus:1;mem:1024");
    assert_eq!(other.run().len(), 1);
    set(&mut other, "a", "", "cpus:3");
    let rescinds: Vec<_> = other.allocator.take_rescinds();
    assert_eq!((rescinds.len(), rescinds[0].cause), (1, RescindCause::Limit), "{rescinds:?}");

    // Two of the three are reserved, and count.
    cluster.allocator.set_tasks_known(true);
    assert!(cluster.allocator.needs_run());
    assert_eq!(cpus_by_framework(&mut cluster), BTreeMap::from([(1, 1)]));
}

//! Nobody starves: agents in parts, optimistic offers, and policies that look at time and chance.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use meshos_protocol::{
    ids::FrameworkId,
    resources::{Amount, ResourceName},
    role::Role,
    time::Mono,
    wishes::OfferWishes,
};

use super::support::{Cluster, agent, resources, role};
use crate::{Allocator, Grant, OfferMode, Options, Quota, RescindCause, SkipRule, policy};

fn split_cluster() -> Cluster {
    Cluster::with(Options::default(), 1)
}

fn optimistic() -> Cluster {
    Cluster::with(Options { offers: OfferMode::Optimistic, ..Options::default() }, 1)
}

#[test]
fn an_agent_is_offered_in_equal_parts_when_more_wait_than_there_are_agents() {
    let mut cluster = split_cluster();
    for framework in 1..=3 {
        cluster.add_framework(framework, &["*"]);
    }
    cluster.add_agent(1, "cpus:12;mem:12288;ports:[1-12]");
    let parts: Vec<_> = cluster.offers().into_iter().map(|(id, _, _, what)| (id, what)).collect();
    let part = |ports: &str| format!("cpus:4;mem:4096;ports:{ports}");
    assert_eq!(parts, [(1, part("[1-4]")), (2, part("[5-8]")), (3, part("[9-12]"))]);
}

#[test]
fn whoever_refuses_a_part_is_offered_the_whole() {
    let mut cluster = split_cluster();
    cluster.add_framework(1, &["*"]);
    cluster.add_framework(2, &["*"]);
    cluster.add_agent(1, "cpus:8;mem:8192");
    for grant in cluster.run() {
        assert_eq!(grant.resources, resources("cpus:4;mem:4096"));
        cluster.decline(&grant, Some(60_000));
    }
    let grants = cluster.run();
    assert_eq!(grants.len(), 1);
    assert_eq!(grants[0].resources, resources("cpus:8;mem:8192"));
}

/// One idle machine among many that have little left.
#[test]
fn remnants_of_other_agents_do_not_give_a_whole_one_to_a_single_framework() {
    let mut cluster = split_cluster();
    for framework in 1..=5 {
        cluster.add_framework(framework, &["*"]);
    }
    for number in 1..=10 {
        cluster.add_agent(number, "cpus:0.1;mem:64");
    }
    cluster.add_agent(11, "cpus:10;mem:10240");
    let offers = cluster.offers().into_iter().filter(|(_, _, number, _)| *number == 11);
    let mut takers: Vec<_> = offers.map(|(id, _, _, what)| (id, what)).collect();
    takers.sort();
    let part = || "cpus:2;mem:2048".to_owned();
    assert_eq!(takers, [1, 2, 3, 4, 5].map(|id| (id, part())));
}

/// Also when it says so without a filter, or its filter has run out.
#[test]
fn whoever_declined_a_part_is_not_offered_a_part_again() {
    for filter_ms in [None, Some(1000)] {
        let mut cluster = split_cluster();
        cluster.add_framework(1, &["*"]);
        cluster.add_framework(2, &["*"]);
        cluster.add_agent(1, "cpus:8;mem:8192");
        for grant in cluster.run() {
            assert_eq!(grant.resources, resources("cpus:4;mem:4096"));
            cluster.decline(&grant, filter_ms);
        }
        cluster.now = Mono(2000);
        let grants = cluster.run();
        assert_eq!(grants.len(), 1, "{grants:?}");
        assert_eq!(grants[0].resources, resources("cpus:8;mem:8192"));
    }
}

/// Not only the next time, until it has declined all of it as well.
#[test]
fn whoever_declined_a_part_is_offered_the_whole_from_then_on() {
    let mut cluster = split_cluster();
    cluster.add_framework(1, &["*"]);
    cluster.add_framework(2, &["*"]);
    cluster.add_agent(1, "cpus:8;mem:8192");
    for grant in cluster.run() {
        assert_eq!(grant.resources, resources("cpus:4;mem:4096"));
        cluster.decline(&grant, None);
    }
    let mut takers = BTreeSet::new();
    for round in 0..6 {
        let grants = cluster.run();
        let offered: Vec<_> = grants.iter().map(|grant| grant.resources.to_string()).collect();
        assert_eq!(offered, ["cpus:8;mem:8192"], "round {round}");
        takers.insert(grants[0].framework);
        cluster.accept_text(&grants[0], "cpus:8;mem:8192");
        let (framework, used) = (grants[0].framework, resources("cpus:8;mem:8192"));
        cluster.allocator.recover_allocated(agent(1), framework, &role("*"), &used);
    }
    assert_eq!(takers.len(), 2, "both in turn");
    for _ in takers {
        let whole = cluster.run().remove(0);
        assert_eq!(whole.resources, resources("cpus:8;mem:8192"));
        cluster.decline(&whole, None);
    }
    let parts = cluster.run().into_iter().map(|grant| grant.resources.to_string());
    assert_eq!(parts.collect::<Vec<_>>(), vec!["cpus:4;mem:4096"; 2], "it was not for the size");
}

/// All there was is no part, though others wait as well, who cannot use it.
#[test]
fn whoever_declined_all_of_an_agent_may_be_offered_a_part_of_it() {
    let mut cluster = split_cluster();
    // Two have something, so the third goes first.
    cluster.add_framework(2, &["*"]);
    cluster.add_framework(3, &["*"]);
    cluster.add_agent(2, "cpus:2;mem:2048");
    for grant in cluster.run() {
        cluster.accept_text(&grant, "cpus:1;mem:1024");
    }
    cluster.add_framework(1, &["*"]);
    for framework in [2, 3] {
        let minimum = vec![resources("mem:100000").quantities()];
        let wishes = OfferWishes { minimum, ..OfferWishes::default() };
        cluster.allocator.set_wishes(FrameworkId(framework), &role("*"), &wishes).unwrap();
    }
    cluster.add_agent(1, "cpus:9;mem:9216");
    let grants = cluster.run();
    assert_eq!((grants.len(), grants[0].framework.0), (1, 1));
    cluster.decline(&grants[0], Some(1000));
    cluster.now = Mono(2000);
    for framework in [2, 3] {
        let none = OfferWishes::default();
        cluster.allocator.set_wishes(FrameworkId(framework), &role("*"), &none).unwrap();
    }
    let offered = cluster.run().into_iter().map(|grant| grant.resources.to_string());
    assert_eq!(offered.collect::<Vec<_>>(), vec!["cpus:3;mem:3072"; 3]);
}

/// Who has just taken a little of an agent refuses the rest of it for a while, and no more than that.
#[test]
fn more_of_an_agent_is_shared_though_somebody_refuses_less_of_it() {
    let mut cluster = split_cluster();
    cluster.add_framework(1, &["*"]);
    cluster.add_agent(1, "cpus:12;mem:12288");
    let all = cluster.run().remove(0);
    cluster.accept_text(&all, "cpus:10;mem:10240");
    let rest = cluster.run().remove(0);
    assert_eq!(rest.resources, resources("cpus:2;mem:2048"));
    cluster.decline(&rest, Some(5000));
    cluster.add_framework(2, &["*"]);
    let rest = cluster.run().remove(0);
    cluster.decline(&rest, Some(5000));
    let (framework, used) = (FrameworkId(1), resources("cpus:10;mem:10240"));
    cluster.allocator.recover_allocated(agent(1), framework, &role("*"), &used);
    let offered = cluster.run().into_iter().map(|grant| grant.resources.to_string());
    assert_eq!(offered.collect::<Vec<_>>(), vec!["cpus:6;mem:6144"; 2]);
}

#[test]
fn with_enough_agents_for_everybody_nothing_is_cut_and_no_part_is_too_small() {
    let mut cluster = split_cluster();
    cluster.add_framework(1, &["*"]);
    cluster.add_framework(2, &["*"]);
    cluster.add_agent(1, "cpus:8;mem:8192");
    cluster.add_agent(2, "cpus:8;mem:8192");
    assert!(cluster.run().iter().all(|grant| grant.resources == resources("cpus:8;mem:8192")));
    let mut cluster = split_cluster();
    cluster.add_framework(1, &["*"]);
    cluster.add_framework(2, &["*"]);
    cluster.add_agent(1, "cpus:1.5;mem:8192");
    assert_eq!(cluster.run().len(), 1);
}

#[test]
fn the_first_to_accept_gets_what_several_are_offered() {
    let mut cluster = optimistic();
    cluster.add_framework(1, &["*"]);
    cluster.add_framework(2, &["*"]);
    cluster.add_agent(1, "cpus:8;mem:8192");
    let grants = cluster.run();
    assert_eq!(grants.len(), 2);
    assert!(grants.iter().all(|grant| grant.resources == resources("cpus:8;mem:8192")));
    let state = cluster.allocator.agent(agent(1)).unwrap();
    assert_eq!(state.offered, resources("cpus:8;mem:8192"), "what both are offered counts once");
    let allocator = &mut cluster.allocator;
    let accept = |allocator: &mut Allocator, grant: &Grant, used: &str| {
        let (offered, used) = (&grant.resources, resources(used));
        allocator.accept(agent(1), grant.framework, &role("*"), offered, &used, None)
    };
    assert_eq!(accept(allocator, &grants[1], "cpus:6;mem:64"), resources("cpus:6;mem:64"));
    allocator.check_invariants();
    let rescinds = allocator.take_rescinds();
    assert_eq!((rescinds.len(), rescinds[0].framework), (1, grants[0].framework));
    assert_eq!(rescinds[0].cause, RescindCause::Taken);
    // Too late: there is not enough left.
    assert_eq!(accept(allocator, &grants[0], "cpus:4;mem:64"), resources("cpus:2;mem:64"));
    allocator.check_invariants();
    assert_eq!(allocator.agent(agent(1)).unwrap().allocated, resources("cpus:8;mem:128"));
}

/// Role `a` may have four processors.
fn optimistic_and_limited() -> Cluster {
    let mut cluster = optimistic();
    let limit = [(ResourceName::Cpus, Amount::whole(4))].into();
    cluster.allocator.set_quota(&role("a"), Quota { limit, ..Quota::default() });
    (1..=2).for_each(|number| cluster.add_framework(number, &["a"]));
    cluster
}

fn consumed(cluster: &Cluster) -> String {
    let state = cluster.allocator.roles().into_iter().find(|state| state.role == role("a"));
    state.unwrap().consumed.to_string()
}

/// Takes back what is wanted back of these, and says why.
fn take_back(cluster: &mut Cluster, open: &[Grant]) -> Vec<(u64, RescindCause)> {
    let rescinds = cluster.allocator.take_rescinds();
    for rescind in &rescinds {
        let grant = open.iter().find(|grant| grant.framework == rescind.framework).unwrap();
        let Grant { framework, role, agent, resources, .. } = grant;
        cluster.allocator.take_back_offered(*agent, *framework, role, resources, None);
        cluster.allocator.check_invariants();
    }
    rescinds.iter().map(|rescind| (rescind.framework.0, rescind.cause)).collect()
}

#[test]
fn what_several_of_a_role_are_offered_counts_once_towards_its_limit() {
    let mut cluster = optimistic_and_limited();
    cluster.add_agent(1, "cpus:4;mem:4096");
    let grants = cluster.run();
    assert_eq!(grants.len(), 2, "only one of them can get it");
    assert_eq!(consumed(&cluster), "cpus:4;mem:4096");
    // Another agent is beyond the limit.
    cluster.add_agent(2, "cpus:4;mem:4096");
    assert_eq!(cluster.run(), []);
    cluster.allocator.remove_agent(agent(2));
    cluster.accept_text(&grants[0], "cpus:3;mem:64");
    assert_eq!(
        take_back(&mut cluster, &grants[1..]),
        [(grants[1].framework.0, RescindCause::Taken)]
    );
    assert_eq!(consumed(&cluster), "cpus:3;mem:64");
    let again: Vec<_> = cluster.run().into_iter().map(|grant| grant.resources.cpus()).collect();
    assert_eq!(again, [Amount::whole(1); 2], "the rest of the limit, offered to both");
    assert_eq!(consumed(&cluster), "cpus:4;mem:4096");
}

#[test]
fn offers_that_could_all_be_accepted_count_each() {
    let mut cluster = optimistic_and_limited();
    cluster.add_agent(1, "cpus:8;mem:4096");
    let grants = cluster.run();
    assert_eq!(grants.len(), 1, "a second one of four could be accepted, too");
    assert_eq!(grants[0].resources.cpus(), Amount::whole(4));
    let other = FrameworkId(if grants[0].framework.0 == 1 { 2 } else { 1 });
    let explained = cluster.allocator.explain(other).unwrap();
    assert_eq!(explained.roles[0].skipped, BTreeMap::from([(SkipRule::QuotaLimit, 1)]));
    // Somebody else's task leaves no more than what is offered to the first.
    let task = resources("cpus:4");
    cluster.allocator.add_allocated(agent(1), FrameworkId(3), &role("b"), &task);
    assert_eq!(take_back(&mut cluster, &grants), []);
    let grants: Vec<_> = grants.into_iter().chain(cluster.run()).collect();
    assert_eq!(grants.len(), 2);
    assert_eq!(consumed(&cluster), "cpus:4;mem:4096");
    // It ends, so that both could be accepted: the limit is kept before anybody can do that.
    cluster.allocator.recover_allocated(agent(1), FrameworkId(3), &role("b"), &task);
    let back = take_back(&mut cluster, &grants);
    assert!(!back.is_empty() && back.iter().all(|it| it.1 == RescindCause::Limit), "{back:?}");
    assert!(consumed(&cluster).starts_with("cpus:4;"), "{}", consumed(&cluster));
}

#[test]
fn who_has_used_much_waits_until_the_others_have_caught_up() {
    let hour = Duration::from_secs(3600);
    let options = Options {
        policy: Box::new(policy::FairDecay::new(hour)),
        split: None,
        ..Options::default()
    };
    let mut cluster = Cluster::with(options, 1);
    cluster.add_framework(1, &["a"]);
    cluster.add_agent(1, "cpus:4;mem:4096");
    let grant = cluster.run().remove(0);
    cluster.accept_text(&grant, "cpus:4;mem:4096");
    // Role `a` holds everything for an hour, and gives it back.
    cluster.now = Mono(3_600_000);
    cluster.allocator.advance(cluster.now);
    let used = resources("cpus:4;mem:4096");
    cluster.allocator.recover_allocated(agent(1), FrameworkId(1), &role("a"), &used);
    cluster.add_framework(2, &["b"]);
    let mut served = BTreeMap::<u64, usize>::new();
    for round in 0..12 {
        let grant = cluster.run().remove(0);
        *served.entry(grant.framework.0).or_default() += 1;
        cluster.accept_text(&grant, "cpus:1;mem:1024");
        let Some(rest) = cluster.run().pop() else { panic!("round {round}: the rest is offered") };
        cluster.decline(&rest, Some(10));
        cluster.now = Mono(cluster.now.0 + 60_000);
        cluster.allocator.advance(cluster.now);
        let task = resources("cpus:1;mem:1024");
        cluster.allocator.recover_allocated(agent(1), grant.framework, &grant.role, &task);
    }
    assert!(served[&2] >= 11, "{served:?}");
    let past = &cluster.allocator.roles()[0].past;
    assert!(past.to_string().starts_with("cpus:1."), "half of half is left: {past}");
}

fn by_the_hour() -> Options {
    let policy = Box::new(policy::FairDecay::new(Duration::from_secs(3600)));
    Options { policy, split: None, ..Options::default() }
}

/// Framework 1 holds everything for an hour; `b` has been held before by one that has left.
fn cluster_with_a_past() -> Cluster {
    let mut cluster = Cluster::with(by_the_hour(), 1);
    cluster.add_agent(1, "cpus:4;mem:4096");
    cluster.add_framework(2, &["b/c"]);
    let grant = cluster.run().remove(0);
    cluster.accept_text(&grant, "cpus:4;mem:4096");
    cluster.now = Mono(1_800_000);
    cluster.allocator.advance(cluster.now);
    let all = resources("cpus:4;mem:4096");
    cluster.allocator.recover_allocated(agent(1), FrameworkId(2), &role("b/c"), &all);
    cluster.allocator.remove_framework(FrameworkId(2));
    cluster.add_framework(1, &["a"]);
    let grant = cluster.run().remove(0);
    cluster.accept_text(&grant, "cpus:4;mem:4096");
    cluster.now = Mono(5_400_000);
    cluster.allocator.advance(cluster.now);
    cluster
}

#[test]
fn what_was_used_is_known_to_the_next_allocator() {
    let mut before = cluster_with_a_past();
    let told = before.allocator.past_use(100);
    assert_eq!(told.keys().map(Role::as_str).collect::<Vec<_>>(), ["a", "b", "b/c"]);
    let of_a = &told[&role("a")];
    assert_eq!(of_a.used.to_string(), "cpus:2;mem:2048");
    assert_eq!((&of_a.own, &of_a.frameworks[&FrameworkId(1)]), (&of_a.used, &of_a.used));
    // Half an hour's use, an hour ago: whose it was is not known any more.
    assert!(told[&role("b")].own.is_empty() && told[&role("b/c")].frameworks.is_empty());
    assert!(told[&role("b")].used.to_string().starts_with("cpus:0.585"), "{told:?}");

    let mut after = Cluster::with(by_the_hour(), 1);
    after.allocator.set_past_use(&told, Duration::from_secs(3600));
    after.add_agent(1, "cpus:4;mem:4096");
    after.add_framework(1, &["a"]);
    after.add_framework(3, &["b/c"]);
    let again = after.allocator.past_use(100);
    assert_eq!(again[&role("a")].frameworks[&FrameworkId(1)].to_string(), "cpus:1;mem:1024");
    assert!(again[&role("b/c")].own.to_string().starts_with("cpus:0.292"), "{again:?}");
    assert_eq!(after.run()[0].framework, FrameworkId(3), "who has used less comes first");
    // Who is there already goes on from it, too.
    let mut late = Cluster::with(by_the_hour(), 1);
    late.add_framework(1, &["a"]);
    late.allocator.set_past_use(&told, Duration::from_secs(3600));
    assert_eq!(late.allocator.past_use(100), again);
}

#[test]
fn those_who_used_most_are_told_of_when_not_all_can_be() {
    let mut cluster = cluster_with_a_past();
    let told = cluster.allocator.past_use(3);
    assert_eq!(told.keys().map(Role::as_str).collect::<Vec<_>>(), ["a"]);
    assert_eq!(told[&role("a")].frameworks.len(), 1);
    let told = cluster.allocator.past_use(1);
    assert!(!told[&role("a")].used.is_empty() && told[&role("a")].own.is_empty());
}

/// Frameworks with roles of their own come and go by the thousand.
#[test]
fn who_used_much_is_remembered_though_many_who_used_little_have_left() {
    let mut cluster = Cluster::with(by_the_hour(), 1);
    cluster.add_agent(1, "cpus:400;mem:400");
    let mut use_and_leave = |number: u64, name: &str, used: &str| {
        let used = resources(used);
        let framework = FrameworkId(number);
        cluster.add_framework(number, &[name]);
        cluster.allocator.add_allocated(agent(1), framework, &role(name), &used);
        cluster.now = Mono(cluster.now.0 + 60_000);
        cluster.allocator.advance(cluster.now);
        cluster.allocator.recover_allocated(agent(1), framework, &role(name), &used);
        cluster.allocator.remove_framework(framework);
    };
    for number in 0..5_200 {
        use_and_leave(number, &format!("job-{number}"), "cpus:1");
    }
    use_and_leave(6_000, "large", "cpus:100");
    use_and_leave(6_001, "small", "cpus:0.001");
    let told = cluster.allocator.past_use(100_000);
    assert!(told.contains_key(&role("large")));
    assert!(!told.contains_key(&role("small")), "less than that of all who are remembered");
    assert!(told.len() <= 5_000, "{}", told.len());
}

#[test]
fn a_policy_that_does_not_count_the_past_tells_none() {
    let mut cluster = cluster_with_a_past();
    let told = cluster.allocator.past_use(100);
    cluster.allocator.set_policy(Box::new(policy::Drf));
    cluster.allocator.set_past_use(&told, Duration::ZERO);
    assert!(cluster.allocator.past_use(100).is_empty());
}

#[test]
fn a_change_of_policy_shows_in_the_next_run() {
    let mut cluster = Cluster::new();
    cluster.allocator.set_priority(&role("urgent"), 10);
    cluster.add_framework(1, &["calm"]);
    cluster.add_framework(2, &["urgent"]);
    for number in 0..4 {
        cluster.add_agent(number, "cpus:1;mem:64");
    }
    let by = |cluster: &mut Cluster| -> BTreeMap<u64, usize> {
        let mut counts = BTreeMap::new();
        for grant in cluster.run() {
            *counts.entry(grant.framework.0).or_default() += 1;
        }
        counts
    };
    assert_eq!(by(&mut cluster), BTreeMap::from([(1, 2), (2, 2)]));
    cluster.allocator.set_policy(Box::new(policy::Priority));
    assert_eq!(cluster.allocator.policy().name(), "priority");
    for number in 4..8 {
        cluster.add_agent(number, "cpus:1;mem:64");
    }
    assert_eq!(by(&mut cluster), BTreeMap::from([(2, 4)]), "the higher band first");
    cluster.allocator.set_policy(Box::new(policy::Drf));
    for number in 8..12 {
        cluster.add_agent(number, "cpus:1;mem:64");
    }
    assert_eq!(by(&mut cluster), BTreeMap::from([(1, 4)]), "who has less");
}

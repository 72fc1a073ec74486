//! What frameworks see, told as stories.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    attributes::Attributes,
    framework::Capabilities,
    ids::FrameworkId,
    resources::{Amount, ResourceName, Resources},
    time::Mono,
};

use super::support::{Cluster, GPU_USER, agent, resources, role, roles};
use crate::{
    Options, Quota, Share, SkipRule,
    policy::{Drf, MaxMin},
};

fn offer(framework: u64, role: &str, agent: u64, resources: &str) -> (u64, String, u64, String) {
    (framework, role.to_owned(), agent, resources.to_owned())
}

#[test]
fn the_textbook_example_of_two_level_scheduling() {
    let mut cluster = Cluster::new();
    cluster.add_agent(1, "cpus:4;mem:4096");
    cluster.add_framework(1, &["*"]);
    let grants = cluster.run();
    assert_eq!(grants[0].resources, resources("cpus:4;mem:4096"));

    cluster.add_framework(2, &["*"]);
    assert_eq!(cluster.run(), [], "everything is offered to the first");
    let used = &resources("cpus:2;mem:1024") + &resources("cpus:1;mem:2048");
    cluster.accept(&grants[0], &used);
    assert_eq!(cluster.offers(), [offer(2, "*", 1, "cpus:1;mem:1024")]);
}

#[test]
fn a_refusing_framework_holds_nothing_back_from_others() {
    let mut cluster = Cluster::new();
    cluster.add_agent(1, "cpus:4;mem:4096");
    cluster.add_framework(1, &["*"]);
    cluster.add_framework(2, &["*"]);
    // Both have nothing, so the first is always next by share and id; and still the second gets it.
    for filter_ms in [Some(5000), None] {
        let first = cluster.run().remove(0);
        assert_eq!(first.framework, FrameworkId(1));
        cluster.decline(&first, filter_ms);
        let second = cluster.run().remove(0);
        assert_eq!(second.framework, FrameworkId(2), "{filter_ms:?}");
        cluster.decline(&second, Some(5000));
        cluster.now = Mono(cluster.now.0 + 5000);
    }
}

#[test]
fn declining_and_reviving_at_once_does_not_win_the_agent_back_before_others() {
    let mut cluster = Cluster::new();
    cluster.add_agent(1, "cpus:4;mem:4096");
    cluster.add_framework(1, &["*"]);
    cluster.add_framework(2, &["*"]);
    let first = cluster.run().remove(0);
    assert_eq!(first.framework, FrameworkId(1));
    // Two offers to the other make it worse off in all respects.
    cluster.add_agent(2, "cpus:1;mem:64");
    assert_eq!(cluster.run()[0].framework, FrameworkId(2));
    cluster.decline(&first, Some(5000));
    cluster.allocator.revive(FrameworkId(1), &BTreeSet::new());
    let second = cluster.run().remove(0);
    assert_eq!(second.framework, FrameworkId(2));
    cluster.decline(&second, Some(5000));
    assert_eq!(cluster.run()[0].framework, FrameworkId(1), "nobody else wants it now");
}

#[test]
fn who_declines_without_a_filter_is_asked_again_when_nobody_else_wants() {
    let mut cluster = Cluster::new();
    cluster.add_agent(1, "cpus:4;mem:4096");
    cluster.add_framework(1, &["*"]);
    cluster.add_framework(2, &["*"]);
    let mut asked = Vec::new();
    for _ in 0..4 {
        let grant = cluster.run().remove(0);
        asked.push(grant.framework.0);
        cluster.decline(&grant, None);
    }
    assert_eq!(asked, [1, 2, 1, 2]);
}

#[test]
fn a_filter_ends_with_its_time() {
    let mut cluster = Cluster::new();
    cluster.add_agent(1, "cpus:4;mem:4096");
    cluster.add_framework(1, &["*"]);
    let grant = cluster.run().remove(0);
    cluster.decline(&grant, Some(5000));
    assert_eq!(cluster.run(), []);
    assert_eq!(cluster.allocator.next_deadline(), Some(Mono(5000)));
    cluster.now = Mono(4999);
    assert_eq!(cluster.run(), []);
    cluster.now = Mono(5000);
    assert_eq!(cluster.run(), [grant]);
    assert_eq!(cluster.allocator.next_deadline(), None);
}

#[test]
fn a_filter_is_lifted_when_more_is_free_than_was_refused() {
    let mut cluster = Cluster::new();
    cluster.add_agent(1, "cpus:4;mem:4096");
    cluster.add_framework(1, &["*"]);
    let grant = cluster.run().remove(0);
    cluster.accept_text(&grant, "cpus:1;mem:1024");
    let rest = cluster.run().remove(0);
    cluster.decline(&rest, Some(1_000_000));
    assert_eq!(cluster.run(), []);
    let (framework, used) = (FrameworkId(1), resources("cpus:1;mem:1024"));
    cluster.allocator.recover_allocated(agent(1), framework, &role("*"), &used);
    assert_eq!(cluster.offers(), [offer(1, "*", 1, "cpus:4;mem:4096")]);
}

#[test]
fn revive_clears_filters_and_suppress_silences_role_by_role() {
    let mut cluster = Cluster::new();
    cluster.add_agent(1, "cpus:4;mem:4096");
    cluster.add_framework(1, &["a", "b"]);
    let id = FrameworkId(1);
    let grant = cluster.run().remove(0);
    assert_eq!(grant.role, role("a"));
    cluster.decline(&grant, Some(1_000_000));
    let other = cluster.run().remove(0);
    assert_eq!(other.role, role("b"), "the filter holds for one role");
    cluster.decline(&other, Some(1_000_000));
    assert_eq!(cluster.run(), []);

    cluster.allocator.suppress(id, &roles(&["a"]));
    cluster.allocator.revive(id, &roles(&["b"]));
    let again = cluster.run().remove(0);
    assert_eq!(again.role, role("b"));
    cluster.decline(&again, Some(1_000_000));

    cluster.allocator.suppress(id, &BTreeSet::new());
    assert_eq!(cluster.run(), []);
    cluster.allocator.revive(id, &BTreeSet::new());
    assert_eq!(cluster.run().len(), 1);
}

#[test]
fn many_agents_are_shared_out_by_weight_in_one_run() {
    let mut cluster = Cluster::new();
    for number in 0..12 {
        cluster.add_agent(number, "cpus:4;mem:4096");
    }
    cluster.allocator.set_weight(&role("heavy"), 2000);
    cluster.add_framework(1, &["heavy"]);
    cluster.add_framework(2, &["light"]);
    cluster.add_framework(3, &["light"]);
    let mut counts = BTreeMap::<u64, usize>::new();
    for grant in cluster.run() {
        *counts.entry(grant.framework.0).or_default() += 1;
    }
    assert_eq!(counts, BTreeMap::from([(1, 8), (2, 2), (3, 2)]));
}

#[test]
fn reserved_resources_go_to_their_role_and_those_below_it_only() {
    let mut cluster = Cluster::new();
    cluster.add_agent(1, "cpus:2;mem:512;cpus(a):4;mem(a):1024;cpus(a/b):1;mem(a/b):256;cpus(z):8");
    cluster.add_framework(1, &["z/other"]);
    cluster.add_framework(2, &["a/b"]);
    cluster.allocator.suppress(FrameworkId(2), &BTreeSet::new());
    // Unreserved, and what is reserved for a role above it.
    assert_eq!(cluster.offers(), [offer(1, "z/other", 1, "cpus:2;mem:512;cpus(z):8")]);
    cluster.allocator.revive(FrameworkId(2), &BTreeSet::new());
    let below = offer(2, "a/b", 1, "cpus(a):4;mem(a):1024;cpus(a/b):1;mem(a/b):256");
    assert_eq!(cluster.offers(), [below]);
    cluster.add_framework(3, &["a"]);
    cluster.add_framework(4, &["*"]);
    assert_eq!(cluster.offers(), []);
}

#[test]
fn one_agent_is_split_between_those_whom_its_parts_are_reserved_for() {
    let mut cluster = Cluster::new();
    cluster.add_agent(1, "cpus:2;mem:512;cpus(a):4;cpus(b):1");
    cluster.add_framework(1, &["a"]);
    cluster.add_framework(2, &["b"]);
    assert_eq!(
        cluster.offers(),
        [offer(1, "a", 1, "cpus:2;mem:512;cpus(a):4"), offer(2, "b", 1, "cpus(b):1")]
    );
}

#[test]
fn agents_without_cpus_or_without_memory_are_never_offered() {
    let mut cluster = Cluster::new();
    cluster.add_agent(1, "mem:4096;disk:100");
    cluster.add_agent(2, "cpus:4;disk:100");
    cluster.add_framework(1, &["*"]);
    assert_eq!(cluster.offers(), []);
    let explanation = cluster.allocator.explain(FrameworkId(1)).unwrap();
    assert_eq!(explanation.roles[0].skipped, BTreeMap::from([(SkipRule::NotOfferable, 2)]));
}

#[test]
fn a_remainder_is_offered_from_a_hundredth_of_a_core_or_32_mb_on() {
    let mut cluster = Cluster::new();
    cluster.add_agent(1, "cpus:1;mem:100");
    cluster.add_framework(1, &["*"]);
    let mut leave = |used: &str| {
        let grant = cluster.run().remove(0);
        cluster.accept_text(&grant, used);
        let rest: Vec<_> = cluster.run();
        for grant in &rest {
            cluster.accept(grant, &Resources::new());
        }
        let offered = rest.into_iter().map(|grant| grant.resources.to_string()).collect::<Vec<_>>();
        let used = resources(used);
        cluster.allocator.recover_allocated(agent(1), FrameworkId(1), &role("*"), &used);
        offered
    };
    assert_eq!(leave("cpus:0.99;mem:100"), ["cpus:0.01"]);
    assert_eq!(leave("cpus:1;mem:68"), ["mem:32"]);
    assert_eq!(leave("cpus:0.991;mem:68.001"), Vec::<String>::new());
}

#[test]
fn operators_say_what_is_worth_an_offer() {
    let least = "cpus:1;mem:512|disk:100".parse().unwrap();
    let options = Options { split: None, min_allocatable: least, ..Options::default() };
    let mut cluster = Cluster::with(options, 7);
    cluster.add_framework(1, &["*"]);
    cluster.add_agent(1, "cpus:8;mem:511;disk:99");
    cluster.add_agent(2, "cpus:1;mem:512");
    cluster.add_agent(3, "cpus:0.5;mem:64;disk:100");
    let offers: Vec<u64> = cluster.offers().into_iter().map(|(_, _, agent, _)| agent).collect();
    assert_eq!(offers, [2, 3]);
    let explanation = cluster.allocator.explain(FrameworkId(1)).unwrap();
    assert_eq!(explanation.roles[0].skipped.get(&SkipRule::BelowMinimum), Some(&1));
}

#[test]
fn what_operators_leave_out_of_shares_costs_nothing_but_counts_against_limits() {
    let excluded = [ResourceName::Gpus].into();
    let options = Options { split: None, shares_exclude: excluded, ..Options::default() };
    let mut cluster = Cluster::with(options, 7);
    cluster.add_agent(1, "cpus:8;mem:8192;gpus:8");
    cluster.add_capable(1, &["a"], GPU_USER);
    let held = resources("cpus:1;gpus:8");
    cluster.allocator.add_allocated(agent(1), FrameworkId(1), &role("a"), &held);
    let share = |cluster: &Cluster| {
        let states = cluster.allocator.roles();
        states.into_iter().find(|state| state.role == role("a")).unwrap().share
    };
    assert_eq!(share(&cluster), Share::new(1, 8), "of the processors, and not all GPUs");
    let limit = [(ResourceName::Gpus, Amount::whole(4))].into();
    let quota = Quota { limit, ..Quota::default() };
    assert!(cluster.allocator.check_quota(&role("a"), &quota).is_err(), "it consumes eight");
    // A policy that shares out nothing else counts it all the same.
    cluster.allocator.set_policy(Box::new(MaxMin { resource: ResourceName::Gpus }));
    assert_eq!(share(&cluster), Share::new(1, 1));
    cluster.allocator.set_policy(Box::new(Drf));
    assert_eq!(share(&cluster), Share::new(1, 8));
}

#[test]
fn agents_with_gpus_are_kept_for_those_who_use_them() {
    let mut cluster = Cluster::new();
    cluster.add_agent(1, "cpus:4;mem:4096;gpus:2");
    cluster.add_framework(1, &["*"]);
    assert_eq!(cluster.offers(), []);
    cluster.add_capable(2, &["*"], GPU_USER);
    assert_eq!(cluster.offers(), [offer(2, "*", 1, "cpus:4;gpus:2;mem:4096")]);
    // Becoming able to use them counts like coming.
    cluster.add_agent(2, "cpus:4;mem:4096;gpus:2");
    cluster.allocator.set_framework_active(FrameworkId(2), false);
    assert_eq!(cluster.offers(), []);
    cluster.allocator.update_framework(FrameworkId(1), &roles(&["*"]), &BTreeSet::new(), GPU_USER);
    assert_eq!(cluster.offers(), [offer(1, "*", 2, "cpus:4;gpus:2;mem:4096")]);
}

#[test]
fn inactive_agents_and_frameworks_take_no_part() {
    let mut cluster = Cluster::new();
    cluster.add_agent(1, "cpus:4;mem:4096");
    cluster.allocator.set_agent_active(agent(1), false);
    cluster.add_framework(1, &["*"]);
    assert_eq!(cluster.offers(), []);
    cluster.allocator.set_framework_active(FrameworkId(1), false);
    cluster.allocator.set_agent_active(agent(1), true);
    assert_eq!(cluster.offers(), []);
    cluster.allocator.set_framework_active(FrameworkId(1), true);
    assert_eq!(cluster.offers().len(), 1);
}

#[test]
fn tasks_that_run_already_count_in_the_shares() {
    let mut cluster = Cluster::new();
    let used = [(FrameworkId(1), role("*"), resources("cpus:3;mem:64"))];
    let total = resources("cpus:4;mem:4096");
    cluster.allocator.add_agent(agent(1), total, Attributes::default(), &used);
    cluster.add_framework(1, &["*"]);
    cluster.add_framework(2, &["*"]);
    assert_eq!(cluster.offers(), [offer(2, "*", 1, "cpus:1;mem:4032")]);
    let explanation = cluster.allocator.explain(FrameworkId(1)).unwrap();
    assert_eq!(explanation.roles[0].share, Share::new(3, 4));
    assert_eq!(explanation.roles[0].role_share, Share::new(1, 1));
}

#[test]
fn explanations_name_the_rule_the_place_and_the_nearest_agents() {
    let mut cluster = Cluster::new();
    cluster.add_framework(1, &["*"]);
    for number in 1..=3 {
        cluster.add_agent(number, "cpus:4;mem:4096");
    }
    cluster.add_agent(4, "cpus:4;mem:4096;gpus:1");
    let grants = cluster.run();
    assert_eq!(grants.len(), 3);
    cluster.decline(&grants[0], Some(9000));
    cluster.accept_text(&grants[1], "cpus:4;mem:4096");
    assert_eq!(cluster.run(), []);
    cluster.add_framework(2, &["quiet"]);
    cluster.allocator.suppress(FrameworkId(2), &BTreeSet::new());

    let explanation = cluster.allocator.explain(FrameworkId(1)).unwrap();
    let role = &explanation.roles[0];
    let now = [SkipRule::Refused, SkipRule::OfferedAlready, SkipRule::NothingFree, SkipRule::Gpu];
    assert_eq!(role.skipped, now.map(|rule| (rule, 1)).into());
    assert_eq!((role.agents, role.available, role.grants), (4, 0, 3));
    assert_eq!((role.position, role.waiting), (Some(0), 1));
    assert_eq!(
        (role.nearest[0].rule, role.nearest[0].left_ms),
        (SkipRule::Refused, Some(9000 - cluster.now.0))
    );
    assert!(role.skipped_so_far[&SkipRule::Gpu] >= 1);

    let quiet = cluster.allocator.explain(FrameworkId(2)).unwrap();
    assert_eq!(quiet.roles[0].skipped, BTreeMap::from([(SkipRule::Suppressed, 4)]));
    assert_eq!(quiet.roles[0].position, None);
    assert_eq!(cluster.allocator.explain(FrameworkId(3)), None);

    let json = serde_json::to_value(&explanation).unwrap();
    assert_eq!(json["roles"][0]["skipped"]["offered_already"], 1);
    assert_eq!(json["roles"][0]["share"]["fraction"], "1/2");
}

#[test]
fn a_task_is_told_where_it_would_fit_and_what_is_in_the_way() {
    let mut cluster = Cluster::new();
    cluster.add_framework(1, &["a"]);
    cluster.add_framework(2, &["b"]);
    cluster.add_agent(1, "cpus:1;mem:4096");
    cluster.add_agent(2, "cpus:4;mem:512;gpus:1");
    cluster.add_agent(3, "cpus:8;mem:100");
    let grants = cluster.run();
    let (free, held) = (agent(1), agent(3));
    let given_back = grants.iter().find(|grant| grant.agent == free).unwrap();
    cluster.accept_text(given_back, "");
    let task = resources("cpus:2;mem:1024;ports:[5-6]");
    let explained = cluster.allocator.explain_task(FrameworkId(1), &role("a"), &task).unwrap();
    assert_eq!((explained.fit.considered, explained.fit.fits), (3, 0));
    let lacking: Vec<_> =
        explained.fit.lacking.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    // What it is offered itself it does not lack.
    assert_eq!(lacking, [("cpus", 1), ("mem", 2), ("ports", 3)]);
    assert_eq!(explained.fit.skipped.get(&SkipRule::Gpu), Some(&1));
    assert_eq!(explained.waiting, 2);
    assert_eq!(explained.shares.shown.len(), 2);
    let gpu = explained.fit.nearest.iter().find(|miss| miss.agent == agent(2)).unwrap();
    let short: Vec<_> = gpu.short.values().map(ToString::to_string).collect();
    assert_eq!(
        (gpu.rule, short),
        (Some(SkipRule::Gpu), vec!["mem:512".into(), "ports:[5-6]".into()])
    );

    let fits = resources("cpus:1;mem:50");
    let explained = cluster.allocator.explain_task(FrameworkId(1), &role("a"), &fits).unwrap();
    assert_eq!(explained.fit.fits, 1, "{explained:?}");
    let holder = grants.iter().find(|grant| grant.agent == held).unwrap().framework;
    let is_own = holder == FrameworkId(1);
    let rule = if is_own { SkipRule::OfferedAlready } else { SkipRule::OfferedElsewhere };
    assert_eq!(explained.fit.skipped.get(&rule), Some(&1));
    assert_eq!(cluster.allocator.explain_task(FrameworkId(1), &role("z"), &fits), None);

    let explained = cluster.allocator.explain_agent(held).unwrap();
    assert_eq!(explained.closed, Some(SkipRule::OfferedElsewhere));
    assert_eq!(explained.holders.len(), 1);
    let rules = [(SkipRule::OfferedAlready, 1), (SkipRule::OfferedElsewhere, 1)];
    assert_eq!(explained.skipped, BTreeMap::from(rules));
    let explained = cluster.allocator.explain_agent(free).unwrap();
    assert_eq!((explained.closed, explained.considered), (None, 2));
    assert!(explained.skipped.is_empty() && explained.holders.is_empty());
}

#[test]
fn roles_show_what_they_hold_and_their_weights() {
    let mut cluster = Cluster::new();
    cluster.add_agent(1, "cpus:4;mem:4096");
    cluster.allocator.set_weight(&role("idle"), 500);
    cluster.allocator.set_weight(&role("a"), 2000);
    // The default is nothing to be remembered.
    cluster.allocator.set_weight(&role("once"), 3000);
    cluster.allocator.set_weight(&role("once"), 1000);
    cluster.add_framework(1, &["a/b"]);
    let grant = cluster.run().remove(0);
    cluster.accept_text(&grant, "cpus:1;mem:1024");
    let states: Vec<_> = cluster
        .allocator
        .roles()
        .into_iter()
        .map(|state| {
            (state.role.to_string(), state.weight_millis, state.held.to_string(), state.share)
        })
        .collect();
    let held = || "cpus:1;mem:1024".to_owned();
    let expected = [
        ("a".to_owned(), 2000, held(), Share::new(1, 8)),
        ("a/b".to_owned(), 1000, held(), Share::new(1, 4)),
        ("idle".to_owned(), 500, String::new(), Share::ZERO),
    ];
    assert_eq!(states, expected);
}

#[test]
fn a_framework_may_be_in_several_roles_and_leave_one() {
    let mut cluster = Cluster::new();
    cluster.add_agent(1, "cpus:4;mem:4096");
    cluster.add_agent(2, "cpus:4;mem:4096");
    cluster.add_framework(1, &["a", "b"]);
    let grants = cluster.run();
    let in_roles: BTreeSet<_> = grants.iter().map(|grant| grant.role.to_string()).collect();
    assert_eq!(in_roles.len(), 2, "one agent for each role: {grants:?}");
    let none = BTreeSet::new();
    let id = FrameworkId(1);
    cluster.allocator.update_framework(id, &roles(&["b"]), &none, Capabilities::default());
    cluster.allocator.check_invariants();
    for grant in &grants {
        cluster.decline(grant, None);
    }
    assert!(cluster.run().iter().all(|grant| grant.role == role("b")));
    assert_eq!(cluster.allocator.roles().len(), 1, "nobody is in the other role any more");
}

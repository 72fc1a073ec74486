//! What frameworks say is what they are offered.

use meshos_protocol::{
    attributes::Attributes,
    framework::Capabilities,
    ids::FrameworkId,
    resources::{Amount, ResourceName},
    time::Mono,
    wishes::{AgentConstraint, FaultDomain, OfferWishes, Predicate, ResourceRequest, Selector},
};

use super::support::{Cluster, agent, resources, role, roles};
use crate::{AgentProfile, Grant, Quota, Rescind, RescindCause, SkipRule, WishError};

const FIRST: FrameworkId = FrameworkId(1);

fn request(of: Option<u64>, text: &str, count: u32) -> ResourceRequest {
    ResourceRequest { agent: of.map(agent), resources: resources(text), count }
}

fn ask(cluster: &mut Cluster, requests: &[ResourceRequest]) {
    cluster.allocator.set_demand(FIRST, &role("*"), requests, None).unwrap();
    cluster.allocator.check_invariants();
}

fn rules(cluster: &Cluster, framework: u64) -> Vec<SkipRule> {
    let explanation = cluster.allocator.explain(FrameworkId(framework)).unwrap();
    explanation.roles[0].skipped.keys().copied().collect()
}

fn minimum(text: &str) -> OfferWishes {
    OfferWishes { minimum: vec![resources(text).quantities()], ..OfferWishes::default() }
}

#[test]
fn offers_are_not_smaller_than_a_framework_wants_them() {
    let mut cluster = Cluster::new();
    cluster.add_framework(1, &["*"]);
    cluster.allocator.set_wishes(FIRST, &role("*"), &minimum("mem:32768")).unwrap();
    cluster.add_agent(1, "cpus:8;mem:32767");
    assert_eq!(cluster.run(), []);
    assert_eq!(rules(&cluster, 1), [SkipRule::BelowWish]);
    cluster.add_agent(2, "cpus:8;mem:32768");
    assert_eq!(cluster.run()[0].agent, agent(2));
    // A wish that is taken back counts like coming.
    cluster.allocator.set_wishes(FIRST, &role("*"), &OfferWishes::default()).unwrap();
    assert_eq!(cluster.run()[0].agent, agent(1));
}

#[test]
fn what_is_wanted_is_explained_by_what_agents_lack() {
    let mut cluster = Cluster::new();
    cluster.add_framework(1, &["*"]);
    ask(&mut cluster, &[request(None, "cpus:6;mem:100", 2), request(Some(2), "cpus:1", 1)]);
    cluster.add_agent(1, "cpus:4;mem:1000");
    assert_eq!(cluster.run(), []);
    let explained = cluster.allocator.explain(FIRST).unwrap();
    let [large, named] = &explained.roles[0].requests[..] else { panic!("{explained:?}") };
    assert_eq!((large.left, large.fit.considered, large.fit.fits_when_empty), (2, 1, 0));
    assert_eq!(large.fit.lacking, [("cpus".to_owned(), 1)].into());
    assert_eq!(large.fit.nearest[0].short["cpus"], resources("cpus:2"));
    assert_eq!(large.fit.nearest[0].rule, None, "what it lacks says it");
    assert_eq!((named.agent, named.fit.considered), (Some(agent(2)), 0));
    // A task that would fit, if only it were asked for.
    let task = cluster.allocator.explain_task(FIRST, &role("*"), &resources("cpus:1")).unwrap();
    assert_eq!(task.fit.skipped, [(SkipRule::NotRequested, 1)].into());
    assert_eq!((task.fit.fits, task.fit.fits_when_empty), (0, 1));
}

#[test]
fn a_limit_is_named_when_it_alone_stands_in_the_way_of_what_is_wanted() {
    let limited = |wanted: fn(&mut Cluster)| {
        let mut cluster = Cluster::new();
        cluster.add_framework(1, &["*"]);
        let limit = [(ResourceName::Cpus, Amount::from_millis(500))].into();
        cluster.allocator.set_quota(&role("*"), Quota { limit, ..Quota::default() });
        wanted(&mut cluster);
        cluster.add_agent(1, "cpus:4;mem:1000");
        assert_eq!(cluster.run(), []);
        rules(&cluster, 1)
    };
    let within = |cluster: &mut Cluster| ask(cluster, &[request(None, "cpus:1;mem:100", 1)]);
    assert_eq!(limited(within), [SkipRule::QuotaLimit]);
    let beyond = |cluster: &mut Cluster| ask(cluster, &[request(None, "cpus:5;mem:100", 1)]);
    assert_eq!(limited(beyond), [SkipRule::NotRequested], "no limit would help");
    let wish = |cluster: &mut Cluster| {
        cluster.allocator.set_wishes(FIRST, &role("*"), &minimum("cpus:1")).unwrap();
    };
    assert_eq!(limited(wish), [SkipRule::QuotaLimit]);
}

#[test]
fn agents_that_do_not_fulfil_the_constraints_are_not_offered() {
    let mut cluster = Cluster::new();
    cluster.add_framework(1, &["*"]);
    let of = Selector::Attribute { name: "rack".to_owned() };
    let is = Predicate::Matches { pattern: "r[12]".to_owned() };
    let constraints = vec![vec![AgentConstraint { of, is }]];
    let wishes = OfferWishes { constraints, ..OfferWishes::default() };
    cluster.allocator.set_wishes(FIRST, &role("*"), &wishes).unwrap();
    let add = |cluster: &mut Cluster, number: u64, attributes: &str| {
        let attributes: Attributes = attributes.parse().unwrap();
        let total = resources("cpus:1;mem:64");
        cluster.allocator.add_agent(agent(number), total, attributes, &[]);
    };
    add(&mut cluster, 1, "rack:r3");
    add(&mut cluster, 2, "rack:r2");
    let offered: Vec<_> = cluster.run().iter().map(|grant| grant.agent).collect();
    assert_eq!(offered, [agent(2)]);
    assert_eq!(rules(&cluster, 1), [SkipRule::OfferedAlready, SkipRule::Constraint]);
    // What was found of an agent is forgotten when it says something else of itself.
    let attributes: Attributes = "rack:r1".parse().unwrap();
    cluster.allocator.update_agent(agent(1), resources("cpus:1;mem:64"), attributes);
    assert_eq!(cluster.run().len(), 1);
}

#[test]
fn stated_demand_is_offered_and_no_more() {
    let mut cluster = Cluster::new();
    cluster.add_framework(1, &["*"]);
    cluster.add_framework(2, &["*"]);
    ask(&mut cluster, &[request(None, "cpus:2;mem:100", 2)]);
    cluster.add_agent(1, "cpus:32;mem:65536");
    let grants = cluster.run();
    let mine = grants.iter().find(|grant| grant.framework == FIRST).unwrap();
    assert_eq!(mine.resources.to_string(), "cpus:4;mem:200");
    let other = grants.iter().find(|grant| grant.framework != FIRST).unwrap();
    assert_eq!(other.resources.to_string(), "cpus:28;mem:65336", "nobody holds the idle rest");

    // Half of it is used, the rest is wanted again.
    cluster.accept_text(mine, "cpus:2;mem:100");
    cluster.decline(other, Some(60_000));
    let again = cluster.run();
    assert_eq!(again[0].framework, FrameworkId(2), "it has less");
    cluster.decline(&again[0], Some(60_000));
    let again = cluster.run();
    assert_eq!(again[0].resources.to_string(), "cpus:2;mem:100");
    cluster.accept_text(&again[0], "cpus:2;mem:100");
    cluster.add_agent(2, "cpus:32;mem:65536");
    assert!(cluster.run().iter().all(|grant| grant.framework != FIRST));
    assert_eq!(rules(&cluster, 1), [SkipRule::DemandMet]);
    // Without a demand it is offered whatever there is.
    ask(&mut cluster, &[]);
    cluster.add_agent(3, "cpus:32;mem:65536");
    assert_eq!(cluster.run()[0].framework, FIRST);
}

#[test]
fn a_request_may_name_its_agent() {
    let mut cluster = Cluster::new();
    cluster.add_framework(1, &["*"]);
    ask(&mut cluster, &[request(Some(2), "cpus:1;mem:64", 1)]);
    cluster.add_agent(1, "cpus:4;mem:4096");
    cluster.add_agent(2, "cpus:4;mem:4096");
    let grants = cluster.run();
    assert_eq!((grants.len(), grants[0].agent), (1, agent(2)));
    assert_eq!(grants[0].resources.to_string(), "cpus:1;mem:64");
}

#[test]
fn an_agent_that_is_lost_gives_the_demand_back() {
    let mut cluster = Cluster::new();
    cluster.add_framework(1, &["*"]);
    ask(&mut cluster, &[request(None, "cpus:1;mem:64", 1)]);
    cluster.add_agent(1, "cpus:4;mem:4096");
    assert_eq!(cluster.run().len(), 1);
    cluster.allocator.remove_agent(agent(1));
    cluster.allocator.check_invariants();
    cluster.add_agent(2, "cpus:4;mem:4096");
    assert_eq!(cluster.run()[0].agent, agent(2));
}

fn gang_user(cluster: &mut Cluster, number: u64) {
    let capabilities = Capabilities { gang_offers: true, ..Capabilities::default() };
    cluster.add_capable(number, &["*"], capabilities);
}

#[test]
fn a_gang_is_offered_as_a_whole_or_not_at_all() {
    let mut cluster = Cluster::new();
    gang_user(&mut cluster, 1);
    let wants = [request(None, "cpus:3;mem:100", 3)];
    cluster.allocator.set_demand(FIRST, &role("*"), &wants, Some(Mono(1000))).unwrap();
    cluster.add_agent(1, "cpus:4;mem:4096");
    cluster.add_agent(2, "cpus:7;mem:4096");
    assert_eq!(cluster.run().len(), 2, "three fit on both agents together");
    cluster.allocator.check_invariants();

    let mut cluster = Cluster::new();
    gang_user(&mut cluster, 1);
    cluster.allocator.set_demand(FIRST, &role("*"), &wants, Some(Mono(1000))).unwrap();
    cluster.add_agent(1, "cpus:4;mem:4096");
    cluster.add_agent(2, "cpus:5;mem:4096");
    assert_eq!(cluster.run(), []);
    cluster.add_framework(2, &["*"]);
    assert_eq!(cluster.run().len(), 2, "nothing is kept from others meanwhile");
    assert_eq!(cluster.allocator.next_deadline(), Some(Mono(1000)));
    cluster.now = Mono(1000);
    assert_eq!(cluster.run(), []);
    assert_eq!(cluster.allocator.take_failed_gangs(), [(FIRST, role("*"))]);
    assert_eq!(rules(&cluster, 1), [SkipRule::DemandMet]);
}

#[test]
fn a_gang_is_marked_and_asked_for_by_those_who_can() {
    let mut cluster = Cluster::new();
    gang_user(&mut cluster, 1);
    cluster.add_framework(2, &["*"]);
    let wants = [request(None, "cpus:1;mem:64", 2)];
    let until = Some(Mono(1000));
    let error = cluster.allocator.set_demand(FrameworkId(2), &role("*"), &wants, until);
    assert_eq!(error, Err(WishError::NoGangs));
    let error = cluster.allocator.set_demand(FIRST, &role("a"), &wants, until).unwrap_err();
    assert_eq!(error.to_string(), "the framework is not in role a");
    cluster.allocator.set_demand(FIRST, &role("*"), &wants, until).unwrap();
    cluster.add_agent(1, "cpus:4;mem:4096");
    let grants = cluster.run();
    let gangs: Vec<_> = grants.iter().map(|grant| (grant.framework.0, grant.gang)).collect();
    assert_eq!(gangs, [(1, Some(1)), (2, None)]);
    assert_eq!(grants[0].resources.to_string(), "cpus:2;mem:128");
}

/// What is wanted back because it is beyond what is wanted, by agent; and takes it back.
fn undemanded(cluster: &mut Cluster, open: &[Grant]) -> Vec<u64> {
    let rescinds = cluster.allocator.take_rescinds();
    assert!(rescinds.iter().all(|it| it.cause == RescindCause::NotRequested), "{rescinds:?}");
    let of = |it: &Rescind| open.iter().filter(|grant| grant.agent == it.agent).cloned().collect();
    let gone: Vec<Vec<Grant>> = rescinds.iter().map(of).collect();
    gone.iter().for_each(|gone| take_back(cluster, gone));
    rescinds.iter().map(|it| it.agent.node.bits()).collect()
}

#[test]
fn what_is_beyond_a_demand_that_is_stated_later_is_wanted_back() {
    let mut cluster = Cluster::new();
    cluster.add_framework(1, &["*"]);
    for number in 1..=3 {
        cluster.add_agent(number, "cpus:4;mem:4096");
    }
    let open = cluster.run();
    assert_eq!(open.len(), 3, "whatever there is");
    ask(&mut cluster, &[request(None, "cpus:1;mem:64", 2), request(Some(2), "cpus:4;mem:4096", 1)]);
    // The second holds just what is asked for of it, and stays.
    assert_eq!(undemanded(&mut cluster, &open), [1, 3]);
    let cut = cluster.run();
    let cut: Vec<String> = cut.iter().map(|grant| grant.resources.to_string()).collect();
    assert_eq!(cut, ["cpus:2;mem:128"]);
    assert_eq!(cluster.allocator.take_rescinds(), []);
    assert_eq!(rules(&cluster, 1), [SkipRule::DemandMet], "what stays counts");
    // Less is wanted: what is offered of that stays, all else goes; and nothing at all.
    ask(&mut cluster, &[request(None, "cpus:1;mem:64", 2)]);
    assert_eq!(undemanded(&mut cluster, &open), [2]);
    assert_eq!(cluster.run(), []);
    cluster.allocator.want_nothing(FIRST, &role("*")).unwrap();
    assert_eq!(cluster.allocator.take_rescinds().len(), 1);
    // Whoever wants whatever there is keeps what it has.
    let mut cluster = Cluster::new();
    cluster.add_framework(1, &["*"]);
    cluster.add_agent(1, "cpus:4;mem:4096");
    ask(&mut cluster, &[request(None, "cpus:1;mem:64", 2)]);
    assert_eq!(cluster.run().len(), 1);
    ask(&mut cluster, &[]);
    assert_eq!(cluster.allocator.take_rescinds(), []);
}

#[test]
fn whoever_wants_several_things_together_is_not_in_its_own_way() {
    let mut cluster = Cluster::new();
    gang_user(&mut cluster, 1);
    cluster.add_agent(1, "cpus:4;mem:4096");
    cluster.add_agent(2, "cpus:4;mem:4096");
    let open = cluster.run();
    assert_eq!(open.len(), 2, "whole nodes, before it says what it wants");
    let wants = [request(None, "cpus:4;mem:4096", 2)];
    cluster.allocator.set_demand(FIRST, &role("*"), &wants, Some(Mono(1000))).unwrap();
    assert_eq!(undemanded(&mut cluster, &open), [1, 2]);
    let gang = cluster.run();
    assert!(gang.len() == 2 && gang.iter().all(|grant| grant.gang.is_some()), "{gang:?}");
}

/// All of what was granted is taken back, as for an operator.
fn take_back(cluster: &mut Cluster, grants: &[Grant]) {
    grants.iter().for_each(|grant| cluster.decline(grant, None));
    if let Some(Grant { framework, role, gang: Some(gang), .. }) = grants.first() {
        cluster.allocator.gang_taken_back(*framework, role, *gang);
    }
    cluster.allocator.check_invariants();
}

#[test]
fn a_gang_that_is_taken_back_is_tried_again_for_the_rest_of_its_time() {
    let mut cluster = Cluster::new();
    gang_user(&mut cluster, 1);
    let wants = [request(None, "cpus:3;mem:100", 2)];
    cluster.allocator.set_demand(FIRST, &role("*"), &wants, Some(Mono(1000))).unwrap();
    cluster.add_agent(1, "cpus:4;mem:4096");
    cluster.add_agent(2, "cpus:4;mem:4096");
    let grants = cluster.run();
    assert_eq!(grants.len(), 2);
    assert_eq!(cluster.allocator.next_deadline(), None, "it is offered");
    take_back(&mut cluster, &grants);
    let again = cluster.run();
    assert_eq!(again.len(), 2, "nobody else wants it");
    // Others go first, once.
    take_back(&mut cluster, &again);
    cluster.add_framework(2, &["*"]);
    let others = cluster.run();
    assert!(others.iter().all(|grant| grant.framework == FrameworkId(2)), "{others:?}");
    assert_eq!(cluster.allocator.next_deadline(), Some(Mono(1000)), "it waits");
    others.iter().for_each(|grant| cluster.decline(grant, Some(60_000)));
    let again = cluster.run();
    assert!(again.iter().all(|grant| grant.gang.is_some()), "{again:?}");
    // Taken back once its time is over.
    cluster.now = Mono(2000);
    take_back(&mut cluster, &again);
    assert_eq!(cluster.run(), []);
    assert_eq!(cluster.allocator.take_failed_gangs(), [(FIRST, role("*"))]);
    assert_eq!(rules(&cluster, 1), [SkipRule::DemandMet]);
}

#[test]
fn a_gang_that_is_taken_back_when_something_else_is_wanted_is_over() {
    let mut cluster = Cluster::new();
    gang_user(&mut cluster, 1);
    let wants = [request(None, "cpus:3;mem:100", 1)];
    cluster.allocator.set_demand(FIRST, &role("*"), &wants, Some(Mono(1000))).unwrap();
    cluster.add_agent(1, "cpus:4;mem:4096");
    let first = cluster.run();
    cluster.allocator.set_demand(FIRST, &role("*"), &wants, Some(Mono(1000))).unwrap();
    cluster.add_agent(2, "cpus:4;mem:4096");
    let second = cluster.run();
    assert_eq!((first[0].gang, second[0].gang), (Some(1), Some(2)));
    take_back(&mut cluster, &first);
    assert_eq!(cluster.run(), [], "it has what it asked for last");
    cluster.allocator.want_nothing(FIRST, &role("*")).unwrap();
    take_back(&mut cluster, &second);
    assert_eq!(cluster.run(), []);
    assert_eq!(cluster.allocator.take_failed_gangs(), []);
}

fn guarantee(cluster: &mut Cluster, name: &str, cpus: i64) {
    let guarantee = [(ResourceName::Cpus, Amount::whole(cpus))].into_iter().collect();
    cluster.allocator.set_quota(&role(name), Quota { guarantee, ..Quota::default() });
}

/// Runs until nothing is wanted back any more of what is open; returns what is open then.
fn settle(cluster: &mut Cluster, mut open: Vec<Grant>) -> Vec<Grant> {
    for _ in 0..8 {
        open.extend(cluster.run());
        let rescinds = cluster.allocator.take_rescinds();
        if rescinds.is_empty() {
            return open;
        }
        let wanted = |grant: &Grant| {
            let of = |it: &Rescind| (it.framework, it.agent) == (grant.framework, grant.agent);
            rescinds.iter().any(of)
        };
        let gangs: Vec<u64> =
            open.iter().filter(|grant| wanted(grant)).filter_map(|grant| grant.gang).collect();
        let goes =
            |grant: &Grant| wanted(grant) || grant.gang.is_some_and(|it| gangs.contains(&it));
        let (gone, kept) = open.into_iter().partition::<Vec<_>, _>(goes);
        open = kept;
        let (gang, other) = gone.into_iter().partition::<Vec<_>, _>(|it| it.gang.is_some());
        take_back(cluster, &gang);
        take_back(cluster, &other);
    }
    panic!("offers are wanted back again and again: {open:?}");
}

#[test]
fn a_gang_that_borrowed_comes_after_whoever_is_guaranteed_it() {
    let mut cluster = Cluster::new();
    guarantee(&mut cluster, "n", 4);
    gang_user(&mut cluster, 1);
    let wants = [request(None, "cpus:3;mem:100", 2)];
    cluster.allocator.set_demand(FIRST, &role("*"), &wants, Some(Mono(1000))).unwrap();
    cluster.add_agent(1, "cpus:4;mem:4096");
    cluster.add_agent(2, "cpus:4;mem:4096");
    let open = settle(&mut cluster, Vec::new());
    assert_eq!(open.len(), 2);
    // Whoever is guaranteed four is served first, and takes whatever there is.
    cluster.add_framework(2, &["n"]);
    let open = settle(&mut cluster, open);
    assert!(open.iter().all(|grant| grant.framework == FrameworkId(2)), "{open:?}");
    assert_eq!(cluster.allocator.next_deadline(), Some(Mono(1000)), "the gang waits");
}

#[test]
fn offers_are_wanted_back_for_a_gang_only_when_all_of_it_can_be_had() {
    let asks = |cluster: &mut Cluster, count| {
        let capabilities = Capabilities { gang_offers: true, ..Capabilities::default() };
        cluster.add_capable(1, &["n"], capabilities);
        let wants = [request(None, "cpus:3;mem:100", count)];
        cluster.allocator.set_demand(FIRST, &role("n"), &wants, Some(Mono(1000))).unwrap();
    };
    for (count, holders) in [(2, vec![1, 1, 2, 2]), (3, vec![2, 2])] {
        let mut cluster = Cluster::new();
        guarantee(&mut cluster, "n", 8);
        cluster.add_framework(2, &["z"]);
        cluster.add_agent(1, "cpus:4;mem:4096");
        cluster.add_agent(2, "cpus:4;mem:4096");
        asks(&mut cluster, count);
        let mut found: Vec<u64> =
            settle(&mut cluster, Vec::new()).iter().map(|grant| grant.framework.0).collect();
        found.sort_unstable();
        assert_eq!(found, holders, "{count} wanted");
    }
}

#[test]
fn a_gang_that_a_limit_stopped_is_offered_when_the_limit_goes() {
    let mut cluster = Cluster::new();
    let limit = |cpus: i64| Quota {
        limit: [(ResourceName::Cpus, Amount::whole(cpus))].into(),
        ..Quota::default()
    };
    cluster.allocator.set_quota(&role("*"), limit(1));
    gang_user(&mut cluster, 1);
    let wants = [request(None, "cpus:1;mem:64", 2)];
    cluster.allocator.set_demand(FIRST, &role("*"), &wants, Some(Mono(1000))).unwrap();
    cluster.add_agent(1, "cpus:4;mem:4096");
    assert_eq!(cluster.run(), []);
    cluster.allocator.set_quota(&role("*"), limit(2));
    assert_eq!(cluster.run().len(), 1);
}

#[test]
fn agents_far_away_are_offered_to_those_who_go_there() {
    let mut cluster = Cluster::new();
    cluster.add_framework(1, &["*"]);
    cluster.allocator.set_region(Some("eu".to_owned()));
    let domain = Some(FaultDomain { region: "us".to_owned(), zone: "a".to_owned() });
    let profile = AgentProfile { domain, ..AgentProfile::default() };
    cluster.allocator.add_agent(agent(1), resources("cpus:1;mem:64"), profile, &[]);
    assert_eq!(cluster.run(), []);
    assert_eq!(rules(&cluster, 1), [SkipRule::OtherRegion]);
    let aware = Capabilities { region_aware: true, ..Capabilities::default() };
    cluster.allocator.update_framework(FIRST, &roles(&["*"]), &[].into(), aware);
    assert_eq!(cluster.run().len(), 1);
    // The leader has moved.
    let grant_back = resources("cpus:1;mem:64");
    cluster.allocator.recover_offered(agent(1), FIRST, &role("*"), &grant_back, None);
    cluster.allocator.update_framework(FIRST, &roles(&["*"]), &[].into(), Capabilities::default());
    cluster.allocator.set_region(Some("us".to_owned()));
    assert_eq!(cluster.run().len(), 1);
}

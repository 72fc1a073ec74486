//! What explanations say beside the names of rules: whose limit, how far, where else, and what shares are.

use std::time::Duration;

use meshos_protocol::{
    framework::Capabilities,
    ids::FrameworkId,
    resources::{Resources, ScalarQuantities},
    wishes::{AgentConstraint, OfferWishes, Predicate, Selector},
};

use super::{
    kinds::volume,
    support::{Cluster, agent, resources, role},
};
use crate::{
    AgentProfile, Fit, Measure, OfferMode, Options, Policy, Quota, RoleExplanation, SkipRule,
    policy::{Drf, FairDecay, Random},
};

const FIRST: FrameworkId = FrameworkId(1);

fn limit(cluster: &mut Cluster, name: &str, limit: &str) {
    let limit = resources(limit).quantities();
    let limit = limit.iter().map(|(name, amount)| (name.clone(), amount)).collect();
    cluster.allocator.set_quota(&role(name), Quota { limit, ..Quota::default() });
}

fn fit(cluster: &Cluster, name: &str, task: &str) -> Fit {
    cluster.allocator.explain_task(FIRST, &role(name), &resources(task)).unwrap().fit
}

fn explained(cluster: &Cluster) -> RoleExplanation {
    cluster.allocator.explain(FIRST).unwrap().roles.remove(0)
}

fn nearest(fit: &Fit) -> Vec<u64> {
    fit.nearest.iter().map(|miss| miss.agent.node.bits()).collect()
}

/// An agent some of which is in use by framework 9.
fn add_used(cluster: &mut Cluster, number: u64, total: &str, (name, used): (&str, &str)) {
    let task = (FrameworkId(9), role(name), resources(used));
    let hostname = format!("n{number}");
    let profile = AgentProfile { hostname, ..AgentProfile::default() };
    cluster.allocator.add_agent(agent(number), resources(total), profile, &[task]);
    cluster.allocator.check_invariants();
}

fn on_host(name: &str) -> OfferWishes {
    let value = name.to_owned();
    let one = AgentConstraint { of: Selector::Hostname, is: Predicate::Equals { value } };
    OfferWishes { constraints: vec![vec![one]], ..OfferWishes::default() }
}

/// The table that operators read names every rule, and nothing that is none.
#[test]
fn every_rule_is_documented() {
    let table = include_str!("../../../../docs/explain.md");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    let named: Vec<&str> = rows.map(|(name, _)| name).collect();
    assert_eq!(named, SkipRule::ALL.map(SkipRule::name));
}

#[test]
fn a_limit_is_told_with_the_role_that_has_it_and_what_is_left() {
    let mut cluster = Cluster::new();
    limit(&mut cluster, "par", "cpus:4;mem:4096");
    limit(&mut cluster, "par/kid2", "cpus:64");
    cluster.add_framework(1, &["par/kid2"]);
    add_used(&mut cluster, 1, "cpus:8;mem:1024", ("par/kid", "cpus:3;mem:64"));
    // A task that is larger than what the limit leaves does not fit, though there is room.
    let large = fit(&cluster, "par/kid2", "cpus:2;mem:32");
    assert_eq!((large.fits, large.skipped.get(&SkipRule::QuotaLimit)), (0, Some(&1)), "{large:?}");
    assert_eq!(large.kept_by, [(SkipRule::QuotaLimit, 1)].into());
    let told = |limits| serde_json::to_string(&limits).unwrap();
    let par =
        |left: &str| format!(r#"[{{"role":"par","limit":{{"cpus":4}},"left":{{"cpus":{left}}}}}]"#);
    assert_eq!(told(large.figures.limits), par("1"));
    assert_eq!(fit(&cluster, "par/kid2", "cpus:1;mem:32").fits, 1);
    assert_eq!(explained(&cluster).figures.limits, [], "nothing is kept back");
    limit(&mut cluster, "par", "cpus:3");
    assert_eq!(cluster.run(), []);
    let told = told(explained(&cluster).figures.limits);
    assert_eq!(told, par("0").replace('4', "3"));
}

#[test]
fn a_task_is_told_to_fit_into_the_open_offers_of_its_framework() {
    for offers in [OfferMode::Exclusive, OfferMode::Optimistic] {
        let mut cluster = Cluster::with(Options { offers, ..Options::default() }, 7);
        cluster.add_framework(1, &["a"]);
        cluster.add_agent(1, "cpus:4;mem:1024");
        cluster.add_agent(2, "cpus:4;mem:1024");
        cluster.add_agent(3, "cpus:1;mem:1024");
        assert_eq!(cluster.run().len(), 3);
        let found = fit(&cluster, "a", "cpus:2;mem:512");
        assert_eq!((found.fits, found.fits_open_offers), (0, 2), "{offers:?} {found:?}");
        let on: Vec<_> = found.open_offers_on.iter().map(|it| it.agent).collect();
        assert_eq!(on, [agent(1), agent(2)]);
        assert_eq!(found.lacking, [("cpus".to_owned(), 1)].into());
        assert_eq!(found.kept_by, [(SkipRule::OfferedAlready, 2)].into());
        assert_eq!(found.short_of, [("cpus".to_owned(), 1)].into());
        assert!(found.nearest[0].short.is_empty(), "{found:?}");
    }
}

#[test]
fn what_is_wanted_of_a_reservation_or_a_volume_is_found_nowhere_else() {
    let mut cluster = Cluster::new();
    cluster.add_framework(1, &["db"]);
    cluster.add_agent(1, "cpus:4;cpus(db):2;mem:1024");
    let fits = |cluster: &Cluster, task: &str| {
        let found = fit(cluster, "db", task);
        let lacking: Vec<_> = found.lacking.into_keys().collect();
        (found.fits, found.fits_when_empty, lacking.join(" "))
    };
    assert_eq!(fits(&cluster, "cpus(db):2;cpus:4"), (1, 1, String::new()));
    assert_eq!(fits(&cluster, "cpus:6"), (1, 1, String::new()), "plain ones are of either");
    assert_eq!(fits(&cluster, "cpus(db):3"), (0, 0, "cpus(db)".to_owned()));
    assert_eq!(fits(&cluster, "cpus(db):2;cpus:5"), (0, 0, "cpus".to_owned()));
    assert_eq!(fits(&cluster, "cpus(other):1"), (0, 0, "cpus(other)".to_owned()));
    let short = fit(&cluster, "db", "cpus(db):3").nearest.remove(0).short;
    assert_eq!(short["cpus(db)"], resources("cpus(db):1"));

    let mut cluster = Cluster::new();
    cluster.add_framework(1, &["a"]);
    let mut total = resources("cpus:1;mem:64;disk:500;disk(a):100");
    total.insert(volume(false));
    cluster.allocator.add_agent(agent(1), total, AgentProfile::default(), &[]);
    let task = |volume| {
        let task: Resources = [volume].into_iter().collect();
        let found = cluster.allocator.explain_task(FIRST, &role("a"), &task).unwrap().fit;
        (found.fits, found.lacking.into_keys().collect::<Vec<_>>())
    };
    assert_eq!(task(volume(false)), (1, vec![]));
    let half = volume(false).with_amount(meshos_protocol::resources::Amount::whole(25)).unwrap();
    assert_eq!(task(half), (0, vec!["disk(a)[v]".to_owned()]), "a volume is used as a whole");
}

#[test]
fn the_nearest_are_those_that_may_become_free_then_those_that_never_can() {
    let mut cluster = Cluster::new();
    cluster.add_framework(1, &["par"]);
    cluster.allocator.set_wishes(FIRST, &role("par"), &on_host("n4")).unwrap();
    for number in 1..=3 {
        add_used(&mut cluster, number, "cpus:8;mem:1024", ("x", "mem:1"));
    }
    add_used(&mut cluster, 4, "cpus:4;mem:1024", ("x", "cpus:4;mem:64"));
    assert_eq!(nearest(&fit(&cluster, "par", "cpus:4;mem:16")), [4, 1, 2, 3]);
    // Too small in total comes before what a constraint keeps away, whatever it lacks.
    let small = fit(&cluster, "par", "cpus:6;mem:16");
    assert_eq!(nearest(&small), [4, 1, 2, 3]);
    let figures = small.figures;
    assert_eq!(figures.constraints.as_deref(), Some("hostname is n4"));
    assert_eq!(explained(&cluster).figures.constraints, figures.constraints);
}

#[test]
fn wishes_and_minimums_are_told_with_what_is_missing() {
    let mut cluster = Cluster::new();
    cluster.add_framework(1, &["a"]);
    let minimum = |text: &str| -> ScalarQuantities { resources(text).quantities() };
    let wishes = OfferWishes {
        minimum: vec![minimum("cpus:600"), minimum("cpus:700;mem:1")],
        ..OfferWishes::default()
    };
    cluster.allocator.set_wishes(FIRST, &role("a"), &wishes).unwrap();
    cluster.add_agent(1, "cpus:4;mem:2048");
    cluster.add_agent(2, "cpus:6.5;cpus(b):1.5;mem:1024");
    assert_eq!(cluster.run(), []);
    let told = explained(&cluster);
    assert_eq!(told.figures.wish.as_deref(), Some("cpus:600|cpus:700;mem:1"));
    let near: Vec<_> =
        told.nearest.iter().map(|it| (it.agent.node.bits(), it.short.to_string())).collect();
    assert_eq!(near, [(2, "cpus:593.5".to_owned()), (1, "cpus:596".to_owned())]);

    let mut cluster = Cluster::new();
    cluster.add_framework(1, &["a"]);
    add_used(&mut cluster, 1, "cpus:1;mem:64", ("x", "cpus:0.995;mem:63"));
    let told = explained(&cluster);
    assert_eq!(told.skipped, [(SkipRule::BelowMinimum, 1)].into());
    assert_eq!(told.figures.minimum.as_deref(), Some("cpus:0.01|mem:32"));
    assert_eq!(told.nearest[0].short.to_string(), "cpus:0.005");
}

#[test]
fn what_the_shares_of_a_policy_are_is_told() {
    let policies: [(Box<dyn Policy>, Measure); 3] = [
        (Box::new(Drf), Measure::Share),
        (Box::new(Random::default()), Measure::Chance),
        (Box::new(FairDecay::new(Duration::from_secs(60))), Measure::DecayedUse),
    ];
    for (policy, measure) in policies {
        let mut cluster = Cluster::with(Options { policy, ..Options::default() }, 7);
        cluster.add_framework(1, &["a"]);
        assert_eq!(cluster.allocator.explain(FIRST).unwrap().shares.measure, measure);
    }
}

#[test]
fn a_shared_volume_in_several_offers_is_told_once() {
    let mut cluster = Cluster::new();
    let capabilities = Capabilities { shared_resources: true, ..Capabilities::default() };
    cluster.add_capable(1, &["a"], capabilities);
    let mut total = resources("cpus:2;mem:1024");
    total.insert(volume(true));
    cluster.allocator.add_agent(agent(1), total, AgentProfile::default(), &[]);
    let first = cluster.run().remove(0);
    cluster.accept_text(&first, "cpus:1;mem:64");
    let again = cluster.run().remove(0);
    cluster.accept_text(&again, "cpus:0.5;mem:64");
    assert_eq!(cluster.run().len(), 1);
    let told = cluster.allocator.explain_agent(agent(1)).unwrap();
    let offered = &told.holders[0].offered;
    assert_eq!(
        offered.amount_of(&meshos_protocol::resources::ResourceName::Disk),
        volume(true).amount().unwrap()
    );
}

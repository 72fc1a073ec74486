//! Kinds of resources: revocable ones, volumes, shared volumes, refined reservations.

use std::{collections::BTreeMap, sync::Arc};

use meshos_protocol::{
    framework::Capabilities,
    ids::FrameworkId,
    resources::{
        Amount, Disk, DiskKind, DiskSource, Metadata, Reservation, Resource, ResourceName,
        Resources, Volume,
    },
    wishes::ResourceRequest,
};

use super::support::{Cluster, agent, resources, role};
use crate::{AgentProfile, Options, SkipRule};

const FIRST: FrameworkId = FrameworkId(1);

fn revocable(cpus: i64) -> Resource {
    Resource::new(ResourceName::Cpus, Metadata::REVOCABLE, Amount::whole(cpus)).unwrap()
}

fn volume(shared: bool) -> Resource {
    let volume = Volume { id: "v".to_owned(), ..Volume::default() };
    let metadata = Metadata {
        reservation: Reservation::new(role("a")),
        disk: Some(Arc::new(Disk { source: None, volume: Some(volume) })),
        shared,
        revocable: false,
    };
    Resource::new(ResourceName::Disk, metadata, Amount::whole(50)).unwrap()
}

fn add(cluster: &mut Cluster, number: u64, text: &str, more: Resource) {
    let mut total: Resources = resources(text);
    total.insert(more);
    cluster.allocator.add_agent(agent(number), total, AgentProfile::default(), &[]);
    cluster.allocator.check_invariants();
}

#[test]
fn revocable_resources_go_to_those_who_say_so_and_have_a_ledger_of_their_own() {
    let mut cluster = Cluster::new();
    cluster.add_framework(1, &["*"]);
    add(&mut cluster, 1, "cpus:1;mem:64", revocable(8));
    assert_eq!(cluster.allocator.total().to_string(), "cpus:1;mem:64");
    assert_eq!(cluster.run()[0].resources, resources("cpus:1;mem:64"));
    let rules = cluster.allocator.explain(FIRST).unwrap().roles.remove(0).skipped;
    assert_eq!(rules, BTreeMap::from([(SkipRule::NotUnderstood, 1)]));
    let capabilities = Capabilities { revocable_resources: true, ..Capabilities::default() };
    cluster.add_capable(2, &["*"], capabilities);
    let grant = cluster.run().remove(0);
    assert_eq!(
        (grant.framework, grant.resources.revocable()),
        (FrameworkId(2), grant.resources.clone())
    );
    let state = &cluster.allocator.roles()[0];
    assert_eq!(state.held.to_string(), "cpus:1;mem:64", "no share of what may be taken back");
    cluster.allocator.remove_framework(FrameworkId(2));
    cluster.allocator.check_invariants();
    assert_eq!(cluster.allocator.agent(agent(1)).unwrap().free, Resources::from(revocable(8)));
}

#[test]
fn a_request_for_revocable_resources_is_explained_by_who_understands_them_and_who_has_some() {
    let mut cluster = Cluster::new();
    cluster.add_framework(1, &["*"]);
    let capabilities = Capabilities { revocable_resources: true, ..Capabilities::default() };
    cluster.add_capable(2, &["*"], capabilities);
    let wanted = resources("cpus{revocable}:4;mem:64");
    let request = [ResourceRequest::new(wanted.clone(), 1)];
    for number in [1, 2] {
        cluster.allocator.set_demand(FrameworkId(number), &role("*"), &request, None).unwrap();
    }
    cluster.add_agent(1, "cpus:8;mem:128");
    add(&mut cluster, 2, "cpus:8;mem:128", revocable(2));
    assert_eq!(cluster.run(), [], "what is plain is another thing");
    let explained = |cluster: &Cluster, number: u64| {
        let (id, role) = (FrameworkId(number), role("*"));
        cluster.allocator.explain_task(id, &role, &wanted).unwrap().fit
    };
    let capable = explained(&cluster, 2);
    assert_eq!(capable.lacking, BTreeMap::from([("cpus{revocable}".to_owned(), 2)]));
    assert_eq!(capable.skipped, BTreeMap::new());
    let short: Vec<Resources> =
        capable.nearest.iter().map(|miss| miss.short.values().sum()).collect();
    assert_eq!(short, [resources("cpus{revocable}:2"), resources("cpus{revocable}:4")]);
    let other = explained(&cluster, 1);
    assert_eq!(other.skipped, BTreeMap::from([(SkipRule::NotUnderstood, 1)]));

    add(&mut cluster, 3, "cpus:8;mem:128", revocable(4));
    let grants = cluster.run();
    assert_eq!(grants.len(), 1);
    assert_eq!((grants[0].framework, &grants[0].resources), (FrameworkId(2), &wanted));
    cluster.accept(&grants[0], &wanted);
    assert_eq!(cluster.run(), [], "it has what it asked for");
    assert_eq!(cluster.allocator.explain(FrameworkId(2)).unwrap().roles[0].requests, []);
    let free = cluster.allocator.agent(agent(3)).unwrap().free.clone();
    assert_eq!(free, resources("cpus:8;mem:64"));
}

#[test]
fn a_shared_volume_is_used_by_several_at_once_and_counts_once() {
    let mut cluster = Cluster::new();
    let capabilities = Capabilities { shared_resources: true, ..Capabilities::default() };
    cluster.add_capable(1, &["a"], capabilities);
    cluster.add_capable(2, &["a"], capabilities);
    add(&mut cluster, 1, "cpus:4;mem:4096", volume(true));
    let first = cluster.run().remove(0);
    assert_eq!(first.resources.shared(), Resources::from(volume(true)));
    let mut task = resources("cpus:1;mem:64");
    task.insert(volume(true));
    cluster.accept(&first, &task);
    let second = cluster.run().remove(0);
    assert_ne!(second.framework, first.framework);
    cluster.accept(&second, &task);
    cluster.allocator.check_invariants();
    let state = cluster.allocator.agent(agent(1)).unwrap();
    assert_eq!(state.allocated.shared(), Resources::from(volume(true)), "once");
    assert_eq!(state.free.shared(), Resources::from(volume(true)), "always free");
    for grant in [first, second] {
        cluster.allocator.recover_allocated(agent(1), grant.framework, &role("a"), &task);
        cluster.allocator.check_invariants();
    }
    assert!(cluster.allocator.agent(agent(1)).unwrap().allocated.is_empty());
}

#[test]
fn a_volume_that_is_not_shared_is_offered_to_one_and_never_in_parts() {
    let mut cluster = Cluster::with(Options::default(), 1);
    cluster.add_framework(1, &["a"]);
    cluster.add_framework(2, &["a"]);
    add(&mut cluster, 1, "cpus:4;mem:4096", volume(false));
    let grants = cluster.run();
    let disks: Vec<_> = grants.iter().map(|grant| grant.resources.disk()).collect();
    assert_eq!(disks, [Amount::whole(50), Amount::ZERO]);
}

#[test]
fn a_mounted_disk_is_offered_as_a_whole_or_not_at_all() {
    let source = DiskSource { kind: DiskKind::Mount, root: "/mnt/1".into(), ..Default::default() };
    let disk = Disk { source: Some(source), volume: None };
    let metadata = Metadata { disk: Some(Arc::new(disk)), ..Metadata::default() };
    let mount = Resource::new(ResourceName::Disk, metadata, Amount::whole(100)).unwrap();
    let mut cluster = Cluster::new();
    let limit = BTreeMap::from([(ResourceName::Disk, Amount::whole(99))]);
    let quota = crate::Quota { limit, ..Default::default() };
    cluster.allocator.set_quota(&role("small"), quota);
    cluster.add_framework(1, &["small"]);
    add(&mut cluster, 1, "cpus:4;mem:4096;disk:10", mount);
    assert_eq!(cluster.run()[0].resources, resources("cpus:4;mem:4096;disk:10"));
}

#[test]
fn refined_reservations_go_to_those_who_understand_them() {
    let outer = Reservation::dynamic(role("a"), "ops", BTreeMap::new(), None).unwrap();
    let inner = Reservation::dynamic(role("a/b"), "ops", BTreeMap::new(), Some(outer)).unwrap();
    let metadata = Metadata { reservation: Some(inner), ..Metadata::default() };
    let refined = Resource::new(ResourceName::Cpus, metadata, Amount::whole(2)).unwrap();
    let mut cluster = Cluster::new();
    let plain = Capabilities { reservation_refinement: false, ..Capabilities::default() };
    cluster.add_capable(1, &["a/b"], plain);
    add(&mut cluster, 1, "cpus:1;mem:64", refined.clone());
    assert_eq!(cluster.run()[0].resources, resources("cpus:1;mem:64"));
    cluster.add_framework(2, &["a/b"]);
    assert_eq!(cluster.run()[0].resources, Resources::from(refined));
}

/// It stays free when it is offered: what is worth an offer must be used up by offers.
#[test]
fn a_shared_volume_alone_is_not_worth_an_offer() {
    let min_allocatable = "cpus:1|disk:40".parse().unwrap();
    let mut cluster = Cluster::with(Options { min_allocatable, ..Options::default() }, 0);
    let capabilities = Capabilities { shared_resources: true, ..Capabilities::default() };
    cluster.add_capable(1, &["a"], capabilities);
    cluster.add_capable(2, &["a"], capabilities);
    add(&mut cluster, 1, "cpus:2;mem:64", volume(true));
    let grants = cluster.run();
    assert_eq!(grants.len(), 1, "{grants:?}");
    assert_eq!(grants[0].resources.shared(), Resources::from(volume(true)));
}

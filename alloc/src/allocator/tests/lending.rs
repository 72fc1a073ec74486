//! What histories of lending have shown, as small as they became: how much comes back, of whom, and
//! for whom.

use std::collections::BTreeSet;

use meshos_protocol::{
    framework::Capabilities, ids::FrameworkId, time::Mono, wishes::ResourceRequest,
};

use super::support::{Cluster, agent, resources, role, roles};
use crate::{Grant, Quota};

fn guarantee(cluster: &mut Cluster, name: &str, amounts: &str) {
    let guarantee = resources(amounts).quantities();
    cluster.allocator.set_quota(&role(name), Quota { guarantee, ..Quota::default() });
}

/// Framework 1 in a role is offered three agents of a processor.
fn three_are_lent(cluster: &mut Cluster, name: &str) -> Vec<Grant> {
    cluster.add_framework(1, &[name]);
    for number in 0..3 {
        cluster.add_agent(number, "cpus:1;mem:1024");
    }
    let lent = cluster.run();
    assert_eq!(lent.len(), 3);
    lent
}

#[test]
fn several_who_wait_in_a_role_get_no_more_back_than_the_role_lacks() {
    let mut cluster = Cluster::new();
    let lent = three_are_lent(&mut cluster, "other");
    guarantee(&mut cluster, "safe", "cpus:1");
    cluster.add_framework(2, &["safe"]);
    cluster.add_framework(3, &["safe/below"]);
    assert_eq!(cluster.run(), []);
    let rescinds = cluster.allocator.take_rescinds();
    assert_eq!(rescinds.len(), 1, "{rescinds:?}");
    let back = lent.iter().find(|grant| grant.agent == rescinds[0].agent).unwrap();
    cluster.decline(back, None);
    let served = cluster.run();
    assert_eq!(served.len(), 1);
    assert!(served[0].framework != FrameworkId(1), "{served:?}");
    assert_eq!(cluster.allocator.take_rescinds(), [], "it has what it is guaranteed");
}

#[test]
fn whoever_lends_keeps_what_it_is_guaranteed_itself() {
    let mut cluster = Cluster::new();
    guarantee(&mut cluster, "lender", "cpus:2");
    three_are_lent(&mut cluster, "lender");
    // As an operator may insist: more is guaranteed than there is.
    guarantee(&mut cluster, "safe", "cpus:3");
    cluster.add_framework(2, &["safe"]);
    assert_eq!(cluster.run(), []);
    let rescinds = cluster.allocator.take_rescinds();
    assert_eq!(rescinds.len(), 1, "each of them could be spared, but not all: {rescinds:?}");
}

#[test]
fn whoever_has_refused_a_remainder_is_still_guaranteed_the_whole() {
    let mut cluster = Cluster::new();
    cluster.add_framework(2, &["safe"]);
    cluster.add_agent(1, "cpus:2;mem:2048");
    let grant = cluster.run().remove(0);
    let used = resources("cpus:1;mem:1024");
    let Grant { framework, role: safe, agent, resources, .. } = &grant;
    let never = Some(Mono(u64::MAX));
    cluster.allocator.accept(*agent, *framework, safe, resources, &used, never);
    // Others are offered all of it once the task has ended, while its framework is away.
    cluster.allocator.set_framework_active(FrameworkId(2), false);
    cluster.allocator.recover_allocated(*agent, *framework, safe, &used);
    cluster.add_framework(1, &["other"]);
    let lent = cluster.run();
    assert_eq!(lent[0].resources, *resources);
    cluster.allocator.set_framework_active(FrameworkId(2), true);
    guarantee(&mut cluster, "safe", "cpus:2");
    assert_eq!(cluster.run(), []);
    let rescinds = cluster.allocator.take_rescinds();
    assert_eq!(rescinds.len(), 1);
    assert_eq!(rescinds[0].wanted_by, Some((FrameworkId(2), role("safe"))));
    cluster.decline(&lent[0], None);
    assert_eq!(cluster.run()[0].framework, FrameworkId(2));
    // But not what it has refused itself.
    let mut cluster = Cluster::new();
    cluster.add_framework(2, &["safe"]);
    cluster.add_agent(1, "cpus:2;mem:2048");
    let grant = cluster.run().remove(0);
    cluster.decline(&grant, Some(u64::MAX));
    cluster.add_framework(1, &["other"]);
    assert_eq!(cluster.run().len(), 1);
    guarantee(&mut cluster, "safe", "cpus:2");
    assert_eq!(cluster.run(), []);
    assert_eq!(cluster.allocator.take_rescinds(), []);
}

#[test]
fn what_is_of_no_use_to_a_gang_does_not_keep_back_what_is() {
    let mut cluster = Cluster::new();
    guarantee(&mut cluster, "lender", "cpus:4");
    guarantee(&mut cluster, "safe", "cpus:4");
    cluster.add_framework(1, &["lender"]);
    cluster.add_agent(1, "cpus:4;mem:1024");
    cluster.add_agent(2, "cpus:4;mem:1024");
    assert_eq!(cluster.run().len(), 2);
    // It can use the second agent alone; the lender can spare one of the two.
    let gangs = Capabilities { gang_offers: true, ..Capabilities::default() };
    let (gang, of) = (FrameworkId(2), role("safe"));
    cluster.allocator.add_framework(gang, &roles(&["safe"]), &BTreeSet::new(), gangs);
    let resources = resources("cpus:4;mem:1024");
    let wants = [ResourceRequest { agent: Some(agent(2)), resources, count: 1 }];
    cluster.allocator.set_demand(gang, &of, &wants, Some(Mono(1000))).unwrap();
    assert_eq!(cluster.run(), []);
    let rescinds = cluster.allocator.take_rescinds();
    assert_eq!(rescinds.iter().map(|it| it.agent).collect::<Vec<_>>(), [agent(2)]);
}

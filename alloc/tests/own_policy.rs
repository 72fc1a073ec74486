//! A policy of one's own, as a crate outside would write it: the worked example of
//! `docs/allocation-policies.md`. It uses nothing but what `meshos_alloc` exports, and runs the
//! suite that every policy must pass.
//!
//! "Lottery by seniority": frameworks that came early are served before those that came late, but
//! every held share of a tenth of the cluster costs as much as a hundred places.

use meshos_alloc::{
    Allocator, Options, Share, conformance,
    policy::{Account, Party, Policy, Rank, dominant_share},
};
use meshos_protocol::{
    attributes::Attributes,
    framework::Capabilities,
    ids::{AgentId, FrameworkId, NodeId},
    time::Mono,
};

#[derive(Debug, Clone)]
struct Seniority {
    /// How many places a tenth of the cluster costs.
    places_per_tenth: i64,
}

impl Policy for Seniority {
    fn name(&self) -> &'static str {
        "seniority"
    }

    fn rank(&self, account: &Account<'_>) -> Rank {
        let share = dominant_share(account);
        let place = match account.party {
            // Ids count up, so the lower one came first.
            Party::Framework(framework) => i64::try_from(framework.0).unwrap_or(i64::MAX),
            Party::Role(_) | Party::Direct => 0,
        };
        let tenths = i64::try_from(share.per_mille() / 100).unwrap_or(i64::MAX);
        let cost = tenths.saturating_mul(self.places_per_tenth);
        Rank { band: place.saturating_add(cost), share }
    }
}

fn seniority() -> Box<dyn Policy> {
    Box::new(Seniority { places_per_tenth: 100 })
}

#[test]
fn it_conforms() {
    conformance::check(seniority, 24);
}

#[test]
fn the_senior_is_served_first_until_it_has_its_share() {
    let mut allocator = Allocator::new(Options { policy: seniority(), ..Options::default() }, 1);
    for framework in [3, 1] {
        let roles = ["*".parse().unwrap()].into();
        let id = FrameworkId(framework);
        allocator.add_framework(id, &roles, &[].into(), Capabilities::default());
    }
    for number in 0..20 {
        let agent = AgentId::new(NodeId::from_bits(number), 1);
        let total = "cpus:1;mem:1024".parse().unwrap();
        allocator.add_agent(agent, total, Attributes::default(), &[]);
    }
    let mut grants = Vec::new();
    allocator.allocate(Mono(0), &mut grants);
    let order: Vec<u64> = grants.iter().map(|grant| grant.framework.0).collect();
    assert_eq!(order[..4], [1, 1, 3, 3], "a tenth of the cluster each, the senior first");
    assert_eq!(Share::new(1, 10).per_mille(), 100);
}

//! A policy of one's own: the plug holds more than one shape.

use meshos_protocol::{attributes::Attributes, time::Mono};

use super::support::{Cluster, agent, resources};
use crate::{
    Allocator, Options, Policy, Share,
    policy::{Account, Party, Rank},
};

/// Roles in bands by the digit that their name ends with; within a band whoever the hour favours.
#[derive(Debug, Clone, Default)]
struct Banded {
    runs: u64,
}

impl Policy for Banded {
    fn name(&self) -> &'static str {
        "banded"
    }

    fn rank(&self, account: &Account<'_>) -> Rank {
        match account.party {
            Party::Role(role) => {
                let digit = role.as_str().chars().last().and_then(|last| last.to_digit(10));
                Rank { band: i64::from(digit.unwrap_or(9)), share: Share::ZERO }
            }
            Party::Framework(framework) => {
                let turn = u128::from((framework.0 + self.runs) % 3);
                Rank { band: 0, share: Share::new(turn, 3) }
            }
            Party::Direct => Rank { band: 0, share: Share::ZERO },
        }
    }

    fn begin_run(&mut self, _now: Mono, _draw: u64) -> bool {
        self.runs += 1;
        true
    }
}

#[test]
fn a_policy_orders_by_bands_and_by_what_it_knows_of_the_run() {
    let mut cluster = Cluster::new();
    let options = Options { policy: Box::new(Banded::default()), ..Options::default() };
    cluster.allocator = Allocator::new(options, 1);
    assert_eq!(cluster.allocator.policy().name(), "banded");
    for framework in 0..3 {
        cluster.add_framework(framework, &["low-2"]);
    }
    let mut served = Vec::new();
    for number in 0..3 {
        let total = resources("cpus:1;mem:64");
        cluster.allocator.add_agent(agent(number), total, Attributes::default(), &[]);
        served.extend(cluster.run().into_iter().map(|grant| grant.framework.0));
    }
    assert_eq!(served, [2, 1, 0], "another each run");

    cluster.add_framework(3, &["high-1"]);
    for number in 3..6 {
        cluster.add_agent(number, "cpus:1;mem:64");
    }
    assert!(cluster.run().iter().all(|grant| grant.framework.0 == 3), "the high band takes all");
}

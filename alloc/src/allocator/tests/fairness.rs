//! The laws of fair sharing over random problems, with shrinking; the laws themselves are those of
//! the suite that every policy runs.

use meshos_protocol::resources::ResourceName;
use proptest::prelude::*;

use crate::{
    Policy,
    conformance::{Laws, Need, Problem},
    policy::{Drf, MaxMin},
};

/// Problems of two resources, or of processors alone when nobody needs more than no memory.
fn problems(mem_most: i64) -> impl Strategy<Value = Problem> {
    let weight = prop::sample::select(vec![1000u64, 1000, 500, 3000]);
    let user = (1i64..=12, mem_most.min(1)..=mem_most, weight);
    prop::collection::vec(user, 2..6).prop_map(|users| Problem {
        needs: users.iter().map(|(cpus, mem, _)| (*cpus, *mem)).collect(),
        weights_millis: users.iter().map(|(_, _, weight)| *weight).collect(),
    })
}

fn holds(law: Result<(), String>) -> Result<(), TestCaseError> {
    law.map_err(TestCaseError::fail)
}

/// All laws for a policy, over problems in which a task needs up to so much memory. 256 cases each;
/// `PROPTEST_CASES=10000` looks at more.
macro_rules! laws_hold {
    ($name:ident, $policy:expr, $mem_most:expr) => {
        mod $name {
            use super::*;

            const MEM_MOST: i64 = $mem_most;

            fn laws(problem: &Problem) -> Laws<'_, fn() -> Box<dyn Policy>> {
                Laws { policy: || Box::new($policy), problem }
            }

            fn agents(least: i64) -> impl Strategy<Value = Vec<Need>> {
                prop::collection::vec((least..60, least..60), 1..6)
            }

            proptest! {
                #[test]
                fn pareto_efficiency(problem in problems(MEM_MOST), agents in agents(1), seed: u64) {
                    holds(laws(&problem).nothing_useful_is_left(&agents, seed))?;
                }

                #[test]
                fn sharing_incentive(problem in problems(MEM_MOST)) {
                    holds(laws(&problem).sharing_incentive())?;
                }

                #[test]
                fn envy_freeness(problem in problems(MEM_MOST)) {
                    holds(laws(&problem).no_envy())?;
                }

                #[test]
                fn envy_freeness_over_several_agents(
                    problem in problems(MEM_MOST), agents in agents(20), seed: u64,
                ) {
                    holds(laws(&problem).no_envy_while_all_go_on(&agents, seed))?;
                }

                #[test]
                fn shares_stay_together_over_several_agents(
                    problem in problems(MEM_MOST), agents in agents(20), seed: u64,
                ) {
                    holds(laws(&problem).shares_stay_together(&agents, seed))?;
                }

                #[test]
                fn strategy_proofness(
                    problem in problems(MEM_MOST),
                    liar: prop::sample::Index,
                    lie in (1i64..20, MEM_MOST.min(1)..=MEM_MOST * 3 / 2),
                ) {
                    let liar = liar.index(problem.needs.len());
                    holds(laws(&problem).strategy_proofness(liar, lie))?;
                }

                #[test]
                fn population_monotonicity(problem in problems(MEM_MOST)) {
                    holds(laws(&problem).population_monotonicity())?;
                }

                #[test]
                fn order_independence(
                    (problem, order) in problems(MEM_MOST).prop_flat_map(|problem| {
                        let order: Vec<usize> = (0..problem.needs.len()).collect();
                        (Just(problem), Just(order).prop_shuffle())
                    }),
                ) {
                    holds(laws(&problem).order_independence(&order))?;
                }

                #[test]
                fn bottleneck_fairness(problem in problems(MEM_MOST)) {
                    holds(laws(&problem).equal_shares_of_a_common_bottleneck())?;
                }
            }
        }
    };
}

laws_hold!(drf, Drf, 12);
// In its resource, which is the only one then.
laws_hold!(max_min, MaxMin { resource: ResourceName::Cpus }, 0);

/// Guards the laws: each can be broken.
#[test]
fn a_policy_that_serves_whoever_comes_first_breaks_the_laws() {
    #[derive(Debug, Clone)]
    struct First;
    impl Policy for First {
        fn name(&self) -> &'static str {
            "first"
        }
        fn rank(&self, account: &crate::policy::Account<'_>) -> crate::policy::Rank {
            let turn = match account.party {
                crate::policy::Party::Role(role) => role.as_str().bytes().map(u128::from).sum(),
                crate::policy::Party::Direct | crate::policy::Party::Framework(_) => 0,
            };
            crate::policy::Rank { band: 0, share: crate::Share::new(turn, 1) }
        }
    }
    let needs: Vec<Need> = vec![(1, 1), (2, 1), (1, 3)];
    let problem = Problem { needs, weights_millis: vec![1000; 3] };
    let laws = Laws { policy: || Box::new(First) as Box<dyn Policy>, problem: &problem };
    assert!(laws.sharing_incentive().is_err());
    assert!(laws.no_envy().is_err());
    assert!(laws.order_independence(&[2, 1, 0]).is_err());
    assert!(laws.shares_stay_together(&[(50, 50)], 1).is_err());
    assert!(laws.equal_shares_of_a_common_bottleneck().is_err());
    assert!(laws.nothing_useful_is_left(&[(50, 50)], 1).is_ok(), "it wastes nothing");
}

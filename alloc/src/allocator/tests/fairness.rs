//! The laws of fair sharing over random problems, with shrinking; the laws themselves are those of
//! the suite that every policy runs.

use proptest::prelude::*;

use crate::{
    Policy,
    conformance::{Laws, Need, Problem},
    policy::Drf,
};

fn problems() -> impl Strategy<Value = Problem> {
    let user = (1i64..=12, 1i64..=12, prop::sample::select(vec![1000u64, 1000, 500, 3000]));
    prop::collection::vec(user, 2..6).prop_map(|users| Problem {
        needs: users.iter().map(|(cpus, mem, _)| (*cpus, *mem)).collect(),
        weights_millis: users.iter().map(|(_, _, weight)| *weight).collect(),
    })
}

fn drf() -> Box<dyn Policy> {
    Box::new(Drf)
}

fn laws(problem: &Problem) -> Laws<'_, fn() -> Box<dyn Policy>> {
    Laws { policy: drf, problem }
}

fn holds(law: Result<(), String>) -> Result<(), TestCaseError> {
    law.map_err(TestCaseError::fail)
}

// 256 cases each; `PROPTEST_CASES=10000` looks at more.
proptest! {
    #[test]
    fn pareto_efficiency(
        problem in problems(),
        agents in prop::collection::vec((1i64..60, 1i64..60), 1..6),
        seed: u64,
    ) {
        holds(laws(&problem).nothing_useful_is_left(&agents, seed))?;
    }

    #[test]
    fn sharing_incentive(problem in problems()) {
        holds(laws(&problem).sharing_incentive())?;
    }

    #[test]
    fn envy_freeness(problem in problems()) {
        holds(laws(&problem).no_envy())?;
    }

    #[test]
    fn envy_freeness_over_several_agents(
        problem in problems(),
        agents in prop::collection::vec((20i64..60, 20i64..60), 1..6),
        seed: u64,
    ) {
        holds(laws(&problem).no_envy_while_all_go_on(&agents, seed))?;
    }

    #[test]
    fn shares_stay_together_over_several_agents(
        problem in problems(),
        agents in prop::collection::vec((20i64..60, 20i64..60), 1..6),
        seed: u64,
    ) {
        holds(laws(&problem).shares_stay_together(&agents, seed))?;
    }

    #[test]
    fn strategy_proofness(problem in problems(), liar: prop::sample::Index, lie in (1i64..20, 1i64..20)) {
        holds(laws(&problem).strategy_proofness(liar.index(problem.needs.len()), lie))?;
    }

    #[test]
    fn population_monotonicity(problem in problems()) {
        holds(laws(&problem).population_monotonicity())?;
    }

    #[test]
    fn order_independence(
        (problem, order) in problems().prop_flat_map(|problem| {
            let order: Vec<usize> = (0..problem.needs.len()).collect();
            (Just(problem), Just(order).prop_shuffle())
        }),
    ) {
        holds(laws(&problem).order_independence(&order))?;
    }

    #[test]
    fn bottleneck_fairness(problem in problems()) {
        holds(laws(&problem).equal_shares_of_a_common_bottleneck())?;
    }
}

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

//! Published results of fair sharing, reached by filling an agent one task at a time.
//!
//! The published numbers are for tasks that can be divided. Ours cannot, so each case is scaled up
//! until the numbers are whole, and a result may be off by one task.

use std::collections::BTreeMap;

use meshos_protocol::{
    attributes::Attributes, framework::Capabilities, ids::FrameworkId, resources::ResourceName,
};

use super::support::{Cluster, User, agent, cpus_mem, fill, fill_under, role, roles};
use crate::{
    Policy, Share,
    policy::{Drf, MaxMin},
};

/// A unit of either resource: large enough that the least remainder is still worth an offer.
const UNIT: (i64, i64) = (1_000, 100_000);

struct Case {
    capacity: (i64, i64),
    /// Demand of a task, tasks wanted, weight in thousandths.
    users: Vec<((i64, i64), u64, u64)>,
    expected: Vec<u64>,
}

const ALL: u64 = u64::MAX;

fn fill_case(case: &Case, as_roles: bool) -> (Vec<u64>, Vec<u64>) {
    fill_case_under(Box::new(Drf), case, as_roles)
}

fn fill_case_under(policy: Box<dyn Policy>, case: &Case, as_roles: bool) -> (Vec<u64>, Vec<u64>) {
    let units = |(a, b): (i64, i64)| cpus_mem(a * UNIT.0, b * UNIT.1);
    let users: Vec<_> = (1..)
        .zip(&case.users)
        .map(|(framework, (demand, wanted, weight_millis))| User {
            framework,
            role: if as_roles {
                format!("role-{framework}").parse().unwrap()
            } else {
                "*".parse().unwrap()
            },
            task: units(*demand),
            wanted: *wanted,
            weight_millis: *weight_millis,
        })
        .collect();
    let (order, outcomes, _) = fill_under(policy, 1, &[units(case.capacity)], &users);
    let tasks = |user: &User| outcomes.get(&user.framework).map_or(0, |outcome| outcome.tasks);
    (order, users.iter().map(tasks).collect())
}

/// Runs a case with the users as roles, and as frameworks of one role where no weights forbid it.
fn check(case: &Case) {
    let weighted = case.users.iter().any(|(_, _, weight)| *weight != 1000);
    for as_roles in [true, false] {
        if weighted && !as_roles {
            continue;
        }
        let (_, tasks) = fill_case(case, as_roles);
        for (found, expected) in tasks.iter().zip(&case.expected) {
            let off = found.abs_diff(*expected);
            assert!(off <= 1, "tasks {tasks:?}, expected {:?}", case.expected);
        }
    }
}

fn equal(capacity: (i64, i64), demands: &[(i64, i64)], expected: &[u64]) -> Case {
    let users = demands.iter().map(|demand| (*demand, ALL, 1000)).collect();
    Case { capacity, users, expected: expected.to_vec() }
}

#[test]
fn table_1_of_the_drf_paper_step_by_step() {
    // The first tie goes to the lower id, so B of the paper, with <3,1>, is the first here.
    let case = equal((9, 18), &[(3, 1), (1, 4)], &[2, 3]);
    for as_roles in [true, false] {
        let (order, tasks) = fill_case(&case, as_roles);
        let names: String = order.iter().map(|user| if *user == 1 { 'B' } else { 'A' }).collect();
        assert_eq!(names, "BAABA");
        assert_eq!(tasks, [2, 3]);
    }
}

#[test]
fn table_1_of_the_drf_paper_with_its_shares_and_totals_after_each_step() {
    let units = |(a, b): (i64, i64)| cpus_mem(a * UNIT.0, b * UNIT.1);
    let mut cluster = Cluster::new();
    cluster.allocator.add_agent(agent(1), units((9, 18)), Attributes::default(), &[]);
    // The first tie goes to the smaller name: to B of the paper.
    let users = [(1, "b", units((3, 1))), (2, "c", units((1, 4)))];
    for (framework, name, _) in &users {
        let id = FrameworkId(*framework);
        cluster.allocator.add_framework(id, &roles(&[name]), &[].into(), Capabilities::default());
    }
    let expected = [
        ("b", (1, 3), (3, 1)),
        ("c", (2, 9), (4, 5)),
        ("c", (4, 9), (5, 9)),
        ("b", (2, 3), (8, 10)),
        ("c", (2, 3), (9, 14)),
    ];
    for (name, (numerator, denominator), total) in expected {
        let grant = cluster.run().remove(0);
        let (_, _, task) = users.iter().find(|user| user.0 == grant.framework.0).unwrap();
        cluster.accept(&grant, task);
        assert_eq!(grant.role, role(name));
        let states = cluster.allocator.roles();
        let state = states.iter().find(|state| state.role == grant.role).unwrap();
        assert_eq!(state.share, Share::new(numerator, denominator), "{name}");
        let held = cluster.allocator.agents().next().unwrap().allocated;
        assert_eq!(held, units(total));
    }
    // Section 4.1: both have two thirds, and 4 GB of memory are left.
    let states = cluster.allocator.roles();
    assert!(states.iter().all(|state| state.share == Share::new(2, 3)), "{states:?}");
    let left = cluster.allocator.agents().next().unwrap().free;
    assert_eq!(left, units((0, 4)));
}

#[test]
fn section_4_1_of_the_drf_paper_ends_with_equal_dominant_shares() {
    let case = equal((9, 18), &[(1, 4), (3, 1)], &[3, 2]);
    let (_, tasks) = fill_case(&case, false);
    // Neither asset fairness (2.52 and 2.16) nor competitive equilibrium (45/11 and 18/11).
    assert_eq!(tasks, [3, 2]);
    check(&equal((9 * 11, 18 * 11), &[(1, 4), (3, 1)], &[33, 22]));
}

#[test]
fn weights_scale_the_dominant_shares() {
    let demands = |a, b| vec![((1, 4), ALL, a), ((3, 1), ALL, b)];
    let capacity = |scale: i64| (9 * scale, 18 * scale);
    // 54/13 and 18/13: memory binds.
    check(&Case { capacity: capacity(13), users: demands(2000, 1000), expected: vec![54, 18] });
    // 9/5 and 12/5: CPU binds.
    check(&Case { capacity: capacity(5), users: demands(1000, 2000), expected: vec![9, 12] });
}

#[test]
fn what_one_does_not_want_goes_to_the_other() {
    let users = vec![((1, 4), 3, 1000), ((3, 1), ALL, 1000)];
    check(&Case { capacity: (27, 54), users, expected: vec![3, 8] });
}

#[test]
fn sharing_incentive_of_the_paper() {
    // Asset fairness would leave the second user with less than half of everything (12 of 30).
    let (_, tasks) = fill_case(&equal((30, 30), &[(1, 3), (1, 1)], &[5, 15]), false);
    assert_eq!(tasks, [5, 15]);
}

#[test]
fn bottleneck_fairness() {
    check(&equal((21 * 8, 21 * 8), &[(3, 2), (4, 1)], &[28, 21]));
}

#[test]
fn a_lie_about_ones_demand_gains_nothing() {
    check(&equal((600, 600), &[(16, 1), (1, 2)], &[25, 200]));
    check(&equal((600, 600), &[(16, 8), (1, 2)], &[25, 200]));
}

#[test]
fn nobody_loses_when_another_leaves() {
    let demands = [(4, 1), (1, 16), (16, 1)];
    check(&equal((3300, 3300), &demands, &[400, 100, 100]));
    check(&equal((3300, 3300), &demands[..2], &[660, 165]));
}

#[test]
fn more_of_one_resource_may_cost_a_user_something() {
    // Resource monotonicity does not hold under dominant resource fairness.
    check(&equal((12 * 3, 12 * 3), &[(2, 1), (1, 2)], &[12, 12]));
    check(&equal((12 * 3, 48 * 3), &[(2, 1), (1, 2)], &[9, 18]));
}

#[test]
fn growth_of_what_does_not_bind_changes_nothing() {
    check(&equal((77 * 8, 77 * 8), &[(4, 2), (1, 1)], &[77, 308]));
    check(&equal((77 * 8, 154 * 8), &[(4, 2), (1, 1)], &[77, 308]));
}

#[test]
fn filling_goes_on_after_one_resource_is_full() {
    check(&equal((20, 20), &[(2, 0), (1, 1), (0, 1)], &[5, 10, 10]));
}

/// Users of one resource: capacity, then wants and weights, in units.
fn one_resource(capacity: i64, users: &[(u64, u64)]) -> Vec<u64> {
    let users = users.iter().map(|(wanted, weight)| ((1, 0), *wanted, *weight)).collect();
    let case = Case { capacity: (capacity, 1), users, expected: Vec::new() };
    let max_min = MaxMin { resource: ResourceName::Cpus };
    let (_, tasks) = fill_case_under(Box::new(max_min), &case, true);
    // Of one resource both are the same.
    assert_eq!(fill_case(&case, true).1, tasks);
    tasks
}

#[test]
fn max_min_fairness_of_the_textbook() {
    // 2, 2.5, 2.75 and 2.75 of 10, in quarters.
    let equal = [8, 10, 16, 20].map(|wanted| (wanted, 1000));
    assert_eq!(one_resource(40, &equal), [8, 10, 11, 11]);
}

#[test]
fn weighted_max_min_fairness_of_the_textbook() {
    // 4, 2, 6 and 4 of 16 (Keshav), in tenths.
    let users = [(40, 2500), (20, 4000), (100, 500), (40, 1000)];
    assert_eq!(one_resource(160, &users), [40, 20, 60, 40]);
}

#[test]
fn a_framework_gains_nothing_by_registering_under_many_ids_or_its_role_by_having_them() {
    let task = cpus_mem(1_000, 100_000);
    let user = |framework: u64, role: &str| User {
        framework,
        role: role.parse().unwrap(),
        task: task.clone(),
        wanted: ALL,
        weight_millis: 1000,
    };
    let users =
        [user(1, "a"), user(2, "b"), user(3, "b"), user(4, "b"), user(5, "b/c"), user(6, "b/c/d")];
    let (_, outcomes, _) = fill(1, &[cpus_mem(60_000, 6_000_000)], &users);
    let tasks: BTreeMap<u64, u64> =
        outcomes.iter().map(|(user, outcome)| (*user, outcome.tasks)).collect();
    // Half for each role at the top; below `b` half for those directly in it and half for `b/c`,
    // which is halved again. Up to one task, as tasks cannot be divided.
    let expected = [(1, 30), (2, 5), (3, 5), (4, 5), (5, 8), (6, 7)];
    for (user, expected) in expected {
        assert!(tasks[&user].abs_diff(expected) <= 1, "{tasks:?}");
    }
}

#[test]
fn offers_that_are_hoarded_count_like_tasks_and_win_nothing() {
    let mut cluster = Cluster::new();
    cluster.add_framework(1, &["hoards"]);
    cluster.add_framework(2, &["works"]);
    let add = |cluster: &mut Cluster, numbers: std::ops::Range<u64>| {
        for number in numbers {
            cluster.add_agent(number, "cpus:1;mem:1024");
        }
    };
    let mut hoarded = 0;
    for round in 0..5 {
        add(&mut cluster, round * 4..round * 4 + 4);
        for grant in cluster.run() {
            match grant.framework.0 {
                1 => hoarded += 1,
                _ => cluster.accept(&grant, &grant.resources),
            }
        }
        assert_eq!(hoarded, 2 * (round + 1), "half of what there is");
    }
    // It works no better for one that takes its offers and gives them back at once.
    let mut cluster = Cluster::new();
    cluster.add_framework(1, &["refuses"]);
    cluster.add_framework(2, &["works"]);
    add(&mut cluster, 0..8);
    let mut worked = 0;
    for _ in 0..9 {
        for grant in cluster.run() {
            match grant.framework.0 {
                1 => cluster.decline(&grant, Some(u64::from(u32::MAX))),
                _ => {
                    worked += 1;
                    cluster.accept(&grant, &grant.resources);
                }
            }
        }
    }
    assert_eq!(worked, 8, "what one refuses is the other's, however long it refuses it");
}

//! What is measured, by name.

use meshos_control::master::{Counters, DropReason, RoleView, Tally};
use meshos_protocol::{ids::NodeId, role::Role};

use super::*;
use crate::reads::node::tests::view as agent_view;

fn machine() -> Machine {
    Machine {
        now: Wall(62_500),
        started_at: Wall(2_000),
        voters: 3,
        recovered: true,
        cpus: 8,
        load: [1_250, 500, 0].map(Amount::from_millis),
        memory_bytes: 8 << 30,
        memory_free_bytes: 1 << 30,
        sandboxes_removed: 4,
        sandbox_failures: 1,
        sandbox_age_ms: 604_800_000,
    }
}

fn leading() -> View {
    let fence = Fence { cluster: ClusterId::from_u128(1), term: Term(1) };
    let role = RoleView {
        role: Role::new("web").unwrap(),
        weight_millis: 1_000,
        priority: 0,
        guarantee: [(ResourceName::Cpus, Amount::whole(1))].into_iter().collect(),
        limit: [(ResourceName::Cpus, Amount::whole(3))].into(),
        waiting: 0,
        held: Default::default(),
        offered: Default::default(),
        consumed: [(ResourceName::Cpus, Amount::from_millis(500))].into_iter().collect(),
        past: Default::default(),
        share: meshos_alloc::Share::ZERO,
    };
    let agent = |bits, state, connected| {
        let mut row = crate::reads::tests::agent(bits, state);
        row.connected = connected;
        row
    };
    View {
        deposed: false,
        agents: [
            agent(1, NodeState::Active, true),
            agent(2, NodeState::Draining, false),
            agent(3, NodeState::Unreachable, false),
        ]
        .into_iter()
        .collect(),
        tasks_by_state: [(TaskState::Running, 5), (TaskState::Staging, 2)].into_iter().collect(),
        roles: std::sync::Arc::new(vec![role]),
        counters: Counters {
            agents_admitted: 3,
            agents_registered: 7,
            tasks_ended: [(TaskState::Failed, 4)].into_iter().collect(),
            dropped: [(DropReason::Busy, 2), (DropReason::Invalid, 3)]
                .into_iter()
                .collect::<Tally<_>>(),
            ..Counters::default()
        },
        ..View::deposed(fence, NodeId::from_bits(1))
    }
}

#[test]
fn a_leader_measures_the_cluster() {
    let view = leading();
    let metrics = metrics(Some(&view), &agent_view(), &machine());
    let expected = [
        ("master/elected", 1.0),
        ("master/uptime_secs", 60.5),
        ("master/cpus_total", 12.0),
        ("master/cpus_used", 1.0),
        ("master/cpus_percent", 0.083),
        ("master/gpus_percent", 0.0),
        ("master/cpus_revocable_total", 0.0),
        ("master/slaves_active", 1.0),
        ("master/slaves_inactive", 1.0),
        ("master/slaves_connected", 1.0),
        ("master/slaves_disconnected", 1.0),
        ("master/slaves_unreachable", 1.0),
        ("master/slave_reregistrations", 4.0),
        ("master/tasks_running", 5.0),
        ("master/tasks_staging", 2.0),
        ("master/tasks_failed", 4.0),
        ("master/tasks_killing", 0.0),
        ("master/dropped_messages", 5.0),
        ("allocator/mesos/resources/cpus/offered_or_allocated", 3.0),
        ("allocator/mesos/quota/roles/web/resources/cpus/limit", 3.0),
        ("allocator/mesos/quota/roles/web/resources/cpus/offered_or_allocated", 0.5),
        ("registrar/log/ensemble_size", 3.0),
        ("slave/registered", 1.0),
        ("slave/executors_running", 2.0),
        ("slave/tasks_running", 2.0),
        ("slave/tasks_finished", 3.0),
        ("slave/executor_directory_max_allowed_age_secs", 604_800.0),
        ("system/load_1min", 1.25),
        ("system/mem_total_bytes", 8_589_934_592.0),
        ("gc/path_removals_succeeded", 4.0),
    ];
    for (name, value) in expected {
        assert_eq!(metrics.get(name), Some(&value), "{name}");
    }
}

#[test]
fn what_may_be_taken_back_is_measured_by_itself() {
    let mut view = leading();
    let with = |bits, state| {
        let mut row = crate::reads::tests::agent(bits, state);
        row.resources += &"cpus{revocable}:4;mem{revocable}:512".parse::<Resources>().unwrap();
        row.used += &"cpus{revocable}:1".parse::<Resources>().unwrap();
        row
    };
    view.agents =
        [with(1, NodeState::Active), with(2, NodeState::Unreachable)].into_iter().collect();
    let mut agent = agent_view();
    agent.resources += &"cpus{revocable}:2".parse::<Resources>().unwrap();
    agent.used += &"cpus{revocable}:0.5".parse::<Resources>().unwrap();
    let (with, without) = (
        metrics(Some(&view), &agent, &machine()),
        metrics(Some(&leading()), &agent_view(), &machine()),
    );
    for (name, value) in [
        ("master/cpus_revocable_total", 4.0),
        ("master/cpus_revocable_used", 1.0),
        ("master/cpus_revocable_percent", 0.25),
        ("master/mem_revocable_total", 512.0),
        ("master/mem_revocable_used", 0.0),
        ("master/disk_revocable_total", 0.0),
        ("slave/cpus_revocable_total", 2.0),
        ("slave/cpus_revocable_used", 0.5),
        ("slave/cpus_revocable_percent", 0.25),
        // Half of the two that `leading` has.
        ("master/cpus_total", without["master/cpus_total"] / 2.0),
        ("slave/cpus_total", without["slave/cpus_total"]),
        ("slave/cpus_used", without["slave/cpus_used"]),
    ] {
        assert_eq!(with.get(name), Some(&value), "{name}");
    }
    assert!(with.keys().eq(without.keys()), "no name more, and none less");
}

#[test]
fn each_framework_has_its_own() {
    let view = crate::reads::tests::view();
    let mut named = (**view.frameworks.iter().next().unwrap()).clone();
    named.name = "a/b c\u{f6}".to_owned();
    named.suppressed_roles = [Role::new("db").unwrap()].into();
    let view = View { frameworks: [named].into_iter().collect(), ..view };
    let metrics = metrics(Some(&view), &agent_view(), &machine());
    let area = "master/frameworks/a%2Fb%20c%C3%B6/00000000-0000-0000-0000-0000000000ab-0007";
    let own = |name: &str| metrics[&format!("{area}/{name}")];
    assert_eq!(own("subscribed"), 1.0);
    assert_eq!(own("tasks/active/task_running"), 1.0);
    assert_eq!(own("tasks/active/task_unreachable"), 1.0);
    assert_eq!(own("tasks/active/task_killing"), 0.0);
    assert_eq!((own("roles/db/suppressed"), own("roles/web/suppressed")), (1.0, 0.0));
}

#[test]
fn who_does_not_lead_has_the_same_names_and_zeros_of_the_master() {
    let led = View { roles: Default::default(), ..leading() };
    let leader = metrics(Some(&led), &agent_view(), &machine());
    let other = metrics(None, &agent_view(), &machine());
    assert!(leader.keys().eq(other.keys()));
    assert_eq!((other["master/elected"], other["master/cpus_total"]), (0.0, 0.0));
    assert_eq!((other["slave/registered"], other["master/tasks_running"]), (1.0, 0.0));
}

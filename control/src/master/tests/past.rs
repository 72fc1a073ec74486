//! Past use over a change of leader.

use std::time::Duration;

use meshos_alloc::PolicyChoice;
use meshos_protocol::{ids::RequestId, resources::ResourceName, role::Role, task::TaskState};

use super::world::{World, subscribe_as, task};
use crate::{
    master::{Event, MasterConfig, OperatorCall},
    registry::LEVEL,
};

const MINUTE_MS: u64 = 60_000;

/// Framework 1 holds half of the cluster for two hours, which counts half after an hour.
fn hold_for_two_hours(world: &mut World) {
    let agent = world.register(1, "cpus:4;mem:4096", vec![]);
    let session = world.framework("one");
    world.pass(10);
    world.accept(session, &[1], vec![task("a", "cpus:2;mem:2048")]);
    world.update(agent, "a", TaskState::Running, 1);
    world.pass(120 * MINUTE_MS);
}

fn after_two_hours(config: MasterConfig) -> World {
    let mut world = World::with(config);
    hold_for_two_hours(&mut world);
    world
}

fn fair_decay() -> MasterConfig {
    MasterConfig {
        policy: PolicyChoice::FairDecay(Duration::from_secs(3600)),
        ..MasterConfig::default()
    }
}

/// What the only role in use has used, in thousandths of a processor.
fn used(world: &World) -> i64 {
    let role = Role::new("*").unwrap();
    let view = world.master.view();
    let of_role = view.roles.iter().find(|it| it.role == role);
    of_role.map_or(0, |it| it.past.get(&ResourceName::Cpus).millis())
}

#[test]
fn what_was_used_is_known_to_the_next_leader() {
    let world = after_two_hours(fair_decay());
    let record = world.log.past_use().expect("a leader puts it on record").clone();
    assert_eq!(record.policy, "fair-decay:1h");
    let age = world.now.wall.since(record.at);
    assert!(age < Duration::from_secs(60), "what is on record is {age:?} old");
    let before = used(&world);
    // What is offered to it counts with what it runs.
    assert!((2_960..=3_000).contains(&before), "three quarters of 4 cpus, not {before}");
    let mut next = world.next_leader();
    let s2 = next.open("p");
    next.subscribe(s2, subscribe_as(1, Some(1)));
    next.pass(10);
    let after = used(&next);
    assert!((before - 40..=before).contains(&after), "{before}, and {after} at the next leader");
    // It goes on fading, and so it does on record.
    next.pass(60 * MINUTE_MS);
    let later = used(&next);
    assert!((after / 2 - 20..=after / 2 + 20).contains(&later), "{after}, an hour later {later}");
    let on_record = next.log.past_use().unwrap().roles.values().next().unwrap();
    assert!(on_record.used.to_string().starts_with("cpus:1.4"), "{on_record:?}");
}

#[test]
fn what_one_policy_counted_means_nothing_to_another() {
    let mut world = after_two_hours(fair_decay());
    let choose = |world: &mut World, number, policy: &str| {
        let call = OperatorCall::SetPolicy { policy: policy.parse().unwrap() };
        world.event(Event::Operator { request: RequestId(number), call });
    };
    // The same once more clears nothing.
    choose(&mut world, 1, "fair-decay:1h");
    world.pass(10);
    assert!(used(&world) > 1_400);
    choose(&mut world, 2, "fair-decay:2h");
    world.pass(10);
    assert_eq!(used(&world), 0);
    let next = world.next_leader();
    assert_eq!(used(&next), 0);
    // Nor does it come back with the policy.
    choose(&mut world, 3, "fair-decay:1h");
    let next = world.next_leader();
    assert_eq!(used(&next), 0);
}

#[test]
fn a_policy_that_does_not_look_back_puts_nothing_on_record() {
    let world = after_two_hours(MasterConfig::default());
    assert!(world.log.past_use().is_none());
}

#[test]
fn nothing_is_put_on_record_that_a_voter_does_not_know() {
    let mut world = World::amid_an_upgrade_with(fair_decay());
    world.voters(&[(9, Some(LEVEL)), (8, Some(4))]);
    hold_for_two_hours(&mut world);
    assert!(used(&world) > 1_400);
    assert_eq!((world.log.level(), world.log.past_use()), (4, None));
    world.voters(&[(9, Some(LEVEL)), (8, Some(LEVEL))]);
    world.pass(MINUTE_MS);
    assert!(world.log.past_use().is_some());
}

//! Voters of different releases: what a leader puts on record, and what it says when it does not.

use std::collections::BTreeMap;

use meshos_alloc::Quota;
use meshos_protocol::{
    framework::{Capabilities, FrameworkInfo},
    ids::RequestId,
    messages::scheduler::{Call, Subscribe},
    role::Role,
    wishes::{AgentConstraint, OfferWishes, Predicate, Selector},
};

use super::world::{World, info, node, subscribe, told_by};
use crate::{
    master::{Event, OperatorCall, VoterRelease},
    registry::{Command, Entry, LEVEL, LEVEL_FIRST, Outcome},
};

fn set_quota(world: &mut World, request: u64) {
    let quota = Quota {
        limit: [("cpus".parse().unwrap(), "1".parse().unwrap())].into(),
        ..Quota::default()
    };
    let call = OperatorCall::SetQuota { role: Role::default(), quota, force: true };
    world.event(Event::Operator { request: RequestId(request), call });
}

#[test]
fn what_an_older_voter_does_not_know_is_not_put_on_record() {
    let mut world = World::amid_an_upgrade();
    set_quota(&mut world, 1);
    world.expect(&[
        "operator 1 Busy: quota cannot be put on record yet: the voters are just being \
                    asked which release they run: try again",
    ]);
    world.voters(&[(9, Some(LEVEL)), (8, Some(LEVEL_FIRST)), (7, None)]);
    set_quota(&mut world, 2);
    world.voters(&[(9, Some(LEVEL)), (8, Some(LEVEL)), (7, None)]);
    set_quota(&mut world, 3);
    let told = world.told();
    let (older, silent) = (node(8), node(7));
    assert_eq!(
        told,
        [
            format!(
                "operator 2 Busy: quota cannot be put on record yet: voter {older} runs release \
                 0.1, which does not know them: upgrade it, then try again"
            ),
            format!(
                "operator 3 Busy: quota cannot be put on record yet: voter {silent} has not told \
                 which release it runs since this leader was elected: start it again or replace it \
                 (`meshos voters`), then try again"
            ),
        ]
    );
    assert_eq!(world.log.level(), 1);
    // What every release knows goes on.
    let weigh = OperatorCall::SetWeight { role: Role::default(), weight_millis: 2_000 };
    world.event(Event::Operator { request: RequestId(4), call: weigh });
    world.expect(&["propose weight * 2000", "operator 4 ok"]);
    world.voters(&[(9, Some(LEVEL)), (8, Some(LEVEL)), (7, Some(LEVEL + 1))]);
    set_quota(&mut world, 5);
    world.expect(&[&format!("propose level {LEVEL}"), "propose quota *", "operator 5 ok"]);
    // Once on record it stays: whoever comes back with an older release stops by itself.
    let mut next = world.next_leader();
    next.voters(&[(8, Some(LEVEL)), (7, None)]);
    set_quota(&mut next, 1);
    next.expect(&["propose quota *", "operator 1 ok"]);
}

#[test]
fn the_level_is_raised_on_what_voters_answer_now() {
    let mut world = World::amid_an_upgrade();
    let tell = |world: &mut World, voters: &[VoterRelease]| {
        world.event(Event::Voters { voters: voters.to_vec() });
    };
    let (all, away) =
        (told_by(9, Some(LEVEL)), VoterRelease { answers: false, ..told_by(8, Some(LEVEL)) });
    tell(&mut world, &[all.clone(), away.clone()]);
    set_quota(&mut world, 1);
    world.expect(&[&format!(
        "operator 1 Busy: quota cannot be put on record yet: voter {} does not answer, and may come \
         back with another release: start it again or replace it (`meshos voters`), then try again",
        node(8)
    )]);
    // It went back to what it ran before.
    tell(&mut world, &[all.clone(), told_by(8, Some(LEVEL_FIRST))]);
    world.expect(&[]);
    // Whoever is taught the log counts as it answers; one that was left behind does not.
    let taught = VoterRelease { votes: false, ..told_by(7, Some(LEVEL_FIRST)) };
    tell(&mut world, &[all.clone(), taught.clone()]);
    world.expect(&[]);
    tell(&mut world, &[all, VoterRelease { answers: false, ..taught }]);
    world.expect(&[&format!("propose level {LEVEL}")]);
}

#[test]
fn nothing_new_overtakes_the_raise_of_the_level() {
    let mut world = World::amid_an_upgrade();
    world.commits = false;
    world.voters(&[(9, Some(LEVEL))]);
    world.voters(&[(9, Some(LEVEL)), (8, Some(LEVEL))]);
    set_quota(&mut world, 1);
    let told = world.told();
    assert_eq!(told[0], format!("propose level {LEVEL}"));
    assert!(told[1].starts_with("operator 1 Busy") && told.len() == 2, "{told:?}");
    world.commit();
    set_quota(&mut world, 2);
    world.expect(&["propose quota *"]);
}

#[test]
fn frameworks_whose_wishes_or_capabilities_an_older_voter_does_not_know_are_refused() {
    let mut world = World::amid_an_upgrade();
    world.voters(&[(9, Some(LEVEL)), (8, Some(LEVEL_FIRST))]);
    let plain = world.framework("plain");
    world.told();
    let wishes = BTreeMap::from([(Role::default(), OfferWishes::default())]);
    world.call(plain, Call::Wish { wishes });
    world.expect(&["s1 refused Busy"]);
    let session = world.open("p");
    let capabilities = Capabilities { gang_offers: true, ..Capabilities::default() };
    let info = FrameworkInfo { capabilities, ..info("gangs") };
    world.subscribe(session, Subscribe { info, ..subscribe("gangs") });
    let told = world.told().join("\n");
    assert!(told.contains("s2 error Busy"), "{told}");
}

#[test]
fn wishes_of_a_kind_that_the_leader_does_not_know_are_not_put_on_record() {
    let mut world = World::new();
    let plain = world.framework("plain");
    world.told();
    let constraint = AgentConstraint { of: Selector::Unknown, is: Predicate::Exists };
    let wishes = OfferWishes { constraints: vec![vec![constraint]], ..OfferWishes::default() };
    world.call(plain, Call::Wish { wishes: BTreeMap::from([(Role::default(), wishes)]) });
    world.expect(&["s1 refused Busy"]);
}

#[test]
fn a_policy_of_another_release_stands_on_record_and_is_judged_by_the_leader() {
    let mut world = World::new();
    let log = &mut world.log;
    let command = Command::SetPolicy { policy: "of-tomorrow".to_owned() };
    let (term, proposal) = log.newest_entry();
    let entry = Entry { term, proposal: proposal.next(), command };
    assert_eq!(log.apply(&entry), Outcome::Done);
    let next = world.next_leader();
    let view = next.master.view();
    assert_eq!(view.policy, "drf");
    assert_eq!(view.policy_on_record.as_deref(), Some("of-tomorrow"));
}

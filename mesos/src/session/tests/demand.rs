//! What the framework asks for, and who hears of it.

use meshos_protocol::wishes::ResourceRequest;

use super::*;

fn requests(amounts: &[f64]) -> Value {
    let request = |amount: &f64| {
        json!({"resources": [
        {"name": "cpus", "type": "SCALAR", "scalar": {"value": amount}}]})
    };
    json!({"requests": amounts.iter().map(request).collect::<Vec<_>>()})
}

/// What a leader is told that is not known to it: with the subscribe.
fn carried(world: &mut World, role: &str) -> Option<Vec<(String, u32)>> {
    world.take();
    world.close();
    world.take();
    world.open();
    let sent = world.sent();
    let [Call::Subscribe(subscribe)] = &sent[..] else { panic!("{sent:?}") };
    let demand = subscribe.demand.as_ref().expect("it says what it wants");
    let demand = demand.get(&Role::new(role).unwrap())?;
    assert_eq!(demand.together_within_ms, None);
    Some(shown(&demand.requests))
}

fn shown(requests: &[ResourceRequest]) -> Vec<(String, u32)> {
    requests.iter().map(|request| (request.resources.to_string(), request.count)).collect()
}

#[test]
fn what_is_asked_for_is_told_to_each_leader_less_what_was_launched() {
    let mut world = World::subscribed();
    assert_eq!(carried(&mut world, "*"), None);
    world.subscribe();
    world.take();
    let ticket = world.call("REQUEST", requests(&[1.0, 1.0, 1.0]));
    let mut out = world.take();
    assert_eq!(out.pop(), Some(Output::Answer(ticket, Ok(()))));
    let [Output::Send(frame)] = &out[..] else { panic!("{out:?}") };
    let Call::Request { role, requests: asked, together_within_ms: None } = &frame.call else {
        panic!("{frame:?}");
    };
    assert_eq!((role, shown(asked)), (&Role::default(), vec![("cpus:1".to_owned(), 3)]));
    // A task of it is launched.
    world.offer(1);
    world.launch(&format!("O{}.1", world.term), json!([task("t")]));
    assert_eq!(carried(&mut world, "*"), Some(vec![("cpus:1".to_owned(), 2)]));
    // Said while there is no leader, it goes along with the subscribe, in place of the former.
    world.close();
    let ticket = world.call("REQUEST", requests(&[4.0]));
    assert_eq!(world.told().1, [(ticket, None)]);
    assert_eq!(carried(&mut world, "*"), Some(vec![("cpus:4".to_owned(), 1)]));
    world.subscribe();
    world.take();
    // Taken back.
    world.call("REQUEST", requests(&[]));
    let sent = world.sent();
    assert!(
        matches!(&sent[..], [Call::Request { requests, .. }] if requests.is_empty()),
        "{sent:?}"
    );
    assert_eq!(carried(&mut world, "*"), None);
}

#[test]
fn what_is_asked_for_while_a_leader_takes_the_subscription_up_is_told_to_it() {
    let mut world = World::subscribed();
    world.call("REQUEST", requests(&[1.0]));
    world.take();
    world.close();
    world.take();
    world.open();
    world.take();
    let ticket = world.call("REQUEST", requests(&[4.0]));
    assert_eq!(world.told().1, [(ticket, None)]);
    world.subscribe();
    let asked = |sent: Vec<Call>| {
        let asked = sent.into_iter().filter_map(|call| {
            let Call::Request { requests, .. } = call else { return None };
            Some(shown(&requests))
        });
        asked.collect::<Vec<_>>()
    };
    assert_eq!(asked(world.sent()), [[("cpus:4".to_owned(), 1)]]);
    // And taken back.
    world.close();
    world.take();
    world.open();
    world.take();
    world.call("REQUEST", requests(&[]));
    world.take();
    world.subscribe();
    assert_eq!(asked(world.sent()), [[]]);
    // Once.
    world.close();
    world.take();
    world.open();
    world.take();
    world.subscribe();
    assert!(asked(world.sent()).is_empty());
}

#[test]
fn a_request_that_cannot_be_changes_nothing() {
    let mut world = World::subscribed();
    world.call("REQUEST", requests(&[1.0]));
    world.take();
    let ticket = world.call("REQUEST", requests(&[2.0, 0.0]));
    let [Output::Answer(of, Err(refused))] = &world.take()[..] else { panic!("it is answered") };
    assert_eq!((*of, refused.status), (ticket, 400));
    assert!(refused.message.contains("place 2"), "{}", refused.message);
    assert_eq!(carried(&mut world, "*"), Some(vec![("cpus:1".to_owned(), 1)]));
}

#[test]
fn what_is_asked_for_in_a_role_goes_with_it() {
    let multi = json!({"roles": ["a", "b"], "capabilities": [{"type": "MULTI_ROLE"}]});
    let mut world = World::new(None, multi);
    world.open();
    world.take();
    world.subscribe();
    world.take();
    world.call("REQUEST", requests(&[1.0]));
    assert_eq!(world.sent().len(), 2, "one for each role");
    let info = json!({"id": {"value": "f"}, "user": "u", "name": "n", "roles": ["b", "c"],
        "capabilities": [{"type": "MULTI_ROLE"}]});
    world.call("UPDATE_FRAMEWORK", json!({"framework_info": info}));
    let request = world.session.waiting.next(None).unwrap();
    world.event(Event::Answered { request, error: None });
    assert_eq!(carried(&mut world, "a"), None);
    assert_eq!(carried(&mut world, "b"), Some(vec![("cpus:1".to_owned(), 1)]));
    assert_eq!(carried(&mut world, "c"), None, "there it wants whatever there is");
}

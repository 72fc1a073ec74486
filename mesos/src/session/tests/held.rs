//! Nothing is offered before it is on record what the framework wishes of offers.

use super::*;

fn role(name: &str) -> Role {
    Role::new(name).unwrap()
}

fn set(names: &[&str]) -> BTreeSet<Role> {
    names.iter().map(|name| role(name)).collect()
}

/// In the roles a, b and c, of which a and b have wishes, and these are suppressed.
fn wishing(suppressed: &[&str]) -> World {
    let minimum = json!({"min_allocatable_resources": {"quantities": [{"quantities": {"cpus": {"value": 8.0}}}]}});
    let info = json!({"user": "u", "name": "n", "roles": ["a", "b", "c"],
        "capabilities": [{"type": "MULTI_ROLE"}], "offer_filters": {"a": minimum, "b": minimum}});
    let info = crate::json::read(info).unwrap();
    let suppressed: Vec<String> = suppressed.iter().map(|name| (*name).to_owned()).collect();
    World::described(None, framework::read(&info, &suppressed, None).unwrap())
}

impl World {
    /// The leader answers the newest call of this kind.
    fn answer(&mut self, is_meant: impl Fn(&Call) -> bool, error: Option<CallErrorKind>) {
        let of_kind =
            self.session.waiting.following(None).filter(|(_, it)| is_meant(&it.call)).last();
        let (request, _) = of_kind.expect("it waits for its answer");
        let error = error.map(|kind| CallError { kind, message: "why".into() });
        self.event(Event::Answered { request, error });
    }
}

fn is_wish(call: &Call) -> bool {
    matches!(call, Call::Wish { .. })
}

fn is_revive(call: &Call) -> bool {
    matches!(call, Call::Revive { .. })
}

fn suppressed_at_first(world: &mut World) -> BTreeSet<Role> {
    world.open();
    let sent = world.sent();
    let [Call::Subscribe(subscribe)] = &sent[..] else { panic!("{sent:?}") };
    subscribe.suppressed_roles.clone()
}

#[test]
fn roles_with_wishes_are_suppressed_until_these_are_on_record() {
    let mut world = wishing(&["b"]);
    assert_eq!(suppressed_at_first(&mut world), set(&["a", "b"]));
    world.subscribe();
    let sent = world.sent();
    assert!(matches!(&sent[..], [Call::Wish { wishes }] if wishes.len() == 2), "{sent:?}");
    // A busy leader is told once more, and nothing is asked for before it has taken them.
    world.answer(is_wish, Some(CallErrorKind::Busy));
    assert_eq!(world.sent(), []);
    world.session.tick(&mut world.out);
    assert!(matches!(world.sent()[..], [Call::Wish { .. }]));
    world.answer(is_wish, None);
    // But for the role that the framework suppresses itself.
    let release = [Call::Revive { roles: set(&["a"]) }];
    assert_eq!(world.sent(), release);
    world.answer(is_revive, Some(CallErrorKind::Busy));
    world.session.tick(&mut world.out);
    assert_eq!(world.sent(), release, "said again to a busy leader");
    world.answer(is_revive, None);
    world.session.tick(&mut world.out);
    assert_eq!(world.sent(), []);
}

#[test]
fn the_next_leader_holds_the_roles_back_too() {
    // No leader has answered the subscribe: the next one hears of it anew.
    let mut world = wishing(&[]);
    suppressed_at_first(&mut world);
    world.close();
    assert_eq!(suppressed_at_first(&mut world), set(&["a", "b"]));
    world.subscribe();
    world.take();
    // The wishes may or may not have come on record there.
    world.close();
    world.open();
    world.take();
    world.subscribe();
    assert!(matches!(world.sent()[..], [Call::Wish { .. }]));
    world.answer(is_wish, None);
    let release = [Call::Revive { roles: set(&["a", "b"]) }];
    assert_eq!(world.sent(), release);
    // Nor is it known whether the roles were released.
    world.close();
    world.open();
    world.take();
    world.subscribe();
    assert_eq!(world.sent(), release);
    world.answer(is_revive, None);
    world.close();
    assert_eq!(suppressed_at_first(&mut world), set(&[]));
    world.subscribe();
    assert_eq!(world.sent(), []);
}

#[test]
fn a_framework_that_suppresses_or_revives_meanwhile_has_the_last_word() {
    let mut world = wishing(&[]);
    suppressed_at_first(&mut world);
    world.subscribe();
    world.take();
    // A revive would bring offers at once: it waits, and what comes after it, too.
    let revive = world.call("REVIVE", json!({"roles": ["a"]}));
    let suppress = world.call("SUPPRESS", json!({"roles": ["b"]}));
    assert_eq!(world.sent(), []);
    // Also at the next leader.
    world.close();
    world.open();
    world.take();
    world.subscribe();
    assert!(matches!(world.sent()[..], [Call::Wish { .. }]));
    world.answer(is_wish, None);
    let sent = world.sent();
    assert_eq!(
        sent,
        [
            Call::Revive { roles: set(&["a"]) },
            Call::Revive { roles: set(&["a"]) },
            Call::Suppress { roles: set(&["b"]) },
        ]
    );
    world.answer(|call| matches!(call, Call::Suppress { .. }), None);
    world.answer(is_revive, None);
    world.answer(is_revive, None);
    let (_, answers) = world.told();
    assert_eq!(answers, [(suppress, None), (revive, None)]);
    world.session.tick(&mut world.out);
    assert_eq!(world.sent(), [], "the role b stays suppressed");
    // A refused suppress changes nothing: the role that was held back for its wishes is revived.
    let mut world = wishing(&[]);
    suppressed_at_first(&mut world);
    world.subscribe();
    world.take();
    world.call("SUPPRESS", Value::Null);
    world.answer(is_wish, None);
    assert!(matches!(world.sent()[..], [Call::Suppress { .. }]));
    world.answer(|call| matches!(call, Call::Suppress { .. }), Some(CallErrorKind::Busy));
    assert_eq!(world.sent(), [Call::Revive { roles: set(&["a", "b"]) }]);
}

#[test]
fn an_update_brings_its_wishes_and_says_what_is_suppressed() {
    let info = json!({"id": {"value": "f"}, "user": "u", "name": "n", "roles": ["a", "b"],
        "capabilities": [{"type": "MULTI_ROLE"}]});
    for (error, released) in [(None, vec![]), (Some(CallErrorKind::Busy), vec!["a", "b"])] {
        let mut world = wishing(&[]);
        suppressed_at_first(&mut world);
        world.subscribe();
        world.take();
        world.call("UPDATE_FRAMEWORK", json!({"framework_info": info, "suppressed_roles": ["a"]}));
        assert!(matches!(world.sent()[..], [Call::UpdateFramework(_)]));
        world.answer(is_wish, None);
        assert_eq!(world.sent(), [], "the update is under way");
        world.answer(|call| matches!(call, Call::UpdateFramework(_)), error);
        let roles = set(&released);
        let sent = world.sent();
        if released.is_empty() {
            assert_eq!(sent, []);
        } else {
            assert_eq!(sent, [Call::Revive { roles }]);
        }
    }
}

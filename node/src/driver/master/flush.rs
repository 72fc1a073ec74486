//! Effects are carried out as long as the lease holds.

use meshos_control::master::Effect;

/// Who acts for the master.
pub(super) trait Acting {
    /// Whether this node may act as the leader now.
    fn lease_valid(&self) -> bool;
    /// Whether the master was told that it is deposed.
    fn is_over(&self) -> bool;
    /// What the master wishes for and was not carried out yet.
    fn effects(&mut self) -> &mut Vec<Effect>;
    /// Tells the master that it is deposed.
    fn depose(&mut self, why: &str);
    fn perform(&mut self, effect: Effect);
}

/// Carries out what the master wishes for, as long as the lease holds.
pub(super) fn flush(acting: &mut impl Acting) {
    while !acting.effects().is_empty() {
        if !acting.is_over() && !acting.lease_valid() {
            acting.depose("its lease has run out");
        }
        if acting.is_over() {
            return acting.effects().clear();
        }
        for effect in std::mem::take(acting.effects()) {
            if acting.is_over() {
                return;
            }
            acting.perform(effect);
        }
    }
}

#[cfg(test)]
mod tests {
    use meshos_protocol::ids::SessionId;

    use super::*;

    /// Acts under a lease that holds for some looks at it; what it does makes the master wish for more.
    struct Actor {
        looks_left: std::cell::Cell<u32>,
        effects: Vec<Effect>,
        deposed: Vec<String>,
        performed: Vec<Effect>,
        follow_ups: Vec<Effect>,
    }

    impl Actor {
        fn new(looks: u32, effects: Vec<Effect>, follow_ups: Vec<Effect>) -> Self {
            let (deposed, performed) = (Vec::new(), Vec::new());
            Self { looks_left: looks.into(), effects, deposed, performed, follow_ups }
        }
    }

    impl Acting for Actor {
        fn lease_valid(&self) -> bool {
            let left = self.looks_left.get();
            self.looks_left.set(left.saturating_sub(1));
            left > 0
        }
        fn is_over(&self) -> bool {
            !self.deposed.is_empty()
        }
        fn effects(&mut self) -> &mut Vec<Effect> {
            &mut self.effects
        }
        fn depose(&mut self, why: &str) {
            self.deposed.push(why.to_owned());
            // A master that is emptied takes leave of its frameworks; that must not go out either.
            self.effects.push(effect(99));
        }
        fn perform(&mut self, effect: Effect) {
            self.performed.push(effect);
            self.effects.append(&mut self.follow_ups);
        }
    }

    fn effect(number: u64) -> Effect {
        Effect::CloseSession { session: SessionId(number) }
    }

    #[test]
    fn what_waits_for_a_leader_without_a_lease_is_dropped() {
        let mut actor = Actor::new(0, vec![effect(1), effect(2)], Vec::new());
        flush(&mut actor);
        assert_eq!(actor.performed, []);
        assert_eq!(actor.deposed, ["its lease has run out"]);
        assert_eq!(actor.effects, [], "nothing is left to be sent later");
    }

    #[test]
    fn the_lease_is_looked_at_again_before_what_follows() {
        let mut actor = Actor::new(1, vec![effect(1), effect(2)], vec![effect(3)]);
        flush(&mut actor);
        assert_eq!(actor.performed, [effect(1), effect(2)]);
        assert_eq!((actor.deposed.len(), actor.effects.len()), (1, 0));

        let mut actor = Actor::new(9, vec![effect(1)], vec![effect(2)]);
        flush(&mut actor);
        assert_eq!(actor.performed, [effect(1), effect(2)]);
        assert_eq!((actor.deposed.len(), actor.looks_left.get()), (0, 7), "one look a round");
    }
}

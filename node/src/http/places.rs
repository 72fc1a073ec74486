//! The places of a port, and who makes room when all are taken: known clients may be idle for as long as they want, but not at the cost
//! of others.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::idle::{Connection, State, Who};
use crate::driver::agent::Credential;

/// Connections of a port, by their numbers.
#[derive(Debug)]
pub(super) struct Places {
    limit: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    last: u64,
    connections: BTreeMap<u64, Connection>,
}

/// A connection's place, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    pub connection: Connection,
    /// Another connection was closed for it.
    pub made: bool,
}

impl Places {
    /// So many.
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, open: Mutex::default() })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a newcomer, if need be that of somebody who is cut off; none when nobody is to make room.
    pub(super) fn take(self: &Arc<Self>) -> Option<Place> {
        let mut open = self.open();
        let full = open.connections.len() >= self.limit;
        if full {
            let number = who_makes_room(&open.connections, self.limit)?;
            open.connections.remove(&number)?.cut();
        }
        open.last += 1;
        let (number, connection) = (open.last, Connection::new());
        open.connections.insert(number, connection.clone());
        Some(Place { places: Arc::clone(self), number, connection, made: full })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.open().connections.remove(&self.number);
    }
}

/// The connections that an executor needs, a stream and one for its calls, and as many again for when it is connecting anew.
const EXECUTOR_NEEDS: usize = 4;
/// The part of all places that strangers together may have busy.
const STRANGERS_PART: usize = 8;

/// Of the connections of whoever has most the one that has been idle for the longest. Strangers count as one, and so do all who are
/// counted as the same.
///
/// What is being answered is left alone, but for those of an executor that has more than it needs, of strangers who have more than
/// their part, and of executors that only their user tells apart from others and that have more than half of all. So whoever has
/// several of these cannot have all places busy, and its own connections make room for newcomers.
fn who_makes_room(open: &BTreeMap<u64, Connection>, limit: usize) -> Option<u64> {
    let states: Vec<(u64, State)> = open.iter().map(|(number, it)| (*number, it.now())).collect();
    let mut counts: BTreeMap<Option<Who>, usize> = BTreeMap::new();
    for (_, state) in &states {
        *counts.entry(state.whose()).or_default() += 1;
    }
    let rank = |state: &State| {
        let whose = state.whose();
        let count = counts.get(&whose).copied().unwrap_or_default();
        let bound = match whose {
            None => Some(limit / STRANGERS_PART),
            Some(Who { executor: false, .. }) => None,
            Some(Who { credential: Some(Credential::Token(_)), .. }) => Some(EXECUTOR_NEEDS),
            Some(_) => Some(limit / 2),
        };
        let is_beyond = bound.is_some_and(|bound| count > bound);
        let is_idle = state.under_way == 0;
        // Of too many strangers whoever came first: somebody whose request has not arrived yet must not make room for those who
        // have theirs answered slowly.
        let goes_later = !is_idle && (whose.is_some() || !is_beyond);
        (is_idle || is_beyond).then_some((Reverse(count), goes_later, state.since))
    };
    let ranked = states.iter().filter_map(|(number, state)| Some((rank(state)?, *number)));
    ranked.min().map(|(_, number)| number)
}

#[cfg(test)]
mod tests {
    use warp::http::StatusCode;

    use super::*;
    use crate::http::idle::UnderWay;

    /// A connection over which somebody was answered, and whether an answer is still being sent.
    fn taken(places: &Arc<Places>, who: Option<Who>, busy: bool) -> (Place, Option<UnderWay>) {
        let place = places.take().unwrap();
        let asked = place.connection.asks();
        if let Some(who) = who {
            asked.answered("/state", StatusCode::OK, who);
        }
        (place, busy.then_some(asked))
    }

    fn is_cut(place: &Place) -> bool {
        use futures_util::FutureExt as _;
        place.connection.is_cut().now_or_never().is_some()
    }

    fn executor(name: &str) -> Option<Who> {
        Some(Who { credential: Some(Credential::token(name)), executor: true })
    }

    fn operator() -> Option<Who> {
        Some(Who { credential: Some(Credential::User(0)), executor: false })
    }

    /// Executors of one user that show no token.
    fn user() -> Option<Who> {
        Some(Who { credential: Some(Credential::User(1_000)), executor: true })
    }

    #[test]
    fn the_longest_idle_of_whoever_has_most_makes_room() {
        let places = Places::new(6);
        let other = taken(&places, executor("other"), false);
        let mut many: Vec<_> =
            [true, false, false].map(|busy| taken(&places, executor("many"), busy)).into();
        let strange = taken(&places, None, false);
        let own = taken(&places, operator(), false);
        let newcomer = places.take().unwrap();
        assert!(newcomer.made);
        let cut: Vec<bool> = many.iter().map(|(place, _)| is_cut(place)).collect();
        assert_eq!(cut, [false, true, false], "not the one that is being answered");
        assert!(![&other, &strange, &own].iter().any(|(place, _)| is_cut(place)));
        // Its end changes nothing; the end of another gives its place back.
        many.remove(1);
        assert_eq!(places.open().connections.len(), 6);
        drop(own);
        assert!(!places.take().unwrap().made);
    }

    #[test]
    fn who_is_being_answered_is_cut_off_only_with_more_than_its_part() {
        for (who, expected) in
            [(executor("many"), true), (user(), true), (None, true), (operator(), false)]
        {
            let places = Places::new(7);
            let other = taken(&places, executor("other"), true);
            let many: Vec<_> = (0..5).map(|_| taken(&places, who, true)).collect();
            let second = taken(&places, executor("second"), true);
            assert_eq!(places.take().is_some(), expected, "{who:?}");
            let cut: Vec<bool> = many.iter().map(|(place, _)| is_cut(place)).collect();
            assert_eq!(cut, [expected, false, false, false, false]);
            assert!(!is_cut(&other.0) && !is_cut(&second.0));
            // Whoever is idle goes first, if nobody may be cut off who has more.
            if !expected {
                drop(second.1);
                assert!(places.take().is_some() && is_cut(&second.0));
            }
        }
        for who in [executor("many"), user(), operator()] {
            let places = Places::new(8);
            let _own: Vec<_> = (0..4).map(|_| taken(&places, who, true)).collect();
            let _others = ["a", "b", "c", "d"].map(|name| taken(&places, executor(name), true));
            assert!(places.take().is_none(), "{who:?} has no more than its part");
        }
    }

    #[test]
    fn nobody_takes_all_places_as_several() {
        let places = Places::new(64);
        let idle = taken(&places, operator(), false);
        let other = taken(&places, executor("other"), true);
        // As itself, and as a stranger whose body does not come; it is one and the same where it was let in.
        let mut own: Vec<_> = (0..31).map(|_| taken(&places, executor("many"), true)).collect();
        own.extend((0..31).map(|_| taken(&places, None, true)));
        let newcomers: Vec<_> = (0..40)
            .map(|number| taken(&places, executor(&format!("new{number}")), false))
            .collect();
        assert!(!is_cut(&idle.0) && !is_cut(&other.0));
        let left = own.iter().filter(|(place, _)| !is_cut(place)).count();
        assert_eq!((left, newcomers.len()), (22, 40));
        let places = Places::new(12);
        let own: Vec<_> = (0..6).map(|_| taken(&places, executor("many"), true)).collect();
        let slow: Vec<_> = (0..6).map(|_| taken(&places, None, true)).collect();
        let Some(Credential::Token(_)) = executor("many").and_then(|who| who.credential) else {
            panic!("an executor is known by its token");
        };
        slow.iter().for_each(|(place, _)| place.connection.admitted(Credential::token("many")));
        assert!(places.take().is_some() && is_cut(&own[0].0));
    }

    #[test]
    fn of_too_many_strangers_whoever_came_first_makes_room() {
        let places = Places::new(8);
        let slow: Vec<_> = (0..6).map(|_| taken(&places, None, true)).collect();
        let newest: Vec<_> = (0..2).map(|_| taken(&places, None, false)).collect();
        assert!(places.take().is_some());
        assert!(is_cut(&slow[0].0) && !newest.iter().any(|(place, _)| is_cut(place)));
    }
}

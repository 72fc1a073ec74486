//! The places of a port, and who makes room when all are taken: known clients may be idle for as long as they want, but not at the cost
//! of others.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::idle::{Connection, State, Who};

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
            let number = who_makes_room(&open.connections)?;
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

/// The connection that has been idle for the longest of whoever has most. Strangers count as one, and so do all who show the same.
///
/// What is being answered is left alone, but for strangers and executors who have more than half of all: each executor needs a
/// stream, and one connection for its calls.
fn who_makes_room(open: &BTreeMap<u64, Connection>) -> Option<u64> {
    let states: Vec<(u64, State)> = open.iter().map(|(number, it)| (*number, it.now())).collect();
    let mut counts: BTreeMap<Option<Who>, usize> = BTreeMap::new();
    for (_, state) in &states {
        *counts.entry(state.who).or_default() += 1;
    }
    let rank = |state: &State| {
        let count = counts.get(&state.who).copied().unwrap_or_default();
        let is_idle = state.under_way == 0;
        let is_bounded = state.who.is_none_or(|who| who.executor);
        let may = is_idle || (is_bounded && count > states.len() / 2);
        may.then_some((Reverse(count), !is_idle, state.since))
    };
    let ranked = states.iter().filter_map(|(number, state)| Some((rank(state)?, *number)));
    ranked.min().map(|(_, number)| number)
}

#[cfg(test)]
mod tests {
    use warp::http::StatusCode;

    use super::*;
    use crate::{driver::agent::Credential, http::idle::UnderWay};

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
    fn who_is_being_answered_is_cut_off_only_as_an_executor_with_more_than_half() {
        for (who, expected) in [(executor("many"), true), (None, true), (operator(), false)] {
            let places = Places::new(5);
            let other = taken(&places, executor("other"), true);
            let many: Vec<_> = (0..3).map(|_| taken(&places, who, true)).collect();
            let second = taken(&places, executor("second"), true);
            assert_eq!(places.take().is_some(), expected, "{who:?}");
            let cut: Vec<bool> = many.iter().map(|(place, _)| is_cut(place)).collect();
            assert_eq!(cut, [expected, false, false]);
            assert!(!is_cut(&other.0) && !is_cut(&second.0));
            // Whoever is idle goes first, if nobody may be cut off who has more.
            if !expected {
                drop(second.1);
                assert!(places.take().is_some() && is_cut(&second.0));
            }
        }
        let places = Places::new(4);
        let _half: Vec<_> = (0..2).map(|_| taken(&places, executor("many"), true)).collect();
        let _others = ["a", "b"].map(|name| taken(&places, executor(name), true));
        assert!(places.take().is_none(), "nobody has more than half");
    }
}

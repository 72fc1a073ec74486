//! The operator API's events, at the leader: the picture that a reader has seen is kept, and what differs from it is told
//! when the reader asks for more.

use std::{
    collections::BTreeMap,
    fmt,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use meshos_control::master::View;
use meshos_mesos::{
    codec::{self, Media},
    reads::{Picture, events},
    recordio,
};
use meshos_protocol::ids::Term;

use super::{ANSWER_BYTES_MAX, cluster::too_long};
use crate::api::{
    Api,
    call::{Answer, Failure},
    leader::beside,
};

/// Pictures that are kept: two for each reader, that which it was told last and the one before, in case the answer was lost. The one that
/// was not asked for the longest makes room, as in Mesos.
const KEPT_MAX: usize = 512;
/// How long a picture is kept for a reader that does not ask.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// How long a reader waits for news until it is told that there is none: shorter than the leader may take for a read.
const WAIT: Duration = Duration::from_secs(2);
/// Between two looks: how late events are at most, and how much they cost.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// The longest answer with news, in bytes; who has missed more begins anew with the state.
const NEWS_BYTES_MAX: usize = 4 << 20;
/// The status for a reader that has to begin anew.
const BEGIN_ANEW: u16 = 410;
/// Records, of which the first is the [`Cursor`].
const RECORDS: &str = "application/recordio";

/// What a reader has seen: a picture of one term's leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::api) struct Cursor {
    term: u64,
    number: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.term, self.number)
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (term, number) = text.split_once('-').ok_or(())?;
        let number_of = |text: &str| text.parse().map_err(|_| ());
        Ok(Self { term: number_of(term)?, number: number_of(number)? })
    }
}

struct Kept {
    view: Arc<View>,
    /// What the reader had seen before.
    before: Option<Cursor>,
    asked_at: Instant,
}

/// The pictures that readers have seen.
#[derive(Default)]
pub(in crate::api) struct Watched {
    kept: Mutex<(u64, BTreeMap<Cursor, Kept>)>,
}

impl Watched {
    /// Keeps a picture for a reader that had seen another before.
    fn keep(&self, view: Arc<View>, before: Option<Cursor>, now: Instant) -> Cursor {
        let mut guard = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (newest, kept) = &mut *guard;
        kept.retain(|_, it| now.duration_since(it.asked_at) < KEPT_FOR);
        if kept.len() >= KEPT_MAX {
            let oldest = kept.iter().min_by_key(|(_, it)| it.asked_at).map(|(cursor, _)| *cursor);
            oldest.map(|oldest| kept.remove(&oldest));
        }
        *newest += 1;
        let Term(term) = view.fence.term;
        let cursor = Cursor { term, number: *newest };
        kept.insert(cursor, Kept { view, before, asked_at: now });
        cursor
    }

    /// The picture that a reader has seen; what it had seen before is kept no longer.
    fn seen(&self, cursor: Cursor, now: Instant) -> Option<Arc<View>> {
        let mut guard = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = &mut guard.1;
        let it = kept.get_mut(&cursor)?;
        it.asked_at = now;
        let (view, before) = (Arc::clone(&it.view), it.before.take());
        before.map(|before| kept.remove(&before));
        Some(view)
    }

    /// A later picture in which nothing differs stands for the one that a reader has seen.
    fn same(&self, cursor: Cursor, view: &Arc<View>, now: Instant) {
        let mut guard = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = guard.1.get_mut(&cursor) {
            (kept.view, kept.asked_at) = (Arc::clone(view), now);
        }
    }
}

fn records(cursor: Cursor, events: &[u8]) -> Answer {
    let mut body = recordio::encode(cursor.to_string().as_bytes());
    body.extend_from_slice(events);
    Answer::of_media(RECORDS, body)
}

fn begin_anew(why: &str) -> Answer {
    Answer::plain(BEGIN_ANEW, why)
}

impl Api {
    /// The first event, with all that there is.
    pub(super) async fn first_event(
        &self,
        media: Media,
        forwarded: bool,
        view: Arc<View>,
    ) -> Result<Answer, Failure> {
        let memory = self.memory_for_messages(&view).await?;
        let cursor = self.watched.keep(Arc::clone(&view), None, Instant::now());
        beside(move || {
            let event = codec::record(media, &events::subscribed(&Picture::new(&view)));
            drop(memory);
            if event.len() >= ANSWER_BYTES_MAX {
                return Err(too_long());
            }
            let answer = records(cursor, &event);
            if forwarded { answer.packed_for_a_frame() } else { Ok(answer) }
        })
        .await
    }

    /// What has happened since the picture that a reader has seen; it waits a moment for something to happen.
    pub(super) async fn next_events(
        &self,
        cursor: Cursor,
        media: Media,
        mut view: Arc<View>,
    ) -> Result<Answer, Failure> {
        let Some(mut seen) = self.watched.seen(cursor, Instant::now()) else {
            return Ok(begin_anew("what was told last is not known here any more"));
        };
        let give_up = Instant::now() + WAIT;
        loop {
            if view.fence != seen.fence {
                return Ok(begin_anew("another leader was elected"));
            }
            if !Arc::ptr_eq(&view, &seen) {
                let Some(news) = news(Arc::clone(&seen), Arc::clone(&view), media).await? else {
                    return Ok(begin_anew("more has happened than is told at once"));
                };
                if !news.is_empty() {
                    let told = self.watched.keep(view, Some(cursor), Instant::now());
                    return Ok(records(told, &news));
                }
                self.watched.same(cursor, &view, Instant::now());
                seen = view;
            }
            if Instant::now() >= give_up {
                return Ok(records(cursor, &[]));
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
            view = self.led().ok_or_else(|| self.no_leader())?;
        }
    }
}

/// The events as records; nothing when there are too many of them.
async fn news(seen: Arc<View>, view: Arc<View>, media: Media) -> Result<Option<Vec<u8>>, Failure> {
    let write = move || written(&seen, &view, media, NEWS_BYTES_MAX);
    let written = tokio::task::spawn_blocking(write).await;
    written.map_err(|error| Failure::unavailable(format!("the answer was not made: {error}")))
}

/// The events as records, if these have so many bytes at most.
fn written(seen: &View, view: &View, media: Media, bytes_max: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let told = events::between(seen, view, &mut |event| {
        let record = codec::record(media, &event);
        if bytes.len() + record.len() > bytes_max {
            return Err(());
        }
        bytes.extend(record);
        Ok(())
    });
    told.ok().map(|()| bytes)
}

#[cfg(test)]
mod tests {
    use meshos_control::master::TaskView;
    use meshos_protocol::{
        ids::{AgentId, ClusterId, Fence, FrameworkId, NodeId, TaskId},
        task::TaskState,
        time::Wall,
    };

    use super::*;

    fn view(term: u64) -> Arc<View> {
        let fence = Fence { cluster: ClusterId::from_u128(1), term: Term(term) };
        Arc::new(View::deposed(fence, NodeId::from_bits(1)))
    }

    #[test]
    fn a_reader_finds_what_it_has_seen_and_what_it_had_before_once_more() {
        let (watched, now) = (Watched::default(), Instant::now());
        let (first, second) = (view(3), view(3));
        let one = watched.keep(Arc::clone(&first), None, now);
        assert_eq!(one.to_string().parse(), Ok(one));
        assert!(Arc::ptr_eq(&watched.seen(one, now).unwrap(), &first));
        let two = watched.keep(Arc::clone(&second), Some(one), now);
        // The answer may have been lost.
        assert!(watched.seen(one, now).is_some());
        assert!(Arc::ptr_eq(&watched.seen(two, now).unwrap(), &second));
        assert!(watched.seen(one, now).is_none());
        assert!(watched.seen(two, now).is_some());
        watched.same(two, &first, now);
        assert!(Arc::ptr_eq(&watched.seen(two, now).unwrap(), &first));
        // Another leader counts from one, too.
        assert!(watched.seen(Cursor { term: 4, ..two }, now).is_none());
    }

    fn task(name: &str) -> TaskView {
        let node_id = NodeId::from_bits(1);
        TaskView {
            id: TaskId::new(name).unwrap(),
            framework_id: FrameworkId(1),
            agent_id: AgentId::new(node_id, 1),
            node_id,
            name: String::new(),
            role: Default::default(),
            resources: Default::default(),
            extras: None,
            state: TaskState::Staging,
            reason: None,
            message: "".into(),
            exit: None,
            healthy: None,
            check_status: None,
            launched_at: None,
            launched_here: true,
            started_at: None,
            changed_at: Wall(0),
            ended_told: None,
        }
    }

    #[test]
    fn news_are_told_within_their_bound_or_not_at_all() {
        let seen = view(3);
        let of = |count: usize| {
            let tasks = (0..count).map(|number| task(&format!("t-{number}"))).collect();
            View { tasks, ..View::clone(&seen) }
        };
        for media in [Media::Json, Media::Protobuf] {
            let one = written(&seen, &of(1), media, NEWS_BYTES_MAX).unwrap();
            assert_eq!(written(&seen, &seen, media, 0), Some(Vec::new()));
            let all = written(&seen, &of(10), media, 10 * one.len()).unwrap();
            assert_eq!(all.len(), 10 * one.len());
            assert_eq!(written(&seen, &of(10), media, all.len() - 1), None);
        }
    }

    #[test]
    fn who_does_not_ask_is_forgotten_and_the_longest_silent_makes_room() {
        let (watched, now) = (Watched::default(), Instant::now());
        let first = watched.keep(view(3), None, now);
        let later = now + KEPT_FOR;
        let second = watched.keep(view(3), None, later);
        assert!(watched.seen(first, later).is_none());
        let all: Vec<Cursor> = (1..KEPT_MAX).map(|_| watched.keep(view(3), None, later)).collect();
        let soon = later + Duration::from_secs(1);
        assert!(watched.seen(second, soon).is_some());
        watched.keep(view(3), None, soon);
        assert!(watched.seen(second, soon).is_some());
        let left = all.iter().filter(|cursor| watched.seen(**cursor, soon).is_some());
        assert_eq!(left.count(), KEPT_MAX - 2);
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for text in ["", "1", "1-", "-1", "a-b", "1-2-3"] {
            assert_eq!(text.parse::<Cursor>(), Err(()), "{text}");
        }
    }
}

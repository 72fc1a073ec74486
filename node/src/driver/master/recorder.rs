//! Writes down what the master of one term is told, where operators want that.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use meshos_control::{
    master::{Effect, Event, Master},
    recording::{Start, Tape},
    registry::Registry,
};
use meshos_protocol::{messages::agent::TaskHint, time::Now};

/// Bytes that may wait for the disk; a recording that is further behind ends there.
const WAITING_BYTES_MAX: usize = 64 << 20;
/// Recordings that a node keeps, the newest ones.
const KEPT: usize = 4;
/// A piece is handed over when it is so large, and else once for each round of the master's loop.
const PIECE_BYTES: usize = 1 << 20;
/// How long the end of a term waits for the last of its recording.
const FINISH_LIMIT: Duration = Duration::from_secs(1);
const EXTENSION: &str = "recording";

/// Stands before a master and writes down what passes, if that was asked for.
pub(super) struct Recorder(Option<Recording>);

struct Recording {
    tape: Tape,
    writer: Writer,
}

impl Recorder {
    /// Begins the recording of a term, of so many bytes.
    pub(super) fn start(
        directory: &Path,
        bytes_max: u64,
        start: &Start,
        registry: &Registry,
        hints: &[TaskHint],
    ) -> Self {
        if bytes_max == 0 {
            return Self(None);
        }
        match Writer::start(directory, &name_of(start)) {
            Ok(writer) => {
                let tape = Tape::begin(start.clone(), registry, hints, bytes_max);
                Self(Some(Recording { tape, writer }))
            }
            Err(error) => {
                tracing::warn!(%error, "the events of this term cannot be recorded");
                Self(None)
            }
        }
    }

    /// Hands an event to the master.
    pub(super) fn handle(
        &mut self,
        master: &mut Master,
        now: Now,
        event: Event,
        out: &mut Vec<Effect>,
    ) {
        let Some(recording) = &mut self.0 else { return master.handle(now, event, out) };
        recording.tape.handle(master, now, event, out);
        if recording.tape.news() >= PIECE_BYTES {
            self.flush();
        }
    }

    /// Hands what was written down to the disk, without waiting for it.
    pub(super) fn flush(&mut self) {
        let Some(recording) = &mut self.0 else { return };
        let piece = recording.tape.take();
        let over = if !recording.writer.write(piece) {
            Some("its disk fails or is too slow")
        } else if recording.tape.is_full() {
            Some("all its bytes are used up (`--record-events`)")
        } else {
            None
        };
        if let Some(why) = over {
            tracing::warn!(why, "the recording of this term's events ends here");
            self.0 = None;
        }
    }

    /// Waits a moment until all is written.
    pub(super) async fn finish(mut self) {
        self.flush();
        let Some(Recording { writer, .. }) = self.0 else { return };
        let written = tokio::task::spawn_blocking(move || writer.finish());
        if tokio::time::timeout(FINISH_LIMIT, written).await.is_err() {
            tracing::warn!("the end of the recording of this term's events is still being written");
        }
    }
}

/// A thread that writes pieces to a file.
struct Writer {
    pieces: mpsc::Sender<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
    thread: thread::JoinHandle<()>,
}

impl Writer {
    fn start(directory: &Path, name: &str) -> io::Result<Self> {
        let (pieces, queue) = mpsc::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let (directory, path) = (directory.to_owned(), directory.join(name));
        let written = Arc::clone(&waiting);
        let thread = thread::Builder::new().name("recorder".into()).spawn(move || {
            if let Err(error) = write_all(&directory, &path, &queue, &written) {
                tracing::warn!(file = %path.display(), %error, "the recording of events cannot be written");
            }
        })?;
        Ok(Self { pieces, waiting, thread })
    }

    /// False when too much waits or the file cannot be written.
    fn write(&self, piece: Vec<u8>) -> bool {
        if piece.is_empty() {
            return true;
        }
        let waiting = self.waiting.fetch_add(piece.len(), Ordering::Relaxed) + piece.len();
        waiting <= WAITING_BYTES_MAX && self.pieces.send(piece).is_ok()
    }

    fn finish(self) {
        let Self { pieces, thread, .. } = self;
        drop(pieces);
        // A thread that panicked has said so.
        let _ended = thread.join();
    }
}

/// With leading zeros, so that names are in the order of terms.
fn name_of(start: &Start) -> String {
    format!("term-{:010}.{EXTENSION}", start.fence.term.0)
}

/// Until the sender is dropped. What was written survives this process, and that is enough: nothing
/// depends on a recording.
fn write_all(
    directory: &Path,
    path: &Path,
    pieces: &mpsc::Receiver<Vec<u8>>,
    waiting: &AtomicUsize,
) -> io::Result<()> {
    let mut file = create(directory, path)?;
    tracing::info!(file = %path.display(), "the events of this term are recorded");
    remove_oldest(directory)?;
    while let Ok(piece) = pieces.recv() {
        file.write_all(&piece)?;
        waiting.fetch_sub(piece.len(), Ordering::Relaxed);
    }
    Ok(())
}

/// A file that only this user may read: tasks' environments stand in it.
fn create(directory: &Path, path: &Path) -> io::Result<File> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Keeps the newest recordings alone.
fn remove_oldest(directory: &Path) -> io::Result<()> {
    let mut recordings: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(directory)? {
        let found = entry?.path();
        if found.extension().is_some_and(|extension| extension == EXTENSION) {
            recordings.push(found);
        }
    }
    recordings.sort();
    for oldest in recordings.iter().rev().skip(KEPT) {
        fs::remove_file(oldest)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use meshos_control::{master::MasterConfig, recording::Player};
    use meshos_protocol::ids::{ClusterId, Fence, NodeId, Term};

    use super::*;

    fn start(term: u64) -> Start {
        Start {
            release: "0.1".to_owned(),
            fence: Fence { cluster: ClusterId::from_u128(1), term: Term(term) },
            node: NodeId::from_bits(1),
            now: Now::default(),
            seed: 1,
            config: MasterConfig::default(),
        }
    }

    fn made(start: &Start) -> Master {
        let Start { config, fence, node, now, seed, .. } = start.clone();
        Master::new(config, fence, node, Registry::new(), Vec::new(), now, seed)
    }

    fn names(directory: &Path) -> Vec<String> {
        let items = fs::read_dir(directory).into_iter().flatten();
        let mut names: Vec<String> =
            items.map(|item| item.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    async fn record(directory: &Path, term: u64, bytes_max: u64, ticks: u64) {
        let start = start(term);
        let mut master = made(&start);
        let mut recorder = Recorder::start(directory, bytes_max, &start, &Registry::new(), &[]);
        for _ in 0..ticks {
            recorder.handle(&mut master, Now::default(), Event::Tick, &mut Vec::new());
            recorder.flush();
        }
        recorder.finish().await;
    }

    #[tokio::test]
    async fn the_newest_recordings_are_kept_and_hold_all_that_was_told() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("recordings");
        for term in [9, 10, 99, 100, 1_000, 3_000] {
            record(&directory, term, 1 << 20, 5).await;
        }
        let kept = ["0000000099", "0000000100", "0000001000", "0000003000"];
        assert_eq!(names(&directory), kept.map(|term| format!("term-{term}.recording")));
        let file = File::open(directory.join("term-0000000100.recording")).unwrap();
        let mut player = Player::new(file).unwrap();
        while player.step().unwrap().is_some() {}
        assert_eq!((player.steps(), player.is_full()), (5, false));
    }

    #[tokio::test]
    async fn nothing_is_recorded_unless_asked_for_and_a_file_that_cannot_be_made_stops_no_term() {
        let scratch = tempfile::tempdir().unwrap();
        record(&scratch.path().join("none"), 1, 0, 5).await;
        assert!(names(scratch.path()).is_empty());
        let taken = scratch.path().join("taken");
        fs::write(&taken, b"a file where the directory is to be").unwrap();
        record(&taken, 1, 1 << 20, 5).await;
    }

    #[test]
    fn a_disk_that_is_too_far_behind_ends_the_recording() {
        let (pieces, _stuck) = mpsc::channel();
        let writer = Writer { pieces, waiting: Arc::default(), thread: thread::spawn(|| {}) };
        let tape = Tape::begin(start(1), &Registry::new(), &[], u64::MAX);
        let mut recorder = Recorder(Some(Recording { tape, writer }));
        recorder.flush();
        let recording = recorder.0.as_ref().expect("there is room");
        recording.writer.waiting.fetch_add(WAITING_BYTES_MAX, Ordering::Relaxed);
        recorder.handle(&mut made(&start(1)), Now::default(), Event::Tick, &mut Vec::new());
        recorder.flush();
        assert!(recorder.0.is_none());
        recorder.handle(&mut made(&start(1)), Now::default(), Event::Tick, &mut Vec::new());
    }
}

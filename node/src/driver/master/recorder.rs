//! Writes down what the master of one term is told, where operators want that.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use meshos_control::{
    master::{Effect, Event, Master},
    recording::{Start, Tape},
    registry::Registry,
};
use meshos_protocol::{messages::agent::TaskHint, time::Now};

use super::Options;

/// Pieces that may wait for the disk; a recording that is further behind ends there.
const WAITING_MAX: usize = 1_024;
/// Recordings that a node keeps, the newest ones.
const KEPT: usize = 4;
/// A piece is handed over when it is so large, and else once for each round of the master's loop.
const PIECE_BYTES: usize = 1 << 20;
const EXTENSION: &str = "recording";

/// Stands before a master and writes down what passes, if that was asked for.
pub(super) struct Recorder {
    tape: Option<Tape>,
    queue: Option<SyncSender<Vec<u8>>>,
}

impl Recorder {
    /// Begins the recording of a term. When that fails, the term is led without.
    pub(super) fn start(
        options: &Options,
        start: &Start,
        registry: &Registry,
        hints: &[TaskHint],
    ) -> Self {
        let nothing = Self { tape: None, queue: None };
        if options.record_bytes == 0 {
            return nothing;
        }
        let path = path_of(&options.recordings, start);
        let writing = create(&options.recordings, &path)
            .and_then(|file| write_from_queue(file, path.clone()));
        match writing {
            Ok(queue) => {
                tracing::info!(file = %path.display(), "the events of this term are recorded");
                let tape = Tape::begin(start.clone(), registry, hints, options.record_bytes);
                let mut recorder = Self { tape: Some(tape), queue: Some(queue) };
                recorder.flush();
                recorder
            }
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "the events of this term cannot be recorded");
                nothing
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
        let Some(tape) = &mut self.tape else { return master.handle(now, event, out) };
        tape.handle(master, now, event, out);
        if tape.news() >= PIECE_BYTES {
            self.flush();
        }
    }

    /// Hands what was written down to the disk, without waiting for it.
    pub(super) fn flush(&mut self) {
        let (Some(tape), Some(queue)) = (&mut self.tape, &self.queue) else { return };
        if tape.news() > 0 && queue.try_send(tape.take()).is_err() {
            tracing::warn!(
                "the disk is full or too slow for the recording of events, which ends here"
            );
            (self.tape, self.queue) = (None, None);
        } else if tape.is_full() {
            tracing::warn!(
                "the recording of events has all its bytes (`--record-events`) and ends here"
            );
            (self.tape, self.queue) = (None, None);
        }
    }
}

fn path_of(directory: &Path, start: &Start) -> PathBuf {
    // With leading zeros, so that names are in the order of terms.
    directory.join(format!("term-{:010}.{EXTENSION}", start.fence.term.0))
}

/// Makes room for one more and makes its file, which only this user may read: tasks' environments
/// stand in it.
fn create(directory: &Path, path: &Path) -> io::Result<File> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let mut earlier = Vec::new();
    for entry in fs::read_dir(directory)? {
        let found = entry?.path();
        if found.extension().is_some_and(|extension| extension == EXTENSION) && found != path {
            earlier.push(found);
        }
    }
    earlier.sort();
    for oldest in earlier.iter().rev().skip(KEPT - 1) {
        fs::remove_file(oldest)?;
    }
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn write_from_queue(file: File, path: PathBuf) -> io::Result<SyncSender<Vec<u8>>> {
    let (queue, pieces) = sync_channel(WAITING_MAX);
    thread::Builder::new().name("recorder".into()).spawn(move || {
        if let Err(error) = write_all(file, &pieces) {
            tracing::warn!(file = %path.display(), %error, "the recording of events cannot be written");
        }
    })?;
    Ok(queue)
}

/// Until the sender is dropped. What was written survives this process, and that is enough: nothing
/// depends on a recording.
fn write_all(mut file: File, pieces: &Receiver<Vec<u8>>) -> io::Result<()> {
    while let Ok(piece) = pieces.recv() {
        file.write_all(&piece)?;
    }
    Ok(())
}

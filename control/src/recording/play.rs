//! Plays a recording.

use std::io;

use super::{
    ReadError, Reader, Start, Step,
    fingerprint::fingerprint,
    frames::{Record, VERSION},
};
use crate::{
    master::{Effect, Master},
    registry::Registry,
};

/// A master that is told again what another was told.
#[derive(Debug)]
pub struct Player<R> {
    reader: Reader<R>,
    start: Start,
    master: Master,
    steps: u64,
    full: bool,
}

/// One step that was played.
#[derive(Debug)]
pub struct Played {
    /// Which; counts from 1.
    pub number: u64,
    /// What the master was told.
    pub step: Step,
    /// What it wished for.
    pub effects: Vec<Effect>,
    /// Whether the recorded master wished for the same.
    pub same: bool,
}

impl<R: io::Read> Player<R> {
    /// Reads a recording up to its first step.
    ///
    /// # Errors
    /// When it cannot be read, is something else, of another form, or ends before its first step.
    pub fn new(from: R) -> Result<Self, ReadError> {
        let mut reader = Reader::new(from);
        let Some(Record::Format(format)) = reader.take()? else {
            return Err(ReadError::Foreign);
        };
        if format.version != VERSION {
            return Err(ReadError::Version { version: format.version, release: format.release });
        }
        let Some(Record::Start(start)) = reader.take()? else {
            return Err(ReadError::CutOff);
        };
        let start = *start;
        let (mut snapshot, mut hints) = (Vec::new(), Vec::new());
        loop {
            match reader.take()?.ok_or(ReadError::CutOff)? {
                Record::Registry(piece) => snapshot.extend_from_slice(&piece),
                Record::Hint(hint) => hints.push(*hint),
                Record::Begun => break,
                Record::Format(_) | Record::Start(_) | Record::Step(_) | Record::Full => {
                    return Err(ReadError::Misplaced { position: reader.position() - 1 });
                }
            }
        }
        let registry = Registry::from_snapshot(&snapshot)?;
        let config = start.config.clone();
        let Start { fence, node, now, seed, .. } = start;
        let master = Master::new(config, fence, node, registry, hints, now, seed);
        Ok(Self { reader, start, master, steps: 0, full: false })
    }

    /// What the master was made from.
    pub const fn start(&self) -> &Start {
        &self.start
    }

    /// The master as it is after the last step.
    pub const fn master(&self) -> &Master {
        &self.master
    }

    /// How many steps were played.
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// The master alone.
    pub fn into_master(self) -> Master {
        self.master
    }

    /// Whether the recording ended for want of room, once its end was reached.
    pub const fn is_full(&self) -> bool {
        self.full
    }

    /// Plays the next step; nothing at the end.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn step(&mut self) -> Result<Option<Played>, ReadError> {
        match self.reader.take()? {
            None => Ok(None),
            Some(Record::Full) => {
                self.full = true;
                Ok(None)
            }
            Some(Record::Step(step)) => {
                let mut effects = Vec::new();
                self.master.handle(step.now, step.event.clone(), &mut effects);
                self.steps += 1;
                let same = fingerprint(&effects) == step.fingerprint;
                Ok(Some(Played { number: self.steps, step: *step, effects, same }))
            }
            Some(
                Record::Format(_)
                | Record::Start(_)
                | Record::Registry(_)
                | Record::Hint(_)
                | Record::Begun,
            ) => Err(ReadError::Misplaced { position: self.reader.position() - 1 }),
        }
    }
}

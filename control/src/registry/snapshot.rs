//! Snapshots: the registry as bytes, and back.
//!
//! A snapshot is a row of frames, each a length (four bytes, big-endian) and that many bytes of
//! MessagePack with named fields: a header, one frame for each record, and an end that counts them.
//! Small frames keep every single one within the decoder's limits however many records there are,
//! and the end tells a snapshot that was cut off.

use meshos_alloc::Quota;
use meshos_protocol::{
    codec,
    ids::{AgentId, ClusterId, FrameworkId, NodeId, ProposalId, Term},
    role::Role,
    time::Wall,
};
use serde::{Deserialize, Serialize};

use super::{
    AgentState, FrameworkRecord, Hold, LEVEL, NotUnderstood, PastRecord, Planned, Registry,
    level::Level,
};
use crate::framing::{self, LENGTH_BYTES};

/// Why bytes are not a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It ends in the middle.
    #[error("the registry snapshot is cut off after {records} records")]
    CutOff {
        /// How many records were read.
        records: u64,
    },
    /// A record cannot be read.
    #[error("record {position} of the registry snapshot cannot be read: {source}")]
    Record {
        /// Counts from 0, the header.
        position: u64,
        /// What the decoder found.
        source: codec::DecodeError,
    },
    /// A newer release wrote it and says that this one cannot read it.
    #[error(transparent)]
    Level(#[from] NotUnderstood),
    /// The records are there in a wrong order or number.
    #[error("the registry snapshot is malformed: {what}")]
    Malformed {
        /// What was found.
        what: &'static str,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
enum Record {
    Header(Header),
    Agent {
        agent: AgentId,
        state: AgentState,
    },
    Hold {
        agent: AgentId,
        hold: Hold,
    },
    Framework {
        framework: FrameworkId,
        record: Box<FrameworkRecord>,
    },
    Weight {
        role: Role,
        weight_millis: u64,
    },
    Priority {
        role: Role,
        priority: i32,
    },
    Quota {
        role: Role,
        quota: Quota,
    },
    Policy {
        policy: String,
    },
    PastUse {
        past: Box<PastRecord>,
    },
    Maintenance {
        node: NodeId,
        planned: Planned,
    },
    End {
        /// How many frames stand before this one.
        records: u64,
    },
    /// Of a newer release, which should have said so in the header.
    #[serde(other)]
    Unknown,
}

#[derive(Serialize, Deserialize)]
struct Header {
    /// The level of the registry: a release that knows less must not read what follows.
    version: u32,
    #[serde(default)]
    cluster: Option<ClusterId>,
    term: Term,
    proposal: ProposalId,
    newest_date: Wall,
    registration_floor: u32,
    frameworks_admitted: u64,
}

impl Registry {
    /// The registry as bytes.
    pub fn to_snapshot(&self) -> Vec<u8> {
        let mut writer = Writer { bytes: Vec::new(), records: 0 };
        writer.put(&Record::Header(Header {
            version: self.level(),
            cluster: self.cluster,
            term: self.newest.0,
            proposal: self.newest.1,
            newest_date: self.newest_date,
            registration_floor: self.registration_floor,
            frameworks_admitted: self.frameworks_admitted,
        }));
        for (agent, state) in self.agents() {
            writer.put(&Record::Agent { agent, state });
        }
        for (agent, hold) in self.holds() {
            writer.put(&Record::Hold { agent, hold });
        }
        for (framework, record) in self.frameworks() {
            writer.put(&Record::Framework { framework, record: Box::new(record.clone()) });
        }
        for (role, weight_millis) in self.weights() {
            writer.put(&Record::Weight { role: role.clone(), weight_millis });
        }
        for (role, priority) in self.priorities() {
            writer.put(&Record::Priority { role: role.clone(), priority });
        }
        for (role, quota) in self.quotas() {
            writer.put(&Record::Quota { role: role.clone(), quota: quota.clone() });
        }
        if let Some(policy) = self.policy() {
            writer.put(&Record::Policy { policy: policy.to_owned() });
        }
        if let Some(past) = &self.past {
            writer.put(&Record::PastUse { past: past.clone() });
        }
        for (node, planned) in self.maintenance() {
            writer.put(&Record::Maintenance { node, planned: planned.clone() });
        }
        writer.put(&Record::End { records: writer.records });
        writer.bytes
    }

    /// Reads what [`Registry::to_snapshot`] wrote.
    ///
    /// # Errors
    /// When the bytes are cut off, damaged, or of a release whose form this one cannot read.
    pub fn from_snapshot(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let mut reader = Reader { rest: bytes, records: 0 };
        let Record::Header(header) = reader.take()? else {
            return Err(SnapshotError::Malformed { what: "it does not begin with a header" });
        };
        if header.version > LEVEL {
            return Err(NotUnderstood::Level { level: header.version, known: LEVEL }.into());
        }
        let mut registry = Self {
            level: Level(header.version),
            cluster: header.cluster,
            newest: (header.term, header.proposal),
            newest_date: header.newest_date,
            registration_floor: header.registration_floor,
            frameworks_admitted: header.frameworks_admitted,
            ..Self::default()
        };
        loop {
            let before = reader.records;
            match reader.take()? {
                Record::Header(_) => {
                    return Err(SnapshotError::Malformed { what: "it has a second header" });
                }
                Record::Agent { agent, state } => {
                    registry.agents.insert(agent, state);
                }
                Record::Hold { hold: Hold::Unknown, .. } | Record::Unknown => {
                    return Err(NotUnderstood::Record.into());
                }
                Record::Hold { agent, hold } => {
                    registry.holds.insert(agent, hold);
                }
                Record::Framework { framework, record } => registry.restore(framework, *record),
                Record::Weight { role, weight_millis } => {
                    registry.weights.insert(role, weight_millis);
                }
                Record::Priority { role, priority } => {
                    registry.priorities.insert(role, priority);
                }
                Record::Quota { role, quota } => {
                    registry.quotas.insert(role, quota);
                }
                Record::Policy { policy } => registry.policy = Some(policy),
                Record::PastUse { past } => registry.past = Some(past),
                Record::Maintenance { node, planned } => {
                    registry.maintenance.insert(node, planned);
                }
                Record::End { records } if records != before => {
                    return Err(SnapshotError::Malformed { what: "records are missing" });
                }
                Record::End { .. } if !reader.rest.is_empty() => {
                    return Err(SnapshotError::Malformed { what: "something follows its end" });
                }
                Record::End { .. } => return Ok(registry),
            }
        }
    }

    fn restore(&mut self, framework: FrameworkId, record: FrameworkRecord) {
        if record.closed.is_none() && !record.nonce.is_empty() {
            let key = (record.principal.clone(), record.nonce.clone());
            self.nonces.insert(key, framework);
        }
        self.frameworks.insert(framework, record);
    }
}

struct Writer {
    bytes: Vec<u8>,
    records: u64,
}

impl Writer {
    fn put(&mut self, record: &Record) {
        framing::put(&mut self.bytes, record);
        self.records += 1;
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    records: u64,
}

impl Reader<'_> {
    fn take(&mut self) -> Result<Record, SnapshotError> {
        let cut_off = SnapshotError::CutOff { records: self.records };
        let Some((length, rest)) = self.rest.split_first_chunk::<LENGTH_BYTES>() else {
            return Err(cut_off);
        };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((frame, rest)) = rest.split_at_checked(length) else {
            return Err(cut_off);
        };
        let position = self.records;
        let record =
            codec::decode(frame).map_err(|source| SnapshotError::Record { position, source })?;
        self.rest = rest;
        self.records += 1;
        Ok(record)
    }
}

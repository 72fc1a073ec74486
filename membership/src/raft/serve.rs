//! The requests of other voters: whose are served, and what they may say.
//!
//! The transport proves which node a request comes from. Here it must also be a member of the
//! group, or one that this node was told to admit while it knows no group yet, and speak for the
//! log it has there and to the log kept here. What openraft would take for granted, and panic
//! when it is not so, is checked before it gets the request.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use meshos_protocol::ids::NodeId;
use openraft::{
    async_runtime::watch::WatchReceiver as _,
    raft::{AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest},
};
use tokio::{
    sync::{Mutex as AsyncMutex, RwLock},
    time::Instant,
};

use super::{
    HandleError, REQUEST_BYTES_MAX, Release, SNAPSHOT_BYTES_MAX, SNAPSHOT_CHUNK_BYTES_MAX,
    apply::Applier,
    config::{LogId, SnapshotMeta, TypeConfig, Vote},
    record::{LogIdRecord, VoteRecord},
    wire::{
        AnswerBody, Append, Ballot, BallotAnswer, RequestBody, SnapshotChunk, Transfer,
        decode_request, encode_answer,
    },
};

pub(super) type Raft = openraft::Raft<TypeConfig, Applier>;

/// The most nodes that can be admitted beside the members.
const ADMITTED_MAX: usize = 64;

/// Serves the other voters.
pub(super) struct Server {
    own: u64,
    release: Release,
    raft: Raft,
    admitted: Mutex<BTreeSet<NodeId>>,
    /// Held for reading while a request of someone who is no member is served, so that it can be
    /// waited for.
    strangers: RwLock<()>,
    /// The last leader that was a member when it wrote here. While its term lasts it is served even
    /// after an entry of its own removed it, or it could not tell that this entry is committed.
    leader: Mutex<Option<(u64, NodeId)>>,
    /// Before this, no vote is given; see [`Timing::settle`](super::Timing::settle).
    settled_at: Option<Instant>,
    incoming: AsyncMutex<Option<Incoming>>,
}

/// A snapshot that is arriving. One at a time: there is one leader.
struct Incoming {
    from: u64,
    transfer_id: u64,
    meta: SnapshotMeta,
    total: usize,
    data: Vec<u8>,
}

impl Server {
    pub(super) fn new(own: u64, release: Release, raft: Raft, settled_at: Option<Instant>) -> Self {
        Self {
            own,
            release,
            raft,
            admitted: Mutex::new(BTreeSet::new()),
            strangers: RwLock::new(()),
            leader: Mutex::new(None),
            settled_at,
            incoming: AsyncMutex::new(None),
        }
    }

    /// Serves these nodes, and no others beside the members.
    pub(super) fn admit(&self, nodes: impl IntoIterator<Item = NodeId>) {
        *self.admitted() = nodes.into_iter().take(ADMITTED_MAX).collect();
    }

    /// Serves one request of `from`, whom the transport has proved.
    pub(super) async fn handle(&self, from: NodeId, bytes: &[u8]) -> Result<Vec<u8>, HandleError> {
        if bytes.len() > REQUEST_BYTES_MAX {
            return Err(HandleError::TooBig { bytes: bytes.len(), max: REQUEST_BYTES_MAX });
        }
        let request = decode_request(bytes)?;
        let _stranger = match self.is_member(from, request.from)? {
            true => None,
            false => {
                let served = self.strangers.read().await;
                self.check_stranger(from, request.from)?;
                Some(served)
            }
        };
        if request.to != self.own {
            return Err(HandleError::NotForMe { wanted: request.to, own: self.own });
        }
        let sender = request.from;
        let answer = match request.body {
            RequestBody::Append(append) => {
                self.remember_leader(sender, from);
                self.append(sender, append).await
            }
            RequestBody::Vote(ballot) => self.ballot(sender, ballot, false).await,
            RequestBody::PreVote(ballot) => self.ballot(sender, ballot, true).await,
            RequestBody::SnapshotChunk(chunk) => self.snapshot_chunk(sender, chunk).await,
            RequestBody::Transfer(transfer) => self.transfer(sender, transfer).await,
        };
        let answer = match answer {
            // So that the leader hears which release it was that could not go on.
            Err(HandleError::Stopped(reason)) => AnswerBody::Stopped { reason },
            answer => answer?,
        };
        Ok(encode_answer(answer, self.release.clone()))
    }

    /// Whether nobody has written to this log or been promised anything by it. Whoever was
    /// admitted before and is not any more has had its last word when this returns.
    pub(super) async fn is_pristine(&self) -> bool {
        let _served = self.strangers.write().await;
        // When raft has ended nothing can be written, and nothing should be begun either.
        self.raft.is_initialized().await.is_ok_and(|initialised| !initialised)
    }

    /// Whether the group has this log at this node. An id that it has at another node is refused.
    fn is_member(&self, from: NodeId, raft_id: u64) -> Result<bool, HandleError> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        match metrics.membership_config.get_node(&raft_id) {
            Some(member) if member.node_id == from => Ok(true),
            Some(_) => Err(HandleError::NotMember { from }),
            None => Ok(false),
        }
    }

    fn check_stranger(&self, from: NodeId, raft_id: u64) -> Result<(), HandleError> {
        let leader = *lock(&self.leader);
        let voted_for = self.raft.server_metrics().borrow_watched().vote.leader_id.voted_for;
        let still_leads = leader == Some((raft_id, from)) && voted_for == raft_id;
        if still_leads || self.admitted().contains(&from) {
            return Ok(());
        }
        Err(HandleError::NotMember { from })
    }

    fn remember_leader(&self, raft_id: u64, from: NodeId) {
        *lock(&self.leader) = Some((raft_id, from));
    }

    async fn append(&self, sender: u64, append: Append) -> Result<AnswerBody, HandleError> {
        check_speaks_for_itself(sender, append.vote, true)?;
        let mut entries = Vec::with_capacity(append.entries.len());
        let mut previous = append.previous;
        for record in append.entries {
            let id = LogIdRecord { term: record.term, index: record.index };
            let follows = previous.map_or(id.index == 0, |previous| {
                id.index == previous.index.saturating_add(1) && id.term >= previous.term
            });
            if !follows || id.term > append.vote.term {
                return Err(malformed(&format!("entry {} does not follow", id.index)));
            }
            previous = Some(id);
            entries.push(record.into_entry().map_err(|error| malformed(&error))?);
        }
        let request = AppendEntriesRequest {
            vote: append.vote.into(),
            prev_log_id: append.previous.map(LogId::from),
            entries,
            leader_commit: append.committed.map(LogId::from),
        };
        match self.raft.append_entries(request).await.map_err(|error| stopped(&error))? {
            AppendEntriesResponse::Success => Ok(AnswerBody::Appended),
            AppendEntriesResponse::Conflict => Ok(AnswerBody::Conflict),
            AppendEntriesResponse::HigherVote(vote) => Ok(AnswerBody::HigherVote(vote.into())),
            // Openraft never answers so from here; the leader then sends again.
            AppendEntriesResponse::PartialSuccess(_) => {
                Err(HandleError::Stopped("entries were taken in part".to_owned()))
            }
        }
    }

    async fn ballot(
        &self,
        sender: u64,
        ballot: Ballot,
        pre_vote: bool,
    ) -> Result<AnswerBody, HandleError> {
        check_speaks_for_itself(sender, ballot.vote, false)?;
        if self.settled_at.is_some_and(|settled_at| Instant::now() < settled_at) {
            return Err(HandleError::Settling);
        }
        let mut request = VoteRequest::new(Vote::from(ballot.vote), ballot.last.map(LogId::from));
        request.leadership_transfer = ballot.transfer;
        let response = if pre_vote {
            self.raft.pre_vote(request).await
        } else {
            self.raft.vote(request).await
        };
        let response = response.map_err(|error| stopped(&error))?;
        Ok(AnswerBody::Ballot(BallotAnswer {
            vote: response.vote.into(),
            granted: response.vote_granted,
            last: response.last_log_id.map(LogIdRecord::from),
        }))
    }

    async fn snapshot_chunk(
        &self,
        sender: u64,
        chunk: SnapshotChunk,
    ) -> Result<AnswerBody, HandleError> {
        check_speaks_for_itself(sender, chunk.vote, true)?;
        let vote = Vote::from(chunk.vote);
        let own_vote = self.raft.server_metrics().borrow_watched().vote;
        if own_vote > vote {
            return Ok(AnswerBody::SnapshotDone { vote: own_vote.into() });
        }
        let mut incoming = self.incoming.lock().await;
        let arrived = take_chunk(&mut incoming, sender, chunk)?;
        if arrived.data.len() < arrived.total {
            let offset = u64::try_from(arrived.data.len()).expect("a length fits in 64 bits");
            return Ok(AnswerBody::ChunkTaken { offset });
        }
        let Some(Incoming { meta, data, .. }) = incoming.take() else {
            return Err(malformed(&"no snapshot is arriving"));
        };
        self.check_snapshot(vote, &meta)?;
        let snapshot =
            openraft::alias::SnapshotOf::<TypeConfig, _> { meta, snapshot: Arc::new(data) };
        let response = self.raft.install_full_snapshot(vote, snapshot).await;
        let response = response.map_err(|error| stopped(&error))?;
        Ok(AnswerBody::SnapshotDone { vote: response.vote.into() })
    }

    /// Openraft panics on a snapshot that no correct leader can have.
    fn check_snapshot(&self, vote: Vote, meta: &SnapshotMeta) -> Result<(), HandleError> {
        let Some(last) = meta.last_log_id else {
            return Err(malformed(&"a snapshot of nothing"));
        };
        let committed = self.raft.data_metrics().borrow_watched().local_committed;
        let contradicts =
            committed.is_some_and(|committed| last > committed && last.index <= committed.index);
        if last.leader_id.term > vote.leader_id.term || contradicts {
            return Err(malformed(&"a snapshot that contradicts what is committed"));
        }
        Ok(())
    }

    async fn transfer(&self, sender: u64, transfer: Transfer) -> Result<AnswerBody, HandleError> {
        check_speaks_for_itself(sender, transfer.leader, true)?;
        let request = TransferLeaderRequest::new(
            transfer.leader.into(),
            transfer.to,
            transfer.last.map(LogId::from),
        );
        let response = self.raft.handle_transfer_leader(request).await;
        let accepted = response.map_err(|error| stopped(&error))?.is_ok();
        Ok(AnswerBody::Transfer { accepted })
    }

    fn admitted(&self) -> MutexGuard<'_, BTreeSet<NodeId>> {
        lock(&self.admitted)
    }
}

/// For values that are changed in one step, so that a panic cannot leave them half-way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Leaders and candidates speak for themselves alone, or one voter could depose another's leader.
fn check_speaks_for_itself(
    sender: u64,
    vote: VoteRecord,
    committed: bool,
) -> Result<(), HandleError> {
    if vote.candidate != sender || vote.committed != committed {
        return Err(malformed(&"the vote is not the sender's own"));
    }
    Ok(())
}

/// Adds a chunk to the snapshot that is arriving, or begins one.
fn take_chunk(
    incoming: &mut Option<Incoming>,
    sender: u64,
    chunk: SnapshotChunk,
) -> Result<&Incoming, HandleError> {
    let total = usize::try_from(chunk.total_bytes).unwrap_or(usize::MAX);
    if total > SNAPSHOT_BYTES_MAX || chunk.data.len() > SNAPSHOT_CHUNK_BYTES_MAX {
        return Err(HandleError::TooBig { bytes: total, max: SNAPSHOT_BYTES_MAX });
    }
    let meta = SnapshotMeta::try_from(chunk.meta).map_err(|error| malformed(&error))?;
    if chunk.offset == 0 {
        let transfer_id = chunk.transfer_id;
        *incoming = Some(Incoming { from: sender, transfer_id, meta, total, data: Vec::new() });
    } else {
        let continues = incoming.as_ref().is_some_and(|arriving| {
            arriving.from == sender
                && arriving.transfer_id == chunk.transfer_id
                && arriving.meta == meta
                && arriving.total == total
                && u64::try_from(arriving.data.len()).ok() == Some(chunk.offset)
        });
        if !continues {
            return Err(malformed(&"a snapshot chunk out of order"));
        }
    }
    let Some(arriving) = incoming.as_mut() else {
        return Err(malformed(&"a snapshot chunk out of order"));
    };
    if chunk.data.len() > arriving.total - arriving.data.len() {
        return Err(malformed(&"a snapshot longer than announced"));
    }
    arriving.data.extend_from_slice(&chunk.data);
    Ok(arriving)
}

fn malformed(reason: &(impl ToString + ?Sized)) -> HandleError {
    HandleError::Malformed(reason.to_string())
}

fn stopped(error: &impl ToString) -> HandleError {
    HandleError::Stopped(error.to_string())
}

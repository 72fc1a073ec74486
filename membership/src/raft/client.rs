//! Openraft's requests, sent through our network in our form.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use meshos_protocol::codec;
use openraft::{
    OptionalSend, RPCTypes, RaftNetworkFactory, RaftNetworkV2,
    errors::{RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable},
    network::RPCOption,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderError,
        TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};

use super::{
    NetworkError, RaftNetwork, SNAPSHOT_CHUNK_BYTES_MAX, Timing, Voter,
    config::{LogId, Member, TypeConfig, Vote},
    record::{EntryRecord, LogIdRecord, SnapshotMetaRecord},
    releases::Releases,
    wire::{
        AnswerBody, Append, Ballot, Request, RequestBody, SnapshotChunk, Transfer, VERSION,
        decode_answer,
    },
};

type OpenraftSnapshot = openraft::alias::SnapshotOf<TypeConfig, Arc<Vec<u8>>>;

/// How long one part of a snapshot may take; the last one is installed before it is answered.
const SNAPSHOT_CHUNK_WAIT: Duration = Duration::from_secs(30);

/// Makes the senders to the other voters.
#[derive(Clone)]
pub(super) struct Client {
    own: u64,
    network: Arc<dyn RaftNetwork>,
    /// What an append with entries may take: followers answer after their fsync.
    append_wait: Duration,
    transfers: Arc<AtomicU64>,
    releases: Arc<Releases>,
}

impl Client {
    pub(super) fn new(
        own: u64,
        network: Arc<dyn RaftNetwork>,
        timing: Timing,
        releases: Arc<Releases>,
    ) -> Self {
        let append_wait = Duration::from_millis(timing.election_max_ms);
        Self { own, network, append_wait, transfers: Arc::new(AtomicU64::new(1)), releases }
    }
}

impl RaftNetworkFactory<TypeConfig> for Client {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &Member) -> Peer {
        Peer { client: self.clone(), target: node.voter(target) }
    }
}

/// Sends to one voter.
pub(super) struct Peer {
    client: Client,
    target: Voter,
}

impl Peer {
    async fn call(
        &self,
        body: RequestBody,
        action: RPCTypes,
        wait: Duration,
    ) -> Result<AnswerBody, RPCError<TypeConfig>> {
        let request =
            Request { version: VERSION, from: self.client.own, to: self.target.raft_id, body };
        let bytes = codec::encode(&request);
        let called = self.client.network.call(&self.target, bytes, wait);
        // The network keeps the deadline too; this one holds if it does not.
        let answer = match tokio::time::timeout(wait, called).await {
            Ok(Ok(bytes)) => decode_answer(&bytes).and_then(|(body, release)| {
                self.client.releases.heard(self.target.raft_id, release);
                match body {
                    AnswerBody::Stopped { reason } => Err(NetworkError::Refused(reason)),
                    body => Ok(body),
                }
            }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(NetworkError::Timeout),
        };
        answer.map_err(|error| match error {
            NetworkError::Timeout => RPCError::Timeout(Timeout {
                action,
                id: self.client.own,
                target: self.target.raft_id,
                timeout: wait,
            }),
            error @ (NetworkError::Unreachable(_) | NetworkError::Refused(_)) => {
                RPCError::Unreachable(Unreachable::new(&error))
            }
        })
    }

    /// An answer that no request of this kind has: the peer is broken, which no retry mends soon.
    fn unexpected(&self) -> RPCError<TypeConfig> {
        let text = format!("{} gave an answer to another question", self.target);
        RPCError::Unreachable(Unreachable::from_string(text))
    }

    async fn ballot(
        &self,
        request: VoteRequest<TypeConfig>,
        option: &RPCOption,
        body: impl FnOnce(Ballot) -> RequestBody,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let ballot = Ballot {
            vote: request.vote.into(),
            last: request.last_log_id.map(LogIdRecord::from),
            transfer: request.leadership_transfer,
        };
        let answer = self.call(body(ballot), RPCTypes::Vote, option.soft_ttl()).await?;
        let AnswerBody::Ballot(answer) = answer else { return Err(self.unexpected()) };
        let last = answer.last.map(LogId::from);
        Ok(VoteResponse::new(Vote::from(answer.vote), last, answer.granted))
    }
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = Arc<Vec<u8>>;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let wait = if request.entries.is_empty() {
            option.soft_ttl()
        } else {
            self.client.append_wait.max(option.soft_ttl())
        };
        let from_start = request.prev_log_id.is_none();
        let append = Append {
            vote: request.vote.into(),
            previous: request.prev_log_id.map(LogIdRecord::from),
            entries: request.entries.into_iter().map(EntryRecord::from).collect(),
            committed: request.leader_commit.map(LogIdRecord::from),
        };
        match self.call(RequestBody::Append(append), RPCTypes::AppendEntries, wait).await? {
            AnswerBody::Appended => Ok(AppendEntriesResponse::Success),
            // Nothing conflicts with the start of the log, and openraft panics when told so.
            AnswerBody::Conflict if !from_start => Ok(AppendEntriesResponse::Conflict),
            AnswerBody::HigherVote(vote) => Ok(AppendEntriesResponse::HigherVote(vote.into())),
            _ => Err(self.unexpected()),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ballot(request, &option, RequestBody::Vote).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ballot(request, &option, RequestBody::PreVote).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: OpenraftSnapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let mut cancel = pin!(cancel);
        let total = snapshot.snapshot.len();
        let transfer_id = self.client.transfers.fetch_add(1, Ordering::Relaxed);
        let mut offset = 0;
        loop {
            let end = total.min(offset + SNAPSHOT_CHUNK_BYTES_MAX);
            let chunk = SnapshotChunk {
                vote: vote.into(),
                transfer_id,
                meta: SnapshotMetaRecord::from(&snapshot.meta),
                total_bytes: wide(total),
                offset: wide(offset),
                data: snapshot.snapshot[offset..end].to_vec(),
            };
            let body = RequestBody::SnapshotChunk(chunk);
            let sent = self.call(body, RPCTypes::InstallSnapshot, SNAPSHOT_CHUNK_WAIT);
            let answer = tokio::select! {
                answer = sent => answer?,
                closed = &mut cancel => return Err(closed.into()),
            };
            match answer {
                AnswerBody::SnapshotDone { vote } => {
                    return Ok(SnapshotResponse::new(Vote::from(vote)));
                }
                AnswerBody::ChunkTaken { offset: next } if next == wide(end) && end < total => {
                    offset = end;
                }
                _ => return Err(self.unexpected().into()),
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let expected = request.last_log_id().copied();
        let transfer = Transfer {
            leader: (*request.from_leader()).into(),
            to: *request.to_node_id(),
            last: expected.map(LogIdRecord::from),
        };
        let body = RequestBody::Transfer(transfer);
        match self.call(body, RPCTypes::TransferLeader, option.soft_ttl()).await? {
            AnswerBody::Transfer { accepted: true } => Ok(Ok(())),
            AnswerBody::Transfer { accepted: false } => {
                Ok(Err(TransferLeaderError::LogNotFlushed { expected, actual: None }))
            }
            _ => Err(self.unexpected()),
        }
    }
}

fn wide(bytes: usize) -> u64 {
    u64::try_from(bytes).expect("a length fits in 64 bits")
}

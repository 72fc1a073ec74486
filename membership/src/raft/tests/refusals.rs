//! Whose requests are not served.

use meshos_protocol::{codec, ids::NodeId};

use super::support::{Cluster, voter};
use crate::raft::{
    HandleError, REQUEST_BYTES_MAX,
    record::{
        EntryRecord, LogIdRecord, PayloadRecord, SnapshotMetaRecord, StoredMembershipRecord,
        VoteRecord,
    },
    wire::{Append, Ballot, Request, RequestBody, SnapshotChunk, Transfer, VERSION},
};

fn request(from: u64, to: u64, body: RequestBody) -> Vec<u8> {
    codec::encode(&Request { version: VERSION, from, to, body })
}

fn heartbeat(candidate: u64, term: u64) -> RequestBody {
    let vote = VoteRecord { term, candidate, committed: true };
    RequestBody::Append(Append { vote, previous: None, entries: Vec::new(), committed: None })
}

fn ballot(candidate: u64, term: u64) -> RequestBody {
    let vote = VoteRecord { term, candidate, committed: false };
    let last = Some(LogIdRecord { term, index: 1_000 });
    RequestBody::Vote(Ballot { vote, last, transfer: true })
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_those_who_speak_for_others_are_refused() {
    let cluster = Cluster::formed(3).await;
    let (leader, led) = cluster.leader().await;
    let group = cluster.group(leader);
    let [other, third] = cluster.others(leader)[..] else { panic!() };
    let stranger = NodeId::from_bits(99);
    let bytes = request(99, leader, ballot(99, 1_000));
    let refused = group.handle_request(stranger, &bytes).await.unwrap_err();
    assert_eq!(refused, HandleError::NotMember { from: stranger });
    // A member's raft id from another node.
    let bytes = request(other, leader, ballot(other, 1_000));
    let refused = group.handle_request(stranger, &bytes).await.unwrap_err();
    assert_eq!(refused, HandleError::NotMember { from: stranger });
    // A member, for another log than the one here.
    let bytes = request(other, 77, heartbeat(other, 1_000));
    let refused = group.handle_request(voter(other).node_id, &bytes).await.unwrap_err();
    assert_eq!(refused, HandleError::NotForMe { wanted: 77, own: leader });
    // A member that campaigns, leads or hands over in the name of another.
    let vote = VoteRecord { term: 1_000, candidate: third, committed: true };
    let transfer = RequestBody::Transfer(Transfer { leader: vote, to: leader, last: None });
    for body in [heartbeat(third, 1_000), ballot(third, 1_000), transfer] {
        let bytes = request(other, leader, body);
        let refused = group.handle_request(voter(other).node_id, &bytes).await.unwrap_err();
        assert!(matches!(refused, HandleError::Malformed(_)), "{refused}");
    }
    assert_eq!(group.leadership().borrow().led, Some(led));
    cluster.propose_to(leader, b"undisturbed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_break_the_rules_are_refused_and_nothing_falls_over() {
    let cluster = Cluster::formed(3).await;
    let (leader, led) = cluster.leader().await;
    let [follower, other] = cluster.others(leader)[..] else { panic!() };
    // A leader needs a majority only: the follower may not know yet who the members are.
    cluster.propose(b"begun").await;
    cluster.journal(follower).wait_for_len(1).await;
    let from = voter(other).node_id;
    let group = cluster.group(follower);
    let term = led.term.0 + 1_000;
    let vote = VoteRecord { term, candidate: other, committed: true };
    let entry = |term, index| EntryRecord { term, index, payload: PayloadRecord::Blank };
    let append = |previous, entries| {
        RequestBody::Append(Append { vote, previous, entries, committed: None })
    };
    let gap = append(Some(LogIdRecord { term: 1, index: 5 }), vec![entry(1, 7)]);
    let backwards = append(Some(LogIdRecord { term: 9, index: 5 }), vec![entry(8, 6)]);
    let future = append(None, vec![entry(term + 1, 0)]);
    let overflow = append(Some(LogIdRecord { term: 1, index: u64::MAX }), vec![entry(1, 0)]);
    let nowhere = append(None, vec![entry(1, 5)]);
    let meta = SnapshotMetaRecord {
        last: Some(LogIdRecord { term: term + 1, index: 9 }),
        membership: StoredMembershipRecord { log_id: None, membership: None },
    };
    let chunk = |offset, total_bytes, data: &[u8]| {
        let (meta, data) = (meta.clone(), data.to_vec());
        RequestBody::SnapshotChunk(SnapshotChunk {
            vote,
            transfer_id: 1,
            meta,
            total_bytes,
            offset,
            data,
        })
    };
    let bodies = [
        gap,
        backwards,
        future,
        overflow,
        nowhere,
        // In the middle, without end, longer than announced, and from a term that is not yet.
        chunk(5, 10, b"abc"),
        chunk(0, u64::MAX, b"abc"),
        chunk(0, 2, b"abc"),
        chunk(0, 3, b"abc"),
    ];
    for body in bodies {
        let text = format!("{body:?}");
        let bytes = request(other, follower, body);
        let refused = group.handle_request(from, &bytes).await;
        assert!(
            matches!(refused, Err(HandleError::Malformed(_) | HandleError::TooBig { .. })),
            "{text}: {refused:?}"
        );
    }
    let whole = request(other, follower, heartbeat(other, 1));
    for end in 0..whole.len() {
        group.handle_request(from, &whole[..end]).await.unwrap_err();
    }
    let mut trailing = whole;
    trailing.push(0);
    group.handle_request(from, &trailing).await.unwrap_err();
    let refused = group.handle_request(from, &vec![0; REQUEST_BYTES_MAX + 1]).await.unwrap_err();
    assert!(matches!(refused, HandleError::TooBig { .. }), "{refused}");
    cluster.propose(b"undisturbed").await;
    cluster.journal(follower).wait_for_len(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_node_serves_only_whom_it_was_told_to() {
    let cluster = Cluster::open(1).await;
    let group = cluster.group(1);
    let bytes = request(2, 1, ballot(2, 5));
    let from = voter(2).node_id;
    let refused = group.handle_request(from, &bytes).await.unwrap_err();
    assert_eq!(refused, HandleError::NotMember { from });
    assert!(group.is_pristine().await);
    group.admit([from]);
    group.handle_request(from, &bytes).await.unwrap();
    assert!(!group.is_pristine().await);
    group.admit([voter(3).node_id]);
    let refused = group.handle_request(from, &bytes).await.unwrap_err();
    assert_eq!(refused, HandleError::NotMember { from });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_voter_gives_no_vote_while_an_old_promise_may_hold() {
    let mut cluster = Cluster::formed(3).await;
    let (leader, led) = cluster.leader().await;
    let [restarted, other] = cluster.others(leader)[..] else { panic!() };
    cluster.drop_node(restarted).await;
    cluster.start(restarted).await;
    let bytes = request(other, restarted, ballot(other, led.term.0 + 1));
    let from = voter(other).node_id;
    let refused = cluster.group(restarted).handle_request(from, &bytes).await.unwrap_err();
    assert_eq!(refused, HandleError::Settling);
}

//! Members come, go and are replaced.

use std::time::Duration;

use meshos_protocol::ids::Term;

use super::support::{Cluster, Journal, TIMING, release, voter, within};
use crate::raft::{ChangeError, Options, RaftGroup, VoterRole, VoterStatus, recover_offline};

const WITHIN: Duration = Duration::from_secs(30);

fn voters(cluster: &Cluster, number: u64) -> Vec<(u64, VoterRole)> {
    let members = cluster.group(number).voters();
    members.into_iter().map(|member| (member.voter.raft_id, member.role)).collect()
}

fn all_voters(numbers: impl IntoIterator<Item = u64>) -> Vec<(u64, VoterRole)> {
    numbers.into_iter().map(|number| (number, VoterRole::Voter)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voter_is_added_and_the_leader_removed() {
    let mut cluster = Cluster::formed(3).await;
    let (leader, led) = cluster.leader().await;
    cluster.propose_to(leader, b"one").await;
    cluster.start(4).await;
    cluster.group(4).admit((1..=3).map(|number| voter(number).node_id));
    let follower = cluster.others(leader)[0];
    let refused =
        cluster.group(follower).add_voter(voter(4), &release(1), WITHIN).await.unwrap_err();
    assert_eq!(refused, ChangeError::NotLeader { leader: Some(voter(leader)) });
    cluster.group(leader).add_voter(voter(4), &release(1), WITHIN).await.unwrap();
    cluster.group(leader).add_voter(voter(4), &release(1), WITHIN).await.unwrap();
    assert_eq!(voters(&cluster, leader), all_voters(1..=4));
    cluster.journal(4).wait_for_len(1).await;
    for VoterStatus { voter: member, is_leader, last_contact, .. } in cluster.group(leader).voters()
    {
        assert_eq!(is_leader, member.raft_id == leader);
        assert!(last_contact.is_some(), "{member} was never heard");
    }
    // The leader removes itself; another one goes on.
    cluster.group(leader).remove_voter(leader, WITHIN).await.unwrap();
    let (next, _) = cluster.leader_above(led.term).await;
    assert_ne!(next, leader);
    assert_eq!(voters(&cluster, next), all_voters(cluster.others(leader)));
    cluster.propose(b"two").await;
    assert!(!cluster.group(leader).lease_valid());
    let refused = cluster.group(leader).remove_voter(next, WITHIN).await.unwrap_err();
    assert!(matches!(refused, ChangeError::NotLeader { .. }), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_voter_stays() {
    let cluster = Cluster::formed(1).await;
    let refused = cluster.group(1).remove_voter(1, WITHIN).await.unwrap_err();
    assert!(matches!(refused, ChangeError::Refused(_)), "{refused}");
    let refused =
        cluster.group(1).add_voter(voter(9), &release(1), TIMING.lease()).await.unwrap_err();
    assert!(matches!(refused, ChangeError::Refused(_)), "{refused}");
    // The one that could not be taught is a learner, and goes again.
    assert_eq!(voters(&cluster, 1), [(1, VoterRole::Voter), (9, VoterRole::Learner)]);
    cluster.group(1).remove_voter(9, WITHIN).await.unwrap();
    assert_eq!(voters(&cluster, 1), all_voters([1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_voter_is_replaced_and_receives_a_snapshot() {
    let mut cluster = Cluster::formed(3).await;
    let (leader, _) = cluster.leader().await;
    let wiped = cluster.others(leader)[0];
    // More than the log keeps behind a snapshot, and more than one chunk of it.
    let count = 1_500_usize;
    let mut writes = tokio::task::JoinSet::new();
    for number in 0..count {
        let group = cluster.group(leader).clone();
        let mut command = vec![7; 2_000];
        command.extend_from_slice(&number.to_le_bytes());
        writes.spawn(async move { group.propose(command).await });
    }
    while let Some(written) = within("the writes", writes.join_next()).await {
        written.unwrap().unwrap();
    }
    cluster.drop_node(wiped).await;
    cluster.group(leader).snapshot_now(WITHIN).await.unwrap();
    let purged = within("the log to shrink", async {
        loop {
            if let Some(purged) = cluster.group(leader).status().purged_index {
                return purged;
            }
            tokio::task::yield_now().await;
        }
    });
    assert!(purged.await > 0);
    cluster.start(4).await;
    let others: Vec<u64> = cluster.others(4);
    cluster.group(4).admit(others.iter().map(|number| voter(*number).node_id));
    let (leader, _) = cluster.leader().await;
    let refused = cluster.group(leader).replace_voter(leader, voter(4), &release(1), WITHIN).await;
    assert!(matches!(refused, Err(ChangeError::Refused(_))), "{refused:?}");
    cluster.group(leader).replace_voter(wiped, voter(4), &release(1), WITHIN).await.unwrap();
    cluster.journal(4).wait_for_len(count).await;
    assert_eq!(cluster.journal(4).commands(), cluster.journal(leader).commands());
    assert!(cluster.group(4).status().snapshot_index.is_some());
    let mut expected = cluster.others(0);
    expected.sort_unstable();
    assert_eq!(voters(&cluster, leader), all_voters(expected));
    // The replacement counts: with the other follower gone, it and the leader are a majority.
    let other = cluster.others(leader).into_iter().find(|number| *number != 4).unwrap();
    cluster.drop_node(other).await;
    cluster.propose(b"with the replacement").await;
    cluster.journal(4).wait_for_len(count + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_survivor_becomes_the_group_and_loses_nothing() {
    let mut cluster = Cluster::formed(3).await;
    for number in 0..10u8 {
        cluster.propose(&[number]).await;
    }
    cluster.journal(3).wait_for_len(10).await;
    let (_, led) = cluster.leader().await;
    for number in 1..=3 {
        cluster.drop_node(number).await;
    }
    let dir = cluster.data_dir(3);
    let seen = Term(led.term.0 + 7);
    let recovered = recover_offline(&dir, &voter(3), seen).unwrap();
    assert!(recovered.above > seen);
    cluster.start(3).await;
    let (leader, led) = cluster.leader().await;
    assert!(leader == 3 && led.term > recovered.above);
    assert_eq!(voters(&cluster, 3), all_voters([3]));
    cluster.propose(b"alone").await;
    let commands = cluster.journal(3).commands();
    assert_eq!(commands.len(), 11);
    assert!(commands[..10].iter().zip(0u8..).all(|(command, number)| *command == [number]));
    // It grows again.
    cluster.start(4).await;
    cluster.group(4).admit([voter(3).node_id]);
    cluster.group(3).add_voter(voter(4), &release(1), WITHIN).await.unwrap();
    cluster.journal(4).wait_for_len(11).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_recovered_from_an_empty_log() {
    let mut cluster = Cluster::open(1).await;
    cluster.drop_node(1).await;
    recover_offline(&cluster.data_dir(1), &voter(1), Term(0)).unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_left_half_done_is_ended_by_the_next_leader() {
    use crate::raft::{
        config::{Entry, Membership, Payload, log_id},
        record::MembershipRecord,
        store::{LogFile, write_entries_for_test},
    };

    // Logs whose last entry is the first half of "3 leaves", as a leader that died leaves them.
    let mut cluster = Cluster::formed(3).await;
    cluster.propose(b"one").await;
    for number in 1..=3 {
        cluster.journal(number).wait_for_len(1).await;
    }
    for number in 1..=3 {
        cluster.drop_node(number).await;
    }
    for number in 1..=2 {
        let (file, stored) = LogFile::open(&cluster.data_dir(number), number).unwrap();
        let last = stored.last.unwrap();
        let configs = vec![[1, 2, 3].into(), [1, 2].into()];
        let members = (1..=3).map(voter).collect();
        let membership = Membership::try_from(MembershipRecord { configs, members }).unwrap();
        let entry = Entry {
            log_id: log_id(last.leader_id.term, last.index + 1),
            payload: Payload::Membership(membership),
        };
        write_entries_for_test(&file, entry);
    }
    for number in 1..=3 {
        cluster.start(number).await;
    }
    // Only the logs with the half change are long enough to win.
    let (leader, _) = cluster.leader().await;
    assert_ne!(leader, 3);
    within("the change to end", async {
        while voters(&cluster, leader) != all_voters([1, 2]) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    cluster.propose(b"two").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_frees_the_files() {
    let cluster = Cluster::formed(1).await;
    cluster.propose(b"one").await;
    within("the shutdown", cluster.group(1).shutdown()).await;
    assert!(!cluster.group(1).lease_valid());
    let options: Options = cluster.options(1);
    let journal = Journal::default();
    let again = RaftGroup::open(options, journal.clone(), cluster.port(1)).await.unwrap();
    assert!(again.had_state());
    journal.wait_for_len(1).await;
}

//! Who leads, since when, and until when.

use std::time::Duration;

use super::support::{Cluster, TIMING, voter, wait_until, within};
use crate::raft::{ChangeError, ProposeError};

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_elect_a_leader_and_apply_the_same_commands() {
    let cluster = Cluster::formed(3).await;
    let (leader, led) = cluster.leader().await;
    let mut expected = Vec::new();
    for number in 0..20u8 {
        let applied = cluster.propose_to(leader, &[number, 1]).await;
        assert_eq!(applied.response, vec![1, number]);
        assert!(applied.term == led.term && applied.index > led.applied_index);
        expected.push(vec![number, 1]);
    }
    for number in 1..=3 {
        cluster.journal(number).wait_for_len(20).await;
        assert_eq!(cluster.journal(number).commands(), expected);
        let mut leadership = cluster.group(number).leadership();
        wait_until("the leader to be known", &mut leadership, |now| {
            now.leader == Some(voter(leader)) && now.term == led.term
        })
        .await;
        assert_eq!(cluster.group(number).lease_valid(), number == leader);
    }
    let follower = cluster.others(leader)[0];
    let refused = cluster.group(follower).propose(vec![1]).await.unwrap_err();
    assert_eq!(refused, ProposeError::NotLeader { leader: Some(voter(leader)) });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_initialised_once() {
    let cluster = Cluster::formed(3).await;
    let same: Vec<_> = (1..=3).map(voter).collect();
    cluster.group(1).initialise(&same).await.unwrap();
    let other: Vec<_> = (1..=5).map(voter).collect();
    let refused = cluster.group(1).initialise(&other).await.unwrap_err();
    assert!(matches!(refused, ChangeError::Refused(_)), "{refused}");
    // A voter that got the log by replication is initialised too.
    cluster.journal(2).wait_for_len(0).await;
    let refused = cluster.group(2).initialise(&[voter(2)]).await;
    assert!(matches!(refused, Err(ChangeError::Refused(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_isolated_leader_may_not_act_when_another_leads() {
    let cluster = Cluster::formed(3).await;
    let (old, old_led) = cluster.leader().await;
    cluster.propose_to(old, b"before").await;
    let remaining = cluster.group(old).lease_remaining().unwrap();
    assert!(remaining <= TIMING.lease());
    cluster.isolate(old);
    // What it takes while it does not know yet is not committed, and the proposer is told.
    let stuck = tokio::spawn({
        let group = cluster.group(old).clone();
        async move { group.propose(b"never committed by the old leader".to_vec()).await }
    });
    let mut leadership = cluster.group(old).leadership();
    let over = wait_until("the lease to end", &mut leadership, |now| !now.i_lead()).await;
    assert_eq!(over.leader, None);
    assert!(!cluster.group(old).lease_valid());
    assert_eq!(within("an answer", stuck).await.unwrap(), Err(ProposeError::Uncertain));
    let (new, new_led) = cluster.leader_above(old_led.term).await;
    assert_ne!(new, old);
    assert!(!cluster.group(old).lease_valid());
    let refused = cluster.group(old).propose(b"late".to_vec()).await.unwrap_err();
    assert_eq!(refused, ProposeError::NotLeader { leader: None });
    cluster.propose_to(new, b"after").await;
    cluster.net.heal();
    wait_until("the old leader to follow", &mut leadership, |now| now.term >= new_led.term).await;
    cluster.propose(b"healed").await;
    cluster.journal(old).wait_for_len(3).await;
    let commands = cluster.journal(old).commands();
    assert_eq!(commands, [&b"before"[..], b"after", b"healed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_has_ended_before_another_node_leads() {
    let cluster = Cluster::formed(3).await;
    for _ in 0..3 {
        let (old, led) = cluster.leader().await;
        cluster.isolate(old);
        // Level-triggered on the new leader: at that instant the old one must be over.
        cluster.leader_above(led.term).await;
        assert!(!cluster.group(old).lease_valid());
        cluster.net.heal();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_term_is_not_led_again_after_its_lease_ended() {
    let cluster = Cluster::formed(3).await;
    let (old, led) = cluster.leader().await;
    // Nobody hears anybody, so nobody else can be elected meanwhile.
    for number in 1..=3 {
        cluster.isolate(number);
    }
    let mut leadership = cluster.group(old).leadership();
    wait_until("the lease to end", &mut leadership, |now| !now.i_lead()).await;
    cluster.net.heal();
    let (_, again) = cluster.leader_above(led.term).await;
    assert!(again.term > led.term);
    cluster.propose(b"works again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_isolated_follower_does_not_disturb_the_term() {
    let cluster = Cluster::formed(3).await;
    let (leader, led) = cluster.leader().await;
    let follower = cluster.others(leader)[0];
    cluster.isolate(follower);
    let silence = Duration::from_millis(TIMING.election_max_ms * 4);
    let mut leadership = cluster.group(leader).leadership();
    // The condition under test is that nothing happens in this time.
    let disturbed = leadership.wait_for(|now| now.term != led.term || !now.i_lead());
    assert!(tokio::time::timeout(silence, disturbed).await.is_err(), "the term was disturbed");
    cluster.propose_to(leader, b"meanwhile").await;
    cluster.net.heal();
    cluster.group(leader).peer_reachable(voter(follower).node_id).await;
    cluster.journal(follower).wait_for_len(1).await;
    assert_eq!(cluster.group(leader).leadership().borrow().led, Some(led));
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_is_handed_over() {
    let cluster = Cluster::formed(3).await;
    let (old, led) = cluster.leader().await;
    let heir = cluster.others(old)[1];
    within("the transfer", cluster.group(old).transfer_leader(heir)).await.unwrap();
    assert!(!cluster.group(old).lease_valid());
    let (_, next) = cluster.leader_above(led.term).await;
    assert!(next.term > led.term);
    cluster.propose(b"under the next").await;
    let refused = cluster.group(old).transfer_leader(old).await;
    assert!(refused.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_of_one_term_is_not_proposed_in_another() {
    let cluster = Cluster::formed(1).await;
    let (_, led) = cluster.leader().await;
    let group = cluster.group(1);
    group.propose_in(led.term, b"now".to_vec()).await.unwrap();
    let refused = group.propose_in(led.term.next(), b"then".to_vec()).await.unwrap_err();
    assert!(matches!(refused, ProposeError::NotLeader { .. }), "{refused}");
    let refused = group.propose(vec![0; crate::raft::COMMAND_BYTES_MAX + 1]).await.unwrap_err();
    assert!(matches!(refused, ProposeError::TooBig { .. }), "{refused}");
    assert_eq!(cluster.journal(1).commands(), [b"now"]);
}

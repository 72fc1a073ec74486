//! Members of different releases: what the leader hears of them, and what stops an older one.

use std::time::Duration;

use super::support::{Cluster, release, voter, wait_until, within};
use crate::raft::{ChangeError, Health, MemberRelease, OpenError, ProposeError, Release};

fn heard(members: &[MemberRelease], number: u64) -> Option<Release> {
    let member = members.iter().find(|member| member.voter.raft_id == number)?;
    member.release.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_hears_which_release_each_member_runs() {
    let mut cluster = Cluster::formed(3).await;
    let (leader, _) = cluster.leader().await;
    let mut releases = cluster.group(leader).releases();
    let all = |members: &Vec<MemberRelease>| {
        members.len() == 3 && (1..=3).all(|number| heard(members, number) == Some(release(1)))
    };
    wait_until("all releases", &mut releases, all).await;
    let upgraded = cluster.others(leader)[0];
    cluster.drop_node(upgraded).await;
    cluster.start_release(upgraded, 2).await.unwrap();
    // The leader may have been lost for a moment: whoever leads hears it.
    let (leader, _) = cluster.leader().await;
    let mut releases = cluster.group(leader).releases();
    let new = |members: &Vec<MemberRelease>| heard(members, upgraded) == Some(release(2));
    wait_until("the new release", &mut releases, new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voter_whose_release_does_not_know_an_entry_stops_in_front_of_it() {
    let mut cluster = Cluster::formed(3).await;
    let (leader, _) = cluster.leader().await;
    let older = cluster.others(leader)[0];
    cluster.drop_node(older).await;
    cluster.start_release(older, 1).await.unwrap();
    cluster.propose(b"one").await;
    cluster.journal(older).wait_for_len(1).await;
    // So that it does not lead when the others go on.
    cluster.isolate(older);
    cluster.propose(b"level 2").await;
    cluster.propose(b"two").await;
    cluster.net.heal();
    let mut health = cluster.group(older).health();
    let told = wait_until("the end", &mut health, |now| *now != Health::Running).await;
    assert_eq!(told, Health::NotTaken("start a newer release".to_owned()));
    assert_eq!(cluster.journal(older).commands(), [b"one"]);
    let refused = cluster.group(older).propose(b"three".to_vec()).await.unwrap_err();
    assert!(matches!(refused, ProposeError::Stopped(_)), "{refused}");
    // It does not start either, and the newer release finds everything.
    cluster.drop_node(older).await;
    let error = cluster.start_release(older, 1).await.unwrap_err();
    assert!(matches!(error, OpenError::Restore(_)), "{error}");
    assert_eq!(error.to_string(), "the registry cannot be restored: start a newer release");
    cluster.start_release(older, 2).await.unwrap();
    cluster.journal(older).wait_for_len(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_release_knows_less_than_the_registry_holds_becomes_no_voter() {
    let mut cluster = Cluster::formed(1).await;
    cluster.propose(b"level 2").await;
    cluster.start_release(2, 1).await.unwrap();
    cluster.group(2).admit([voter(1).node_id]);
    let added = cluster.group(1).add_voter(voter(2), Duration::from_secs(60));
    let refused = within("an answer", added).await.unwrap_err();
    let ChangeError::Refused(why) = refused else { panic!("{refused}") };
    assert!(why.contains("(0.1) knows the registry up to level 1"), "{why}");
    assert_eq!(cluster.group(1).voters().len(), 1, "it is no member any more");
    cluster.drop_node(2).await;
    cluster.start_release(2, 2).await.unwrap();
    cluster.group(2).admit([voter(1).node_id]);
    let added = cluster.group(1).add_voter(voter(2), Duration::from_secs(60));
    within("the voter", added).await.unwrap();
}

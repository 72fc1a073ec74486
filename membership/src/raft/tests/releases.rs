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
async fn whoever_does_not_answer_counts_as_silent_with_what_it_told() {
    let mut cluster = Cluster::formed(3).await;
    let (leader, _) = cluster.leader().await;
    let away = cluster.others(leader)[0];
    let mut releases = cluster.group(leader).releases();
    let answering = |members: &Vec<MemberRelease>, wanted: bool| {
        let member = members.iter().find(|member| member.voter.raft_id == away);
        member.is_some_and(|it| it.answers == wanted && it.release == Some(release(1)))
    };
    wait_until("its answer", &mut releases, |members| answering(members, true)).await;
    cluster.drop_node(away).await;
    wait_until("its silence", &mut releases, |members| answering(members, false)).await;
    cluster.start(away).await;
    wait_until("its answer again", &mut releases, |members| answering(members, true)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_release_knows_less_than_the_registry_holds_becomes_no_member() {
    let mut cluster = Cluster::formed(1).await;
    cluster.propose(b"level 2").await;
    assert_eq!(cluster.group(1).level_required(), 2);
    cluster.start_release(2, 1).await.unwrap();
    cluster.group(2).admit([voter(1).node_id]);
    let seen = cluster.group(1).releases();
    for told in [release(1), Release::SILENT] {
        let group = cluster.group(1);
        let added = group.add_voter(voter(2), &told, Duration::from_secs(60));
        let refused = within("an answer", added).await.unwrap_err();
        let ChangeError::Refused(why) = refused else { panic!("{refused}") };
        let named = if told == Release::SILENT { "an older release" } else { "release 0.1" };
        let said = format!(
            "node {} cannot be a voter: it runs {named}, which knows the registry up to level 1, and the voters keep \
             it at level 2: start the release on it that the voters run (`meshos voters` shows it), then try again",
            voter(2)
        );
        assert_eq!(why, said);
        let replaced = group.replace_voter(7, voter(2), &told, Duration::from_secs(60));
        let refused = within("an answer", replaced).await.unwrap_err();
        assert_eq!(refused, ChangeError::Refused(said));
    }
    assert!(!seen.has_changed().unwrap_or(true), "it was never a member");
    // It was taught nothing, so that it is what it was.
    assert!(cluster.group(2).is_pristine().await);
    assert_eq!(*cluster.group(2).health().borrow(), Health::Running);
    cluster.drop_node(2).await;
    cluster.start_release(2, 2).await.unwrap();
    cluster.group(2).admit([voter(1).node_id]);
    let told = release(2);
    let added = cluster.group(1).add_voter(voter(2), &told, Duration::from_secs(60));
    within("the voter", added).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_told_more_than_it_knows_is_taken_out_again() {
    let mut cluster = Cluster::formed(1).await;
    cluster.propose(b"level 2").await;
    cluster.start_release(2, 1).await.unwrap();
    cluster.group(2).admit([voter(1).node_id]);
    let told = release(2);
    let added = cluster.group(1).add_voter(voter(2), &told, Duration::from_secs(60));
    let refused = within("an answer", added).await.unwrap_err();
    let ChangeError::Refused(why) = refused else { panic!("{refused}") };
    assert!(why.contains("release 0.1, which knows the registry up to level 1"), "{why}");
    assert_eq!(cluster.group(1).voters().len(), 1, "it is no member any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_not_added_below_the_level_that_is_just_being_raised() {
    let mut cluster = Cluster::open(0).await;
    cluster.start_release(1, 3).await.unwrap();
    cluster.initialise(1).await;
    cluster.leader().await;
    let group = cluster.group(1);
    let knows = |members: &Vec<MemberRelease>| heard(members, 1) == Some(release(3));
    wait_until("its own release", &mut group.releases(), knows).await;
    let told = release(2);
    let added = group.add_voter(voter(2), &told, Duration::from_secs(60));
    let refused = within("an answer", added).await.unwrap_err();
    assert!(refused.to_string().contains("keep it at level 3"), "{refused}");
}

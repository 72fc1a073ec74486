use meshos_membership::identity::DataDir;

use super::{
    super::scene::{CLUSTER, Scene, announced},
    *,
};

/// What the node of the scene believes after a start.
fn beliefs(scene: &Scene) -> Beliefs {
    let rebuilt = scene.node();
    let voters = KnownVoters::load(scene.scratch.path(), &["seed:1".to_owned()]);
    let data_dir = DataDir::open(scene.scratch.path()).unwrap();
    Beliefs::new(voters, rebuilt, FenceStore::load(&data_dir).unwrap())
}

fn voter(number: u64) -> (NodeId, String) {
    (NodeId::from_bits(number), format!("voter-{number}:1"))
}

/// A leader that tells these voters.
fn leader(term: u64, voters: &[u64], recovery: Vec<u8>) -> Announcement {
    let voters = voters.iter().copied().map(voter).collect();
    Announcement { voters, ..announced(term, recovery) }
}

fn asked(beliefs: &Beliefs) -> Vec<String> {
    beliefs.known_voters().into_iter().map(|voter| voter.address).collect()
}

#[tokio::test]
async fn a_leader_that_was_confirmed_by_voters_of_old_is_not_written_down() {
    let scene = Scene::new();
    let beliefs = beliefs(&scene);
    let basis = beliefs.version();
    let first = leader(5, &[1, 2, 3], Vec::new());
    assert_eq!(beliefs.write(&first, basis).await.unwrap(), Written::Done);

    // Two leaders were being confirmed by voters 1 to 3 when the group was found to be rebuilt.
    let basis = beliefs.version();
    let rebuilt = leader(9, &[4], scene.statement(7, 4));
    assert_eq!(beliefs.write(&rebuilt, basis).await.unwrap(), Written::Done);
    let of_old = leader(10, &[1, 2, 3], Vec::new());
    assert_eq!(beliefs.write(&of_old, basis).await.unwrap(), Written::Outdated);
    assert_eq!((asked(&beliefs), beliefs.obeyed()), (vec!["voter-4:1".to_owned()], Some(Term(9))));

    // Confirmed anew by those who count, it would be.
    let next = leader(11, &[4], Vec::new());
    assert_eq!(beliefs.write(&next, beliefs.version()).await.unwrap(), Written::Done);
    assert_eq!(beliefs.obeyed(), Some(Term(11)));
}

#[tokio::test]
async fn voters_that_stay_the_same_outdate_nothing() {
    let scene = Scene::new();
    let beliefs = beliefs(&scene);
    let told = leader(5, &[1, 2, 3], Vec::new());
    beliefs.write(&told, beliefs.version()).await.unwrap();
    let basis = beliefs.version();
    for term in 6..9 {
        let again = leader(term, &[1, 2, 3], Vec::new());
        assert_eq!(beliefs.write(&again, basis).await.unwrap(), Written::Done);
    }
}

#[tokio::test]
async fn the_leader_that_is_obeyed_tells_who_votes_now_and_no_other() {
    let scene = Scene::new();
    let beliefs = beliefs(&scene);
    beliefs.write(&leader(5, &[1, 2], Vec::new()), beliefs.version()).await.unwrap();
    let basis = beliefs.version();
    for stranger in [4, 6] {
        beliefs.learn_voters(&leader(stranger, &[9], Vec::new())).await.unwrap();
    }
    assert_eq!((asked(&beliefs).len(), beliefs.version()), (2, basis));
    beliefs.learn_voters(&leader(5, &[2, 3], Vec::new())).await.unwrap();
    assert_eq!(asked(&beliefs), ["voter-2:1", "voter-3:1"]);
    // What was being confirmed by the old ones is confirmed anew.
    let next = leader(6, &[2, 3], Vec::new());
    assert_eq!(beliefs.write(&next, basis).await.unwrap(), Written::Outdated);
}

#[tokio::test]
async fn a_node_that_lost_its_list_of_voters_asks_those_of_its_statement() {
    let scene = Scene::new();
    let first = beliefs(&scene);
    let rebuilt = leader(9, &[4, 5], scene.statement(7, 4));
    first.write(&rebuilt, first.version()).await.unwrap();
    drop(first);
    assert_eq!(asked(&beliefs(&scene)), ["voter-4:1", "voter-5:1"]);

    std::fs::remove_file(scene.scratch.path().join("voters")).unwrap();
    assert_eq!(asked(&beliefs(&scene)), ["survivor-4:1"], "the seeds may be the old voters");
    std::fs::write(scene.scratch.path().join("voters"), b"damaged").unwrap();
    assert_eq!(asked(&beliefs(&scene)), ["survivor-4:1"]);
}

#[tokio::test]
async fn a_node_is_left_out_when_voters_were_told_without_it() {
    let scene = Scene::new();
    let beliefs = beliefs(&scene);
    let (inside, outside) = (NodeId::from_bits(1), NodeId::from_bits(9));
    assert_eq!(beliefs.told_in(), None, "only seeds are known");
    beliefs.write(&leader(5, &[1, 2], Vec::new()), beliefs.version()).await.unwrap();
    assert_eq!(beliefs.told_in(), Some(Term(5)));
    assert!(!beliefs.left_out(inside));
    assert!(beliefs.left_out(outside));
    assert_eq!(
        beliefs.stores.lock().await.fence.current().map(|fence| fence.cluster),
        Some(CLUSTER)
    );
}

#[tokio::test]
async fn nobody_is_shown_a_leader_before_its_fence_is_on_disk() {
    let scene = Scene::new();
    let beliefs = beliefs(&scene);
    let (publish, shown) = watch::channel(None);
    let next = leader(5, &[1, 2], Vec::new());
    // The disk does not take the fence: where the file goes there is a directory.
    let file = scene.scratch.path().join("fence");
    std::fs::create_dir(&file).unwrap();
    establish(&beliefs, &next, beliefs.version(), &publish).await.unwrap_err();
    assert!(!shown.has_changed().unwrap(), "an agent would obey {:?}", shown.borrow());
    assert_eq!(beliefs.obeyed(), None);

    std::fs::remove_dir(&file).unwrap();
    let basis = beliefs.version();
    assert_eq!(establish(&beliefs, &next, basis, &publish).await.unwrap(), Written::Done);
    assert_eq!(shown.borrow().as_ref().map(|leader| leader.fence), Some(next.fence));
    let data_dir = DataDir::open(scene.scratch.path()).unwrap();
    assert_eq!(FenceStore::load(&data_dir).unwrap().current(), Some(next.fence));

    // Confirmed by voters that may not count any more, it is neither written nor shown.
    let later = leader(6, &[1, 2], Vec::new());
    let written = establish(&beliefs, &later, basis + 1, &publish).await.unwrap();
    assert_eq!(written, Written::Outdated);
    assert_eq!(shown.borrow().as_ref().map(|leader| leader.fence), Some(next.fence));
}

#[tokio::test]
async fn a_node_that_obeys_a_leader_knows_the_cluster_of_a_rebuilt_group() {
    let scene = Scene::new();
    let beliefs = beliefs(&scene);
    let rebuilt = leader(9, &[4], scene.statement(7, 4));
    assert!(beliefs.rebuilt_voters(&rebuilt, None).await.is_none(), "of any cluster");
    // It followed a leader before its seeds told it where it belongs.
    beliefs.write(&leader(5, &[1, 2, 3], Vec::new()), beliefs.version()).await.unwrap();
    let voters = beliefs.rebuilt_voters(&rebuilt, None).await;
    assert_eq!(voters.map(|voters| voters.len()), Some(1));
}

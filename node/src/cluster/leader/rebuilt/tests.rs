use meshos_membership::keys::Authority;
use meshos_protocol::ids::Term;

use super::{
    super::scene::{CLUSTER, Scene, announced, fence, statement},
    *,
};

fn is_taken(node: &mut Rebuilt, obeyed: u64, announcement: &Announcement) -> bool {
    node.offered(announcement, Some(CLUSTER), Some(fence(obeyed))).is_some()
}

#[test]
fn a_statement_is_taken_kept_and_never_taken_back() {
    let scene = Scene::new();
    let mut node = scene.node();
    let first = announced(9, scene.statement(7, 1));
    assert!(is_taken(&mut node, 5, &first));
    assert!(node.held().borrow().is_none(), "nothing is kept before its voters confirm the leader");
    node.keep(&first).unwrap();
    let held = node.held().borrow().clone().unwrap();
    assert_eq!(held.bytes(), first.recovery);

    // The node ends before it has written the fence: the statement still convinces it.
    let mut node = scene.node();
    assert_eq!(node.recovery().map(|recovery| recovery.above), Some(Term(7)));
    assert!(is_taken(&mut node, 5, &first));
    // Behind the fence it does not, and after a second recovery the first is history.
    assert!(!is_taken(&mut node, 9, &announced(10, first.recovery.clone())));
    let second = announced(13, scene.statement(12, 2));
    assert!(is_taken(&mut node, 9, &second));
    node.keep(&second).unwrap();
    let replayed = announced(20, first.recovery);
    assert!(!is_taken(&mut node, 5, &replayed));
    node.keep(&replayed).unwrap();
    assert_eq!(scene.node().recovery().map(|recovery| recovery.above), Some(Term(12)));
}

#[test]
fn nothing_is_taken_that_the_authority_did_not_sign_for_this_leader() {
    let scene = Scene::new();
    let mut node = scene.node();
    assert!(!is_taken(&mut node, 5, &announced(9, Vec::new())));
    assert!(!is_taken(&mut node, 5, &announced(9, vec![7; 100])));
    let forged = announced(9, statement(&Authority::generate().unwrap(), 7, 1));
    assert!(!is_taken(&mut node, 5, &forged));
    // A leader of the old group, in a term that the statement does not reach.
    let old = announced(7, scene.statement(7, 1));
    assert!(!is_taken(&mut node, 5, &old));
    for refused in [forged, old] {
        node.keep(&refused).unwrap();
    }
    assert_eq!(node.recovery(), None);
    // A node that does not know its cluster takes nothing.
    let good = announced(9, scene.statement(7, 1));
    assert!(node.offered(&good, None, None).is_none());
}

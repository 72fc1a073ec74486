use std::fs;

use meshos_protocol::ids::{ClusterId, Fence, NodeId, Term};
use proptest::prelude::*;

use super::*;
use crate::{
    identity::{DataDir, IdentityError},
    keys::Authority,
    raft::Voter,
};

const OURS: ClusterId = ClusterId::from_u128(0xfeed);
const THEIRS: ClusterId = ClusterId::from_u128(0xbeef);

fn voter(number: u64) -> Voter {
    Voter { raft_id: number, node_id: NodeId::from_bits(number), address: format!("n{number}:1") }
}

fn recovery(above: u64, survivor: u64) -> Recovery {
    Recovery { cluster: OURS, above: Term(above), voters: vec![voter(survivor)] }
}

fn signed(authority: &Authority, above: u64, survivor: u64) -> SignedRecovery {
    SignedRecovery::sign(recovery(above, survivor), authority).unwrap()
}

fn fence(term: u64) -> Option<Fence> {
    Some(Fence { cluster: OURS, term: Term(term) })
}

#[test]
fn a_statement_is_believed_when_the_authority_signed_all_of_it() {
    let (ours, theirs) = (Authority::generate().unwrap(), Authority::generate().unwrap());
    let signed = signed(&ours, 7, 1);
    let read = SignedRecovery::verify(signed.bytes(), ours.certificate()).unwrap();
    assert_eq!(read, signed);
    assert_eq!(*read.recovery(), recovery(7, 1));
    let error = SignedRecovery::verify(signed.bytes(), theirs.certificate()).unwrap_err();
    assert!(matches!(error, RecoveryError::Keys(_)), "{error}");
    for index in 0..signed.bytes().len() {
        let mut bent = signed.bytes().to_vec();
        bent[index] ^= 1;
        assert!(SignedRecovery::verify(&bent, ours.certificate()).is_err(), "byte {index}");
    }
}

#[test]
fn nonsense_is_not_signed() {
    let authority = Authority::generate().unwrap();
    let refused = |recovery| SignedRecovery::sign(recovery, &authority).unwrap_err().to_string();
    let none = Recovery { voters: Vec::new(), ..recovery(7, 1) };
    assert!(refused(none).ends_with("it names 0 voters"));
    let many = Recovery { voters: (1..=8).map(voter).collect(), ..recovery(7, 1) };
    assert!(refused(many).ends_with("it names 8 voters"));
    let twice = Recovery { voters: vec![voter(1), voter(1)], ..recovery(7, 1) };
    assert!(refused(twice).ends_with("the same raft id"));
    let long = Voter { address: "a".repeat(300), ..voter(1) };
    assert!(refused(Recovery { voters: vec![long], ..recovery(7, 1) }).ends_with("is too long"));
    assert!(refused(recovery(u64::MAX, 1)).contains("no term"));
}

#[test]
fn a_statement_is_taken_once_and_only_forward() {
    let (first, second, rival) = (recovery(7, 1), recovery(12, 2), recovery(7, 3));
    let known = |fence, held: Option<&'static Recovery>| Known { cluster: Some(OURS), fence, held };
    let leak = |recovery: &Recovery| -> &'static Recovery { Box::leak(Box::new(recovery.clone())) };
    // A node that missed everything, and one that has obeyed the last term of the old group.
    assert_eq!(check(known(None, None), &first), Ok(()));
    assert_eq!(check(known(fence(7), None), &first), Ok(()));
    // It has taken the statement and died before it acted on it.
    assert_eq!(check(known(fence(7), Some(leak(&first))), &first), Ok(()));
    // It follows the rebuilt group: that statement has nothing to say any more.
    let obeyed = Err(Refused::Obeyed { above: Term(7), obeyed: Term(8) });
    assert_eq!(check(known(fence(8), Some(leak(&first))), &first), obeyed);
    assert_eq!(check(known(fence(8), None), &first), obeyed);
    // The group is rebuilt once more, and then the first statement is presented again.
    assert_eq!(check(known(fence(12), Some(leak(&first))), &second), Ok(()));
    let older = Err(Refused::Older { above: Term(7), held: Term(12) });
    assert_eq!(check(known(fence(7), Some(leak(&second))), &first), older);
    // Two survivors were made the group: whichever is taken first stays.
    let rivalled = Err(Refused::Older { above: Term(7), held: Term(7) });
    assert_eq!(check(known(fence(6), Some(leak(&first))), &rival), rivalled);
    // Another cluster's, or nobody's yet.
    let other = Known { cluster: Some(THEIRS), fence: None, held: None };
    assert_eq!(check(other, &first), Err(Refused::OtherCluster { ours: THEIRS, theirs: OURS }));
    assert_eq!(check(Known { cluster: None, ..other }, &first), Err(Refused::NoCluster));
}

#[test]
fn the_newest_statement_is_kept_over_restarts() {
    let scratch = tempfile::tempdir().unwrap();
    let data_dir = DataDir::open(scratch.path()).unwrap();
    let authority = Authority::generate().unwrap();
    let load = || RecoveryStore::load(&data_dir, authority.certificate());
    let mut store = load().unwrap();
    assert_eq!(store.held(), None);
    let (first, second) = (signed(&authority, 7, 1), signed(&authority, 12, 2));
    store.store(first.clone()).unwrap();
    assert_eq!(load().unwrap().held(), Some(&first));
    store.store(second.clone()).unwrap();
    store.store(first).unwrap();
    assert_eq!(store.held(), Some(&second));
    assert_eq!(load().unwrap().held(), Some(&second));

    let stranger = Authority::generate().unwrap();
    let error = RecoveryStore::load(&data_dir, stranger.certificate()).unwrap_err();
    assert!(matches!(error, IdentityError::BadRecovery { .. }), "{error}");
    fs::write(scratch.path().join("recovery"), &second.bytes()[..20]).unwrap();
    assert!(load().unwrap_err().to_string().contains("run `meshos voters recover` again"));
    RecoveryStore::blank(&data_dir).store(second.clone()).unwrap();
    assert_eq!(load().unwrap().held(), Some(&second));
}

proptest! {
    #[test]
    fn bytes_of_strangers_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let authority = Authority::generate().unwrap();
        prop_assert!(SignedRecovery::verify(&bytes, authority.certificate()).is_err());
    }
}

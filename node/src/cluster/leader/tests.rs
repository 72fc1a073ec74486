//! How claims to lead are confirmed.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use meshos_protocol::ids::{Fence, NodeId, Term};

use super::{
    Claim,
    claims::{AT_ONCE_MAX, Claims, Confirm, Confirmed},
    confirm,
    voters::KnownVoters,
};
use crate::net::{
    Limits, Target,
    testing::{Authority, CLUSTER, TestNode, in_time},
};
use meshos_protocol::messages::node::{Announcement, Reply, Request};

fn node(number: u64) -> NodeId {
    NodeId::from_bits(number)
}

fn claim(term: u64, leader: u64) -> Claim {
    Claim { term: Term(term), leader: node(leader), address: "127.0.0.1:1".into() }
}

fn announcement(claim: &Claim) -> Announcement {
    Announcement {
        fence: Fence { cluster: CLUSTER, term: claim.term },
        leader: claim.leader,
        agent_address: claim.address.clone(),
        http_address: String::new(),
        voters: Vec::new(),
        recovery: Vec::new(),
    }
}

/// Confirms what is true, at the second attempt.
#[derive(Clone)]
struct Truth {
    of: Arc<BTreeMap<(Term, NodeId), AtomicUsize>>,
}

impl Truth {
    fn new(truths: &[(u64, u64)]) -> Self {
        let attempts =
            |(term, leader): &(u64, u64)| ((Term(*term), node(*leader)), AtomicUsize::new(0));
        Self { of: Arc::new(truths.iter().map(attempts).collect()) }
    }

    fn attempts(&self, term: u64, leader: u64) -> usize {
        self.of[&(Term(term), node(leader))].load(Ordering::Relaxed)
    }
}

impl Confirm for Truth {
    async fn confirm(&self, claim: &Claim) -> Option<Confirmed> {
        let attempts = self.of.get(&(claim.term, claim.leader))?;
        (attempts.fetch_add(1, Ordering::Relaxed) > 0)
            .then(|| Confirmed { announcement: announcement(claim), basis: 0 })
    }
}

async fn confirmed(claims: &mut Claims<Truth>) -> (Term, NodeId) {
    let settled = in_time("a claim is settled", claims.settled()).await;
    let announcement = settled.expect("it is confirmed").announcement;
    (announcement.fence.term, announcement.leader)
}

#[tokio::test]
async fn a_bogus_claim_of_a_high_term_hides_no_true_one() {
    let mut claims = Claims::new(Truth::new(&[(5, 1)]));
    claims.take(claim(99, 2));
    claims.take(claim(99, 1));
    claims.take(claim(5, 1));
    claims.take(claim(4, 1));
    assert_eq!(confirmed(&mut claims).await, (Term(5), node(1)));
}

#[tokio::test]
async fn a_flood_of_bogus_claims_hides_no_true_one_either() {
    let mut claims = Claims::new(Truth::new(&[(5, 1)]));
    // Each node claims for itself; two of them lie as often as they can.
    let bogus = |number: u64| claim(1_000 + number, 2 + number % 2);
    (0..200).map(bogus).for_each(|bogus| claims.take(bogus));
    claims.take(claim(5, 1));
    (200..1_000).map(bogus).for_each(|bogus| claims.take(bogus));
    assert_eq!(confirmed(&mut claims).await, (Term(5), node(1)));
}

#[tokio::test]
async fn a_crowd_of_old_claims_makes_room_for_new_ones() {
    let mut claims = Claims::new(Truth::new(&[(5, 1)]));
    (2..2 + AT_ONCE_MAX as u64).for_each(|number| claims.take(claim(9, number)));
    claims.take(claim(5, 1));
    assert_eq!(confirmed(&mut claims).await, (Term(5), node(1)));
}

#[tokio::test]
async fn a_claim_is_confirmed_once_however_often_it_is_made() {
    let truth = Truth::new(&[(5, 1), (6, 2)]);
    let mut claims = Claims::new(truth.clone());
    (0..10).for_each(|_| claims.take(claim(5, 1)));
    assert_eq!(confirmed(&mut claims).await, (Term(5), node(1)));
    assert_eq!(truth.attempts(5, 1), 2);
    claims.take(claim(6, 2));
    assert_eq!(confirmed(&mut claims).await, (Term(6), node(2)));
}

#[tokio::test]
async fn claims_below_a_followed_leader_are_given_up() {
    let mut claims = Claims::new(Truth::new(&[(5, 1), (6, 2), (7, 3)]));
    [(5, 1), (6, 2), (7, 3)]
        .into_iter()
        .for_each(|(term, leader)| claims.take(claim(term, leader)));
    claims.give_up_to(Term(6));
    assert_eq!(confirmed(&mut claims).await, (Term(7), node(3)));
    let nothing = tokio::time::timeout(Duration::from_millis(300), claims.settled()).await;
    assert!(nothing.is_err(), "{nothing:?}");
}

/// Else whoever waits for it would not ask the voters again.
#[tokio::test]
async fn a_claim_that_is_given_up_is_told_and_may_be_made_again() {
    let truth = Truth::new(&[(5, 1)]);
    let mut claims = Claims::giving_up_after(Duration::from_millis(300), truth);
    for _ in 0..2 {
        claims.take(claim(9, 2));
        assert!(in_time("it is given up", claims.settled()).await.is_none());
        assert_eq!(claims.gave_up(), Some((Term(9), node(2))));
    }
    claims.take(claim(5, 1));
    assert!(in_time("it is confirmed", claims.settled()).await.is_some());
}

/// Voters over real QUIC; each answers as it is told to, or is not there.
struct Voters {
    asker: TestNode,
    nodes: Vec<TestNode>,
    targets: Vec<Target>,
}

impl Voters {
    fn new(answers: &[Option<bool>]) -> Self {
        let authority = Authority::new();
        let asker = TestNode::start(&authority, 100, Limits::default());
        let mut voters = Self { asker, nodes: Vec::new(), targets: Vec::new() };
        for (number, answer) in (1..).zip(answers) {
            let yes = answer.unwrap_or(false);
            let node =
                TestNode::answering(&authority, number, Limits::default(), move |_, asked| {
                    let expected = Request::ConfirmLeader { term: Term(3), leader: node(1) };
                    Reply::Confirmed { agrees: yes && asked == expected }
                });
            voters.targets.push(node.target());
            match answer {
                Some(_) => voters.nodes.push(node),
                None => node.stop(),
            }
        }
        voters
    }

    async fn confirm(&self, own: bool, targets: &[Target], term: u64) -> bool {
        let net = &self.asker.net;
        let asked = confirm::by_majority(net, own, targets, Term(term), node(1));
        in_time("the voters answer", asked).await
    }
}

#[tokio::test]
async fn more_than_half_of_the_voters_must_agree() {
    const YES: Option<bool> = Some(true);
    const NO: Option<bool> = Some(false);
    let table: [(&[Option<bool>], bool); 7] = [
        (&[YES], true),
        (&[NO], false),
        (&[YES, YES, NO], true),
        (&[YES, NO, NO], false),
        (&[YES, YES, None], true),
        (&[YES, NO, None], false),
        (&[YES, YES, NO, NO], false),
    ];
    for (answers, expected) in table {
        let voters = Voters::new(answers);
        assert_eq!(voters.confirm(false, &voters.targets, 3).await, expected, "{answers:?}");
        assert!(!voters.confirm(false, &voters.targets, 4).await, "another term: {answers:?}");
    }
    let nobody = Voters::new(&[]);
    assert!(!nobody.confirm(true, &[], 3).await, "no voter is known");
}

#[tokio::test]
async fn a_voter_counts_itself() {
    let voters = Voters::new(&[Some(true), None]);
    let own = voters.asker.target();
    let targets: Vec<Target> = voters.targets.iter().cloned().chain([own]).collect();
    assert!(voters.confirm(true, &targets, 3).await);
    assert!(!voters.confirm(false, &targets, 3).await);
}

#[test]
fn voters_are_remembered_over_restarts_and_a_damaged_file_costs_only_that() {
    let directory = tempfile::tempdir().unwrap();
    let seeds = ["seed:5051".to_owned()];
    let addresses = |voters: &KnownVoters| -> Vec<String> {
        voters.targets().into_iter().map(|target| target.address).collect()
    };
    let mut voters = KnownVoters::load(directory.path(), &seeds);
    assert_eq!(addresses(&voters), ["seed:5051"]);
    voters.learn(&[(node(1), "a:5051".into()), (node(2), "b:5051".into())]).unwrap();
    voters.learn(&[]).unwrap();
    let again = KnownVoters::load(directory.path(), &seeds);
    assert_eq!(addresses(&again), ["a:5051", "b:5051"]);
    assert_eq!(again.targets()[0].node, Some(node(1)));

    let file = directory.path().join("voters");
    let whole = std::fs::read(&file).unwrap();
    for length in 0..whole.len() {
        std::fs::write(&file, &whole[..length]).unwrap();
        let torn = KnownVoters::load(directory.path(), &seeds);
        assert_eq!(addresses(&torn), ["seed:5051"], "{length} bytes");
    }
}

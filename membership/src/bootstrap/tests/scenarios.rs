//! One node, told what the others say.

use std::collections::BTreeSet;

use meshos_protocol::{
    codec,
    ids::{ClusterId, NodeId},
    time::Mono,
};

use crate::{
    bootstrap::{
        ANSWER_FRESH, Bootstrap, Decision, Effect, Event, Own, PROMISE, ProbeAnswer, ProbeRequest,
        Refusal, SeedAnswer, SeedList, SeedVoter, Waiting,
    },
    raft::Voter,
};

const SEEDS: [&str; 3] = ["a:1", "b:1", "c:1"];
const X: ClusterId = ClusterId::from_u128(7);
const Y: ClusterId = ClusterId::from_u128(8);

fn list() -> SeedList {
    SeedList::parse(SEEDS).unwrap()
}

fn voter(seed: &str, generation: u64) -> SeedVoter {
    let place = u64::from(seed.as_bytes()[0]);
    SeedVoter {
        raft_id: place * 100 + generation,
        node_id: NodeId::from_bits(place * 100 + generation),
        address: format!("{seed}-quic"),
    }
}

fn own(seed: &str) -> Own {
    Own {
        voter: voter(seed, 0),
        cluster_id: None,
        has_raft_state: false,
        seed: list().contains(seed).then(|| seed.to_owned()),
        first_start: true,
    }
}

fn empty(seed: &str, generation: u64) -> SeedAnswer {
    SeedAnswer::Empty {
        voter: voter(seed, generation),
        seeds: SEEDS.map(str::to_owned).to_vec(),
        own_seed: Some(seed.to_owned()),
    }
}

fn member(seed: &str, cluster_id: Option<ClusterId>, voters: &[SeedVoter]) -> SeedAnswer {
    SeedAnswer::Member {
        node_id: voter(seed, 0).node_id,
        cluster_id,
        voters: voters.to_vec(),
        leader: voters.first().cloned(),
    }
}

fn probe_of(seed: &str, generation: u64) -> ProbeRequest {
    ProbeRequest {
        version: 1,
        node_id: voter(seed, generation).node_id,
        seed: "asked".to_owned(),
        own_seed: Some(seed.to_owned()),
        seeds: SEEDS.map(str::to_owned).to_vec(),
        empty: true,
    }
}

/// A machine with a clock, and the number of its last probe.
struct Node {
    machine: Bootstrap,
    now: Mono,
    probe: u64,
}

impl Node {
    fn new(own: Own, seeds: SeedList) -> (Self, Vec<Effect>) {
        let mut node = Self { machine: Bootstrap::new(own, seeds), now: Mono(1_000), probe: 0 };
        let effects = node.hand(Event::Started);
        (node, effects)
    }

    fn seed(seed: &str) -> Self {
        Self::new(own(seed), list()).0
    }

    fn hand(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.machine.handle(self.now, event, &mut effects);
        for effect in &effects {
            if let Effect::Probe { probe, .. } = effect {
                self.probe = *probe;
            }
        }
        effects
    }

    fn answer(&mut self, seed: &str, answer: SeedAnswer) -> Vec<Effect> {
        let probe = self.probe;
        self.hand(Event::Answered { seed: seed.to_owned(), probe, answer })
    }

    fn tick_after(&mut self, after: std::time::Duration) -> Vec<Effect> {
        self.now = self.now.after(after);
        self.hand(Event::Tick)
    }
}

fn decided(effects: &[Effect]) -> Option<&Decision> {
    effects.iter().rev().find_map(|effect| match effect {
        Effect::Decided(decision) => Some(decision),
        _ => None,
    })
}

fn waiting(effects: &[Effect]) -> &[Waiting] {
    let reasons = effects.iter().rev().find_map(|effect| match effect {
        Effect::WaitingFor(waiting) => Some(waiting.as_slice()),
        _ => None,
    });
    reasons.unwrap_or_else(|| panic!("no reason is given: {effects:?}"))
}

fn voters(seeds: &[&str]) -> Vec<Voter> {
    seeds.iter().map(|seed| voter(seed, 0).into()).collect()
}

#[test]
fn the_first_begins_when_all_are_ready() {
    let (mut a, effects) = Node::new(own("a:1"), list());
    let probed = effects.iter().filter(|effect| matches!(effect, Effect::Probe { .. })).count();
    assert_eq!(probed, 2);
    assert_eq!(waiting(&effects).len(), 2);
    let effects = a.answer("b:1", empty("b:1", 0));
    assert_eq!(waiting(&effects)[0].seed, "c:1");
    let effects = a.answer("c:1", empty("c:1", 0));
    let members = voters(&SEEDS);
    assert_eq!(decided(&effects), Some(&Decision::Initialise { members: members.clone() }));
    // Said once; from now on it answers as a member.
    let effects = a.hand(Event::Probed(probe_of("b:1", 0)));
    let [Effect::Answer(SeedAnswer::Member { voters, cluster_id: None, .. })] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(voters.iter().cloned().map(Voter::from).collect::<Vec<_>>(), members);
    assert_eq!(a.machine.next_deadline(), None);
}

#[test]
fn the_others_wait_for_the_first_and_then_for_its_log() {
    let mut b = Node::seed("b:1");
    b.answer("a:1", empty("a:1", 0));
    let effects = b.answer("c:1", empty("c:1", 0));
    assert!(waiting(&effects)[0].reason.contains("a:1 to begin"), "{effects:?}");
    let everyone: Vec<_> = SEEDS.iter().map(|seed| voter(seed, 0)).collect();
    let effects = b.answer("a:1", member("a:1", None, &everyone));
    assert_eq!(decided(&effects), Some(&Decision::AwaitLog));
    assert!(effects.contains(&Effect::Admit(everyone.iter().map(|v| v.node_id).collect())));
    let group = Event::GroupChanged { voters: voters(&SEEDS), leader: None };
    assert_eq!(decided(&b.hand(group)), None);
    assert_eq!(b.machine.decided(), Some(&Decision::AwaitLog));
}

#[test]
fn an_old_answer_begins_nothing() {
    let mut a = Node::seed("a:1");
    a.answer("b:1", empty("b:1", 0));
    let old = a.probe;
    let effects = a.tick_after(ANSWER_FRESH + ANSWER_FRESH);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Probe { .. })));
    let effects = a.answer("c:1", empty("c:1", 0));
    assert_eq!(decided(&effects), None);
    // Neither does a late answer to an old probe.
    let late = Event::Answered { seed: "b:1".to_owned(), probe: old, answer: empty("b:1", 0) };
    assert_eq!(decided(&a.hand(late)), None);
    assert!(decided(&a.answer("b:1", empty("b:1", 0))).is_some());
}

#[test]
fn what_keeps_the_seeds_from_forming_is_said() {
    let mut a = Node::seed("a:1");
    let failed = |why: &str, refused| {
        let (seed, why) = ("b:1".to_owned(), why.to_owned());
        Event::Unreachable { seed, why, refused }
    };
    let effects = a.hand(failed("connection refused", false));
    assert!(waiting(&effects)[0].reason.contains("connection refused"), "{effects:?}");
    assert!(!waiting(&effects)[0].needs_operator);
    let effects = a.hand(failed("unknown issuer", true));
    assert!(waiting(&effects)[0].reason.contains("each other's certificates: unknown issuer"));
    assert!(waiting(&effects)[0].needs_operator, "the keys must be changed");
    let other_list = SeedAnswer::Empty {
        voter: voter("b:1", 0),
        seeds: vec!["b:1".to_owned()],
        own_seed: Some("b:1".to_owned()),
    };
    let effects = a.answer("b:1", other_list);
    assert!(waiting(&effects)[0].needs_operator && waiting(&effects)[0].reason.contains("same"));
    let elsewhere = SeedAnswer::Empty {
        voter: voter("b:1", 0),
        seeds: SEEDS.map(str::to_owned).to_vec(),
        own_seed: Some("c:1".to_owned()),
    };
    let effects = a.answer("b:1", elsewhere);
    assert!(waiting(&effects)[0].reason.contains("--advertise"), "{effects:?}");
    a.answer("b:1", empty("b:1", 0));
    let twin = SeedAnswer::Empty {
        voter: voter("b:1", 0),
        seeds: SEEDS.map(str::to_owned).to_vec(),
        own_seed: Some("c:1".to_owned()),
    };
    let effects = a.answer("c:1", twin);
    assert!(waiting(&effects)[0].reason.contains("identity"), "{effects:?}");
    let effects = a.answer("c:1", SeedAnswer::Unknown);
    assert!(waiting(&effects)[0].needs_operator);
}

#[test]
fn a_wiped_seed_joins_in_the_place_of_what_it_was() {
    let mut c = Node::new(Own { voter: voter("c:1", 1), ..own("c:1") }, list()).0;
    c.answer("b:1", empty("b:1", 0));
    let everyone: Vec<_> = SEEDS.iter().map(|seed| voter(seed, 0)).collect();
    let effects = c.answer("a:1", member("a:1", Some(X), &everyone));
    let Some(Decision::JoinAsLearner { via, cluster_id, replaces, .. }) = decided(&effects) else {
        panic!("{effects:?}");
    };
    assert_eq!((via.as_str(), *cluster_id), ("a:1", X));
    assert_eq!(*replaces, Some(voter("c:1", 0).into()));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Admit(_))));
}

#[test]
fn a_wiped_and_a_late_seed_form_nothing_while_the_third_is_down() {
    let mut a = Node::new(Own { voter: voter("a:1", 1), ..own("a:1") }, list()).0;
    let down = || Event::Unreachable {
        seed: "c:1".to_owned(),
        why: "no route".to_owned(),
        refused: false,
    };
    for _ in 0..100 {
        a.tick_after(ANSWER_FRESH);
        a.hand(down());
        assert_eq!(decided(&a.answer("b:1", empty("b:1", 0))), None);
    }
    // Then it comes back and knows.
    let everyone: Vec<_> = SEEDS.iter().map(|seed| voter(seed, 0)).collect();
    let effects = a.answer("c:1", member("c:1", Some(X), &everyone));
    assert!(matches!(decided(&effects), Some(Decision::JoinAsLearner { .. })), "{effects:?}");
    // And is wiped as well: nothing forms in this life of the process.
    let effects = a.answer("c:1", empty("c:1", 1));
    assert!(decided(&effects).is_none() && waiting(&effects)[0].needs_operator, "{effects:?}");
}

#[test]
fn gossip_of_a_cluster_stops_the_forming() {
    let mut a = Node::seed("a:1");
    a.hand(Event::ClusterSeen(X));
    a.answer("b:1", empty("b:1", 0));
    let effects = a.answer("c:1", empty("c:1", 0));
    assert!(waiting(&effects)[0].reason.contains(&X.to_string()), "{effects:?}");
    // It promises nobody its log either, and who asks is told why.
    let effects = a.hand(Event::Probed(probe_of("b:1", 0)));
    let sees = SeedAnswer::Sees { node_id: voter("a:1", 0).node_id, cluster_id: X };
    assert_eq!(effects, [Effect::Answer(sees.clone())]);
    let mut b = Node::seed("b:1");
    b.answer("c:1", empty("c:1", 0));
    let effects = b.answer("a:1", sees);
    let told = waiting(&effects)
        .iter()
        .any(|one| one.needs_operator && one.seed == "a:1" && one.reason.contains(&X.to_string()));
    assert!(told, "{effects:?}");
}

#[test]
fn of_two_clusters_the_one_that_gossip_knows_is_joined() {
    let voters = [voter("b:1", 0)];
    let mut a = Node::seed("a:1");
    a.hand(Event::ClusterSeen(X));
    let effects = a.answer("b:1", member("b:1", Some(Y), &voters));
    assert_eq!(decided(&effects), None, "{effects:?}");
    let told = |one: &Waiting| one.needs_operator && one.reason.contains(&Y.to_string());
    assert!(waiting(&effects).iter().any(told), "{effects:?}");
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Admit(_))), "{effects:?}");
    // A straggler of an older cluster keeps nobody out of one that lives.
    let effects = a.hand(Event::ClusterSeen(Y));
    assert!(
        matches!(decided(&effects), Some(Decision::JoinAsLearner { cluster_id, .. }) if *cluster_id == Y),
        "{effects:?}"
    );
}

#[test]
fn empty_is_a_promise_to_one_first_at_a_time() {
    let mut b = Node::seed("b:1");
    let effects = b.hand(Event::Probed(probe_of("a:1", 0)));
    let first = voter("a:1", 0).node_id;
    assert_eq!(effects[0], Effect::Admit(BTreeSet::from([first])));
    assert!(matches!(effects[1], Effect::Answer(SeedAnswer::Empty { .. })));
    let effects = b.hand(Event::Probed(probe_of("a:1", 1)));
    assert!(matches!(effects[0], Effect::Answer(SeedAnswer::Promised { .. })), "{effects:?}");
    // Others may ask; it promises them nothing.
    let effects = b.hand(Event::Probed(probe_of("c:1", 0)));
    assert!(matches!(effects[..], [Effect::Answer(SeedAnswer::Empty { .. })]), "{effects:?}");
    // A group that says that it exists does not break the promise.
    let everyone: Vec<_> = SEEDS.iter().map(|seed| voter(seed, 0)).collect();
    let effects = b.answer("c:1", member("c:1", None, &everyone));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Admit(_))), "{effects:?}");
    b.tick_after(PROMISE);
    let effects = b.hand(Event::Probed(probe_of("a:1", 1)));
    assert_eq!(effects[0], Effect::Admit(BTreeSet::from([voter("a:1", 1).node_id])));
}

#[test]
fn a_restarted_seed_promises_nothing_while_an_old_promise_may_hold() {
    let (mut b, _) = Node::new(Own { first_start: false, ..own("b:1") }, list());
    let effects = b.hand(Event::Probed(probe_of("a:1", 0)));
    assert!(matches!(effects[..], [Effect::Answer(SeedAnswer::Promised { .. })]), "{effects:?}");
    b.tick_after(PROMISE);
    let effects = b.hand(Event::Probed(probe_of("a:1", 0)));
    assert!(matches!(effects[1], Effect::Answer(SeedAnswer::Empty { .. })), "{effects:?}");
}

#[test]
fn a_node_with_a_log_asks_nobody() {
    let (node, effects) = Node::new(Own { has_raft_state: true, ..own("b:1") }, list());
    assert_eq!(effects, [Effect::Decided(Decision::AwaitLog)]);
    assert_eq!(node.machine.next_deadline(), None);
}

#[test]
fn without_seeds_it_is_a_cluster_of_one() {
    let alone = Own { seed: None, ..own("z:1") };
    let (_, effects) = Node::new(alone.clone(), SeedList::default());
    let members = vec![voter("z:1", 0).into()];
    assert_eq!(effects, [Effect::Decided(Decision::Initialise { members })]);
    let (_, effects) = Node::new(Own { cluster_id: Some(X), ..alone }, SeedList::default());
    assert_eq!(decided(&effects), Some(&Decision::Refuse(Refusal::NoSeeds { own: X })));
}

#[test]
fn a_node_that_is_no_seed_joins_what_the_seeds_know() {
    let (mut z, _) = Node::new(own("z:1"), list());
    let effects = z.answer("a:1", empty("a:1", 0));
    assert!(decided(&effects).is_none());
    assert!(decided(&z.answer("b:1", member("b:1", None, &[voter("b:1", 0)]))).is_none());
    let effects = z.answer("b:1", member("b:1", Some(X), &[voter("b:1", 0)]));
    let joined = Decision::JoinAsNode { via: "b:1".to_owned(), cluster_id: X };
    assert_eq!(decided(&effects), Some(&joined));
}

#[test]
fn a_node_that_starts_again_raises_no_alarm_before_the_seeds_have_answered() {
    let knows_x = Own { seed: None, cluster_id: Some(X), ..own("z:1") };
    let (mut node, effects) = Node::new(knows_x, list());
    assert!(waiting(&effects).iter().all(|one| !one.needs_operator), "{effects:?}");
    let mut effects = Vec::new();
    for seed in ["a:1", "b:1", "c:1"] {
        effects = node.answer(seed, empty(seed, 1));
    }
    let lost = |one: &Waiting| one.needs_operator && one.reason.contains("none does now");
    assert!(waiting(&effects).iter().any(lost), "{effects:?}");
}

#[test]
fn a_group_that_has_no_id_yet_is_waited_for_without_an_alarm() {
    let (mut node, _) = Node::new(own("z:1"), list());
    node.answer("b:1", empty("b:1", 0));
    node.answer("c:1", empty("c:1", 0));
    let effects = node.answer("a:1", member("a:1", None, &[voter("a:1", 0)]));
    assert_eq!(decided(&effects), None);
    let waiting = waiting(&effects);
    assert!(waiting.iter().any(|one| one.reason.contains("has no id yet")), "{waiting:?}");
    assert!(waiting.iter().all(|one| !one.needs_operator), "{waiting:?}");
}

#[test]
fn other_clusters_are_refused() {
    let knows_x = Own { cluster_id: Some(X), ..own("z:1") };
    let (mut z, _) = Node::new(knows_x.clone(), list());
    let effects = z.answer("a:1", member("a:1", Some(Y), &[voter("a:1", 0)]));
    assert!(
        matches!(decided(&effects), Some(Decision::Refuse(Refusal::OtherCluster { .. }))),
        "{effects:?}"
    );
    // One wrong seed beside a right one is passed over.
    let (mut z, _) = Node::new(knows_x, list());
    z.answer("b:1", member("b:1", Some(X), &[voter("b:1", 0)]));
    let effects = z.answer("a:1", member("a:1", Some(Y), &[voter("a:1", 0)]));
    assert!(decided(&effects).is_none());
    assert!(matches!(z.machine.decided(), Some(Decision::JoinAsNode { cluster_id: X, .. })));
    let mut c = Node::seed("c:1");
    c.answer("a:1", member("a:1", None, &[voter("a:1", 0)]));
    c.answer("b:1", member("b:1", Some(X), &[]));
    let effects = c.answer("a:1", member("a:1", Some(Y), &[voter("a:1", 0)]));
    assert!(
        matches!(decided(&effects), Some(Decision::Refuse(Refusal::ClustersDiffer { .. }))),
        "{effects:?}"
    );
}

/// The log brings the cluster's id and the group; which of them the machine hears of first is chance.
#[test]
fn a_seed_whose_log_has_just_come_has_not_lost_it() {
    let everyone: Vec<_> = SEEDS.iter().map(|seed| voter(seed, 0)).collect();
    let mut b = Node::seed("b:1");
    let effects = b.answer("a:1", member("a:1", None, &everyone));
    assert_eq!(decided(&effects), Some(&Decision::AwaitLog));
    let effects = b.hand(Event::ClusterKnown(X));
    assert_eq!(decided(&effects), None, "{effects:?}");
    let effects = b.answer("a:1", member("a:1", Some(X), &everyone));
    assert_eq!(decided(&effects), None, "{effects:?}");
    // Also when it had heard of no group yet.
    let mut b = Node::seed("b:1");
    b.hand(Event::ClusterKnown(X));
    let effects = b.answer("a:1", member("a:1", Some(X), &everyone));
    assert_eq!(b.machine.decided(), Some(&Decision::AwaitLog), "{effects:?}");
}

#[test]
fn a_voter_without_its_log_is_refused() {
    let (mut b, _) = Node::new(Own { cluster_id: Some(X), ..own("b:1") }, list());
    let everyone: Vec<_> = SEEDS.iter().map(|seed| voter(seed, 0)).collect();
    let effects = b.answer("a:1", member("a:1", Some(X), &everyone));
    assert_eq!(decided(&effects), Some(&Decision::Refuse(Refusal::LogLost)));
}

#[test]
fn messages_survive_the_wire_and_newer_answers_are_unknown() {
    let everyone: Vec<_> = SEEDS.iter().map(|seed| voter(seed, 0)).collect();
    let node_id = voter("a:1", 0).node_id;
    for answer in [
        empty("a:1", 0),
        member("a:1", Some(X), &everyone),
        SeedAnswer::Promised { node_id },
        SeedAnswer::Unknown,
    ] {
        let answer = ProbeAnswer { version: 1, answer };
        assert_eq!(codec::decode::<ProbeAnswer>(&codec::encode(&answer)).unwrap(), answer);
    }
    let probe = probe_of("a:1", 0);
    assert_eq!(codec::decode::<ProbeRequest>(&codec::encode(&probe)).unwrap(), probe);
    #[derive(serde::Serialize)]
    #[serde(tag = "state")]
    enum Newer {
        Merging { with: String },
    }
    let newer = codec::encode(&Newer::Merging { with: "another".to_owned() });
    assert_eq!(codec::decode::<SeedAnswer>(&newer).unwrap(), SeedAnswer::Unknown);
}

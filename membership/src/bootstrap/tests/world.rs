//! All seeds at once, with messages that are lost, late and repeated, and nodes that are killed,
//! restarted and wiped at any moment.
//!
//! Raft is reduced to what matters here: whoever holds a group's log offers it to the members by
//! raft id, an empty member that admits the sender takes it (a vote counts as taking), and who
//! hears from a majority leads.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use meshos_protocol::{
    ids::{ClusterId, NodeId},
    time::Mono,
};

use crate::{
    bootstrap::{
        Bootstrap, Decision, Effect, Event, Own, ProbeRequest, SeedAnswer, SeedList, SeedVoter,
    },
    raft::Voter,
};

/// Groups by who began them; each raft id begins at most one.
type Group = u64;

#[derive(Debug, Clone)]
enum Message {
    Probe { to: usize, from: usize, process: u64, probe: u64, request: ProbeRequest },
    Answer { to: usize, process: u64, seed: String, probe: u64, answer: SeedAnswer },
    Offer { to: usize, raft_id: u64, from: NodeId, from_place: usize, from_raft: u64, group: Group },
    Taken { to: usize, raft_id: u64, by: u64, group: Group },
}

/// What is on a seed's disk, and the process if one runs.
struct Seed {
    own: Own,
    log: Option<Group>,
    running: Option<Process>,
}

struct Process {
    number: u64,
    machine: Bootstrap,
    admitted: BTreeSet<NodeId>,
    /// Who told this holder of a log that it has it too.
    takers: BTreeSet<u64>,
}

struct Begun {
    members: Vec<Voter>,
    led: bool,
    /// The steps at which it began and at which it last led; 0 is never.
    at: u64,
    last_led: u64,
}

struct World {
    list: SeedList,
    seeds: Vec<Seed>,
    groups: BTreeMap<Group, Begun>,
    /// Groups in the order in which they began.
    order: Vec<Group>,
    messages: Vec<Message>,
    now: Mono,
    next_id: u64,
    /// Counts everything that happens.
    steps: u64,
}

impl World {
    fn new(count: usize) -> Self {
        let names: Vec<String> = (0..count).map(|place| format!("s{place}:1")).collect();
        let list = SeedList::parse(&names).unwrap();
        let mut world = Self {
            list,
            seeds: Vec::new(),
            groups: BTreeMap::new(),
            order: Vec::new(),
            messages: Vec::new(),
            now: Mono(1_000),
            next_id: 1,
            steps: 0,
        };
        for place in 0..count {
            let own = world.identity(place);
            world.seeds.push(Seed { own, log: None, running: None });
        }
        world
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn identity(&mut self, place: usize) -> Own {
        let id = self.id();
        let seed = self.list.iter().nth(place).unwrap().to_owned();
        let voter =
            SeedVoter { raft_id: id, node_id: NodeId::from_bits(id), address: seed.clone() };
        Own { voter, cluster_id: None, has_raft_state: false, seed: Some(seed), first_start: true }
    }

    fn place(&self, seed: &str) -> usize {
        self.list.iter().position(|listed| listed == seed).unwrap()
    }

    fn start(&mut self, place: usize) {
        if self.seeds[place].running.is_some() {
            return;
        }
        let number = self.id();
        let list = self.list.clone();
        let seed = &mut self.seeds[place];
        seed.own.has_raft_state = seed.log.is_some();
        let machine = Bootstrap::new(seed.own.clone(), list);
        seed.own.first_start = false;
        let (admitted, takers) = (BTreeSet::new(), BTreeSet::new());
        seed.running = Some(Process { number, machine, admitted, takers });
        self.hand(place, Event::Started);
        self.tell_group(place);
    }

    fn kill(&mut self, place: usize) {
        self.seeds[place].running = None;
    }

    fn wipe(&mut self, place: usize) {
        let own = self.identity(place);
        self.seeds[place] = Seed { own, log: None, running: None };
    }

    fn tell_group(&mut self, place: usize) {
        if let Some(group) = self.seeds[place].log {
            let voters = self.groups[&group].members.clone();
            self.hand(place, Event::GroupChanged { voters, leader: None });
        }
    }

    fn hand(&mut self, place: usize, event: Event) -> Option<SeedAnswer> {
        self.steps += 1;
        let mut effects = Vec::new();
        let now = self.now;
        let process = self.seeds[place].running.as_mut()?;
        process.machine.handle(now, event, &mut effects);
        let mut answer = None;
        for effect in effects {
            match effect {
                Effect::Probe { seed, probe, request } => {
                    let process = self.seeds[place].running.as_ref()?.number;
                    let to = self.place(&seed);
                    self.messages.push(Message::Probe { to, from: place, process, probe, request });
                }
                Effect::Answer(given) => answer = Some(given),
                Effect::Admit(nodes) => self.seeds[place].running.as_mut()?.admitted = nodes,
                Effect::Decided(Decision::Initialise { members }) => self.begin(place, members),
                Effect::Decided(Decision::JoinAsLearner { cluster_id, .. }) => {
                    self.seeds[place].own.cluster_id = Some(cluster_id);
                }
                Effect::Decided(_) | Effect::WaitingFor(_) => {}
            }
        }
        answer
    }

    fn begin(&mut self, place: usize, members: Vec<Voter>) {
        let group = self.seeds[place].own.voter.raft_id;
        for seed in &self.seeds {
            let held = seed.log.is_some_and(|held| self.groups[&held].led);
            assert!(!held, "a group begins while a seed holds the log of one that was led");
        }
        assert!(
            self.groups
                .insert(group, Begun { members, led: false, at: self.steps, last_led: 0 })
                .is_none()
        );
        self.order.push(group);
        self.seeds[place].log = Some(group);
        self.lead_if_majority(place);
    }

    fn lead_if_majority(&mut self, place: usize) {
        let seed = &self.seeds[place];
        let (Some(group), Some(process)) = (seed.log, &seed.running) else { return };
        let begun = &self.groups[&group];
        let members = begun.members.iter().map(|member| member.raft_id);
        let own = seed.own.voter.raft_id;
        let have = members.filter(|id| *id == own || process.takers.contains(id)).count();
        if 2 * have <= begun.members.len() {
            return;
        }
        let age = |group: Group| self.order.iter().position(|begun| *begun == group).unwrap();
        for (other, begun) in self.groups.iter().filter(|(other, _)| **other != group) {
            // An older group was over when this one began, or this one is the older and the
            // other must never have led.
            let over = age(*other) < age(group) && begun.last_led < self.groups[&group].at;
            assert!(begun.last_led == 0 || over, "two groups are led");
        }
        let step = self.steps;
        let begun = self.groups.get_mut(&group).unwrap();
        begun.led = true;
        begun.last_led = step;
    }

    fn deliver(&mut self, message: Message) {
        self.steps += 1;
        match message {
            Message::Probe { to, from, process, probe, request } => {
                let seed = request.seed.clone();
                if let Some(answer) = self.hand(to, Event::Probed(request)) {
                    self.messages.push(Message::Answer { to: from, process, seed, probe, answer });
                }
            }
            Message::Answer { to, process, seed, probe, answer } => {
                // An answer comes back on the stream of the process that asked.
                if self.seeds[to].running.as_ref().is_some_and(|now| now.number == process) {
                    self.hand(to, Event::Answered { seed, probe, answer });
                }
            }
            Message::Offer { to, raft_id, from, from_place, from_raft, group } => {
                let seed = &mut self.seeds[to];
                let Some(process) = &seed.running else { return };
                if seed.own.voter.raft_id != raft_id {
                    return;
                }
                if seed.log.is_none() && process.admitted.contains(&from) {
                    seed.log = Some(group);
                    self.tell_group(to);
                }
                if self.seeds[to].log == Some(group) {
                    let by = raft_id;
                    let raft_id = from_raft;
                    self.messages.push(Message::Taken { to: from_place, raft_id, by, group });
                }
            }
            Message::Taken { to, raft_id, by, group } => {
                let seed = &mut self.seeds[to];
                if seed.own.voter.raft_id == raft_id
                    && seed.log == Some(group)
                    && let Some(process) = &mut seed.running
                {
                    process.takers.insert(by);
                    self.lead_if_majority(to);
                }
            }
        }
    }

    fn offer(&mut self, place: usize) {
        let seed = &self.seeds[place];
        let (Some(group), Some(_)) = (seed.log, &seed.running) else { return };
        let SeedVoter { raft_id: from_raft, node_id: from, .. } = seed.own.voter.clone();
        let members = self.groups[&group].members.clone();
        for member in members.iter().filter(|member| member.raft_id != from_raft) {
            let to = self.place(&member.address);
            let raft_id = member.raft_id;
            let from_place = place;
            self.messages.push(Message::Offer { to, raft_id, from, from_place, from_raft, group });
        }
    }

    /// A led group's id reaches one of those who have its log.
    fn tell_cluster(&mut self, place: usize) {
        let Some(group) = self.seeds[place].log else { return };
        if self.groups[&group].led && self.seeds[place].running.is_some() {
            let cluster_id = ClusterId::from_u128(u128::from(group));
            self.seeds[place].own.cluster_id = Some(cluster_id);
            self.hand(place, Event::ClusterKnown(cluster_id));
        }
    }

    fn step(&mut self, chance: &mut Chance, habits: &Habits) {
        // The first seed matters most.
        let place = if chance.below(3) == 0 { 0 } else { chance.below(self.seeds.len()) };
        match habits.pick(chance) {
            Action::Deliver => {
                if let Some(pick) = self.pick_message(chance, habits) {
                    let message = self.messages.swap_remove(pick);
                    self.deliver(message);
                }
            }
            Action::DeliverTwice => {
                if let Some(pick) = self.pick_message(chance, habits) {
                    let message = self.messages[pick].clone();
                    self.deliver(message);
                }
            }
            Action::Lose => {
                if let Some(pick) = self.pick_message(chance, habits) {
                    drop(self.messages.swap_remove(pick));
                }
            }
            Action::Kill => self.kill(place),
            Action::Wipe => self.wipe(place),
            Action::Start => self.start(place),
            Action::Wait => {
                let wait = chance.below(4_000);
                self.now = self.now.after(Duration::from_millis(wait.try_into().unwrap()));
            }
            Action::Offer => self.offer(place),
            Action::TellCluster => self.tell_cluster(place),
            Action::Tick => {
                self.now = self.now.after(Duration::from_millis(50));
                self.hand(place, Event::Tick);
            }
        }
        // Nothing waits for ever; the oldest are lost.
        if self.messages.len() > 400 {
            self.messages.drain(..100);
        }
    }

    /// One of the messages on their way; some kinds are held back for as long as this run likes.
    fn pick_message(&self, chance: &mut Chance, habits: &Habits) -> Option<usize> {
        if self.messages.is_empty() {
            return None;
        }
        let pick = chance.below(self.messages.len());
        let patience = match &self.messages[pick] {
            Message::Probe { .. } => habits.slow[0],
            Message::Answer { .. } => habits.slow[1],
            Message::Offer { .. } => habits.slow[2],
            Message::Taken { .. } => habits.slow[3],
        };
        (chance.below(patience) == 0).then_some(pick)
    }

    /// No more faults: everyone runs, everything arrives. Returns the groups that lead.
    fn settle(&mut self) -> Vec<Group> {
        for place in 0..self.seeds.len() {
            self.start(place);
        }
        for _ in 0..40 {
            self.now = self.now.after(Duration::from_millis(250));
            for place in 0..self.seeds.len() {
                self.hand(place, Event::Tick);
                self.offer(place);
            }
            while let Some(message) = self.messages.pop() {
                self.deliver(message);
            }
        }
        self.order.iter().copied().filter(|group| self.groups[group].led).collect()
    }
}

/// A small generator (splitmix64): the same run for the same seed, everywhere.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        usize::try_from(bits % u64::try_from(bound).unwrap()).unwrap()
    }
}

#[derive(Debug, Clone, Copy)]
enum Action {
    Deliver,
    DeliverTwice,
    Lose,
    Kill,
    Wipe,
    Start,
    Wait,
    Offer,
    TellCluster,
    Tick,
}

/// What happens how often in one run. Runs differ much: one where every fault is as likely as
/// every other finds less than one that is nearly all of one kind.
struct Habits {
    weights: Vec<(Action, usize)>,
    /// Of how many tries to deliver a probe, an answer, an offer or a taking one succeeds.
    slow: [usize; 4],
}

impl Habits {
    fn new(chance: &mut Chance) -> Self {
        let mut weights = vec![(Action::Deliver, 60), (Action::Tick, 20), (Action::Start, 12)];
        for (action, most) in [
            (Action::DeliverTwice, 12),
            (Action::Lose, 12),
            (Action::Kill, 5),
            (Action::Wipe, 5),
            (Action::Wait, 6),
            (Action::Offer, 20),
            (Action::TellCluster, 6),
        ] {
            weights.push((action, chance.below(most + 1)));
        }
        let slow = [(); 4].map(|()| [1, 1, 4, 30][chance.below(4)]);
        Self { weights, slow }
    }

    fn pick(&self, chance: &mut Chance) -> Action {
        let total = self.weights.iter().map(|(_, weight)| weight).sum();
        let mut left = chance.below(total);
        for (action, weight) in &self.weights {
            if left < *weight {
                return *action;
            }
            left -= weight;
        }
        Action::Tick
    }
}

/// What came of many runs, so that a test can show that it tested something.
#[derive(Default)]
struct Tally {
    led: usize,
    runs_with_several: usize,
}

fn run_all(count: usize, runs: u64) -> Tally {
    let mut tally = Tally::default();
    for seed in 0..runs {
        let outcome = std::panic::catch_unwind(|| run(count, seed));
        let (begun, led) = outcome.unwrap_or_else(|_| panic!("{count} seeds, run {seed}"));
        tally.led += led;
        tally.runs_with_several += usize::from(begun > 1);
    }
    tally
}

fn run(count: usize, seed: u64) -> (usize, usize) {
    let mut chance = Chance(seed);
    let habits = Habits::new(&mut chance);
    let mut world = World::new(count);
    for _ in 0..chance.below(1_500) {
        world.step(&mut chance, &habits);
    }
    let led = world.settle().len();
    (world.order.len(), led)
}

#[test]
fn fresh_seeds_form_one_group() {
    for count in [1, 3, 5, 7] {
        let mut world = World::new(count);
        assert_eq!(world.settle().len(), 1, "{count} seeds");
        let group = world.order[0];
        assert!(world.seeds.iter().all(|seed| seed.log == Some(group)));
    }
}

#[test]
fn seeds_killed_while_they_form_form_all_the_same() {
    // The first dies right after it began, or just before; everyone restarts again and again.
    for killed_after in 0..60 {
        let mut world = World::new(3);
        for place in 0..3 {
            world.start(place);
        }
        for step in 0..killed_after {
            world.now = world.now.after(Duration::from_millis(100));
            world.hand(step % 3, Event::Tick);
            if !world.messages.is_empty() {
                let message = world.messages.remove(0);
                world.deliver(message);
            }
        }
        world.kill(0);
        world.kill(killed_after % 3);
        assert_eq!(world.settle().len(), 1, "killed after {killed_after} steps");
    }
}

/// Delivers the first message that fits.
fn deliver(world: &mut World, what: &str, fits: impl Fn(&Message) -> bool) {
    let pick = world.messages.iter().position(fits);
    let pick = pick.unwrap_or_else(|| panic!("no message is {what}: {:?}", world.messages));
    let message = world.messages.remove(pick);
    world.deliver(message);
}

fn deliver_probe(world: &mut World, from: usize, to: usize) {
    deliver(
        world,
        "a probe",
        |message| matches!(message, Message::Probe { to: t, from: f, .. } if (*f, *t) == (from, to)),
    );
}

fn deliver_answer(world: &mut World, from: usize, to: usize) {
    let seed = format!("s{from}:1");
    deliver(
        world,
        "an answer",
        |message| matches!(message, Message::Answer { to: t, seed: s, .. } if *t == to && *s == seed),
    );
}

fn deliver_offer(world: &mut World, from: usize, to: usize) {
    deliver(
        world,
        "an offer",
        |message| matches!(message, Message::Offer { to: t, from_place, .. } if (*from_place, *t) == (from, to)),
    );
}

/// Seed 0 began a group that it leads with seed 2; seed 1 has not heard of it, but word of it and
/// the log itself are on their way from 2 to 1. Then 0 is wiped, comes back, and asks 1.
fn led_group_whose_first_is_wiped() -> World {
    let mut world = World::new(3);
    for place in [1, 2, 0] {
        world.start(place);
    }
    for other in [1, 2] {
        deliver_probe(&mut world, 0, other);
        deliver_answer(&mut world, other, 0);
    }
    world.offer(0);
    deliver_offer(&mut world, 0, 2);
    deliver(&mut world, "a taking", |message| matches!(message, Message::Taken { to: 0, .. }));
    assert!(world.groups[&world.order[0]].led);
    world.wipe(0);
    world.messages.retain(|message| matches!(message, Message::Probe { from: 1, to: 2, .. }));
    deliver_probe(&mut world, 1, 2);
    world.offer(2);
    // Promises of seed 1 to what seed 0 was have run out by now.
    world.now = world.now.after(crate::bootstrap::PROMISE);
    world.start(0);
    deliver_probe(&mut world, 0, 1);
    deliver_answer(&mut world, 1, 0);
    world
}

/// Seed 2 is wiped at last, and the new first hears from all that they are empty.
fn wipe_the_last_holder(world: &mut World) {
    world.wipe(2);
    world.start(2);
    world.hand(0, Event::Tick);
    world.messages.retain(|message| matches!(message, Message::Probe { from: 0, to: 2, .. }));
    deliver_probe(world, 0, 2);
    deliver_answer(world, 2, 0);
}

#[test]
fn a_seed_that_said_empty_does_not_take_an_older_log_behind_the_back_of_the_first() {
    let mut world = led_group_whose_first_is_wiped();
    deliver_answer(&mut world, 2, 1);
    deliver_offer(&mut world, 2, 1);
    assert_eq!(world.seeds[1].log, None, "the promise is broken");
    // Would it have been, a group would begin here beside the log of one that was led.
    wipe_the_last_holder(&mut world);
    assert_eq!(world.order.len(), 2);
    assert!(world.seeds[1].log.is_none() && world.seeds[2].log.is_none());
}

#[test]
fn a_restart_does_not_make_a_seed_forget_its_promise_too_soon() {
    let mut world = led_group_whose_first_is_wiped();
    world.kill(1);
    world.messages.retain(|message| !matches!(message, Message::Answer { to: 1, .. }));
    world.start(1);
    deliver_probe(&mut world, 1, 2);
    deliver_answer(&mut world, 2, 1);
    deliver_offer(&mut world, 2, 1);
    assert_eq!(world.seeds[1].log, None, "the promise is forgotten");
    // When it has run out, the log comes as it should.
    world.now = world.now.after(crate::bootstrap::PROMISE);
    world.hand(1, Event::Tick);
    deliver_probe(&mut world, 1, 2);
    deliver_answer(&mut world, 2, 1);
    world.offer(2);
    deliver_offer(&mut world, 2, 1);
    assert_eq!(world.seeds[1].log, world.seeds[2].log);
}

#[test]
fn faults_never_lead_to_two_groups() {
    for (count, runs, twice) in [(3, 3_000, 100), (5, 2_000, 5)] {
        let Tally { led, runs_with_several } = run_all(count, runs);
        // A world in which nothing forms would prove nothing.
        assert!(led > 500, "{count} seeds: only {led} groups were led");
        let several = runs_with_several;
        assert!(several > twice, "{count} seeds: only in {several} runs a second group began");
    }
}

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
use proptest::prelude::*;

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

    fn step(&mut self, action: u8, choice: u16) {
        let place = usize::from(choice) % self.seeds.len();
        let pick = (!self.messages.is_empty()).then(|| usize::from(choice) % self.messages.len());
        match (action % 32, pick) {
            (0..=15, Some(pick)) => {
                let message = self.messages.swap_remove(pick);
                self.deliver(message);
            }
            // Delivered, and once more later.
            (16, Some(pick)) => {
                let message = self.messages[pick].clone();
                self.deliver(message);
            }
            (17, Some(pick)) => drop(self.messages.swap_remove(pick)),
            (18, _) => self.kill(place),
            (19, _) => self.wipe(place),
            (20..=22, _) => self.start(place),
            (23, _) => {
                self.now = self.now.after(Duration::from_millis(u64::from(choice % 4_000)));
            }
            (24..=27, _) => self.offer(place),
            (28, _) => self.tell_cluster(place),
            _ => {
                self.now = self.now.after(Duration::from_millis(100));
                self.hand(place, Event::Tick);
            }
        }
        // Nothing waits for ever; the oldest are lost.
        if self.messages.len() > 400 {
            self.messages.drain(..100);
        }
    }

    /// No more faults: everyone runs, everything arrives. Returns the groups that lead.
    fn settle(&mut self) -> Vec<Group> {
        for place in 0..self.seeds.len() {
            self.start(place);
        }
        for _ in 0..200 {
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

fn run(count: usize, actions: &[(u8, u16)]) {
    let mut world = World::new(count);
    for (action, choice) in actions {
        world.step(*action, *choice);
    }
    world.settle();
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn three_seeds_never_have_two_led_groups(
        actions in proptest::collection::vec(any::<(u8, u16)>(), 0..1_500)
    ) {
        run(3, &actions);
    }

    #[test]
    fn five_seeds_never_have_two_led_groups(
        actions in proptest::collection::vec(any::<(u8, u16)>(), 0..2_000)
    ) {
        run(5, &actions);
    }
}

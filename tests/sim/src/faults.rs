//! What goes wrong, dealt out by the dice.

use meshos_protocol::ids::NodeId;

use crate::{
    net::Host,
    operators::an_operator_calls,
    world::{Happening, World},
};

/// Something that goes wrong.
type Fault = fn(&mut World);

/// What can go wrong, and how often compared to the others.
const FAULTS: &[(u64, Fault)] = &[
    (20, kill_a_node),
    (15, kill_the_leader),
    (6, switch_a_machine_off),
    (8, kill_a_launcher),
    (8, elect_another_leader),
    (12, cut_the_network),
    (8, isolate_the_leader),
    (8, set_a_clock),
    (8, slow_a_disk_down),
    (3, fill_a_disk),
    (12, break_a_stream),
    (6, crash_a_framework),
    (6, move_a_framework),
    (5, gossip_a_rumour),
    (30, an_operator_calls),
];

impl World {
    /// Lets one thing go wrong and plans the next.
    pub fn fault(&mut self) {
        if !self.faults {
            return;
        }
        let total: u64 = FAULTS.iter().map(|(weight, _)| weight).sum();
        let mut draw = self.dice.number(0..=total - 1);
        for (weight, fault) in FAULTS {
            if draw < *weight {
                fault(self);
                break;
            }
            draw -= weight;
        }
        self.executors_fail();
        let delay = self.dice.skewed(50..=4_000);
        self.plan(delay, Happening::Fault);
    }

    /// Drawn apart, so that clusters without executors live as they did before there were any.
    fn executors_fail(&mut self) {
        if !self.drivers.iter().any(|driver| driver.setup.executors) {
            return;
        }
        match self.dice.number(0..=9) {
            0 => kill_an_executor(self),
            1 => cut_an_executor_off(self),
            2 => start_an_executor_anew(self),
            _ => {}
        }
    }

    /// Kills a node's process and starts it again after a while.
    pub fn kill_node(&mut self, node: usize, for_ms: u64) {
        self.crash_node(node);
        self.plan_restart(node, for_ms);
    }

    /// Switches a machine off and on again after a while.
    pub fn reboot_machine(&mut self, node: usize, for_ms: u64) {
        self.crash_machine(node);
        self.plan_restart(node, for_ms);
    }

    fn plan_restart(&mut self, node: usize, for_ms: u64) {
        let noticed = self.dice.number(500..=2_500);
        self.plan(noticed, Happening::Gossip { node, alive: false });
        self.plan(for_ms, Happening::NodeStarts { node });
        let noticed = self.dice.number(200..=2_000);
        self.plan(for_ms + noticed, Happening::Gossip { node, alive: true });
    }

    /// The newest leader's node.
    pub fn leader(&self) -> Option<usize> {
        let (term, node) = self.raft.leader?;
        (self.term_led_by(node) == Some(term)).then_some(node)
    }

    fn any_node(&mut self) -> usize {
        self.dice.index(self.nodes.len())
    }
}

impl World {
    /// In the middle of a drain the leader changes, or the node or its leader dies, one or more of it.
    pub fn disturb_a_drain(&mut self, drained: NodeId) {
        for _ in 0..=self.dice.index(3) {
            let for_ms = self.dice.skewed(100..=4_000);
            match self.dice.index(4) {
                0 => elect_another_leader(self),
                1 => kill_the_leader(self),
                2 => {
                    if let Some(node) = self.nodes.iter().position(|node| node.id == drained) {
                        self.kill_node(node, for_ms);
                    }
                }
                _ => crash_a_framework(self),
            }
            let pause = self.dice.skewed(1..=1_500);
            self.run_ms(pause);
        }
    }
}

fn kill_a_node(world: &mut World) {
    let node = world.any_node();
    let for_ms = world.dice.skewed(100..=30_000);
    world.kill_node(node, for_ms);
}

fn kill_the_leader(world: &mut World) {
    if let Some(node) = world.leader() {
        let for_ms = world.dice.skewed(100..=12_000);
        world.kill_node(node, for_ms);
    }
}

fn switch_a_machine_off(world: &mut World) {
    let node = world.any_node();
    let for_ms = world.dice.skewed(1_000..=40_000);
    world.reboot_machine(node, for_ms);
}

fn kill_a_launcher(world: &mut World) {
    let node = world.any_node();
    let for_ms = world.dice.number(50..=1_500);
    world.kill_launcher(node, for_ms);
    if world.dice.chance(300) {
        world.kill_node(node, for_ms);
    }
}

/// The leader before goes on until its lease runs out: two masters at once.
fn elect_another_leader(world: &mut World) {
    let leader = world.leader();
    world.elect_someone(leader);
}

fn cut_the_network(world: &mut World) {
    for node in 0..world.nodes.len() {
        let group = u8::from(world.dice.chance(300));
        world.net.set_group(Host::Node(node), group);
    }
    for driver in 0..world.drivers.len() {
        let group = u8::from(world.dice.chance(300));
        world.net.set_group(Host::Driver(driver), group);
    }
    end_partition_later(world);
}

fn isolate_the_leader(world: &mut World) {
    if let Some(node) = world.leader() {
        world.net.set_group(Host::Node(node), 1);
        end_partition_later(world);
    }
}

fn end_partition_later(world: &mut World) {
    let for_ms = world.dice.skewed(300..=15_000);
    world.note(format_args!("the network is cut for {for_ms} ms"));
    world.plan(for_ms, Happening::Heal);
}

/// A clock on the wall jumps: mostly by up to an hour, at times by weeks or by decades.
fn set_a_clock(world: &mut World) {
    const HOUR_MS: u64 = 3_600_000;
    let node = world.any_node();
    let most = match world.dice.number(0..=9) {
        0 => 30 * 365 * 24 * HOUR_MS,
        1 | 2 => 40 * 24 * HOUR_MS,
        _ => HOUR_MS,
    };
    let jump = i64::try_from(world.dice.number(0..=2 * most)).unwrap_or(0);
    world.nodes[node].skew_ms = jump - i64::try_from(most).unwrap_or(0);
}

fn slow_a_disk_down(world: &mut World) {
    let node = world.any_node();
    world.nodes[node].disk_factor = world.dice.number(5..=100);
    let for_ms = world.dice.number(500..=5_000);
    world.plan(for_ms, Happening::DiskRecovers { node });
}

/// The disk refuses writes; the node goes on for a little and is then started again.
fn fill_a_disk(world: &mut World) {
    let node = world.any_node();
    world.note(format_args!("the disk of n{node} is full"));
    world.nodes[node].disk.crash(0);
    world.nodes[node].disk_refused = true;
    let why = "no space left on device".to_owned();
    world.agent_event(node, meshos_control::agent::Event::StorageFailed { why });
    let until = world.now_ms + world.dice.number(100..=3_000);
    world.plan_at(until, Happening::NodeDies { node, generation: world.nodes[node].generation });
}

fn break_a_stream(world: &mut World) {
    let streams = world.net.ids();
    if let Some(stream) = world.dice.pick(&streams).copied() {
        world.note(format_args!("stream {stream} breaks"));
        world.reset(stream);
    }
}

fn crash_a_framework(world: &mut World) {
    if !world.drivers.is_empty() {
        let driver = world.dice.index(world.drivers.len());
        let for_ms = world.dice.skewed(50..=10_000);
        world.crash_driver(driver, for_ms);
    }
}

fn move_a_framework(world: &mut World) {
    if !world.drivers.is_empty() {
        let driver = world.dice.index(world.drivers.len());
        world.move_driver(driver);
    }
}

fn kill_an_executor(world: &mut World) {
    let running = world.running_executors();
    if let Some((node, container)) = world.dice.pick(&running).cloned() {
        let exit = meshos_protocol::task::Exit::Signal { signal: 9 };
        world.note(format_args!("executor {container} of n{node} is killed"));
        world.container_ends(node, container, exit);
    }
}

fn cut_an_executor_off(world: &mut World) {
    let running = world.running_executors();
    if let Some((node, container)) = world.dice.pick(&running).cloned() {
        world.note(format_args!("executor {container} of n{node} is cut off"));
        world.cut_an_executor(node, &container);
    }
}

fn start_an_executor_anew(world: &mut World) {
    let running = world.running_executors();
    if let Some((node, container)) = world.dice.pick(&running).cloned() {
        world.note(format_args!("the program of executor {container} of n{node} starts anew"));
        world.start_executor_anew(node, &container);
    }
}

fn gossip_a_rumour(world: &mut World) {
    let node = world.any_node();
    let alive = world.dice.chance(300);
    world.gossip(node, alive);
}

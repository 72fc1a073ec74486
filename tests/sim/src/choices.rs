//! What the modelled frameworks do of their own accord: which offers they use, for what, and the
//! odd things that a restless one does.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    executor::ExecutorInfo,
    framework::Offer,
    ids::{AgentId, TaskId},
    messages::scheduler::{Accept, Call, UpdateFramework},
    resources::Resources,
    role::Role,
    task::{Command, CommandLine, TaskDescription},
};

use crate::{
    driver::{Act, Belief},
    executors,
    world::World,
};

impl World {
    /// What a framework does now and then: asks again, kills, revives.
    pub(crate) fn driver_fidgets(&mut self, index: usize) {
        let live: Vec<TaskId> = {
            let beliefs = self.drivers[index].beliefs.iter();
            beliefs.filter(|(_, belief)| !belief.is_over()).map(|(task, _)| task.clone()).collect()
        };
        self.driver_reconciles(index);
        if self.drivers[index].setup.restless
            && let Some(task) = self.dice.pick(&live).cloned()
        {
            self.plan_act(index, 0, Act::Kill { task });
        }
        if self.drivers[index].demand > 0
            && (std::mem::take(&mut self.drivers[index].suppressed)
                || self.resting
                || self.dice.chance(200))
        {
            let request = self.drivers[index].request();
            self.call(index, Call::Revive { roles: BTreeSet::new() }, Some(request));
        }
        if self.drivers[index].setup.executors {
            self.driver_ends_executors(index);
        }
        if self.drivers[index].setup.choosy {
            self.driver_wishes(index);
        }
        self.driver_visits(index);
        let delay = self.dice.number(1_000..=4_000);
        self.plan_act(index, delay, Act::Fidget);
    }

    /// A restless framework is in a second role for a while.
    fn driver_visits(&mut self, index: usize) {
        let driver = &self.drivers[index];
        let restless = driver.setup.restless && self.faults && self.dice.chance(200);
        if !restless && (self.faults || !driver.has_visited) {
            return;
        }
        let mut info = driver.info();
        let mut suppressed_roles = BTreeSet::new();
        if driver.suppressed {
            suppressed_roles.clone_from(&info.roles);
        }
        // Said again and again once faults have ended, because a call may be lost with its stream.
        if self.faults && self.dice.chance(600) {
            let visited = Role::new("visited").expect("a valid role");
            info.roles.insert(visited.clone());
            suppressed_roles.extend(self.dice.chance(300).then_some(visited));
        }
        self.drivers[index].has_visited = true;
        let update = UpdateFramework { info, suppressed_roles, wishes: None };
        let request = self.drivers[index].request();
        self.call(index, Call::UpdateFramework(Box::new(update)), Some(request));
    }

    /// A framework answers the offers it has.
    pub(crate) fn driver_thinks(&mut self, index: usize) {
        self.drivers[index].thinking = false;
        if self.resting {
            return;
        }
        let by_agent = {
            let mut by_agent: BTreeMap<AgentId, Vec<Offer>> = BTreeMap::new();
            for offer in std::mem::take(&mut self.drivers[index].offers).into_values() {
                by_agent.entry(offer.agent).or_default().push(offer);
            }
            by_agent
        };
        for (agent, offers) in by_agent {
            if self.drivers[index].demand > 0 && self.dice.chance(800) {
                self.accept(index, agent, &offers);
            } else {
                let offers = offers.iter().map(|offer| offer.id).collect();
                let refuse_ms =
                    *self.dice.pick(&[Some(0), Some(200), Some(2_000), None]).unwrap_or(&None);
                self.call(index, Call::Decline { offers, refuse_ms }, None);
            }
        }
        let driver = &mut self.drivers[index];
        if driver.demand == 0 && !driver.suppressed {
            driver.suppressed = true;
            let request = driver.request();
            self.call(index, Call::Suppress { roles: BTreeSet::new() }, Some(request));
        }
    }

    /// The executor for a task, now and then while things go wrong; what it takes if it is not there yet
    /// is taken from `free`.
    fn draw_executor(
        &mut self,
        index: usize,
        agent: AgentId,
        free: &mut Resources,
    ) -> Option<ExecutorInfo> {
        if !self.drivers[index].setup.executors || !self.faults || !self.dice.chance(600) {
            return None;
        }
        let info = executors::description(self.dice.index(2));
        if !self.drivers[index].executors.contains(&(agent, info.id.clone())) {
            *free = free.checked_sub(&info.resources)?;
        }
        Some(info)
    }

    /// Uses offers of one agent for as many tasks as fit.
    fn accept(&mut self, index: usize, agent: AgentId, offers: &[Offer]) {
        let mut free = offers.iter().map(|offer| &offer.resources).sum::<Resources>();
        let restless = self.drivers[index].setup.restless;
        let request = self.drivers[index].request();
        let operations = self.draw_operations(index, agent, &mut free, request);
        let mut launch = Vec::new();
        while self.drivers[index].demand > 0 && launch.len() < 4 && self.dice.chance(850) {
            let most = self.drivers[index].setup.task_cpus_max_millis;
            let (cpus, mem) = (self.dice.number(100..=most), self.dice.number(16..=512));
            let port = free.ports().iter().next().map(|range| range.begin());
            let port = port.filter(|_| self.dice.chance(300));
            let ports = port.map_or_else(String::new, |port| format!(";ports:[{port}-{port}]"));
            let text = format!("cpus:{}.{:03};mem:{mem}{ports}", cpus / 1000, cpus % 1000);
            let plain: Resources = text.parse().expect("a resource text");
            let executor = self.draw_executor(index, agent, &mut free);
            let resources = match executor {
                // Volumes are for tasks with containers of their own.
                Some(_) => plain,
                None => plain + &self.draw_volume(index, &free),
            };
            let greedy = restless && self.dice.chance(30);
            match free.checked_sub(&resources) {
                Some(rest) => free = rest,
                None if greedy => {}
                None => break,
            }
            let driver = &mut self.drivers[index];
            let task_id = driver.name_task();
            driver.demand -= 1;
            let id = executor.as_ref().map(|executor| executor.id.clone());
            driver.executors.extend(id.clone().map(|id| (agent, id)));
            driver.beliefs.insert(task_id.clone(), Belief { agent, executor: id, state: None });
            if let Some(framework) = driver.framework {
                self.oracle.accepted(framework, &task_id);
            }
            let mut task = description(task_id, resources, executor);
            self.draw_checks(index, &mut task);
            launch.push(task);
        }
        self.add_group(index, agent, &mut free, &mut launch);
        if restless && self.dice.chance(50) {
            // As if it had not understood that an offer is used up.
            let driver = &mut self.drivers[index];
            driver.offers.extend(offers.iter().map(|offer| (offer.id, offer.clone())));
        }
        let driver = &mut self.drivers[index];
        let tasks = launch.iter().map(|description| description.task_id.clone()).collect();
        driver.requests.insert(request, tasks);
        let offers = offers.iter().map(|offer| offer.id).collect();
        let refuse_ms = self.dice.chance(500).then_some(100);
        self.call(
            index,
            Call::Accept(Accept { offers, operations, launch, refuse_ms }),
            Some(request),
        );
    }
}

/// A task without a group.
pub(crate) fn description(
    task_id: TaskId,
    resources: Resources,
    executor: Option<ExecutorInfo>,
) -> TaskDescription {
    let line = CommandLine::Shell { line: "true".to_owned() };
    let command = match executor {
        Some(_) => Command::none(),
        None => Command { line, ..Command::none() },
    };
    TaskDescription {
        name: task_id.to_string(),
        task_id,
        resources,
        command,
        executor: executor.map(Box::new),
        group: None,
        data: Vec::new(),
        kill_grace_ms: None,
        max_completion_ms: None,
        health_check: None,
        check: None,
        labels: BTreeMap::new(),
    }
}

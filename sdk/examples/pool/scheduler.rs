//! The framework: as many tasks as fit into an offer, all of an agent in one executor.

use std::collections::{BTreeSet, VecDeque};

use meshos_sdk::{
    ExecutorBuilder, Scheduler, SchedulerDriver, TaskBuilder,
    protocol::{
        executor::ExecutorInfo,
        framework::Offer,
        ids::{AgentId, ExecutorId},
        resources::Resources,
        task::{Exit, StatusUpdate, TaskDescription, TaskState},
    },
};

use crate::Failure;

pub(crate) struct Primes {
    executor: ExecutorInfo,
    waiting: VecDeque<TaskDescription>,
    /// Tasks that are not over.
    open: usize,
    /// The agents on which the executor is.
    agents: BTreeSet<AgentId>,
}

impl Primes {
    pub(crate) fn new(tasks: u64) -> Result<Self, Failure> {
        let program = std::env::current_exe()?;
        let program = program.to_str().ok_or("the path of this program is not UTF-8")?;
        // The same description wherever it is named.
        let executor = ExecutorBuilder::exec("pool", program, Vec::<String>::new())
            .cpus_mem("0.1", "32")
            .data("hello")
            .build()?;
        let task = |number: u64| {
            TaskBuilder::for_executor(format!("primes-{number}"), executor.clone())
                .cpus_mem("0.1", "16")
                .data(format!("primes {}", 1_000 * (number + 1)))
                .build()
        };
        let waiting = (0..tasks).map(task).collect::<Result<VecDeque<_>, _>>()?;
        let open = waiting.len();
        Ok(Self { executor, waiting, open, agents: BTreeSet::new() })
    }
}

impl Scheduler for Primes {
    fn resource_offers(&mut self, driver: &SchedulerDriver, offers: Vec<Offer>) {
        for offer in offers {
            let mut left = offer.resources.clone();
            let mut take = |wanted: &Resources| match left.checked_sub(wanted) {
                Some(rest) => {
                    left = rest;
                    true
                }
                None => false,
            };
            // The first task on an agent brings the executor, which takes something itself.
            if !self.agents.contains(&offer.agent) && !take(&self.executor.resources) {
                driver.decline(&offer.id, None);
                continue;
            }
            let mut tasks = Vec::new();
            while let Some(task) = self.waiting.pop_front() {
                if !take(&task.resources) {
                    self.waiting.push_front(task);
                    break;
                }
                tasks.push(task);
            }
            if !tasks.is_empty() {
                self.agents.insert(offer.agent);
            }
            // Without tasks the offer is declined.
            driver.launch(&[offer], tasks, None);
        }
    }

    fn status_update(&mut self, driver: &SchedulerDriver, status: StatusUpdate) {
        if !status.state.is_terminal() {
            return;
        }
        let result = String::from_utf8_lossy(&status.data).into_owned();
        match status.state {
            TaskState::Finished => println!("{}: {result} primes", status.task),
            state => println!("{} is {state}: {}", status.task, status.message),
        }
        self.open -= 1;
        if self.open == 0 {
            // Executors live until somebody ends them; the framework's end would do it too.
            for agent in &self.agents {
                driver.shutdown_executor(*agent, &self.executor.id);
            }
            if self.agents.is_empty() {
                driver.stop(false);
            }
        }
    }

    fn framework_message(
        &mut self,
        driver: &SchedulerDriver,
        agent: AgentId,
        executor: ExecutorId,
        data: Vec<u8>,
    ) {
        let text = String::from_utf8_lossy(&data).into_owned();
        println!("{executor} on {agent} says: {text}");
        if text == "hello, ready" {
            driver.send_framework_message(agent, &executor, "welcome");
        }
    }

    fn executor_lost(
        &mut self,
        driver: &SchedulerDriver,
        agent: AgentId,
        executor: ExecutorId,
        exit: Option<Exit>,
    ) {
        println!("{executor} on {agent} is over: {exit:?}");
        self.agents.remove(&agent);
        if self.open == 0 && self.agents.is_empty() {
            driver.stop(false);
        }
    }
}

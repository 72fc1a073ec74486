//! Accept: offers become tasks.

use std::collections::BTreeSet;

use meshos_alloc::OfferMode;
use meshos_protocol::{
    executor::ExecutorInfo,
    ids::{AgentId, FrameworkId, OfferId, TaskId},
    messages::{
        agent::{TaskHint, ToAgent},
        scheduler::{
            Accept, CallError, OFFERS_PER_CALL_MAX, OPERATIONS_PER_CALL_MAX, TASKS_PER_CALL_MAX,
        },
    },
    resources::Resources,
    role::Role,
    task::{Reason, TaskDescription, TaskLaunch, TaskState},
};

use super::{
    Effect,
    agents::Link,
    calls::invalid,
    groups::Launches,
    offers::OpenOffer,
    state::{Core, Cx},
    tasks::{Task, TaskKey, TaskPhase},
    updates::Told,
    validate,
};

/// The most tasks in one frame to an agent.
const LAUNCHES_PER_FRAME_MAX: usize = 1_000;

/// What the accepted offers of one role hold.
pub(super) struct Pool {
    pub(super) role: Role,
    pub(super) offered: Resources,
    pub(super) left: Resources,
}

impl Core {
    /// Uses offers of one agent. What becomes of each task is told by updates.
    pub(super) fn accept(
        &mut self,
        cx: &mut Cx<'_>,
        framework: FrameworkId,
        accept: Accept,
    ) -> Result<(), CallError> {
        let Accept { offers, operations, launch, refuse_ms } = accept;
        if launch.len() > TASKS_PER_CALL_MAX
            || offers.len() > OFFERS_PER_CALL_MAX
            || operations.len() > OPERATIONS_PER_CALL_MAX
        {
            let why = format!(
                "at most {TASKS_PER_CALL_MAX} tasks, {OPERATIONS_PER_CALL_MAX} operations and {OFFERS_PER_CALL_MAX} \
                 offers in one call"
            );
            self.give_back(cx, framework, &offers);
            self.drop_operations(cx, framework, None, operations, &why);
            self.drop_launch(cx, framework, None, launch, (Reason::InvalidOffers, &why));
            return Err(invalid(why));
        }
        let agent = match self.judge_offers(framework, &offers) {
            Ok(agent) => agent,
            Err((reason, why)) => {
                let agent = self.offers.get(
                    offers.first().copied().unwrap_or(OfferId { term: self.fence.term, number: 0 }),
                );
                let agent = agent.filter(|it| it.framework == framework).map(|it| it.agent);
                self.give_back(cx, framework, &offers);
                self.drop_operations(cx, framework, agent, operations, &why);
                self.drop_launch(cx, framework, agent, launch, (reason, &why));
                return Ok(());
            }
        };
        let taken = offers.iter().filter_map(|id| self.offers.remove(*id)).collect();
        let mut pools = pools_of(taken);
        let operated = self.operate_on_offers(cx, framework, agent, operations, &mut pools);
        let launches = self.place(cx, framework, agent, launch, &mut pools);
        let until = self.allocator.refuse_until(cx.now.mono, self.refusal(refuse_ms));
        for Pool { role, offered, left } in pools {
            match offered.checked_sub(&left) {
                Some(used) if !used.is_empty() => {
                    self.allocator.accept(agent, framework, &role, &offered, &used, until);
                }
                Some(_) | None => {
                    self.allocator.recover_offered(agent, framework, &role, &offered, until);
                }
            }
        }
        let count = u64::try_from(offers.len()).unwrap_or(u64::MAX);
        if launches.is_empty() && !operated {
            self.counters.offers_declined += count;
        } else {
            self.counters.offers_accepted += count;
        }
        if !launches.is_empty() {
            self.send_launches(cx, framework, agent, launches);
        }
        Ok(())
    }

    /// The agent whose offers these are, all open and the framework's own.
    fn judge_offers(
        &self,
        framework: FrameworkId,
        offers: &[OfferId],
    ) -> Result<AgentId, (Reason, String)> {
        if let Some(taken) = offers.iter().find(|id| self.offers.was_taken(**id)) {
            let why = format!("another framework was faster to accept what offer {taken} held");
            return Err((Reason::OfferTaken, why));
        }
        self.judge_open_offers(framework, offers).map_err(|why| (Reason::InvalidOffers, why))
    }

    fn judge_open_offers(
        &self,
        framework: FrameworkId,
        offers: &[OfferId],
    ) -> Result<AgentId, String> {
        let optimistic = self.config.offers == OfferMode::Optimistic;
        let (mut agent, mut role) = (None, None);
        let mut seen = BTreeSet::new();
        for id in offers {
            let offer = self.offers.get(*id).filter(|offer| offer.framework == framework);
            let Some(offer) = offer else {
                return Err(format!("offer {id} is not open any more"));
            };
            if !seen.insert(id) {
                return Err(format!("offer {id} is named twice"));
            }
            if *agent.get_or_insert(offer.agent) != offer.agent {
                return Err("the offers are not of one agent".to_owned());
            }
            if *role.get_or_insert(&offer.role) != &offer.role && optimistic {
                return Err(
                    "optimistic offers of several roles are of the same resources".to_owned()
                );
            }
        }
        let agent = agent.ok_or_else(|| "no offer is named".to_owned())?;
        let online =
            self.agents.get(&agent).is_some_and(|it| matches!(it.link, Link::Online { .. }));
        if !online || !self.registry.takes_tasks(agent) {
            return Err(format!("agent {agent} takes no tasks now"));
        }
        Ok(agent)
    }

    /// An accept is not valid: those of its offers that are open are free again, without a filter.
    fn give_back(&mut self, cx: &mut Cx<'_>, framework: FrameworkId, offers: &[OfferId]) {
        for offer in offers {
            self.decline_one(cx, framework, *offer, std::time::Duration::ZERO);
        }
    }

    /// None of an accept's tasks is launched.
    fn drop_launch(
        &mut self,
        cx: &mut Cx<'_>,
        framework: FrameworkId,
        agent: Option<AgentId>,
        launch: Vec<TaskDescription>,
        (reason, why): (Reason, &str),
    ) {
        for task in launch {
            if self.id_is_in_use(framework, &task.task_id) {
                // Said of the accept's task it would end the other in the framework's eyes.
                continue;
            }
            let told = Told { reason: Some(reason), ..Told::state(TaskState::Dropped, why) };
            self.refuse_task(cx, framework, agent, &task.task_id, told);
        }
    }

    pub(super) fn id_is_in_use(&self, framework: FrameworkId, task: &TaskId) -> bool {
        self.tasks.named(framework, task).next().is_some()
    }

    /// Finds each task its resources; tells of those that cannot be launched.
    fn place(
        &mut self,
        cx: &mut Cx<'_>,
        framework: FrameworkId,
        agent: AgentId,
        launch: Vec<TaskDescription>,
        pools: &mut [Pool],
    ) -> Launches {
        let mut launches = Launches::default();
        let mut rest = launch.into_iter().peekable();
        while let Some(description) = rest.next() {
            if description.group.is_some() {
                let mut group = vec![description];
                while let Some(next) = rest.next_if(|next| next.group == group[0].group) {
                    group.push(next);
                }
                launches.groups.extend(self.place_group(cx, framework, agent, group, pools));
                continue;
            }
            match self.place_one(framework, agent, &description, pools) {
                Ok(placed) => {
                    let launch = self.add_task(cx, framework, agent, description, placed);
                    launches.single.push(launch);
                }
                Err(told) => {
                    self.refuse_task(cx, framework, Some(agent), &description.task_id, told);
                }
            }
        }
        launches
    }

    /// A task that was found its resources is on the books from now on.
    pub(super) fn add_task(
        &mut self,
        cx: &mut Cx<'_>,
        framework: FrameworkId,
        agent: AgentId,
        mut description: TaskDescription,
        Placed { role, resources, executor_resources }: Placed,
    ) -> TaskLaunch {
        if let (Some(info), Some(resources)) = (&description.executor, &executor_resources) {
            let payment = (role.clone(), resources.clone());
            self.add_executor((framework, agent), info, payment);
        }
        description.resources = resources;
        let launch = TaskLaunch { description, role, executor_resources };
        let key = TaskKey { framework, task: launch.description.task_id.clone(), agent };
        self.tasks.insert(key, Task::new(&launch, TaskPhase::Sent, cx.now.wall));
        launch
    }

    fn place_one(
        &self,
        framework: FrameworkId,
        agent: AgentId,
        description: &TaskDescription,
        pools: &mut [Pool],
    ) -> Result<Placed, Told> {
        let refused =
            |state, reason, why: &str| Told { reason: Some(reason), ..Told::state(state, why) };
        if let Err(why) = validate::task(description) {
            return Err(refused(TaskState::Error, Reason::TaskInvalid, &why));
        }
        if self.id_is_in_use(framework, &description.task_id) {
            let why = "another task of the framework has this id and is not over";
            return Err(refused(TaskState::Error, Reason::TaskInvalid, why));
        }
        self.judge_room(framework, agent, 1)?;
        let starts = self.judge_executor(framework, agent, description)?;
        for pool in pools.iter_mut() {
            if let Some(placed) = place_in(pool, description, starts) {
                return Ok(placed);
            }
        }
        let left = pools.iter().map(|pool| pool.left.to_string()).collect::<Vec<_>>().join(" and ");
        let executor = starts.map(|info| format!(" and its executor {}", info.resources));
        let why = format!(
            "the task takes {}{}, its offers have {left} left",
            description.resources,
            executor.unwrap_or_default()
        );
        Err(refused(TaskState::Error, Reason::ResourcesExceeded, &why))
    }

    /// Whether the leader may keep so many tasks more.
    pub(super) fn judge_room(
        &self,
        framework: FrameworkId,
        agent: AgentId,
        count: usize,
    ) -> Result<(), Told> {
        let limits = &self.config.limits;
        let fits = |known: usize, most: usize| known.saturating_add(count) <= most;
        if fits(self.tasks.sum_of(framework).all, limits.tasks_per_framework_max)
            && fits(self.tasks.len(), limits.tasks_max)
            && fits(self.tasks.count_of_agent(agent), limits.tasks_per_agent_max)
        {
            return Ok(());
        }
        let why = "the leader's limit of tasks is reached";
        let told = Told::state(TaskState::Dropped, why);
        Err(Told { reason: Some(Reason::TooManyTasks), ..told })
    }

    /// A task is not launched.
    pub(super) fn refuse_task(
        &mut self,
        cx: &mut Cx<'_>,
        framework: FrameworkId,
        agent: Option<AgentId>,
        task: &TaskId,
        told: Told,
    ) {
        self.count_end(told.state, told.reason);
        self.tell_status(cx, framework, task, agent, told);
    }

    fn send_launches(
        &mut self,
        cx: &mut Cx<'_>,
        framework: FrameworkId,
        agent: AgentId,
        launches: Launches,
    ) {
        let record = self.registry.framework(framework);
        let user = record.map(|record| record.info.user.clone()).unwrap_or_default();
        let starts = launches.iter().any(|launch| launch.executor_resources.is_some());
        let info = record.filter(|_| starts).map(|record| Box::new(record.info.clone()));
        for launch in launches.iter() {
            self.counters.launches += 1;
            cx.out.push(Effect::Hint(TaskHint {
                framework,
                task: launch.description.task_id.clone(),
                agent,
                launch: Some(launch.clone()),
                end: None,
            }));
        }
        // What starts an executor comes before what another group or a single task wants of it.
        let starts = |group: &Vec<TaskLaunch>| {
            group.first().is_some_and(|first| first.executor_resources.is_some())
        };
        let (starting, other): (Vec<_>, Vec<_>) = launches.groups.into_iter().partition(starts);
        let send_group = |core: &mut Self, cx: &mut Cx<'_>, tasks| {
            let (user, info) = (user.clone(), info.clone());
            core.tell_agent(cx, agent, ToAgent::LaunchGroup { framework, user, info, tasks });
        };
        for tasks in starting {
            send_group(self, cx, tasks);
        }
        let mut single = launches.single.into_iter().peekable();
        while single.peek().is_some() {
            let tasks = single.by_ref().take(LAUNCHES_PER_FRAME_MAX).collect();
            let (user, info) = (user.clone(), info.clone());
            self.tell_agent(cx, agent, ToAgent::Launch { framework, user, info, tasks });
        }
        for tasks in other {
            send_group(self, cx, tasks);
        }
    }
}

/// What a task is given.
pub(super) struct Placed {
    role: Role,
    resources: Resources,
    /// What its executor is given, when the task is to start it.
    executor_resources: Option<Resources>,
}

/// Takes what a task and an executor that it starts need from a pool; all of it or nothing.
pub(super) fn place_in(
    pool: &mut Pool,
    description: &TaskDescription,
    starts: Option<&ExecutorInfo>,
) -> Option<Placed> {
    let resources = find(&pool.left, &description.resources, &pool.role)?;
    let mut left = pool.left.checked_sub(&resources)?;
    let mut executor_resources = None;
    if let Some(info) = starts {
        let found = find(&left, &info.resources, &pool.role)?;
        left = left.checked_sub(&found)?;
        executor_resources = Some(found);
    }
    pool.left = left;
    Some(Placed { role: pool.role.clone(), resources, executor_resources })
}

/// A part of what is left for a task of this role: volumes and the like as the task names them, the
/// rest wherever it is found.
fn find(left: &Resources, wanted: &Resources, role: &Role) -> Option<Resources> {
    let named = wanted.filter(|resource| !resource.metadata().is_plain());
    let rest = left.checked_sub(&named)?;
    let plain = wanted.filter(|resource| resource.metadata().is_plain());
    Some(rest.find(&plain, role)? + &named)
}

/// The offers by role, in the order in which they were named.
fn pools_of(offers: Vec<OpenOffer>) -> Vec<Pool> {
    let mut pools: Vec<Pool> = Vec::new();
    for offer in offers {
        match pools.iter_mut().find(|pool| pool.role == offer.role) {
            Some(pool) => {
                pool.offered += &offer.resources;
                pool.left += &offer.resources;
            }
            None => pools.push(Pool {
                role: offer.role,
                offered: offer.resources.clone(),
                left: offer.resources,
            }),
        }
    }
    pools
}

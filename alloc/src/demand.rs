//! What a framework has said it wants: it is offered that, and no more.

mod layout;

use std::collections::BTreeMap;

use meshos_protocol::{
    ids::AgentId,
    resources::Resources,
    role::Role,
    time::Mono,
    wishes::{REQUESTS_MAX, ResourceRequest},
};

pub(crate) use layout::Budget;

use crate::{agent::Agent, arena::Key, constraints::WishError};

/// What a framework wants in one role.
#[derive(Debug, Clone)]
pub(crate) struct Demand {
    requests: Vec<Request>,
    /// Which requests the offers of an agent are for, until they are answered.
    given: BTreeMap<Key<Agent>, Vec<Requested>>,
    /// All of it at once or nothing.
    together: Option<Together>,
}

/// What is wanted at once or not at all.
#[derive(Debug, Clone)]
struct Together {
    /// Until then.
    until: Mono,
    /// The gang that is offered, and how many of each request it is for: wanted again should all of
    /// it be taken back.
    offered: Option<(u64, Vec<u32>)>,
    /// It was offered and taken back for the sake of others: they go first, once.
    yields: bool,
}

#[derive(Debug, Clone)]
struct Request {
    agent: Option<AgentId>,
    wanted: Resources,
    left: u32,
}

/// So many of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Requested {
    request: usize,
    count: u32,
}

impl Demand {
    /// Checks requests; `together_until`: all at once or nothing, until then.
    pub(crate) fn new(
        requests: &[ResourceRequest],
        together_until: Option<Mono>,
    ) -> Result<Self, WishError> {
        let count = requests.len();
        if count > REQUESTS_MAX {
            return Err(WishError::TooMany { what: "requests", count, max: REQUESTS_MAX });
        }
        let request = |request: &ResourceRequest| {
            let wanted = request.resources.as_request();
            if wanted.is_empty() || request.count == 0 {
                return Err(WishError::EmptyRequest);
            }
            Ok(Request { agent: request.agent, wanted, left: request.count })
        };
        let requests = requests.iter().map(request).collect::<Result<_, _>>()?;
        let together = together_until.map(|until| Together { until, offered: None, yields: false });
        Ok(Self { requests, given: BTreeMap::new(), together })
    }

    /// Whether there is nothing left to be offered.
    pub(crate) fn is_met(&self) -> bool {
        self.requests.iter().all(|request| request.left == 0)
    }

    /// What is wanted and not offered yet: of which agent, what, and how many times.
    pub(crate) fn open(&self) -> impl Iterator<Item = (Option<AgentId>, &Resources, u32)> {
        let open = self.requests.iter().filter(|request| request.left > 0);
        open.map(|request| (request.agent, &request.wanted, request.left))
    }

    /// The agents with open offers that are for requests.
    pub(crate) fn given(&self) -> Vec<Key<Agent>> {
        self.given.keys().copied().collect()
    }

    /// Until when all is wanted at once or nothing.
    pub(crate) fn together_until(&self) -> Option<Mono> {
        self.together.as_ref().map(|together| together.until)
    }

    /// Whether what is wanted together waits until all others have been served.
    pub(crate) fn yields(&self) -> bool {
        self.together.as_ref().is_some_and(|together| together.yields)
    }

    /// All others have been served.
    pub(crate) fn yielded(&mut self) {
        if let Some(together) = &mut self.together {
            together.yields = false;
        }
    }

    /// The time has come: nothing is wanted any more.
    pub(crate) fn end(&mut self) {
        self.requests.iter_mut().for_each(|request| request.left = 0);
    }

    /// All that is wanted together is offered as this gang: nothing is wanted meanwhile.
    pub(crate) fn offer_together(&mut self, gang: u64) {
        let wanted = self.requests.iter().map(|request| request.left).collect();
        self.end();
        if let Some(together) = &mut self.together {
            (together.offered, together.yields) = (Some((gang, wanted)), false);
        }
    }

    /// All of that gang was taken back: it is wanted again. Returns until when, unless something
    /// else is wanted by now.
    pub(crate) fn taken_back(&mut self, gang: u64) -> Option<Mono> {
        let together = self.together.as_mut()?;
        let (_, wanted) = together.offered.take_if(|(offered, _)| *offered == gang)?;
        together.yields = true;
        self.requests.iter_mut().zip(wanted).for_each(|(request, left)| request.left = left);
        Some(together.until)
    }

    /// What of `available` on an agent was asked for, those requests first that name it.
    pub(crate) fn cut(
        &self,
        agent: AgentId,
        available: &Resources,
        role: &Role,
    ) -> Option<(Resources, Vec<Requested>)> {
        let mut rest = available.clone();
        let mut requested = Vec::new();
        for named in [true, false] {
            for (index, request) in self.requests.iter().enumerate() {
                let fits =
                    if named { request.agent == Some(agent) } else { request.agent.is_none() };
                if !fits || request.left == 0 {
                    continue;
                }
                let count = rest.take(&request.wanted, request.left, role);
                if count > 0 {
                    requested.push(Requested { request: index, count });
                }
            }
        }
        if requested.is_empty() {
            return None;
        }
        let mut taken = available.saturating_sub(&rest);
        // Nobody else can use the role's volumes.
        taken += &rest.filter(|resource| resource.metadata().is_volume());
        Some((taken, requested))
    }

    /// These requests are offered on an agent.
    pub(crate) fn give(&mut self, agent: Key<Agent>, requested: Vec<Requested>) {
        for part in &requested {
            self.requests[part.request].left -= part.count;
        }
        if self.together.is_none() {
            self.given.entry(agent).or_default().extend(requested);
        }
    }

    /// Of what was offered on an agent `used` is used. When nothing of the agent is offered any
    /// more (`closed`), what was not used is wanted again. Returns whether that is something.
    pub(crate) fn answered(&mut self, agent: Key<Agent>, used: &Resources, closed: bool) -> bool {
        let Some(given) = self.given.get_mut(&agent) else { return false };
        let mut rest = used.as_request();
        for part in given.iter_mut() {
            let wanted = &self.requests[part.request].wanted;
            part.count -= rest.take(wanted, part.count, &Role::default());
        }
        if !closed {
            return false;
        }
        let mut again = false;
        for part in self.given.remove(&agent).into_iter().flatten() {
            let left = &mut self.requests[part.request].left;
            *left = left.saturating_add(part.count);
            again |= part.count > 0;
        }
        again
    }
}

#[cfg(test)]
mod tests {
    use meshos_protocol::ids::NodeId;

    use super::*;

    fn resources(text: &str) -> Resources {
        text.parse().unwrap()
    }

    fn agent(number: u64) -> AgentId {
        AgentId::new(NodeId::from_bits(number), 1)
    }

    fn request(of: Option<u64>, text: &str, count: u32) -> ResourceRequest {
        ResourceRequest { agent: of.map(agent), resources: resources(text), count }
    }

    fn cut(demand: &Demand, of: u64, available: &str) -> Option<(String, Vec<Requested>)> {
        let (taken, requested) =
            demand.cut(agent(of), &resources(available), &"a/b".parse().unwrap())?;
        Some((taken.to_string(), requested))
    }

    fn key() -> Key<Agent> {
        Key::first()
    }

    #[test]
    fn an_offer_is_cut_to_as_many_requests_as_fit() {
        let requests =
            [request(None, "cpus:2;mem:100", 3), request(Some(7), "cpus:1;ports:[5-6]", 1)];
        let demand = Demand::new(&requests, None).unwrap();
        let (taken, _) = cut(&demand, 1, "cpus:5;mem:1000").unwrap();
        assert_eq!(taken, "cpus:4;mem:200");
        let (taken, _) = cut(&demand, 7, "cpus:4;mem:1000;ports:[1-9]").unwrap();
        assert_eq!(taken, "cpus:3;mem:100;ports:[5-6]");
        assert_eq!(cut(&demand, 1, "cpus:1;mem:1000"), None);
        let (taken, _) = cut(&demand, 1, "cpus:1;cpus(a):1;cpus(z):5;mem(a/b):100").unwrap();
        assert_eq!(taken, "cpus:1;cpus(a):1;mem(a/b):100");
        // What is revocable is cut for those who asked for that, and for nobody else.
        let (taken, _) = cut(&demand, 1, "cpus:4;cpus{revocable}:8;mem:1000").unwrap();
        assert_eq!(taken, "cpus:4;mem:200");
        let revocable = [request(None, "cpus{revocable}:2;mem:100", 3)];
        let demand = Demand::new(&revocable, None).unwrap();
        let (taken, _) = cut(&demand, 1, "cpus:9;cpus{revocable}:5;mem:1000").unwrap();
        assert_eq!(taken, "cpus{revocable}:4;mem:200".parse::<Resources>().unwrap().to_string());
        assert_eq!(cut(&demand, 1, "cpus:9;cpus{revocable}:1;mem:1000"), None);
    }

    #[test]
    fn what_was_declined_is_wanted_again_and_what_was_used_is_not() {
        let mut demand = Demand::new(&[request(None, "cpus:1", 3)], None).unwrap();
        let (_, requested) = cut(&demand, 1, "cpus:9").unwrap();
        demand.give(key(), requested);
        assert!(demand.is_met());
        assert!(!demand.answered(key(), &resources("cpus(a):1"), false));
        assert!(demand.answered(key(), &Resources::new(), true));
        assert_eq!(cut(&demand, 1, "cpus:9").unwrap().0, "cpus:2");
        assert!(!demand.answered(key(), &Resources::new(), true), "once");
        let mut demand = Demand::new(&[request(None, "cpus{revocable}:1", 3)], None).unwrap();
        let (_, requested) = cut(&demand, 1, "cpus{revocable}:9").unwrap();
        demand.give(key(), requested);
        assert!(demand.answered(key(), &resources("cpus{revocable}:1"), true));
        assert_eq!(cut(&demand, 1, "cpus{revocable}:9").unwrap().0, "cpus{revocable}:2");
    }

    #[test]
    fn a_gang_that_was_taken_back_is_wanted_again() {
        let requests = [request(None, "cpus:2", 3), request(Some(2), "cpus:1;mem:10", 1)];
        let mut demand = Demand::new(&requests, Some(Mono(5))).unwrap();
        assert_eq!(demand.taken_back(1), None, "it is not offered");
        demand.offer_together(1);
        assert!(demand.is_met());
        assert_eq!(demand.taken_back(2), None, "another");
        assert_eq!(demand.taken_back(1), Some(Mono(5)));
        assert_eq!(demand.open().map(|(_, _, left)| left).collect::<Vec<_>>(), [3, 1]);
        assert!(demand.yields());
        assert_eq!(demand.taken_back(1), None, "once");
        demand.offer_together(3);
        assert!(demand.is_met() && !demand.yields());
    }

    #[test]
    fn empty_requests_are_refused() {
        assert_eq!(
            Demand::new(&[request(None, "", 1)], None).unwrap_err(),
            WishError::EmptyRequest
        );
        assert_eq!(
            Demand::new(&[request(None, "cpus:1", 0)], None).unwrap_err(),
            WishError::EmptyRequest
        );
        assert!(Demand::new(&vec![request(None, "cpus:1", 1); 1001], None).is_err());
    }
}

//! What modelled frameworks say of the offers they want: wishes, stated demand, gangs.

use std::collections::BTreeMap;

use meshos_protocol::{
    messages::scheduler::Call,
    resources::Resources,
    role::Role,
    wishes::{AgentConstraint, OfferWishes, ResourceRequest},
};

use crate::{places::draw_constraints, world::World};

/// What a framework has said last, as far as it knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Said {
    /// It takes whatever there is.
    #[default]
    Nothing,
    /// It wants so many of [`WANTED`].
    Demand,
    /// Offers of a smallest size only, or several things together.
    Other,
}

/// What frameworks that state a demand ask for.
pub const WANTED: &str = "cpus:0.5;mem:64";

impl World {
    /// A choosy framework says what it wants, or takes it back.
    pub(crate) fn driver_wishes(&mut self, index: usize) {
        if !self.faults {
            // Said again and again, because a call may be lost with its stream.
            self.take_wishes_back(index);
            if self.resting && self.dice.chance(500) {
                self.state_demand(index, None);
            }
            return;
        }
        match self.dice.number(0..=6) {
            0 | 6 => {
                let least = ["cpus:1;mem:128", "mem:2048", "cpus:8"];
                let least = *self.dice.pick(&least).expect("there are sizes");
                let least = self.dice.chance(500).then_some(least);
                let constraints = draw_constraints(&mut self.dice);
                self.wish(index, least, constraints);
            }
            1 | 2 => self.state_demand(index, None),
            3 => {
                let within_ms = self.dice.number(500..=5_000);
                self.state_demand(index, Some(within_ms));
            }
            _ => self.take_wishes_back(index),
        }
    }

    /// A framework takes whatever there is.
    pub(crate) fn take_wishes_back(&mut self, index: usize) {
        self.wish(index, None, Vec::new());
        self.request(index, Vec::new(), None);
        self.drivers[index].said_of_offers = Said::Nothing;
    }

    /// A framework wants a few of something, of any agents: with `together_within_ms` all or none.
    pub(crate) fn state_demand(&mut self, index: usize, together_within_ms: Option<u64>) {
        let resources: Resources = WANTED.parse().expect("a resource text");
        let count = u32::try_from(self.dice.number(1..=4)).expect("a small number");
        let request = ResourceRequest { agent: None, resources, count };
        self.request(index, vec![request], together_within_ms);
        let said = if together_within_ms.is_some() { Said::Other } else { Said::Demand };
        self.drivers[index].said_of_offers = said;
    }

    fn wish(&mut self, index: usize, least: Option<&str>, constraints: Vec<Vec<AgentConstraint>>) {
        let minimum = least.map(|least| {
            let least: Resources = least.parse().expect("a resource text");
            least.quantities()
        });
        let wishes = OfferWishes { minimum: minimum.into_iter().collect(), constraints };
        let wishes = BTreeMap::from([(self.role_of(index), wishes)]);
        let request = self.drivers[index].request();
        self.call(index, Call::Wish { wishes }, Some(request));
        self.drivers[index].said_of_offers = Said::Other;
    }

    fn request(
        &mut self,
        index: usize,
        requests: Vec<ResourceRequest>,
        together_within_ms: Option<u64>,
    ) {
        let role = self.role_of(index);
        let request = self.drivers[index].request();
        self.call(index, Call::Request { role, requests, together_within_ms }, Some(request));
    }

    fn role_of(&self, index: usize) -> Role {
        Role::new(&self.drivers[index].setup.role).expect("a valid role")
    }
}

//! Where machines stand and what they are, and what frameworks ask for of that.

use meshos_protocol::{
    attributes::Attributes,
    resources::Amount,
    wishes::{AgentConstraint, FaultDomain, OfferWishes, Predicate, Selector},
};

use crate::dice::Dice;

/// Where a machine stands and what it says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Its attribute `rack`; one without it says nothing of racks.
    pub rack: Option<&'static str>,
    /// Its attribute `spindles`.
    pub spindles: i64,
    /// Its fault domain.
    pub domain: Option<FaultDomain>,
}

const RACKS: [&str; 3] = ["left", "right", "attic"];
const ZONES: [&str; 2] = ["east", "west"];

impl Place {
    /// Places for so many machines: in some clusters all in one region, in others in two.
    pub fn draw(dice: &mut Dice, count: usize) -> Vec<Self> {
        let said = dice.chance(600);
        let far = if dice.chance(500) { 350 } else { 0 };
        let place = |dice: &mut Dice| {
            let rack = dice.pick(&RACKS).copied().filter(|_| dice.chance(800));
            let spindles = i64::try_from(dice.number(0..=4)).expect("a small number");
            let region = if dice.chance(far) { "far" } else { "near" };
            let zone = *dice.pick(&ZONES).expect("there are zones");
            let domain = FaultDomain { region: region.to_owned(), zone: zone.to_owned() };
            Self { rack, spindles, domain: said.then_some(domain) }
        };
        (0..count).map(|_| place(dice)).collect()
    }

    /// Its attributes in meshos's words.
    pub fn attributes(&self) -> Attributes {
        let rack = self.rack.map(|rack| format!("rack:{rack};")).unwrap_or_default();
        let text = format!("{rack}spindles:{}", self.spindles);
        text.parse().expect("an attribute text")
    }

    /// Whether it is in another region than a leader that stands in `region`.
    pub fn is_remote_to(&self, region: Option<&str>) -> bool {
        match (&self.domain, region) {
            (Some(domain), Some(region)) => domain.region != region,
            (Some(_) | None, _) => false,
        }
    }

    /// Whether the place is one of those that a framework wishes for, as far as the constraints
    /// are of the kinds that [`draw_constraints`] draws.
    pub fn fulfils(&self, wishes: &OfferWishes) -> bool {
        let all = |constraints: &Vec<AgentConstraint>| constraints.iter().all(|it| self.is(it));
        wishes.constraints.is_empty() || wishes.constraints.iter().any(all)
    }

    fn is(&self, AgentConstraint { of, is }: &AgentConstraint) -> bool {
        let zone = self.domain.as_ref().map(|domain| domain.zone.as_str());
        let region = self.domain.as_ref().map(|domain| domain.region.as_str());
        match (of, is) {
            (Selector::Attribute { name }, Predicate::Greater { than }) if name == "spindles" => {
                Amount::whole(self.spindles) > *than
            }
            (Selector::Attribute { name }, is) if name == "rack" => holds(self.rack, is),
            (Selector::Zone, is) => holds(zone, is),
            (Selector::Region, is) => holds(region, is),
            other => panic!("{other:?} is not among the constraints that are drawn"),
        }
    }
}

fn holds(found: Option<&str>, is: &Predicate) -> bool {
    match is {
        Predicate::Exists => found.is_some(),
        Predicate::NotExists => found.is_none(),
        Predicate::Equals { value } => found == Some(value),
        Predicate::NotEquals { value } => found != Some(value),
        Predicate::Matches { pattern } => found.is_some_and(|found| pattern.contains(found)),
        other => panic!("{other:?} is not among the predicates that are drawn"),
    }
}

/// Constraints of a few kinds; which agents fulfil them differs.
pub fn draw_constraints(dice: &mut Dice) -> Vec<Vec<AgentConstraint>> {
    let alternatives = dice.number(1..=2);
    (0..alternatives)
        .map(|_| (0..=dice.index(2)).map(|_| draw_constraint(dice)).collect())
        .collect()
}

fn draw_constraint(dice: &mut Dice) -> AgentConstraint {
    let rack = || Selector::Attribute { name: "rack".to_owned() };
    let name = (*dice.pick(&RACKS).expect("there are racks")).to_owned();
    let zone = *dice.pick(&ZONES).expect("there are zones");
    match dice.number(0..=7) {
        0 => AgentConstraint { of: rack(), is: Predicate::Exists },
        1 => AgentConstraint { of: rack(), is: Predicate::NotExists },
        2 => AgentConstraint::equals("rack", name),
        3 => AgentConstraint { of: rack(), is: Predicate::NotEquals { value: name } },
        4 => {
            let pattern = "(left|right)".to_owned();
            AgentConstraint { of: rack(), is: Predicate::Matches { pattern } }
        }
        5 => {
            let of = Selector::Attribute { name: "spindles".to_owned() };
            AgentConstraint { of, is: Predicate::Greater { than: Amount::whole(1) } }
        }
        6 => AgentConstraint::in_zone(zone),
        _ => AgentConstraint::in_region("near"),
    }
}

//! Sums of amounts by name.

use std::fmt;
use std::ops::AddAssign;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::wire::Bounded;
use super::{Amount, ENTRIES_MAX, ResourceName};

/// The well-known names of amounts, in the order of names.
const KNOWN: [ResourceName; 4] =
    [ResourceName::Cpus, ResourceName::Gpus, ResourceName::Mem, ResourceName::Disk];

/// Amounts by name, whoever they are reserved for: what shares, quotas and totals are computed
/// on. No amount is negative, one that is zero is not there, and the names are sorted.
///
/// The well-known names have a place each, because the allocator adds and compares these all the
/// time; only other names need a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScalarQuantities {
    known: [Amount; KNOWN.len()],
    others: Vec<(ResourceName, Amount)>,
}

/// The place of a well-known name.
fn place(name: &ResourceName) -> Option<usize> {
    match name {
        ResourceName::Cpus => Some(0),
        ResourceName::Gpus => Some(1),
        ResourceName::Mem => Some(2),
        ResourceName::Disk => Some(3),
        ResourceName::Ports | ResourceName::Custom(_) => None,
    }
}

impl ScalarQuantities {
    /// No quantities.
    #[must_use]
    pub const fn new() -> Self {
        ScalarQuantities { known: [Amount::ZERO; KNOWN.len()], others: Vec::new() }
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known == [Amount::ZERO; KNOWN.len()] && self.others.is_empty()
    }

    /// The amount of that name; zero when there is none.
    #[must_use]
    pub fn get(&self, name: &ResourceName) -> Amount {
        match place(name) {
            Some(place) => self.known[place],
            None => self.position(name).map_or(Amount::ZERO, |position| self.others[position].1),
        }
    }

    /// The names and amounts, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&ResourceName, Amount)> {
        let known = KNOWN.iter().zip(self.known).filter(|(_, amount)| !amount.is_zero());
        known.chain(self.others.iter().map(|(name, amount)| (name, *amount)))
    }

    /// Whether there is at least as much of every name as in `other`.
    #[must_use]
    pub fn contains(&self, other: &ScalarQuantities) -> bool {
        other.iter().all(|(name, amount)| self.get(name) >= amount)
    }

    /// Adds an amount, cut to what fits. A negative one is ignored.
    pub fn add(&mut self, name: &ResourceName, amount: Amount) {
        if amount <= Amount::ZERO {
            return;
        }
        if let Some(place) = place(name) {
            self.known[place] = self.known[place].saturating_add(amount);
            return;
        }
        match self.position(name) {
            Ok(position) => {
                let sum = &mut self.others[position].1;
                *sum = sum.saturating_add(amount);
            }
            Err(position) => self.others.insert(position, (name.clone(), amount)),
        }
    }

    /// Takes an amount away, down to nothing. A negative one is ignored.
    pub fn subtract(&mut self, name: &ResourceName, amount: Amount) {
        if amount <= Amount::ZERO {
            return;
        }
        if let Some(place) = place(name) {
            self.known[place] = self.known[place].remaining_after(amount);
            return;
        }
        if let Ok(position) = self.position(name) {
            let rest = self.others[position].1.remaining_after(amount);
            if rest.is_zero() {
                self.others.remove(position);
            } else {
                self.others[position].1 = rest;
            }
        }
    }

    /// What remains when `other` is taken away; nothing when there is too little of a name.
    #[must_use]
    pub fn checked_sub(&self, other: &ScalarQuantities) -> Option<ScalarQuantities> {
        self.contains(other).then(|| self.saturating_sub(other))
    }

    /// What remains when `other` is taken away as far as it is there.
    #[must_use]
    pub fn saturating_sub(&self, other: &ScalarQuantities) -> ScalarQuantities {
        let mut rest = self.clone();
        for (name, amount) in other.iter() {
            rest.subtract(name, amount);
        }
        rest
    }

    /// Where a name without a place of its own is, or belongs.
    fn position(&self, name: &ResourceName) -> Result<usize, usize> {
        self.others.binary_search_by(|(mine, _)| mine.cmp(name))
    }
}

/// Amounts of the same name add up.
impl FromIterator<(ResourceName, Amount)> for ScalarQuantities {
    fn from_iter<I: IntoIterator<Item = (ResourceName, Amount)>>(amounts: I) -> Self {
        let mut quantities = ScalarQuantities::default();
        for (name, amount) in amounts {
            quantities.add(&name, amount);
        }
        quantities
    }
}

impl AddAssign<&ScalarQuantities> for ScalarQuantities {
    fn add_assign(&mut self, other: &ScalarQuantities) {
        for (name, amount) in other.iter() {
            self.add(name, amount);
        }
    }
}

/// The text form, as that of unreserved scalar resources.
impl fmt::Display for ScalarQuantities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, amount)) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { ";" };
            write!(formatter, "{separator}{name}:{amount}")?;
        }
        Ok(())
    }
}

impl Serialize for ScalarQuantities {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().collect::<Vec<_>>())
    }
}

impl<'de> Deserialize<'de> for ScalarQuantities {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let amounts = Bounded::<(ResourceName, Amount), ENTRIES_MAX>::deserialize(deserializer)?.0;
        let mut quantities = ScalarQuantities::default();
        for (name, amount) in amounts {
            if amount <= Amount::ZERO {
                let reason = format_args!("the quantity of `{name}` must be more than zero");
                return Err(D::Error::custom(reason));
            }
            if !quantities.get(&name).is_zero() {
                return Err(D::Error::custom(format_args!("`{name}` is given twice")));
            }
            quantities.add(&name, amount);
        }
        Ok(quantities)
    }
}

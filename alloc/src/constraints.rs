//! Constraints on agents, checked once and compiled, so that looking at an agent is cheap and
//! cannot take long.

use std::{borrow::Cow, fmt};

use meshos_protocol::{
    attributes::AttributeValue,
    resources::{Amount, Ranges},
    wishes::{AgentConstraint, CONSTRAINTS_MAX, PATTERN_BYTES_MAX, Predicate, Selector},
};
use regex_lite::{Regex, RegexBuilder};

use crate::profile::AgentProfile;

/// How much memory a compiled regular expression may take.
const PROGRAM_BYTES_MAX: usize = 4 * 1024;

/// Why a wish cannot be fulfilled by any offer, or not be checked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WishError {
    /// More than [`CONSTRAINTS_MAX`] of something.
    #[error("{count} {what}, at most {max} are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many were given.
        count: usize,
        /// How many are allowed.
        max: usize,
    },
    /// A pattern is too long.
    #[error("a pattern has {bytes} bytes, at most {PATTERN_BYTES_MAX} are allowed")]
    LongPattern {
        /// Its length.
        bytes: usize,
    },
    /// A pattern is no regular expression, or compiles to more than is allowed.
    #[error("`{pattern}` is not a regular expression that can be used: {error}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        error: String,
    },
    /// A range without anything in it.
    #[error("the range from {from} to {to} is empty")]
    EmptyRange {
        /// Its lower end.
        from: Amount,
        /// Its upper end.
        to: Amount,
    },
    /// The framework is not in the role.
    #[error("the framework is not in role {role}")]
    NotInRole {
        /// The role.
        role: meshos_protocol::role::Role,
    },
    /// Something is asked for together by one who has not said that it does that.
    #[error("only a framework with the capability gang_offers asks for all or nothing")]
    NoGangs,
    /// A request for nothing.
    #[error("a request must name resources and be made at least once")]
    EmptyRequest,
}

/// The constraints of one framework in one role.
#[derive(Debug, Clone)]
pub(crate) struct Constraints {
    /// Agents fulfil all of one of these.
    alternatives: Vec<Vec<Constraint>>,
}

#[derive(Debug, Clone)]
struct Constraint {
    of: Selector,
    check: Check,
    /// Whether agents without what is looked at fulfil it: the negative ones.
    negative: bool,
}

#[derive(Debug, Clone)]
enum Check {
    Any,
    Equals(String),
    Matches(Regex),
    Less(Amount),
    Greater(Amount),
    Within(Amount, Amount),
    Never,
}

/// Something an agent says of itself.
enum Said<'a> {
    Text(Cow<'a, str>),
    Number(Amount),
    Numbers(&'a Ranges),
}

impl Constraints {
    /// Checks and compiles; nothing when there are no constraints.
    pub(crate) fn compile(
        alternatives: &[Vec<AgentConstraint>],
    ) -> Result<Option<Self>, WishError> {
        let check_count = |what, count| {
            let max = CONSTRAINTS_MAX;
            if count > max { Err(WishError::TooMany { what, count, max }) } else { Ok(()) }
        };
        check_count("alternatives", alternatives.len())?;
        let mut compiled = Vec::with_capacity(alternatives.len());
        for alternative in alternatives {
            check_count("constraints in one alternative", alternative.len())?;
            compiled.push(alternative.iter().map(Constraint::compile).collect::<Result<_, _>>()?);
        }
        Ok((!compiled.is_empty()).then_some(Self { alternatives: compiled }))
    }

    /// Whether an agent may be offered.
    pub(crate) fn allow(&self, agent: &AgentProfile) -> bool {
        let all = |alternative: &Vec<Constraint>| alternative.iter().all(|one| one.holds(agent));
        self.alternatives.iter().any(all)
    }
}

/// `hostname is a and attribute rack is not b, or zone is c`.
impl fmt::Display for Constraints {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, alternative) in self.alternatives.iter().enumerate() {
            formatter.write_str(if number == 0 { "" } else { ", or " })?;
            for (number, one) in alternative.iter().enumerate() {
                write!(formatter, "{}{one}", if number == 0 { "" } else { " and " })?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.of {
            Selector::Attribute { name } => write!(formatter, "attribute {name}")?,
            Selector::Hostname => formatter.write_str("hostname")?,
            Selector::Region => formatter.write_str("region")?,
            Selector::Zone => formatter.write_str("zone")?,
            Selector::Nothing | Selector::Unknown => formatter.write_str("something unknown")?,
        }
        let not = if self.negative { " not" } else { "" };
        match &self.check {
            Check::Any => write!(formatter, " is{not} set"),
            Check::Equals(value) => write!(formatter, " is{not} {value}"),
            Check::Matches(pattern) if self.negative => {
                write!(formatter, " does not match {}", pattern.as_str())
            }
            Check::Matches(pattern) => write!(formatter, " matches {}", pattern.as_str()),
            Check::Less(than) => write!(formatter, " is below {than}"),
            Check::Greater(than) => write!(formatter, " is above {than}"),
            Check::Within(from, to) => write!(formatter, " is from {from} to {to}"),
            Check::Never => formatter.write_str(" is what no agent has"),
        }
    }
}

impl Constraint {
    fn compile(constraint: &AgentConstraint) -> Result<Self, WishError> {
        let (check, negative) = match &constraint.is {
            Predicate::Exists => (Check::Any, false),
            Predicate::NotExists => (Check::Any, true),
            Predicate::Equals { value } => (Check::Equals(value.clone()), false),
            Predicate::NotEquals { value } => (Check::Equals(value.clone()), true),
            Predicate::Matches { pattern } => (Check::Matches(compile_pattern(pattern)?), false),
            Predicate::NotMatches { pattern } => (Check::Matches(compile_pattern(pattern)?), true),
            Predicate::Less { than } => (Check::Less(*than), false),
            Predicate::Greater { than } => (Check::Greater(*than), false),
            Predicate::Within { from, to } if from > to => {
                return Err(WishError::EmptyRange { from: *from, to: *to });
            }
            Predicate::Within { from, to } => (Check::Within(*from, *to), false),
            Predicate::Never | Predicate::Unknown => (Check::Never, false),
        };
        Ok(Self { of: constraint.of.clone(), check, negative })
    }

    fn holds(&self, agent: &AgentProfile) -> bool {
        let fits = |said: Said<'_>| self.check.fits(&said);
        let text = |text: &str| !text.is_empty() && fits(Said::Text(Cow::Borrowed(text)));
        let found = match &self.of {
            Selector::Attribute { name } => {
                agent.attributes.get_all(name).any(|value| said(value).any(fits))
            }
            Selector::Hostname => text(&agent.hostname),
            Selector::Region => agent.domain.as_ref().is_some_and(|domain| text(&domain.region)),
            Selector::Zone => agent.domain.as_ref().is_some_and(|domain| text(&domain.zone)),
            Selector::Nothing | Selector::Unknown => return false,
        };
        found != self.negative
    }
}

impl Check {
    fn fits(&self, said: &Said<'_>) -> bool {
        let number = |fits: &dyn Fn(Amount) -> bool, numbers: &dyn Fn(&Ranges) -> bool| match said {
            Said::Number(number) => fits(*number),
            Said::Numbers(ranges) => numbers(ranges),
            Said::Text(_) => false,
        };
        match self {
            Self::Any => true,
            Self::Equals(value) => with_text(said, |text| text == value),
            Self::Matches(regex) => with_text(said, |text| regex.is_match(text)),
            Self::Less(than) => number(&|number| number < *than, &|ranges| {
                ranges.iter().any(|range| whole(range.begin()) < *than)
            }),
            Self::Greater(than) => number(&|number| number > *than, &|ranges| {
                ranges.iter().any(|range| whole(range.end()) > *than)
            }),
            Self::Within(from, to) => {
                number(&|number| (*from..=*to).contains(&number), &|ranges| {
                    // Whole numbers, so the ends of what is asked for are rounded inwards.
                    ranges.iter().any(|range| {
                        let start = whole(range.begin()).max(*from);
                        let start = if start.is_whole() {
                            start
                        } else {
                            Amount::whole(start.units() + i64::from(!start.is_negative()))
                        };
                        start <= whole(range.end()).min(*to)
                    })
                })
            }
            Self::Never => false,
        }
    }
}

fn with_text(said: &Said<'_>, fits: impl FnOnce(&str) -> bool) -> bool {
    match said {
        Said::Text(text) => fits(text),
        Said::Number(number) => fits(&number.to_string()),
        Said::Numbers(ranges) => fits(&ranges.to_string()),
    }
}

fn whole(number: u64) -> Amount {
    Amount::whole(i64::try_from(number).unwrap_or(i64::MAX))
}

/// What an attribute says, item by item when it is a set.
fn said(value: &AttributeValue) -> Box<dyn Iterator<Item = Said<'_>> + '_> {
    match value {
        AttributeValue::Scalar(amount) => Box::new(std::iter::once(Said::Number(*amount))),
        AttributeValue::Ranges(ranges) => Box::new(std::iter::once(Said::Numbers(ranges))),
        AttributeValue::Set(set) => Box::new(set.iter().map(|item| Said::Text(item.into()))),
        AttributeValue::Text(text) => Box::new(std::iter::once(Said::Text(text.as_str().into()))),
    }
}

/// The whole of a text must match. The engine takes time in proportion to program and text, with
/// whatever pattern.
fn compile_pattern(pattern: &str) -> Result<Regex, WishError> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(WishError::LongPattern { bytes: pattern.len() });
    }
    let build = |text: &str| {
        RegexBuilder::new(text).size_limit(PROGRAM_BYTES_MAX).build().map_err(|error| {
            WishError::Pattern { pattern: pattern.to_owned(), error: error.to_string() }
        })
    };
    // By itself first: a pattern that is only good in parentheses would end those around it.
    build(pattern)?;
    build(&format!("^(?:{pattern})$"))
}

#[cfg(test)]
mod tests;

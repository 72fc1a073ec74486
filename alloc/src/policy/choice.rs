//! Policies by name, as operators choose them.

use std::{fmt, str::FromStr, time::Duration};

use meshos_protocol::resources::{ResourceName, TextError};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{Drf, FairDecay, MaxMin, Policy, Priority, Random};

/// The half-life of `fair-decay` when none is named: a day.
const HALF_LIFE_DEFAULT: Duration = Duration::from_secs(24 * 60 * 60);

const HALF_LIFE_MIN: Duration = Duration::from_secs(1);
const HALF_LIFE_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// One of the policies that come with meshos, and its settings. The text form is that of
/// `--allocation-policy`: `drf`, `max-min:mem`, `priority`, `fair-decay:1h` or `random`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PolicyChoice {
    /// [`Drf`], the default.
    #[default]
    Drf,
    /// [`MaxMin`] over this resource.
    MaxMin(ResourceName),
    /// [`Priority`].
    Priority,
    /// [`FairDecay`] with this half-life.
    FairDecay(Duration),
    /// [`Random`].
    Random,
}

/// Why a text names no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyChoiceError {
    /// There is no such policy.
    #[error(
        "there is no allocation policy `{name}`: choose drf, max-min:RESOURCE, priority, \
         fair-decay:HALF-LIFE or random"
    )]
    Unknown {
        /// What was given.
        name: String,
    },
    /// The policy needs a setting.
    #[error("max-min needs the resource to share by, as in `max-min:mem`")]
    ResourceMissing,
    /// The resource is not one.
    #[error("max-min cannot share by `{name}`: {error}")]
    Resource {
        /// What was given.
        name: String,
        /// What is wrong with it.
        error: TextError,
    },
    /// The resource is not an amount.
    #[error("max-min shares amounts, and `{name}` are ranges: choose cpus, mem, disk or gpus")]
    NotAnAmount {
        /// What was given.
        name: ResourceName,
    },
    /// The half-life is not one.
    #[error(
        "`{text}` is not a half-life: a whole number with s, m, h or d, between 1s and 365d, \
         as in `fair-decay:12h`"
    )]
    HalfLife {
        /// What was given.
        text: String,
    },
    /// The policy has no settings.
    #[error("the allocation policy {name} has no settings, but `{setting}` was given")]
    NoSettings {
        /// The policy.
        name: &'static str,
        /// What was given.
        setting: String,
    },
}

impl PolicyChoice {
    /// The policy.
    pub fn build(&self) -> Box<dyn Policy> {
        match self {
            Self::Drf => Box::new(Drf),
            Self::MaxMin(resource) => Box::new(MaxMin { resource: resource.clone() }),
            Self::Priority => Box::new(Priority),
            Self::FairDecay(half_life) => Box::new(FairDecay::new(*half_life)),
            Self::Random => Box::new(Random::default()),
        }
    }
}

impl FromStr for PolicyChoice {
    type Err = PolicyChoiceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, setting) = match text.split_once(':') {
            Some((name, setting)) => (name, Some(setting)),
            None => (text, None),
        };
        let plain = |name, choice| match setting {
            None => Ok(choice),
            Some(setting) => {
                Err(PolicyChoiceError::NoSettings { name, setting: setting.to_owned() })
            }
        };
        match name {
            "drf" => plain("drf", Self::Drf),
            "priority" => plain("priority", Self::Priority),
            "random" => plain("random", Self::Random),
            "max-min" => setting
                .filter(|setting| !setting.is_empty())
                .ok_or(PolicyChoiceError::ResourceMissing)
                .and_then(resource)
                .map(Self::MaxMin),
            "fair-decay" => setting.map_or(Ok(HALF_LIFE_DEFAULT), half_life).map(Self::FairDecay),
            _ => Err(PolicyChoiceError::Unknown { name: name.to_owned() }),
        }
    }
}

fn resource(name: &str) -> Result<ResourceName, PolicyChoiceError> {
    match ResourceName::new(name) {
        Ok(name @ ResourceName::Ports) => Err(PolicyChoiceError::NotAnAmount { name }),
        Ok(name) => Ok(name),
        Err(error) => Err(PolicyChoiceError::Resource { name: name.to_owned(), error }),
    }
}

fn half_life(text: &str) -> Result<Duration, PolicyChoiceError> {
    let seconds_per_unit = |unit| {
        [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)]
            .into_iter()
            .find(|(name, _)| *name == unit)
    };
    let parse = || {
        let digits = text.find(|found: char| !found.is_ascii_digit())?;
        let (_, seconds) = seconds_per_unit(&text[digits..])?;
        let count: u64 = text[..digits].parse().ok()?;
        Some(Duration::from_secs(count.checked_mul(seconds)?))
    };
    parse()
        .filter(|half_life| (HALF_LIFE_MIN..=HALF_LIFE_MAX).contains(half_life))
        .ok_or_else(|| PolicyChoiceError::HalfLife { text: text.to_owned() })
}

impl fmt::Display for PolicyChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drf => formatter.write_str("drf"),
            Self::MaxMin(resource) => write!(formatter, "max-min:{resource}"),
            Self::Priority => formatter.write_str("priority"),
            Self::FairDecay(half_life) => {
                let seconds = half_life.as_secs();
                let units = [(86_400, 'd'), (3_600, 'h'), (60, 'm')];
                let (per_unit, unit) = units
                    .into_iter()
                    .find(|(per_unit, _)| seconds >= *per_unit && seconds.is_multiple_of(*per_unit))
                    .unwrap_or((1, 's'));
                write!(formatter, "fair-decay:{}{unit}", seconds / per_unit)
            }
            Self::Random => formatter.write_str("random"),
        }
    }
}

/// As its text form.
impl Serialize for PolicyChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PolicyChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

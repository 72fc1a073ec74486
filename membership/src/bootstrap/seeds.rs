//! The seed list: the addresses of the designated voters, in one form on every node.

use std::fmt;

/// The most seeds, which is the most voters.
pub const SEEDS_MAX: usize = 7;

/// Seeds as `host:port`, in lower case, sorted, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeedList(Vec<String>);

/// Why a seed list, or this node's place in it, cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeedListError {
    /// Not `host:port`.
    #[error("seed {seed:?} is not host:port: {reason}")]
    Malformed {
        /// The seed as given.
        seed: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// More than seven.
    #[error("{count} seeds are listed, the most is {SEEDS_MAX}; list one, three, five or seven")]
    TooMany {
        /// How many different ones.
        count: usize,
    },
    /// Two seeds are this node.
    #[error(
        "seeds {first} and {second} are both this node; list it once, or say with --advertise which it is"
    )]
    TwoMatches {
        /// One of them.
        first: String,
        /// Another.
        second: String,
    },
}

impl SeedList {
    /// The normalised list.
    ///
    /// # Errors
    /// When a seed is not `host:port` or there are more than [`SEEDS_MAX`].
    pub fn parse(seeds: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, SeedListError> {
        let mut list = Vec::new();
        for seed in seeds {
            list.push(normalise(seed.as_ref())?);
        }
        list.sort_unstable();
        list.dedup();
        if list.len() > SEEDS_MAX {
            return Err(SeedListError::TooMany { count: list.len() });
        }
        Ok(Self(list))
    }

    /// What the operator should know about the list, although it works.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let count = self.0.len();
        (count > 0 && count.is_multiple_of(2)).then(|| {
            let lost = (count - 1) / 2;
            format!(
                "{count} seeds survive the loss of {lost}, no more than {} would; list an odd number",
                count - 1
            )
        })
    }

    /// The seed that begins the group.
    #[must_use]
    pub fn first(&self) -> Option<&str> {
        self.0.first().map(String::as_str)
    }

    /// The seeds in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether this seed, in normal form, is listed.
    #[must_use]
    pub fn contains(&self, seed: &str) -> bool {
        self.iter().any(|listed| listed == seed)
    }

    /// Whether nothing is listed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many seeds there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Display for SeedList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

/// Which seed this node is: the one it advertises, or else the one in `local`: those that name the
/// port this node serves and resolve to an address of this machine, as whoever can resolve found.
///
/// # Errors
/// When an advertised address is no address, or two seeds are this node.
pub fn own_seed(
    seeds: &SeedList,
    advertise: Option<&str>,
    local: &[String],
) -> Result<Option<String>, SeedListError> {
    if let Some(advertise) = advertise {
        let own = normalise(advertise)?;
        return Ok(seeds.contains(&own).then_some(own));
    }
    let mut matches = seeds.iter().filter(|seed| local.iter().any(|own| own == seed));
    match (matches.next(), matches.next()) {
        (Some(first), Some(second)) => {
            Err(SeedListError::TwoMatches { first: first.to_owned(), second: second.to_owned() })
        }
        (own, _) => Ok(own.map(str::to_owned)),
    }
}

fn normalise(seed: &str) -> Result<String, SeedListError> {
    let malformed = |reason| SeedListError::Malformed { seed: seed.to_owned(), reason };
    let text = seed.trim();
    let (host, port) = text.rsplit_once(':').ok_or_else(|| malformed("the port is missing"))?;
    let bracketed = host.starts_with('[') && host.ends_with(']') && host.len() > 2;
    if host.is_empty() {
        return Err(malformed("the host is missing"));
    }
    if host.contains(':') && !bracketed {
        return Err(malformed("an IPv6 address stands in brackets"));
    }
    if host.chars().any(|c| c.is_whitespace() || c.is_control() || c == '/') {
        return Err(malformed("the host has a character that no host has"));
    }
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(malformed("the port is not a number"));
    }
    let port: u16 = port.parse().map_err(|_| malformed("the port is not a number below 65536"))?;
    if port == 0 {
        return Err(malformed("port 0 is no port to call"));
    }
    // A dot at the end of a name, and leading zeros of a port, mean nothing.
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    Ok(format!("{host}:{port}"))
}

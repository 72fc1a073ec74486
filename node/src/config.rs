//! What a node is told: file, environment and flags, checked and resolved.
//!
//! Two types, so that nothing half-checked travels further: [`Raw`] has every value as it was given,
//! with where it came from, all of them optional; [`resolve()`] makes [`NodeOptions`] of it, in which
//! everything is there and valid, or says all that is wrong at once, each in a sentence that names
//! the flag, the variable, or the file with its line.

mod address;
mod duration;
mod file;
mod options;
mod places;
mod raw;
mod resolve;
mod seeds;
mod variables;

#[cfg(test)]
mod tests;

pub(crate) use duration::{parse_duration, print_duration};
pub(crate) use file::read_file;
pub(crate) use options::{ExecutorTimes, KeySource, NodeOptions, Seed, Sharing, Times};
pub(crate) use places::{Places, TOKEN_FILE};
pub(crate) use raw::{Flags, Raw};
pub(crate) use resolve::{Resolved, resolve};
pub(crate) use variables::read_variables;

/// All that is wrong with a configuration, one sentence each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub(crate) struct ConfigError(pub Vec<String>);

impl ConfigError {
    /// One thing is wrong.
    pub(crate) fn one(sentence: impl Into<String>) -> Self {
        Self(vec![sentence.into()])
    }
}

/// The known name that `found` was probably meant to be, if any is near.
pub(crate) fn nearest<'a>(
    found: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let distance =
        |name: &str| strsim::damerau_levenshtein(&found.to_lowercase(), &name.to_lowercase());
    let nearest = known.into_iter().min_by_key(|name| distance(name))?;
    // More than a third of it wrong is no slip of the finger.
    (distance(nearest) <= 1 + nearest.chars().count() / 3).then_some(nearest)
}

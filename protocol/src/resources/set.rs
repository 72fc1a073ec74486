//! Sets of words.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::wire::Bounded;
use crate::text::{NAME_BYTES_MAX, TEXT_BYTES_MAX};

/// The most items one set may have on the wire. No text is long enough to hold more.
pub const SET_ITEMS_MAX: usize = TEXT_BYTES_MAX / 2;

/// A set of words. Cloning it is cheap.
///
/// An item is not empty, has at most [`NAME_BYTES_MAX`] bytes, no white space at its ends, and
/// holds neither control characters nor any of `,;{}`, so that every set has a text form.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Set(Arc<BTreeSet<String>>);

/// Why a text cannot be an item of a set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// There is no text.
    #[error("an item of a set must not be empty")]
    EmptyItem,
    /// The item exceeds [`NAME_BYTES_MAX`].
    #[error("the item of a set has {bytes} bytes, at most {NAME_BYTES_MAX} are allowed")]
    LongItem {
        /// The length that was given.
        bytes: usize,
    },
    /// The item has white space at an end, or holds a character that none may hold.
    #[error(
        "`{}` cannot be an item of a set: no control characters, none of `,;{{}}`, \
         no white space at the ends",
        item.escape_debug()
    )]
    Character {
        /// The item that was given.
        item: String,
    },
}

impl Set {
    /// The set of these items; repeated ones count once.
    ///
    /// # Errors
    ///
    /// When an item breaks the rules of [`Set`].
    pub fn new<S: AsRef<str>>(items: impl IntoIterator<Item = S>) -> Result<Self, SetError> {
        let mut set = Set::default();
        for item in items {
            set.insert(item.as_ref())?;
        }
        Ok(set)
    }

    /// Adds an item.
    ///
    /// # Errors
    ///
    /// When the item breaks the rules of [`Set`].
    pub fn insert(&mut self, item: &str) -> Result<(), SetError> {
        check(item)?;
        Arc::make_mut(&mut self.0).insert(item.to_owned());
        Ok(())
    }

    /// Whether there is no item.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many items there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The items, in alphabetical order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether `item` is one of the items.
    #[must_use]
    pub fn contains_item(&self, item: &str) -> bool {
        self.0.contains(item)
    }

    /// Whether every item of `other` is here too.
    #[must_use]
    pub fn contains(&self, other: &Set) -> bool {
        other.0.is_subset(&self.0)
    }

    /// The items that are here or in `other`.
    #[must_use]
    pub fn union(&self, other: &Set) -> Set {
        Set(Arc::new(&*self.0 | &*other.0))
    }

    /// The items that are here and not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Set) -> Set {
        Set(Arc::new(&*self.0 - &*other.0))
    }

    /// The items that are here and in `other`.
    #[must_use]
    pub fn intersection(&self, other: &Set) -> Set {
        Set(Arc::new(&*self.0 & &*other.0))
    }
}

/// The rules for one item.
fn check(item: &str) -> Result<(), SetError> {
    if item.is_empty() {
        return Err(SetError::EmptyItem);
    }
    if item.len() > NAME_BYTES_MAX {
        return Err(SetError::LongItem { bytes: item.len() });
    }
    let refused =
        |character: char| character.is_control() || matches!(character, ',' | ';' | '{' | '}');
    if item.trim() != item || item.contains(refused) {
        return Err(SetError::Character { item: item.to_owned() });
    }
    Ok(())
}

/// The text form, `{a,b,c}`.
impl fmt::Display for Set {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("{")?;
        for (index, item) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(formatter, "{separator}{item}")?;
        }
        formatter.write_str("}")
    }
}

impl Serialize for Set {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Set {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let items = Bounded::<String, SET_ITEMS_MAX>::deserialize(deserializer)?.0;
        let mut set = BTreeSet::new();
        for item in items {
            check(&item).map_err(D::Error::custom)?;
            if set.last().is_some_and(|last| *last >= item) {
                return Err(D::Error::custom("the items of a set must be sorted and differ"));
            }
            set.insert(item);
        }
        Ok(Set(Arc::new(set)))
    }
}

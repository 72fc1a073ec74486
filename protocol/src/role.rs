//! Role names: who resources are reserved for and shared between.
//!
//! The rules are those of Mesos, so that its frameworks and weight files keep working: a role is
//! a path of components joined with `/`, and `*` alone is the default role, which also stands for
//! "unreserved". Beyond them, `(`, `)`, `;` and control characters are refused, because
//! `cpus(role):4` could not be read back, and the length is bounded, because roles are untrusted
//! input that is kept.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize, Serializer};

/// The longest role name, in bytes.
pub const ROLE_BYTES_MAX: usize = 255;

/// The name of the default role.
const DEFAULT_ROLE: &str = "*";

/// Shared, so that making the default role, which happens everywhere, does not allocate.
static DEFAULT_NAME: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from(DEFAULT_ROLE));

/// A valid role name. Cloning it is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Role(Arc<str>);

/// Why a text is not a role name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoleError {
    /// There is no name.
    #[error("a role name must not be empty")]
    Empty,
    /// The name exceeds [`ROLE_BYTES_MAX`].
    #[error("the role name has {bytes} bytes, at most {ROLE_BYTES_MAX} are allowed")]
    TooLong {
        /// The length that was given.
        bytes: usize,
    },
    /// The name holds a character that no role may hold.
    #[error("role name `{role}` holds `{}` at byte {position}, which is not allowed", character.escape_debug())]
    Character {
        /// The name that was given.
        role: String,
        /// The byte position of the character.
        position: usize,
        /// The character.
        character: char,
    },
    /// The name starts or ends with `/`, or holds `//`.
    #[error("role name `{role}` has an empty part: no `/` may stand at an end or beside another")]
    EmptyComponent {
        /// The name that was given.
        role: String,
    },
    /// A component is `.`, `..` or `*`.
    #[error("role name `{role}` has the part `{component}`, which is reserved")]
    ReservedComponent {
        /// The name that was given.
        role: String,
        /// The component.
        component: String,
    },
    /// A component starts with `-`.
    #[error("role name `{role}` has the part `{component}`, which must not start with `-`")]
    LeadingDash {
        /// The name that was given.
        role: String,
        /// The component.
        component: String,
    },
}

impl Role {
    /// Checks a role name.
    ///
    /// # Errors
    ///
    /// When the name breaks one of the rules in the module's documentation.
    pub fn new(name: &str) -> Result<Self, RoleError> {
        if name == DEFAULT_ROLE {
            return Ok(Role::default());
        }
        check(name)?;
        Ok(Role(Arc::from(name)))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is `*`.
    #[must_use]
    pub fn is_default(&self) -> bool {
        &*self.0 == DEFAULT_ROLE
    }

    /// The parts between the slashes, from the top.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The role above: `a/b` for `a/b/c`, nothing for `a`.
    #[must_use]
    pub fn parent(&self) -> Option<Role> {
        self.0.rsplit_once('/').map(|(parent, _)| Role(Arc::from(parent)))
    }

    /// This role and those above it, the nearest first.
    pub fn with_those_above(&self) -> impl Iterator<Item = Role> + use<> {
        std::iter::successors(Some(self.clone()), Self::parent)
    }

    /// Whether `other` lies below this role, at any depth. No role lies below itself, and none
    /// below `*`.
    #[must_use]
    pub fn is_ancestor_of(&self, other: &Role) -> bool {
        other.0.strip_prefix(&*self.0).is_some_and(|below| below.starts_with('/'))
    }
}

/// The rules for every role but `*`.
fn check(name: &str) -> Result<(), RoleError> {
    let role = || name.to_owned();
    if name.is_empty() {
        return Err(RoleError::Empty);
    }
    if name.len() > ROLE_BYTES_MAX {
        return Err(RoleError::TooLong { bytes: name.len() });
    }
    let refused = |character: char| {
        character.is_whitespace() || character.is_control() || matches!(character, '(' | ')' | ';')
    };
    if let Some((position, character)) = name.char_indices().find(|(_, found)| refused(*found)) {
        return Err(RoleError::Character { role: role(), position, character });
    }
    for component in name.split('/') {
        if component.is_empty() {
            return Err(RoleError::EmptyComponent { role: role() });
        }
        if matches!(component, "." | ".." | "*") {
            return Err(RoleError::ReservedComponent {
                role: role(),
                component: component.to_owned(),
            });
        }
        if component.starts_with('-') {
            return Err(RoleError::LeadingDash { role: role(), component: component.to_owned() });
        }
    }
    Ok(())
}

/// The default role, `*`.
impl Default for Role {
    fn default() -> Self {
        Role(Arc::clone(&DEFAULT_NAME))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Role({})", self.0)
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(name: &str) -> Result<Self, RoleError> {
        Role::new(name)
    }
}

impl TryFrom<String> for Role {
    type Error = RoleError;

    fn try_from(name: String) -> Result<Self, RoleError> {
        Role::new(&name)
    }
}

impl Borrow<str> for Role {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Role {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Serialize for Role {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests;

//! Ids that users choose or that name a container: short, validated texts.

use std::{fmt, str::FromStr, sync::Arc};

use super::{IdError, serde_as_text};

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $validate:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the text when it follows the rules above.
            ///
            /// # Errors
            /// Says which rule the text breaks.
            pub fn new(text: &str) -> Result<Self, IdError> {
                match $validate(text) {
                    None => Ok(Self(text.into())),
                    Some(reason) => Err(IdError::new($kind, text, reason)),
                }
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        serde_as_text!($name);
    };
}

text_id!(
    /// A task, named by its framework: 1 to 255 bytes, not `.` or `..`, without `/`, `\` or
    /// control characters (the rule of Mesos for ids that frameworks choose).
    TaskId,
    "task id",
    chosen_by_framework
);
text_id!(
    /// An executor, named by its framework: the rule of task ids. Unique on its agent.
    ExecutorId,
    "executor id",
    chosen_by_framework
);

text_id!(
    /// An operation on resources, named by its framework, which wants to hear of it: the rule of
    /// task ids.
    OperationId,
    "operation id",
    chosen_by_framework
);
text_id!(
    /// A container on one agent: 1 to 64 of `a-z`, `0-9` and `-`. It names a directory and a
    /// cgroup, so it is stricter than a task id.
    ContainerId,
    "container id",
    container
);
text_id!(
    /// Who is calling, as its credentials say: 1 to 255 bytes without control characters.
    Principal,
    "principal",
    principal
);

pub(crate) fn chosen_by_framework(text: &str) -> Option<&'static str> {
    match text {
        "" => Some("it is empty"),
        "." | ".." => Some("it may not be \".\" or \"..\""),
        _ if text.len() > 255 => Some("it is longer than 255 bytes"),
        _ if text.contains(['/', '\\']) => Some("it may not contain \"/\" or \"\\\""),
        _ if text.contains(char::is_control) => Some("it may not contain control characters"),
        _ => None,
    }
}

fn container(text: &str) -> Option<&'static str> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    match text {
        "" => Some("it is empty"),
        _ if text.len() > 64 => Some("it is longer than 64 bytes"),
        _ if !text.bytes().all(allowed) => Some("expected only a-z, 0-9 and \"-\""),
        _ => None,
    }
}

fn principal(text: &str) -> Option<&'static str> {
    match text {
        "" => Some("it is empty"),
        _ if text.len() > 255 => Some("it is longer than 255 bytes"),
        _ if text.contains(char::is_control) => Some("it may not contain control characters"),
        _ => None,
    }
}

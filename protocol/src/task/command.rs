//! The command of a task.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A program with its surroundings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// What is executed.
    pub line: CommandLine,
    /// Added to the small environment that every task gets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Whom it runs as; the framework's user when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Fetched into the sandbox before it starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uris: Vec<Uri>,
}

impl Command {
    /// No command: that of a task which an executor runs.
    pub const fn none() -> Self {
        Self {
            line: CommandLine::Shell { line: String::new() },
            environment: BTreeMap::new(),
            user: None,
            uris: Vec::new(),
        }
    }

    /// Whether there is nothing in it.
    pub fn is_none(&self) -> bool {
        *self == Self::none()
    }
}

/// What is executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum CommandLine {
    /// A line for `/bin/sh -c`.
    Shell {
        /// The line.
        line: String,
    },
    /// A program and its arguments, without a shell.
    Exec {
        /// Looked up in `PATH` when it has no slash.
        program: String,
        /// The arguments after the program's name.
        #[serde(default)]
        arguments: Vec<String>,
    },
    /// A form that this build does not know.
    #[serde(other)]
    Unknown,
}

impl CommandLine {
    /// A line for `/bin/sh -c`.
    pub fn shell(line: impl Into<String>) -> Self {
        Self::Shell { line: line.into() }
    }

    /// A program with its arguments, without a shell.
    pub fn exec<A: Into<String>>(
        program: impl Into<String>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Self::Exec { program: program.into(), arguments }
    }
}

/// Something to fetch into the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uri {
    /// A path, `file://` or `http://` address.
    pub value: String,
    /// Make the file executable.
    #[serde(default)]
    pub executable: bool,
    /// Unpack archives (`.tar`, `.tar.gz`, `.tgz`).
    #[serde(default)]
    pub extract: bool,
    /// The name in the sandbox; the last part of the address when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_file: Option<String>,
}

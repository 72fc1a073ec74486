//! Settings from the environment.

use std::ffi::OsString;

use super::{
    ConfigError, Raw, nearest,
    raw::{Form, Given, KEYS, Origin, Source, variable_name},
};

const PREFIX: &str = "MESHOS_";

/// Variables of ours that are no setting of a node.
const OTHERS: &[&str] = &[
    "MESHOS_CONFIG",
    "MESHOS_NODE",
    "MESHOS_TOKEN",
    "MESHOS_CREDENTIALS",
    "MESHOS_CONTAINER",
    "MESHOS_CONTAINER_ID",
    "MESHOS_SANDBOX",
];

/// Reads the settings among `variables`. A variable whose name is nearly that of a setting is
/// refused; any other that is not ours is none of our business.
///
/// # Errors
/// Names every variable that is misspelt or has no usable value.
pub(crate) fn read_variables(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Raw, ConfigError> {
    let mut source = Variables { found: Vec::new(), problems: Vec::new() };
    let known: Vec<_> = KEYS.iter().map(|key| variable_name(key)).collect();
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
        if known.iter().any(|known| known == name) {
            match value.into_string() {
                Ok(value) => source.found.push((name.to_owned(), value)),
                Err(_) => source.problems.push(format!("{name} is not valid UTF-8")),
            }
        } else if !OTHERS.contains(&name)
            && let Some(near) = nearest(name, known.iter().map(AsRef::as_ref))
        {
            source.problems.push(format!(
                "the environment variable {name} is not known; did you mean {near}?"
            ));
        }
    }
    let raw = Raw::read(&mut source);
    if source.problems.is_empty() { Ok(raw) } else { Err(ConfigError(source.problems)) }
}

struct Variables {
    found: Vec<(String, String)>,
    problems: Vec<String>,
}

impl Source for Variables {
    fn value<T: Form>(&mut self, key: &'static str) -> Option<Given<T>> {
        let name = variable_name(key);
        let (_, text) = self.found.iter().find(|(found, _)| *found == name)?;
        match T::from_text(text.trim()) {
            Some(value) => Some(Given { value, from: Origin::Variable { key } }),
            None => {
                self.problems.push(format!("{name} is {text:?}: expected {}", T::EXPECTED));
                None
            }
        }
    }
}

//! Paths and queries, taken apart.

use std::{fmt::Display, str::FromStr};

use super::call::Failure;

/// The longest path with its query, in bytes.
const PATH_BYTES_MAX: usize = 8 << 10;
/// The most parameters in one query.
const PARAMETERS_MAX: usize = 32;

/// A path with its query, decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The parts between the slashes.
    pub segments: Vec<String>,
    /// The parameters, in their order.
    pub query: Query,
}

impl Target {
    /// Takes a path apart. A part may hold an encoded slash; it is not taken for a separator.
    pub(super) fn parse(path: &str) -> Result<Self, Failure> {
        if path.len() > PATH_BYTES_MAX {
            let what =
                format!("the path has {} bytes, at most {PATH_BYTES_MAX} are read", path.len());
            return Err(Failure::invalid(what));
        }
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let path = path.strip_prefix('/').unwrap_or(path);
        let segments = path.split('/').map(|part| decode(part, false)).collect::<Result<_, _>>()?;
        Ok(Self { segments, query: Query::parse(query)? })
    }
}

/// The parameters of a query.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    fn parse(text: &str) -> Result<Self, Failure> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            if parameters.len() == PARAMETERS_MAX {
                let what = format!("the query has more than {PARAMETERS_MAX} parameters");
                return Err(Failure::invalid(what));
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name, true)?, decode(value, true)?);
            if parameters.iter().any(|(known, _)| *known == name) {
                return Err(Failure::invalid(format!("parameter {name:?} is given twice")));
            }
            parameters.push((name, value));
        }
        Ok(Self(parameters))
    }

    /// Refuses every parameter that is not among `known`: one that is misspelt must not be ignored.
    pub(super) fn only(self, known: &[&str]) -> Result<Self, Failure> {
        let stranger = self.0.iter().find(|(name, _)| !known.contains(&name.as_str()));
        let Some((name, _)) = stranger else { return Ok(self) };
        let message = match known {
            [] => format!("parameter {name:?} is not known here: this path takes none"),
            known => format!(
                "parameter {name:?} is not known here: this path takes {}",
                known.join(", ")
            ),
        };
        Err(Failure::invalid(message))
    }

    /// The value of a parameter, read.
    pub(super) fn get<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, Failure> {
        let Some((_, text)) = self.0.iter().find(|(known, _)| known == name) else {
            return Ok(None);
        };
        text.parse()
            .map(Some)
            .map_err(|error| Failure::invalid(format!("parameter {name}={text:?}: {error}")))
    }
}

/// Replaces `%XX` by the byte that it stands for and, in queries, `+` by a space.
fn decode(text: &str, plus_is_space: bool) -> Result<String, Failure> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        match byte {
            b'%' => {
                let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
                let hexadecimal = |two: &&str| two.bytes().all(|byte| byte.is_ascii_hexdigit());
                let value =
                    digits.filter(hexadecimal).and_then(|two| u8::from_str_radix(two, 16).ok());
                let value = value.ok_or_else(|| {
                    Failure::invalid(format!("{text:?}: two hexadecimal digits must follow \"%\""))
                })?;
                bytes.push(value);
                rest = &after[2..];
            }
            b'+' if plus_is_space => bytes.push(b' '),
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes)
        .map_err(|_| Failure::invalid(format!("{text:?} does not stand for text in UTF-8")))
}

/// One part of a path, encoded so that it is read back as it is.
pub(super) fn encode(part: &str) -> String {
    let mut text = String::with_capacity(part.len());
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(path: &str) -> Vec<String> {
        Target::parse(path).unwrap().segments
    }

    #[test]
    fn paths_come_apart_at_their_slashes_before_they_are_decoded() {
        assert_eq!(
            segments("/api/tasks/F1/a%2Fb/logs/stdout"),
            ["api", "tasks", "F1", "a/b", "logs", "stdout"]
        );
        assert_eq!(segments("/a+b%20%c3%bc"), ["a+b ü"]);
        assert_eq!(segments("/"), [""]);
    }

    #[test]
    fn queries_are_read_and_strangers_are_named() {
        let query = Target::parse("/x?state=running&name=a+b%26c&flag").unwrap().query;
        assert_eq!(query.get::<String>("name").unwrap().as_deref(), Some("a b&c"));
        assert_eq!(query.get::<String>("flag").unwrap().as_deref(), Some(""));
        assert_eq!(query.get::<u64>("absent").unwrap(), None);
        let failure = query.only(&["state", "name"]).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "parameter \"flag\" is not known here: this path takes state, name"
        );
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for path in ["/%", "/%f", "/%zz", "/%+1", "/%ff", "/x?a=%", "/x?a=1&a=2"] {
            assert!(Target::parse(path).is_err(), "{path}");
        }
        assert!(Target::parse(&format!("/{}", "x".repeat(PATH_BYTES_MAX))).is_err());
        let many: Vec<String> = (0..=PARAMETERS_MAX).map(|n| format!("p{n}=1")).collect();
        assert!(Target::parse(&format!("/x?{}", many.join("&"))).is_err());
        let query = Target::parse("/x?limit=ten").unwrap().query;
        assert!(query.get::<usize>("limit").unwrap_err().to_string().contains("limit=\"ten\""));
    }

    #[test]
    fn what_is_encoded_is_read_back() {
        for part in ["web.1", "a b", "ü?&=#%+/", ""] {
            assert_eq!(segments(&format!("/x/{}", encode(part)))[1], part);
        }
    }
}

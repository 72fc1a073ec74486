//! The form of the small files in the data directory: lines an operator can read, and a checksum.
//!
//! ```text
//! meshos-identity 1
//! node_id abcdefghijkl
//! generation 4
//! checksum 5f0e2c3a9b1d7e64
//! ```

use std::{
    fmt::{Display, Write},
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    str::FromStr,
};

use ring::digest;

use super::{IdentityError, write_atomic};

/// A record is a few short lines; more than this is not one.
const FILE_BYTES_MAX: u64 = 4096;

/// Lines of `name value` under a header that names the kind of file and its version.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    path: PathBuf,
    header: &'static str,
    fields: Vec<(String, String)>,
}

impl Record {
    pub(super) fn new(path: &Path, header: &'static str) -> Self {
        Self { path: path.to_owned(), header, fields: Vec::new() }
    }

    pub(super) fn with(mut self, name: &str, value: impl Display) -> Self {
        self.fields.push((name.to_owned(), value.to_string()));
        self
    }

    /// Reads the file; `None` when there is none.
    pub(super) fn load(path: &Path, header: &'static str) -> Result<Option<Self>, IdentityError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(IdentityError::io("open", path)(error)),
        };
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(IdentityError::io("read", path))?;
        let fields = parse(&bytes, header)
            .map_err(|reason| IdentityError::Damaged { path: path.to_owned(), reason })?;
        Ok(Some(Self { path: path.to_owned(), header, fields }))
    }

    /// Replaces the file by this record.
    pub(super) fn store(&self) -> Result<(), IdentityError> {
        write_atomic(&self.path, self.to_text().as_bytes())
            .map_err(IdentityError::io("write", &self.path))
    }

    pub(super) fn to_text(&self) -> String {
        let mut text = format!("{}\n", self.header);
        for (name, value) in &self.fields {
            writeln!(text, "{name} {value}").expect("writing to a string cannot fail");
        }
        let sum = checksum(text.as_bytes());
        text + "checksum " + &sum + "\n"
    }

    /// The value of a line that must be there.
    pub(super) fn field<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T, IdentityError> {
        self.optional(name)?.ok_or_else(|| self.damaged(format!("line \"{name}\" is missing")))
    }

    /// The value of a line that may be absent.
    pub(super) fn optional<T: FromStr<Err: Display>>(
        &self,
        name: &str,
    ) -> Result<Option<T>, IdentityError> {
        let Some((_, value)) = self.fields.iter().find(|(found, _)| found == name) else {
            return Ok(None);
        };
        value.parse().map(Some).map_err(|error| self.damaged(format!("line \"{name}\": {error}")))
    }

    fn damaged(&self, reason: String) -> IdentityError {
        IdentityError::Damaged { path: self.path.clone(), reason }
    }
}

/// The lines between header and checksum. Unknown ones are kept out of nobody's way, so that a
/// newer version may add some.
fn parse(bytes: &[u8], header: &str) -> Result<Vec<(String, String)>, String> {
    if bytes.is_empty() {
        return Err("it is empty".to_owned());
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not text".to_owned())?;
    let (body, sum) = text
        .strip_suffix('\n')
        .and_then(|text| text.rsplit_once("\nchecksum "))
        .ok_or("its last line is not a checksum")?;
    let body = format!("{body}\n");
    if checksum(body.as_bytes()) != sum {
        return Err("its checksum does not match".to_owned());
    }
    let mut lines = body.lines();
    let found = lines.next().unwrap_or_default();
    if found != header {
        return Err(format!("it starts with \"{found}\", expected \"{header}\""));
    }
    let field = |line: &str| line.split_once(' ').map(|(name, value)| (name.into(), value.into()));
    lines.map(|line| field(line).ok_or_else(|| format!("line \"{line}\" has no value"))).collect()
}

/// Eight bytes of SHA-256: against tearing and bit rot, not against an adversary.
fn checksum(bytes: &[u8]) -> String {
    let sum = digest::digest(&digest::SHA256, bytes);
    sum.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

//! The files of sandboxes: by which paths tools made for Mesos call them, and how they are told what is there.
//!
//! A sandbox is at `/slaves/AGENT/frameworks/FRAMEWORK/executors/EXECUTOR/runs/CONTAINER`, whatever stands in front; `latest`
//! stands for its executor's newest container, and `/frameworks/...` for the same without the agent. A task that has no
//! executor is one of its own, as in everything that agents tell. So a path says which node has the sandbox, and names
//! nothing outside of it.

use meshos_protocol::ids::{AgentId, ClusterId, ContainerId, FrameworkId, TaskId};
use serde::Serialize;

use crate::{
    codec::Refused,
    convert::ids,
    schema::{self, MasterResponse, MasterResponseType},
};

/// The most of a file in one answer: sixteen pages, as in Mesos.
pub const READ_BYTES_MAX: usize = 64 << 10;
/// The most bytes of a path, as in Linux (`PATH_MAX`, limits.h).
pub const PATH_BYTES_MAX: usize = 4_096;
/// In Mesos's words: no path is named.
pub const NO_PATH: &str = "Expecting 'path=value' in query.\n";
/// In Mesos's words: a directory is to be read.
pub const READS_DIRECTORY: &str = "Cannot read a directory.\n";
/// In Mesos's words: a directory is to be handed out.
pub const DOWNLOADS_DIRECTORY: &str = "Cannot download a directory.\n";
/// Stands for the newest container.
const LATEST: &str = "latest";

/// Which container of an executor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Run {
    /// The newest.
    Latest,
    /// This one.
    Container(ContainerId),
}

/// Something in a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxPath {
    /// Whose node has the sandbox; absent when the path does not say.
    pub agent: Option<AgentId>,
    /// Whose executor or task it is.
    pub framework: FrameworkId,
    /// The executor, or the task that has none. Ids of executors follow the rule of those of tasks.
    pub name: TaskId,
    /// Which of its containers.
    pub run: Run,
    /// Where in the sandbox: plain names between slashes, empty for the sandbox itself.
    pub within: String,
}

impl SandboxPath {
    /// Reads a path as tools give it.
    ///
    /// # Errors
    /// 400 when it is longer than any, 404 when it leads to no sandbox of this cluster, 400 when it would lead out of one.
    pub fn read(cluster: ClusterId, path: &str) -> Result<Self, Refused> {
        check_length(path)?;
        let parts: Vec<&str> = parts_of(path).collect();
        let found = (0..parts.len()).find_map(|at| Self::full(cluster, &parts[at..]));
        let found = found.or_else(|| Self::short(cluster, &parts));
        let (found, rest) = found.ok_or_else(|| {
            let what = format!(
                "there is no sandbox at {path:?}: they are at /slaves/AGENT/frameworks/FRAMEWORK/executors/EXECUTOR/runs/CONTAINER"
            );
            Refused::new(404, what)
        })?;
        found.at(path, rest)
    }

    /// Reads a path below the directory of all sandboxes of a node.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn below_root(relative: &str) -> Result<Self, Refused> {
        check_length(relative)?;
        let parts: Vec<&str> = parts_of(relative).collect();
        let found = match parts.as_slice() {
            [framework, name, container, rest @ ..] => framework
                .parse()
                .ok()
                .and_then(|framework| Self::named(None, framework, name, container))
                .map(|found| (found, rest)),
            _ => None,
        };
        let none = || Refused::new(404, format!("there is no sandbox at {relative:?}"));
        let (found, rest) = found.ok_or_else(none)?;
        found.at(relative, rest)
    }

    fn full<'a, 'b>(cluster: ClusterId, parts: &'a [&'b str]) -> Option<(Self, &'a [&'b str])> {
        let ["slaves", agent, rest @ ..] = parts else { return None };
        let agent = ids::read_agent(cluster, agent)?;
        let (found, rest) = Self::short(cluster, rest)?;
        Some((Self { agent: Some(agent), ..found }, rest))
    }

    fn short<'a, 'b>(cluster: ClusterId, parts: &'a [&'b str]) -> Option<(Self, &'a [&'b str])> {
        let ["frameworks", framework, "executors", name, "runs", run, rest @ ..] = parts else {
            return None;
        };
        let framework = ids::read_framework(cluster, framework)?;
        Some((Self::named(None, framework, name, run)?, rest))
    }

    fn named(
        agent: Option<AgentId>,
        framework: FrameworkId,
        name: &str,
        run: &str,
    ) -> Option<Self> {
        let run = match run {
            LATEST => Run::Latest,
            container => Run::Container(ContainerId::new(container).ok()?),
        };
        let name = TaskId::new(name).ok()?;
        Some(Self { agent, framework, name, run, within: String::new() })
    }

    fn at(self, path: &str, rest: &[&str]) -> Result<Self, Refused> {
        if rest.iter().any(|part| *part == ".." || part.contains('\0')) {
            return Err(Refused::new(
                400,
                format!("{path:?} is inaccessible: it leads out of the sandbox"),
            ));
        }
        Ok(Self { within: rest.join("/"), ..self })
    }

    /// The path by which tools find it; without the agent when that is not known.
    #[must_use]
    pub fn text(&self, cluster: ClusterId) -> String {
        let agent = self.agent.map(|agent| ids::agent(cluster, agent).value().to_owned());
        let agent = agent.map(|agent| format!("/slaves/{agent}")).unwrap_or_default();
        let framework = ids::framework(cluster, self.framework);
        let run = match &self.run {
            Run::Latest => LATEST,
            Run::Container(container) => container.as_str(),
        };
        let mut text = format!(
            "{agent}/frameworks/{}/executors/{}/runs/{run}",
            framework.value(),
            self.name.as_str()
        );
        if !self.within.is_empty() {
            text.push('/');
            text.push_str(&self.within);
        }
        text
    }
}

/// Refuses a path that is longer than any.
///
/// # Errors
/// 400, in the form of Mesos.
pub fn check_length(path: &str) -> Result<(), Refused> {
    if path.len() <= PATH_BYTES_MAX {
        return Ok(());
    }
    let what = format!(
        "Failed to parse path: it has {} bytes, and no path has more than {PATH_BYTES_MAX}.\n",
        path.len()
    );
    Err(Refused::new(400, what))
}

fn parts_of(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !matches!(*part, "" | "."))
}

/// Which part of a file is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Portion {
    /// Where it begins, in bytes; absent for who asks only how long the file is.
    pub offset: Option<u64>,
    /// How many bytes at most.
    pub length: usize,
}

impl Portion {
    /// As the parameters `offset` and `length` have it.
    ///
    /// # Errors
    /// When they are no such numbers.
    pub fn read(offset: Option<&str>, length: Option<&str>) -> Result<Self, Refused> {
        let offset = number("offset", offset)?;
        let length = number("length", length)?;
        Ok(Self { offset, length: capped(length) })
    }
}

fn capped(length: Option<u64>) -> usize {
    let length = length.and_then(|length| usize::try_from(length).ok());
    length.map_or(READ_BYTES_MAX, |length| length.min(READ_BYTES_MAX))
}

/// A call of the operator API that asks for files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilesCall {
    /// `LIST_FILES`.
    List {
        /// The directory.
        path: String,
    },
    /// `READ_FILE`.
    Read {
        /// The file.
        path: String,
        /// Where to begin, in bytes.
        offset: u64,
        /// How many bytes at most.
        length: usize,
    },
}

impl FilesCall {
    pub(crate) fn list(call: schema::CallListFiles) -> Self {
        Self::List { path: call.path.unwrap_or_default() }
    }

    pub(crate) fn read(call: schema::CallReadFile) -> Self {
        let (offset, length) = (call.offset(), capped(call.length));
        Self::Read { path: call.path.unwrap_or_default(), offset, length }
    }
}

/// A number, or none where it is absent or -1.
fn number(name: &str, text: Option<&str>) -> Result<Option<u64>, Refused> {
    let Some(text) = text else { return Ok(None) };
    let number: i64 = text.parse().map_err(|error| {
        Refused::new(400, format!("Failed to parse {name}: {text:?} is no number: {error}.\n"))
    })?;
    match u64::try_from(number) {
        Ok(number) => Ok(Some(number)),
        Err(_) if number == -1 => Ok(None),
        Err(_) => Err(Refused::new(400, format!("Negative {name} provided: {number}.\n"))),
    }
}

/// A part of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Where it begins.
    pub offset: u64,
    /// What stands there.
    pub bytes: Vec<u8>,
    /// How many bytes the whole file has.
    pub size: u64,
}

#[derive(Serialize)]
struct ReadRow {
    offset: u64,
    data: String,
}

impl Content {
    /// `/files/read`. What is no text in UTF-8 is replaced; a character that the end of the part would divide is left to the
    /// next part.
    pub fn older(&self) -> impl Serialize + use<> {
        let end = self.offset.saturating_add(u64::try_from(self.bytes.len()).unwrap_or(u64::MAX));
        let whole = if end < self.size { whole_characters(&self.bytes) } else { &self.bytes };
        ReadRow { offset: self.offset, data: String::from_utf8_lossy(whole).into_owned() }
    }

    /// `READ_FILE`: masters and agents answer it alike.
    #[must_use]
    pub fn message(self) -> MasterResponse {
        let read_file = schema::ResponseReadFile { size: Some(self.size), data: Some(self.bytes) };
        MasterResponse {
            r#type: Some(MasterResponseType::ReadFile.into()),
            read_file: Some(read_file),
            ..MasterResponse::default()
        }
    }
}

/// The bytes without a character that is begun at their end; all of them when nothing would be left.
fn whole_characters(bytes: &[u8]) -> &[u8] {
    let begun = (1..=3.min(bytes.len())).find(|back| bytes[bytes.len() - back] & 0xc0 != 0x80);
    let Some(back) = begun else { return bytes };
    let (front, last) = bytes.split_at(bytes.len() - back);
    let needed = match last[0] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    if last.len() < needed && !front.is_empty() { front } else { bytes }
}

/// What is told of a file or directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// Its name in its directory.
    pub name: String,
    /// How many names it has.
    pub links: u64,
    /// In bytes.
    pub size: u64,
    /// When it was written last, in nanoseconds since 1970.
    pub modified_ns: i64,
    /// Its kind and who may do what, as stat(2) has it.
    pub mode: u32,
    /// The name of its owner.
    pub user: String,
    /// The name of its group.
    pub group: String,
}

#[derive(Serialize)]
struct FileRow<'a> {
    path: String,
    nlink: u64,
    size: u64,
    mtime: i64,
    mode: String,
    uid: &'a str,
    gid: &'a str,
}

/// How many bytes the texts of those entries have at least when they are told: each has the path in front.
#[must_use]
pub fn texts_bytes(path: &str, entries: &[FileEntry]) -> usize {
    let of = |entry: &FileEntry| {
        let texts = [path, &entry.name, &entry.user, &entry.group];
        texts.into_iter().map(str::len).fold(0, usize::saturating_add)
    };
    entries.iter().map(of).fold(0, usize::saturating_add)
}

/// A path and a name in it.
fn joined(path: &str, name: &str) -> String {
    format!("{}/{name}", path.trim_end_matches('/'))
}

/// `/files/browse` of the directory at `path`.
pub fn browse<'a>(path: &'a str, entries: &'a [FileEntry]) -> impl Serialize + 'a {
    let row = |entry: &'a FileEntry| FileRow {
        path: joined(path, &entry.name),
        nlink: entry.links,
        size: entry.size,
        mtime: entry.modified_ns.div_euclid(1_000_000_000),
        mode: mode_text(entry.mode),
        uid: &entry.user,
        gid: &entry.group,
    };
    super::rows::Rows(entries.iter().map(row))
}

/// `LIST_FILES` of the directory at `path`: masters and agents answer it alike.
#[must_use]
pub fn list(path: &str, entries: &[FileEntry]) -> MasterResponse {
    let info = |entry: &FileEntry| schema::FileInfo {
        path: Some(joined(path, &entry.name)),
        nlink: Some(i32::try_from(entry.links).unwrap_or(i32::MAX)),
        size: Some(entry.size),
        mtime: Some(schema::TimeInfo { nanoseconds: Some(entry.modified_ns) }),
        mode: Some(entry.mode),
        uid: Some(entry.user.clone()),
        gid: Some(entry.group.clone()),
    };
    let list_files = schema::ResponseListFiles { file_infos: entries.iter().map(info).collect() };
    MasterResponse {
        r#type: Some(MasterResponseType::ListFiles.into()),
        list_files: Some(list_files),
        ..MasterResponse::default()
    }
}

/// `drwxr-xr-x`, as `ls` writes it.
fn mode_text(mode: u32) -> String {
    let kind = match mode & 0o170_000 {
        0o040_000 => 'd',
        0o120_000 => 'l',
        0o010_000 => 'p',
        0o140_000 => 's',
        0o060_000 => 'b',
        0o020_000 => 'c',
        _ => '-',
    };
    let right = |bit: u32, letter| if mode & bit != 0 { letter } else { '-' };
    let executes =
        |bit: u32, special: u32, both, alone| match (mode & bit != 0, mode & special != 0) {
            (true, true) => both,
            (false, true) => alone,
            (true, false) => 'x',
            (false, false) => '-',
        };
    [
        kind,
        right(0o400, 'r'),
        right(0o200, 'w'),
        executes(0o100, 0o4_000, 's', 'S'),
        right(0o040, 'r'),
        right(0o020, 'w'),
        executes(0o010, 0o2_000, 's', 'S'),
        right(0o004, 'r'),
        right(0o002, 'w'),
        executes(0o001, 0o1_000, 't', 'T'),
    ]
    .into_iter()
    .collect()
}

/// What a file is by the end of its name; nobody looks into it.
const KINDS: [(&str, &str); 22] = [
    ("bin", "application/octet-stream"),
    ("css", "text/css"),
    ("csv", "text/csv"),
    ("gif", "image/gif"),
    ("gz", "application/x-gzip"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "application/javascript"),
    ("json", "application/json"),
    ("log", "text/plain"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("py", "text/x-python"),
    ("sh", "application/x-sh"),
    ("svg", "image/svg+xml"),
    ("tar", "application/x-tar"),
    ("text", "text/plain"),
    ("txt", "text/plain"),
    ("xml", "application/xml"),
    ("zip", "application/zip"),
];

/// How a file is handed out by `/files/download`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// `Content-Type`.
    pub content_type: &'static str,
    /// `Content-Disposition`: always to be saved, never to be shown as a page of the node.
    pub disposition: String,
}

impl Attachment {
    /// Of the file at a path.
    #[must_use]
    pub fn of(path: &str) -> Self {
        let name = parts_of(path).last().unwrap_or("file");
        let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
        let known = KINDS.iter().find(|(known, _)| Some(*known) == ending.as_deref());
        let content_type = known.map_or("application/octet-stream", |(_, kind)| *kind);
        Self { content_type, disposition: format!("attachment; {}", filename(name)) }
    }
}

/// The parameter `filename`, and where the name is not ASCII that of RFC 6266 beside it.
fn filename(name: &str) -> String {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte);
    if name.bytes().all(is_token) {
        return format!("filename={name}");
    }
    let plain = |letter: char| match letter {
        '"' | '\\' => format!("\\{letter}"),
        ' '..='~' => letter.to_string(),
        _ => "_".to_owned(),
    };
    let quoted: String = name.chars().map(plain).collect();
    if name.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return format!("filename=\"{quoted}\"");
    }
    let encoded = |byte: u8| match byte {
        byte if is_token(byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    let encoded: String = name.bytes().map(encoded).collect();
    format!("filename=\"{quoted}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests;

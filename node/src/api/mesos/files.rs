//! The files of sandboxes as Mesos's tools read them: told by the node that has them, asked through any.

use std::{collections::BTreeMap, io, path::Path};

use meshos_mesos::{
    codec::{Media, Refused},
    reads::{
        Sandbox,
        files::{
            self, Content, DOWNLOADS_DIRECTORY, FilesCall, NO_PATH, Portion, READS_DIRECTORY, Run,
            SandboxPath,
        },
    },
};
use meshos_protocol::ids::{ClusterId, NodeId};
use nix::errno::Errno;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{ANSWER_BYTES_MAX, cluster, read::wanted_media, word};
use crate::{
    api::{
        Api,
        call::{Answer, Call, Failure},
        leader::beside,
        query::{Query, encode},
        route::{Route, TaskName},
        sandbox,
    },
    driver::agent::Sandboxes,
};

/// Where nodes ask for the files of any node.
const ANYWHERE: &str = "/mesos/files";
/// The same of those of one node alone.
const HERE: &str = "/mesos/agent/files";
/// The most bytes of a file that go from node to node at once.
pub(crate) const PIECE_BYTES: usize = 256 << 10;
/// The most sandboxes that an agent tells of with all that runs there.
const TOLD_MAX: usize = 1_000;
/// The most sandboxes that are told of one node.
const SANDBOXES_MAX: usize = 10_000;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Of {
    /// What is in a directory.
    Browse,
    /// The same as a message.
    List(Media),
    /// A part of a file.
    Read(Portion),
    /// The same as a message.
    Slice(Portion, Media),
    /// How long a file is, and where.
    Stat,
    /// A part of a file as it is.
    Bytes(Portion),
}

/// A file or directory of some sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api) struct FilesRequest {
    of: Of,
    path: String,
    /// No other node is asked.
    here: bool,
}

/// What there is to be known of a file before it is handed out.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FileFacts {
    pub size: u64,
    /// Where it is, in words that mean the same container from now on.
    pub path: String,
}

impl FilesRequest {
    /// The request behind such a path, of one node alone or of any.
    pub(super) fn route(name: &str, here: bool, query: &Query) -> Result<Route, Failure> {
        let text = |name| query.get::<String>(name);
        let portion = || -> Result<Portion, Failure> {
            let (offset, length) = (text("offset")?, text("length")?);
            Portion::read(offset.as_deref(), length.as_deref()).map_err(refused)
        };
        let of = match name {
            "browse" => Of::Browse,
            "list" => Of::List(wanted_media(query)?),
            "read" => Of::Read(portion()?),
            "slice" => Of::Slice(portion()?, wanted_media(query)?),
            "stat" => Of::Stat,
            "bytes" => Of::Bytes(Portion {
                offset: query.get("offset")?,
                length: query.get("length")?.unwrap_or(PIECE_BYTES).min(PIECE_BYTES),
            }),
            _ => return Err(Failure::not_found(format!("nothing is known of files by {name:?}"))),
        };
        let path = text("path")?.filter(|path| !path.is_empty());
        let path = path.ok_or_else(|| Failure::invalid(NO_PATH))?;
        Ok(Route::Files(Self { of, path, here }))
    }

    /// Whether the answer may be long.
    fn is_long(&self) -> bool {
        matches!(self.of, Of::Browse | Of::List(_))
    }
}

fn refused(refused: Refused) -> Failure {
    match refused.status {
        404 => Failure::not_found(refused.message),
        _ => Failure::invalid(refused.message),
    }
}

const fn base(agent_port: bool) -> &'static str {
    if agent_port { HERE } else { ANYWHERE }
}

impl Api {
    /// Under which path here a call of the operator API for files is answered.
    pub(super) fn files_path(agent_port: bool, asked: &FilesCall, wanted: Media) -> String {
        let (base, wanted) = (base(agent_port), word(wanted));
        match asked {
            FilesCall::List { path } => format!("{base}/list?path={}&as={wanted}", encode(path)),
            FilesCall::Read { path, offset, length } => format!(
                "{base}/slice?path={}&offset={offset}&length={length}&as={wanted}",
                encode(path)
            ),
        }
    }

    /// Where a file that is to be handed out is asked for: what the query says has its path.
    pub(crate) fn file_facts_path(agent_port: bool, query: &str) -> String {
        format!("{}/stat?{query}", base(agent_port))
    }

    /// Where a piece of it is asked for.
    pub(crate) fn file_piece_path(
        agent_port: bool,
        path: &str,
        offset: u64,
        length: u64,
    ) -> String {
        format!("{}/bytes?path={}&offset={offset}&length={length}", base(agent_port), encode(path))
    }

    /// Answers for a sandbox of this node, or has the node answer that has it.
    pub(in crate::api) async fn answer_files(
        &self,
        request: &FilesRequest,
        call: &Call,
    ) -> Result<Answer, Failure> {
        let cluster = self.own_cluster()?;
        let path = self.read_path(cluster, request)?;
        let node = path.agent.map(|agent| agent.node);
        if call.forwarded || request.here || node == Some(self.options.node) {
            return self.files_here(request, path, call.forwarded).await;
        }
        let name = TaskName { framework: Some(path.framework), task: path.name.clone() };
        if let Some(node) = node {
            let address = self.address_of_named(node, &name).await?;
            return self.files_of_node(node, address, call).await;
        }
        // No node is named: this one may have it, or the leader knows the task.
        let own = self.files_here(request, path, false).await;
        if !own.as_ref().is_err_and(Failure::is_not_found) {
            return own;
        }
        match self.place_of(&name).await.and_then(|place| self.node_of(&place)) {
            Ok((node, address)) if node != self.options.node => {
                self.files_of_node(node, address, call).await
            }
            Ok(_) | Err(_) => own,
        }
    }

    fn read_path(
        &self,
        cluster: ClusterId,
        request: &FilesRequest,
    ) -> Result<SandboxPath, Failure> {
        files::check_length(&request.path).map_err(refused)?;
        // Executors are told where their sandbox really is, and tell others.
        let real = Path::new(&request.path).strip_prefix(self.options.agent.sandboxes().root());
        let path = match real.ok().and_then(Path::to_str) {
            Some(below) => {
                let path = SandboxPath::below_root(below);
                path.map(|path| SandboxPath { agent: self.options.agent.view().agent, ..path })
            }
            None => SandboxPath::read(cluster, &request.path),
        };
        path.map_err(refused)
    }

    async fn files_of_node(
        &self,
        node: NodeId,
        address: String,
        call: &Call,
    ) -> Result<Answer, Failure> {
        let answer = self.log_of_node(node, address, call).await?;
        if answer.status == 404 && answer.message().starts_with("there is nothing at ") {
            let why = format!("node {node} runs a release that tells nothing of files: upgrade it");
            return Err(Failure::unavailable(why));
        }
        Ok(answer)
    }

    async fn files_here(
        &self,
        request: &FilesRequest,
        path: SandboxPath,
        forwarded: bool,
    ) -> Result<Answer, Failure> {
        let own = self.options.node;
        if path.agent.is_some_and(|agent| agent.node != own) {
            let what =
                format!("{:?} is a sandbox of another node than this one, {own}", request.path);
            return Err(Failure::not_found(what));
        }
        let held = if forwarded && request.is_long() {
            Some(self.answers.take(ANSWER_BYTES_MAX).await.ok_or_else(cluster::too_many)?)
        } else {
            None
        };
        let cluster = self.own_cluster()?;
        let agent = self.options.agent.view().agent;
        // From now on the path says whose it is.
        let path = SandboxPath { agent: path.agent.or(agent), ..path };
        let place = Place { sandboxes: self.options.agent.sandboxes().clone(), cluster, path };
        let request = request.clone();
        beside(move || {
            let answer = place.tell(&request)?;
            let answer = if forwarded { answer.packed_for_a_frame() } else { Ok(answer) };
            drop(held);
            answer
        })
        .await
    }

    /// The newest sandboxes of this node.
    pub(super) async fn newest_sandboxes(&self) -> Vec<Sandbox> {
        let root = self.options.agent.sandboxes().root().to_owned();
        let look = move || sandbox::all(&root, TOLD_MAX);
        let found = match tokio::task::spawn_blocking(look).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                tracing::debug!(%error, "the sandboxes cannot be listed");
                Vec::new()
            }
            // The runtime shuts down.
            Err(_) => Vec::new(),
        };
        let row = |found: sandbox::Found| {
            let sandbox::Found { framework, name, container, .. } = found;
            Sandbox { framework, name, container }
        };
        found.into_iter().map(row).collect()
    }

    /// Which paths there are, and where that really is.
    pub(super) async fn sandboxes_of_node(&self) -> Result<Answer, Failure> {
        let of = self.own_cluster()?;
        let agent = self.options.agent.view().agent;
        let root = self.options.agent.sandboxes().root().to_owned();
        beside(move || {
            let all = sandbox::all(&root, SANDBOXES_MAX).map_err(|error| {
                Failure::unavailable(format!("the sandboxes cannot be listed: {error}"))
            })?;
            let row = |found: sandbox::Found| {
                let sandbox::Found { framework, name, container, path, changed: _ } = found;
                let run = Run::Container(container);
                let named = SandboxPath { agent, framework, name, run, within: String::new() };
                (named.text(of), path.display().to_string())
            };
            let rows: BTreeMap<String, String> = all.into_iter().map(row).collect();
            cluster::json(&rows)
        })
        .await
    }
}

/// A path on the node that has it.
struct Place {
    sandboxes: Sandboxes,
    cluster: ClusterId,
    path: SandboxPath,
}

impl Place {
    fn tell(&self, request: &FilesRequest) -> Result<Answer, Failure> {
        let Self { sandboxes, path, .. } = self;
        let (framework, name) = (path.framework, path.name.as_str());
        let found = match &path.run {
            Run::Container(container) => Some(sandboxes.path(framework, name, container)),
            Run::Latest => sandbox::of_task(sandboxes.root(), framework, &path.name, None)
                .map_err(|error| self.failed(&error))?,
        };
        let sandbox = found.filter(|path| path.is_dir()).ok_or_else(|| {
            Failure::not_found(format!(
                "{} has no sandbox {} on this node: those of ended tasks are removed (--gc-delay)",
                request.path,
                match &path.run {
                    Run::Container(container) => container.as_str(),
                    Run::Latest => "at all",
                }
            ))
        })?;
        let within = Path::new(&path.within);
        match &request.of {
            Of::Browse => {
                let entries = self.list(&sandbox, &request.path)?;
                cluster::json(&files::browse(&request.path, &entries))
            }
            Of::List(media) => {
                let entries = self.list(&sandbox, &request.path)?;
                cluster::in_media(*media, &files::list(&request.path, &entries))
            }
            Of::Read(portion) => cluster::json(&self.content(&sandbox, *portion)?.older()),
            Of::Slice(portion, media) => {
                cluster::in_media(*media, &self.content(&sandbox, *portion)?.message())
            }
            Of::Stat => {
                let part = sandbox::part(&sandbox, within, 0, 0);
                let part = part.map_err(|error| match error.kind() {
                    io::ErrorKind::IsADirectory => Failure::invalid(DOWNLOADS_DIRECTORY),
                    _ => self.failed(&error),
                })?;
                Answer::json(&json!(FileFacts { size: part.size, path: self.lasting(&sandbox)? }))
            }
            Of::Bytes(portion) => {
                let offset = portion.offset.unwrap_or(0);
                let part = sandbox::part(&sandbox, within, offset, portion.length);
                part.map(|part| Answer::bytes(part.bytes)).map_err(|error| self.failed(&error))
            }
        }
    }

    /// What is in the directory, if it is not too much to be told below this path.
    fn list(&self, sandbox: &Path, path: &str) -> Result<Vec<files::FileEntry>, Failure> {
        let entries = sandbox::list(sandbox, Path::new(&self.path.within));
        let entries = entries.map_err(|error| self.failed(&error))?;
        // Before it is made: a message is written as a whole.
        if files::texts_bytes(path, &entries) > ANSWER_BYTES_MAX / 2 {
            let what = format!(
                "the directory has {} entries, and with a path of {} bytes in front of each the list is too long: name it by a \
                 shorter path",
                entries.len(),
                path.len()
            );
            return Err(Failure::invalid(what));
        }
        Ok(entries)
    }

    fn content(&self, sandbox: &Path, portion: Portion) -> Result<Content, Failure> {
        let within = Path::new(&self.path.within);
        let (offset, length) = match portion.offset {
            Some(offset) => (offset, portion.length),
            None => (0, 0),
        };
        let part = sandbox::part(sandbox, within, offset, length);
        let sandbox::Part { bytes, size } = part.map_err(|error| match error.kind() {
            io::ErrorKind::IsADirectory => Failure::invalid(READS_DIRECTORY),
            _ => self.failed(&error),
        })?;
        // Whoever asks for what is not there yet, or only for the length, is told where the end is.
        let offset = portion.offset.map_or(size, |offset| offset.min(size));
        Ok(Content { offset, bytes, size })
    }

    /// The path with the container that `latest` stands for now.
    fn lasting(&self, sandbox: &Path) -> Result<String, Failure> {
        let name = sandbox.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let container = name.parse().map_err(|_| {
            Failure::unavailable(format!("{name:?} is the directory of no container"))
        })?;
        let path = SandboxPath { run: Run::Container(container), ..self.path.clone() };
        Ok(path.text(self.cluster))
    }

    fn failed(&self, error: &io::Error) -> Failure {
        let path = self.path.text(self.cluster);
        if error.raw_os_error() == Some(Errno::ELOOP as i32) {
            let why = "a symbolic link is in the way, and none is followed";
            return Failure::invalid(format!("{path:?} is inaccessible: {why}"));
        }
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                Failure::not_found(format!("there is no file {path:?}"))
            }
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidFilename => {
                Failure::invalid(format!("{path:?} cannot be told: {error}"))
            }
            _ => Failure::unavailable(format!("{path:?} cannot be read: {error}")),
        }
    }
}

#[cfg(test)]
mod tests;

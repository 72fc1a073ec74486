//! The calls of an agent's operator API.

use crate::{
    codec::{self, Media, Refused},
    reads::{agent_calls::AgentRead, files::FilesCall, name_of},
    schema::{AgentCall, AgentCallType as Call},
};

/// What a call to an agent asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentCalled {
    /// To be told something of the agent.
    Read(AgentRead),
    /// To be told of files.
    Files(FilesCall),
}

const NO_NESTED: &str = "containers are started for tasks and executors alone, which launch no others inside of their own";
const NO_STANDALONE: &str = "containers are started for tasks and executors alone";
const NO_ATTACH: &str = "nobody is attached to what tasks read and write; `/files/read` and `meshos logs` tell what they wrote";
const NO_PROVIDERS: &str =
    "there are no resource providers: what a node has is said when it is started";
/// What an attached client sends without end.
const STREAMED: &str = "application/recordio";

/// Calls behind which nothing stands, and why.
const UNSUPPORTED: [(Call, &str); 18] = [
    (Call::Unknown, "its type is not known"),
    (
        Call::SetLoggingLevel,
        "how much is logged is said when a node is started, with the variable MESHOS_LOG",
    ),
    (Call::LaunchNestedContainer, NO_NESTED),
    (Call::WaitNestedContainer, NO_NESTED),
    (Call::KillNestedContainer, NO_NESTED),
    (Call::RemoveNestedContainer, NO_NESTED),
    (Call::LaunchNestedContainerSession, NO_NESTED),
    (Call::AttachContainerInput, NO_ATTACH),
    (Call::AttachContainerOutput, NO_ATTACH),
    (Call::LaunchContainer, NO_STANDALONE),
    (Call::WaitContainer, NO_STANDALONE),
    (Call::KillContainer, NO_STANDALONE),
    (Call::RemoveContainer, NO_STANDALONE),
    (Call::AddResourceProviderConfig, NO_PROVIDERS),
    (Call::UpdateResourceProviderConfig, NO_PROVIDERS),
    (Call::RemoveResourceProviderConfig, NO_PROVIDERS),
    (Call::MarkResourceProviderGone, NO_PROVIDERS),
    (Call::PruneImages, "no images of containers are kept"),
];

fn absent(what: &str) -> Refused {
    Refused::new(400, format!("Failed to validate agent::Call: Expecting '{what}' to be present"))
}

/// The encoding of a call to an agent.
///
/// # Errors
/// When it has none that is read.
pub fn agent_media(content_type: Option<&str>) -> Result<Media, Refused> {
    match content_type {
        Some(streamed) if streamed.trim().eq_ignore_ascii_case(STREAMED) => {
            Err(unsupported(Call::AttachContainerInput))
        }
        content_type => Media::of_content(content_type),
    }
}

/// Reads a call to an agent.
///
/// # Errors
/// When the bytes are no such message, something is missing in it, or the call is none that is answered here.
pub fn read_agent(media: Media, body: &[u8]) -> Result<AgentCalled, Refused> {
    let call: AgentCall = codec::read_operator_call(media, body)?;
    let kind = call.r#type.and_then(|number| Call::try_from(number).ok());
    let kind = kind.ok_or_else(|| absent("type"))?;
    if let Some(read) = AgentRead::named(name_of::<Call>(kind as i32)) {
        if read == AgentRead::Metrics && call.get_metrics.is_none() {
            return Err(absent("get_metrics"));
        }
        return Ok(AgentCalled::Read(read));
    }
    if kind == Call::ListFiles {
        let list = call.list_files.ok_or_else(|| absent("list_files"))?;
        return Ok(AgentCalled::Files(FilesCall::list(list)));
    }
    if kind == Call::ReadFile {
        let read = call.read_file.ok_or_else(|| absent("read_file"))?;
        return Ok(AgentCalled::Files(FilesCall::read(read)));
    }
    Err(unsupported(kind))
}

fn unsupported(kind: Call) -> Refused {
    let why = UNSUPPORTED.iter().find(|(of, _)| *of == kind).map_or("", |(_, why)| why);
    let name = name_of::<Call>(kind as i32);
    Refused::new(501, format!("Call {name} is not supported by this release: {why}"))
}

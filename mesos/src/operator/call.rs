//! Which call it is, and whether it has what its type needs.

use crate::{
    codec::{self, Media, Refused},
    reads::{files::FilesCall, name_of, operator::Read},
    schema::{MasterCall, MasterCallType as Call},
};

/// What a call asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Called {
    /// To be told something, from the leader's picture.
    Read(Read),
    /// To be told of files.
    Files(FilesCall),
    /// To be told what happens, as it happens: `SUBSCRIBE`.
    Watch,
    /// To change something, see [`super::Change`].
    Change(Changing),
}

/// What calls change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changing {
    /// `UPDATE_WEIGHTS`.
    Weights,
    /// `UPDATE_QUOTA`.
    Quotas,
    /// `SET_QUOTA`.
    NewQuota,
    /// `REMOVE_QUOTA`.
    NoQuota,
    /// `TEARDOWN`.
    Teardown,
    /// `DRAIN_AGENT`.
    Drain,
    /// `DEACTIVATE_AGENT`.
    Deactivate,
    /// `REACTIVATE_AGENT`.
    Reactivate,
    /// `MARK_AGENT_GONE`.
    Gone,
    /// `UPDATE_MAINTENANCE_SCHEDULE`.
    Schedule,
    /// `START_MAINTENANCE`.
    Down,
    /// `STOP_MAINTENANCE`.
    Up,
    /// What an agent has.
    Operate(Operating),
}

/// What becomes of what an agent has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operating {
    /// `RESERVE_RESOURCES`.
    Reserve,
    /// `UNRESERVE_RESOURCES`.
    Unreserve,
    /// `CREATE_VOLUMES`.
    Create,
    /// `DESTROY_VOLUMES`.
    Destroy,
    /// `GROW_VOLUME`.
    Grow,
    /// `SHRINK_VOLUME`.
    Shrink,
}

impl Changing {
    /// All of them with the types of their calls.
    const TYPES: [(Self, Call); 18] = [
        (Self::Weights, Call::UpdateWeights),
        (Self::Quotas, Call::UpdateQuota),
        (Self::NewQuota, Call::SetQuota),
        (Self::NoQuota, Call::RemoveQuota),
        (Self::Teardown, Call::Teardown),
        (Self::Drain, Call::DrainAgent),
        (Self::Deactivate, Call::DeactivateAgent),
        (Self::Reactivate, Call::ReactivateAgent),
        (Self::Gone, Call::MarkAgentGone),
        (Self::Schedule, Call::UpdateMaintenanceSchedule),
        (Self::Down, Call::StartMaintenance),
        (Self::Up, Call::StopMaintenance),
        (Self::Operate(Operating::Reserve), Call::ReserveResources),
        (Self::Operate(Operating::Unreserve), Call::UnreserveResources),
        (Self::Operate(Operating::Create), Call::CreateVolumes),
        (Self::Operate(Operating::Destroy), Call::DestroyVolumes),
        (Self::Operate(Operating::Grow), Call::GrowVolume),
        (Self::Operate(Operating::Shrink), Call::ShrinkVolume),
    ];

    fn of(kind: Call) -> Option<Self> {
        Self::TYPES.iter().find(|(_, of)| *of == kind).map(|(changing, _)| *changing)
    }

    /// Mesos's name of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        let row = Self::TYPES.iter().find(|(changing, _)| *changing == self);
        row.map_or("", |(_, kind)| name(*kind))
    }

    /// The field of its call's body.
    fn field(self) -> String {
        self.name().to_ascii_lowercase()
    }

    fn has_body(self, call: &MasterCall) -> bool {
        match self {
            Self::Weights => call.update_weights.is_some(),
            Self::Quotas => call.update_quota.is_some(),
            Self::NewQuota => call.set_quota.is_some(),
            Self::NoQuota => call.remove_quota.is_some(),
            Self::Teardown => call.teardown.is_some(),
            Self::Drain => call.drain_agent.is_some(),
            Self::Deactivate => call.deactivate_agent.is_some(),
            Self::Reactivate => call.reactivate_agent.is_some(),
            Self::Gone => call.mark_agent_gone.is_some(),
            Self::Schedule => call.update_maintenance_schedule.is_some(),
            Self::Down => call.start_maintenance.is_some(),
            Self::Up => call.stop_maintenance.is_some(),
            Self::Operate(Operating::Reserve) => call.reserve_resources.is_some(),
            Self::Operate(Operating::Unreserve) => call.unreserve_resources.is_some(),
            Self::Operate(Operating::Create) => call.create_volumes.is_some(),
            Self::Operate(Operating::Destroy) => call.destroy_volumes.is_some(),
            Self::Operate(Operating::Grow) => call.grow_volume.is_some(),
            Self::Operate(Operating::Shrink) => call.shrink_volume.is_some(),
        }
    }
}

fn name(kind: Call) -> &'static str {
    name_of::<Call>(kind as i32)
}

/// Calls behind which nothing stands, and why.
const UNSUPPORTED: [(Call, &str); 3] = [
    (Call::Unknown, "its type is not known"),
    (
        Call::SetLoggingLevel,
        "how much is logged is said when a node is started, with the variable MESHOS_LOG",
    ),
    (Call::GetOperations, "operations that are on their way are not told"),
];

/// Something is missing that its type needs.
pub(super) fn absent(what: &str) -> Refused {
    Refused::new(400, format!("Failed to validate master::Call: Expecting '{what}' to be present"))
}

/// Reads a call.
///
/// # Errors
/// When the bytes are no such message, something is missing in it, or the call is none that is answered here.
pub fn read(media: Media, body: &[u8]) -> Result<(Called, MasterCall), Refused> {
    let call: MasterCall = codec::read_operator_call(media, body)?;
    let kind = call.r#type.and_then(|number| Call::try_from(number).ok());
    let kind = kind.ok_or_else(|| absent("type"))?;
    if let Some(read) = Read::named(name(kind)) {
        if read == Read::Metrics && call.get_metrics.is_none() {
            return Err(absent("get_metrics"));
        }
        return Ok((Called::Read(read), call));
    }
    if kind == Call::Subscribe {
        return Ok((Called::Watch, call));
    }
    if kind == Call::ListFiles {
        let list = call.list_files.clone().ok_or_else(|| absent("list_files"))?;
        return Ok((Called::Files(FilesCall::list(list)), call));
    }
    if kind == Call::ReadFile {
        let read = call.read_file.clone().ok_or_else(|| absent("read_file"))?;
        return Ok((Called::Files(FilesCall::read(read)), call));
    }
    let Some(changing) = Changing::of(kind) else {
        let why = UNSUPPORTED.iter().find(|(of, _)| *of == kind).map_or("", |(_, why)| why);
        let why = format!("Call {} is not supported by this release: {why}", name(kind));
        return Err(Refused::new(501, why));
    };
    if !changing.has_body(&call) {
        return Err(absent(&changing.field()));
    }
    Ok((Called::Change(changing), call))
}

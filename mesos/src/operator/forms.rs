//! The older endpoints that change something: each request stands for a call.

use serde_json::json;

use crate::codec::{self, Refused};

/// The most fields of a form that are looked at.
const FIELDS_MAX: usize = 32;

/// An older endpoint with a method that changes something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Older {
    /// `POST /teardown`, a form.
    Teardown,
    /// `POST /reserve`, a form.
    Reserve,
    /// `POST /unreserve`, a form.
    Unreserve,
    /// `POST /create-volumes`, a form.
    CreateVolumes,
    /// `POST /destroy-volumes`, a form.
    DestroyVolumes,
    /// `PUT /weights`, JSON.
    Weights,
    /// `POST /quota`, JSON.
    SetQuota,
    /// `POST /maintenance/schedule`, JSON.
    Schedule,
    /// `POST /machine/down`, JSON.
    Down,
    /// `POST /machine/up`, JSON.
    Up,
    /// `DELETE /quota/ROLE`; the role as the path has it.
    RemoveQuota(String),
}

impl Older {
    /// The call of the operator API that it stands for, in JSON.
    ///
    /// # Errors
    /// When the body is not in the form of this endpoint. What is in it is judged as the call's own.
    pub fn call(&self, body: &[u8]) -> Result<Vec<u8>, Refused> {
        let of_agent = |kind: &str, field: &str| {
            let form = Form::read(body)?;
            let agent = form.expect("slaveId")?;
            let resources = codec::read_json_value(form.expect(field)?.as_bytes())?;
            let call = kind.to_ascii_lowercase();
            let mut call =
                json!({"type": kind, call: {"agent_id": {"value": agent}, field: resources}});
            if kind == "RESERVE_RESOURCES"
                && let Some(source) = form.get("source")
            {
                call["reserve_resources"]["source"] = codec::read_json_value(source.as_bytes())?;
            }
            Ok(call)
        };
        let call = match self {
            Self::Teardown => {
                let form = Form::read(body)?;
                let framework = json!({"value": form.expect("frameworkId")?});
                json!({"type": "TEARDOWN", "teardown": {"framework_id": framework}})
            }
            Self::Reserve => of_agent("RESERVE_RESOURCES", "resources")?,
            Self::Unreserve => of_agent("UNRESERVE_RESOURCES", "resources")?,
            Self::CreateVolumes => of_agent("CREATE_VOLUMES", "volumes")?,
            Self::DestroyVolumes => of_agent("DESTROY_VOLUMES", "volumes")?,
            Self::Weights => {
                let infos = array(body, "weights")?;
                json!({"type": "UPDATE_WEIGHTS", "update_weights": {"weight_infos": infos}})
            }
            Self::SetQuota => {
                let request = codec::read_json_value(body)?;
                json!({"type": "SET_QUOTA", "set_quota": {"quota_request": request}})
            }
            Self::Schedule => {
                let schedule = codec::read_json_value(body)?;
                json!({"type": "UPDATE_MAINTENANCE_SCHEDULE", "update_maintenance_schedule": {"schedule": schedule}})
            }
            Self::Down => {
                let machines = array(body, "machines")?;
                json!({"type": "START_MAINTENANCE", "start_maintenance": {"machines": machines}})
            }
            Self::Up => {
                let machines = array(body, "machines")?;
                json!({"type": "STOP_MAINTENANCE", "stop_maintenance": {"machines": machines}})
            }
            Self::RemoveQuota(role) => {
                let role = decode(role).ok_or_else(|| {
                    Refused::new(400, "the role in the path is not encoded as paths are")
                })?;
                json!({"type": "REMOVE_QUOTA", "remove_quota": {"role": role}})
            }
        };
        Ok(call.to_string().into_bytes())
    }
}

/// A JSON array of these.
fn array(body: &[u8], of: &str) -> Result<serde_json::Value, Refused> {
    let value = codec::read_json_value(body)?;
    if value.is_array() {
        return Ok(value);
    }
    Err(Refused::new(400, format!("Expecting a JSON array of {of}")))
}

/// `NAME=VALUE&...`, encoded as the forms of pages are.
struct Form(Vec<(String, String)>);

impl Form {
    fn read(body: &[u8]) -> Result<Self, Refused> {
        let wrong = || {
            Refused::new(
                400,
                "Expecting a form, as 'name=value&...' with '%XX' for what is no letter or digit",
            )
        };
        let text = str::from_utf8(body).map_err(|_| wrong())?;
        let mut fields = Vec::new();
        for pair in text.trim().split('&').filter(|pair| !pair.is_empty()) {
            if fields.len() == FIELDS_MAX {
                let why = format!("The form has more than {FIELDS_MAX} fields");
                return Err(Refused::new(400, why));
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(&value.replace('+', " ")).ok_or_else(wrong)?;
            fields.push((decode(name).ok_or_else(wrong)?, value));
        }
        Ok(Self(fields))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn expect(&self, name: &str) -> Result<&str, Refused> {
        let value = self.get(name);
        value.ok_or_else(|| Refused::new(400, format!("Expecting '{name}' in the form")))
    }
}

/// With the byte in place of `%XX`; nothing when that is no text.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let digits = after.get(..2).filter(|two| two.iter().all(u8::is_ascii_hexdigit))?;
        bytes.push(u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after.get(2..)?;
    }
    String::from_utf8(bytes).ok()
}

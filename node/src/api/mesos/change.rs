//! What operators change with tools made for Mesos: carried out by the leader as the commands of meshos are.

use meshos_control::master::View;
use meshos_mesos::{
    codec::{Media, Refused},
    operator::{Caller, Change, Older},
};

use super::word;
use crate::{
    api::{
        Api,
        call::{Answer, Call, Failure},
        query::Query,
        route::{Leading, Route},
    },
    http::speaks_for_all,
};

/// A request to an older endpoint, if it is one that changes something.
pub(crate) enum OlderChange {
    /// It stands for a call.
    Asked(Older),
    /// The endpoint takes this method, not the one that it came with.
    Takes(&'static str),
}

impl OlderChange {
    /// With or without the process's name in front and slashes at the end.
    pub(crate) fn of(method: &str, path: &str) -> Option<Self> {
        let path = path.strip_prefix('/')?.trim_end_matches('/');
        let name = path.strip_prefix("master/").unwrap_or(path);
        let by_post = |older| match method {
            "POST" => Self::Asked(older),
            _ => Self::Takes("POST"),
        };
        Some(match (name, method) {
            ("teardown", _) => by_post(Older::Teardown),
            ("reserve", _) => by_post(Older::Reserve),
            ("unreserve", _) => by_post(Older::Unreserve),
            ("create-volumes", _) => by_post(Older::CreateVolumes),
            ("destroy-volumes", _) => by_post(Older::DestroyVolumes),
            ("weights", "PUT") => Self::Asked(Older::Weights),
            ("quota", "POST") => Self::Asked(Older::SetQuota),
            ("maintenance/schedule", "POST") => Self::Asked(Older::Schedule),
            ("machine/down", _) => by_post(Older::Down),
            ("machine/up", _) => by_post(Older::Up),
            _ => {
                let role = name.strip_prefix("quota/")?;
                match method {
                    "DELETE" => Self::Asked(Older::RemoveQuota(role.to_owned())),
                    _ => Self::Takes("DELETE"),
                }
            }
        })
    }
}

/// Under what nodes pass a call on to the leader whose body is in this encoding.
pub(super) fn path(media: Media) -> String {
    format!("/mesos/change?in={}", word(media))
}

/// The route of that path.
pub(in crate::api) fn route(query: &Query) -> Result<Route, Failure> {
    let media = match query.get::<String>("in")?.as_deref() {
        Some("json") => Media::Json,
        Some("protobuf") => Media::Protobuf,
        Some(_) | None => {
            return Err(Failure::invalid("parameter in is json or protobuf, as the body is"));
        }
    };
    Ok(Route::Leader(Leading::MesosChange(media)))
}

impl Api {
    /// The path here and the body of the call that a request to an older endpoint stands for.
    ///
    /// # Errors
    /// The status and why, when it stands for none.
    pub(crate) fn older_call(older: &Older, body: &[u8]) -> Result<(String, Vec<u8>), Refused> {
        let body = older.call(body)?;
        meshos_mesos::operator::read(Media::Json, &body)?;
        Ok((path(Media::Json), body))
    }

    /// Carries out a call of Mesos's operator API.
    pub(in crate::api) async fn change_for_mesos(
        &self,
        media: Media,
        call: &Call,
        view: &View,
    ) -> Result<Answer, Failure> {
        let principal = call.principal.as_str();
        let caller = Caller { principal, in_any_name: speaks_for_all(principal) };
        let change = match Change::read(media, &call.body, caller, view) {
            Ok(change) => change,
            Err(refused) => return Ok(refused.into()),
        };
        if let Some(asked) = change.asked() {
            let name = change.name();
            tracing::info!(name, %principal, "an operator changes the cluster over Mesos's API");
            tracing::debug!(name, ?asked, "what is asked of the master");
            if let Err(error) = self.ask_master(asked.clone()).await? {
                return Ok(change.refused(&error).into());
            }
        }
        Ok(Answer::empty(change.status()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_endpoints_are_known_by_their_path_and_method() {
        let asked = |method, path| match OlderChange::of(method, path) {
            Some(OlderChange::Asked(older)) => Some(older),
            Some(OlderChange::Takes(_)) | None => None,
        };
        for path in ["/teardown", "/master/teardown", "/master/teardown/"] {
            assert_eq!(asked("POST", path), Some(Older::Teardown), "{path}");
        }
        assert_eq!(asked("PUT", "/weights"), Some(Older::Weights));
        assert_eq!(asked("POST", "/master/quota"), Some(Older::SetQuota));
        let role = Some(Older::RemoveQuota("a%2Fb".to_owned()));
        assert_eq!(asked("DELETE", "/quota/a%2Fb"), role);
        let takes = |method, path| match OlderChange::of(method, path) {
            Some(OlderChange::Takes(method)) => Some(method),
            Some(OlderChange::Asked(_)) | None => None,
        };
        assert_eq!(takes("GET", "/teardown"), Some("POST"));
        assert_eq!(takes("GET", "/quota/a"), Some("DELETE"));
        assert_eq!(asked("POST", "/master/machine/down"), Some(Older::Down));
        assert_eq!(asked("POST", "/machine/up/"), Some(Older::Up));
        assert_eq!(asked("POST", "/maintenance/schedule"), Some(Older::Schedule));
        assert_eq!(takes("GET", "/machine/up"), Some("POST"));
        // These read, or are something else.
        for (method, path) in [
            ("GET", "/weights"),
            ("GET", "/quota"),
            ("GET", "/maintenance/schedule"),
            ("POST", "/tasks"),
            ("POST", "/api/v1"),
            ("POST", "/"),
        ] {
            assert!(OlderChange::of(method, path).is_none(), "{method} {path}");
        }
    }
}

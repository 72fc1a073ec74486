//! What the leader tells of the cluster.

use std::{io, sync::Arc};

use meshos_control::master::View;
use meshos_mesos::{
    codec::{self, Media, Outgoing},
    convert::offer::Place,
    reads::{self, Master, Picture, operator},
};
use serde::Serialize;

use super::{ANSWER_BYTES_MAX, Reading, Started};
use crate::{
    api::{
        Api,
        call::{Answer, Failure},
        leader::beside,
    },
    budget::Permit,
    config::NodeOptions,
};

/// About what a row takes as a message: a task of three resources and one step 1.6 KB.
const ROW_BYTES: usize = 2 << 10;
/// The most that messages may take at once.
pub(in crate::api) const MESSAGES_BYTES_MAX: usize = 256 << 20;

/// Bytes, up to a limit.
struct Capped {
    bytes: Vec<u8>,
    max: usize,
}

impl io::Write for Capped {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + part.len() > self.max {
            return Err(io::Error::other("it is too long"));
        }
        self.bytes.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn too_long() -> Failure {
    Failure::invalid(format!(
        "the answer would have more than {ANSWER_BYTES_MAX} bytes: ask for less, such as /tasks with limit and offset, or \
         /state-summary"
    ))
}

pub(super) fn too_many() -> Failure {
    Failure::unavailable("the node that knows makes too many long answers at once: try again")
}

/// A value as JSON, if it is not too long.
pub(super) fn json<T: Serialize>(value: &T) -> Result<Answer, Failure> {
    let mut written = Capped { bytes: Vec::new(), max: ANSWER_BYTES_MAX };
    codec::write_json(&mut written, value).map_err(|_| too_long())?;
    Ok(Answer::json_text(written.bytes))
}

impl Api {
    /// Answers from the leader's picture.
    pub(in crate::api) async fn read_for_mesos(
        &self,
        reading: &Reading,
        forwarded: bool,
        view: Arc<View>,
    ) -> Result<Answer, Failure> {
        if let Reading::Events(Some(seen), media) = reading {
            return self.next_events(*seen, *media, view).await;
        }
        // Of calls that came in here, whoever took them in holds the memory.
        let held = if forwarded {
            Some(self.answers.take(ANSWER_BYTES_MAX).await.ok_or_else(too_many)?)
        } else {
            None
        };
        if let Reading::Events(None, media) = reading {
            let answer = self.first_event(*media, forwarded, view).await;
            drop(held);
            return answer;
        }
        let tree = match reading {
            Reading::Call(read, _) if read.is_long() => {
                Some(self.memory_for_messages(&view).await?)
            }
            _ => None,
        };
        let leader =
            Leader { options: self.options.options.clone(), started: Arc::clone(&self.started) };
        // Both are looked at only for those who ask.
        let asks_for = |wanted| matches!(reading, Reading::Call(read, _) if *read == wanted);
        let healthy = asks_for(operator::Read::Health)
            && self.health().is_ok_and(|answer| answer.status == 200);
        let measured = asks_for(operator::Read::Metrics).then(|| self.measured());
        let reading = reading.clone();
        beside(move || {
            let metrics = measured.map(|measured| measured()).unwrap_or_default();
            let answer = leader.tell(&reading, &view, &operator::Beside { healthy, metrics })?;
            let answer = if forwarded { answer.packed_for_a_frame() } else { Ok(answer) };
            drop((held, tree));
            answer
        })
        .await
    }

    /// Memory for messages that are made as a whole before they are written, as those of the operator API are.
    pub(super) async fn memory_for_messages(&self, view: &View) -> Result<Permit, Failure> {
        let rows = view.tasks.len() + view.tasks_ended.len() + view.offers.len();
        let rows = rows + view.frameworks.len() + view.frameworks_closed.len() + view.agents.len();
        let bytes = rows.saturating_mul(ROW_BYTES);
        if bytes > MESSAGES_BYTES_MAX {
            return Err(Failure::invalid(format!(
                "the cluster has {rows} tasks, frameworks, agents and offers, and at most {} are told by this API: ask \
                 /state, or /tasks with limit and offset",
                MESSAGES_BYTES_MAX / ROW_BYTES
            )));
        }
        self.messages.take(bytes).await.ok_or_else(too_many)
    }
}

/// What the leader's node knows beside the picture.
struct Leader {
    options: NodeOptions,
    started: Arc<Started>,
}

impl Leader {
    fn tell(
        &self,
        reading: &Reading,
        view: &View,
        beside: &operator::Beside,
    ) -> Result<Answer, Failure> {
        let options = &self.options;
        let picture = Picture::new(view);
        let address = options.http_address();
        let place = Place {
            hostname: address.ip().to_string(),
            ip: Some(address.ip()),
            port: address.port(),
        };
        let master = Master {
            place,
            hostname: &options.hostname,
            domain: options.domain.as_ref(),
            started_at: self.started.at,
            flags: &self.started.flags,
        };
        match reading {
            Reading::State => json(&reads::state(&picture, &master)),
            Reading::Summary => json(&reads::summary(&picture, &master)),
            Reading::Agents(only) => json(&reads::agents(&picture, only.as_deref())),
            Reading::Frameworks(only) => json(&reads::frameworks(&picture, only.as_deref())),
            Reading::Tasks(query) => json(&reads::tasks(&picture, query)),
            Reading::Roles => json(&reads::roles(&picture)),
            Reading::Weights => json(&reads::weights(&picture)),
            Reading::Quota => json(&reads::quota(&picture)),
            Reading::Events(..) => Err(Failure::unavailable("events are told as they happen")),
            Reading::Schedule => json(&reads::older_schedule(&picture)),
            Reading::Maintenance => json(&reads::older_status(&picture)),
            Reading::Call(read, media) => {
                in_media(*media, &operator::answer(*read, &picture, &master, beside))
            }
        }
    }
}

/// A message in its encoding, if it is not too long.
pub(super) fn in_media<M: Outgoing>(media: Media, response: &M) -> Result<Answer, Failure> {
    match media {
        Media::Json => json(response),
        Media::Protobuf => {
            let body = codec::write(media, response);
            if body.len() > ANSWER_BYTES_MAX {
                return Err(too_long());
            }
            Ok(Answer::of_media(media.name(), body))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_not_written_to_its_end() {
        let mut written = Capped { bytes: Vec::new(), max: 10 };
        assert!(codec::write_json(&mut written, &"x".repeat(9)).is_err());
        assert!(written.bytes.len() <= 10);
        let mut written = Capped { bytes: Vec::new(), max: 10 };
        codec::write_json(&mut written, &"x".repeat(8)).unwrap();
        assert_eq!(written.bytes.len(), 10);
    }
}

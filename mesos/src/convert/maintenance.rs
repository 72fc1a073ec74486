//! When nodes will be away.

use meshos_protocol::{
    ids::ClusterId,
    maintenance::{InverseOffer, Unavailability},
    time::Wall,
};

use super::{
    ids,
    offer::{Place, agent_url},
};
use crate::schema;

const NANOS_PER_MS: u64 = 1_000_000;

fn nanos(ms: u64) -> i64 {
    i64::try_from(ms.saturating_mul(NANOS_PER_MS)).unwrap_or(i64::MAX)
}

fn millis(nanos: i64) -> Option<u64> {
    Some(u64::try_from(nanos).ok()? / NANOS_PER_MS)
}

/// As messages have it.
#[must_use]
pub fn unavailability(away: Unavailability) -> schema::Unavailability {
    let duration = |ms| schema::DurationInfo { nanoseconds: Some(nanos(ms)) };
    schema::Unavailability {
        start: Some(schema::TimeInfo { nanoseconds: Some(nanos(away.start.0)) }),
        duration: away.duration_ms.map(duration),
    }
}

/// Reads it, to the millisecond.
///
/// # Errors
/// A sentence, when it has no beginning, or times before 1970 or of less than nothing.
pub fn read(away: &schema::Unavailability) -> Result<Unavailability, String> {
    let start = away.start.as_ref().and_then(|start| start.nanoseconds);
    let start = start.ok_or("'unavailability' has no 'start'")?;
    let start = millis(start).ok_or("'unavailability.start' is before 1970")?;
    let duration = away.duration.as_ref().and_then(|duration| duration.nanoseconds);
    let duration_ms = duration
        .map(|nanos| millis(nanos).ok_or("'unavailability.duration' is negative"))
        .transpose()?;
    Ok(Unavailability { start: Wall(start), duration_ms })
}

/// Shows an inverse offer; `place` is where its agent listens. It asks for the whole agent, so it names no resources.
#[must_use]
pub fn inverse_offer(
    cluster: ClusterId,
    offer: &InverseOffer,
    place: Option<&Place>,
) -> schema::InverseOffer {
    schema::InverseOffer {
        id: Some(ids::offer(cluster, offer.id)),
        url: place.map(|place| agent_url(place, &offer.hostname)),
        framework_id: Some(ids::framework(cluster, offer.framework)),
        agent_id: Some(ids::agent(cluster, offer.agent)),
        unavailability: Some(unavailability(offer.unavailability)),
        resources: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back_and_what_is_none_is_refused() {
        for duration_ms in [None, Some(0), Some(3_600_000)] {
            let away = Unavailability { start: Wall(1_800_000_000_123), duration_ms };
            assert_eq!(read(&unavailability(away)), Ok(away));
        }
        let time = |nanoseconds| Some(schema::TimeInfo { nanoseconds: Some(nanoseconds) });
        let length = |nanoseconds| Some(schema::DurationInfo { nanoseconds: Some(nanoseconds) });
        let wrong = [
            (None, None, "has no 'start'"),
            (time(-1), None, "before 1970"),
            (time(0), length(-1), "is negative"),
        ];
        for (start, duration, why) in wrong {
            let refused = read(&schema::Unavailability { start, duration }).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
        let longest = Unavailability { start: Wall(u64::MAX), duration_ms: Some(u64::MAX) };
        assert!(read(&unavailability(longest)).is_ok());
    }
}

//! Reads calls within the memory that they have together.

use meshos_mesos::{
    codec::{self, CALL_MEMORY_MAX, Media, Refused},
    schema::{self, CallType},
    validate,
};

use crate::budget::{Budget, Permit};

/// Memory of all calls that are read and not yet passed on: of four of the largest.
pub(super) const CALLS_MEMORY_MAX: usize = 4 * CALL_MEMORY_MAX;
/// What the calls of one stream may take of it: the largest call, or many small ones.
pub(super) const SHARE_MAX: usize = CALL_MEMORY_MAX;

/// A call that was read, and the permit for its memory.
pub(crate) struct ReadCall {
    pub call: schema::Call,
    pub kind: CallType,
    pub permit: Permit,
}

/// Reads a call within a share. It is weighed first, so that it waits for no more than it needs.
pub(super) async fn read(share: &Budget, media: Media, body: &[u8]) -> Result<ReadCall, Refused> {
    let weighed = codec::weigh_call(media, body)?;
    read_weighed(share, media, body, weighed).await
}

async fn read_weighed(
    share: &Budget,
    media: Media,
    body: &[u8],
    weighed: usize,
) -> Result<ReadCall, Refused> {
    let mut permit = take(share, weighed).await?;
    let (call, memory) = match codec::read_call_within(media, body, weighed)? {
        Some(read) => read,
        None => {
            // It was weighed too light, and may need all that a call may have.
            drop(permit);
            permit = take(share, CALL_MEMORY_MAX).await?;
            codec::read_call(media, body)?
        }
    };
    permit.keep(memory);
    let kind = validate::call(&call)?;
    Ok(ReadCall { call, kind, permit })
}

async fn take(share: &Budget, bytes: usize) -> Result<Permit, Refused> {
    share.take(bytes).await.ok_or_else(|| {
        let why = "This node has more calls to pass on than it has memory for: try again, or ask another one";
        Refused::new(503, why)
    })
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use serde_json::json;

    use super::*;

    /// A call with some text in it.
    fn reconcile(tasks: usize) -> Vec<u8> {
        let task = json!({"task_id": {"value": "task-000001"}});
        let call = json!({"type": "RECONCILE", "framework_id": {"value": "f"},
            "reconcile": {"tasks": vec![task; tasks]}});
        call.to_string().into_bytes()
    }

    #[tokio::test]
    async fn calls_wait_for_no_more_than_they_need() {
        let whole = Budget::new(CALLS_MEMORY_MAX);
        let share = whole.share(SHARE_MAX);
        let body = reconcile(800);
        assert!(body.len() > 16 << 10, "{} bytes", body.len());
        // Far more of them at once than of the largest.
        let mut read = Vec::new();
        for _ in 0..16 {
            let one = super::read(&share, Media::Json, &body).now_or_never();
            read.push(one.expect("it need not wait").map_err(|refused| refused.message).unwrap());
        }
        // In protobuf too.
        let bytes = codec::write(Media::Protobuf, &read[0].call);
        let one = super::read(&share, Media::Protobuf, &bytes).now_or_never();
        assert!(one.expect("it need not wait").is_ok());
    }

    #[tokio::test]
    async fn one_stream_leaves_memory_to_the_others() {
        let whole = Budget::new(CALLS_MEMORY_MAX);
        let (greedy, other) = (whole.share(SHARE_MAX), whole.share(SHARE_MAX));
        let body = reconcile(10_000);
        let mut read = Vec::new();
        while let Some(one) = super::read(&greedy, Media::Json, &body).now_or_never() {
            read.push(one.map_err(|refused| refused.message).unwrap());
        }
        assert!(!read.is_empty());
        let one = super::read(&other, Media::Json, &body).now_or_never();
        assert!(one.is_some_and(|one| one.is_ok()));
    }

    #[tokio::test]
    async fn what_is_weighed_too_light_is_read_with_all_that_a_call_may_have() {
        let share = Budget::new(CALL_MEMORY_MAX);
        let body = reconcile(1_000);
        let too_light = 64 << 10;
        assert!(codec::read_call_within(Media::Json, &body, too_light).unwrap().is_none());
        let read = read_weighed(&share, Media::Json, &body, too_light).now_or_never();
        assert!(read.is_some_and(|read| read.is_ok()));
    }
}

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use hyper::body::Body as _;
use meshos_mesos::recordio;

use super::*;
use crate::{
    api::{Call, ExecutorRequest, Scheduled, SchedulerRequest},
    driver::agent::Credential,
    http::{address::Names, gate::Gate, routes::Port},
};

/// Bytes of the first event.
const FIRST: usize = 16 << 20;

#[tokio::test]
async fn records_are_taken_apart_and_garbage_is_refused() {
    let body = b"3\n3-72\n{}0\n";
    let (seen, records) = records(Bytes::from_static(body)).unwrap();
    assert_eq!((seen.as_str(), records), ("3-7", [&b"2\n{}"[..], b"0\n"].map(Bytes::from).into()));
    for body in
        ["", "x", "3\n3-", "2\n3-7", "\n", "99999999999999999999\nx", "18446744073709551615\nx"]
    {
        assert_eq!(super::records(Bytes::from_static(body.as_bytes())), None, "{body:?}");
    }
    let refused = |answer| async { told(answer, None).await.unwrap_err().status };
    assert_eq!(refused(Answer::plain(410, "x")).await, 410);
    assert_eq!(refused(Answer::plain(200, "x")).await, 503);
    assert_eq!(refused(Answer { packed: true, ..Answer::plain(200, "1\n1") }).await, 503);
}

/// A leader that tells a long first event, packed as for another node, and then no more.
#[derive(Default)]
struct Leader {
    asked: AtomicUsize,
}

#[async_trait]
impl Answers for Leader {
    async fn answer(&self, call: Call) -> Answer {
        if self.asked.fetch_add(1, Ordering::SeqCst) > 0 {
            assert!(call.path.ends_with("&after=3-7"), "{}", call.path);
            return Answer::plain(410, "begin anew");
        }
        let mut body = recordio::encode(b"3-7");
        body.extend(recordio::encode(&vec![b'1'; FIRST]));
        let packed = packing::pack(&body).unwrap();
        Answer { packed: true, ..Answer::of_media("application/recordio", packed) }
    }

    async fn schedule(&self, _request: SchedulerRequest) -> Scheduled {
        Scheduled::Answer(Answer::plain(501, ""))
    }

    async fn admit_executor(&self, _credential: &Credential) -> Option<Credential> {
        None
    }

    async fn execute(&self, _request: ExecutorRequest) -> Scheduled {
        Scheduled::Answer(Answer::plain(501, ""))
    }

    fn answered(&self, _status: u16) {}
}

async fn next_piece(response: &mut Response) -> Option<Bytes> {
    let body = response.body_mut();
    let frame = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await?;
    Some(frame.unwrap().into_data().unwrap())
}

#[tokio::test]
async fn a_stream_keeps_its_memory_and_its_place_until_what_it_told_is_sent() {
    let gate = Arc::new(Gate::new(Names::default(), None));
    let (answers, port) = (Arc::new(Leader::default()), Port::Cluster);
    let handler = Handler { port, gate: Arc::clone(&gate), answers: Arc::clone(&answers) };
    let mut response = handler.watch(Media::Json, "p".to_owned(), None).await;
    assert_eq!(response.status(), 200);
    // All is handed to a connection that sends nothing of it.
    let heartbeat = codec::record(Media::Json, &events::heartbeat()).len();
    let first = recordio::encode(&vec![b'1'; FIRST]).len();
    let (mut pieces, mut bytes) = (Vec::new(), 0);
    while bytes < first + heartbeat {
        let piece = next_piece(&mut response).await.unwrap();
        assert!(piece.len() <= PIECE_BYTES, "{}", piece.len());
        bytes += piece.len();
        pieces.push(piece);
    }
    // The leader has nothing more to tell, and what carried the stream is over.
    let over = async {
        while Arc::strong_count(&answers) > 2 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(60), over).await.unwrap();
    assert_eq!(answers.asked.load(Ordering::SeqCst), 2);
    let left = |bytes: usize| gate.answers().take(4 * ANSWER_BYTES_MAX - bytes).now_or_never();
    assert!(left(FIRST).is_none(), "it is not sent");
    assert!(left(3 * FIRST).is_some(), "what the first event did not need has come back");
    // The connection has sent all but the last.
    pieces.drain(..pieces.len() - 2);
    assert!(left(FIRST).is_none(), "a part keeps the whole");
    pieces.clear();
    assert!(left(0).is_some());
    assert_eq!(gate.watchers().available_permits(), STREAMS_MAX - 1);
    assert_eq!(next_piece(&mut response).await, None);
    drop(response);
    assert_eq!(gate.watchers().available_permits(), STREAMS_MAX);
}

#[tokio::test]
async fn who_takes_a_record_too_slowly_is_cut_off() {
    let (long, short) = (Duration::from_secs(3_600), Duration::from_millis(20));
    for (limits, takes, in_time) in [
        ((long, long), 20, true),
        // Nothing at all.
        ((short, long), 0, false),
        // One piece after the other, and not all of them.
        ((long, short), 7, false),
    ] {
        let record = Bytes::from(vec![0; 20 * PIECE_BYTES]);
        let (taken, mut taking) = mpsc::channel(1);
        let client = async {
            for _ in 0..takes {
                let _piece: Option<Bytes> = taking.recv().await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            handed = hand_over(record, &taken, limits) => assert_eq!(handed, in_time, "{takes}"),
            () = client => {}
        }
    }
}

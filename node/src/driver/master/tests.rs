//! Explanations take turns, and what operators hear when the loop ends.

use meshos_control::{
    master::{Master, MasterConfig},
    registry::Registry,
};
use meshos_protocol::{
    ids::{Fence, FrameworkId, Term},
    time::{Mono, Now, Wall},
};

use super::*;

fn master() -> Master {
    let fence = Fence { cluster: ClusterId::from_u128(1), term: Term(1) };
    let now = Now { mono: Mono(0), wall: Wall(0) };
    let node = NodeId::from_bits(1);
    let config = MasterConfig::default();
    Master::new(config, fence, node, Registry::new(), Vec::new(), now, 0)
}

fn pictured(took: Duration) -> Pictured {
    Pictured { explainer: master().explainer(), took }
}

/// A handle to a loop that the test plays.
fn led() -> (Handle, mpsc::Receiver<Input>) {
    let (mailbox, inputs) = mpsc::channel(64);
    let handle = Handle::default();
    let view = Snapshot::new(master().view());
    handle.port.store(Some(Arc::new(Port { mailbox, view })));
    (handle, inputs)
}

const NOTHING: NotExplained = NotExplained::NoFramework(FrameworkId(1));
const QUESTION: Question = Question::Framework(FrameworkId(1));

fn ask(handle: &Handle) -> tokio::task::JoinHandle<Result<Explanation, Unexplained>> {
    let handle = handle.clone();
    tokio::spawn(async move { handle.explain(QUESTION).await })
}

async fn next_question(inputs: &mut mpsc::Receiver<Input>) -> oneshot::Sender<Pictured> {
    let Some(Input::Explainer { answer }) = inputs.recv().await else {
        panic!("not a question");
    };
    answer
}

#[tokio::test]
async fn one_explanation_is_under_way_and_the_next_comes_after_a_rest() {
    let (handle, mut inputs) = led();
    let asked = [ask(&handle), ask(&handle)];
    let answer = next_question(&mut inputs).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(inputs.try_recv().is_err(), "the second waits for the first");
    let began = Instant::now();
    let took = Duration::from_millis(5);
    assert!(answer.send(pictured(took)).is_ok());
    let answer = next_question(&mut inputs).await;
    assert!(began.elapsed() >= took * EXPLAIN_REST, "after {:?}", began.elapsed());
    assert!(answer.send(pictured(took)).is_ok());
    for asked in asked {
        assert_eq!(asked.await.unwrap(), Err(Unexplained::Nothing(NOTHING)));
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_makes_room_for_the_next() {
    let (handle, mut inputs) = led();
    let first = ask(&handle);
    let answer = next_question(&mut inputs).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    assert!(answer.is_closed(), "the loop need not answer");
    let _second = ask(&handle);
    next_question(&mut inputs).await;
}

#[tokio::test]
async fn more_than_may_wait_are_refused() {
    let (handle, mut inputs) = led();
    let asked: Vec<_> = (0..EXPLAIN_WAITING_MAX).map(|_| ask(&handle)).collect();
    let _answer = next_question(&mut inputs).await;
    assert_eq!(handle.explain(QUESTION).await, Err(Unexplained::Busy));
    drop(asked);
    assert_eq!(Handle::default().explain(QUESTION).await, Err(Unexplained::NotLeading));
}

#[tokio::test]
async fn an_operator_hears_whether_its_call_was_handed_in() {
    let call = || OperatorCall::Teardown { framework: FrameworkId(1) };
    assert_eq!(Handle::default().operate(call()).await, Err(NotOperated::NotLeading));
    let (handle, mut inputs) = led();
    let asking = tokio::spawn({
        let handle = handle.clone();
        async move { handle.operate(call()).await }
    });
    // It is there when the loop ends.
    assert!(matches!(inputs.recv().await, Some(Input::Operator { .. })));
    assert_eq!(asking.await.unwrap(), Err(NotOperated::Unanswered));
    drop(inputs);
    assert_eq!(handle.operate(call()).await, Err(NotOperated::NotLeading));
}

//! What one caller may take of what all share.

use super::*;
use crate::http::gate::EXECUTORS_BYTES_MAX;

/// The head of a request with a body of so many bytes, by whoever has this token.
fn head(path: &str, token: &str, bytes: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {token}\r\ncontent-length: {bytes}\r\n\r\n"
    )
}

async fn ask(running: &Running, path: &str, token: &str) -> (TcpStream, String) {
    let mut stream = running.connect().await;
    let request = head(path, token, 1) + "x";
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = read_until(&mut stream, "\r\n\r\n").await;
    (stream, answer)
}

const EXECUTOR: &str = "/api/v1/executor";

async fn run_agent(limits: Limits) -> Running {
    let gate = Gate::new(Names::default(), None).with_bodies(patient());
    start_port(Port::Agent { cluster: 5050 }, limits, gate).await
}

#[tokio::test]
async fn bodies_of_one_executor_that_do_not_come_keep_no_other_out() {
    let running = run_agent(Limits::default()).await;
    let large = head(EXECUTOR, "right", EXECUTOR_BODY_BYTES_MAX);
    let mut slow = tokio::task::JoinSet::new();
    for _ in 0..=EXECUTORS_BYTES_MAX / EXECUTOR_BODY_BYTES_MAX {
        let mut stream = running.connect().await;
        stream.write_all(large.as_bytes()).await.unwrap();
        slow.spawn(async move { read_until(&mut stream, "\r\n").await });
    }
    // One of them has the share, whichever came first, and the others are told so when they have waited.
    for _ in 0..EXECUTORS_BYTES_MAX / EXECUTOR_BODY_BYTES_MAX {
        let told = within(slow.join_next()).await.unwrap().unwrap();
        assert!(told.starts_with("HTTP/1.1 503"), "{told}");
    }
    let (_, answer) = ask(&running, EXECUTOR, "other").await;
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
}

#[tokio::test]
async fn a_body_has_a_time_as_a_whole() {
    let limit = Duration::from_millis(200);
    let gate = Gate::new(Names::default(), None).with_bodies(Bodies { limit, ..Bodies::default() });
    let port = Port::Agent { cluster: 5050 };
    let running = start_port(port, Limits::default(), gate).await;
    let mut stream = running.connect().await;
    stream.write_all(head(EXECUTOR, "right", 1 << 20).as_bytes()).await.unwrap();
    let (mut read, mut write) = stream.split();
    // A byte now and then is not enough.
    let trickle = async {
        while write.write_all(b"x").await.is_ok() {
            tokio::time::timeout(limit / 10, std::future::pending::<()>()).await.unwrap_err();
        }
        std::future::pending::<()>().await;
    };
    let mut answer = [0; 12];
    tokio::select! {
        read = within(read.read_exact(&mut answer)) => { read.unwrap(); }
        () = trickle => {}
    }
    assert_eq!(&answer, b"HTTP/1.1 408");
}

#[tokio::test]
async fn a_newcomer_takes_the_place_of_whoever_has_most() {
    let running = run_agent(Limits { connections: 4, ..Limits::default() }).await;
    let (mut other, answer) = ask(&running, EXECUTOR, "other").await;
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    let mut many = Vec::new();
    for _ in 0..3 {
        many.push(ask(&running, EXECUTOR, "right").await.0);
    }
    let (_newcomer, answer) = ask(&running, EXECUTOR, "other").await;
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    assert!(is_closed(&mut many[0]).await, "idle for the longest");
    assert_eq!(running.echo.made_room.load(Ordering::SeqCst), 1);
    assert_eq!(running.echo.refused.load(Ordering::SeqCst), 0);
    // The others are served as before.
    for (number, stream) in std::iter::once(&mut other).chain(&mut many[1..]).enumerate() {
        let token = if number == 0 { "other" } else { "right" };
        let request = head(EXECUTOR, token, 1) + "x";
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = read_until(stream, "\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_their_places_used_again() {
    let gate = Gate::new(Names::default(), None).with_bodies(patient());
    let running = start(Limits { connections: 1, ..Limits::default() }, gate).await;
    let mut first = running.connect().await;
    first.write_all(b"GET /a HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").await.unwrap();
    read_until(&mut first, "GET /a").await;
    // What it asks for now is under way.
    let post =
        "POST /b HTTP/1.1\r\nhost: 127.0.0.1\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n";
    first.write_all(post.as_bytes()).await.unwrap();
    read_until(&mut first, "100 Continue").await;
    let mut second = running.connect().await;
    assert!(is_closed(&mut second).await);
    assert_eq!(running.echo.refused.load(Ordering::SeqCst), 1);
    assert_eq!(running.echo.open.load(Ordering::SeqCst), 1);
    drop(first);
    // When the first one's end is seen is up to the system.
    within(async {
        loop {
            let mut third = running.connect().await;
            let sent = third
                .write_all(b"GET /c HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
                .await;
            let mut text = String::new();
            if sent.is_ok()
                && third.read_to_string(&mut text).await.is_ok()
                && text.contains("GET /c")
            {
                return;
            }
        }
    })
    .await;
}

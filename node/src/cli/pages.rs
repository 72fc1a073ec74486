//! Reads a long list page by page, all of one picture.

use serde_json::Value;

use super::api::{Api, ApiError};

/// How often a list is begun anew when its picture is lost, as when another node becomes the leader.
const TRIES_MAX: usize = 5;
/// The most rows that are read.
const ROWS_MAX: usize = 2_000_000;

/// The whole list at `path`, which has no query.
pub(super) async fn read(api: &Api, path: &str) -> Result<Value, ApiError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match read_picture(api, path, picture()).await {
            Err(ApiError::Refused { status: 410, .. }) if tries < TRIES_MAX => {}
            read => return read.map(Value::Array),
        }
    }
}

async fn read_picture(api: &Api, path: &str, picture: u64) -> Result<Vec<Value>, ApiError> {
    let mut rows = Vec::new();
    let mut offset = 0;
    loop {
        let mut page = api.get(&format!("{path}?picture={picture}&offset={offset}")).await?;
        let Some(Value::Array(more)) = page.get_mut("rows").map(Value::take) else {
            return Err(malformed("a page of a list has no rows"));
        };
        rows.extend(more);
        match page.get("next") {
            None | Some(Value::Null) => return Ok(rows),
            Some(next) => match next.as_u64().filter(|next| *next > offset) {
                Some(_) if rows.len() > ROWS_MAX => {
                    return Err(malformed("the list does not end"));
                }
                Some(next) => offset = next,
                None => return Err(malformed("the pages of a list go backwards")),
            },
        }
    }
}

fn malformed(why: &str) -> ApiError {
    ApiError::Malformed { node: "the node".to_owned(), why: why.to_owned() }
}

/// A number that no other reader has.
fn picture() -> u64 {
    use ring::rand::SecureRandom as _;
    let mut bytes = [0; 8];
    if ring::rand::SystemRandom::new().fill(&mut bytes).is_ok() {
        return u64::from_le_bytes(bytes);
    }
    super::text::now_ms() ^ (u64::from(std::process::id()) << 32)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader, Write as _},
        net::TcpListener,
        thread::JoinHandle,
    };

    use super::*;

    /// Answers one request after the other, and gives back which paths were asked for.
    fn node(answers: Vec<(u16, &'static str)>) -> (String, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serving = std::thread::spawn(move || {
            let answer = |(status, body): (u16, &str)| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let first = lines.next().unwrap().unwrap();
                lines.find(|line| line.as_ref().unwrap().is_empty());
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
                );
                stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
                first.split(' ').nth(1).unwrap().to_owned()
            };
            answers.into_iter().map(answer).collect()
        });
        (address, serving)
    }

    async fn read_from(
        answers: Vec<(u16, &'static str)>,
    ) -> (Result<Value, ApiError>, Vec<(String, String)>) {
        let (address, serving) = node(answers);
        let api = Api::with_token(&address, None).unwrap();
        let read = read(&api, "/api/tasks").await;
        let asked = serving.join().unwrap().into_iter().map(|path| {
            let (picture, offset) = path.split_once("&offset=").unwrap();
            (picture.to_owned(), offset.to_owned())
        });
        (read, asked.collect())
    }

    #[tokio::test]
    async fn the_pages_of_one_picture_are_one_list() {
        let (read, asked) = read_from(vec![
            (200, r#"{"rows":[1,2],"next":2,"total":3}"#),
            (200, r#"{"rows":[3],"next":null,"total":3}"#),
        ])
        .await;
        assert_eq!(read.unwrap(), serde_json::json!([1, 2, 3]));
        assert_eq!((asked[0].1.as_str(), asked[1].1.as_str()), ("0", "2"));
        assert_eq!(asked[0].0, asked[1].0);
        assert!(asked[0].0.starts_with("/api/tasks?picture="));
    }

    #[tokio::test]
    async fn a_lost_picture_is_begun_anew() {
        let (read, asked) = read_from(vec![
            (200, r#"{"rows":[1],"next":1}"#),
            (410, r#"{"error":"not kept"}"#),
            (200, r#"{"rows":[4,5],"next":null}"#),
        ])
        .await;
        assert_eq!(read.unwrap(), serde_json::json!([4, 5]));
        assert_ne!(asked[0].0, asked[2].0, "another picture");
    }

    #[tokio::test]
    async fn pages_that_do_not_go_on_are_refused() {
        let (read, _) = read_from(vec![(200, r#"{"rows":[1],"next":0}"#)]).await;
        assert!(matches!(read, Err(ApiError::Malformed { .. })), "{read:?}");
        let (read, _) = read_from(vec![(200, "[]")]).await;
        assert!(matches!(read, Err(ApiError::Malformed { .. })), "{read:?}");
    }
}

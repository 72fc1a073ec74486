//! Requests of tools made for Mesos, and answers in the form that whoever asks wants: compressed, or as a script for a
//! page.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::{Buf, Bytes};
use futures_util::{Stream, stream};
use meshos_mesos::codec::Media;
use tokio_util::sync::{CancellationToken, DropGuard};
use warp::{
    Reply as _,
    http::{
        HeaderMap, HeaderValue, Method,
        header::{ACCEPT, ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, REFERER, USER_AGENT},
    },
    reply::Response,
};

use super::{
    changes::change_of,
    gate::{Refused, Sender},
    idle::Connection,
    routes::{Answers, Handler, Port},
};
use crate::{
    api::{ANSWER_BYTES_MAX, Answer, Api, Call, OperatorApi, OperatorCall, packing},
    budget::Permit,
};

/// Shorter bodies are not compressed, as in Mesos.
const PACKED_BYTES_MIN: usize = 1 << 10;
/// The longest name of a function that a script calls.
const CALLBACK_BYTES_MAX: usize = 256;
/// Answers that do not grow with the tasks of a cluster are about so long at most.
const SHORT_BYTES: usize = 1 << 20;
/// A long body is handed to its connection in pieces of so many bytes.
pub(super) const PIECE_BYTES: usize = 64 << 10;
/// What the older endpoints take. Some tools read with POST.
const READ: &str = "GET, HEAD, POST, OPTIONS";
/// Where a POST does not read, and what is taken there.
const NOT_BY_POST: [(&str, &str); 3] = [
    ("/mesos/weights", "GET, HEAD, PUT, OPTIONS"),
    ("/mesos/quota", "GET, HEAD, POST, OPTIONS"),
    ("/mesos/schedule", "GET, HEAD, OPTIONS"),
];

/// A call of the operator API.
enum Asked {
    Read(Call),
    /// With the memory of its body.
    Change(Call, Option<Permit>),
    /// To be told what happens, and who asks.
    Watch(Media, String),
}

/// How an answer is wanted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Compressed.
    packed: bool,
    /// As a call of this function.
    callback: Option<String>,
    /// Errors are plain texts.
    mesos: bool,
}

impl Wanted {
    /// As the headers have it.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self { packed: takes_gzip(headers), ..Self::default() }
    }

    /// The same for Mesos's tools.
    pub(super) fn of_mesos(headers: &HeaderMap) -> Self {
        Self { mesos: true, ..Self::of(headers) }
    }

    /// The answer in that form.
    pub(super) async fn form(self, answer: Answer) -> Answer {
        if self.is_quick(&answer) {
            return self.form_now(answer);
        }
        // Tens of megabytes take a while.
        match tokio::task::spawn_blocking(move || self.form_now(answer)).await {
            Ok(answer) => answer,
            Err(error) => Answer::plain(503, &format!("the answer was not made: {error}")),
        }
    }

    /// Whether nothing is left to be done with the answer, or not with much of it.
    fn is_quick(&self, answer: &Answer) -> bool {
        let as_it_is = !answer.packed && !self.packs(answer);
        self.callback.is_none() && (as_it_is || answer.body.len() < PACKED_BYTES_MIN)
    }

    /// Whether the answer is to be packed, as it is.
    fn packs(&self, answer: &Answer) -> bool {
        let text = ["application/json", "application/x-protobuf", "text/"];
        let is_text = text.iter().any(|kind| answer.content_type.starts_with(kind));
        self.packed && !answer.packed && is_text && answer.body.len() >= PACKED_BYTES_MIN
    }

    fn form_now(self, answer: Answer) -> Answer {
        if answer.status >= 400 {
            return if self.mesos {
                Answer::plain(answer.status, &answer.message())
            } else {
                answer
            };
        }
        let formed = self.script(answer).and_then(|answer| self.pack(answer));
        formed.unwrap_or_else(|error| {
            Answer::plain(503, &format!("the answer cannot be written: {error}"))
        })
    }

    fn script(&self, mut answer: Answer) -> std::io::Result<Answer> {
        let Some(callback) = &self.callback else { return Ok(answer) };
        answer = unpacked(answer)?;
        let mut body = Vec::with_capacity(callback.len() + answer.body.len() + 2);
        body.extend_from_slice(callback.as_bytes());
        body.push(b'(');
        body.extend_from_slice(&answer.body);
        body.push(b')');
        Ok(Answer { body, content_type: "text/javascript".to_owned(), ..answer })
    }

    fn pack(&self, answer: Answer) -> std::io::Result<Answer> {
        if !self.packed {
            return unpacked(answer);
        }
        if !self.packs(&answer) {
            return Ok(answer);
        }
        Ok(Answer { body: packing::pack(&answer.body)?, packed: true, ..answer })
    }
}

fn unpacked(answer: Answer) -> std::io::Result<Answer> {
    if !answer.packed {
        return Ok(answer);
    }
    Ok(Answer { body: packing::unpack(&answer.body, ANSWER_BYTES_MAX)?, packed: false, ..answer })
}

/// Whether whoever asks takes bodies that are compressed with gzip.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let all = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let named = all.flat_map(|value| value.split(','));
    named.into_iter().any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let refused = parts.any(|it| it.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0)));
        (name.eq_ignore_ascii_case("gzip") || name == "*") && !refused
    })
}

/// The function that a script is to call, and what the query says beside it.
fn callback_of(query: &str) -> Result<(Option<String>, String), Refused> {
    let mut callback = None;
    let mut rest: Vec<&str> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("jsonp", name)) => callback = Some(name.replace("%24", "$")),
            Some(_) | None => rest.push(pair),
        }
    }
    let allowed = |letter: u8| letter.is_ascii_alphanumeric() || b"_.$[]".contains(&letter);
    if let Some(name) = callback.as_ref()
        && (name.is_empty() || name.len() > CALLBACK_BYTES_MAX || !name.bytes().all(allowed))
    {
        let message =
            "jsonp is the name of a function: letters, digits and any of _.$[]".to_owned();
        return Err(Refused { status: 400, message });
    }
    Ok((callback, rest.join("&")))
}

/// Whether a script may be handed out: unlike other answers it is read by any page that asks for it, and a browser adds
/// the credentials that it knows. So a page must be one of this node's own.
fn may_script(headers: &HeaderMap) -> Result<(), Refused> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text("host").unwrap_or_default();
    let own_page = match (text("sec-fetch-site"), text(REFERER.as_str())) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(page)) => {
            let authority = page.split_once("://").map(|(_, rest)| rest);
            let authority = authority.and_then(|rest| rest.split('/').next());
            authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
        }
        // No browser calls itself anything else.
        (None, None) => !text(USER_AGENT.as_str()).is_some_and(|it| it.contains("Mozilla")),
    };
    if own_page {
        return Ok(());
    }
    let message = "answers with jsonp are for this node's own pages: others would read them too";
    Err(Refused { status: 403, message: message.to_owned() })
}

impl<A: Answers> Handler<A> {
    /// The path here of what tools made for Mesos read.
    pub(super) fn mesos_path(&self, path: &str) -> Option<&'static str> {
        Api::mesos_path(path, self.port != Port::Cluster)
    }

    /// Answers one of the older endpoints.
    pub(super) async fn read_older(
        &self,
        method: &Method,
        (path, here, query): (&str, &str, &str),
        headers: &HeaderMap,
        connection: Option<Connection>,
    ) -> Response {
        let methods = NOT_BY_POST.iter().find(|(path, _)| *path == here);
        let methods = methods.map_or(READ, |(_, methods)| methods);
        match self.older_call((method, methods), (path, here), query, headers) {
            Ok(None) => {
                let may = Answer { allow: Some(methods), ..Answer::plain(200, "") };
                self.respond_held(may, None)
            }
            Ok(Some((call, wanted))) => {
                let made = self.answer_held(call, wanted).await;
                self.respond_long(made, connection)
            }
            Err(refused) => self.refuse(refused, methods),
        }
    }

    /// What is refused, beside what else may be asked.
    pub(super) fn refuse(
        &self,
        Refused { status, message }: Refused,
        methods: &'static str,
    ) -> Response {
        let allow = (status == 405).then_some(methods);
        self.respond_held(Answer { allow, ..Answer::plain(status, &message) }, None)
    }

    pub(super) fn respond_held(&self, answer: Answer, held: Option<Permit>) -> Response {
        self.respond_long((answer, held), None)
    }

    /// The same over a connection that is cut off when it takes the answer too slowly.
    fn respond_long(
        &self,
        (answer, held): (Answer, Option<Permit>),
        connection: Option<Connection>,
    ) -> Response {
        self.answers.answered(answer.status);
        let limit = sending_limit(answer.body.len());
        respond_in_pieces(answer, held, connection.map(|connection| (connection, limit)))
    }

    /// The call that a request stands for; none when it only asks what may be asked.
    fn older_call(
        &self,
        (method, methods): (&Method, &str),
        (path, here): (&str, &str),
        query: &str,
        headers: &HeaderMap,
    ) -> Result<Option<(Call, Wanted)>, Refused> {
        let caller = self.gate.admit(path, headers)?;
        match *method {
            Method::POST if methods != READ => return Err(not_allowed(&quoted(methods), method)),
            Method::GET | Method::HEAD | Method::POST => {}
            Method::OPTIONS => return Ok(None),
            _ => return Err(not_allowed(&quoted(methods), method)),
        }
        let (callback, rest) = callback_of(query)?;
        if callback.is_some() {
            may_script(headers)?;
        }
        // What has a form of meshos's own takes no parameters.
        let is_older = here.starts_with("/mesos/");
        let path =
            if rest.is_empty() || !is_older { here.to_owned() } else { format!("{here}?{rest}") };
        let wanted = Wanted { callback, ..Wanted::of_mesos(headers) };
        Ok(Some((read_of(path, caller.principal), wanted)))
    }

    /// Answers a call of the cluster's operator API, or of the agent's.
    pub(super) async fn operator_api<S, B>(
        &self,
        api: OperatorApi,
        request: (&Method, &str),
        headers: &HeaderMap,
        (connection, body): (Option<Connection>, S),
    ) -> Response
    where
        S: Stream<Item = Result<B, warp::Error>> + Send,
        B: Buf + Send,
    {
        match self.operator_call(api, request, headers, body).await {
            Ok(Asked::Change(call, _body)) => {
                let answer = self.changed(call, headers).await;
                self.respond_held(answer, None)
            }
            Ok(Asked::Watch(media, principal)) => self.watch(media, principal, connection).await,
            Ok(Asked::Read(call)) => {
                let wanted = Wanted::of_mesos(headers);
                let made = self.answer_held(call, wanted).await;
                self.respond_long(made, connection)
            }
            Err(refused) => self.refuse(refused, "POST"),
        }
    }

    async fn operator_call<S, B>(
        &self,
        api: OperatorApi,
        (method, path): (&Method, &str),
        headers: &HeaderMap,
        body: S,
    ) -> Result<Asked, Refused>
    where
        S: Stream<Item = Result<B, warp::Error>> + Send,
        B: Buf + Send,
    {
        let caller = self.gate.admit(path, headers)?;
        if *method != Method::POST {
            return Err(not_allowed("'POST'", method));
        }
        let (body, permit) = self.read_body(true, Sender::Other, headers, body).await?;
        let header = |name| {
            headers.get(name).map(|value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()))
        };
        let (content_type, accept) = (header(CONTENT_TYPE), header(ACCEPT));
        let (content_type, accept) = (content_type.as_deref(), accept.as_deref());
        let called = match api {
            OperatorApi::Cluster => Api::operator_call(content_type, accept, &body),
            OperatorApi::Agent => Api::agent_call(content_type, accept, &body),
        };
        Ok(match called? {
            OperatorCall::Read(path) => Asked::Read(read_of(path, caller.principal)),
            OperatorCall::Watch(media) => Asked::Watch(media, caller.principal),
            OperatorCall::Change(path) => {
                caller.may_change()?;
                Asked::Change(change_of(path, body, caller.principal), permit)
            }
        })
    }

    /// The answer in its form, and the memory that it takes.
    async fn answer_held(&self, call: Call, wanted: Wanted) -> (Answer, Option<Permit>) {
        let most = if Api::may_be_long(&call.path) { ANSWER_BYTES_MAX } else { SHORT_BYTES };
        let Some(mut held) = self.gate.answers().take(most).await else {
            let busy =
                "this node makes too many long answers at once: try again, or ask another node";
            return (Answer::plain(503, busy), None);
        };
        let answers = Arc::clone(&self.answers);
        // Beside the connection: one that is closed meanwhile must not give back the memory of what is still being made.
        let made = tokio::spawn(async move {
            let answer = wanted.form(answers.answer(call).await).await;
            held.keep(answer.body.len());
            (answer, Some(held))
        });
        made.await.unwrap_or_else(|error| {
            (Answer::plain(503, &format!("the answer was not made: {error}")), None)
        })
    }
}

/// The methods as Mesos lists them, but for the one that only asks which there are.
fn quoted(methods: &str) -> String {
    let listed = methods.split(", ").filter(|method| *method != "OPTIONS");
    listed.map(|method| format!("'{method}'")).collect::<Vec<_>>().join(", ")
}

/// In Mesos's words.
pub(super) fn not_allowed(expected: &str, method: &Method) -> Refused {
    let message = format!(
        "405 Method Not Allowed. Expecting one of {{ {expected} }}, but received '{method}'."
    );
    Refused { status: 405, message }
}

pub(super) fn read_of(path: String, principal: String) -> Call {
    Call { method: "GET".to_owned(), path, principal, body: Vec::new(), forwarded: false }
}

/// How long a client may take nothing at all of what is sent to it.
pub(super) const TAKE_LIMIT: Duration = Duration::from_secs(60);
/// So many bytes a client takes in a second at least, or it is cut off: the memory of what waits for it others cannot use.
pub(super) const RATE_MIN: usize = 64 << 10;

/// How long it may take to send so many bytes.
pub(super) fn sending_limit(bytes: usize) -> Duration {
    TAKE_LIMIT + Duration::from_secs(u64::try_from(bytes / RATE_MIN).unwrap_or(u64::MAX))
}

/// Bytes of which it is told when they are sent: when the connection has let go of the last part of them.
struct Watched {
    bytes: Bytes,
    _sent: DropGuard,
}

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Has a connection cut off unless these bytes are sent within a time.
fn sent_within(bytes: Bytes, (connection, limit): (Connection, Duration)) -> Bytes {
    let sent = CancellationToken::new();
    let watched = Watched { bytes, _sent: sent.clone().drop_guard() };
    tokio::spawn(async move {
        if tokio::time::timeout(limit, sent.cancelled()).await.is_err() {
            tracing::debug!(?limit, "a client takes its answer too slowly: it is cut off");
            connection.cut();
        }
    });
    Bytes::from_owner(watched)
}

/// A response whose memory is held until it is sent, perhaps over a connection that must take it within a time.
fn respond_in_pieces(
    mut answer: Answer,
    held: Option<Permit>,
    within: Option<(Connection, Duration)>,
) -> Response {
    let body = std::mem::take(&mut answer.body);
    let mut response = super::routes::respond(answer, super::routes::REALM);
    let length = body.len();
    if length <= PIECE_BYTES {
        *response.body_mut() = body.into_response().into_body();
        return response;
    }
    let body = match held {
        Some(held) => held.hold(body),
        None => Bytes::from(body),
    };
    let body = match within {
        Some(within) => sent_within(body, within),
        None => body,
    };
    let pieces = stream::unfold(body, |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        let piece = rest.split_to(rest.len().min(PIECE_BYTES));
        Some((Ok::<_, Infallible>(piece), rest))
    });
    *response.body_mut() = warp::reply::stream(pieces).into_response().into_body();
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;

    fn headers(of: &[(&'static str, &'static str)]) -> HeaderMap {
        of.iter()
            .map(|(name, value)| {
                let name = warp::http::HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            })
            .collect()
    }

    #[test]
    fn bodies_are_compressed_for_those_who_say_that_they_take_it() {
        for value in ["gzip", "deflate, gzip;q=1.0", "GZIP", "*", "gzip;q=0.5, br"] {
            let taken =
                takes_gzip(&HeaderMap::from_iter([(ACCEPT_ENCODING, value.parse().unwrap())]));
            assert!(taken, "{value}");
        }
        for value in ["", "br", "gzip;q=0", "identity", "xgzip"] {
            let taken =
                takes_gzip(&HeaderMap::from_iter([(ACCEPT_ENCODING, value.parse().unwrap())]));
            assert!(!taken, "{value}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[test]
    fn an_answer_takes_the_form_that_is_wanted() {
        let long = || Answer::of_media("application/json", b"[1]".repeat(1_000));
        let wanted = |packed, callback: Option<&str>| Wanted {
            packed,
            callback: callback.map(str::to_owned),
            mesos: true,
        };
        let packed = wanted(true, None).form_now(long());
        assert!(packed.packed && packed.body.len() < 200);
        // From another node it comes packed, whoever wants it how.
        assert_eq!(wanted(false, None).form_now(packed.clone()), long());
        assert_eq!(wanted(true, None).form_now(packed.clone()), packed);
        let script = wanted(false, Some("f")).form_now(packed);
        assert_eq!(script.content_type, "text/javascript");
        assert!(script.body.starts_with(b"f([1]") && script.body.ends_with(b"[1])"));
        let short = || Answer::of_media("application/json", b"{}".to_vec());
        assert_eq!(wanted(true, None).form_now(short()), short());
        let error = wanted(true, Some("f")).form_now(Answer::error(404, "no such thing"));
        assert_eq!((error.status, error.body.as_slice()), (404, &b"no such thing"[..]));
        let own = Wanted::default().form_now(Answer::error(404, "no such thing"));
        assert_eq!(own, Answer::error(404, "no such thing"));
    }

    #[test]
    fn a_callback_is_a_name_and_nothing_else() {
        let named =
            |query| callback_of(query).map(|(callback, rest)| (callback.unwrap_or_default(), rest));
        assert_eq!(
            named("jsonp=angular.callbacks._0&limit=1").unwrap(),
            ("angular.callbacks._0".into(), "limit=1".into())
        );
        assert_eq!(named("a=1&jsonp=%24f[0]").unwrap(), ("$f[0]".into(), "a=1".into()));
        assert_eq!(named("limit=1").unwrap(), (String::new(), "limit=1".into()));
        for query in ["jsonp=", "jsonp=alert(1)", "jsonp=a%3Cb", "jsonp=a-b"] {
            assert_eq!(named(query).unwrap_err().status, 400, "{query}");
        }
        assert!(named(&format!("jsonp={}", "x".repeat(CALLBACK_BYTES_MAX + 1))).is_err());
    }

    #[test]
    fn scripts_are_for_pages_of_this_node_and_for_what_is_no_browser() {
        let host = ("host", "node:5050");
        let may = |of: &[(&'static str, &'static str)]| {
            may_script(&headers(&[&[host], of].concat())).is_ok()
        };
        assert!(may(&[]));
        assert!(may(&[("user-agent", "curl/8")]));
        assert!(may(&[("sec-fetch-site", "same-origin"), ("user-agent", "Mozilla/5.0")]));
        assert!(may(&[("referer", "http://node:5050/page"), ("user-agent", "Mozilla/5.0")]));
        assert!(!may(&[("sec-fetch-site", "cross-site"), ("referer", "http://node:5050/")]));
        assert!(!may(&[("sec-fetch-site", "same-site")]));
        assert!(!may(&[("referer", "http://evil.example/node:5050")]));
        assert!(!may(&[("referer", "http://node:5051/")]));
        assert!(!may(&[("user-agent", "Mozilla/5.0")]));
    }

    #[tokio::test]
    async fn who_takes_a_long_answer_too_slowly_is_cut_off() {
        use futures_util::FutureExt as _;
        const LONG: usize = 4 * PIECE_BYTES;
        let memory = Budget::new(2 * LONG);
        let respond = async |limit| {
            let held = memory.take(LONG).await.unwrap();
            let connection = Connection::new();
            let answer = Answer::of_media("application/json", vec![b'1'; LONG]);
            let within = Some((connection.clone(), limit));
            (respond_in_pieces(answer, Some(held), within), connection)
        };
        let (slow, cut) = respond(Duration::from_millis(20)).await;
        tokio::time::timeout(Duration::from_secs(60), cut.is_cut()).await.unwrap();
        assert!(memory.take(2 * LONG).now_or_never().is_none(), "until the connection is closed");
        drop(slow);
        let (prompt, kept) = respond(Duration::from_secs(3_600)).await;
        drop(prompt);
        // Everything is told as sent, and nobody waits for it any more.
        assert!(memory.take(2 * LONG).now_or_never().is_some());
        assert!(kept.is_cut().now_or_never().is_none());
        assert_eq!(sending_limit(0), TAKE_LIMIT);
        let seconds = u64::try_from(ANSWER_BYTES_MAX >> 16).unwrap();
        assert_eq!(sending_limit(ANSWER_BYTES_MAX), TAKE_LIMIT + Duration::from_secs(seconds));
    }
}

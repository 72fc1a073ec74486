//! Executors that speak Mesos's executor API: who they are, and what passes.
//!
//! Over HTTP nothing but the calls themselves says to which connection they belong, so each executor has one session here,
//! whose stream is its newest one.

mod carry;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use meshos_control::agent::ExecutorRecord;
use meshos_mesos::{
    codec::{self, Media, Refused},
    convert::ids,
    executor::{About, Session},
    schema, validate,
};
use meshos_protocol::{
    ids::{ClusterId, ContainerId, ExecutorId, FrameworkId},
    messages::executor::{Call, Event as ExecutorEvent},
};
use ring::digest;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    super::Input,
    Outlet, Said,
    connection::{MESSAGES_BYTES_MAX, WAITING_BYTES_MAX, next_connection},
};
use crate::{
    config::NodeOptions,
    gateway::{Pusher, Records, pair},
};
use carry::Carried;

/// How long a call waits for an executor's door to open.
const OPENING_LIMIT: Duration = Duration::from_secs(5);

/// What is needed.
pub(crate) struct Options {
    pub about: About,
    /// Where the agent's HTTP server is reached from this machine.
    pub endpoint: SocketAddr,
    pub cluster: watch::Receiver<Option<ClusterId>>,
    pub shutdown: CancellationToken,
}

impl Options {
    /// Those of a node.
    pub(crate) fn of(
        options: &NodeOptions,
        cluster: watch::Receiver<Option<ClusterId>>,
        shutdown: CancellationToken,
    ) -> Self {
        let about = About {
            port: options.agent_listen.port(),
            attributes: options.attributes.clone(),
            resources: options.resources.clone(),
            domain: options.domain.clone(),
        };
        Self { about, endpoint: options.agent_endpoint(), cluster, shutdown }
    }
}

/// By what somebody may speak for an executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Credential {
    /// It shows the token of this digest.
    Token([u8; 32]),
    /// It is a process of this machine that runs as this user, as the system says.
    User(u32),
}

impl Credential {
    /// That of whoever shows this token.
    pub(crate) fn token(token: &str) -> Self {
        let mut digest = [0; 32];
        digest.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
        Self::Token(digest)
    }
}

/// Names an executor.
type Key = (FrameworkId, ExecutorId);

/// The executors of a node.
#[derive(Clone)]
pub(crate) struct Doors(Arc<Shared>);

struct Shared {
    options: Options,
    mailbox: mpsc::Sender<Input>,
    state: Mutex<State>,
    /// Held while an executor subscribes, so that its newest stream is the same everywhere.
    subscribing: tokio::sync::Mutex<()>,
    /// Told when a door opens or goes.
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    /// Whether all executors are known that live.
    recovered: bool,
    doors: BTreeMap<Key, Door>,
    keys: BTreeMap<ContainerId, Key>,
}

/// One executor.
struct Door {
    container: ContainerId,
    /// Whether its container runs.
    served: bool,
    /// Who may speak for it, once its container is about to run: whoever shows the token, or runs as the user, who could read
    /// the token all the same.
    lock: Option<[Credential; 2]>,
    /// Whether it may be spoken for.
    open: bool,
    /// It was there before this process: who may speak for it is only found out, and it may call meanwhile.
    returned: bool,
    session: Option<Session>,
    /// Its stream.
    current: Option<Stream>,
}

/// The stream of an executor.
struct Stream {
    connection: u64,
    /// Updates on their way to the agent's loop, in the order in which the session let them go. Bounded by the session.
    updates: mpsc::UnboundedSender<Call>,
}

impl Door {
    fn takes(&self, credential: &Credential) -> bool {
        self.lock.as_ref().is_some_and(|lock| lock.contains(credential))
    }

    /// Hands updates on.
    fn pass_on(&self, updates: Vec<Call>) {
        if let Some(stream) = &self.current {
            for update in updates {
                // What a stream that is over leaves behind is told again by the next one.
                let _listening = stream.updates.send(update);
            }
        }
    }
}

/// Where events for a stream go; the stream ends when it is dropped.
pub(in crate::driver::agent) struct StreamOutbox {
    pusher: Pusher,
    media: Media,
    _stop: DropGuard,
}

/// Whether a call can be made now.
enum Found {
    Open,
    /// It may open in a moment.
    Closed,
}

impl Doors {
    pub(in crate::driver::agent) fn new(
        options: Options,
        mailbox: mpsc::Sender<Input>,
        known: &[ExecutorRecord],
    ) -> Self {
        let state = Mutex::default();
        let (subscribing, changed) = (tokio::sync::Mutex::default(), watch::channel(()).0);
        let doors = Self(Arc::new(Shared { options, mailbox, state, subscribing, changed }));
        for record in known {
            let key = (record.framework, record.info.id.clone());
            doors.put(record.container.clone(), key, true);
        }
        doors
    }

    /// The cluster, once it is known.
    pub(super) fn cluster(&self) -> Option<ClusterId> {
        *self.0.options.cluster.borrow()
    }

    /// Where executors reach the agent.
    pub(super) fn endpoint(&self) -> SocketAddr {
        self.0.options.endpoint
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All executors that live are known from now on.
    pub(in crate::driver::agent) fn recovered(&self) {
        {
            let mut state = self.state();
            state.recovered = true;
            let State { doors, keys, .. } = &mut *state;
            doors.retain(|_, door| door.served);
            keys.retain(|_, key| doors.contains_key(key));
        }
        self.0.changed.send_replace(());
    }

    /// An executor will be there.
    pub(in crate::driver::agent) fn add(&self, container: ContainerId, key: Key) {
        self.put(container, key, false);
    }

    fn put(&self, container: ContainerId, key: Key, returned: bool) {
        let mut state = self.state();
        state.keys.insert(container.clone(), key.clone());
        let (lock, session, current) = (None, None, None);
        let (served, open) = (false, false);
        let door = Door { container, served, lock, open, returned, session, current };
        if let Some(before) = state.doors.insert(key, door) {
            state.keys.remove(&before.container);
        }
    }

    /// An executor's container is about to be started with this token, as this user if that is known: its first call may come before
    /// the agent hears that it runs.
    pub(in crate::driver::agent) fn expect(
        &self,
        container: &ContainerId,
        token: &str,
        uid: Option<u32>,
    ) {
        let token = Credential::token(token);
        if let Some(door) = self.state().door(container) {
            door.lock = Some([token, uid.map_or(token, Credential::User)]);
        }
    }

    /// An executor's container runs.
    pub(super) fn serve(&self, container: &ContainerId) {
        if let Some(door) = self.state().door(container) {
            door.served = true;
        }
    }

    /// Whoever shows this token or is this user may speak for an executor from now on.
    pub(super) fn open(&self, container: &ContainerId, token: &str, uid: u32) {
        if let Some(door) = self.state().door(container) {
            door.lock = Some([Credential::token(token), Credential::User(uid)]);
            door.open = true;
        }
        self.0.changed.send_replace(());
    }

    /// An executor is over.
    pub(super) fn forget(&self, container: &ContainerId) {
        let mut state = self.state();
        if let Some(key) = state.keys.remove(container) {
            state.doors.remove(&key);
        }
        drop(state);
        self.0.changed.send_replace(());
    }

    /// The agent has ended the stream of an executor.
    pub(super) fn disconnected(&self, container: &ContainerId) {
        if let Some(door) = self.state().door(container)
            && door.current.take().is_some()
        {
            door.session.iter_mut().for_each(Session::disconnected);
        }
    }

    /// Tells an executor something. False when too much waits for it.
    pub(super) fn tell(
        &self,
        container: &ContainerId,
        outbox: &StreamOutbox,
        event: &ExecutorEvent,
    ) -> bool {
        let mut state = self.state();
        let Some(door) = state.door(container) else { return true };
        let Some(session) = &mut door.session else { return true };
        let (told, updates) = session.event(&self.0.options.about, event);
        door.pass_on(updates);
        let Some(told) = told else { return true };
        let record = codec::record(outbox.media, &told);
        let may_be_left_out = matches!(event, ExecutorEvent::Message { .. });
        let limit = if may_be_left_out { MESSAGES_BYTES_MAX } else { WAITING_BYTES_MAX };
        let fits = outbox.pusher.waiting().saturating_add(record.len()) <= limit;
        if fits {
            outbox.pusher.push(record);
        }
        fits || may_be_left_out
    }

    /// As whom somebody who may speak for any executor at all is counted: as the executor, by its token, however it shows who it
    /// is; as its user where several have that one.
    pub(crate) async fn admit(&self, credential: &Credential) -> Option<Credential> {
        let wait = async {
            let mut changed = self.0.changed.subscribe();
            loop {
                {
                    let state = self.state();
                    let mut takes = state.doors.values().filter(|door| door.takes(credential));
                    if let Some(door) = takes.next() {
                        let own = door.lock.filter(|_| takes.next().is_none());
                        return Some(own.map_or(*credential, |[token, _]| token));
                    }
                    // Without a lock, and new, it is not started, and nobody can have its token yet.
                    let complete =
                        state.doors.values().all(|door| door.lock.is_some() || !door.returned);
                    if state.recovered && complete {
                        return None;
                    }
                }
                changed.changed().await.ok()?;
            }
        };
        tokio::time::timeout(OPENING_LIMIT, wait).await.ok().flatten()
    }

    /// Waits until the executor that a call names can be spoken for.
    async fn find(
        &self,
        credential: &Credential,
        call: &schema::ExecutorCall,
    ) -> Result<Key, Refused> {
        let not_yet = || Refused::new(503, "Agent has not finished recovery");
        let cluster = self.cluster().ok_or_else(not_yet)?;
        let framework = validate::id_text(call.framework_id.as_ref()).unwrap_or_default();
        let framework = ids::read_framework(cluster, framework);
        let executor = call.executor_id.as_ref().map(|id| id.value()).unwrap_or_default();
        let executor = ExecutorId::new(executor).map_err(|_| unknown_executor());
        let wait = async {
            let mut changed = self.0.changed.subscribe();
            loop {
                let key = framework.ok_or_else(unknown_framework).map(|it| (it, executor.clone()));
                let found = key.and_then(|(framework, executor)| {
                    let key = (framework, executor?);
                    Ok((self.state().find(credential, &key)?, key))
                });
                match found {
                    Ok((Found::Open, key)) => return Ok(key),
                    Ok((Found::Closed, _)) => {}
                    Err(refused) if self.state().recovered => return Err(refused),
                    Err(_) => {}
                }
                changed.changed().await.map_err(|_| not_yet())?;
            }
        };
        tokio::time::timeout(OPENING_LIMIT, wait).await.unwrap_or_else(|_| Err(not_yet()))
    }

    /// Opens a stream of events.
    pub(crate) async fn subscribe(
        &self,
        credential: &Credential,
        call: &schema::ExecutorCall,
        media: Media,
    ) -> Result<Records, Refused> {
        let key = self.find(credential, call).await?;
        let cluster = self.cluster().ok_or_else(unknown_framework)?;
        let connection = next_connection();
        let (passed_on, updates) = mpsc::unbounded_channel();
        let _turn = self.0.subscribing.lock().await;
        let (container, subscribe) = {
            let mut state = self.state();
            let door = state.open_door(credential, &key)?;
            let container = door.container.clone();
            let new = || Session::new(cluster, key.clone(), container.clone());
            let session = door.session.get_or_insert_with(new);
            let empty = schema::ExecutorCallSubscribe::default();
            let subscribe = session.subscribe(call.subscribe.as_ref().unwrap_or(&empty))?;
            door.current = Some(Stream { connection, updates: passed_on });
            (container, Box::new(subscribe))
        };
        let (outbox, records) = pair();
        let stop = CancellationToken::new();
        let stream =
            StreamOutbox { pusher: outbox.pusher(), media, _stop: stop.clone().drop_guard() };
        let outlet = Outlet::Stream(stream);
        let said = Said::Subscribed { connection, outbox: outlet, subscribe };
        self.say(container.clone(), said).await?;
        let carried = Carried { container, connection, outbox, media, updates };
        tokio::spawn(self.clone().carry(carried, stop));
        Ok(records)
    }

    /// Makes a call that is no subscribe.
    pub(crate) async fn call(
        &self,
        credential: &Credential,
        call: &schema::ExecutorCall,
    ) -> Result<(), Refused> {
        let key = self.find(credential, call).await?;
        let (container, connection, message) = {
            let mut state = self.state();
            let door = state.open_door(credential, &key)?;
            let not_subscribed = || Refused::new(403, "Executor is not subscribed");
            let connection = door.current.as_ref().ok_or_else(not_subscribed)?.connection;
            let session = door.session.as_mut().ok_or_else(not_subscribed)?;
            let message = call.message.as_ref().map(|message| session.message(message));
            let message = message.transpose()?;
            if let Some(status) = call.update.as_ref().and_then(|update| update.status.as_deref()) {
                let updates = session.update(status)?;
                door.pass_on(updates);
            }
            (door.container.clone(), connection, message)
        };
        match message {
            // It waits for room.
            Some(call) => self.say(container, Said::Called { connection, call }).await,
            None => Ok(()),
        }
    }

    async fn say(&self, container: ContainerId, said: Said) -> Result<(), Refused> {
        let sent = self.0.mailbox.send(Input::Executor { container, said }).await;
        sent.map_err(|_| Refused::new(503, "The agent is being stopped"))
    }
}

impl State {
    fn door(&mut self, container: &ContainerId) -> Option<&mut Door> {
        self.doors.get_mut(self.keys.get(container)?)
    }

    fn find(&self, credential: &Credential, key: &Key) -> Result<Found, Refused> {
        if !self.doors.keys().any(|(framework, _)| *framework == key.0) {
            return Err(unknown_framework());
        }
        let door = self.doors.get(key).ok_or_else(unknown_executor)?;
        if door.lock.is_some() && !door.takes(credential) {
            return Err(other_executor());
        }
        Ok(if door.open { Found::Open } else { Found::Closed })
    }

    /// The door that was found open: meanwhile it may have gone, or be another one with another lock.
    fn open_door(&mut self, credential: &Credential, key: &Key) -> Result<&mut Door, Refused> {
        let door = self.doors.get_mut(key).ok_or_else(unknown_executor)?;
        if door.open && door.takes(credential) { Ok(door) } else { Err(other_executor()) }
    }
}

fn other_executor() -> Refused {
    Refused::new(403, "Another executor may be spoken for with these credentials, not this one")
}

fn unknown_framework() -> Refused {
    Refused::new(400, "Framework cannot be found")
}

fn unknown_executor() -> Refused {
    Refused::new(400, "Executor cannot be found")
}

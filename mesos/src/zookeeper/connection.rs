//! One client: what it asks, and what it watches for.

use std::collections::BTreeSet;

use super::{
    jute::{Reader, Writer},
    tree::Tree,
};

/// The shortest and the longest time without a word from the client that a session may have, in milliseconds; ZooKeeper's own bounds
/// with its usual tick of two seconds.
const SESSION_MS_MIN: i32 = 4_000;
/// The longest time without a word from the client, in milliseconds.
pub const SESSION_MS_MAX: i32 = 40_000;
/// The most watches of one client: there are three nodes, and a few that it may wait for.
const WATCHES_MAX: usize = 64;
/// The longest path that is looked at; those that exist are much shorter.
const PATH_BYTES_MAX: usize = 256;
/// What a session's owner would prove it with. Nothing hangs on it here.
const PASSWORD: [u8; 16] = [0; 16];

/// The client is told of a change.
const XID_EVENT: i32 = -1;
/// The state in an event: connected.
const STATE_CONNECTED: i32 = 3;

/// Kinds of events.
mod happened {
    pub(super) const CREATED: i32 = 1;
    pub(super) const DELETED: i32 = 2;
    pub(super) const DATA_CHANGED: i32 = 3;
    pub(super) const CHILDREN_CHANGED: i32 = 4;
}

/// Kinds of requests.
mod request {
    pub(super) const CREATE: i32 = 1;
    pub(super) const DELETE: i32 = 2;
    pub(super) const EXISTS: i32 = 3;
    pub(super) const GET_DATA: i32 = 4;
    pub(super) const SET_DATA: i32 = 5;
    pub(super) const SET_ACL: i32 = 7;
    pub(super) const GET_CHILDREN: i32 = 8;
    pub(super) const SYNC: i32 = 9;
    pub(super) const PING: i32 = 11;
    pub(super) const GET_CHILDREN_2: i32 = 12;
    pub(super) const MULTI: i32 = 14;
    pub(super) const CREATE_2: i32 = 15;
    pub(super) const CREATE_CONTAINER: i32 = 19;
    pub(super) const CREATE_TTL: i32 = 21;
    pub(super) const AUTH: i32 = 100;
    pub(super) const SET_WATCHES: i32 = 101;
    pub(super) const CLOSE: i32 = -11;
}

/// Codes of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// Of this server.
    TooManyWatches = -1,
    Unimplemented = -6,
    BadArguments = -8,
    NoNode = -101,
    NodeExists = -110,
    /// Nothing can be written here.
    NotReadOnly = -119,
}

/// Whether the connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It does.
    Go,
    /// It ends when the answer is sent.
    Close,
}

/// What a watch looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Aspect {
    /// Whether it is there; asked of what was not.
    Existence,
    Data,
    Children,
}

/// One client's connection.
#[derive(Debug)]
pub struct Connection {
    tree: Tree,
    /// The session of a client that has none.
    session: i64,
    timeout_ms: Option<i32>,
    watches: BTreeSet<(String, Aspect)>,
}

impl Connection {
    /// A connection that nothing was heard of. A client that has no session is given this one, which is not 0 and not given to others.
    #[must_use]
    pub fn new(tree: Tree, session: i64) -> Self {
        Self { tree, session, timeout_ms: None, watches: BTreeSet::new() }
    }

    /// After how many milliseconds without a frame the client is taken for gone; nothing before it said who it is.
    #[must_use]
    pub fn timeout_ms(&self) -> Option<u32> {
        self.timeout_ms.and_then(|timeout| timeout.try_into().ok())
    }

    /// Takes a frame without its length. Gives back the frames to send; nothing when it cannot be read, and the connection is to be
    /// closed at once.
    pub fn frame(&mut self, frame: &[u8]) -> Option<(Vec<u8>, Next)> {
        let mut out = Writer::default();
        let next = if self.timeout_ms.is_none() {
            self.connect(&mut Reader::new(frame), &mut out)?
        } else {
            self.request(&mut Reader::new(frame), &mut out)?
        };
        Some((out.into_bytes(), next))
    }

    /// Takes what there is now. Gives back the frames that tell the client of it.
    pub fn change(&mut self, tree: Tree) -> Vec<u8> {
        let before = std::mem::replace(&mut self.tree, tree);
        let mut out = Writer::default();
        let watches = std::mem::take(&mut self.watches);
        for (path, aspect) in watches {
            let (old, new) = (before.node(&path), self.tree.node(&path));
            let event = match (old, new, aspect) {
                (None, Some(_), Aspect::Existence) => Some(happened::CREATED),
                (Some(_), None, _) => Some(happened::DELETED),
                (Some(old), Some(new), Aspect::Data | Aspect::Existence) => {
                    let changed = (old.data, old.modified) != (new.data, new.modified);
                    changed.then_some(happened::DATA_CHANGED)
                }
                (Some(old), Some(new), Aspect::Children) => {
                    (old.child != new.child).then_some(happened::CHILDREN_CHANGED)
                }
                (None, None, _) | (None, Some(_), Aspect::Data | Aspect::Children) => None,
            };
            match event {
                Some(event) => write_event(&mut out, event, &path),
                None => {
                    self.watches.insert((path, aspect));
                }
            }
        }
        out.into_bytes()
    }

    /// The first frame: the newest transaction that the client has seen is of no matter, as another server may be a moment ahead.
    fn connect(&mut self, from: &mut Reader<'_>, out: &mut Writer) -> Option<Next> {
        let (_version, _newest) = (from.int()?, from.long()?);
        let (timeout, session) = (from.int()?, from.long()?);
        let _password = from.buffer()?;
        // Clients before 3.4 do not say whether they would do without writing.
        let knows_read_only = from.bool().is_some();
        let timeout = timeout.clamp(SESSION_MS_MIN, SESSION_MS_MAX);
        self.timeout_ms = Some(timeout);
        let session = if session == 0 { self.session } else { session };
        out.frame(|out| {
            out.int(0);
            out.int(timeout);
            out.long(session);
            out.buffer(&PASSWORD);
            if knows_read_only {
                out.bool(false);
            }
        });
        Some(Next::Go)
    }

    fn request(&mut self, from: &mut Reader<'_>, out: &mut Writer) -> Option<Next> {
        let (xid, kind) = (from.int()?, from.int()?);
        let answered = match kind {
            request::EXISTS => self.exists(from)?,
            request::GET_DATA => self.look(from, Aspect::Data, |tree, path, out| {
                let node = tree.node(path)?;
                out.buffer(node.data);
                node.write_stat(out);
                Some(())
            })?,
            request::GET_CHILDREN | request::GET_CHILDREN_2 => {
                self.look(from, Aspect::Children, |tree, path, out| {
                    let node = tree.node(path)?;
                    out.int(i32::from(node.child.is_some()));
                    node.child.iter().for_each(|child| out.text(child));
                    if kind == request::GET_CHILDREN_2 {
                        node.write_stat(out);
                    }
                    Some(())
                })?
            }
            request::SYNC => {
                let path = from.text()?;
                let mut body = Writer::default();
                body.text(path);
                Ok(body)
            }
            request::SET_WATCHES => self.set_watches(from, out)?,
            // Names and secrets are for nodes that have owners.
            request::PING | request::AUTH | request::CLOSE => Ok(Writer::default()),
            request::CREATE
            | request::CREATE_2
            | request::CREATE_CONTAINER
            | request::CREATE_TTL => {
                // Who makes sure that the path is there must hear that it is.
                let there = self.tree.node(from.text()?).is_some();
                Err(if there { Failure::NodeExists } else { Failure::NotReadOnly })
            }
            request::DELETE | request::SET_DATA | request::SET_ACL | request::MULTI => {
                Err(Failure::NotReadOnly)
            }
            _ => Err(Failure::Unimplemented),
        };
        let newest = self.tree.transaction();
        out.frame(|out| {
            out.int(xid);
            out.long(newest);
            match answered {
                Ok(body) => {
                    out.int(0);
                    out.append(body);
                }
                Err(failure) => out.int(failure as i32),
            }
        });
        Some(if kind == request::CLOSE { Next::Close } else { Next::Go })
    }

    /// Answers with what `write` finds at the path that is asked for, and watches it if the client wants that.
    fn look(
        &mut self,
        from: &mut Reader<'_>,
        aspect: Aspect,
        write: impl FnOnce(&Tree, &str, &mut Writer) -> Option<()>,
    ) -> Option<Result<Writer, Failure>> {
        let (path, watch) = (from.text()?, from.bool()?);
        if !path.starts_with('/') || path.len() > PATH_BYTES_MAX {
            return Some(Err(Failure::BadArguments));
        }
        let mut body = Writer::default();
        let found = write(&self.tree, path, &mut body).ok_or(Failure::NoNode);
        // What is not there can be waited for by asking whether it is.
        if watch && (found.is_ok() || aspect == Aspect::Existence) && !self.watch(path, aspect) {
            return Some(Err(Failure::TooManyWatches));
        }
        Some(found.map(|()| body))
    }

    fn exists(&mut self, from: &mut Reader<'_>) -> Option<Result<Writer, Failure>> {
        self.look(from, Aspect::Existence, |tree, path, out| {
            tree.node(path)?.write_stat(out);
            Some(())
        })
    }

    fn watch(&mut self, path: &str, aspect: Aspect) -> bool {
        let watch = (path.to_owned(), aspect);
        let room = self.watches.len() < WATCHES_MAX || self.watches.contains(&watch);
        if room {
            self.watches.insert(watch);
        }
        room
    }

    /// A client that comes back watches on: it is told at once of what happened since it was here, in front of the answer.
    fn set_watches(
        &mut self,
        from: &mut Reader<'_>,
        out: &mut Writer,
    ) -> Option<Result<Writer, Failure>> {
        let seen = from.long()?;
        let lists = [
            (Aspect::Data, from.texts()?),
            (Aspect::Existence, from.texts()?),
            (Aspect::Children, from.texts()?),
        ];
        for (aspect, paths) in lists {
            for path in paths {
                if !path.starts_with('/') || path.len() > PATH_BYTES_MAX {
                    return Some(Err(Failure::BadArguments));
                }
                let event = match (self.tree.node(path), aspect) {
                    (Some(_), Aspect::Existence) => Some(happened::CREATED),
                    (None, Aspect::Existence) => None,
                    (None, Aspect::Data | Aspect::Children) => Some(happened::DELETED),
                    (Some(node), Aspect::Data) => {
                        (node.modified > seen).then_some(happened::DATA_CHANGED)
                    }
                    (Some(node), Aspect::Children) => {
                        (node.children_changed > seen).then_some(happened::CHILDREN_CHANGED)
                    }
                };
                match event {
                    Some(event) => write_event(out, event, path),
                    None if !self.watch(path, aspect) => {
                        return Some(Err(Failure::TooManyWatches));
                    }
                    None => {}
                }
            }
        }
        Some(Ok(Writer::default()))
    }
}

fn write_event(out: &mut Writer, event: i32, path: &str) {
    out.frame(|out| {
        out.int(XID_EVENT);
        // An event has no transaction.
        out.long(-1);
        out.int(0);
        out.int(event);
        out.int(STATE_CONNECTED);
        out.text(path);
    });
}

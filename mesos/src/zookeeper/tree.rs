//! What there is to read.

use meshos_protocol::ids::Fence;

use super::jute::Writer;
use crate::{
    codec::{self, Media},
    convert::{event, offer::Place},
};

/// The path of master URLs: `zk://host:port/mesos`.
pub const PATH: &str = "/mesos";

/// The newest transaction of a term. A new leader is one transaction, as it would be in ZooKeeper.
fn transaction(term: u64) -> i64 {
    i64::try_from(term).unwrap_or(i64::MAX)
}

/// Who leads, as nodes of ZooKeeper.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    /// The newest term of which was heard.
    term: u64,
    leader: Option<Leader>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Leader {
    path: String,
    info: Vec<u8>,
}

/// One of the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Znode<'a> {
    pub data: &'a [u8],
    /// Its only child.
    pub child: Option<&'a str>,
    created: i64,
    pub modified: i64,
    pub children_changed: i64,
}

impl Tree {
    /// With this leader at this place; with nobody, the terms that were heard of before stay known.
    ///
    /// The sequence number in the node's name is the term, so that each leader has a name of its own: some clients look at the
    /// names alone.
    #[must_use]
    pub fn lead_by(&self, leader: Option<(Fence, &Place)>) -> Self {
        let Some((fence, place)) = leader else { return Self { term: self.term, leader: None } };
        let term = fence.term.0;
        let path = format!("{PATH}/json.info_{term:010}");
        let info = codec::write(Media::Json, &event::master(fence, Some(place)));
        Self { term, leader: Some(Leader { path, info }) }
    }

    /// The newest transaction.
    pub(super) fn transaction(&self) -> i64 {
        transaction(self.term)
    }

    /// The node at a path.
    pub(super) fn node<'a>(&'a self, path: &str) -> Option<Znode<'a>> {
        let leader = self.leader.as_ref();
        let child = leader.and_then(|leader| leader.path.rsplit('/').next());
        let newest = self.transaction();
        let node = |child, children_changed| Znode {
            data: &[],
            child,
            created: 0,
            modified: 0,
            children_changed,
        };
        match path {
            "/" => Some(node(PATH.strip_prefix('/'), 0)),
            PATH => Some(node(child, newest)),
            path => {
                let leader = leader.filter(|leader| leader.path == path)?;
                let node = node(None, newest);
                Some(Znode { data: &leader.info, created: newest, modified: newest, ..node })
            }
        }
    }
}

impl Znode<'_> {
    /// Its `Stat`.
    pub(super) fn write_stat(&self, out: &mut Writer) {
        let count = |length: usize| i32::try_from(length).unwrap_or(i32::MAX);
        out.long(self.created);
        out.long(self.modified);
        // The times of creation and change: nobody noted them.
        out.long(0);
        out.long(0);
        // The versions of the data, of the children and of who may do what.
        out.int(0);
        out.int(i32::try_from(self.children_changed).unwrap_or(i32::MAX));
        out.int(0);
        // The owner: none, as it outlives every session.
        out.long(0);
        out.int(count(self.data.len()));
        out.int(count(self.child.iter().count()));
        out.long(self.children_changed);
    }
}

//! Whether a statement may take the place of the voters that a node knows.

use meshos_protocol::ids::{ClusterId, Fence, Term};

use super::Recovery;

/// What a node knows when a statement is presented to it.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The cluster it belongs to, once it knows.
    pub cluster: Option<ClusterId>,
    /// The newest fence it has obeyed.
    pub fence: Option<Fence>,
    /// The newest statement it has taken.
    pub held: Option<&'a Recovery>,
}

/// Why a statement is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The node belongs to no cluster yet: it takes nobody's word for which voters to believe.
    #[error("this node does not know its cluster yet")]
    NoCluster,
    /// It is about another cluster under the same authority.
    #[error("it is about cluster {theirs}, this node belongs to {ours}")]
    OtherCluster {
        /// The node's.
        ours: ClusterId,
        /// The statement's.
        theirs: ClusterId,
    },
    /// The node has obeyed a leader of a term that the statement does not reach.
    #[error(
        "it is for terms above {above}, but this node has obeyed term {obeyed}; if the group that led \
         it is lost, recover again with --term-above {obeyed}"
    )]
    Obeyed {
        /// The statement's.
        above: Term,
        /// The node's.
        obeyed: Term,
    },
    /// The node holds a newer one, or another one of the same age.
    #[error(
        "it is for terms above {above}, and this node holds another one for terms above {held}"
    )]
    Older {
        /// The statement's.
        above: Term,
        /// The held one's.
        held: Term,
    },
}

/// Whether a node that knows this may believe the voters of `offered` in the place of its own. The
/// one that it holds already passes as long as the node has not acted on it.
///
/// # Errors
/// Says why not.
pub fn check(known: Known<'_>, offered: &Recovery) -> Result<(), Refused> {
    let ours = known.cluster.ok_or(Refused::NoCluster)?;
    if ours != offered.cluster {
        return Err(Refused::OtherCluster { ours, theirs: offered.cluster });
    }
    let above = offered.above;
    if let Some(obeyed) = known.fence.map(|fence| fence.term).filter(|term| *term > above) {
        return Err(Refused::Obeyed { above, obeyed });
    }
    match known.held {
        Some(held) if held.above >= above && held != offered => {
            Err(Refused::Older { above, held: held.above })
        }
        Some(_) | None => Ok(()),
    }
}

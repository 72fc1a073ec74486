//! What raft replicates, as bytes: the registry behind a trait.

/// The replicated registry as raft sees it: commands in, responses out, both opaque.
///
/// `apply` is called for every committed command, on every voter and learner, in the order of the
/// log, exactly once per life of the value and never two at a time; `snapshot` and `restore` are
/// never called during an `apply`. An owner that needs every command after some point (the
/// leader's state machine does) therefore observes them by wrapping `apply`: there is no second
/// stream. The calls come from tokio worker threads, so they must not block on I/O or on locks
/// that are held across an await.
///
/// The result must depend on the arguments and the earlier calls alone: voters that disagree
/// about a response are a split brain that raft cannot see. A command whose outcome its proposer
/// did not learn may be proposed again, so commands carry what is needed to apply them once.
pub trait RegistryMachine: Send + 'static {
    /// Applies the committed command at `index`, proposed in `term`. What it returns is what the
    /// proposer gets, if it is on this node.
    ///
    /// # Errors
    /// When this release does not know what the command means and would go another way than the
    /// others, in words: nothing is applied after it, and the node stops taking part in raft.
    fn apply(&mut self, index: u64, term: u64, command: &[u8]) -> Result<Vec<u8>, String>;

    /// What a release has to know to take part with this state; a node whose
    /// [`Release`](super::Release) is below does not become a voter.
    fn level(&self) -> u32;

    /// The whole state as of the last `apply`, readable by `restore` of this release and the next.
    fn snapshot(&self) -> Vec<u8>;

    /// Replaces the whole state. On an error, in words, the node stops taking part in raft.
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String>;
}

//! The steps of random histories.

use proptest::prelude::*;

pub(super) const TASKS: [&str; 4] = ["a", "b", "c", "d"];

/// One step of a history. Numbers pick among what there is.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// A node comes (back) with the tasks that it has, or without some of them.
    Return {
        node: u64,
        forgets: bool,
    },
    /// A framework comes back, by itself or through another gateway.
    Resume {
        framework: u64,
        own: bool,
    },
    /// Its newest unacknowledged updates are acknowledged.
    AcknowledgeAll(usize),
    Connect(u64),
    Register {
        stream: usize,
        quotes: Quote,
        tasks: Vec<(u8, u8)>,
        more: bool,
    },
    Report {
        stream: usize,
        tasks: Vec<(u8, u8)>,
        more: bool,
    },
    Update {
        stream: usize,
        task: u8,
        state: u8,
        number: Option<u8>,
        framework: u64,
    },
    Ended {
        stream: usize,
        task: u8,
        state: u8,
    },
    /// An agent tells that the executor `pool` is over, or passes a message of it on.
    Executor {
        stream: usize,
        framework: u64,
        ended: bool,
    },
    Leaving(usize),
    /// What an agent remembers of ended tasks, asked or not.
    Remembered {
        stream: usize,
        tasks: Vec<(u8, u8)>,
        more: bool,
    },
    Lose(usize),
    Peer {
        node: u64,
        /// 0: alive, 1: dead, 2: forgotten.
        word: u8,
    },
    Open(bool),
    Subscribe {
        session: usize,
        framework: Option<u64>,
        resume: Option<u64>,
        nonce: bool,
    },
    Call {
        session: usize,
        call: Said,
    },
    CloseSession(usize),
    /// An agent tells what became of an operation, and what it has then.
    Outcome {
        stream: usize,
        number: u64,
        state: u8,
        cpus: i64,
    },
    Operate(Operation),
    Commit,
    CommitOutOfTurn,
    Pass(u64),
    NextLeader,
}

#[derive(Debug, Clone)]
pub(super) enum Quote {
    OnRecord,
    Nothing,
    Made(u32),
}

#[derive(Debug, Clone)]
pub(super) enum Said {
    Accept {
        offers: Vec<usize>,
        tasks: Vec<(u8, u8)>,
    },
    Decline {
        offers: Vec<usize>,
        refuse_ms: Option<u64>,
    },
    Revive,
    Suppress,
    /// It is in its own role, or in others, and wants offers there or not.
    Update {
        roles: u8,
        suppressed: u8,
    },
    Kill {
        task: u8,
        on: Option<u64>,
    },
    Acknowledge {
        task: u8,
        on: u64,
        number: u8,
    },
    Reconcile {
        tasks: Vec<(u8, Option<u64>, bool)>,
    },
    /// A message for the executor `pool`, or its end.
    Executor {
        on: u64,
        shutdown: bool,
    },
    /// What it was asked about nodes that will be away it answers.
    Inverse(bool, Option<u64>),
    Teardown,
    Disconnect,
}

#[derive(Debug, Clone)]
pub(super) enum Operation {
    Kill {
        framework: u64,
        task: u8,
    },
    Teardown(u64),
    Gone(u64, u32),
    Drain {
        node: u64,
        registration: u32,
        draining: bool,
    },
    /// Deactivated, drained in one of two ways, or offered again.
    Hold {
        node: u64,
        registration: u32,
        kind: u8,
    },
    Weight(u64),
    /// The node will be away from then on, or will not.
    Plan {
        node: u64,
        start: Option<u64>,
        replace: bool,
    },
    /// Maintenance of a node begins, with a grace period or without, or ends.
    Maintain {
        node: u64,
        kind: u8,
    },
    Reserve {
        node: u64,
        cpus: i64,
        undo: bool,
    },
}

fn any_tasks() -> impl Strategy<Value = Vec<(u8, u8)>> {
    prop::collection::vec((0u8..4, 0u8..13), 0..4)
}

fn any_call() -> impl Strategy<Value = Said> {
    let offers = || {
        prop_oneof![
            3 => (0usize..8).prop_map(|offer| vec![offer]),
            1 => prop::collection::vec(0usize..8, 0..3),
        ]
    };
    let on = || prop::option::of(1u64..4);
    prop_oneof![
        12 => (offers(), any_tasks()).prop_map(|(offers, tasks)| Said::Accept { offers, tasks }),
        2 => (offers(), prop::option::of(0u64..20_000))
            .prop_map(|(offers, refuse_ms)| Said::Decline { offers, refuse_ms }),
        1 => Just(Said::Revive),
        1 => Just(Said::Suppress),
        2 => (0u8..8, 0u8..8)
            .prop_map(|(roles, suppressed)| Said::Update { roles, suppressed }),
        4 => (0u8..4, on()).prop_map(|(task, on)| Said::Kill { task, on }),
        3 => (0u8..4, 1u64..4, 0u8..4)
            .prop_map(|(task, on, number)| Said::Acknowledge { task, on, number }),
        2 => prop::collection::vec((0u8..4, on(), any::<bool>()), 0..3)
            .prop_map(|tasks| Said::Reconcile { tasks }),
        3 => (1u64..4, prop::bool::weighted(0.2))
            .prop_map(|(on, shutdown)| Said::Executor { on, shutdown }),
        2 => (any::<bool>(), prop::option::of(0u64..20_000))
            .prop_map(|(accepted, refuse_ms)| Said::Inverse(accepted, refuse_ms)),
        1 => prop_oneof![Just(Said::Teardown), Just(Said::Disconnect), Just(Said::Disconnect)],
    ]
}

fn any_operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        (1u64..3, 0u8..4).prop_map(|(framework, task)| Operation::Kill { framework, task }),
        (1u64..3).prop_map(Operation::Teardown),
        (1u64..4, 1u32..3).prop_map(|(node, number)| Operation::Gone(node, number)),
        (1u64..4, 1u32..3, any::<bool>()).prop_map(|(node, registration, draining)| {
            Operation::Drain { node, registration, draining }
        }),
        (1u64..4, 1u32..3, 0u8..5).prop_map(|(node, registration, kind)| {
            Operation::Hold { node, registration, kind }
        }),
        (0u64..3_000).prop_map(Operation::Weight),
        (1u64..4, prop::option::weighted(0.8, 0u64..3), prop::bool::weighted(0.2))
            .prop_map(|(node, start, replace)| Operation::Plan { node, start, replace }),
        (1u64..4, 0u8..4).prop_map(|(node, kind)| Operation::Maintain { node, kind }),
        (1u64..4, 1i64..4, any::<bool>()).prop_map(|(node, cpus, undo)| Operation::Reserve {
            node,
            cpus,
            undo
        }),
    ]
}

pub(super) fn any_step() -> impl Strategy<Value = Step> {
    let quote = prop_oneof![
        4 => Just(Quote::OnRecord),
        1 => Just(Quote::Nothing),
        1 => (1u32..3).prop_map(Quote::Made),
    ];
    let operation = any_operation();
    let number = || prop::option::of(0u8..4);
    prop_oneof![
        8 => (1u64..4, prop::bool::weighted(0.2))
            .prop_map(|(node, forgets)| Step::Return { node, forgets }),
        8 => (1u64..3, prop::bool::weighted(0.2))
            .prop_map(|(framework, own)| Step::Resume { framework, own }),
        6 => (0usize..4).prop_map(Step::AcknowledgeAll),
        2 => (1u64..4).prop_map(Step::Connect),
        4 => (0usize..4, 1u64..3, prop::bool::weighted(0.3))
            .prop_map(|(stream, framework, ended)| Step::Executor { stream, framework, ended }),
        3 => (0usize..4, quote, any_tasks(), prop::bool::weighted(0.1))
            .prop_map(|(stream, quotes, tasks, more)| {
                Step::Register { stream, quotes, tasks, more }
            }),
        1 => (0usize..4, any_tasks(), any::<bool>())
            .prop_map(|(stream, tasks, more)| Step::Report { stream, tasks, more }),
        16 => (0usize..3, 0u8..4, 0u8..13, number(), 1u64..3).prop_map(
            |(stream, task, state, number, framework)| {
                Step::Update { stream, task, state, number, framework }
            }
        ),
        1 => (0usize..4, 0u8..4, 0u8..13)
            .prop_map(|(stream, task, state)| Step::Ended { stream, task, state }),
        1 => (0usize..4).prop_map(Step::Leaving),
        4 => (0usize..4, any_tasks(), any::<bool>())
            .prop_map(|(stream, tasks, more)| Step::Remembered { stream, tasks, more }),
        1 => (0usize..4).prop_map(Step::Lose),
        1 => (1u64..4, 0u8..3).prop_map(|(node, word)| Step::Peer { node, word }),
        1 => prop::bool::weighted(0.9).prop_map(Step::Open),
        2 => (0usize..4, number(), number(), any::<bool>()).prop_map(
            |(session, framework, resume, nonce)| {
                let (framework, resume) = (framework.map(u64::from), resume.map(u64::from));
                Step::Subscribe { session, framework, resume, nonce }
            }
        ),
        16 => (0usize..4, any_call()).prop_map(|(session, call)| Step::Call { session, call }),
        1 => (0usize..4).prop_map(Step::CloseSession),
        2 => (0usize..4, 1u64..5, 0u8..7, 0i64..4).prop_map(|(stream, number, state, cpus)| {
            Step::Outcome { stream, number, state, cpus }
        }),
        3 => operation.prop_map(Step::Operate),
        14 => Just(Step::Commit),
        1 => Just(Step::CommitOutOfTurn),
        10 => prop_oneof![4 => Just(10u64), 2 => Just(6_000), 1 => Just(31_000), 1 => Just(80_000)]
            .prop_map(Step::Pass),
        1 => Just(Step::NextLeader),
    ]
}

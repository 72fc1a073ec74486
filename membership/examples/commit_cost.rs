//! What a durable commit costs: one and three voters in one process with real logs on disk, next to
//! what the same disk takes for an append and an fdatasync by itself. They take turns in short
//! slices, so that a disk that is busy for a while is busy for all of them.
//!
//!     cargo run --release -p meshos-membership --example commit_cost -- [DIR] [SECONDS] [--json]

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use meshos_membership::raft::{
    NetworkError, Options, RaftGroup, RaftNetwork, RegistryMachine, Release,
    SNAPSHOT_EVERY_ENTRIES, Timing, Voter,
};
use meshos_protocol::ids::NodeId;

const VOTERS: u64 = 3;
/// About what a registry command takes.
const COMMAND_BYTES: usize = 300;

type Groups = Arc<Mutex<BTreeMap<NodeId, RaftGroup>>>;

/// Calls the other voters directly: the disk is measured, not the network.
struct Direct {
    own: NodeId,
    groups: Groups,
}

#[async_trait::async_trait]
impl RaftNetwork for Direct {
    async fn call(
        &self,
        target: &Voter,
        request: Vec<u8>,
        _deadline: Duration,
    ) -> Result<Vec<u8>, NetworkError> {
        let group = {
            let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
            groups.get(&target.node_id).cloned()
        };
        let group = group.ok_or_else(|| NetworkError::Unreachable("not open yet".to_owned()))?;
        let answer = group.handle_request(self.own, &request).await;
        answer.map_err(|error| NetworkError::Refused(error.to_string()))
    }
}

struct Counter(u64);

impl RegistryMachine for Counter {
    fn apply(&mut self, _index: u64, _term: u64, _command: &[u8]) -> Result<Vec<u8>, String> {
        self.0 += 1;
        Ok(Vec::new())
    }
    fn level(&self) -> u32 {
        1
    }
    fn snapshot(&self) -> Vec<u8> {
        self.0.to_le_bytes().to_vec()
    }
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        let bytes = snapshot.try_into().map_err(|_| "not eight bytes".to_owned())?;
        self.0 = u64::from_le_bytes(bytes);
        Ok(())
    }
}

struct Figures {
    p50: Duration,
    p99: Duration,
    mean: Duration,
    rate_per_s: u128,
    count: usize,
}

/// Latencies of operations that ran side by side for `elapsed`.
#[derive(Default)]
struct Measured {
    latencies: Vec<Duration>,
    elapsed: Duration,
}

impl Measured {
    fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.elapsed += other.elapsed;
    }

    fn figures(mut self) -> Figures {
        self.latencies.sort_unstable();
        let at = |share: usize| {
            let last = self.latencies.len().saturating_sub(1);
            self.latencies.get(last * share / 100).copied().unwrap_or_default()
        };
        let count = self.latencies.len();
        let total: Duration = self.latencies.iter().sum();
        Figures {
            p50: at(50),
            p99: at(99),
            mean: total / u32::try_from(count).unwrap_or(u32::MAX).max(1),
            rate_per_s: u128::try_from(count).unwrap_or(0) * 1_000
                / self.elapsed.as_millis().max(1),
            count,
        }
    }
}

impl Figures {
    fn print(&self, out: &mut impl io::Write, what: &str) -> io::Result<()> {
        let Self { p50, p99, mean, rate_per_s, count } = self;
        writeln!(
            out,
            "{what:<34} p50 {p50:>9.2?}  mean {mean:>9.2?}  p99 {p99:>9.2?}  {rate_per_s:>6}/s  ({count})"
        )
    }

    fn json(&self) -> String {
        let (p50, p99) = (self.p50.as_micros(), self.p99.as_micros());
        let rate = self.rate_per_s;
        format!("{{\"p50_us\":{p50},\"p99_us\":{p99},\"rate_per_s\":{rate}}}")
    }
}

fn measure_disk(dir: &Path, time: Duration) -> io::Result<Measured> {
    let path = dir.join("raw");
    let mut file = File::create(&path)?;
    let mut latencies = Vec::new();
    let start = Instant::now();
    while start.elapsed() < time {
        let begin = Instant::now();
        file.write_all(&[7; COMMAND_BYTES])?;
        file.sync_data()?;
        latencies.push(begin.elapsed());
    }
    let elapsed = start.elapsed();
    fs::remove_file(path)?;
    Ok(Measured { latencies, elapsed })
}

async fn measure_commits(
    leader: &RaftGroup,
    writers: usize,
    time: Duration,
) -> Result<Measured, Box<dyn Error + Send + Sync>> {
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..writers {
        let leader = leader.clone();
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            while start.elapsed() < time {
                let begin = Instant::now();
                leader.propose(vec![7; COMMAND_BYTES]).await?;
                latencies.push(begin.elapsed());
            }
            Ok::<_, Box<dyn Error + Send + Sync>>(latencies)
        });
    }
    let mut latencies = Vec::new();
    while let Some(task) = tasks.join_next().await {
        latencies.extend(task??);
    }
    Ok(Measured { latencies, elapsed: start.elapsed() })
}

async fn open_group(
    dir: &Path,
    count: u64,
) -> Result<Vec<RaftGroup>, Box<dyn Error + Send + Sync>> {
    let groups = Groups::default();
    let voters: Vec<Voter> = (1..=count)
        .map(|number| Voter {
            raft_id: number,
            node_id: NodeId::from_bits(number),
            address: format!("voter-{number}:5051"),
        })
        .collect();
    let mut opened = Vec::new();
    for voter in &voters {
        let options = Options {
            data_dir: dir.join(format!("{count}-{}", voter.raft_id)),
            raft_id: voter.raft_id,
            node_id: voter.node_id,
            address: voter.address.clone(),
            // A disk that stalls must not cost the leader its lease here.
            timing: Timing::default().scaled(5),
            release: Release { name: "example".to_owned(), level: 1 },
            snapshot_every_entries: SNAPSHOT_EVERY_ENTRIES,
        };
        let network = Arc::new(Direct { own: voter.node_id, groups: Arc::clone(&groups) });
        let group = RaftGroup::open(options, Counter(0), network).await?;
        group.admit([voters[0].node_id]);
        let mut groups = groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.insert(voter.node_id, group.clone());
        opened.push(group);
    }
    opened[0].initialise(&voters).await?;
    Ok(opened)
}

async fn run(dir: &Path, seconds: u32, json: bool) -> Result<(), Box<dyn Error + Send + Sync>> {
    let one_voter = Voters::open(dir, 1).await?;
    let three_voters = Voters::open(dir, VOTERS).await?;
    let slice = Duration::from_millis(250);
    // The first commits open files and fill caches.
    measure_commits(one_voter.leader(), 1, slice).await?;
    measure_commits(three_voters.leader(), 1, slice).await?;
    let mut disk = Measured::default();
    let [mut alone, mut three, mut many] = [(); 3].map(|()| Measured::default());
    for _ in 0..seconds * 4 {
        disk.add(measure_disk(dir, slice)?);
        alone.add(measure_commits(one_voter.leader(), 1, slice).await?);
        three.add(measure_commits(three_voters.leader(), 1, slice).await?);
        many.add(measure_commits(three_voters.leader(), 16, slice).await?);
    }
    let measured = [
        ("disk", "append + fdatasync", disk.figures()),
        ("one_voter", "commit, 1 voter, 1 writer", alone.figures()),
        ("three_voters", "commit, 3 voters, 1 writer", three.figures()),
        ("many_writers", "commit, 3 voters, 16 writers", many.figures()),
    ];
    if json {
        print_json(&measured)?
    } else {
        print_table(&measured)?
    }
    one_voter.shutdown().await;
    three_voters.shutdown().await;
    Ok(())
}

type Rows = [(&'static str, &'static str, Figures); 4];

fn print_json(rows: &Rows) -> io::Result<()> {
    let parts: Vec<_> =
        rows.iter().map(|(key, _, figures)| format!("\"{key}\":{}", figures.json())).collect();
    writeln!(io::stdout(), "{{{}}}", parts.join(","))
}

fn print_table(rows: &Rows) -> io::Result<()> {
    let mut out = io::stdout();
    for (_, what, figures) in rows {
        figures.print(&mut out, what)?;
    }
    let [(_, _, disk), (_, _, alone), (_, _, three), _] = rows;
    for (what, figures) in [("1 voter", alone), ("3 voters", three)] {
        let (p50, mean) = (ratio(figures.p50, disk.p50), ratio(figures.mean, disk.mean));
        writeln!(
            out,
            "a commit on {what} takes {p50} fdatasyncs at the median, {mean} on average"
        )?;
    }
    Ok(())
}

/// A group and the place of its leader.
struct Voters {
    groups: Vec<RaftGroup>,
    leader: usize,
}

impl Voters {
    async fn open(dir: &Path, count: u64) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let groups = open_group(dir, count).await?;
        let mut leaders: Vec<_> = groups.iter().map(RaftGroup::leadership).collect();
        let waits = leaders.iter_mut().map(|watch| Box::pin(watch.wait_for(|now| now.i_lead())));
        let leader = futures_util::future::select_all(waits).await.1;
        drop(leaders);
        Ok(Self { groups, leader })
    }

    fn leader(&self) -> &RaftGroup {
        &self.groups[self.leader]
    }

    async fn shutdown(self) {
        for group in self.groups {
            group.shutdown().await;
        }
    }
}

/// How many of `disk` fit into `commit`.
fn ratio(commit: Duration, disk: Duration) -> String {
    let hundredths = commit.as_micros() * 100 / disk.as_micros().max(1);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let (flags, arguments): (Vec<_>, Vec<_>) =
        env::args_os().skip(1).partition(|argument| argument == "--json");
    let mut arguments = arguments.into_iter();
    let parent = arguments.next().map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let seconds = match arguments.next() {
        Some(text) => text.to_string_lossy().parse()?,
        None => 5,
    };
    let dir = parent.join(format!("commit-cost-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(run(&dir, seconds, !flags.is_empty()));
    fs::remove_dir_all(&dir)?;
    outcome
}

//! How long a cluster is without a leader after the leader's process was killed, and a framework without an offer.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::Value;

use super::Bench;
use super::dev::DevCluster;
use super::figures::{Figures, milliseconds, percentile};
use super::offers::Listener;
use crate::cmd;

/// `cargo xtask bench failover`.
pub const BENCH: Bench = Bench {
    name: "failover",
    about: "from the kill of the leader to the next one that all nodes know, and to the first new offer",
    run: bench,
};

/// Each kill needs a cluster of its own: of three nodes two may not die.
const KILLS: u32 = 20;
const NODES: u16 = 3;
const PAUSE: Duration = Duration::from_millis(2);
/// Many times what an election takes.
const LIMIT: Duration = Duration::from_secs(30);

/// From the kill on.
struct Failover {
    leader: Duration,
    offer: Duration,
}

fn bench() -> anyhow::Result<Figures> {
    let (mut leaders, mut offers, mut after) = (Vec::new(), Vec::new(), Vec::new());
    for kill in 1..=KILLS {
        let Failover { leader, offer } = one_kill()?;
        let (leader_ms, offer_ms) = (milliseconds(leader), milliseconds(offer));
        cmd::complain(format_args!(
            "kill {kill} of {KILLS}: leader {leader_ms:.0} ms, first offer {offer_ms:.0} ms"
        ));
        leaders.push(leader);
        offers.push(offer);
        after.push(offer.saturating_sub(leader));
    }
    let mut figures = Figures::default();
    for (name, times) in [
        ("failover_leader", &mut leaders),
        ("failover_first_offer", &mut offers),
        ("failover_first_offer_after_leader", &mut after),
    ] {
        for percent in [50, 99] {
            let time = percentile(times, percent).context("nothing was measured")?;
            figures.add(&format!("{name}_p{percent}_ms"), milliseconds(time), "ms")?;
        }
    }
    Ok(figures)
}

fn one_kill() -> anyhow::Result<Failover> {
    let cluster = DevCluster::start(NODES)?;
    let mut ask = cluster.command(&cluster.addresses()[0]);
    let rows: Value = serde_json::from_str(&cmd::capture(ask.args(["nodes", "--json"]))?)?;
    let rows = rows.as_array().context("the nodes are no list")?;
    let leader = rows.iter().find(|row| row["leader"] == true).context("nobody leads")?;
    let address = leader["address"].as_str().context("the leader has no address")?;
    let (_, term) = cluster.leader_of(address).context("the leader does not say so")?;
    let pid = leader["pid"].as_u64().context("the leader has no process")?;
    let others: Vec<String> =
        cluster.addresses().into_iter().filter(|other| other != address).collect();
    // Whatever comes later is offered anew.
    let listener = Listener::start(&others[0], NODES.into())?;
    let killed = Instant::now();
    cmd::run(Command::new("kill").args(["-KILL", &pid.to_string()]))?;
    while killed.elapsed() < LIMIT {
        let mut told = others.iter().map(|other| cluster.leader_of(other));
        let first = told.next().flatten();
        if first.as_ref().is_some_and(|(_, new)| *new > term) && told.all(|it| it == first) {
            let leader = killed.elapsed();
            let offer = listener.first_after(term, LIMIT)? - killed;
            return Ok(Failover { leader, offer });
        }
        std::thread::sleep(PAUSE);
    }
    anyhow::bail!("there was no other leader within {LIMIT:?}")
}

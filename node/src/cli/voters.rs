//! `meshos voters`: the group that elects the leader.

use std::{net::ToSocketAddrs as _, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, Subcommand};
use meshos_membership::{
    identity::{DataDir, FenceStore, IdentityError, NodeIdentity},
    keys::{Authority, ClusterKeys},
    raft::{self, Recovered, Voter},
    recovery::{Recovery, RecoveryStore, SignedRecovery},
};
use meshos_protocol::ids::Term;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    common::{Common, Subject, node_changed},
    output,
    table::Table,
    text::plain,
};
use crate::{config::Places, runtime::known_authority};

const HELP: &str = "\
Examples:
  meshos voters                   show the voters
  meshos voters add NODE          make a node of the cluster a voter
  meshos voters remove NODE       take a voter out, for example one whose machine is gone
  meshos voters recover --help    when more than half of the voters are lost for good

While most of the voters are there, the leader itself replaces one that is gone for an hour by a healthy \
node; see --replace-voters-after of `meshos node`.";

const RECOVER_HELP: &str = "\
Use this when more than half of the voters are lost for good: the remaining ones can neither elect a \
leader nor agree to change the group. It rewrites the raft log of ONE survivor, which then is the only \
voter; what only the lost voters had is lost. Cluster id, frameworks and agents stay as this node's \
log has them, and tasks run on.

The other nodes believe a leader only when most of the voters they know confirm it. Those are lost, so \
this signs a statement with the cluster's CA key that names the new voter; the survivor presents it to \
the other nodes, which take it when it is for terms above all they have obeyed. The key is in the \
directory that `meshos keygen` made and every seed was given.

  1. Stop the node, on the survivor whose log reaches farthest.
  2. Run this on its machine, as the node's user, with the highest term in any node's log:
       meshos voters recover --data-dir DIR --keys DIR --address HOST:PORT --term-above TERM --yes
  3. Make sure that the lost voters never come back with their data: empty it.
  4. Start the node with --seed naming itself alone. The other nodes need no restart: they follow it, \
and frameworks go on with their ids.
  5. Bring the group to three voters again: `meshos voters add NODE`, twice.

When a node logs that it has obeyed a later term than the statement reaches, do it again with that term.";

/// Show or change the group that elects the leader
#[derive(Debug, Args)]
#[command(after_help = HELP, args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    change: Option<Change>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum Change {
    /// Make a node of the cluster a voter
    Add {
        #[command(flatten)]
        subject: Subject,
        #[command(flatten)]
        common: Common,
    },
    /// Take a voter out of the group
    Remove {
        /// The node: its id, as `meshos voters` shows it, or its hostname or address
        #[arg(id = "voter", value_name = "NODE")]
        node: String,
        /// The id of its log, when the node stands in the group more than once
        #[arg(long, value_name = "N")]
        raft_id: Option<u64>,
        #[command(flatten)]
        common: Common,
    },
    /// Make one survivor the whole group, when the majority is lost for good
    #[command(after_help = RECOVER_HELP)]
    Recover(Recover),
}

#[derive(Debug, Args)]
struct Recover {
    /// The data directory of the survivor, whose node is stopped
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// The directory with the cluster's keys, whose CA key signs what the other nodes will believe
    /// [default: the throwaway keys of this user's nodes that were started without keys]
    #[arg(long, value_name = "DIR", env = "MESHOS_KEYS", hide_env = true)]
    keys: Option<PathBuf>,
    /// Where the survivor's QUIC port will be reached
    #[arg(long, value_name = "HOST:PORT")]
    address: String,
    /// The highest term seen anywhere in the cluster
    #[arg(long, value_name = "TERM")]
    term_above: u64,
    /// Do it: the log is rewritten, and nothing brings the old group back
    #[arg(long)]
    yes: bool,
    /// Print JSON for scripts, and nothing else, on standard output
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Row {
    node_id: String,
    raft_id: Option<u64>,
    address: String,
    cluster_address: Option<String>,
    role: String,
    leader: bool,
    last_contact_ms: Option<u64>,
    lag: Option<u64>,
    release: Option<String>,
}

/// Shows or changes the group.
pub(super) async fn execute(arguments: Arguments) -> Result<ExitCode> {
    match arguments.change {
        None => show(&arguments.common).await?,
        Some(Change::Add { subject: Subject { node }, common }) => {
            let body = json!({ "node_id": node });
            let told = |answer: &Value| {
                let added = format!("node {} is a voter now", node_changed(&node, answer));
                added + unable_to_sign(answer)
            };
            return common.change("/api/voters/add", &body, told).await;
        }
        Some(Change::Remove { node, raft_id, common }) => {
            let mut body = json!({ "node_id": node });
            if let Some(raft_id) = raft_id {
                body["raft_id"] = raft_id.into();
            }
            let told = |answer: &Value| {
                let removed = format!("node {} is no voter any more", node_changed(&node, answer));
                removed + &lasting(answer["voters"].as_u64())
            };
            return common.change("/api/voters/remove", &body, told).await;
        }
        Some(Change::Recover(recover)) => recover.execute()?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What it means that a voter cannot let other nodes join.
fn unable_to_sign(answer: &Value) -> &'static str {
    match answer["signs"].as_bool() {
        Some(false) => {
            ". It does not hold the cluster's keys: as long as no node that has them runs, no new node can join; \
             start it with --keys DIR to change that"
        }
        Some(true) | None => "",
    }
}

/// What it means that so many voters are left, when that is little.
fn lasting(voters: Option<u64>) -> String {
    match voters {
        Some(1) => {
            ". 1 voter is left: when it is down the cluster has no leader, and when it is lost \
                    the registry is; add two with `meshos voters add NODE`"
                .to_owned()
        }
        Some(2) => {
            ". 2 voters are left: when one of them is down the cluster has no leader; add a \
                    third with `meshos voters add NODE`"
                .to_owned()
        }
        Some(_) | None => String::new(),
    }
}

async fn show(common: &Common) -> Result<()> {
    let answer = common.get("/api/voters").await?;
    let Some(rows) = common.rows::<Row>(answer)? else { return Ok(()) };
    table(rows).print()
}

fn table(rows: Vec<Row>) -> Table {
    let mut table = Table::new(&[
        "NODE", "ROLE", "LEADER", "RELEASE", "ADDRESS", "QUIC", "HEARD", "BEHIND", "RAFT ID",
    ]);
    for row in rows {
        let leader = if row.leader { "yes" } else { "" }.to_owned();
        let heard =
            row.last_contact_ms.map(|millis| format!("{millis} ms ago")).unwrap_or_default();
        let lag = row.lag.map(|lag| lag.to_string()).unwrap_or_default();
        table.row([
            row.node_id,
            row.role,
            leader,
            row.release.unwrap_or_default(),
            row.cluster_address.unwrap_or_default(),
            row.address,
            heard,
            lag,
            row.raft_id.map(|id| id.to_string()).unwrap_or_default(),
        ]);
    }
    table
}

impl Recover {
    fn execute(self) -> Result<()> {
        ensure!(
            self.yes,
            "recovering throws away what only the lost voters had: read `meshos voters recover --help`, then add --yes"
        );
        let resolved = self.address.to_socket_addrs().is_ok_and(|mut found| found.next().is_some());
        ensure!(
            resolved,
            "--address {:?} cannot be reached: expected HOST:PORT of this node's QUIC port",
            self.address
        );
        ensure!(
            self.data_dir.is_dir(),
            "there is no data directory {}: name the one of the stopped node",
            self.data_dir.display()
        );
        // Before anything is changed: without the statement no other node would follow.
        let authority = self.authority()?;
        // Held while the log is rewritten, so that no node can start in it.
        let data_dir = DataDir::open(&self.data_dir)?;
        let Some(identity) = data_dir.load()? else {
            bail!("{} is not the data directory of a node", self.data_dir.display());
        };
        if let Some(known) = known_authority(&self.data_dir)? {
            ensure!(
                known == authority.certificate().as_ref(),
                "the keys are those of another cluster: node {} would not believe what they sign; name the keys of \
                 its cluster with --keys DIR",
                identity.node_id
            );
        }
        let cluster = identity.cluster_id.context(
            "this node has not been told its cluster yet: there is nothing to recover, choose another survivor",
        )?;
        let mut kept = match RecoveryStore::load(&data_dir, authority.certificate()) {
            // One that this node could not use either, such as an earlier try with other keys.
            Err(IdentityError::BadRecovery { .. }) => RecoveryStore::blank(&data_dir),
            loaded => loaded?,
        };
        let recovered = self.rewrite(&data_dir, &identity, &kept)?;
        let own = self.own(&identity);
        let above = recovered.above;
        let recovery = Recovery { cluster, above, voters: vec![own.clone()] };
        let signed = SignedRecovery::sign(recovery, &authority)?;
        kept.store(signed).context(
            "the raft log is rewritten, but not the statement for the other nodes: run this once more",
        )?;
        self.print(&own, recovered)
    }

    fn own(&self, identity: &NodeIdentity) -> Voter {
        Voter {
            raft_id: identity.raft_id,
            node_id: identity.node_id,
            address: self.address.clone(),
        }
    }

    /// All terms that this node and the operator know of are below the one that is led next.
    fn rewrite(
        &self,
        data_dir: &DataDir,
        identity: &NodeIdentity,
        kept: &RecoveryStore,
    ) -> Result<Recovered> {
        let obeyed = FenceStore::load(data_dir)?.current().map(|fence| fence.term);
        let stated = kept.held().map(|held| held.recovery().above);
        let seen = [Some(Term(self.term_above)), obeyed, stated].into_iter().flatten().max();
        let above = seen.unwrap_or_default();
        Ok(raft::recover_offline(&self.data_dir, &self.own(identity), above)?)
    }

    /// The CA with its key.
    fn authority(&self) -> Result<Authority> {
        const WHY: &str = "the statement by which the other nodes accept the rebuilt group must be signed with the \
            cluster's CA key";
        let directory = match &self.keys {
            Some(directory) => directory.clone(),
            None => Places::of_process()
                .loopback_keys()
                .filter(|keys| keys.is_dir())
                .with_context(|| {
                    format!("{WHY}: name the directory that `meshos keygen` made with --keys DIR")
                })?,
        };
        let keys = ClusterKeys::load(&directory).context(WHY)?;
        Ok(keys.authority)
    }

    fn print(&self, own: &Voter, recovered: Recovered) -> Result<()> {
        if self.json {
            return output::json(&json!({
                "node_id": own.node_id,
                "raft_id": own.raft_id,
                "term_above": recovered.above.0,
                "index": recovered.index,
            }));
        }
        output::line(&format!(
            "node {} is the only voter now; it will lead in a term above {}, and the other nodes will accept it.\n\
             Start it with --seed naming itself alone, then add voters with `meshos voters add NODE`.",
            plain(&own.node_id.to_string()),
            recovered.above
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recover(data_dir: &str, yes: bool) -> Recover {
        Recover {
            data_dir: data_dir.into(),
            keys: Some("/no-keys".into()),
            address: "127.0.0.1:5051".to_owned(),
            term_above: 7,
            yes,
            json: false,
        }
    }

    #[test]
    fn a_group_that_stands_no_loss_is_warned_of() {
        assert!(lasting(Some(1)).contains("1 voter is left: when it is down"));
        assert!(lasting(Some(2)).contains("2 voters are left: when one of them is down"));
        assert_eq!(lasting(Some(3)) + &lasting(None), "");
    }

    #[test]
    fn a_voter_is_shown_with_both_its_addresses() {
        let row = |cluster: Option<&str>| Row {
            address: "h:5051".to_owned(),
            cluster_address: cluster.map(str::to_owned),
            ..Row::default()
        };
        let text = table(vec![row(Some("h:5050")), row(None)]).render(None);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains("ADDRESS  QUIC"), "{text}");
        assert!(lines[1].contains("h:5050   h:5051"), "{text}");
        assert!(!lines[2].contains("h:5050") && lines[2].contains("h:5051"), "{text}");
    }

    #[test]
    fn recovering_wants_to_be_meant() {
        let error = recover("/nowhere", false).execute().unwrap_err().to_string();
        assert!(error.ends_with("then add --yes"), "{error}");
        let error = recover("/nowhere", true).execute().unwrap_err().to_string();
        assert!(error.starts_with("there is no data directory /nowhere"), "{error}");
        let scratch = tempfile::tempdir().unwrap();
        let error = recover(&scratch.path().display().to_string(), true).execute().unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("signed with the cluster's CA key"), "{error}");
        assert!(error.contains("key file /no-keys/ca.pem is missing"), "{error}");
    }
}

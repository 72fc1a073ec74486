//! `meshos keygen`: keys for a cluster, and certificates for those who talk to it.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, Subcommand};
use meshos_membership::keys::{self, ClusterKeys, PeerKind};
use meshos_protocol::ids::Principal;

use super::{output, text::plain};

const DAY: Duration = Duration::from_secs(24 * 3_600);
const NAME_BYTES_MAX: usize = 64;

const HELP: &str = "\
Examples:
  meshos keygen                         make the keys of a new cluster in ./meshos-keys
  meshos keygen framework analytics     a certificate for frameworks of the principal analytics
  meshos keygen operator alice          a certificate for the operator alice";

/// Make the keys of a new cluster, or a certificate for a framework or an operator
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    /// The directory of the cluster's keys
    #[arg(long, value_name = "DIR", default_value = "meshos-keys", global = true)]
    dir: PathBuf,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a certificate for the frameworks of a principal
    Framework {
        /// Who the frameworks are, for example the name of a team
        principal: Principal,
        #[command(flatten)]
        certificate: Certificate,
    },
    /// Make a certificate for somebody who operates the cluster: with --credentials FILE, or
    /// MESHOS_CREDENTIALS, every command asks any node over QUIC in that name, without a token
    Operator {
        /// Who it is
        name: Principal,
        #[command(flatten)]
        certificate: Certificate,
    },
}

#[derive(Debug, Args)]
struct Certificate {
    /// Where to write it [default: framework-PRINCIPAL.pem or operator-NAME.pem]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How many days it is good
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
}

/// Makes what was asked for and says what to do with it.
pub(super) fn execute(arguments: Arguments) -> Result<ExitCode> {
    let directory = &arguments.dir;
    match arguments.what {
        None => {
            keys::keygen(directory)?;
            output::line(&next_steps(directory))?;
        }
        Some(What::Framework { principal, certificate }) => {
            let file = file(&certificate, "framework", &principal);
            issue(directory, &PeerKind::Framework(principal), &certificate, &file)?;
            output::wrapped(&format!(
                "{} holds a framework's key and certificate; give it to the framework, which reads it \
                 with Credentials::load",
                file.display()
            ))?;
        }
        Some(What::Operator { name, certificate }) => {
            let file = file(&certificate, "operator", &name);
            issue(directory, &PeerKind::Operator(name), &certificate, &file)?;
            output::wrapped(&format!(
                "{0} holds an operator's key and certificate; keep it as you keep an SSH key. It stands for a \
                 node's token in every command, for example: meshos nodes --credentials {0}",
                file.display()
            ))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn issue(directory: &Path, kind: &PeerKind, certificate: &Certificate, file: &Path) -> Result<()> {
    ensure!(
        !file.exists(),
        "{} exists, and certificates are never overwritten: remove it, or name another file with --out FILE",
        file.display()
    );
    let keys = ClusterKeys::load(directory)
        .context("a certificate is signed with the cluster's keys, which --dir DIR names")?;
    let credentials = keys.authority.issue(kind, DAY * certificate.days)?;
    Ok(credentials.store_new(file)?)
}

fn file(certificate: &Certificate, kind: &str, name: &Principal) -> PathBuf {
    certificate.out.clone().unwrap_or_else(|| {
        let fit = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
        let name = name.as_str().chars().map(|letter| if fit(letter) { letter } else { '_' });
        let name: String = name.take(NAME_BYTES_MAX).collect();
        format!("{kind}-{name}.pem").into()
    })
}

fn next_steps(directory: &Path) -> String {
    let shown = plain(&directory.display().to_string());
    format!(
        "{shown} holds the keys of a new cluster; whoever has them owns it.

1. Copy the directory to each seed, the one, three or five machines that are to elect the leader:
     scp -r {shown} SEED:
2. Start a node on each of them:
     meshos node --keys {shown} --seed SEED1:5050 --seed SEED2:5050 --seed SEED3:5050
3. Copy {shown}/join.token alone to every other machine, and start a node there:
     meshos node --join-token join.token --seed SEED1:5050 --seed SEED2:5050 --seed SEED3:5050"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_named_after_whom_it_is_for() {
        let certificate = Certificate { out: None, days: 1 };
        let name = |text: &str| {
            file(&certificate, "framework", &Principal::new(text).unwrap()).display().to_string()
        };
        assert_eq!(name("analytics"), "framework-analytics.pem");
        assert_eq!(name("../a b"), "framework-___a_b.pem");
        assert_eq!(name(&"x".repeat(200)).len(), "framework-.pem".len() + NAME_BYTES_MAX);
    }

    #[test]
    fn keys_and_certificates_are_made_where_they_are_asked_for() {
        let scratch = std::env::temp_dir().join(format!("meshos-keygen-{}", std::process::id()));
        let directory = scratch.join("keys");
        let run = |what| execute(Arguments { dir: directory.clone(), what });
        let out = scratch.join("a.pem");
        let framework = || What::Framework {
            principal: Principal::new("a").unwrap(),
            certificate: Certificate { out: Some(out.clone()), days: 2 },
        };
        let early = run(Some(framework())).unwrap_err();
        assert!(format!("{early:#}").contains("`meshos keygen`"), "{early:#}");
        run(None).unwrap();
        let again = run(None).unwrap_err().to_string();
        assert!(again.contains("keys are never overwritten"), "{again}");
        run(Some(framework())).unwrap();
        let again = run(Some(framework())).unwrap_err().to_string();
        assert!(again.contains("certificates are never overwritten: remove it, or"), "{again}");
        assert!(meshos_sdk::Credentials::load(&out).is_ok());
        std::fs::remove_dir_all(&scratch).unwrap();
    }
}

//! Who may call beside whoever has the node's token: principals with secrets, from a file that the operator writes.
//!
//! Two forms are read. Mesos's own, with which everybody in it may do everything, as in Mesos without ACLs:
//! `{"credentials": [{"principal": "analytics", "secret": "..."}]}`. And a table for each principal in TOML, of whom only
//! those with `operator = true` may change the cluster.

use std::{collections::BTreeMap, fs::File, io::Read as _, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use meshos_protocol::ids::Principal;
use serde::Deserialize;

use super::{
    gate::speaks_for_all,
    secret::{Secret, demand_private},
};

/// The largest file.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The longest secret, in bytes.
const SECRET_BYTES_MAX: usize = 256;

/// The principals of a file.
pub(super) struct Principals {
    by_name: BTreeMap<String, Known>,
    /// Compared with when a name is not known, so that it takes as long.
    nobody: Secret,
}

struct Known {
    secret: Secret,
    operator: bool,
}

/// A principal as a file has it.
#[derive(Debug, PartialEq, Eq)]
struct Listed {
    name: String,
    secret: String,
    operator: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MesosFile {
    credentials: Vec<MesosCredential>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MesosCredential {
    principal: String,
    secret: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    secret: String,
    #[serde(default)]
    operator: bool,
}

impl Principals {
    /// Reads the file.
    ///
    /// # Errors
    /// When others may read it, or it is not what it should be.
    pub(super) fn load(path: &Path) -> Result<Self> {
        let shown = path.display();
        let file = File::open(path).with_context(|| format!("cannot open {shown}"))?;
        demand_private(&file, path, "change its secrets if they were read")?;
        let mut text = String::new();
        let mut limited = file.take(FILE_BYTES_MAX + 1);
        limited.read_to_string(&mut text).with_context(|| format!("cannot read {shown}"))?;
        let bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
        ensure!(bytes <= FILE_BYTES_MAX, "{shown} has more than {FILE_BYTES_MAX} bytes");
        let listed = parse(&text).with_context(|| format!("{shown} cannot be used"))?;
        Self::of(listed).with_context(|| format!("{shown} cannot be used"))
    }

    fn of(listed: Vec<Listed>) -> Result<Self> {
        ensure!(!listed.is_empty(), "it names nobody");
        let mut by_name = BTreeMap::new();
        for Listed { name, secret, operator } in listed {
            check(&name, &secret)?;
            let known = Known { secret: Secret::new(secret.as_bytes())?, operator };
            if by_name.insert(name.clone(), known).is_some() {
                bail!("the principal {name:?} is there twice");
            }
        }
        Ok(Self { by_name, nobody: Secret::new(&[0; SECRET_BYTES_MAX + 1])? })
    }

    /// Whether the secret is the principal's; then whether it may change the cluster.
    pub(super) fn verify(&self, name: &str, secret: &[u8]) -> Option<bool> {
        let known = self.by_name.get(name);
        let right = known.map_or(&self.nobody, |known| &known.secret).verify(secret);
        known.filter(|_| right).map(|known| known.operator)
    }
}

fn parse(text: &str) -> Result<Vec<Listed>> {
    if text.trim_start().starts_with('{') {
        let file: MesosFile = serde_json::from_str(text)
            .context("it begins like JSON, of which the form is {\"credentials\": [{\"principal\": ..., \"secret\": ...}]}")?;
        let listed = |MesosCredential { principal, secret }| Listed {
            name: principal,
            secret,
            operator: true,
        };
        return Ok(file.credentials.into_iter().map(listed).collect());
    }
    let tables: BTreeMap<String, Table> = toml::from_str(text)
        .context("expected a table [NAME] for each principal, with secret = \"...\" and perhaps operator = true")?;
    let listed = |(name, Table { secret, operator })| Listed { name, secret, operator };
    Ok(tables.into_iter().map(listed).collect())
}

fn check(name: &str, secret: &str) -> Result<()> {
    if let Err(error) = Principal::new(name) {
        bail!("{name:?} is no principal: {error}");
    }
    ensure!(
        !speaks_for_all(name),
        "the principal {name:?} has a name that stands for whoever has the node's token: give it another"
    );
    ensure!(
        !name.contains(':'),
        "the principal {name:?} has a colon, which ends the name in basic credentials"
    );
    ensure!(
        (1..=SECRET_BYTES_MAX).contains(&secret.len()),
        "the secret of {name:?} has {} bytes: 1 to {SECRET_BYTES_MAX} are expected",
        secret.len()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn of(text: &str) -> Result<Principals> {
        Principals::of(parse(text)?)
    }

    fn refusal(text: &str) -> String {
        format!("{:#}", of(text).err().unwrap())
    }

    #[test]
    fn both_forms_are_read() {
        let mesos = r#"{"credentials": [{"principal": "marathon", "secret": "s3cret"}]}"#;
        let principals = of(mesos).unwrap();
        assert_eq!(principals.verify("marathon", b"s3cret"), Some(true));
        let own =
            "[analytics]\nsecret = 'one'\n[\"ops@example.org\"]\nsecret = 'two'\noperator = true\n";
        let principals = of(own).unwrap();
        assert_eq!(principals.verify("analytics", b"one"), Some(false));
        assert_eq!(principals.verify("ops@example.org", b"two"), Some(true));
        for (name, secret) in [("analytics", "two"), ("analytics", ""), ("nobody", "one"), ("", "")]
        {
            assert_eq!(principals.verify(name, secret.as_bytes()), None, "{name} {secret}");
        }
        assert_eq!(principals.verify("nobody", &[0; SECRET_BYTES_MAX + 1]), None);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        for (text, expected) in [
            ("", "names nobody"),
            ("{}", "missing field `credentials`"),
            (r#"{"credentials": [{"principal": "a"}]}"#, "missing field `secret`"),
            (
                r#"{"credentials": [{"principal": "a", "secret": "x"}, {"principal": "a", "secret": "y"}]}"#,
                "\"a\" is there twice",
            ),
            ("[a]\nsecrt = 'x'\n", "unknown field `secrt`"),
            ("[a]\nsecret = ''\n", "has 0 bytes"),
            ("['a:b']\nsecret = 'x'\n", "has a colon"),
            ("[operator]\nsecret = 'x'\n", "stands for whoever has the node's token"),
            ("[local]\nsecret = 'x'\n", "stands for whoever has the node's token"),
            ("a secret\n", "expected a table [NAME]"),
        ] {
            let refusal = refusal(text);
            assert!(refusal.contains(expected), "{text:?}: {refusal}");
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("principals.toml");
        std::fs::write(&path, "[a]\nsecret = 'x'\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let refused = format!("{:#}", Principals::load(&path).err().unwrap());
        assert!(refused.contains("chmod 600"), "{refused}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(Principals::load(&path).unwrap().verify("a", b"x"), Some(false));
        let missing = format!("{:#}", Principals::load(&home.path().join("none")).err().unwrap());
        assert!(missing.contains("cannot open"), "{missing}");
    }
}

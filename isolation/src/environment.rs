//! The environment of a container: a small one of our own and what the task adds, never the node's.

use std::collections::BTreeMap;
use std::path::Path;

use crate::container::{Command, ContainerSpec};
use crate::error::LaunchError;
use crate::linux::process;

/// Where commands are looked for, unless the task says otherwise: Debian's path for root, which holds that for users.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How much a command with its arguments and environment may hold, in bytes: the kernel takes a quarter of the stack
/// limit, which is 2 MiB where nobody changed it.
const TEXT_BYTES_MAX: usize = 2 << 20;

/// How many URIs are fetched for one container; each may bring as much as [`crate::FetchOptions`] allows.
const URIS_MAX: usize = 256;

/// A container's environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Environment {
    /// The first variable, which tells whose process it is.
    pub(crate) mark: String,
    /// All of them, `NAME=value` each, every name once.
    pub(crate) variables: Vec<String>,
}

/// Puts a container's environment together.
///
/// A task may set everything but what says where and what it is: the mark and the sandbox.
pub(crate) fn build(spec: &ContainerSpec, tag: &str, user: &str) -> Environment {
    let sandbox = spec.sandbox.to_string_lossy();
    let mut variables: BTreeMap<&str, &str> = BTreeMap::from([
        ("PATH", PATH_DEFAULT),
        ("HOME", sandbox.as_ref()),
        ("USER", user),
        ("LOGNAME", user),
    ]);
    variables.extend(spec.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    for name in ["MESOS_SANDBOX", "MESOS_DIRECTORY", "MESHOS_SANDBOX"] {
        variables.insert(name, sandbox.as_ref());
    }
    // What runs inside another container finds what that one finds.
    let named = spec.inside.as_ref().unwrap_or(&spec.container);
    variables.insert("MESHOS_CONTAINER_ID", named.as_str());
    variables.remove(process::MARK_VARIABLE);
    let mark = process::mark(tag, spec.container.as_str());
    let rest = variables.into_iter().map(|(name, value)| format!("{name}={value}"));
    Environment { variables: std::iter::once(mark.clone()).chain(rest).collect(), mark }
}

/// Refuses what the kernel cannot take.
pub(crate) fn check(spec: &ContainerSpec) -> Result<(), LaunchError> {
    let invalid = |reason: String| Err(LaunchError::Invalid { reason });
    if spec.uris.len() > URIS_MAX {
        let count = spec.uris.len();
        return invalid(format!("it has {count} URIs to fetch; at most {URIS_MAX} are allowed"));
    }
    let words: Vec<&str> = match &spec.command {
        Command::Shell(line) => vec![line],
        Command::Exec { path, args } => {
            std::iter::once(path).chain(args).map(String::as_str).collect()
        }
    };
    if matches!(&spec.command, Command::Exec { path, .. } if path.is_empty()) {
        return invalid("its command is empty".to_owned());
    }
    if words.iter().any(|word| word.contains('\0')) {
        return invalid("its command has a NUL byte in it".to_owned());
    }
    for (name, value) in &spec.environment {
        if name.is_empty() || name.contains(['=', '\0']) {
            return invalid(format!("{name:?} cannot be the name of an environment variable"));
        }
        if value.contains('\0') {
            return invalid(format!("the environment variable {name} has a NUL byte in its value"));
        }
    }
    let variables = spec.environment.iter().map(|(name, value)| name.len() + value.len() + 2);
    let bytes = variables.chain(words.iter().map(|word| word.len() + 1)).sum::<usize>();
    if bytes > TEXT_BYTES_MAX {
        return invalid(format!(
            "its command and environment have {bytes} bytes; at most {TEXT_BYTES_MAX} are allowed"
        ));
    }
    match spec.sandbox.to_str() {
        Some(path) if !path.contains('\0') => Ok(()),
        _ => invalid(format!("its sandbox {:?} is not a path of UTF-8", spec.sandbox)),
    }
}

/// Tells the nodes of one machine apart, the same at every start: 12 hexadecimal digits of the data directory's path.
pub(crate) fn tag_of(data_dir: &Path) -> String {
    let bytes = data_dir.as_os_str().as_encoded_bytes();
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{:012x}", hash & 0xffff_ffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::{ContainerId, Limits};

    fn spec(environment: &[(&str, &str)]) -> ContainerSpec {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        ContainerSpec {
            container: ContainerId::new("c1").unwrap(),
            command: Command::Shell("true".to_owned()),
            environment: environment.iter().map(pair).collect(),
            user: None,
            allow_root: false,
            sandbox: "/s".into(),
            limits: Limits::default(),
            uris: Vec::new(),
            volumes: Vec::new(),
            inside: None,
        }
    }

    #[test]
    fn a_task_adds_to_a_small_environment_but_cannot_lie_about_itself() {
        let spec = spec(&[
            ("A", "1"),
            ("A", "2"),
            ("HOME", "/h"),
            ("MESHOS_CONTAINER", "other/c9"),
            ("MESOS_SANDBOX", "/etc"),
        ]);
        let environment = build(&spec, "tag", "alice");
        assert_eq!(environment.variables[0], "MESHOS_CONTAINER=tag/c1");
        assert_eq!(environment.mark, "MESHOS_CONTAINER=tag/c1");
        let rest: Vec<_> = environment.variables[1..].iter().map(String::as_str).collect();
        let path = format!("PATH={PATH_DEFAULT}");
        assert_eq!(
            rest,
            [
                "A=2",
                "HOME=/h",
                "LOGNAME=alice",
                "MESHOS_CONTAINER_ID=c1",
                "MESHOS_SANDBOX=/s",
                "MESOS_DIRECTORY=/s",
                "MESOS_SANDBOX=/s",
                path.as_str(),
                "USER=alice"
            ]
        );
    }

    #[test]
    fn what_the_kernel_cannot_take_is_refused() {
        assert!(check(&spec(&[("A", "1")])).is_ok());
        for bad in [("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "x\0")] {
            assert!(matches!(check(&spec(&[bad])), Err(LaunchError::Invalid { .. })), "{bad:?}");
        }
        let mut empty = spec(&[]);
        empty.command = Command::Exec { path: String::new(), args: Vec::new() };
        assert!(check(&empty).is_err());
        let mut greedy = spec(&[]);
        greedy.uris = vec![crate::container::Uri::new("/x"); URIS_MAX + 1];
        assert!(check(&greedy).is_err());
        let mut long = spec(&[]);
        long.command = Command::Shell("x".repeat(TEXT_BYTES_MAX));
        assert!(check(&long).is_err());
    }

    #[test]
    fn tags_tell_data_directories_apart() {
        assert_eq!(tag_of(Path::new("/a")), tag_of(Path::new("/a")));
        assert_ne!(tag_of(Path::new("/a")), tag_of(Path::new("/b")));
        assert_eq!(tag_of(Path::new("/a")).len(), 12);
    }
}

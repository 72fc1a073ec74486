//! Whom a task runs as.
//!
//! * A node that is not root runs every task as its own user; a task that names another is refused.
//! * A node that is root runs a task as the user that it names. A task that names nobody, or root, would be root: that
//!   is refused unless the node and the container's specification both allow it.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::unistd::{Gid, Uid, User, getgrouplist};

use crate::error::LaunchError;
use crate::linux::spawn::Ids;

/// How long a looked-up user is believed. Long enough to spare a burst of launches the look-up, short enough that an
/// operator who adds a user to a group does not wonder.
const CACHE_AGE_MAX: Duration = Duration::from_secs(5);
/// How many users are remembered.
const CACHE_USERS_MAX: usize = 256;

/// A user of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserEntry {
    /// The number.
    pub uid: u32,
    /// The number of its own group.
    pub gid: u32,
    /// All groups that it is in.
    pub groups: Vec<u32>,
}

/// The machine's users: a trait, so that rules are tested without being root.
pub trait UserDatabase: Send + Sync + fmt::Debug {
    /// The user that this process runs as.
    fn own(&self) -> u32;
    /// The name of a user, if it has one.
    fn name_of(&self, uid: u32) -> Option<String>;
    /// Looks a user up; none when there is none of that name.
    fn find(&self, name: &str) -> std::io::Result<Option<UserEntry>>;
}

/// The users that the operating system knows.
#[derive(Debug, Default)]
pub struct SystemUsers {
    cache: Mutex<BTreeMap<String, (Instant, UserEntry)>>,
}

impl UserDatabase for SystemUsers {
    fn own(&self) -> u32 {
        nix::unistd::geteuid().as_raw()
    }

    fn name_of(&self, uid: u32) -> Option<String> {
        User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name)
    }

    fn find(&self, name: &str) -> std::io::Result<Option<UserEntry>> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((when, entry)) = cache.get(name)
            && when.elapsed() < CACHE_AGE_MAX
        {
            return Ok(Some(entry.clone()));
        }
        let Some(user) = User::from_name(name)? else { return Ok(None) };
        let groups = getgrouplist(&CString::new(name)?, user.gid)?;
        let groups = groups.into_iter().map(Gid::as_raw).collect();
        let entry = UserEntry { uid: user.uid.as_raw(), gid: user.gid.as_raw(), groups };
        if cache.len() >= CACHE_USERS_MAX {
            cache.clear();
        }
        cache.insert(name.to_owned(), (Instant::now(), entry.clone()));
        Ok(Some(entry))
    }
}

/// Whom a container runs as, decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// For `USER` and for messages.
    pub(crate) name: String,
    /// Whom the process has to become; none when it is that already.
    pub(crate) switch_to: Option<Ids>,
}

impl Identity {
    pub(crate) fn unchanged(name: String) -> Self {
        Self { name, switch_to: None }
    }
}

/// Decides whom a container runs as.
pub(crate) fn resolve(
    users: &dyn UserDatabase,
    user: Option<&str>,
    allow_root: bool,
) -> Result<Identity, LaunchError> {
    let own = users.own();
    let own_name = || users.name_of(own).unwrap_or_else(|| own.to_string());
    let refused = |reason: String| LaunchError::User { user: user.map(str::to_owned), reason };
    match user {
        None if own == 0 && !allow_root => Err(refused(
            "the task names no user and the node runs as root: name a user in the task (`meshos run --user NAME`), or \
             start the node with --allow-root-tasks"
                .to_owned(),
        )),
        None => Ok(Identity::unchanged(own_name())),
        Some("") => Err(refused("the task names a user with an empty name".to_owned())),
        Some(name) if own != 0 => {
            let own_name = own_name();
            if name == own_name {
                return Ok(Identity::unchanged(own_name));
            }
            Err(refused(format!(
                "the node runs as user {own_name} and cannot start a task as user {name}: run the node as root, or \
                 leave the user out of the task"
            )))
        }
        Some(name) => {
            let entry = users.find(name).map_err(|error| {
                refused(format!("could not look up user {name} on this node: {error}"))
            })?;
            let entry = entry
                .ok_or_else(|| refused(format!("there is no user {name} on this node")))?;
            if entry.uid == 0 && !allow_root {
                let who = if name == "root" { String::new() } else { format!(" ({name})") };
                return Err(refused(format!(
                    "the task may not run as root{who}: name another user, or start the node with \
                     --allow-root-tasks"
                )));
            }
            let ids = Ids { uid: entry.uid, gid: entry.gid, groups: entry.groups };
            Ok(Identity { name: name.to_owned(), switch_to: Some(ids) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct FixedUsers(u32);

    impl UserDatabase for FixedUsers {
        fn own(&self) -> u32 {
            self.0
        }

        fn name_of(&self, uid: u32) -> Option<String> {
            Some(if uid == 0 { "root" } else { "alice" }.to_owned())
        }

        fn find(&self, name: &str) -> std::io::Result<Option<UserEntry>> {
            let uid = match name {
                "root" | "toor" => 0,
                "alice" => 1000,
                _ => return Ok(None),
            };
            Ok(Some(UserEntry { uid, gid: uid, groups: vec![uid, 50] }))
        }
    }

    fn reason(own: u32, user: Option<&str>, allow_root: bool) -> String {
        resolve(&FixedUsers(own), user, allow_root).unwrap_err().to_string()
    }

    #[test]
    fn root_is_refused_unless_allowed() {
        assert!(reason(0, None, false).contains("--allow-root-tasks"));
        assert!(reason(0, Some("root"), false).contains("--allow-root-tasks"));
        assert!(reason(0, Some("toor"), false).contains("--allow-root-tasks"));
        assert_eq!(resolve(&FixedUsers(0), None, true).unwrap().switch_to, None);
        let root = resolve(&FixedUsers(0), Some("root"), true).unwrap();
        assert_eq!(root.switch_to.unwrap().uid, 0);
    }

    #[test]
    fn a_root_node_becomes_the_named_user_with_its_groups() {
        let identity = resolve(&FixedUsers(0), Some("alice"), false).unwrap();
        let ids = Ids { uid: 1000, gid: 1000, groups: vec![1000, 50] };
        assert_eq!(identity, Identity { name: "alice".to_owned(), switch_to: Some(ids) });
        assert_eq!(reason(0, Some("bob"), false), "there is no user bob on this node");
    }

    #[test]
    fn a_node_that_is_not_root_stays_what_it_is() {
        for user in [None, Some("alice")] {
            let identity = resolve(&FixedUsers(1000), user, false).unwrap();
            assert_eq!(identity, Identity::unchanged("alice".to_owned()));
        }
        assert!(reason(1000, Some("bob"), false).contains("run the node as root"));
    }

    #[test]
    fn the_systems_users_are_found() {
        let users = SystemUsers::default();
        let root = users.find("root").unwrap().unwrap();
        assert_eq!(root.uid, 0);
        assert_eq!(users.find("root").unwrap(), Some(root));
        assert_eq!(users.find("no-such-user-here").unwrap(), None);
    }
}

//! Where things lie when nobody says.

use std::path::{Path, PathBuf};

/// The file in a node's data directory with the token of its HTTP API.
pub(crate) const TOKEN_FILE: &str = "http-token";

const SYSTEM_DATA_DIR: &str = "/var/lib/meshos";

/// The user's folders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Places {
    /// Whether this is root.
    pub root: bool,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `XDG_STATE_HOME`.
    pub state: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`, when it is there.
    pub runtime: Option<PathBuf>,
}

impl Places {
    /// As this process's environment has them. Paths that are not absolute do not count, as the XDG
    /// base directory specification says.
    pub(crate) fn of_process() -> Self {
        let folder = |name: &str| {
            std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
        };
        Self {
            root: nix::unistd::geteuid().is_root(),
            home: folder("HOME"),
            state: folder("XDG_STATE_HOME"),
            runtime: folder("XDG_RUNTIME_DIR").filter(|path| path.is_dir()),
        }
    }

    /// A node's data directory.
    pub(crate) fn data_dir(&self) -> Option<PathBuf> {
        if self.root { Some(SYSTEM_DATA_DIR.into()) } else { self.state() }
    }

    /// The throwaway keys of this user's nodes without keys.
    pub(crate) fn loopback_keys(&self) -> Option<PathBuf> {
        match &self.runtime {
            Some(runtime) => Some(runtime.join("meshos-loopback")),
            None => {
                self.state().or_else(|| self.data_dir()).map(|state| state.join("loopback-keys"))
            }
        }
    }

    fn state(&self) -> Option<PathBuf> {
        let state = self.state.clone();
        let state = state.or_else(|| self.home.as_deref().map(|home| home.join(".local/state")));
        state.map(|state: PathBuf| Path::join(&state, "meshos"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_keeps_data_for_the_system_and_users_in_their_state() {
        let root = Places { root: true, home: Some("/root".into()), ..Places::default() };
        assert_eq!(root.data_dir(), Some("/var/lib/meshos".into()));
        assert_eq!(root.loopback_keys(), Some("/root/.local/state/meshos/loopback-keys".into()));
        let user = Places { home: Some("/home/a".into()), ..Places::default() };
        assert_eq!(user.data_dir(), Some("/home/a/.local/state/meshos".into()));
        let moved =
            Places { state: Some("/state".into()), runtime: Some("/run/user/7".into()), ..user };
        assert_eq!(moved.data_dir(), Some("/state/meshos".into()));
        assert_eq!(moved.loopback_keys(), Some("/run/user/7/meshos-loopback".into()));
        assert_eq!(Places::default().data_dir(), None);
        let bare = Places { root: true, ..Places::default() };
        assert_eq!(bare.loopback_keys(), Some("/var/lib/meshos/loopback-keys".into()));
    }
}

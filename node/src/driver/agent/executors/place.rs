//! Where an executor's socket and token are.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::{
        fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
        net::UnixListener,
    },
    path::{Path, PathBuf},
};

use meshos_protocol::ids::ContainerId;
use meshos_sdk::wire::short_path;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::SOCKET;

/// Bytes of randomness in a token.
const TOKEN_BYTES: usize = 32;

/// Where one executor's socket and token are.
pub(super) struct Place {
    pub root: PathBuf,
    pub token_file: PathBuf,
    pub sandbox: PathBuf,
    pub container: ContainerId,
}

/// A socket that is listened on, and who may connect.
pub(super) struct Listening {
    pub listener: UnixListener,
    pub token: String,
    /// The user of the executor.
    pub uid: u32,
}

/// Makes the token of a container and keeps it for as long as the container is there. One that is there
/// already stays.
pub(in crate::driver::agent) fn make_token(file: &Path) -> io::Result<String> {
    if let Some(parent) = file.parent() {
        match DirBuilder::new().mode(0o700).create(parent) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    let mut bytes = [0; TOKEN_BYTES];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| io::Error::other("the system has no random numbers"))?;
    let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut options = OpenOptions::new();
    let made = options.write(true).create_new(true).mode(0o600).open(file);
    match made {
        Ok(mut made) => made.write_all(token.as_bytes()).map(|()| token),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read_token(file),
        Err(error) => Err(error),
    }
}

/// The user whom a container will run as, if it can: only root can start one as somebody else.
pub(in crate::driver::agent) fn uid_of(named: Option<String>) -> Option<u32> {
    let own = nix::unistd::geteuid();
    match named {
        Some(name) if own.is_root() => {
            nix::unistd::User::from_name(&name).ok().flatten().map(|user| user.uid.as_raw())
        }
        Some(_) | None => Some(own.as_raw()),
    }
}

fn read_token(file: &Path) -> io::Result<String> {
    let mut token = String::new();
    File::open(file)?.take(1_024).read_to_string(&mut token)?;
    if token.len() == 2 * TOKEN_BYTES {
        return Ok(token);
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "the token is damaged"))
}

impl Place {
    /// Makes the socket. File operations: not for async workers.
    pub(super) fn listen(&self) -> io::Result<Listening> {
        let token = read_token(&self.token_file)?;
        let sandbox = OpenOptions::new()
            .read(true)
            .custom_flags(nix::libc::O_DIRECTORY | nix::libc::O_NOFOLLOW)
            .open(&self.sandbox)?;
        let owner = sandbox.metadata()?;
        let making = self.root.join(format!("{}.sock", self.container));
        let (root, short) = short_path(&making)?;
        match fs::remove_file(&short) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&short)?;
        fs::set_permissions(&short, Permissions::from_mode(0o700))?;
        std::os::unix::fs::lchown(&short, Some(owner.uid()), Some(owner.gid()))?;
        nix::fcntl::renameat(&root, making.file_name().unwrap_or_default(), &sandbox, SOCKET)?;
        listener.set_nonblocking(true)?;
        Ok(Listening { listener, token, uid: owner.uid() })
    }
}

//! The credential of the HTTP ports: a random token in the data directory.
//!
//! Whoever can read the file may call; the command line on the same machine does. To have one
//! token for a whole cluster, the same file is laid into each data directory before the start.

use std::{
    fs::OpenOptions,
    io::{Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::secret::{Secret, demand_private};

/// The file in the data directory.
const FILE: &str = "http-token";
/// Random bytes in a new token.
const SECRET_BYTES: usize = 32;
/// Lengths of a token that an operator may choose, in characters.
const CHARACTERS: std::ops::RangeInclusive<usize> = 16..=256;

/// The token of a node.
#[derive(Clone)]
pub(super) struct Token(Secret);

impl Token {
    /// Reads the token; makes one when there is none.
    pub(super) fn load_or_create(data_dir: &Path) -> Result<Self> {
        let path = data_dir.join(FILE);
        match OpenOptions::new().read(true).open(&path) {
            Ok(file) => {
                let advice = "remove it if it was read, so that a new token is made";
                demand_private(&file, &path, advice)?;
                let limit = u64::try_from(*CHARACTERS.end()).unwrap_or(u64::MAX) + 2;
                let mut text = String::new();
                file.take(limit)
                    .read_to_string(&mut text)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                Self::new(text.trim()).with_context(|| path.display().to_string())
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => create(&path),
            Err(error) => Err(error).with_context(|| format!("cannot open {}", path.display())),
        }
    }

    fn new(text: &str) -> Result<Self> {
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        if !plain || !CHARACTERS.contains(&text.len()) {
            bail!(
                "a token has {} to {} visible ASCII characters without blanks",
                CHARACTERS.start(),
                CHARACTERS.end()
            );
        }
        Ok(Self(Secret::new(text.as_bytes())?))
    }

    /// Whether this is the token.
    pub(super) fn verify(&self, presented: &[u8]) -> bool {
        self.0.verify(presented)
    }
}

fn create(path: &Path) -> Result<Token> {
    let mut secret = [0; SECRET_BYTES];
    SystemRandom::new()
        .fill(&mut secret)
        .map_err(|_| anyhow::anyhow!("the system's random number generator fails"))?;
    let text: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let token = Token::new(&text)?;
    // Renamed into place when it is whole: a crash leaves no half token behind.
    let fresh = path.with_extension("new");
    let written = write(&fresh, &text).and_then(|()| std::fs::rename(&fresh, path));
    written.with_context(|| format!("cannot write {}", path.display()))?;
    tracing::info!(file = %path.display(), "a token for the HTTP ports was made");
    Ok(token)
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{text}")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_token_is_made_once_and_kept_for_its_owner() {
        let scratch = tempfile::tempdir().unwrap();
        let first = Token::load_or_create(scratch.path()).unwrap();
        let path = scratch.path().join(FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.trim().len(), 2 * SECRET_BYTES);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let second = Token::load_or_create(scratch.path()).unwrap();
        for token in [&first, &second] {
            assert!(token.verify(text.trim().as_bytes()));
            assert!(!token.verify(b""));
            assert!(!token.verify(&text.as_bytes()[1..64]));
        }
    }

    #[test]
    fn tokens_of_two_directories_differ() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        Token::load_or_create(one.path()).unwrap();
        let text = std::fs::read_to_string(one.path().join(FILE)).unwrap();
        assert!(!Token::load_or_create(other.path()).unwrap().verify(text.trim().as_bytes()));
    }

    #[test]
    fn a_token_that_others_can_read_or_guess_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join(FILE);
        Token::load_or_create(scratch.path()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = Token::load_or_create(scratch.path()).err().unwrap();
        assert!(error.to_string().contains("chmod 600"), "{error:#}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        for text in ["", "short", "has a blank in the middle", &"x".repeat(257)] {
            std::fs::write(&path, text).unwrap();
            assert!(Token::load_or_create(scratch.path()).is_err(), "{text:?}");
        }
    }
}

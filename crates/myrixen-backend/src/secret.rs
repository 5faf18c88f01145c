//! What only this host knows: the key of its tickets, kept in the state directory so that the next back
//! end honours what this one gave out.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use hmac::{Hmac, Mac};
use sha2::Sha256;
use thiserror::Error;

/// The state directory's file.
const FILE: &str = "secret";

/// Why the host's secret is not to be had.
#[derive(Debug, Error)]
#[error("cannot keep the host's secret in {path}; `host.state_dir` names the directory")]
pub struct SecretError {
    path: PathBuf,
    source: io::Error,
}

/// The host's key. Never printed.
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    /// A fresh one. Tickets of a back end that keeps it in memory only die with it.
    ///
    /// # Errors
    /// The kernel has no random bytes to give.
    pub fn random() -> io::Result<Self> {
        let mut key = [0; 32];
        random_bytes(&mut key)?;
        Ok(Self(key))
    }

    /// This key: for tests and for embedding.
    #[must_use]
    pub const fn from_bytes(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// Whether a back end has kept its secret there: then its guests may be about to come back.
    #[must_use]
    pub fn is_kept(state_dir: &Path) -> bool {
        state_dir.join(FILE).exists()
    }

    /// Reads the secret from the state directory, making both when they are not there. The file belongs
    /// to who runs the back end and is readable by nobody else.
    ///
    /// # Errors
    /// The directory or the file cannot be made, read, or holds something else.
    pub fn load_or_create(state_dir: &Path) -> Result<Self, SecretError> {
        let path = state_dir.join(FILE);
        let named = |source| SecretError {
            path: path.clone(),
            source,
        };
        match fs::read(&path) {
            Ok(bytes) => {
                let key = <[u8; 32]>::try_from(bytes).map_err(|bytes| {
                    let text = format!("it holds {} bytes instead of 32", bytes.len());
                    named(io::Error::new(io::ErrorKind::InvalidData, text))
                })?;
                Ok(Self(key))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let secret = Self::random().map_err(named)?;
                secret.save(state_dir, &path).map_err(named)?;
                // Whoever came first wins: read what is there now.
                fs::read(&path)
                    .ok()
                    .and_then(|b| b.try_into().ok())
                    .map(Self)
                    .ok_or_else(|| named(io::ErrorKind::InvalidData.into()))
            }
            Err(e) => Err(named(e)),
        }
    }

    /// Written whole under another name, then linked: a crash leaves all of it or nothing.
    fn save(&self, state_dir: &Path, path: &Path) -> io::Result<()> {
        fs::create_dir_all(state_dir)?;
        let draft = state_dir.join(format!("{FILE}.{}", std::process::id()));
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(&self.0)?;
        file.sync_all()?;
        let linked = fs::hard_link(&draft, path);
        fs::remove_file(&draft)?;
        match linked {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
            _ => Ok(()),
        }
    }

    /// HMAC-SHA-256 over what the parts write.
    pub(crate) fn mac(&self, purpose: &[u8], parts: &[&[u8]]) -> Keyed {
        keyed(&self.0, purpose, parts)
    }
}

/// An HMAC under construction: finished, or compared in constant time.
pub(crate) type Keyed = Hmac<Sha256>;

/// HMAC-SHA-256 of `parts`, each preceded by its length so that no two lists look alike.
pub(crate) fn keyed(key: &[u8], purpose: &[u8], parts: &[&[u8]]) -> Keyed {
    let Ok(mut mac) = Keyed::new_from_slice(key) else {
        unreachable!("HMAC takes keys of any length")
    };
    for part in std::iter::once(&purpose).chain(parts) {
        mac.update(&(part.len() as u64).to_le_bytes());
        mac.update(part);
    }
    mac
}

/// Fills `out` from the kernel.
///
/// # Errors
/// The kernel has none to give, which happens only on systems without `getrandom`.
pub fn random_bytes(out: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < out.len() {
        let got =
            rustix::rand::getrandom(&mut out[filled..], rustix::rand::GetRandomFlags::empty());
        match got {
            Ok(n) => filled += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_next_back_end_finds_the_same_secret() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let first = Secret::load_or_create(&state).unwrap();
        let second = Secret::load_or_create(&state).unwrap();
        assert_eq!(first.0, second.0);
        assert_eq!(
            fs::metadata(state.join(FILE)).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            fs::read_dir(&state).unwrap().count(),
            1,
            "the draft is gone"
        );
    }

    #[test]
    fn a_damaged_secret_is_named_and_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), b"short").unwrap();
        let error = Secret::load_or_create(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("secret") && error.contains("state_dir"),
            "{error}"
        );
        assert_eq!(fs::read(dir.path().join(FILE)).unwrap(), b"short");
    }
}

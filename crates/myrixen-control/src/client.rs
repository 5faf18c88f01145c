//! A blocking client for the operator's socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use crate::message::{MAX_REPLY, Reply, Request, decode, encode};

/// Why the daemon could not be asked.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens at the socket, or this user may not connect to it.
    #[error(
        "cannot reach a daemon at {path}; is `myrixend` running, and is this its `control` socket?"
    )]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The connection broke, or the daemon took too long.
    #[error("the daemon at {path} did not answer")]
    NoAnswer {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The answer could not be understood.
    #[error("the daemon at {path} gave an answer that this version does not understand")]
    Unintelligible {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

/// A connection to a daemon. Requests are answered in order, one at a time.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Where the daemon's operator socket is unless configured otherwise.
    pub const DEFAULT_PATH: &str = "/run/myrixen/control.sock";

    /// Connects to the daemon's operator socket. A reply that takes longer than 10 s is an error.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`].
    pub fn connect(path: impl AsRef<Path>) -> Result<Self, ClientError> {
        let path = path.as_ref().to_path_buf();
        let open = || -> io::Result<UnixStream> {
            let stream = UnixStream::connect(&path)?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            stream.set_write_timeout(Some(Duration::from_secs(10)))?;
            Ok(stream)
        };
        match open() {
            Ok(stream) => Ok(Self {
                path,
                stream: BufReader::new(stream),
            }),
            Err(source) => Err(ClientError::Unreachable { path, source }),
        }
    }

    /// Asks, and waits for the reply.
    ///
    /// # Errors
    /// [`ClientError::NoAnswer`] when the connection broke; then it is of no further use.
    /// [`ClientError::Unintelligible`] when the reply is of another version.
    pub fn ask(&mut self, request: &Request) -> Result<Reply, ClientError> {
        let line = self
            .exchange(request)
            .map_err(|source| ClientError::NoAnswer {
                path: self.path.clone(),
                source,
            })?;
        decode(&line).map_err(|source| ClientError::Unintelligible {
            path: self.path.clone(),
            source,
        })
    }

    fn exchange(&mut self, request: &Request) -> io::Result<String> {
        let line = encode(request)?;
        self.stream.get_mut().write_all(line.as_bytes())?;
        let mut reply = String::new();
        let limit = MAX_REPLY as u64;
        (&mut self.stream).take(limit).read_line(&mut reply)?;
        if !reply.ends_with('\n') {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the connection ended in the middle of a reply",
            ));
        }
        Ok(reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// A daemon that answers one connection with these bytes, whatever is asked.
    fn daemon(answer: &'static str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream);
            let mut line = String::new();
            lines.read_line(&mut line).unwrap();
            lines.get_mut().write_all(answer.as_bytes()).unwrap();
        });
        (dir, path)
    }

    #[test]
    fn a_request_is_answered() {
        let (_dir, path) = daemon("{\"reply\":\"done\"}\n");
        let mut client = Client::connect(&path).unwrap();
        assert_eq!(client.ask(&Request::Drain).unwrap(), Reply::Done);
    }

    #[test]
    fn a_reply_that_breaks_off_is_no_answer() {
        let (_dir, path) = daemon("{\"reply\":");
        let mut client = Client::connect(&path).unwrap();
        let error = client.ask(&Request::Drain).unwrap_err();
        assert!(matches!(error, ClientError::NoAnswer { .. }), "{error}");
    }

    #[test]
    fn an_absent_daemon_is_named_with_what_helps() {
        let dir = tempfile::tempdir().unwrap();
        let error = Client::connect(dir.path().join("no.sock"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("no.sock") && error.contains("myrixend"),
            "{error}"
        );
    }
}

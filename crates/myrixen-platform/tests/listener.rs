//! The listening socket: names, permissions, stale files, and what a guest is told when nobody answers.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::{fs, io};

use myrixen_platform::Heard;
use myrixen_platform::process::{AttachError, Attachment, Handshake, HelloOptions, Listener};

fn attach_error(path: &Path) -> AttachError {
    Handshake::start(path, HelloOptions::default()).expect_err("nobody is there")
}

#[test]
fn the_socket_has_the_mode_asked_for_and_goes_with_its_listener() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let listener = Listener::bind(&path, 0o660).unwrap();
    let found = fs::symlink_metadata(&path).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o660);
    drop(listener);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_stale_socket_is_replaced_a_live_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    // Binding and closing leaves the file, as a killed back end does.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let listener = Listener::bind(&path, 0o600).unwrap();
    let err = Listener::bind(&path, 0o600).unwrap_err();
    assert_eq!(err.kind(), io::ErrorKind::AddrInUse);
    assert!(err.to_string().contains(path.to_str().unwrap()), "{err}");
    let handshake = Handshake::start(&path, HelloOptions::default()).unwrap();
    // The second attempt's probe came first, and left.
    let mut heard = Vec::new();
    while let Some(mut link) = listener.accept_link().unwrap() {
        heard.extend(myrixen_platform::GuestLink::hear(&mut link).unwrap());
    }
    assert!(
        matches!(heard.as_slice(), [Heard::Left, Heard::Hello(_)]),
        "{heard:?}"
    );
    drop(handshake);
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        1,
        "nothing is left aside"
    );
}

#[test]
fn sockets_of_other_kinds_and_files_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (file, stream) = (dir.path().join("file"), dir.path().join("stream"));
    fs::write(&file, "precious").unwrap();
    let _other = UnixListener::bind(&stream).unwrap();
    for path in [&file, &stream] {
        let err = Listener::bind(path, 0o600).unwrap_err();
        assert_eq!(err.kind(), io::ErrorKind::AddrInUse, "{err}");
        assert!(path.exists());
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
}

#[test]
fn a_listener_does_not_remove_its_successors_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let first = Listener::bind(&path, 0o600).unwrap();
    fs::remove_file(&path).unwrap();
    let _second = Listener::bind(&path, 0o600).unwrap();
    drop(first);
    assert!(path.exists());
}

#[test]
fn an_abstract_name_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    // Any unique text will do.
    let name = format!("@{}", dir.path().join("abstract").display());
    let listener = Listener::bind(&name, 0).unwrap();
    let _handshake = Handshake::start(&name, HelloOptions::default()).unwrap();
    assert!(listener.accept_link().unwrap().is_some());
    assert!(listener.accept_link().unwrap().is_none());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_socket_that_listens_already_can_be_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stream");
    let stream = UnixListener::bind(&path).unwrap();
    let err = Listener::from_fd(stream.into()).unwrap_err();
    assert_eq!(err.kind(), io::ErrorKind::InvalidInput);

    let path = dir.path().join("seqpacket");
    let fd = rustix::net::socket(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::SEQPACKET,
        None,
    )
    .unwrap();
    rustix::net::bind(&fd, &rustix::net::SocketAddrUnix::new(&path).unwrap()).unwrap();
    rustix::net::listen(&fd, 8).unwrap();
    let listener = Listener::from_fd(fd).unwrap();
    assert!(
        listener.accept_link().unwrap().is_none(),
        "it does not block"
    );
    let _handshake = Handshake::start(&path, HelloOptions::default()).unwrap();
    assert!(listener.accept_link().unwrap().is_some());
    drop(listener);
    assert!(path.exists(), "its name belongs to who made it");
}

#[test]
fn a_guest_without_a_back_end_is_told_what_helps() {
    let dir = tempfile::tempdir().unwrap();
    let missing = attach_error(&dir.path().join("missing"));
    assert!(matches!(missing, AttachError::NoSocket { .. }) && missing.is_transient());

    let path = dir.path().join("dead");
    drop(UnixListener::bind(&path).unwrap());
    let dead = attach_error(&path);
    assert!(matches!(dead, AttachError::NotRunning { .. }) && dead.is_transient());

    for err in [missing, dead] {
        let text = err.to_string();
        assert!(
            text.contains(dir.path().to_str().unwrap()),
            "names the socket: {text}"
        );
        assert!(
            text.contains("myrixend") && text.contains("MYRIXEN_SOCKET"),
            "says what helps: {text}"
        );
    }
    let long = attach_error(Path::new(&"x".repeat(200)));
    assert!(
        matches!(long, AttachError::System { .. }) && !long.is_transient(),
        "{long}"
    );
}

#[test]
fn a_back_end_that_does_not_answer_is_not_waited_for_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let _listener = Listener::bind(&path, 0o600).unwrap();
    let timeout = std::time::Duration::from_millis(1);
    let err = Attachment::connect(
        &path,
        HelloOptions {
            timeout,
            ..Default::default()
        },
    )
    .unwrap_err();
    assert!(matches!(err, AttachError::TimedOut { .. }), "{err}");
}

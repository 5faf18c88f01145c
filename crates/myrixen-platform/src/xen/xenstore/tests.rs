//! Against a xenstore that does what each test needs.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};

use proptest::prelude::*;
use zerocopy::IntoBytes;

use super::wire::{Assembler, ERROR, HEADER, Header, MAX_PAYLOAD, WATCH_EVENT};
use super::*;

/// xenstore's side of a connection.
struct Server {
    stream: UnixStream,
    /// Bytes of a reply that are sent at a time.
    piece: usize,
}

/// A request as it arrived.
struct Request {
    header: Header,
    payload: Vec<u8>,
}

impl Request {
    fn is(&self, kind: Kind) -> bool {
        self.header.kind == kind as u32
    }

    fn parts(&self) -> Vec<&str> {
        let parts = wire::parts(&self.payload);
        parts
            .map(|part| std::str::from_utf8(part).unwrap())
            .collect()
    }
}

impl Server {
    /// The next request; `None` when the client is gone.
    fn hear(&mut self) -> Option<Request> {
        let mut head = [0; HEADER];
        self.stream.read_exact(&mut head).ok()?;
        let header: Header = zerocopy::transmute!(head);
        let mut payload = vec![0; header.len.try_into().unwrap()];
        self.stream.read_exact(&mut payload).unwrap();
        Some(Request { header, payload })
    }

    fn send(&mut self, kind: u32, request: u32, payload: &[u8]) {
        let header = Header {
            kind,
            request,
            transaction: 0,
            len: payload.len().try_into().unwrap(),
        };
        let bytes = [header.as_bytes(), payload].concat();
        for piece in bytes.chunks(self.piece) {
            self.stream.write_all(piece).unwrap();
        }
    }

    fn reply(&mut self, to: &Request, payload: &[u8]) {
        self.send(to.header.kind, to.header.request, payload);
    }

    fn refuse(&mut self, to: &Request, word: &str) {
        self.send(ERROR, to.header.request, format!("{word}\0").as_bytes());
    }

    fn event(&mut self, path: &str, token: &str) {
        self.send(WATCH_EVENT, 0xdead, format!("{path}\0{token}\0").as_bytes());
    }
}

/// A connection to a server that does `what`.
fn served(what: impl FnOnce(&mut Server) + Send + 'static) -> (XenStore, JoinHandle<()>) {
    served_in_pieces(usize::MAX, what)
}

fn served_in_pieces(
    piece: usize,
    what: impl FnOnce(&mut Server) + Send + 'static,
) -> (XenStore, JoinHandle<()>) {
    let (stream, client) = UnixStream::pair().unwrap();
    let server = thread::spawn(move || what(&mut Server { stream, piece }));
    (XenStore::over(client).unwrap(), server)
}

/// A server that answers each request by what `answer` says of it: a payload, or an error's word.
fn answered(
    mut answer: impl FnMut(&Request) -> Result<Vec<u8>, &'static str> + Send + 'static,
) -> XenStore {
    let (store, _) = served(move |server| {
        while let Some(request) = server.hear() {
            match answer(&request) {
                Ok(payload) => server.reply(&request, &payload),
                Err(word) => server.refuse(&request, word),
            }
        }
    });
    store
}

#[test]
fn requests_have_the_layout_of_the_protocol() {
    let domain = DomId::new(7);
    let expected: [(Kind, &[u8], &[u8]); 9] = [
        (Kind::Read, b"a\0", b"value"),
        (Kind::Write, b"a\0v\0x", b"OK\0"),
        (Kind::Mkdir, b"a\0", b"OK\0"),
        (Kind::Rm, b"a\0", b"OK\0"),
        (Kind::Watch, b"a\0t\0", b"OK\0"),
        (Kind::Unwatch, b"a\0t\0", b"OK\0"),
        (Kind::SetPerms, b"a\0n0\0b7\0", b"OK\0"),
        (Kind::GetDomainPath, b"7\0", b"/local/domain/7\0"),
        (Kind::Read, b"domid\0", b"12"),
    ];
    let mut expected = expected.into_iter();
    let mut store = answered(move |request| {
        let (kind, payload, reply) = expected.next().unwrap();
        assert!(request.is(kind), "{:?}", request.header);
        assert_eq!(
            (&*request.payload, request.header.transaction),
            (payload, 0)
        );
        Ok(reply.to_vec())
    });
    assert_eq!(store.read("a").unwrap(), b"value");
    store.write("a", b"v\0x").unwrap();
    store.mkdir("a").unwrap();
    store.rm("a").unwrap();
    store.watch("a", "t").unwrap();
    store.unwatch("a", "t").unwrap();
    let permissions = [
        Permission::new(Rights::None, DomId::new(0)),
        Permission::new(Rights::Both, domain),
    ];
    store.set_perms("a", &permissions).unwrap();
    assert_eq!(store.get_domain_path(domain).unwrap(), "/local/domain/7");
    assert_eq!(store.domid().unwrap(), DomId::new(12));
}

#[test]
fn lists_end_each_entry_in_a_zero_byte() {
    let mut replies = [
        &b"data\0name\0"[..],
        b"",
        b"n0\0r3\0w4\0b65535\0",
        b"x3\0",
        b"r-3\0",
    ]
    .into_iter();
    let mut store = answered(move |_| Ok(replies.next().unwrap().to_vec()));
    assert_eq!(store.directory("/").unwrap(), ["data", "name"]);
    assert!(store.directory("/data").unwrap().is_empty());
    let shown: Vec<_> = store
        .get_perms("/")
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(shown, ["n0", "r3", "w4", "b65535"]);
    assert!(matches!(
        store.get_perms("/"),
        Err(XenError::StoreGarbled(_))
    ));
    assert!(matches!(
        store.get_perms("/"),
        Err(XenError::StoreGarbled(_))
    ));
}

#[test]
fn a_reply_in_pieces_with_events_before_and_between_is_put_together() {
    let (mut store, server) = served_in_pieces(3, |server| {
        for _ in 0..2 {
            let request = server.hear().unwrap();
            server.event("data/x", "token");
            server.event("data/y", "token");
            server.event("data/x", "token");
            server.reply(&request, b"value");
        }
        server.event("data/z", "token");
    });
    assert_eq!(store.read("a").unwrap(), b"value");
    assert_eq!(store.read("a").unwrap(), b"value");
    server.join().unwrap();
    let mut paths = Vec::new();
    while let Ok(Some(WatchEvent { path, token })) = store.next_event() {
        assert_eq!(token, "token");
        paths.push(path);
    }
    // Equal events that wait are one.
    assert_eq!(paths, ["data/x", "data/y", "data/z"]);
    assert!(
        matches!(store.next_event(), Err(XenError::StoreGone)),
        "the server has closed"
    );
}

#[test]
fn no_event_is_no_reason_to_wait() {
    let (stream, client) = UnixStream::pair().unwrap();
    let mut store = XenStore::over(client).unwrap();
    let mut server = Server {
        stream,
        piece: usize::MAX,
    };
    assert_eq!(store.next_event().unwrap(), None);
    // A piece of one: nothing to take yet, and nothing lost.
    let event = [
        Header {
            kind: WATCH_EVENT,
            request: 0,
            transaction: 0,
            len: 4,
        }
        .as_bytes(),
        b"a\0t\0",
    ]
    .concat();
    server.stream.write_all(&event[..17]).unwrap();
    assert_eq!(store.next_event().unwrap(), None);
    server.stream.write_all(&event[17..]).unwrap();
    assert_eq!(store.next_event().unwrap().unwrap().path, "a");
    assert_eq!(store.next_event().unwrap(), None);
}

#[test]
fn an_event_is_waited_for() {
    let (mut store, server) = served(|server| {
        let request = server.hear().unwrap();
        server.event("data/x", "t");
        server.reply(&request, b"OK\0");
        server.hear();
    });
    store.watch("data/x", "t").unwrap();
    let event = store.wait_event(None).unwrap().unwrap();
    assert_eq!(event.path, "data/x");
    assert_eq!(
        store.wait_event(Some(Duration::from_millis(1))).unwrap(),
        None
    );
    drop(store);
    server.join().unwrap();
}

#[test]
fn more_events_than_are_kept_are_reported_once() {
    let (mut store, server) = served(|server| {
        let request = server.hear().unwrap();
        for number in 0..MAX_EVENTS + 3 {
            server.event(&format!("data/{number}"), "t");
        }
        server.reply(&request, b"");
        let request = server.hear().unwrap();
        server.reply(&request, b"");
    });
    store.read("a").unwrap();
    assert!(matches!(
        store.next_event(),
        Err(XenError::EventsLost { kept: MAX_EVENTS })
    ));
    for number in 0..MAX_EVENTS {
        assert_eq!(
            store.next_event().unwrap().unwrap().path,
            format!("data/{number}")
        );
    }
    assert_eq!(store.next_event().unwrap(), None);
    store.read("a").unwrap();
    server.join().unwrap();
}

#[test]
fn refusals_are_typed_and_name_the_quota() {
    let words = [
        "ENOENT", "EACCES", "EQUOTA", "ENOSPC", "ENOSPC", "E2BIG", "ENOSPC", "ESTRANGE", "EEXIST",
    ];
    let mut words = words.into_iter();
    let mut store = answered(move |_| Err(words.next().unwrap()));
    assert!(store.read("a").unwrap_err().is_not_found());
    let reason = |result: Result<(), XenError>| match result {
        Err(XenError::Store { reason, path, .. }) if path == "a" => reason,
        other => panic!("{other:?}"),
    };
    let quota = |result: Result<(), XenError>| match result {
        Err(XenError::StoreQuota { quota, .. }) => quota,
        other => panic!("{other:?}"),
    };
    assert_eq!(reason(store.write("a", b"")), StoreReason::Denied);
    assert_eq!(quota(store.write("a", b"")), StoreQuota::Entries);
    assert_eq!(quota(store.mkdir("a")), StoreQuota::Entries);
    assert_eq!(quota(store.set_perms("a", &[])), StoreQuota::Permissions);
    assert_eq!(quota(store.watch("a", "t")), StoreQuota::Watches);
    assert_eq!(
        quota(store.transaction(|_| Ok(()))),
        StoreQuota::Transactions
    );
    assert_eq!(reason(store.rm("a")), StoreReason::Other);
    assert_eq!(reason(store.watch("a", "t")), StoreReason::Exists);
}

#[test]
fn what_does_not_fit_or_is_no_path_is_not_sent() {
    let mut store = answered(|_| Ok(b"OK\0".to_vec()));
    let fits = vec![b'x'; MAX_REQUEST - 2];
    store.write("a", &fits).unwrap();
    let long = vec![b'x'; MAX_REQUEST - 1];
    let error = store.write("a", &long).unwrap_err();
    assert!(
        matches!(
            error,
            XenError::StoreTooLong {
                bytes: 4081,
                max: 4080
            }
        ),
        "{error:?}"
    );
    assert!(matches!(store.read("a\0b"), Err(XenError::StorePath(_))));
    store.write("a", b"still fine").unwrap();
}

/// A server that sends these bytes for the first request, and what the client makes of them.
fn garbled(bytes: impl FnOnce(&Request) -> Vec<u8> + Send + 'static) -> XenError {
    let (mut store, server) = served(|server| {
        let request = server.hear().unwrap();
        server.stream.write_all(&bytes(&request)).unwrap();
    });
    let error = store.read("a").unwrap_err();
    assert!(
        matches!(store.read("a"), Err(XenError::StoreGone)),
        "it stays broken"
    );
    server.join().unwrap();
    error
}

fn head(kind: u32, request: u32, len: u32) -> Vec<u8> {
    let transaction = 0;
    Header {
        kind,
        request,
        transaction,
        len,
    }
    .as_bytes()
    .to_vec()
}

#[test]
fn what_is_not_the_protocol_breaks_the_connection() {
    let read = Kind::Read as u32;
    let long = garbled(move |request| head(read, request.header.request, 4097));
    assert!(matches!(long, XenError::StoreGarbled(_)), "{long:?}");
    let longest = garbled(move |request| head(read, request.header.request, u32::MAX));
    assert!(matches!(longest, XenError::StoreGarbled(_)), "{longest:?}");
    let other = garbled(move |request| head(read, request.header.request + 1, 0));
    assert!(matches!(other, XenError::StoreGarbled(_)), "{other:?}");
    let kind = garbled(|request| head(Kind::Rm as u32, request.header.request, 0));
    assert!(matches!(kind, XenError::StoreGarbled(_)), "{kind:?}");
    let event = garbled(|_| [head(WATCH_EVENT, 0, 1), b"a".to_vec()].concat());
    assert!(matches!(event, XenError::StoreGarbled(_)), "{event:?}");
    let cut = garbled(move |request| head(read, request.header.request, 4096));
    assert!(matches!(cut, XenError::StoreGone), "{cut:?}");
}

#[test]
fn the_longest_reply_is_taken() {
    let mut store = answered(|_| Ok(vec![b'x'; MAX_PAYLOAD]));
    assert_eq!(store.read("a").unwrap().len(), MAX_PAYLOAD);
}

/// A tree with transactions, of which the first few conflict.
fn transactional(mut conflicts: u32) -> XenStore {
    let mut tree = BTreeMap::from([("count".to_owned(), b"5".to_vec())]);
    let mut pending = None;
    let mut last = 0u32;
    answered(move |request| {
        let id = request.header.transaction;
        if request.is(Kind::TransactionStart) {
            assert_eq!(request.payload, b"\0");
            last += 1;
            pending = Some((last, tree.clone()));
            return Ok(format!("{last}\0").into_bytes());
        }
        if request.is(Kind::TransactionEnd) {
            let (number, changed) = pending.take().unwrap();
            assert_eq!(number, id);
            if request.payload == b"F\0" {
                return Ok(b"OK\0".to_vec());
            }
            assert_eq!(request.payload, b"T\0");
            if conflicts > 0 {
                conflicts -= 1;
                tree.insert("count".to_owned(), b"6".to_vec());
                return Err("EAGAIN");
            }
            tree = changed;
            return Ok(b"OK\0".to_vec());
        }
        let tree = match &mut pending {
            Some((number, changed)) if *number == id => changed,
            _ => &mut tree,
        };
        let parts = request.parts();
        if request.is(Kind::Write) {
            tree.insert(parts[0].to_owned(), parts[1].as_bytes().to_vec());
            return Ok(b"OK\0".to_vec());
        }
        tree.get(parts[0]).cloned().ok_or("ENOENT")
    })
}

fn add_one(transaction: &mut Transaction<'_>) -> Result<u32, XenError> {
    let count = wire::number(&transaction.read("count")?).unwrap() + 1;
    transaction.write("count", count.to_string().as_bytes())?;
    Ok(count)
}

#[test]
fn a_transaction_that_conflicts_runs_again() {
    let mut store = transactional(2);
    assert_eq!(store.transaction(add_one).unwrap(), 7);
    assert_eq!(store.read("count").unwrap(), b"7");
}

#[test]
fn a_transaction_that_always_conflicts_ends() {
    let mut store = transactional(u32::MAX);
    let error = store.transaction(add_one).unwrap_err();
    assert!(
        matches!(error, XenError::StoreConflict { attempts: ATTEMPTS }),
        "{error:?}"
    );
}

#[test]
fn a_transaction_that_fails_changes_nothing() {
    let mut store = transactional(0);
    let error = store.transaction(|transaction| {
        add_one(transaction)?;
        transaction.read("nothing")
    });
    assert!(error.unwrap_err().is_not_found());
    assert_eq!(store.read("count").unwrap(), b"5");
}

proptest! {
    /// Whatever arrives, in whatever pieces: no panic, and never more than one message is held.
    #[test]
    fn the_parser_takes_any_bytes(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..40),
        short in any::<bool>(),
    ) {
        let mut assembler = Assembler::default();
        let mut held = 0;
        for mut piece in pieces {
            // Else hardly any length would be within bounds.
            if short && piece.len() >= HEADER {
                piece[14..HEADER].fill(0);
            }
            let mut rest = &piece[..];
            while !rest.is_empty() {
                let Ok(missing) = assembler.missing() else { return Ok(()) };
                prop_assert!(missing > 0 && held + missing <= HEADER + MAX_PAYLOAD);
                let (now, later) = rest.split_at(missing.min(rest.len()));
                assembler.add(now);
                held += now.len();
                rest = later;
                match assembler.take() {
                    Ok(Some(message)) => {
                        prop_assert_eq!(message.payload.len() + HEADER, held);
                        held = 0;
                    }
                    Ok(None) => {}
                    Err(_) => return Ok(()),
                }
            }
        }
    }

    #[test]
    fn a_request_is_parsed_as_it_was_made(
        request in any::<u32>(),
        id in any::<u32>(),
        payload in prop::collection::vec(any::<u8>(), 0..MAX_REQUEST),
    ) {
        let bytes = wire::request(Kind::Write, request, TxId::new(id), &payload).unwrap();
        let mut assembler = Assembler::default();
        assembler.add(&bytes);
        let message = assembler.take().unwrap().unwrap();
        let header = Header { kind: 11, request, transaction: id, len: payload.len().try_into().unwrap() };
        prop_assert_eq!(message.header, header);
        prop_assert_eq!(message.payload, payload);
    }

    /// A server that sends anything, and closes: every method returns.
    #[test]
    fn any_bytes_of_a_server_end_in_an_answer(
        messages in prop::collection::vec(
            (0u32..20, 0u32..3, prop::collection::vec(any::<u8>(), 0..30), -1i32..2), 0..8),
    ) {
        let (mut stream, client) = UnixStream::pair().unwrap();
        for (kind, request, payload, off) in messages {
            let len = i32::try_from(payload.len()).unwrap() + off;
            stream.write_all(&head(kind, request, len.cast_unsigned())).unwrap();
            stream.write_all(&payload).unwrap();
        }
        stream.shutdown(Shutdown::Write).unwrap();
        let mut store = XenStore::over(client).unwrap();
        let _ = store.directory("a");
        let _ = store.get_perms("a");
        let _ = store.transaction(|transaction| transaction.read("a"));
        while let Ok(Some(_)) = store.next_event() {}
    }

    #[test]
    fn a_permission_is_parsed_as_it_is_shown(domain in any::<u16>(), letter in 0usize..4) {
        let rights = [Rights::None, Rights::Read, Rights::Write, Rights::Both][letter];
        let permission = Permission::new(rights, DomId::new(domain));
        prop_assert_eq!(Permission::from_wire(permission.to_string().as_bytes()), Some(permission));
    }
}

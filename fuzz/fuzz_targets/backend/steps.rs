//! What a guest that keeps no rules does.

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use mxoe::addr::Address;
use myrixen_platform::message::{ChannelId, Mac, Name, PortAddress, Query, Request};

/// Steps of one run that are looked at.
pub(crate) const MOST_STEPS: usize = 200;

/// One thing that a guest does; words and places are taken modulo what there is.
#[derive(Arbitrary, Debug)]
pub(crate) enum Step {
    /// Writes anywhere into the pages of its port.
    Scribble {
        at: u32,
        bytes: [u8; 16],
    },
    /// Writes the header of a record of a port's ring.
    Header {
        line: u16,
        kind: u8,
        len: u32,
        hint: u8,
    },
    /// Changes a control word of its port by a little, or to anything.
    Word {
        word: u8,
        by: i8,
    },
    Replace {
        word: u8,
        value: u32,
    },
    /// Sends what may be a frame, by the rules of the ring.
    Frame {
        kind: u8,
        to: u8,
        from: u8,
        endpoint: u8,
        long: u16,
        bytes: Vec<u8>,
    },
    /// Takes in some of what came.
    Consume {
        most: u8,
    },
    /// Rings the bell of its port.
    Ring,
    /// The back end's worker does its work, so many times.
    Turn {
        times: u8,
    },
    /// The others send and receive.
    Talk,
    /// Asks by the rules of the control ring.
    Ask {
        what: Asking,
        handed: u8,
    },
    /// Puts any record into the control ring.
    Say {
        kind: u8,
        bytes: Vec<u8>,
    },
    /// The same under the header of a message.
    Message {
        kind: u16,
        flags: u16,
        bytes: Vec<u8>,
    },
    /// Writes anywhere into the control ring.
    Scrawl {
        at: u32,
        bytes: [u8; 16],
    },
    /// Changes a control word of the control ring.
    Twist {
        word: u8,
        by: i8,
    },
    /// Rings the bell of the control ring.
    Call,
    /// Another one knocks at the door and says this.
    Knock {
        bytes: Vec<u8>,
    },
    /// The control side has answered everything.
    Wait,
}

/// A request.
#[derive(Arbitrary, Debug)]
pub(crate) enum Asking {
    Open {
        endpoint: Option<u8>,
        forward: Size,
        backward: Size,
    },
    Close {
        endpoint: u8,
    },
    Name {
        other: bool,
    },
    Mac {
        of: u8,
    },
    List {
        from: u32,
    },
    Direct {
        endpoint: u8,
        to: u8,
        with: u8,
        forward: Size,
        backward: Size,
    },
    Undirect {
        endpoint: u8,
        to: u8,
        with: u8,
    },
    Adopt {
        endpoint: u8,
        to: u8,
        with: u8,
    },
    Unknown {
        kind: u16,
    },
}

/// The size of a ring: most often one that may be.
#[derive(Arbitrary, Debug)]
pub(crate) enum Size {
    Usual,
    Power(u8),
    Any(u32),
}

impl Size {
    fn bytes(&self) -> u32 {
        match *self {
            Self::Usual => 4096,
            Self::Power(power) => 1 << (power % 32),
            Self::Any(bytes) => bytes,
        }
    }
}

impl Asking {
    /// The request; whom it is about is one of `others`.
    pub(crate) fn request(&self, others: &[Address]) -> Request {
        let mac = |of: u8| {
            let address = others[usize::from(of) % others.len()];
            Mac::new(address.nic.octets())
        };
        let to = |to: u8, endpoint: u8| PortAddress {
            mac: mac(to),
            endpoint,
        };
        match *self {
            Self::Open {
                endpoint,
                ref forward,
                ref backward,
            } => Request::OpenPort {
                endpoint,
                forward: forward.bytes(),
                backward: backward.bytes(),
                brought: None,
            },
            Self::Close { endpoint } => Request::ClosePort { endpoint },
            Self::Name { other } => {
                let name = if other { "nobody" } else { "talker0" };
                Request::Resolve(Query::Name(Name::new(name).expect("a name")))
            }
            Self::Mac { of } => Request::Resolve(Query::Mac(mac(of))),
            Self::List { from } => Request::ListBoards { from },
            Self::Direct {
                endpoint,
                to: board,
                with,
                ref forward,
                ref backward,
            } => Request::OpenDirect {
                endpoint,
                to: to(board, with),
                forward: forward.bytes(),
                backward: backward.bytes(),
                brought: None,
            },
            Self::Undirect {
                endpoint,
                to: board,
                with,
            } => Request::CloseDirect {
                endpoint,
                to: to(board, with),
                channel: ChannelId::ANY,
            },
            Self::Adopt {
                endpoint,
                to: board,
                with,
            } => Request::AdoptDirect {
                endpoint,
                to: to(board, with),
                channel: ChannelId::ANY,
            },
            Self::Unknown { kind } => Request::Unknown { kind },
        }
    }
}

//! Captures: a link that records what passes over the link it wraps, and a reader of captures.

mod reader;

use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::time::{Duration, SystemTime};

use mxoe::addr::NicAddr;

pub use reader::{CaptureError, FrameReader, Recorded};

use crate::{Incoming, Interest, Link, LinkCounters, LinkError, LinkInfo, Outgoing, Tag};

/// Longest frame of a capture, as its header announces; longer ones are cut.
const LONGEST: usize = 65_535;
/// The magic number of a classic pcap file with nanoseconds.
const MAGIC: u32 = 0xa1b2_3c4d;
/// The link type of Ethernet.
const ETHERNET: u32 = 1;

/// A link that writes a pcap file of what passes, with nanoseconds; VLAN tags are recorded as they would be on
/// the wire, frames of a VNI as the frames inside.
///
/// The writer should have a buffer; it is flushed when the link has nothing to do. When writing fails,
/// frames go on and recording stops: [`failure`](Self::failure) says why.
#[derive(Debug)]
pub struct RecordingLink<L, W> {
    inner: L,
    tape: Tape<W>,
}

#[derive(Debug)]
struct Tape<W> {
    writer: W,
    failure: Option<io::Error>,
    scratch: Vec<u8>,
    recorded: u64,
    /// Something was written since the writer was last flushed.
    fresh: bool,
}

impl<W: Write> Tape<W> {
    fn begin(&mut self) -> io::Result<()> {
        let longest = u32::try_from(LONGEST).expect("a small number");
        let words = [MAGIC, 2 | 4 << 16, 0, 0, longest, ETHERNET];
        for word in words {
            self.writer.write_all(&word.to_le_bytes())?;
        }
        self.writer.flush()
    }

    fn record(&mut self, tag: Tag, len: usize, copy: impl FnOnce(&mut [u8])) {
        const ADDRESSES: usize = 12;
        if self.failure.is_some() {
            return;
        }
        self.scratch.clear();
        self.scratch.resize(len, 0);
        copy(&mut self.scratch);
        if let Tag::Vlan(id) = tag {
            let [high, low] = id.to_be_bytes();
            self.scratch
                .splice(ADDRESSES..ADDRESSES, [0x81, 0x00, high, low]);
        }
        match self.write() {
            Ok(()) => {
                self.recorded += 1;
                self.fresh = true;
            }
            Err(error) => self.failure = Some(error),
        }
    }

    /// Writes the frame in `scratch`.
    fn write(&mut self) -> io::Result<()> {
        // A clock before 1970, or past 2106, is a broken one; it keeps no frame from being recorded.
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let kept = self.scratch.len().min(LONGEST);
        let words = [
            u32::try_from(now.as_secs()).unwrap_or(u32::MAX),
            now.subsec_nanos(),
            number(kept),
            number(self.scratch.len()),
        ];
        for word in words {
            self.writer.write_all(&word.to_le_bytes())?;
        }
        self.writer.write_all(&self.scratch[..kept])
    }

    /// Makes what has been recorded readable by others.
    fn settle(&mut self) {
        if std::mem::take(&mut self.fresh)
            && let Err(error) = self.writer.flush()
        {
            self.failure = Some(error);
        }
    }
}

impl<L: Link, W: Write> RecordingLink<L, W> {
    /// Wraps a link and writes the beginning of a capture.
    ///
    /// # Errors
    /// What kept it from being written.
    pub fn new(inner: L, writer: W) -> io::Result<Self> {
        let mut tape = Tape {
            writer,
            failure: None,
            scratch: Vec::new(),
            recorded: 0,
            fresh: false,
        };
        tape.begin()?;
        Ok(Self { inner, tape })
    }

    /// Frames recorded so far.
    #[must_use]
    pub fn recorded(&self) -> u64 {
        self.tape.recorded
    }

    /// What made the recording stop.
    #[must_use]
    pub fn failure(&self) -> Option<&io::Error> {
        self.tape.failure.as_ref()
    }

    /// Ends the recording and gives link and writer back.
    ///
    /// # Errors
    /// What made the recording stop, then or before.
    pub fn finish(mut self) -> io::Result<(L, W)> {
        self.tape.settle();
        match self.tape.failure {
            None => Ok((self.inner, self.tape.writer)),
            Some(error) => Err(error),
        }
    }
}

impl<L: Link, W: Write + Send> Link for RecordingLink<L, W> {
    fn describe(&self) -> LinkInfo {
        self.inner.describe()
    }

    fn transmit(&mut self, frame: &Outgoing<'_>) -> Result<(), LinkError> {
        self.inner.transmit(frame)?;
        self.tape
            .record(frame.tag, frame.len(), |out| frame.write_to(out));
        Ok(())
    }

    fn flush(&mut self) -> Result<(), LinkError> {
        self.inner.flush()
    }

    fn receive(
        &mut self,
        budget: usize,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<usize, LinkError> {
        let Self { inner, tape } = self;
        let count = inner.receive(budget, &mut |incoming| {
            tape.record(incoming.tag, incoming.len, |out| {
                incoming.bytes.read(0, out)
            });
            sink(incoming);
        })?;
        if count == 0 {
            tape.settle();
        }
        Ok(count)
    }

    fn readiness(&self) -> (BorrowedFd<'_>, Interest) {
        self.inner.readiness()
    }

    fn set_addresses(&mut self, macs: &[NicAddr]) -> Result<(), LinkError> {
        self.inner.set_addresses(macs)
    }

    fn counters(&self) -> LinkCounters {
        self.inner.counters()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LinkKind, memory};

    fn frame(number: u8) -> Vec<u8> {
        vec![number; 70]
    }

    #[test]
    fn what_passes_either_way_is_recorded_and_read_again() {
        let (near, mut far) = memory::pair(9014, 10).unwrap();
        let mut near = RecordingLink::new(near, Vec::new()).unwrap();
        assert_eq!(near.describe().kind, LinkKind::Memory);
        near.transmit(&Outgoing::bytes(&frame(1), Tag::None))
            .unwrap();
        near.transmit(&Outgoing::bytes(&frame(2), Tag::Vlan(100)))
            .unwrap();
        near.flush().unwrap();
        far.transmit(&Outgoing::bytes(&frame(3), Tag::Vni(9)))
            .unwrap();
        far.flush().unwrap();
        near.receive(10, &mut |_| ()).unwrap();
        assert_eq!(
            (near.recorded(), near.receive(10, &mut |_| ()).unwrap()),
            (3, 0)
        );
        let (_, file) = near.finish().unwrap();
        let read: Vec<_> = FrameReader::new(&file[..])
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let tags = [Tag::None, Tag::Vlan(100), Tag::None];
        for ((recorded, tag), number) in read.iter().zip(tags).zip(1..) {
            assert_eq!((recorded.tag, recorded.len), (tag, 70));
            assert_eq!(recorded.bytes, frame(number));
        }
        assert_eq!(read.len(), 3);
        assert!(read[0].at <= read[2].at);
    }

    /// A disk with room for a few bytes.
    struct Small(usize);

    impl Write for Small {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self
                .0
                .checked_sub(bytes.len())
                .ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_ends_the_recording_and_not_the_traffic() {
        let (near, mut far) = memory::pair(9014, 10).unwrap();
        let mut near = RecordingLink::new(near, Small(24 + 16 + 70 + 20)).unwrap();
        for number in 0..3 {
            near.transmit(&Outgoing::bytes(&frame(number), Tag::None))
                .unwrap();
        }
        near.flush().unwrap();
        assert_eq!(far.receive(10, &mut |_| ()).unwrap(), 3);
        assert_eq!(near.recorded(), 1);
        assert_eq!(
            near.failure().map(io::Error::kind),
            Some(io::ErrorKind::StorageFull)
        );
        assert!(near.finish().is_err());
    }
}

//! Frames out of a capture: classic pcap of either byte order and resolution, and pcapng.
#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::panic
    )
)]

use std::io::{self, Chain, Cursor, Read};
use std::time::Duration;

use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::{Block, PcapNgReader};
use pcap_file::{DataLink, PcapError, TsResolution};

use crate::{ETHERNET_HEADER, Tag};

/// Bytes of the two addresses that a frame begins with; a VLAN tag (0x8100 and 2 bytes more) follows them.
const ADDRESSES: usize = 12;
/// Bytes of a VLAN tag.
const TAG: usize = 4;

/// Why a capture cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// It does not begin like one.
    #[error("neither a pcap nor a pcapng file")]
    NotACapture,
    /// It holds something else than Ethernet frames.
    #[error("a capture of link type {0}, not of Ethernet (1)")]
    NotEthernet(u32),
    /// It ends within a frame.
    #[error("the capture ends in the middle of a frame")]
    CutShort,
    /// It breaks the rules of its format.
    #[error("not a valid capture: {0}")]
    Malformed(String),
    /// It cannot be read.
    #[error("cannot read the capture")]
    Io(#[source] io::Error),
}

impl From<PcapError> for CaptureError {
    fn from(error: PcapError) -> Self {
        match error {
            PcapError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Self::CutShort
            }
            PcapError::IoError(error) => Self::Io(error),
            PcapError::IncompleteBuffer => Self::CutShort,
            other => Self::Malformed(other.to_string()),
        }
    }
}

/// A frame of a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// When it was seen, since 1970.
    pub at: Duration,
    /// As much of it as was kept, from the destination address on, a VLAN tag taken out.
    pub bytes: Vec<u8>,
    /// How long it was, without the tag.
    pub len: usize,
    /// The VLAN.
    pub tag: Tag,
}

impl Recorded {
    fn new(at: Duration, mut bytes: Vec<u8>, mut len: usize) -> Self {
        let mut tag = Tag::None;
        // Enough for the tag and the EtherType behind it.
        if bytes.len() >= ETHERNET_HEADER + TAG
            && let Some(&[0x81, 0x00, high, low]) = bytes.get(ADDRESSES..ADDRESSES + TAG)
        {
            let id = u16::from_be_bytes([high, low]) & 0xfff;
            tag = if id == 0 { Tag::None } else { Tag::Vlan(id) };
            bytes.drain(ADDRESSES..ADDRESSES + TAG);
            len = len.saturating_sub(TAG);
        }
        let len = len.max(bytes.len());
        Self {
            at,
            bytes,
            len,
            tag,
        }
    }
}

type Source<R> = Chain<Cursor<[u8; 4]>, R>;

/// Reads the frames of a capture, one after the other.
///
/// ```
/// use myrixen_link::pcap::FrameReader;
///
/// assert!(FrameReader::new(&b"something else"[..]).is_err());
/// ```
pub struct FrameReader<R: Read> {
    format: Format<R>,
    failed: bool,
}

enum Format<R: Read> {
    Classic(PcapReader<Source<R>>),
    Next(PcapNgReader<Source<R>>),
}

impl<R: Read> std::fmt::Debug for FrameReader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameReader").finish_non_exhaustive()
    }
}

impl<R: Read> FrameReader<R> {
    /// Reads the beginning of a capture.
    ///
    /// # Errors
    /// [`CaptureError::NotACapture`], [`CaptureError::NotEthernet`], or what kept it from being read.
    pub fn new(mut source: R) -> Result<Self, CaptureError> {
        let mut magic = [0; 4];
        source
            .read_exact(&mut magic)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => CaptureError::NotACapture,
                _ => CaptureError::Io(error),
            })?;
        let whole = Cursor::new(magic).chain(source);
        let format = match magic {
            [0x0a, 0x0d, 0x0d, 0x0a] => Format::Next(PcapNgReader::new(whole)?),
            [0xa1, 0xb2, 0xc3, 0xd4]
            | [0xa1, 0xb2, 0x3c, 0x4d]
            | [0xd4, 0xc3, 0xb2, 0xa1]
            | [0x4d, 0x3c, 0xb2, 0xa1] => {
                let reader = PcapReader::new(whole)?;
                demand_ethernet(reader.header().datalink)?;
                Format::Classic(reader)
            }
            _ => return Err(CaptureError::NotACapture),
        };
        Ok(Self {
            format,
            failed: false,
        })
    }

    fn read(&mut self) -> Option<Result<Recorded, CaptureError>> {
        match &mut self.format {
            Format::Classic(reader) => {
                let resolution = reader.header().ts_resolution;
                // Raw: the checked kind refuses frames that were cut when they were captured.
                let packet = match reader.next_raw_packet()? {
                    Ok(packet) => packet,
                    Err(error) => return Some(Err(error.into())),
                };
                let fraction = match resolution {
                    TsResolution::MicroSecond => Duration::from_micros(packet.ts_frac.into()),
                    TsResolution::NanoSecond => Duration::from_nanos(packet.ts_frac.into()),
                };
                let at = Duration::from_secs(packet.ts_sec.into()).saturating_add(fraction);
                let len = usize::try_from(packet.orig_len).unwrap_or(usize::MAX);
                Some(Ok(Recorded::new(at, packet.data.into_owned(), len)))
            }
            Format::Next(reader) => next_of_blocks(reader),
        }
    }
}

impl<R: Read> Iterator for FrameReader<R> {
    type Item = Result<Recorded, CaptureError>;

    /// The next frame; nothing after an error, since it is not known where the next one begins.
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.read();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}

fn demand_ethernet(kind: DataLink) -> Result<(), CaptureError> {
    match kind {
        DataLink::ETHERNET => Ok(()),
        other => Err(CaptureError::NotEthernet(other.into())),
    }
}

/// Skips blocks that hold no frame.
fn next_of_blocks<R: Read>(reader: &mut PcapNgReader<R>) -> Option<Result<Recorded, CaptureError>> {
    loop {
        let (interface, ticks, bytes, len) = match reader.next_block()? {
            Ok(Block::EnhancedPacket(packet)) => {
                let len = packet.original_len;
                // The library takes the ticks for nanoseconds, whatever they are.
                let ticks = packet.timestamp.as_nanos();
                (packet.interface_id, ticks, packet.data.into_owned(), len)
            }
            Ok(Block::SimplePacket(packet)) => {
                (0, 0, packet.data.into_owned(), packet.original_len)
            }
            Ok(_) => continue,
            Err(error) => return Some(Err(error.into())),
        };
        let place = usize::try_from(interface).unwrap_or(usize::MAX);
        let Some(interface) = reader.interfaces().get(place) else {
            return Some(Err(CaptureError::Malformed(format!(
                "no interface {interface}"
            ))));
        };
        if let Err(error) = demand_ethernet(interface.linktype) {
            return Some(Err(error));
        }
        let at = time_of(interface, ticks);
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        return Some(Ok(Recorded::new(at, bytes, len)));
    }
}

/// A time of an interface: microseconds unless it says otherwise, as a power of ten or of two.
fn time_of(interface: &InterfaceDescriptionBlock<'_>, ticks: u128) -> Duration {
    const NANOS: u128 = 1_000_000_000;
    let resolution = interface.options.iter().find_map(|option| match option {
        InterfaceDescriptionOption::IfTsResol(value) => Some(*value),
        _ => None,
    });
    let value = resolution.unwrap_or(6);
    let exponent = u32::from(value & 0x7f);
    let base: u128 = if value & 0x80 == 0 { 10 } else { 2 };
    let per_second = base.checked_pow(exponent).unwrap_or(u128::MAX);
    let nanos = ticks
        .saturating_mul(NANOS)
        .checked_div(per_second)
        .unwrap_or(0);
    let seconds = u64::try_from(nanos / NANOS).unwrap_or(u64::MAX);
    Duration::new(seconds, u32::try_from(nanos % NANOS).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A classic capture: `magic` in the order of its bytes, `word` for the others.
    fn classic(magic: [u8; 4], word: fn(u32) -> [u8; 4], frames: &[(u32, u32, &[u8])]) -> Vec<u8> {
        let mut file = magic.to_vec();
        let [low, high] = [word(2 << 16 | 4), word(4 << 16 | 2)];
        // Two half words.
        file.extend(if word(1)[3] == 1 { low } else { high });
        for value in [0, 0, 96, 1] {
            file.extend(word(value));
        }
        for &(fraction, len, bytes) in frames {
            let kept = u32::try_from(bytes.len()).unwrap();
            for value in [1000, fraction, kept, len] {
                file.extend(word(value));
            }
            file.extend(bytes);
        }
        file
    }

    fn frames(file: &[u8]) -> Vec<Recorded> {
        FrameReader::new(file)
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }

    #[test]
    fn both_byte_orders_and_resolutions_are_read_and_cut_frames_too() {
        let bytes: &[u8] = &[7; 60];
        for (magic, word, unit) in [
            (
                [0xa1, 0xb2, 0xc3, 0xd4],
                u32::to_be_bytes as fn(u32) -> [u8; 4],
                1000,
            ),
            ([0xa1, 0xb2, 0x3c, 0x4d], u32::to_be_bytes, 1),
            ([0xd4, 0xc3, 0xb2, 0xa1], u32::to_le_bytes, 1000),
            ([0x4d, 0x3c, 0xb2, 0xa1], u32::to_le_bytes, 1),
        ] {
            let read = frames(&classic(magic, word, &[(5, 60, bytes), (6, 9014, bytes)]));
            assert_eq!(read[0].at, Duration::new(1000, 5 * unit));
            assert_eq!((read[0].len, read[1].len), (60, 9014));
            assert_eq!(read[1].bytes, bytes);
            assert_eq!(read.len(), 2);
        }
    }

    #[test]
    fn a_vlan_tag_is_taken_out() {
        let mut tagged = vec![1; 12];
        tagged.extend([0x81, 0x00, 0x20, 0x64, 0x86, 0xdf]);
        tagged.extend([9; 46]);
        let file = classic(
            [0xd4, 0xc3, 0xb2, 0xa1],
            u32::to_le_bytes,
            &[(0, 64, &tagged)],
        );
        let read = frames(&file);
        assert_eq!((read[0].tag, read[0].len), (Tag::Vlan(100), 60));
        assert_eq!(read[0].bytes[12..14], [0x86, 0xdf]);
    }

    /// A pcapng file of one interface with nanoseconds.
    fn next() -> Vec<u8> {
        let block = |kind: u32, body: &[u8]| {
            let len = u32::try_from(body.len() + 12).unwrap().to_le_bytes();
            [&kind.to_le_bytes()[..], &len, body, &len].concat()
        };
        let section = [
            &0x1a2b_3c4d_u32.to_le_bytes()[..],
            &[1, 0, 0, 0],
            &[0xff; 8],
        ]
        .concat();
        // Link type 1, no snap length, if_tsresol (9) of one byte: 10^-9.
        let interface = [1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0];
        let mut packet = vec![0; 8];
        packet.extend(1_500_000_000_u32.to_le_bytes());
        packet.extend(60_u32.to_le_bytes());
        packet.extend(60_u32.to_le_bytes());
        packet.extend([7; 60]);
        [
            block(0x0a0d_0d0a, &section),
            block(1, &interface),
            block(6, &packet),
        ]
        .concat()
    }

    #[test]
    fn the_next_generation_is_read_with_its_resolution() {
        let read = frames(&next());
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].at, Duration::from_millis(1500));
        assert_eq!(read[0].bytes, [7; 60]);
    }

    #[test]
    fn what_is_not_a_capture_says_so() {
        let error = |file: &[u8]| FrameReader::new(file).unwrap_err();
        assert!(matches!(error(b""), CaptureError::NotACapture));
        assert!(matches!(
            error(b"hello world, this is no capture"),
            CaptureError::NotACapture
        ));
        let mut wifi = classic([0xd4, 0xc3, 0xb2, 0xa1], u32::to_le_bytes, &[]);
        wifi[20] = 105;
        assert!(matches!(error(&wifi), CaptureError::NotEthernet(105)));
    }

    #[test]
    fn a_capture_that_ends_early_gives_what_it_has_and_then_an_error() {
        let file = classic(
            [0xd4, 0xc3, 0xb2, 0xa1],
            u32::to_le_bytes,
            &[(0, 60, &[1; 60]), (0, 60, &[2; 60])],
        );
        let mut reader = FrameReader::new(&file[..file.len() - 1]).unwrap();
        assert!(reader.next().unwrap().is_ok());
        assert!(matches!(reader.next(), Some(Err(CaptureError::CutShort))));
        assert!(reader.next().is_none());
    }

    proptest! {
        // Each reader takes a buffer of 8 MB: a few cases do.
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn damaged_captures_are_survived(
            is_next: bool,
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        ) {
            let mut file = if is_next {
                next()
            } else {
                classic([0xd4, 0xc3, 0xb2, 0xa1], u32::to_le_bytes, &[(0, 60, &[1; 60])])
            };
            for (at, value) in changes {
                let at = at.index(file.len());
                file[at] = value;
            }
            if let Ok(reader) = FrameReader::new(&file[..]) {
                prop_assert!(reader.count() < 10);
            }
        }
    }
}

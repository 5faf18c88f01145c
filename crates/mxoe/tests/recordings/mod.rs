//! The recordings under `captures/`, read into memory.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use mxoe::frame::Dialect;
use pcap_file::pcap::PcapReader;

/// One recorded frame.
pub(crate) struct Frame {
    /// Since the epoch.
    pub(crate) at: Duration,
    /// As many of its bytes as were recorded.
    pub(crate) bytes: Vec<u8>,
    /// Its length on the wire.
    pub(crate) len: usize,
}

/// One file.
pub(crate) struct Recording {
    /// `compat/acks`
    pub(crate) name: String,
    pub(crate) dialect: Dialect,
    pub(crate) frames: Vec<Frame>,
}

impl Recording {
    pub(crate) fn heads(&self) -> impl Iterator<Item = (&[u8], usize)> {
        self.frames.iter().map(|frame| (&*frame.bytes, frame.len))
    }
}

/// All of them.
pub(crate) fn all() -> Vec<Recording> {
    let mut all = Vec::new();
    for (folder, dialect, files) in [
        ("compat", "compat", 37),
        ("native-mtu1500", "native:1500", 12),
        ("native-mtu9000", "native:9000", 4),
    ] {
        let path = root().join(folder);
        let before = all.len();
        let mut names: Vec<_> = fs::read_dir(path)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        names.sort();
        for name in names {
            let stem = Path::new(&name).file_stem().unwrap().to_str().unwrap();
            all.push(read(&format!("{folder}/{stem}"), dialect.parse().unwrap()));
        }
        assert_eq!(all.len() - before, files, "recordings in {folder}");
    }
    all
}

/// One of them.
pub(crate) fn read(name: &str, dialect: Dialect) -> Recording {
    let path = root().join(format!("{name}.pcap"));
    let mut reader = PcapReader::new(File::open(path).unwrap()).unwrap();
    let mut frames = Vec::new();
    // The reader's cooked packets refuse frames that were cut.
    while let Some(packet) = reader.next_raw_packet() {
        let packet = packet.unwrap();
        frames.push(Frame {
            at: Duration::new(packet.ts_sec.into(), packet.ts_frac * 1000),
            bytes: packet.data.to_vec(),
            len: packet.orig_len as usize,
        });
    }
    assert!(!frames.is_empty(), "{name}");
    Recording {
        name: name.to_owned(),
        dialect,
        frames,
    }
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/captures"))
}

//! Getting the plain ELF kernel out of a bzImage: Xen and xl would decompress it under emulation, for seconds a boot.

use std::path::Path;

use anyhow::{Context, bail, ensure};

use super::tools::filter;

/// Where Linux's boot protocol (2.08 and later) has what we need.
const SETUP_SECTORS: usize = 0x1f1;
const MAGIC: usize = 0x202;
const PAYLOAD: usize = 0x248;

/// Writes the kernel in the bzImage `from` to `to`.
///
/// # Errors
///
/// When it is no bzImage, or packed by a program that we do not know.
pub(crate) fn extract(from: &Path, to: &Path) -> anyhow::Result<()> {
    let image = std::fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    let packed = payload(&image).with_context(|| format!("no kernel in {}", from.display()))?;
    filter(unpacker(packed)?, packed, to)?;
    let head = std::fs::read(to).with_context(|| format!("cannot read {}", to.display()))?;
    ensure!(
        head.starts_with(b"\x7fELF"),
        "what {} holds is no ELF kernel",
        from.display()
    );
    Ok(())
}

/// The packed kernel in a bzImage.
fn payload(image: &[u8]) -> anyhow::Result<&[u8]> {
    ensure!(
        image.get(MAGIC..MAGIC + 4) == Some(b"HdrS"),
        "it is no bzImage"
    );
    let word = |at: usize| -> anyhow::Result<usize> {
        let bytes = image.get(at..at + 4).context("it is cut off")?;
        let word = bytes
            .iter()
            .rev()
            .fold(0, |word, byte| word << 8 | usize::from(*byte));
        Ok(word)
    };
    let setup = usize::from(image[SETUP_SECTORS]) + 1;
    let begin = setup * 512 + word(PAYLOAD)?;
    // The last word is the unpacked size, and not part of what was packed.
    let end = (begin + word(PAYLOAD + 4)?).saturating_sub(4);
    image.get(begin..end).context("its payload is cut off")
}

fn unpacker(packed: &[u8]) -> anyhow::Result<&'static [&'static str]> {
    Ok(match packed {
        [0xfd, b'7', b'z', b'X', b'Z', ..] => &["xz", "-dc"],
        [0x02, 0x21, 0x4c, 0x18, ..] => &["lz4", "-dc"],
        [0x1f, 0x8b, ..] => &["gzip", "-dc"],
        _ => bail!("it is packed neither by xz nor by lz4 nor by gzip"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_where_the_header_says() {
        let mut image = vec![0; 2048];
        image[SETUP_SECTORS] = 1;
        image[MAGIC..MAGIC + 4].copy_from_slice(b"HdrS");
        image[PAYLOAD] = 16;
        image[PAYLOAD + 4] = 12;
        image[1040..1052].copy_from_slice(b"\x1f\x8b......\0\0\0\0");
        let packed = payload(&image).expect("well-formed");
        assert_eq!(packed, b"\x1f\x8b......");
        assert_eq!(unpacker(packed).expect("gzip"), ["gzip", "-dc"]);
        assert!(payload(&image[..1045]).is_err());
        assert!(payload(b"MZ").is_err());
        assert!(unpacker(b"what").is_err());
    }
}

//! Finding a function of the running kernel by name, in the description of its types (BTF).
//! See the kernel's Documentation/bpf/btf.rst.

/// Where the kernel shows it.
pub(super) const KERNEL: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const FUNC: u32 = 12;
/// Bytes of what each type begins with: its name, what it is, its size or another type.
const TYPE: usize = 12;

/// The number of the function called `name`, if it is there and the description can be read.
pub(super) fn function(btf: &[u8], name: &str) -> Option<u32> {
    if btf.get(..2)? != MAGIC.to_ne_bytes() {
        return None;
    }
    let header = word(btf, 4)?;
    let part = |place: usize| {
        let (start, len) = (header + word(btf, place)?, word(btf, place + 4)?);
        btf.get(start..start.checked_add(len)?)
    };
    let (types, names) = (part(8)?, part(16)?);
    let mut at = 0;
    // Number 0 is "void", which is not there.
    for number in 1.. {
        let name_at = word(types, at)?;
        let info = u32::try_from(word(types, at + 4)?).ok()?;
        let kind = info >> 24 & 0x1f;
        if kind == FUNC && is_called(names, name_at, name) {
            return Some(number);
        }
        let members = usize::try_from(info & 0xffff).ok()?;
        at += TYPE + behind(kind, members)?;
    }
    None
}

/// Bytes that follow what a type of this kind begins with.
fn behind(kind: u32, members: usize) -> Option<usize> {
    Some(match kind {
        // Pointers, forward declarations, other names, qualifiers, functions, floating point, tags of types.
        2 | 7..=12 | 16 | 18 => 0,
        // Integers, variables, tags of declarations.
        1 | 14 | 17 => 4,
        // Arrays.
        3 => 12,
        // Structures, unions, sections, enumerations of 8 bytes.
        4 | 5 | 15 | 19 => 12 * members,
        // Enumerations, what functions take.
        6 | 13 => 8 * members,
        _ => return None,
    })
}

fn is_called(names: &[u8], at: usize, name: &str) -> bool {
    let found = names.get(at..).unwrap_or_default();
    found.strip_prefix(name.as_bytes()).and_then(<[u8]>::first) == Some(&0)
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    usize::try_from(u32::from_ne_bytes(word.try_into().ok()?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A description of types given as (name, kind, members, bytes that follow).
    fn description(types: &[(&str, u32, u32, usize)]) -> Vec<u8> {
        let (mut names, mut body) = (vec![0], Vec::new());
        for (name, kind, members, follow) in types {
            let at = u32::try_from(names.len()).unwrap();
            names.extend(name.bytes().chain([0]));
            for word in [at, kind << 24 | members, 0] {
                body.extend(word.to_ne_bytes());
            }
            body.extend(vec![0xee; *follow]);
        }
        let mut btf = MAGIC.to_ne_bytes().to_vec();
        btf.extend([1, 0]);
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
        for word in [24, 0, len(&body), len(&body), len(&names)] {
            btf.extend(word.to_ne_bytes());
        }
        btf.extend(body);
        btf.extend(names);
        btf
    }

    #[test]
    fn a_function_is_found_behind_types_of_every_size() {
        let btf = description(&[
            ("int", 1, 0, 4),
            ("wanted", 4, 2, 24),
            ("array", 3, 0, 12),
            ("wanted_not", 12, 0, 0),
            ("proto", 13, 3, 24),
            ("wanted", 12, 0, 0),
        ]);
        assert_eq!(function(&btf, "wanted"), Some(6));
        assert_eq!(function(&btf, "want"), None);
    }

    #[test]
    fn what_cannot_be_read_has_no_functions() {
        let btf = description(&[("strange", 31, 0, 0), ("wanted", 12, 0, 0)]);
        assert_eq!(function(&btf, "wanted"), None);
        assert_eq!(function(&[], "wanted"), None);
        let whole = description(&[("wanted", 12, 0, 0)]);
        for len in 0..whole.len() {
            assert_eq!(function(&whole[..len], "wanted"), None);
        }
    }
}

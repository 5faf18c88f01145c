//! What atomic operations do with the elements of a memory. Elements need not be aligned.

use std::ffi::c_int;

use crate::edge::Answer;
use crate::errno::Errno;

/// `enum fi_op`.
mod op {
    pub(super) const MIN: u8 = 0;
    pub(super) const MAX: u8 = 1;
    pub(super) const SUM: u8 = 2;
    pub(super) const PROD: u8 = 3;
    pub(super) const LOR: u8 = 4;
    pub(super) const LAND: u8 = 5;
    pub(super) const BOR: u8 = 6;
    pub(super) const BAND: u8 = 7;
    pub(super) const LXOR: u8 = 8;
    pub(super) const BXOR: u8 = 9;
    pub(super) const READ: u8 = 10;
    pub(super) const WRITE: u8 = 11;
    pub(super) const CSWAP: u8 = 12;
    pub(super) const CSWAP_NE: u8 = 13;
    pub(super) const CSWAP_LE: u8 = 14;
    pub(super) const CSWAP_LT: u8 = 15;
    pub(super) const CSWAP_GE: u8 = 16;
    pub(super) const CSWAP_GT: u8 = 17;
    pub(super) const MSWAP: u8 = 18;
}

/// What an operation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// Changes elements.
    Write,
    /// The same, and gives what was there.
    Fetch,
    /// Changes them depending on what is there.
    Compare,
}

/// Whether an operation leaves the memory as it is.
pub(crate) fn only_reads(number: u8) -> bool {
    number == op::READ
}

/// Bytes of an element, if such elements are known.
pub(crate) fn size_of_type(datatype: c_int) -> Option<usize> {
    Some(match datatype {
        0 | 1 => 1,
        2 | 3 => 2,
        4 | 5 | 8 => 4,
        6 | 7 | 9 | 10 => 8,
        11 => 16,
        _ => return None,
    })
}

/// Bytes of an element, if this can be done with it.
pub(crate) fn size_of_element(datatype: c_int, number: c_int, family: Family) -> Option<usize> {
    let size = size_of_type(datatype)?;
    let number = u8::try_from(number).ok()?;
    let known = match family {
        Family::Write => number <= op::BXOR || number == op::WRITE,
        Family::Fetch => number <= op::WRITE,
        Family::Compare => (op::CSWAP..=op::MSWAP).contains(&number),
    };
    let bitwise = matches!(number, op::BOR | op::BAND | op::BXOR | op::MSWAP);
    let ordered = matches!(
        number,
        op::MIN | op::MAX | op::CSWAP_LE | op::CSWAP_LT | op::CSWAP_GE | op::CSWAP_GT
    );
    let possible = match datatype {
        0..=7 => true,
        8 | 9 => !bitwise,
        _ => !bitwise && !ordered,
    };
    (known && possible).then_some(size)
}

/// Does it with every element of `memory`; the operands are behind each other in `rest`, and behind them what to compare with, if `compares`.
///
/// # Errors
/// [`Errno::INVAL`] where lengths do not fit, [`Errno::OPNOTSUPP`] for what there is not.
pub(crate) fn apply(
    datatype: u8,
    number: u8,
    compares: bool,
    memory: &mut [u8],
    rest: &[u8],
) -> Answer {
    let family = if compares {
        Family::Compare
    } else {
        Family::Fetch
    };
    let size = size_of_element(datatype.into(), number.into(), family).ok_or(Errno::OPNOTSUPP)?;
    if only_reads(number) {
        return Ok(());
    }
    let wanted = if compares {
        memory.len() * 2
    } else {
        memory.len()
    };
    if !memory.len().is_multiple_of(size) || rest.len() != wanted {
        return Err(Errno::INVAL);
    }
    let (operands, comparands) = rest.split_at(memory.len());
    for at in (0..memory.len()).step_by(size) {
        let range = at..at + size;
        let comparand = if compares {
            &comparands[range.clone()]
        } else {
            &[]
        };
        element(
            datatype,
            number,
            &mut memory[range.clone()],
            &operands[range],
            comparand,
        );
    }
    Ok(())
}

/// Reads a number of any type; what is not there is 0.
macro_rules! number {
    ($type:ty, $bytes:expr) => {
        <$type>::from_ne_bytes($bytes.first_chunk().copied().unwrap_or_default())
    };
}

macro_rules! integer {
    ($type:ty, $op:expr, $to:expr, $with:expr, $compare:expr) => {{
        let (was, with, compare) = (
            number!($type, $to),
            number!($type, $with),
            number!($type, $compare),
        );
        let truth = <$type>::from;
        let now = match $op {
            op::MIN => was.min(with),
            op::MAX => was.max(with),
            op::SUM => was.wrapping_add(with),
            op::PROD => was.wrapping_mul(with),
            op::LOR => truth(was != 0 || with != 0),
            op::LAND => truth(was != 0 && with != 0),
            op::LXOR => truth((was != 0) != (with != 0)),
            op::BOR => was | with,
            op::BAND => was & with,
            op::BXOR => was ^ with,
            op::MSWAP => with & compare | was & !compare,
            _ => swapped($op, was, with, compare),
        };
        $to.copy_from_slice(&now.to_ne_bytes());
    }};
}

macro_rules! real {
    ($type:ty, $op:expr, $to:expr, $with:expr, $compare:expr) => {{
        let (was, with, compare) = (
            number!($type, $to),
            number!($type, $with),
            number!($type, $compare),
        );
        let truth = |holds: bool| if holds { 1.0 } else { 0.0 };
        let now = match $op {
            op::MIN => was.min(with),
            op::MAX => was.max(with),
            op::SUM => was + with,
            op::PROD => was * with,
            op::LOR => truth(was != 0.0 || with != 0.0),
            op::LAND => truth(was != 0.0 && with != 0.0),
            op::LXOR => truth((was != 0.0) != (with != 0.0)),
            _ => swapped($op, was, with, compare),
        };
        $to.copy_from_slice(&now.to_ne_bytes());
    }};
}

macro_rules! complex {
    ($type:ty, $op:expr, $to:expr, $with:expr, $compare:expr) => {{
        const HALF: usize = size_of::<$type>();
        let read = |bytes: &[u8]| {
            let imaginary = bytes.get(HALF..).unwrap_or_default();
            (number!($type, bytes), number!($type, imaginary))
        };
        let (was, with, compare) = (read($to), read($with), read($compare));
        let truth = |holds: bool| (if holds { 1.0 } else { 0.0 }, 0.0);
        let zero = (0.0, 0.0);
        let now = match $op {
            op::SUM => (was.0 + with.0, was.1 + with.1),
            op::PROD => (
                was.0 * with.0 - was.1 * with.1,
                was.0 * with.1 + was.1 * with.0,
            ),
            op::LOR => truth(was != zero || with != zero),
            op::LAND => truth(was != zero && with != zero),
            op::LXOR => truth((was != zero) != (with != zero)),
            _ => swapped($op, was, with, compare),
        };
        $to[..HALF].copy_from_slice(&now.0.to_ne_bytes());
        $to[HALF..].copy_from_slice(&now.1.to_ne_bytes());
    }};
}

/// What swaps, always or under a condition.
fn swapped<T: PartialOrd>(number: u8, was: T, with: T, compare: T) -> T {
    let swaps = match number {
        op::WRITE => true,
        op::CSWAP => compare == was,
        op::CSWAP_NE => compare != was,
        op::CSWAP_LE => compare <= was,
        op::CSWAP_LT => compare < was,
        op::CSWAP_GE => compare >= was,
        op::CSWAP_GT => compare > was,
        _ => false,
    };
    if swaps { with } else { was }
}

/// Does it with one element.
fn element(datatype: u8, number: u8, to: &mut [u8], with: &[u8], compare: &[u8]) {
    match datatype {
        0 => integer!(i8, number, to, with, compare),
        1 => integer!(u8, number, to, with, compare),
        2 => integer!(i16, number, to, with, compare),
        3 => integer!(u16, number, to, with, compare),
        4 => integer!(i32, number, to, with, compare),
        5 => integer!(u32, number, to, with, compare),
        6 => integer!(i64, number, to, with, compare),
        7 => integer!(u64, number, to, with, compare),
        8 => real!(f32, number, to, with, compare),
        9 => real!(f64, number, to, with, compare),
        10 => complex!(f32, number, to, with, compare),
        11 => complex!(f64, number, to, with, compare),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn u64s(number: u8, was: u64, with: u64, compare: Option<u64>) -> u64 {
        let mut memory = was.to_ne_bytes();
        let mut rest = with.to_ne_bytes().to_vec();
        rest.extend(compare.map(u64::to_ne_bytes).into_iter().flatten());
        apply(7, number, compare.is_some(), &mut memory, &rest).unwrap();
        u64::from_ne_bytes(memory)
    }

    #[test]
    fn each_operation_does_what_it_is_called() {
        let results = [3, 5, 8, 15, 1, 1, 7, 1, 0, 6, 3, 5];
        for (number, result) in (0..).zip(results) {
            assert_eq!(u64s(number, 3, 5, None), result, "{number}");
        }
        assert_eq!(u64s(op::LXOR, 3, 0, None), 1);
        // Compared are the comparand and what is there, in this order.
        let swaps = |number, compare| u64s(number, 4, 9, Some(compare)) == 9;
        for (number, below, same, above) in [
            (op::CSWAP, false, true, false),
            (op::CSWAP_NE, true, false, true),
            (op::CSWAP_LE, true, true, false),
            (op::CSWAP_LT, true, false, false),
            (op::CSWAP_GE, false, true, true),
            (op::CSWAP_GT, false, false, true),
        ] {
            let seen = (swaps(number, 3), swaps(number, 4), swaps(number, 5));
            assert_eq!(seen, (below, same, above), "{number}");
        }
        assert_eq!(u64s(op::MSWAP, 0b1010, 0b0101, Some(0b0011)), 0b1001);
    }

    #[test]
    fn numbers_of_every_kind_are_added() {
        let sizes = [1, 1, 2, 2, 4, 4, 8, 8, 4, 8, 8, 16];
        for (datatype, size) in (0..).zip(sizes) {
            assert_eq!(size_of_type(datatype.into()), Some(size));
            let mut memory = vec![0; size * 3];
            apply(datatype, op::SUM, false, &mut memory, &vec![0; size * 3]).unwrap();
            assert_eq!(memory, vec![0; size * 3]);
        }
        let mut memory = 1.5_f64.to_ne_bytes();
        apply(9, op::SUM, false, &mut memory, &2.0_f64.to_ne_bytes()).unwrap();
        assert!((f64::from_ne_bytes(memory) - 3.5).abs() < 1e-9);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut memory = [0; 8];
        let refused = |memory: &mut [u8], datatype, number, compares, rest: &[u8]| {
            apply(datatype, number, compares, memory, rest).unwrap_err()
        };
        assert_eq!(
            refused(&mut memory, 7, op::SUM, false, &[0; 7]),
            Errno::INVAL
        );
        assert_eq!(
            refused(&mut memory, 11, op::SUM, false, &[0; 8]),
            Errno::INVAL
        );
        assert_eq!(
            refused(&mut memory, 9, op::BOR, false, &[0; 8]),
            Errno::OPNOTSUPP
        );
        assert_eq!(
            refused(&mut memory, 12, op::SUM, false, &[0; 8]),
            Errno::OPNOTSUPP
        );
        assert_eq!(
            refused(&mut memory, 7, op::CSWAP, false, &[0; 8]),
            Errno::OPNOTSUPP
        );
        assert_eq!(
            refused(&mut memory, 7, op::SUM, true, &[0; 16]),
            Errno::OPNOTSUPP
        );
    }
}

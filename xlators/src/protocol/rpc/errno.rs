//! Error numbers on the wire: `GF_ERROR_CODE_*`, which are Linux's errnos wherever Linux has the name.

use kiln_uring::Errno;

/// `GF_ERROR_CODE_UNKNOWN`: no errno at all.
const UNKNOWN: i32 = 1024;

/// What travels for `errno`.
#[must_use]
pub fn to_wire(errno: Errno) -> i32 {
    match errno.raw_os_error() {
        number @ 1..UNKNOWN => number,
        _ => UNKNOWN,
    }
}

/// What a number from the wire means; numbers without a meaning are EIO.
#[must_use]
pub fn from_wire(number: i32) -> Errno {
    match number {
        1..UNKNOWN => Errno::from_raw_os_error(number),
        _ => Errno::IO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linux_numbers_travel_as_they_are() {
        for (errno, number) in [(Errno::NOENT, 2), (Errno::OPNOTSUPP, 95), (Errno::STALE, 116)] {
            assert_eq!(to_wire(errno), number);
            assert_eq!(from_wire(number), errno);
        }
        assert_eq!(from_wire(0), Errno::IO);
        assert_eq!(from_wire(UNKNOWN), Errno::IO);
        assert_eq!(to_wire(Errno::from_raw_os_error(4000)), UNKNOWN);
    }
}

//! Values and lists of names from the kernel, whatever their size.

use std::ffi::CStr;

use kiln_uring::sys::XattrTarget;
use kiln_uring::{Errno, Sys, SysResult};

/// Nearly every value and list fits, so that one system call does.
const FIRST: usize = 4096;

/// How often a value may grow between the question for its length and the one for itself.
const TRIES: usize = 16;

/// The value of an extended attribute.
///
/// # Errors
/// Those of `getxattr(2)`; `ERANGE` also when it keeps growing.
pub fn value(sys: &dyn Sys, target: XattrTarget<'_>, name: &CStr) -> SysResult<Vec<u8>> {
    whole(|buf| sys.getxattr(target, name, buf))
}

/// The names of all extended attributes, each ended by NUL; see [`split`].
///
/// # Errors
/// Those of `listxattr(2)`; `ERANGE` also when it keeps growing.
pub fn list(sys: &dyn Sys, target: XattrTarget<'_>) -> SysResult<Vec<u8>> {
    whole(|buf| sys.listxattr(target, buf))
}

/// The names in what [`list`] returned.
pub fn split(list: &[u8]) -> impl Iterator<Item = &CStr> {
    list.split_inclusive(|byte| *byte == 0).filter_map(|name| CStr::from_bytes_with_nul(name).ok())
}

fn whole(read: impl Fn(&mut [u8]) -> SysResult<usize>) -> SysResult<Vec<u8>> {
    let mut first = [0; FIRST];
    match read(&mut first) {
        Ok(len) => return Ok(first.get(..len).ok_or(Errno::RANGE)?.to_vec()),
        Err(Errno::RANGE) => {}
        Err(errno) => return Err(errno),
    }
    for _ in 0..TRIES {
        let len = read(&mut [])?;
        if len == 0 {
            return Ok(Vec::new());
        }
        let mut bytes = vec![0; len];
        match read(&mut bytes) {
            Ok(len) => {
                bytes.truncate(len);
                return Ok(bytes);
            }
            Err(Errno::RANGE) => {}
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::RANGE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn kernel(value: &[u8], buf: &mut [u8]) -> SysResult<usize> {
        if !buf.is_empty() {
            buf.get_mut(..value.len()).ok_or(Errno::RANGE)?.copy_from_slice(value);
        }
        Ok(value.len())
    }

    #[test]
    fn small_ones_take_one_call_and_large_ones_three() {
        for (len, calls) in [(0, 1), (1, 1), (FIRST, 1), (FIRST + 1, 3), (65_536, 3)] {
            let (value, made) = (vec![7; len], Cell::new(0));
            let read = whole(|buf| {
                made.set(made.get() + 1);
                kernel(&value, buf)
            });
            assert_eq!((read.as_deref(), made.get()), (Ok(&value[..]), calls));
        }
    }

    #[test]
    fn one_that_grows_meanwhile_is_asked_for_again() {
        let len = Cell::new(FIRST + 1);
        let grow = |by: usize| move |len: &Cell<usize>| len.set(len.get() + by);
        let read = |until: usize| {
            whole(|buf| {
                let result = kernel(&vec![1; len.get()], buf);
                if buf.is_empty() && len.get() < until {
                    grow(100)(&len);
                }
                result
            })
        };
        assert_eq!(read(FIRST + 301).map(|value| value.len()), Ok(FIRST + 301));
        assert_eq!(read(usize::MAX), Err(Errno::RANGE));
    }

    #[test]
    fn names_are_split() {
        assert_eq!(split(b"a\0user.b\0").collect::<Vec<_>>(), [c"a", c"user.b"]);
        assert_eq!(split(b"").count(), 0);
    }
}

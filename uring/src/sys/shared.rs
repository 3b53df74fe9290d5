//! Memory that outlives the process: a file mapped shared.
//!
//! What is stored there needs no system call and is in the page cache at once, so it is still there for whoever maps the
//! file after this process was killed. It is *not* there after the machine has lost power.
//!
//! Only whole 64-bit words can be stored, atomically, so that nobody sees half of one and no data race is possible.

use std::sync::atomic::AtomicU64;

use super::{Errno, RawFd, SysResult};

/// A number of words that a file holds. The file must not be cut shorter while it is mapped, and its blocks must be
/// allocated: touching words that the file system cannot store kills the process (SIGBUS).
#[derive(Debug)]
pub struct SharedWords(Memory);

#[derive(Debug)]
enum Memory {
    /// Pages of a file, from the first.
    Mapped { words: *const AtomicU64, len: usize },
    /// The stand-in of a simulated kernel.
    Simulated(Box<[AtomicU64]>),
}

// SAFETY: the pointer is to memory that lives until the value is dropped, and it is only used to lend out atomics.
unsafe impl Send for SharedWords {}
// SAFETY: as above; atomics may be used by many threads at once.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    /// Maps the first `len` words of an open file, which must be open for reading and writing and at least that long.
    ///
    /// # Errors
    /// `EINVAL` when `len` is 0 or beyond memory, and those of `mmap(2)`.
    pub(super) fn map(fd: RawFd, len: usize) -> SysResult<Self> {
        let bytes = len.checked_mul(8).filter(|bytes| *bytes > 0 && isize::try_from(*bytes).is_ok());
        let bytes = bytes.ok_or(Errno::INVAL)?;
        // SAFETY: the kernel chooses the place, so nothing that exists is mapped over. A number that is not an open file is
        // answered with EBADF.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(Errno::from_raw_os_error(
                std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO),
            ));
        }
        Ok(Self(Memory::Mapped { words: start.cast_const().cast(), len }))
    }

    /// Words of a simulated kernel, all zero.
    #[must_use]
    pub fn simulated(len: usize) -> Self {
        Self(Memory::Simulated((0..len).map(|_| AtomicU64::new(0)).collect()))
    }

    /// The words.
    #[must_use]
    pub fn words(&self) -> &[AtomicU64] {
        match &self.0 {
            // SAFETY: `map` got `len` words at a page's start, so they are aligned, and they stay mapped until `self` is
            // dropped, which the borrow outlives not. Everybody in this process reaches them as atomics only; other
            // processes may change them at any time, which is what atomics allow.
            Memory::Mapped { words, len } => unsafe { std::slice::from_raw_parts(*words, *len) },
            Memory::Simulated(words) => words,
        }
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        if let Memory::Mapped { words, len } = self.0 {
            // SAFETY: this is what `map` mapped, it is unmapped once, and no borrow of it is left.
            unsafe { libc::munmap(words.cast_mut().cast(), len * 8) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn what_is_stored_is_in_the_file() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[0; 4096]).unwrap();
        let fd = file.as_raw_fd();
        let first = SharedWords::map(fd, 512).unwrap();
        first.words()[511].store(0x0123_4567_89ab_cdef, Ordering::Release);
        let second = SharedWords::map(fd, 512).unwrap();
        assert_eq!(second.words()[511].load(Ordering::Acquire), 0x0123_4567_89ab_cdef);
        drop(first);
        assert_eq!(second.words()[511].load(Ordering::Acquire), 0x0123_4567_89ab_cdef);
        assert_eq!(second.words().len(), 512);
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(SharedWords::map(-1, 1).unwrap_err(), Errno::BADF);
        assert_eq!(SharedWords::map(0, 0).unwrap_err(), Errno::INVAL);
        assert_eq!(SharedWords::map(0, usize::MAX).unwrap_err(), Errno::INVAL);
    }
}

//! A ring by itself: what a server needs that receives and sends.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use io_uring::{IoUring, cqueue, opcode, squeue, types};

/// Which operation of which connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// A connection came.
    Accept,
    /// Bytes came on a connection.
    Receive(u32),
    /// Bytes left on a connection.
    Send(u32),
}

impl Tag {
    const fn to_u64(self) -> u64 {
        match self {
            Self::Accept => 0,
            Self::Receive(connection) => 1 | (connection as u64) << 32,
            Self::Send(connection) => 2 | (connection as u64) << 32,
        }
    }

    const fn from_u64(word: u64) -> Self {
        let connection = (word >> 32) as u32;
        match word & 0xff {
            0 => Self::Accept,
            1 => Self::Receive(connection),
            _ => Self::Send(connection),
        }
    }
}

/// Memory that the kernel reads from or writes to. It stays where it is for as long as the process lives, so that no operation
/// under way can outlive it; a bench may leak.
pub struct Memory {
    bytes: *mut u8,
    len: usize,
}

impl Memory {
    /// `len` zeros.
    pub fn new(len: usize) -> Self {
        let bytes = vec![0; len].leak();
        Self { bytes: bytes.as_mut_ptr(), len }
    }

    /// All of it. Not to be looked at where an operation is under way.
    pub fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the memory was leaked by `new`, is initialised, and belongs to this value alone, which is borrowed for as long.
        // The kernel writes only while an operation is under way on a part of it, which callers do not look at then.
        unsafe { std::slice::from_raw_parts_mut(self.bytes, self.len) }
    }

    fn part(&self, from: usize, len: usize) -> (*mut u8, u32) {
        assert!(from <= self.len && len <= self.len - from, "a part of the memory");
        (self.bytes.wrapping_add(from), len as u32)
    }
}

/// See the [module](self).
pub struct Ring {
    ring: IoUring,
}

impl Ring {
    /// With the flags that a single thread wants.
    pub fn new() -> io::Result<Self> {
        let mut builder = IoUring::builder();
        builder.setup_single_issuer().setup_defer_taskrun().setup_cqsize(16_384);
        Ok(Self { ring: builder.build(4096)? })
    }

    fn push(&mut self, entry: &squeue::Entry, tag: Tag) -> io::Result<()> {
        let entry = entry.clone().user_data(tag.to_u64());
        loop {
            // SAFETY: all entries are made below. Their memory is a part of a `Memory`, which is never freed.
            let pushed = unsafe { self.ring.submission().push(&entry) };
            if pushed.is_ok() {
                return Ok(());
            }
            self.ring.submit()?;
        }
    }

    /// Waits for a connection.
    pub fn accept(&mut self, listener: BorrowedFd<'_>) -> io::Result<()> {
        let fd = types::Fd(listener.as_raw_fd());
        self.push(&opcode::Accept::new(fd, std::ptr::null_mut(), std::ptr::null_mut()).build(), Tag::Accept)
    }

    /// Waits for bytes.
    pub fn receive(
        &mut self,
        tag: Tag,
        fd: BorrowedFd<'_>,
        to: &Memory,
        from: usize,
        len: usize,
    ) -> io::Result<()> {
        let (at, len) = to.part(from, len);
        self.push(&opcode::Recv::new(types::Fd(fd.as_raw_fd()), at, len).build(), tag)
    }

    /// Sends bytes, all of them.
    pub fn send(&mut self, tag: Tag, fd: BorrowedFd<'_>, of: &Memory, len: usize) -> io::Result<()> {
        /// `MSG_WAITALL | MSG_NOSIGNAL`
        const FLAGS: i32 = 0x100 | 0x4000;
        let (at, len) = of.part(0, len);
        let entry = opcode::Send::new(types::Fd(fd.as_raw_fd()), at, len).flags(FLAGS).build();
        self.push(&entry, tag)
    }

    /// Submits what there is, waits for something, and takes all that has ended: the operation, and what it returned.
    pub fn turn(&mut self, ended: &mut Vec<(Tag, i32)>) -> io::Result<()> {
        match self.ring.submit_and_wait(1) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        let all = self.ring.completion();
        ended.extend(all.map(|entry: cqueue::Entry| (Tag::from_u64(entry.user_data()), entry.result())));
        Ok(())
    }
}

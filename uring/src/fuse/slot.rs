//! An entry of the kernel's per-CPU queues.

use std::ptr::NonNull;
use std::sync::Arc;

use io_uring::opcode::UringCmd80;
use io_uring::squeue::Entry128;
use io_uring::types::Fd;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use super::Device;
use crate::handle::Core;
use crate::op::Request;
use crate::sys::{Errno, File, SysResult};

/// Bytes of a request's header (`struct fuse_in_header`).
pub const HEADER_LEN: usize = 40;

/// The header memory (`struct fuse_uring_req_header`): the request's and the answer's header, the fixed arguments of
/// the opcode, and what only the ring needs.
const HEADER_AREA: usize = 4096;
const FIXED_AT: usize = 128;
const FIXED_LEN: usize = 128;
const COMMIT_ID_AT: usize = 256 + 8;
const PAYLOAD_LEN_AT: usize = 256 + 16;

/// `FUSE_IO_URING_CMD_REGISTER` and `FUSE_IO_URING_CMD_COMMIT_AND_FETCH`.
const REGISTER: u32 = 1;
const COMMIT_AND_FETCH: u32 = 2;

/// Where `len` lies in a submission entry: [`UringCmd80`] cannot set it, and a registration needs it.
const SQE_LEN_AT: usize = 24;

/// Fewest bytes of payload that the kernel takes.
const PAYLOAD_MIN: usize = 8192;

/// Private pages, which take no memory before they are used: a slot must have room for the largest write, and most never
/// see one.
struct Pages {
    at: NonNull<u8>,
    len: usize,
}

// SAFETY: plain memory with one owner.
unsafe impl Send for Pages {}

impl Pages {
    fn new(len: usize) -> SysResult<Self> {
        // SAFETY: a new private mapping aliases nothing.
        let at = unsafe {
            mmap_anonymous(std::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
        }?;
        Ok(Self { at: NonNull::new(at.cast()).ok_or(Errno::NOMEM)?, len })
    }

    const fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping has `len` initialised bytes, and the kernel writes to them only while an operation owns them.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.len) }
    }

    const fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and self is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.at.as_ptr(), self.len) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours alone, and nothing refers to it any more.
        let _ = unsafe { munmap(self.at.as_ptr().cast(), self.len) };
    }
}

/// What a slot does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Register,
    Commit(u64),
}

/// One place for one request at a time, with the memory that it comes in and that its answer goes out of.
pub struct Slot {
    device: Arc<File>,
    queue: u16,
    header: Pages,
    payload: Pages,
    /// The two `struct iovec`s of a registration, as numbers.
    areas: Box<[usize; 4]>,
    next: Next,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("queue", &self.queue).field("next", &self.next).finish_non_exhaustive()
    }
}

impl Slot {
    /// A slot of the queue of CPU `queue`, for writes of up to `max_write` bytes.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn new(device: &Device, queue: u16, max_write: usize) -> SysResult<Self> {
        let header = Pages::new(HEADER_AREA)?;
        let payload = Pages::new(max_write.max(PAYLOAD_MIN).next_multiple_of(4096))?;
        let areas = [header.at.addr().get(), header.len, payload.at.addr().get(), payload.len];
        let device = Arc::clone(&device.file);
        Ok(Self { device, queue, header, payload, areas: Box::new(areas), next: Next::Register })
    }

    /// The queue.
    #[must_use]
    pub const fn queue(&self) -> u16 {
        self.queue
    }

    /// The request that has come: its header, the memory with the fixed arguments of its opcode, and the other arguments.
    #[must_use]
    pub fn request(&self) -> (&[u8], &[u8], &[u8]) {
        let header = self.header.bytes();
        let len = (self.word(PAYLOAD_LEN_AT) as usize).min(self.payload.len);
        (&header[..HEADER_LEN], &header[FIXED_AT..FIXED_AT + FIXED_LEN], &self.payload.bytes()[..len])
    }

    /// Where the body of the answer goes.
    pub const fn body(&mut self) -> &mut [u8] {
        self.payload.bytes_mut()
    }

    /// Makes the answer ready for the next exchange: `error` is 0 or a negative errno, `len` the bytes of
    /// [`Slot::body`] that belong to it.
    pub fn answer(&mut self, unique: u64, error: i32, len: usize) {
        let len = u32::try_from(len.min(self.payload.len)).expect("a payload is smaller than 4 GiB");
        let header = self.header.bytes_mut();
        // `struct fuse_out_header`.
        header[0..4].copy_from_slice(&(len + 16).to_ne_bytes());
        header[4..8].copy_from_slice(&error.to_ne_bytes());
        header[8..16].copy_from_slice(&unique.to_ne_bytes());
        header[PAYLOAD_LEN_AT..PAYLOAD_LEN_AT + 4].copy_from_slice(&len.to_ne_bytes());
    }

    fn word(&self, at: usize) -> u32 {
        let bytes = self.header.bytes()[at..at + 4].try_into().expect("four bytes");
        u32::from_ne_bytes(bytes)
    }

    /// The submission.
    pub(crate) fn entry(&self) -> Entry128 {
        let mut command = [0; 80];
        command[16..18].copy_from_slice(&self.queue.to_ne_bytes());
        let fd = Fd(self.device.fd());
        match self.next {
            Next::Register => {
                let areas = self.areas.as_ptr() as u64;
                let mut entry = UringCmd80::new(fd, REGISTER).cmd(command).addr(Some(areas)).build();
                // SAFETY: an entry is 128 plain bytes (repr(C) around the kernel's struct), and a u32 lies at this place.
                unsafe { (&raw mut entry).cast::<u8>().add(SQE_LEN_AT).cast::<u32>().write(2) };
                entry
            }
            Next::Commit(id) => {
                command[8..16].copy_from_slice(&id.to_ne_bytes());
                UringCmd80::new(fd, COMMIT_AND_FETCH).cmd(command).build()
            }
        }
    }

    /// A request has come.
    fn delivered(&mut self) {
        let id = self.header.bytes()[COMMIT_ID_AT..COMMIT_ID_AT + 8].try_into().expect("eight bytes");
        self.next = Next::Commit(u64::from_ne_bytes(id));
    }
}

impl Core {
    /// Whether this core's ring can carry [`Slot`]s.
    #[must_use]
    pub fn carries_fuse(&self) -> bool {
        self.0.driver.carries_commands()
    }

    /// Hands over the answer in the slot, if it has had a request, and waits for the next one.
    ///
    /// A dropped wait does not end by itself: the kernel keeps slot and memory until the mount, the connection or the ring
    /// is gone.
    ///
    /// # Errors
    /// `ENOTCONN` when the mount is gone; `EAGAIN` before the handshake has ended; `EINVAL` or `EOPNOTSUPP` when the kernel
    /// does not want it.
    pub async fn fuse_exchange(&self, slot: Box<Slot>) -> (SysResult<()>, Box<Slot>) {
        let (result, request) = self.submit(Request::FuseExchange { slot }).await;
        let Request::FuseExchange { mut slot } = request else {
            unreachable!("a request comes back as it went")
        };
        if result.is_ok() {
            slot.delivered();
        }
        (result.map(drop), slot)
    }
}

/// How many queues the kernel has: one for every CPU that this machine could have. All must have a slot before the
/// connection is served through any.
#[must_use]
pub fn queues() -> Option<u16> {
    let possible = std::fs::read_to_string("/sys/devices/system/cpu/possible").ok()?;
    count(&possible)
}

/// From a list of ranges like `0-3,8`: one more than the highest.
fn count(list: &str) -> Option<u16> {
    let highest = list.trim().rsplit([',', '-']).next()?.parse::<u16>().ok()?;
    highest.checked_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn possible_cpus_are_counted() {
        assert_eq!(count("0-3\n"), Some(4));
        assert_eq!(count("0"), Some(1));
        assert_eq!(count("0-3,8-15"), Some(16));
        assert_eq!(count(""), None);
        assert_eq!(count("0-65535"), None);
    }
}

//! `/dev/fuse`, without waiting.

use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};

use crate::handle::Core;
use crate::op::Request;
use crate::sys::{Errno, File, Sys, SysResult};

/// One descriptor of a connection. Requests that are read through it must be answered through it.
#[derive(Clone, Debug)]
pub struct Device {
    pub(crate) file: Arc<File>,
}

/// `FUSE_DEV_IOC_CLONE`: the argument is the descriptor of the connection to join.
type JoinConnection = rustix::ioctl::Setter<{ rustix::ioctl::opcode::read::<u32>(229, 0) }, u32>;

impl Device {
    /// Takes over the descriptor of a mount, which no other thread reads any more.
    ///
    /// # Errors
    /// Those of `fcntl(2)`.
    pub fn new(device: OwnedFd, sys: &Arc<dyn Sys>) -> SysResult<Self> {
        rustix::fs::fcntl_setfl(&device, OFlags::RDWR | OFlags::NONBLOCK)?;
        Ok(Self { file: Arc::new(File::new(Arc::clone(sys), device.into_raw_fd())) })
    }

    /// One more descriptor of the same connection, so that cores do not share one's lock.
    ///
    /// # Errors
    /// Those of `open(2)` and `ioctl(2)`.
    pub fn sibling(&self) -> SysResult<Self> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let device = rustix::fs::open("/dev/fuse", flags, Mode::empty())?;
        let ours = self.borrow().as_raw_fd().cast_unsigned();
        // SAFETY: the command reads one u32, which the setter brings along.
        unsafe { rustix::ioctl::ioctl(&device, JoinConnection::new(ours)) }?;
        Ok(Self { file: Arc::new(File::new(Arc::clone(self.file.sys()), device.into_raw_fd())) })
    }

    fn borrow(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open for as long as `self.file` lives.
        unsafe { BorrowedFd::borrow_raw(self.file.fd()) }
    }

    /// One request, whole. `buf` must have room for the largest: the agreed size of a write and its headers.
    ///
    /// # Errors
    /// `EAGAIN` when there is none; `ENODEV` when the mount is gone; `ENOENT` and `EINTR` mean nothing.
    pub fn receive(&self, buf: &mut [u8]) -> SysResult<usize> {
        rustix::io::read(self.borrow(), buf)
    }

    /// One answer or notification, whole.
    ///
    /// # Errors
    /// `ENOENT` when nobody waits for it any more; `EINVAL` when it is malformed.
    pub fn send(&self, parts: &[IoSlice<'_>]) -> SysResult<()> {
        loop {
            match rustix::io::writev(self.borrow(), parts) {
                Err(Errno::INTR) => {}
                result => return result.map(drop),
            }
        }
    }
}

impl Core {
    /// Waits until the device has a request or the mount is gone. When several cores wait for the same connection, one of
    /// them wakes.
    ///
    /// # Errors
    /// Those of the poll.
    pub async fn fuse_readable(&self, device: &Device) -> SysResult<()> {
        let (result, _) = self.submit(Request::Readable { file: Arc::clone(&device.file) }).await;
        result.map(drop)
    }
}

//! What an operation is and owns.

use std::ffi::CString;
use std::sync::Arc;

use io_uring::types::OpenHow;
use rustix::net::SocketAddrAny;

use crate::buf::{Arena, Buf};
use crate::driver::Message;
use crate::fuse::Slot;
use crate::net::{Address, Part};
use crate::sys::{AtFlags, File, How, OpenFlags, RawFd, RenameFlags, Stat, Sys, SysResult, XattrFlags};

/// An operation with everything it refers to. Paths are relative to an open directory.
pub(crate) enum Request {
    /// Reads into `buf[from..]`.
    Read {
        file: Arc<File>,
        buf: Buf,
        from: usize,
        offset: u64,
    },
    /// Writes `buf[from..]`.
    Write {
        file: Arc<File>,
        buf: Buf,
        from: usize,
        offset: u64,
    },
    Fsync {
        file: Arc<File>,
        data_only: bool,
    },
    Fallocate {
        file: Arc<File>,
        mode: u32,
        offset: u64,
        len: u64,
    },
    Truncate {
        file: Arc<File>,
        len: u64,
    },
    /// `raw` is `how` as the kernel wants it, boxed so that it does not move.
    Open {
        dir: Arc<File>,
        path: CString,
        how: How,
        raw: Box<OpenHow>,
    },
    /// An empty path means the file itself.
    Stat {
        dir: Arc<File>,
        path: CString,
        out: Box<StatOut>,
    },
    Mkdir {
        dir: Arc<File>,
        path: CString,
        mode: u32,
    },
    Unlink {
        dir: Arc<File>,
        path: CString,
        flags: AtFlags,
    },
    Rename {
        from: (Arc<File>, CString),
        to: (Arc<File>, CString),
        flags: RenameFlags,
    },
    Link {
        from: (Arc<File>, CString),
        to: (Arc<File>, CString),
    },
    Symlink {
        target: CString,
        dir: Arc<File>,
        path: CString,
    },
    GetXattr {
        file: Arc<File>,
        name: CString,
        buf: Buf,
    },
    SetXattr {
        file: Arc<File>,
        name: CString,
        value: Buf,
        flags: XattrFlags,
    },
    /// `many`: goes on until it is cancelled or fails.
    Accept {
        file: Arc<File>,
        many: bool,
    },
    /// `raw` is `to` as the kernel wants it, boxed so that it does not move.
    Connect {
        file: Arc<File>,
        to: Address,
        raw: Box<SocketAddrAny>,
    },
    /// Receives into `buf[from..]`; `all`: waits until that is full.
    Recv {
        file: Arc<File>,
        buf: Buf,
        from: usize,
        all: bool,
    },
    /// Receives into buffers that the kernel picks from `memory`, which stays as long as the kernel may write to it.
    /// `many`: goes on until the end of the stream, an error, or the lack of a buffer.
    Receive {
        file: Arc<File>,
        many: bool,
        #[allow(dead_code)] // Held, not read.
        memory: Option<Arc<Arena>>,
    },
    /// Sends what follows the first `done` bytes of all parts. `raw` is the kernel's view of the parts, filled in by the driver.
    Send {
        file: Arc<File>,
        parts: Vec<Part>,
        done: usize,
        raw: Box<Message>,
    },
    /// Waits until a FUSE device can be read. Of several that wait for one connection, one is woken.
    Readable {
        file: Arc<File>,
    },
    /// Answers the request of a slot, if it has had one, and waits for the next.
    FuseExchange {
        slot: Box<Slot>,
    },
}

/// Room for the answer to a stat, in the kernel's form and in ours.
pub(crate) enum StatOut {
    Raw(libc::statx),
    Stat(Stat),
}

impl Request {
    /// An open, with the kernel's form of its arguments.
    pub(crate) fn open(dir: Arc<File>, path: CString, how: How) -> Self {
        let raw = OpenHow::new()
            .flags(u64::from((how.flags.bits()) | libc::O_CLOEXEC as u32))
            .mode(if how.flags.intersects(OpenFlags::CREAT | OpenFlags::TMPFILE) {
                u64::from(how.mode)
            } else {
                0
            })
            .resolve(how.resolve.bits());
        Self::Open { dir, path, how, raw: Box::new(raw) }
    }

    /// The socket whose peer this operation may have to wait for.
    pub(crate) fn socket(&self) -> Option<RawFd> {
        match self {
            Self::Accept { file, .. }
            | Self::Connect { file, .. }
            | Self::Recv { file, .. }
            | Self::Receive { file, .. }
            | Self::Send { file, .. } => Some(file.fd()),
            _ => None,
        }
    }

    /// Whether the kernel ends it when it is asked to. What it does not end it keeps, with the memory, until the ring is
    /// gone.
    pub(crate) const fn is_cancellable(&self) -> bool {
        !matches!(self, Self::FuseExchange { .. })
    }

    /// Whether this operation may answer more than once.
    pub(crate) const fn is_standing(&self) -> bool {
        matches!(self, Self::Accept { many: true, .. } | Self::Receive { many: true, .. })
    }

    /// The descriptor that an answer of `result` hands over.
    const fn opened(&self, result: SysResult<u32>) -> Option<RawFd> {
        match (self, result) {
            (Self::Open { .. } | Self::Accept { .. }, Ok(fd)) => Some(fd.cast_signed()),
            _ => None,
        }
    }

    /// Frees what nobody waits for any more: the request's memory, and a file that was opened.
    pub(crate) fn discard(self, result: SysResult<u32>, sys: &Arc<dyn Sys>) {
        if let Some(fd) = self.opened(result) {
            drop(File::new(sys.clone(), fd));
        }
    }
}

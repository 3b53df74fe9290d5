//! An owned descriptor of whichever kernel opened it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{RawFd, Sys};

/// An open file. It closes itself when the last owner drops it, wherever that happens; the close of a file that was
/// unlinked meanwhile frees its blocks and can take long, which callers on a core should give to a helper thread.
#[derive(Debug)]
pub struct File {
    fd: RawFd,
    sys: Arc<dyn Sys>,
    /// Its file system answered EOPNOTSUPP to a read with `RWF_NOWAIT` (tmpfs does, always).
    lacks_nowait: AtomicBool,
}

impl File {
    /// Takes ownership of `fd`, which `sys` has just opened and nobody else will close.
    #[must_use]
    pub fn new(sys: Arc<dyn Sys>, fd: RawFd) -> Self {
        Self { fd, sys, lacks_nowait: AtomicBool::new(false) }
    }

    /// The kernel's number, valid while `self` lives.
    #[must_use]
    pub const fn fd(&self) -> RawFd {
        self.fd
    }

    /// The kernel that opened it.
    #[must_use]
    pub fn sys(&self) -> &Arc<dyn Sys> {
        &self.sys
    }

    /// Whether reads with `RWF_NOWAIT` are known not to work on it.
    pub(crate) fn lacks_nowait(&self) -> bool {
        self.lacks_nowait.load(Ordering::Relaxed)
    }

    /// Remembers that reads with `RWF_NOWAIT` do not work on it.
    pub(crate) fn set_lacks_nowait(&self) {
        self.lacks_nowait.store(true, Ordering::Relaxed);
    }
}

impl Drop for File {
    fn drop(&mut self) {
        self.sys.close(self.fd);
    }
}

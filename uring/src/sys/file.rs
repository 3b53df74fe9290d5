//! An owned descriptor of whichever kernel opened it.

use std::sync::Arc;

use super::{RawFd, Sys};

/// An open file. It closes itself when the last owner drops it, wherever that happens; the close of a file that was
/// unlinked meanwhile frees its blocks and can take long, which callers on a core should give to a helper thread.
#[derive(Debug)]
pub struct File {
    fd: RawFd,
    sys: Arc<dyn Sys>,
}

impl File {
    /// Takes ownership of `fd`, which `sys` has just opened and nobody else will close.
    #[must_use]
    pub fn new(sys: Arc<dyn Sys>, fd: RawFd) -> Self {
        Self { fd, sys }
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
}

impl Drop for File {
    fn drop(&mut self) {
        self.sys.close(self.fd);
    }
}

//! What is to be sent, as the kernel wants it.

use std::ptr::null_mut;

use crate::net::{Part, rest};

/// Most stretches in one call (`UIO_MAXIOV`).
const MOST: usize = 1024;

/// A `msghdr` and its vector, kept from message to message for the memory.
pub(crate) struct Message {
    header: libc::msghdr,
    vector: Vec<libc::iovec>,
}

// SAFETY: the pointers are only numbers here; they are followed by the kernel, and only between `point` and the completion of
// the operation whose request owns both this and what it points to.
unsafe impl Send for Message {}

impl Default for Message {
    fn default() -> Self {
        let header = libc::msghdr {
            msg_name: null_mut(),
            msg_namelen: 0,
            msg_iov: null_mut(),
            msg_iovlen: 0,
            msg_control: null_mut(),
            msg_controllen: 0,
            msg_flags: 0,
        };
        Self { header, vector: Vec::new() }
    }
}

impl Message {
    /// Points to what follows the first `done` bytes of the parts (or to the first 1024 stretches of that). Valid while
    /// the parts' memory and this stay where they are.
    pub(super) fn point(&mut self, parts: &[Part], done: usize) -> &libc::msghdr {
        let stretch =
            |bytes: &[u8]| libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        self.vector.clear();
        self.vector.extend(rest(parts, done).take(MOST).map(stretch));
        self.header.msg_iov = self.vector.as_mut_ptr();
        self.header.msg_iovlen = self.vector.len();
        &self.header
    }

    /// What was pointed to, when that is one stretch.
    pub(super) fn single(&self) -> Option<(*const u8, usize)> {
        match &*self.vector {
            [one] => Some((one.iov_base.cast_const().cast(), one.iov_len)),
            _ => None,
        }
    }
}

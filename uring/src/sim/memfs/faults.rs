//! Faults on demand: the nth call of an operation fails, or moves fewer bytes than asked.

use std::collections::BTreeMap;

use crate::sys::{Errno, SysResult};

/// The operations that can be told to fail: the names of the [`Sys`](crate::sys::Sys) methods.
pub const OPERATIONS: &[&str] = &[
    "openat2",
    "open_by_handle",
    "name_to_handle",
    "set_flags",
    "lock_exclusive",
    "stat_at",
    "stat",
    "chmod",
    "chmod_at",
    "chown",
    "chown_at",
    "set_times",
    "set_times_at",
    "statfs",
    "mkdir_at",
    "mknod_at",
    "symlink_at",
    "link_at",
    "link_fd",
    "unlink_at",
    "rename_at",
    "readlink_at",
    "read_dir",
    "pread",
    "pwrite",
    "ftruncate",
    "fallocate",
    "seek",
    "copy_file_range",
    "fsync",
    "syncfs",
    "map_shared",
    "getxattr",
    "setxattr",
    "listxattr",
    "removexattr",
];

#[derive(Clone, Copy, Debug)]
enum Fault {
    Fail(Errno),
    Short(usize),
}

/// What is to go wrong, and how often each operation was called.
#[derive(Debug, Default)]
pub struct Faults {
    calls: BTreeMap<&'static str, u64>,
    planned: BTreeMap<(&'static str, u64), Fault>,
}

impl Faults {
    /// Counts a call; `Ok` tells how many bytes it may move.
    pub fn enter(&mut self, operation: &'static str) -> SysResult<usize> {
        let count = self.calls.entry(operation).or_default();
        *count += 1;
        match self.planned.remove(&(operation, *count)) {
            None => Ok(usize::MAX),
            Some(Fault::Short(len)) => Ok(len),
            Some(Fault::Fail(errno)) => Err(errno),
        }
    }

    pub fn fail(&mut self, operation: &str, nth: u64, errno: Errno) {
        self.plan(operation, nth, Fault::Fail(errno));
    }

    pub fn shorten(&mut self, operation: &str, nth: u64, len: usize) {
        assert!(
            matches!(operation, "pread" | "pwrite" | "copy_file_range"),
            "{operation} does not move a number of bytes"
        );
        self.plan(operation, nth, Fault::Short(len));
    }

    fn plan(&mut self, operation: &str, nth: u64, fault: Fault) {
        let known = OPERATIONS.iter().find(|&&known| known == operation);
        let operation = *known.unwrap_or_else(|| panic!("there is no operation {operation}"));
        assert!(nth > 0, "calls are counted from 1");
        let at = self.calls(operation) + nth;
        self.planned.insert((operation, at), fault);
    }

    pub fn calls(&self, operation: &str) -> u64 {
        self.calls.get(operation).copied().unwrap_or(0)
    }

    pub fn pending(&self) -> usize {
        self.planned.len()
    }
}

//! Lock owners and ranges, as the lock fops carry them.

use std::fmt;

/// Who owns a lock within one client: up to 1024 opaque bytes (8 from a FUSE client).
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct LockOwner(Box<[u8]>);

impl LockOwner {
    /// The longest owner, in bytes.
    pub const MAX: usize = 1024;

    /// From the wire or from FUSE; longer owners than [`LockOwner::MAX`] are cut, as no client sends them.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes[..bytes.len().min(Self::MAX)].into())
    }

    /// The raw bytes; empty means "no owner".
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for LockOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Kind of a byte-range lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LockType {
    /// Shared.
    Read,
    /// Exclusive.
    Write,
    /// Remove.
    #[default]
    Unlock,
}

/// A byte range with its owner (`gf_flock`).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Flock {
    /// What is asked, or found.
    pub kind: LockType,
    /// First byte.
    pub start: i64,
    /// Length in bytes; 0 reaches to the end of the file, wherever that moves.
    pub len: i64,
    /// The process, informational.
    pub pid: i32,
    /// The owner within its client.
    pub owner: LockOwner,
}

/// What an `lk` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LkCmd {
    /// Report the first conflicting lock.
    Get,
    /// Set or fail with EAGAIN.
    Set,
    /// Set, waiting as long as it takes.
    SetWait,
    /// Reserve, set or fail (`F_RESLK_LCK`).
    Reserve,
    /// Reserve, waiting (`F_RESLK_LCKW`).
    ReserveWait,
    /// Give a reservation up (`F_RESLK_UNLCK`).
    Unreserve,
    /// All locks of one descriptor (`F_GETLK_FD`).
    GetFd,
}

/// What an `entrylk` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntrylkCmd {
    /// Wait for it.
    Lock,
    /// Set or fail with EAGAIN.
    TryLock,
    /// Release.
    Unlock,
}

/// A lock with the client that holds it, for lock migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveLock {
    /// The range.
    pub flock: Flock,
    /// Identity of the client.
    pub client: String,
    /// Flags of the lock, opaque here.
    pub flags: u32,
}

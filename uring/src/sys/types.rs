//! Plain data that crosses the [`Sys`](super::Sys) seam. Flag values are Linux's own (x86-64 and arm64 generic ABI).

use bitflags::bitflags;

/// A kernel's number for an open file.
pub type RawFd = i32;

/// The uid or gid that means "leave it as it is" in chown (`(uid_t)-1`).
pub const NO_ID: u32 = u32::MAX;

bitflags! {
    /// `O_*` flags of `open(2)`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct OpenFlags: u32 {
        /// Write only.
        const WRONLY = libc::O_WRONLY as u32;
        /// Read and write.
        const RDWR = libc::O_RDWR as u32;
        /// Create when missing.
        const CREAT = libc::O_CREAT as u32;
        /// With `CREAT`: fail when present.
        const EXCL = libc::O_EXCL as u32;
        /// Cut to length 0.
        const TRUNC = libc::O_TRUNC as u32;
        /// Every write goes to the end.
        const APPEND = libc::O_APPEND as u32;
        /// Never wait (for a fifo's other end, say).
        const NONBLOCK = libc::O_NONBLOCK as u32;
        /// Data is on stable storage before a write returns.
        const DSYNC = libc::O_DSYNC as u32;
        /// Data and metadata are on stable storage before a write returns.
        const SYNC = libc::O_SYNC as u32;
        /// Bypass the page cache; memory, offset and length must be aligned.
        const DIRECT = libc::O_DIRECT as u32;
        /// Fail unless it is a directory.
        const DIRECTORY = libc::O_DIRECTORY as u32;
        /// Fail with ELOOP when the last component is a symbolic link.
        const NOFOLLOW = libc::O_NOFOLLOW as u32;
        /// Do not move the access time.
        const NOATIME = libc::O_NOATIME as u32;
        /// Only a location; no I/O.
        const PATH = libc::O_PATH as u32;
        /// A file without a name, in the directory that `path` names.
        const TMPFILE = libc::O_TMPFILE as u32;
        // Unknown bits from a client are kept until the posix layer masks them.
        const _ = !0;
    }

    /// `RESOLVE_*` flags of `openat2(2)`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Resolve: u64 {
        /// Never cross a mount point.
        const NO_XDEV = 0x01;
        /// Never follow a magic link.
        const NO_MAGICLINKS = 0x02;
        /// Never follow any symbolic link, not even in the middle.
        const NO_SYMLINKS = 0x04;
        /// Never leave the subtree below the directory descriptor.
        const BENEATH = 0x08;
        /// Answer from the dentry cache or fail with EAGAIN: the cheap test for "would this block?".
        const CACHED = 0x20;
    }

    /// Flags of `unlinkat(2)`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct AtFlags: u32 {
        /// Remove a directory.
        const REMOVEDIR = libc::AT_REMOVEDIR as u32;
    }

    /// Flags of `renameat2(2)`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct RenameFlags: u32 {
        /// Fail with EEXIST when the new name exists.
        const NOREPLACE = libc::RENAME_NOREPLACE;
        /// Swap both names.
        const EXCHANGE = libc::RENAME_EXCHANGE;
        /// Leave a whiteout at the old name.
        const WHITEOUT = libc::RENAME_WHITEOUT;
    }

    /// Flags of `setxattr(2)`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct XattrFlags: u32 {
        /// Fail with EEXIST when present.
        const CREATE = libc::XATTR_CREATE as u32;
        /// Fail with ENODATA when absent.
        const REPLACE = libc::XATTR_REPLACE as u32;
    }

    /// Flags of `preadv2(2)`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct ReadFlags: u32 {
        /// Only what the page cache holds.
        const NOWAIT = libc::RWF_NOWAIT as u32;
    }
}

/// The arguments of `openat2(2)`.
#[derive(Clone, Copy, Debug, Default)]
pub struct How {
    /// Access mode and creation flags.
    pub flags: OpenFlags,
    /// Permission bits of a file that gets created; ignored otherwise.
    pub mode: u32,
    /// Rules for the walk.
    pub resolve: Resolve,
}

impl How {
    /// Opens `flags` with no creation mode and no rules for the walk.
    #[must_use]
    pub const fn new(flags: OpenFlags) -> Self {
        Self { flags, mode: 0, resolve: Resolve::empty() }
    }

    /// The same with rules for the walk.
    #[must_use]
    pub const fn resolve(mut self, resolve: Resolve) -> Self {
        self.resolve = resolve;
        self
    }

    /// The same with a creation mode.
    #[must_use]
    pub const fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }
}

/// A point in time: seconds and nanoseconds (0..1e9) since the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timespec {
    /// Seconds; negative before 1970.
    pub sec: i64,
    /// Nanoseconds, 0..1e9.
    pub nsec: u32,
}

/// What `utimensat(2)` does with one time stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeSet {
    /// Leave it (`UTIME_OMIT`).
    Keep,
    /// The kernel's present time (`UTIME_NOW`).
    Now,
    /// This one.
    At(Timespec),
}

/// What `statx(2)` tells, as far as Kiln uses it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Device of the file system, `major << 8 | minor` packed as `dev_t` by `makedev(3)`.
    pub dev: u64,
    /// Inode number on that device.
    pub ino: u64,
    /// Type and permission bits.
    pub mode: u32,
    /// Hard links.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Major number of a device node.
    pub rdev_major: u32,
    /// Minor number of a device node.
    pub rdev_minor: u32,
    /// Bytes.
    pub size: u64,
    /// Allocated blocks of 512 bytes.
    pub blocks: u64,
    /// Preferred I/O size in bytes.
    pub blksize: u32,
    /// Last access.
    pub atime: Timespec,
    /// Last change of the data.
    pub mtime: Timespec,
    /// Last change of the inode.
    pub ctime: Timespec,
}

impl Stat {
    /// The type bits (`S_IFMT`).
    #[must_use]
    pub const fn file_type(&self) -> u32 {
        self.mode & libc::S_IFMT
    }

    /// Whether it is a directory.
    #[must_use]
    pub const fn is_dir(&self) -> bool {
        self.file_type() == libc::S_IFDIR
    }

    /// Whether it is a regular file.
    #[must_use]
    pub const fn is_file(&self) -> bool {
        self.file_type() == libc::S_IFREG
    }

    /// Whether it is a symbolic link.
    #[must_use]
    pub const fn is_symlink(&self) -> bool {
        self.file_type() == libc::S_IFLNK
    }
}

/// What `statfs(2)` tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatFs {
    /// File system type (`*_MAGIC`).
    pub kind: u64,
    /// Preferred block size in bytes.
    pub bsize: u64,
    /// Fragment size in bytes: the unit of the block counts.
    pub frsize: u64,
    /// Blocks in total.
    pub blocks: u64,
    /// Free blocks.
    pub bfree: u64,
    /// Free blocks for ordinary users.
    pub bavail: u64,
    /// Inodes in total.
    pub files: u64,
    /// Free inodes.
    pub ffree: u64,
    /// Free inodes for ordinary users.
    pub favail: u64,
    /// File system id.
    pub fsid: u64,
    /// Mount flags (`ST_*`).
    pub flags: u64,
    /// Longest name in bytes.
    pub namemax: u64,
}

/// One record of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The name, `.` and `..` included.
    pub name: std::ffi::CString,
    /// Inode number on the backing file system.
    pub ino: u64,
    /// Where to resume **after** this entry.
    pub offset: u64,
    /// `DT_*`, possibly `DT_UNKNOWN`.
    pub kind: u8,
}

/// Where `lseek(2)` goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekFrom {
    /// The next data at or after this offset (`SEEK_DATA`).
    Data(u64),
    /// The next hole at or after this offset (`SEEK_HOLE`).
    Hole(u64),
    /// This offset (`SEEK_SET`).
    Start(u64),
}

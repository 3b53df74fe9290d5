//! What the file system keeps for each object.

use std::collections::BTreeMap;

use super::data::{Data, PAGE};
use crate::sys::{Stat, Timespec};

/// Number of the root directory, as on ext4.
pub const ROOT: u64 = 2;
/// Device number that every object of the file system reports.
const DEVICE: u64 = 0x2a07;
/// Position of `.` in every directory; `..` follows at twice that, the names after it.
pub const COOKIE_STEP: u64 = 0x1_0000_0003;

/// Everything about an object that changes as one: what `stat` tells, but for the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Tells the objects apart that had the same number one after the other.
    pub generation: u32,
    /// Type and permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names (for directories: 2 and one more per subdirectory); 0 once removed.
    pub nlink: u32,
    /// Device number of a device node, in the kernel's encoding.
    pub rdev: u64,
    /// Last access.
    pub atime: Timespec,
    /// Last change of the content.
    pub mtime: Timespec,
    /// Last change of anything.
    pub ctime: Timespec,
    /// An unnamed file that may get its first name (`O_TMPFILE` without `O_EXCL`).
    pub linkable: bool,
}

impl Meta {
    /// The type bits.
    pub const fn kind(&self) -> u32 {
        self.mode & libc::S_IFMT
    }
}

/// One name in a directory.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// What it names.
    pub ino: u64,
    /// Its position, which no other name of the directory ever had.
    pub cookie: u64,
}

/// The content of a directory, by name and by position.
#[derive(Clone, Debug)]
pub struct Dir {
    /// `..`
    pub parent: u64,
    /// The names, without `.` and `..`.
    pub names: BTreeMap<Vec<u8>, Entry>,
    /// The same by position.
    pub positions: BTreeMap<u64, Vec<u8>>,
    /// Where the next new name goes.
    pub next_cookie: u64,
}

impl Dir {
    /// An empty directory.
    pub const fn new(parent: u64) -> Self {
        Self { parent, names: BTreeMap::new(), positions: BTreeMap::new(), next_cookie: 3 * COOKIE_STEP }
    }
}

/// The content of an object.
#[derive(Clone, Debug)]
pub enum Body {
    /// Regular file.
    File(Data),
    /// Directory.
    Dir(Dir),
    /// Symbolic link and its target.
    Symlink(Vec<u8>),
    /// Fifo, socket or device node.
    Special,
}

/// One object.
#[derive(Clone, Debug)]
pub struct Inode {
    /// Its attributes.
    pub meta: Meta,
    /// Its content.
    pub body: Body,
    /// Its extended attributes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Inode {
    /// What `stat` tells of it.
    pub fn stat(&self, ino: u64) -> Stat {
        let (size, blocks) = match &self.body {
            Body::File(data) => (data.size(), data.page_count() * (PAGE / 512)),
            Body::Dir(_) => (PAGE, PAGE / 512),
            Body::Symlink(target) => (target.len() as u64, 0),
            Body::Special => (0, 0),
        };
        let m = &self.meta;
        let (rdev_major, rdev_minor) = split_device(m.rdev);
        Stat {
            dev: DEVICE,
            ino,
            mode: m.mode,
            nlink: m.nlink,
            uid: m.uid,
            gid: m.gid,
            rdev_major,
            rdev_minor,
            size,
            blocks,
            blksize: PAGE as u32,
            atime: m.atime,
            mtime: m.mtime,
            ctime: m.ctime,
        }
    }

    /// Pages of data it occupies.
    pub fn page_count(&self) -> u64 {
        if let Body::File(data) = &self.body { data.page_count() } else { 0 }
    }
}

/// Major and minor number of a device in the kernel's encoding (`new_decode_dev`).
const fn split_device(dev: u64) -> (u32, u32) {
    (((dev & 0xfff00) >> 8) as u32, ((dev & 0xff) | ((dev >> 12) & 0xf_ff00)) as u32)
}

/// The `DT_*` of a directory record for an object of this mode.
pub const fn dirent_kind(mode: u32) -> u8 {
    ((mode & libc::S_IFMT) >> 12) as u8
}

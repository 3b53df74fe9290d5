//! The attributes of an object as GlusterFS hands them around.

use kiln_uring::sys::{Stat, Timespec};

use super::Gfid;

/// What kind of object it is. The numbers are GlusterFS's `ia_type_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
#[repr(u8)]
pub enum IaType {
    /// Not known: the iatt is not filled.
    #[default]
    Invalid = 0,
    /// Regular file.
    Regular = 1,
    /// Directory.
    Directory = 2,
    /// Symbolic link.
    Symlink = 3,
    /// Block device.
    Block = 4,
    /// Character device.
    Character = 5,
    /// Fifo.
    Fifo = 6,
    /// Unix socket.
    Socket = 7,
}

impl IaType {
    /// From the type bits of a mode.
    #[must_use]
    pub const fn from_mode(mode: u32) -> Self {
        match mode & 0o170_000 {
            0o100_000 => Self::Regular,
            0o040_000 => Self::Directory,
            0o120_000 => Self::Symlink,
            0o060_000 => Self::Block,
            0o020_000 => Self::Character,
            0o010_000 => Self::Fifo,
            0o140_000 => Self::Socket,
            _ => Self::Invalid,
        }
    }

    /// The type bits of a mode; 0 for [`IaType::Invalid`].
    #[must_use]
    pub const fn mode_bits(self) -> u32 {
        match self {
            Self::Invalid => 0,
            Self::Regular => 0o100_000,
            Self::Directory => 0o040_000,
            Self::Symlink => 0o120_000,
            Self::Block => 0o060_000,
            Self::Character => 0o020_000,
            Self::Fifo => 0o010_000,
            Self::Socket => 0o140_000,
        }
    }

    /// From a directory record's `d_type`; [`IaType::Invalid`] for `DT_UNKNOWN`.
    #[must_use]
    pub const fn from_dirent(kind: u8) -> Self {
        Self::from_mode((kind as u32) << 12)
    }

    /// The `d_type` of a directory record.
    #[must_use]
    pub const fn to_dirent(self) -> u8 {
        (self.mode_bits() >> 12) as u8
    }
}

/// An object's attributes. `Default` is the empty iatt of a failed fop: [`IaType::Invalid`], all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Iatt {
    /// Who it is; null when the object has none (yet).
    pub gfid: Gfid,
    /// Kind of object.
    pub kind: IaType,
    /// Permission bits, set-id bits and sticky bit (12 bits).
    pub prot: u32,
    /// Names of a non-directory (its handle not counted); the kernel's link count of a directory.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device of the backing file system.
    pub dev: u64,
    /// Device node's number, `major << 32 | minor`.
    pub rdev: u64,
    /// Bytes.
    pub size: u64,
    /// 512-byte blocks, never more than `size` needs (preallocation is hidden).
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

impl Iatt {
    /// From a `statx` of the object on the brick, by the rules of GlusterFS's posix layer: the handle is not counted as a
    /// link, and preallocated blocks are hidden.
    #[must_use]
    pub fn from_stat(gfid: Gfid, stat: &Stat) -> Self {
        let kind = IaType::from_mode(stat.mode);
        Self {
            gfid,
            kind,
            prot: stat.mode & 0o7777,
            nlink: if kind == IaType::Directory { stat.nlink } else { stat.nlink.saturating_sub(1) },
            uid: stat.uid,
            gid: stat.gid,
            dev: stat.dev,
            rdev: u64::from(stat.rdev_major) << 32 | u64::from(stat.rdev_minor),
            size: stat.size,
            blocks: stat.blocks.min(stat.size.div_ceil(512)),
            blksize: stat.blksize,
            atime: stat.atime,
            mtime: stat.mtime,
            ctime: stat.ctime,
        }
    }

    /// The inode number that clients see, derived from the gfid.
    #[must_use]
    pub fn ino(&self) -> u64 {
        self.gfid.ino()
    }

    /// Type and permission bits together, as `st_mode`.
    #[must_use]
    pub const fn mode(&self) -> u32 {
        self.kind.mode_bits() | self.prot
    }

    /// Whether it is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.kind == IaType::Directory
    }

    /// Whether it is a regular file.
    #[must_use]
    pub fn is_regular(&self) -> bool {
        self.kind == IaType::Regular
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_do_not_count_the_handle_and_blocks_do_not_count_preallocation() {
        let file = Stat { mode: 0o100_644, nlink: 2, size: 100, blocks: 64, ..Stat::default() };
        let iatt = Iatt::from_stat(Gfid::ROOT, &file);
        assert_eq!((iatt.nlink, iatt.blocks, iatt.kind), (1, 1, IaType::Regular));
        let dir = Stat { mode: 0o040_755, nlink: 2, ..Stat::default() };
        assert_eq!(Iatt::from_stat(Gfid::ROOT, &dir).nlink, 2);
        let headless = Stat { mode: 0o100_644, nlink: 0, ..Stat::default() };
        assert_eq!(Iatt::from_stat(Gfid::ROOT, &headless).nlink, 0);
    }

    #[test]
    fn types_map_both_ways() {
        for kind in [1u8, 2, 4, 6, 8, 10, 12] {
            assert_eq!(IaType::from_dirent(kind).to_dirent(), kind);
        }
    }
}

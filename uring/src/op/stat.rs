//! The kernel's statx record, as the ring fills it in.

use super::StatOut;
use crate::sys::{Stat, Timespec};

const fn time(raw: libc::statx_timestamp) -> Timespec {
    Timespec { sec: raw.tv_sec, nsec: raw.tv_nsec }
}

impl StatOut {
    /// The answer in our form.
    pub(crate) fn stat(&self) -> Stat {
        let raw = match self {
            Self::Stat(stat) => return *stat,
            Self::Raw(raw) => raw,
        };
        Stat {
            dev: libc::makedev(raw.stx_dev_major, raw.stx_dev_minor),
            ino: raw.stx_ino,
            mode: u32::from(raw.stx_mode),
            nlink: raw.stx_nlink,
            uid: raw.stx_uid,
            gid: raw.stx_gid,
            rdev_major: raw.stx_rdev_major,
            rdev_minor: raw.stx_rdev_minor,
            size: raw.stx_size,
            blocks: raw.stx_blocks,
            blksize: raw.stx_blksize,
            atime: time(raw.stx_atime),
            mtime: time(raw.stx_mtime),
            ctime: time(raw.stx_ctime),
        }
    }
}

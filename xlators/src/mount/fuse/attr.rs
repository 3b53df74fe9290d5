//! Attributes, times and device numbers between GlusterFS's form and FUSE's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, INodeNo};
use kiln_uring::Timespec;

use crate::types::{IaType, Iatt};

/// FUSE's name of a kind of object; `None` when it is not known.
pub(super) const fn file_type(kind: IaType) -> Option<FileType> {
    Some(match kind {
        IaType::Invalid => return None,
        IaType::Regular => FileType::RegularFile,
        IaType::Directory => FileType::Directory,
        IaType::Symlink => FileType::Symlink,
        IaType::Block => FileType::BlockDevice,
        IaType::Character => FileType::CharDevice,
        IaType::Fifo => FileType::NamedPipe,
        IaType::Socket => FileType::Socket,
    })
}

/// The attributes of node `ino`; `None` when `iatt` is empty.
pub(super) fn file_attr(iatt: &Iatt, ino: u64) -> Option<FileAttr> {
    Some(FileAttr {
        ino: INodeNo(ino),
        size: iatt.size,
        blocks: iatt.blocks,
        atime: system_time(iatt.atime),
        mtime: system_time(iatt.mtime),
        ctime: system_time(iatt.ctime),
        crtime: UNIX_EPOCH,
        kind: file_type(iatt.kind)?,
        perm: (iatt.prot & 0o7777) as u16,
        nlink: iatt.nlink,
        uid: iatt.uid,
        gid: iatt.gid,
        rdev: fuse_device(iatt.rdev),
        blksize: iatt.blksize,
        flags: 0,
    })
}

/// What stands in a directory listing for an entry whose attributes cannot be had. The kernel shows the name, refuses the
/// attributes for their impossible size, and asks again by name when somebody wants them; the node id is nobody's.
pub(super) const fn unknown_attr(kind: FileType) -> FileAttr {
    FileAttr {
        ino: INodeNo(u64::MAX),
        size: u64::MAX,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm: 0,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

/// Seconds before 1970 are negative with nanoseconds counting up, in both forms of the kernel's.
pub(super) fn system_time(time: Timespec) -> SystemTime {
    let whole = Duration::from_secs(time.sec.unsigned_abs());
    let base = if time.sec < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
    base.and_then(|base| base.checked_add(Duration::from_nanos(time.nsec.into()))).unwrap_or(UNIX_EPOCH)
}

/// A time that the kernel asks to be set, out of `fuser`'s hands. Before 1970 those subtract the nanoseconds that the kernel
/// meant to be added (fuser 0.18, `system_time_from_time`); this undoes it.
pub(super) fn requested_time(time: SystemTime) -> Timespec {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => {
            Timespec { sec: i64::try_from(after.as_secs()).unwrap_or(i64::MAX), nsec: after.subsec_nanos() }
        }
        Err(before) => {
            let before = before.duration();
            Timespec { sec: 0_i64.saturating_sub_unsigned(before.as_secs()), nsec: before.subsec_nanos() }
        }
    }
}

/// From `major << 32 | minor` to the kernel's 32-bit form (12 bits of major, 20 of minor).
pub(super) const fn fuse_device(rdev: u64) -> u32 {
    let (major, minor) = ((rdev >> 32) as u32, rdev as u32);
    (minor & 0xff) | (major << 8 & 0x000f_ff00) | (minor & !0xff) << 12
}

/// From the kernel's 32-bit form to `major << 32 | minor`.
pub(super) const fn brick_device(dev: u32) -> u64 {
    let major = (dev & 0x000f_ff00) >> 8;
    let minor = (dev & 0xff) | (dev >> 12 & 0x000f_ff00);
    (major as u64) << 32 | minor as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_iatt_has_no_attributes() {
        assert_eq!(file_attr(&Iatt::default(), 5), None);
        let iatt = Iatt { kind: IaType::Regular, prot: 0o104_755, size: 9, ..Iatt::default() };
        let attr = file_attr(&iatt, 5).unwrap();
        assert_eq!((attr.ino.0, attr.perm, attr.size, attr.kind), (5, 0o4755, 9, FileType::RegularFile));
    }

    #[test]
    fn extreme_times_do_not_panic() {
        for sec in [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX] {
            for nsec in [0, 1, 999_999_999] {
                let _ = requested_time(system_time(Timespec { sec, nsec }));
            }
        }
        let half_before = system_time(Timespec { sec: -1, nsec: 500_000_000 });
        assert_eq!(UNIX_EPOCH - half_before.duration_since(UNIX_EPOCH).unwrap_err().duration(), half_before);
        assert_eq!(half_before + Duration::from_millis(500), UNIX_EPOCH);
    }

    /// What fuser 0.18 makes of a time in a SETATTR request.
    fn as_fuser_reads(sec: i64, nsec: u32) -> SystemTime {
        if sec >= 0 {
            UNIX_EPOCH + Duration::new(sec as u64, nsec)
        } else {
            UNIX_EPOCH - Duration::new(sec.unsigned_abs(), nsec)
        }
    }

    proptest! {
        #[test]
        fn requested_times_arrive(sec in -(1_i64 << 40)..(1 << 40), nsec in 0..1_000_000_000_u32) {
            prop_assert_eq!(requested_time(as_fuser_reads(sec, nsec)), Timespec { sec, nsec });
        }

        #[test]
        fn device_numbers_survive(major in 0..1_u64 << 12, minor in 0..1_u64 << 20) {
            let rdev = major << 32 | minor;
            prop_assert_eq!(brick_device(fuse_device(rdev)), rdev);
        }
    }

    #[test]
    fn device_numbers_are_the_kernels() {
        // new_encode_dev(MKDEV(8, 1)), MKDEV(259, 0x12345).
        assert_eq!(fuse_device(8 << 32 | 1), 0x801);
        assert_eq!(fuse_device(259 << 32 | 0x12345), 0x1231_0345);
        assert_eq!(brick_device(0x1231_0345), 259 << 32 | 0x12345);
    }
}

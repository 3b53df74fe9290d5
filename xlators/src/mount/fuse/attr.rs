//! Attributes and device numbers between GlusterFS's form and FUSE's.

use super::wire::Attr;
use crate::types::{IaType, Iatt};

/// The attributes of node `ino`; `None` when `iatt` is empty.
pub(super) fn attr(iatt: &Iatt, ino: u64) -> Option<Attr> {
    if iatt.kind == IaType::Invalid {
        return None;
    }
    Some(Attr {
        ino,
        size: iatt.size,
        blocks: iatt.blocks,
        atime: iatt.atime.sec,
        mtime: iatt.mtime.sec,
        ctime: iatt.ctime.sec,
        atimensec: iatt.atime.nsec,
        mtimensec: iatt.mtime.nsec,
        ctimensec: iatt.ctime.nsec,
        mode: iatt.kind.mode_bits() | (iatt.prot & 0o7777),
        nlink: iatt.nlink,
        uid: iatt.uid,
        gid: iatt.gid,
        rdev: fuse_device(iatt.rdev),
        blksize: iatt.blksize,
        flags: 0,
    })
}

/// What stands in a directory listing for an entry whose attributes cannot be had. The kernel shows the name, refuses the
/// attributes for their impossible size, and asks again by name when somebody wants them; the number is nobody's.
pub(super) fn unknown_attr(kind: IaType) -> Attr {
    Attr { ino: u64::MAX, size: u64::MAX, mode: kind.mode_bits(), nlink: 1, blksize: 4096, ..Attr::default() }
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
        assert_eq!(attr(&Iatt::default(), 5), None);
        let iatt = Iatt { kind: IaType::Regular, prot: 0o104_755, size: 9, ..Iatt::default() };
        let attr = attr(&iatt, 5).unwrap();
        assert_eq!((attr.ino, attr.mode, attr.size), (5, 0o104_755, 9));
    }

    proptest! {
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

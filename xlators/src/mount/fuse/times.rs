//! Which times of `trusted.glusterfs.mdata` each fop moves, as the stock client's utime layer says it.

use kiln_uring::Timespec;

use crate::call::{CallTimes, TimeFlags};
use crate::fop::Fop;

/// The flags that a stock client (10.3) sends with `fop`. A `setattr` depends on what it sets: see [`of_setattr`].
pub(super) const fn flags_of(fop: Fop) -> TimeFlags {
    const OWN_C: u16 = TimeFlags::CTIME.bits();
    const OWN_M: u16 = TimeFlags::MTIME.bits();
    const OWN_A: u16 = TimeFlags::ATIME.bits();
    const PARENT: u16 = TimeFlags::PARENT_CTIME.bits() | TimeFlags::PARENT_MTIME.bits();
    TimeFlags::from_bits_truncate(match fop {
        Fop::Create | Fop::Mknod | Fop::Mkdir | Fop::Symlink => OWN_C | OWN_M | OWN_A | PARENT,
        Fop::Unlink | Fop::Rmdir | Fop::Link | Fop::Rename => OWN_C | PARENT,
        Fop::Writev | Fop::Truncate | Fop::Ftruncate => OWN_C | OWN_M,
        Fop::Fallocate | Fop::Zerofill => OWN_M | OWN_A,
        Fop::Removexattr | Fop::Fremovexattr => OWN_C,
        // The target's change and modification, the source's access.
        Fop::CopyFileRange => OWN_C | OWN_M | OWN_A,
        _ => 0,
    })
}

/// The times of a call; `now` is asked only when they matter.
pub(super) fn of(fop: Fop, now: impl FnOnce() -> Timespec) -> CallTimes {
    let flags = flags_of(fop);
    let stamp = if flags.is_empty() { Timespec::default() } else { now() };
    CallTimes { flags, stamp, only_existing: true }
}

/// The times of a `setattr`: those that only set times send no flag, but their time stamp is the new change time.
pub(super) const fn of_setattr(only_times: bool, now: Timespec) -> CallTimes {
    let flags = if only_times { TimeFlags::empty() } else { TimeFlags::CTIME };
    CallTimes { flags, stamp: now, only_existing: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_the_stock_clients() {
        for (fop, bits) in [
            (Fop::Create, 0x1f),
            (Fop::Unlink, 0x19),
            (Fop::Writev, 3),
            (Fop::Fallocate, 6),
            (Fop::Discard, 0),
            (Fop::Setxattr, 0),
            (Fop::Fremovexattr, 1),
            (Fop::Readv, 0),
        ] {
            assert_eq!(flags_of(fop).bits(), bits, "{fop}");
        }
    }

    #[test]
    fn the_clock_is_asked_only_when_a_time_moves() {
        let times = of(Fop::Stat, || panic!("asked"));
        assert!(times.flags.is_empty() && times.only_existing);
        let now = Timespec { sec: 7, nsec: 9 };
        assert_eq!(of(Fop::Writev, || now).stamp, now);
        assert_eq!(
            of_setattr(true, now),
            CallTimes { flags: TimeFlags::empty(), stamp: now, only_existing: true }
        );
    }
}

//! `trusted.glusterfs.mdata`: the times of an object by its clients' clocks.
//!
//! 57 bytes: version (1), flags (u64, 0), then ctime, mtime and atime as seconds and nanoseconds, u64 each, all big-endian.
//! Source: GlusterFS v10.3, `xlators/storage/posix/src/posix-metadata-disk.h` and `posix-metadata.c`.
//!
//! The rules: flagged times only move forward; a fop with flags makes the attribute when it is missing, with all three
//! times at the caller's; explicit times (utimes) are stored as given, backwards too, but do not make it.

use kiln_uring::sys::Timespec;

use crate::call::{CallTimes, TimeFlags};
use crate::types::{Iatt, MdataTimes};

/// The attribute's length.
pub const LEN: usize = 57;

const VERSION: u8 = 1;

/// The bytes for `times`.
#[must_use]
pub fn encode(times: &MdataTimes) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    bytes[0] = VERSION;
    for (index, time) in [times.ctime, times.mtime, times.atime].into_iter().enumerate() {
        let at = 9 + index * 16;
        bytes[at..at + 8].copy_from_slice(&(time.sec as u64).to_be_bytes());
        bytes[at + 8..at + 16].copy_from_slice(&u64::from(time.nsec).to_be_bytes());
    }
    bytes
}

/// The times in `bytes`; `None` for another length or version, or nanoseconds beyond a second.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<MdataTimes> {
    if bytes.len() != LEN || bytes[0] != VERSION {
        return None;
    }
    let number = |at: usize| Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let time = |at: usize| {
        let nsec = u32::try_from(number(at + 8)?).ok().filter(|nsec| *nsec < 1_000_000_000)?;
        Some(Timespec { sec: number(at)? as i64, nsec })
    };
    Some(MdataTimes { ctime: time(9)?, mtime: time(25)?, atime: time(41)? })
}

/// Which of an object's times a fop moves: its own, or those of the directory it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The fop's own object.
    Own,
    /// Its parent directory.
    Parent,
}

impl Role {
    /// The flags that move ctime, mtime and atime in this role.
    const fn flags(self) -> [TimeFlags; 3] {
        match self {
            Self::Own => [TimeFlags::CTIME, TimeFlags::MTIME, TimeFlags::ATIME],
            Self::Parent => [TimeFlags::PARENT_CTIME, TimeFlags::PARENT_MTIME, TimeFlags::PARENT_ATIME],
        }
    }

    /// Whether a fop with `times` can move the times of an object in this role at all.
    #[must_use]
    pub fn is_moved_by(self, times: &CallTimes) -> bool {
        self.flags().into_iter().any(|flag| times.flags.contains(flag))
    }
}

/// What the attribute must become for a fop with `times` on an object in `role` that has `old`; `None` when it stays.
#[must_use]
pub fn moved(old: Option<MdataTimes>, times: &CallTimes, role: Role) -> Option<MdataTimes> {
    if !role.is_moved_by(times) {
        return None;
    }
    let [ctime, mtime, atime] = role.flags();
    let Some(old) = old else {
        return (!times.only_existing).then_some(MdataTimes {
            ctime: times.stamp,
            mtime: times.stamp,
            atime: times.stamp,
        });
    };
    let later = |flag, old: Timespec| if times.flags.contains(flag) { old.max(times.stamp) } else { old };
    let new = MdataTimes {
        ctime: later(ctime, old.ctime),
        mtime: later(mtime, old.mtime),
        atime: later(atime, old.atime),
    };
    (new != old).then_some(new)
}

/// The later of both, field by field: how a copy from another brick, or a first `set-ctime-mdata`, is merged.
#[must_use]
pub fn merged(old: Option<MdataTimes>, given: MdataTimes) -> MdataTimes {
    old.map_or(given, |old| MdataTimes {
        ctime: old.ctime.max(given.ctime),
        mtime: old.mtime.max(given.mtime),
        atime: old.atime.max(given.atime),
    })
}

/// Puts the attribute's times over the kernel's.
pub fn apply(iatt: &mut Iatt, times: &MdataTimes) {
    iatt.ctime = times.ctime;
    iatt.mtime = times.mtime;
    iatt.atime = times.atime;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn at(sec: i64) -> Timespec {
        Timespec { sec, nsec: 0 }
    }

    #[test]
    fn vector_from_a_stock_brick() {
        let time = Timespec { sec: 0x6b03_e56a, nsec: 0x204c_e2a0 };
        let bytes = encode(&MdataTimes { ctime: time, mtime: time, atime: time });
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text, format!("01{}{}", "0".repeat(16), "000000006b03e56a00000000204ce2a0".repeat(3)));
    }

    #[test]
    fn times_move_forward_only_and_only_those_flagged() {
        let old = MdataTimes { ctime: at(10), mtime: at(10), atime: at(10) };
        let times = |flags, sec| CallTimes { flags, stamp: at(sec), only_existing: false };
        let own = TimeFlags::CTIME | TimeFlags::MTIME;
        assert_eq!(
            moved(Some(old), &times(own, 20), Role::Own),
            Some(MdataTimes { ctime: at(20), mtime: at(20), atime: at(10) })
        );
        assert_eq!(moved(Some(old), &times(own, 5), Role::Own), None);
        assert_eq!(moved(Some(old), &times(own, 20), Role::Parent), None);
        assert_eq!(
            moved(None, &times(own, 20), Role::Own),
            Some(MdataTimes { ctime: at(20), mtime: at(20), atime: at(20) })
        );
        assert_eq!(moved(None, &times(TimeFlags::empty(), 20), Role::Own), None);
        assert_eq!(moved(None, &CallTimes { only_existing: true, ..times(own, 20) }, Role::Own), None);
    }

    proptest! {
        #[test]
        fn round_trip(sec: [i64; 3], nsec in prop::array::uniform3(0u32..1_000_000_000)) {
            let time = |index: usize| Timespec { sec: sec[index], nsec: nsec[index] };
            let times = MdataTimes { ctime: time(0), mtime: time(1), atime: time(2) };
            prop_assert_eq!(decode(&encode(&times)), Some(times));
        }

        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..70)) {
            let _ = decode(&bytes);
        }
    }
}

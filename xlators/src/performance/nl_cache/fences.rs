//! What the cores share: how often names may have come since the brick started, in stripes.

use std::sync::atomic::{AtomicU64, Ordering};

use xxhash_rust::xxh64::xxh64;

use crate::types::Gfid;

/// Stripes for names: 64 KiB. A fop that makes a name outdates what is cached of one name in as many.
const NAMES: usize = 8192;
/// Stripes for directories: 8 KiB.
const DIRECTORIES: usize = 1024;
/// The stripe of everything, in a cache line of its own.
const EVERYTHING: usize = NAMES + DIRECTORIES + 8;

/// Fops under way are counted in the low bits of a stripe; more than these can count do not fit into memory.
const UNDER_WAY: u64 = TURN - 1;
/// Turns are counted in the others: enough for thirty years of a thousand new names per second in one stripe.
const TURN: u64 = 1 << 24;

/// A stripe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot(usize);

/// What a stripe was like at some moment. As long as it is the same, no name has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp(u64);

impl Stamp {
    /// Whether no fop was under way that could make a name.
    pub const fn is_quiet(self) -> bool {
        self.0 & UNDER_WAY == 0
    }
}

/// The fences.
///
/// A stripe is *closed* before a fop that may make a name goes down, and *opened* after it has ended: both change its stamp.
/// Whoever found a name absent between two readings of one quiet stamp knows that it still is, and as long as the stamp
/// stays the same.
///
/// Orderings: a name comes into being after its stripe was closed (a system call of the same core or one that it handed the
/// work to), and all changes of one stripe have one order. Who looks at the brick before that moment may still read the old
/// stamp, and then answers as the brick did; who is told afterwards, by the end of the fop, that the name is there, reads
/// the new one. Acquire and release suffice for both.
#[derive(Debug)]
pub(super) struct Fences {
    stripes: Box<[AtomicU64]>,
}

impl Default for Fences {
    fn default() -> Self {
        Self { stripes: (0..EVERYTHING + 8).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl Fences {
    /// The stripe of all names in all directories.
    pub const EVERYTHING: Spot = Spot(EVERYTHING);

    /// The stripe of a name in a directory.
    pub fn name(parent: Gfid, name: &[u8]) -> Spot {
        Spot(xxh64(name, parent.ino()) as usize % NAMES)
    }

    /// The stripe of the directory as a whole.
    pub fn directory(gfid: Gfid) -> Spot {
        Spot(NAMES + gfid.ino().wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(16) as usize % DIRECTORIES)
    }

    /// The stripe as it is now.
    pub fn read(&self, spot: Spot) -> Stamp {
        Stamp(self.stripes[spot.0].load(Ordering::Acquire))
    }

    /// A fop that may make a name is about to go down.
    pub fn close(&self, spot: Spot) {
        self.stripes[spot.0].fetch_add(TURN + 1, Ordering::AcqRel);
    }

    /// It has ended.
    pub fn open(&self, spot: Spot) {
        self.stripes[spot.0].fetch_add(TURN - 1, Ordering::AcqRel);
    }

    /// Outdates what is known in the stripe.
    pub fn touch(&self, spot: Spot) {
        self.stripes[spot.0].fetch_add(TURN, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::gfid;

    #[test]
    fn a_stamp_outlives_no_fop() {
        let fences = Fences::default();
        let spot = Fences::name(gfid(1), b"x");
        let quiet = fences.read(spot);
        assert!(quiet.is_quiet());
        fences.close(spot);
        fences.close(spot);
        let busy = fences.read(spot);
        assert!(!busy.is_quiet() && busy != quiet);
        fences.open(spot);
        assert!(!fences.read(spot).is_quiet());
        fences.open(spot);
        let after = fences.read(spot);
        assert!(after.is_quiet() && after != quiet);
        fences.touch(spot);
        assert!(fences.read(spot).is_quiet() && fences.read(spot) != after);
    }

    #[test]
    fn names_and_directories_spread_over_their_own_stripes() {
        let spots: std::collections::HashSet<usize> =
            (0..2000_u32).map(|number| Fences::name(gfid(1), format!("f{number}").as_bytes()).0).collect();
        assert!(spots.len() > 1600 && spots.iter().all(|spot| *spot < NAMES), "{}", spots.len());
        for byte in 0..=255 {
            assert!((NAMES..NAMES + DIRECTORIES).contains(&Fences::directory(gfid(byte)).0));
        }
    }
}

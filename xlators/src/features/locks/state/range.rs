//! Byte ranges.

use kiln_uring::Errno;

/// Bytes `start` to `end`, both included; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Range {
    /// First byte.
    pub start: u64,
    /// Last byte; [`Range::LAST`] when it reaches to the end of the file, wherever that moves.
    pub end: u64,
}

impl Range {
    /// The last byte that a file can have.
    pub const LAST: u64 = i64::MAX as u64;
    /// All bytes.
    pub const WHOLE: Self = Self { start: 0, end: Self::LAST };

    /// Of an `lk`: a negative length counts backwards, zero reaches to the end.
    ///
    /// # Errors
    /// `EINVAL` for ranges that begin before the file or end beyond all files.
    pub fn of_lk(start: i64, len: i64) -> Result<Self, Errno> {
        let far = start.checked_add(len).ok_or(Errno::INVAL)?;
        if start < 0 || far < 0 {
            return Err(Errno::INVAL);
        }
        Self::from_parts(start.min(far), len.checked_abs().ok_or(Errno::INVAL)?)
    }

    /// Of an `inodelk`, whose length is never negative.
    ///
    /// # Errors
    /// `EINVAL` for negative numbers and ranges that end beyond all files.
    pub fn of_inodelk(start: i64, len: i64) -> Result<Self, Errno> {
        Self::from_parts(start, len)
    }

    fn from_parts(start: i64, len: i64) -> Result<Self, Errno> {
        let start = u64::try_from(start).map_err(|_| Errno::INVAL)?;
        let len = u64::try_from(len).map_err(|_| Errno::INVAL)?;
        let end = if len == 0 { Self::LAST } else { start + (len - 1) };
        if end > Self::LAST { Err(Errno::INVAL) } else { Ok(Self { start, end }) }
    }

    /// Of `len` bytes that are read or written from `start` on; `None` when there is none.
    #[must_use]
    pub fn of_io(start: u64, len: u64) -> Option<Self> {
        let end = start.saturating_add(len.checked_sub(1)?).min(Self::LAST);
        Some(Self { start: start.min(Self::LAST), end })
    }

    /// Whether all of `other` is in it.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// Its length as `struct flock` has it: 0 reaches to the end.
    #[must_use]
    pub const fn length(self) -> i64 {
        if self.end >= Self::LAST { 0 } else { (self.end - self.start + 1) as i64 }
    }

    /// Its first byte as `struct flock` has it.
    #[must_use]
    pub const fn first(self) -> i64 {
        self.start as i64
    }

    /// Whether they have a byte in common.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    /// Whether they overlap, or one begins where the other ends.
    #[must_use]
    pub const fn touches(self, other: Self) -> bool {
        self.start <= other.end.saturating_add(1) && other.start <= self.end.saturating_add(1)
    }

    /// The smallest range that holds both.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// What is left of it without `hole`: nothing, one piece, or one before and one behind.
    #[must_use]
    pub fn without(self, hole: Self) -> [Option<Self>; 2] {
        if !self.overlaps(hole) {
            return [Some(self), None];
        }
        let before = (self.start < hole.start).then(|| Self { start: self.start, end: hole.start - 1 });
        let behind = (hole.end < self.end).then(|| Self { start: hole.end + 1, end: self.end });
        [before, behind]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_the_wire() {
        let range = |start, end| Ok(Range { start, end });
        for (start, len, expected) in [
            (0, 0, Ok(Range::WHOLE)),
            (5, 1, range(5, 5)),
            (10, -4, range(6, 9)),
            (4, -4, range(0, 3)),
            (3, -4, Err(Errno::INVAL)),
            (-1, 5, Err(Errno::INVAL)),
            (i64::MAX, 1, Err(Errno::INVAL)),
            (i64::MAX, 0, range(Range::LAST, Range::LAST)),
            (0, i64::MIN, Err(Errno::INVAL)),
        ] {
            assert_eq!(Range::of_lk(start, len), expected, "{start} {len}");
        }
        assert_eq!(Range::of_inodelk(10, -4), Err(Errno::INVAL));
        assert_eq!(Range::of_inodelk(i64::MAX - 1, 3), Err(Errno::INVAL));
        assert_eq!(Range::of_inodelk(7, 3).map(|range| (range.first(), range.length())), Ok((7, 3)));
        assert_eq!(Range::WHOLE.length(), 0);
        assert_eq!(Range::of_io(5, 0), None);
        assert_eq!(Range::of_io(u64::MAX, u64::MAX).map(|range| range.end), Some(Range::LAST));
    }

    #[test]
    fn cutting() {
        let range = |start, end| Range { start, end };
        assert_eq!(range(0, 9).without(range(3, 5)), [Some(range(0, 2)), Some(range(6, 9))]);
        assert_eq!(range(0, 9).without(range(0, 20)), [None, None]);
        assert_eq!(range(4, 9).without(range(0, 4)), [None, Some(range(5, 9))]);
        assert_eq!(range(4, 9).without(range(10, 12)), [Some(range(4, 9)), None]);
        assert!(range(0, 3).touches(range(4, 5)) && !range(0, 3).overlaps(range(4, 5)));
        assert!(!range(0, 3).touches(range(5, 5)));
    }
}

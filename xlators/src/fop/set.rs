//! A set of fops.

use super::Fop;

/// A set of fops, as bits.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct FopSet(u64);

const _: () = assert!(Fop::COUNT <= 64, "a FopSet has 64 bits");

impl FopSet {
    /// No fop.
    pub const EMPTY: Self = Self(0);
    /// Every fop.
    pub const ALL: Self = Self(if Fop::COUNT == 64 { u64::MAX } else { (1 << Fop::COUNT) - 1 });

    /// The set and `fop`.
    #[must_use]
    pub const fn with(self, fop: Fop) -> Self {
        Self(self.0 | 1 << fop as u8)
    }

    /// Whether `fop` is in it.
    #[must_use]
    pub const fn contains(self, fop: Fop) -> bool {
        self.0 & (1 << fop as u8) != 0
    }

    /// How many.
    #[must_use]
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its members, in table order.
    pub fn iter(self) -> impl Iterator<Item = Fop> {
        Fop::ALL.into_iter().filter(move |fop| self.contains(*fop))
    }
}

impl std::fmt::Debug for FopSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl FromIterator<Fop> for FopSet {
    fn from_iter<I: IntoIterator<Item = Fop>>(fops: I) -> Self {
        fops.into_iter().fold(Self::EMPTY, Self::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members() {
        let set: FopSet = [Fop::Lookup, Fop::CopyFileRange].into_iter().collect();
        assert!(set.contains(Fop::Lookup) && set.contains(Fop::CopyFileRange) && !set.contains(Fop::Stat));
        assert_eq!(set.iter().count(), set.len());
        assert_eq!(FopSet::ALL.len(), Fop::COUNT);
    }
}

//! The records of a directory, packed into the kernel's buffer.

use zerocopy::IntoBytes;

use super::abi::{Dirent, RawEntryOut};
use super::reply::EntryOut;

/// Whether there is room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Space {
    Left,
    Full,
}

/// A buffer that is being filled.
#[derive(Debug)]
pub(in super::super) struct Listing {
    bytes: Vec<u8>,
    limit: usize,
    plus: bool,
}

impl Listing {
    /// For at most `limit` bytes; `plus`: with the attributes of every entry.
    pub(in super::super) fn new(limit: u32, plus: bool) -> Self {
        // One page to start with: many directories need no more.
        Self { bytes: Vec::with_capacity((limit as usize).min(4096)), limit: limit as usize, plus }
    }

    /// Whether every entry comes with its attributes.
    pub(in super::super) const fn is_plus(&self) -> bool {
        self.plus
    }

    /// Bytes that are left.
    pub(in super::super) const fn left(&self) -> usize {
        self.limit - self.bytes.len()
    }

    /// What an entry takes besides its name.
    pub(in super::super) const fn entry_len(&self) -> usize {
        size_of::<Dirent>() + if self.plus { size_of::<RawEntryOut>() } else { 0 }
    }

    pub(in super::super) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether an entry of this name has room.
    pub(in super::super) fn space_for(&self, name: &[u8]) -> Space {
        let needed = (self.entry_len() + name.len()).next_multiple_of(8);
        if needed <= self.left() { Space::Left } else { Space::Full }
    }

    /// Adds an entry, for which there must be room: `next` is where the listing goes on after it, `kind` its `DT_*`. The
    /// number and, for a listing with attributes, whether the kernel counts it, come from `entry`.
    pub(in super::super) fn add(&mut self, name: &[u8], next: u64, kind: u32, entry: &EntryOut) {
        debug_assert_eq!(self.space_for(name), Space::Left);
        if self.plus {
            self.bytes.extend_from_slice(entry.raw().as_bytes());
        }
        let namelen = u32::try_from(name.len()).expect("names are short");
        self.bytes.extend_from_slice(Dirent { ino: entry.attr.ino, off: next, namelen, kind }.as_bytes());
        self.bytes.extend_from_slice(name);
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
    }

    pub(in super::super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::abi::Attr;
    use super::*;

    fn entry(ino: u64) -> EntryOut {
        let attr = Attr { ino, ..Attr::default() };
        EntryOut { node: ino, generation: 0, keep_name: Duration::ZERO, keep_attr: Duration::ZERO, attr }
    }

    #[test]
    fn records_are_padded_and_bounded() {
        let mut listing = Listing::new(24 + 8 + 24 + 8, false);
        assert_eq!(listing.space_for(b"name"), Space::Left);
        listing.add(b"name", 5, 4, &entry(9));
        assert_eq!(listing.left(), 32);
        assert_eq!(listing.space_for(b"12345678"), Space::Left);
        assert_eq!(listing.space_for(b"123456789"), Space::Full);
        let bytes = listing.into_bytes();
        assert_eq!(bytes[..8], 9_u64.to_ne_bytes());
        assert_eq!(bytes[8..16], 5_u64.to_ne_bytes());
        assert_eq!(bytes[16..20], 4_u32.to_ne_bytes());
        assert_eq!(&bytes[24..], b"name\0\0\0\0");
    }

    #[test]
    fn attributes_come_first() {
        let mut listing = Listing::new(4096, true);
        assert_eq!(listing.entry_len(), 152);
        listing.add(b"x", 1, 8, &entry(7));
        let bytes = listing.into_bytes();
        assert_eq!(bytes.len(), 160);
        assert_eq!(bytes[..8], 7_u64.to_ne_bytes());
        assert_eq!(bytes[152], b'x');
    }
}

//! XDR (RFC 4506), as far as GlusterFS uses it.
//!
//! Everything is big-endian and a multiple of four bytes long. A [`Reader`] hands out pieces of the record without copying
//! them; lengths are believed only after the bytes are seen to be there, so nothing is allocated because of a length that
//! lies. A [`Writer`] fills memory whose size [`Wire::size`] has told before.

mod dict;
mod legacy;
mod nouns;
mod structs;

pub use dict::{MAX_PAIRS, MDATA_SIZE};
pub use legacy::LegacyDict;
pub use nouns::{DirEntry, DirEntryPlus, IATT_SIZE, Lease, LockEntry};
pub(crate) use structs::wire_structs;

use crate::types::Gfid;

/// Why bytes are no value of the type that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum XdrError {
    /// The record ends within the value.
    #[error("the record ends within a value")]
    Short,
    /// A number that the type does not have.
    #[error("a value that the protocol does not have")]
    Value,
    /// More elements than any peer sends.
    #[error("more elements than any peer sends")]
    Many,
}

/// A type with a place on the wire.
pub trait Wire<'a>: Sized {
    /// Bytes that [`Wire::put`] writes.
    fn size(&self) -> usize;
    /// Writes it.
    fn put(&self, to: &mut Writer<'_>);
    /// Reads one.
    ///
    /// # Errors
    /// See [`XdrError`].
    fn get(from: &mut Reader<'a>) -> Result<Self, XdrError>;
}

/// Bytes that `len` bytes take with their padding.
#[must_use]
pub const fn padded(len: usize) -> usize {
    len.saturating_add(3) & !3
}

/// Takes values off the front of a record.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// What the gfid of the root means.
    root: Gfid,
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, root: Gfid::ROOT }
    }

    /// The same from a peer whose root is the directory `root`.
    #[must_use]
    pub const fn below(root: Gfid, bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, root }
    }

    /// How many bytes have been read.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.at
    }

    /// How many bytes are left.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// What is left.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// The next `len` bytes, without padding.
    ///
    /// # Errors
    /// [`XdrError::Short`]
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], XdrError> {
        let taken = self.rest().get(..len).ok_or(XdrError::Short)?;
        self.at += len;
        Ok(taken)
    }

    /// The next `N` bytes (`opaque[N]`, `N` a multiple of four).
    ///
    /// # Errors
    /// [`XdrError::Short`]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], XdrError> {
        self.take(N)?.try_into().map_err(|_| XdrError::Short)
    }

    /// `opaque<>` and `string<>`: a length, the bytes, padding. Padding that is missing at the very end of a record is
    /// forgiven.
    ///
    /// # Errors
    /// [`XdrError::Short`]
    pub fn opaque(&mut self) -> Result<&'a [u8], XdrError> {
        let len = u32::get(self)? as usize;
        let bytes = self.take(len)?;
        self.at += (padded(len) - len).min(self.remaining());
        Ok(bytes)
    }

    /// Whether another element of a list follows.
    ///
    /// # Errors
    /// [`XdrError::Short`], [`XdrError::Value`]
    pub fn more(&mut self) -> Result<bool, XdrError> {
        match u32::get(self)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(XdrError::Value),
        }
    }
}

/// Puts values one after the other into memory that is large enough for them.
#[derive(Debug)]
pub struct Writer<'m> {
    memory: &'m mut [u8],
    at: usize,
    /// What is written as the gfid of the root.
    root: Gfid,
}

impl<'m> Writer<'m> {
    /// Writes from the start of `memory`.
    #[must_use]
    pub const fn new(memory: &'m mut [u8]) -> Self {
        Self { memory, at: 0, root: Gfid::ROOT }
    }

    /// The same for a peer whose root is the directory `root`.
    #[must_use]
    pub const fn below(root: Gfid, memory: &'m mut [u8]) -> Self {
        Self { memory, at: 0, root }
    }

    /// A gfid as the peer knows it.
    fn seen(&self, gfid: Gfid) -> Gfid {
        if gfid == self.root { Gfid::ROOT } else { gfid }
    }

    /// Bytes written.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.at
    }

    /// Plain bytes, without length or padding.
    pub fn raw(&mut self, bytes: &[u8]) {
        let place = self.memory.get_mut(self.at..).and_then(|rest| rest.get_mut(..bytes.len()));
        debug_assert!(place.is_some(), "a size was told too small");
        if let Some(place) = place {
            place.copy_from_slice(bytes);
            self.at += bytes.len();
        }
    }

    /// Bytes with their length and padding.
    pub fn opaque(&mut self, bytes: &[u8]) {
        self.len(bytes.len());
        self.raw(bytes);
        self.pad(bytes.len());
    }

    /// A length or count.
    pub(crate) fn len(&mut self, len: usize) {
        debug_assert!(u32::try_from(len).is_ok(), "nothing is that long");
        (len as u32).put(self);
    }

    /// The padding after `len` bytes.
    pub(crate) fn pad(&mut self, len: usize) {
        self.raw(&[0; 3][..padded(len) - len]);
    }
}

/// Writes `value` into memory of its own; for tests, tools and rare messages.
#[must_use]
pub fn to_vec<'a>(value: &impl Wire<'a>) -> Vec<u8> {
    let mut bytes = vec![0; value.size()];
    let mut writer = Writer::new(&mut bytes);
    value.put(&mut writer);
    let written = writer.position();
    bytes.truncate(written);
    bytes
}

macro_rules! numbers {
    ($($number:ty)*) => {
        $(impl Wire<'_> for $number {
            fn size(&self) -> usize {
                size_of::<$number>()
            }

            fn put(&self, to: &mut Writer<'_>) {
                to.raw(&self.to_be_bytes());
            }

            fn get(from: &mut Reader<'_>) -> Result<Self, XdrError> {
                from.array().map(<$number>::from_be_bytes)
            }
        })*
    };
}

numbers! { u32 i32 u64 i64 f64 }

/// `opaque<>` or `string<>`.
impl<'a> Wire<'a> for &'a [u8] {
    fn size(&self) -> usize {
        4 + padded(self.len())
    }

    fn put(&self, to: &mut Writer<'_>) {
        to.opaque(self);
    }

    fn get(from: &mut Reader<'a>) -> Result<Self, XdrError> {
        from.opaque()
    }
}

/// A list by optional pointers: each element after a one, and a zero at the end.
impl<'a, T: Wire<'a>> Wire<'a> for Vec<T> {
    fn size(&self) -> usize {
        self.iter().map(|element| 4 + element.size()).sum::<usize>() + 4
    }

    fn put(&self, to: &mut Writer<'_>) {
        for element in self {
            1_u32.put(to);
            element.put(to);
        }
        0_u32.put(to);
    }

    fn get(from: &mut Reader<'a>) -> Result<Self, XdrError> {
        let mut list = Self::new();
        while from.more()? {
            list.push(T::get(from)?);
        }
        Ok(list)
    }
}

/// No arguments.
impl Wire<'_> for () {
    fn size(&self) -> usize {
        0
    }

    fn put(&self, _: &mut Writer<'_>) {}

    fn get(_: &mut Reader<'_>) -> Result<Self, XdrError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_that_lie_are_refused() {
        for bytes in [&[0xff, 0xff, 0xff, 0xff][..], &[0, 0, 0, 5, 1, 2, 3, 4], &[0, 0], &[]] {
            assert_eq!(Reader::new(bytes).opaque(), Err(XdrError::Short));
        }
        let mut reader = Reader::new(&[0, 0, 0, 1, 7]);
        assert_eq!(reader.opaque(), Ok(&[7][..]));
        assert_eq!(reader.remaining(), 0);
        assert_eq!(Reader::new(&[0, 0, 0, 2]).more(), Err(XdrError::Value));
    }

    proptest! {
        #[test]
        fn byte_strings_round_trip(bytes: Vec<u8>, tail: Vec<u8>) {
            let mut wire = to_vec(&bytes.as_slice());
            prop_assert_eq!(wire.len() % 4, 0);
            wire.extend(&tail);
            let mut reader = Reader::new(&wire);
            prop_assert_eq!(reader.opaque().unwrap(), bytes.as_slice());
            prop_assert_eq!(reader.rest(), tail.as_slice());
        }

        #[test]
        fn lists_round_trip(list: Vec<u64>) {
            let wire = to_vec(&list);
            prop_assert_eq!(Vec::<u64>::get(&mut Reader::new(&wire)).unwrap(), list);
        }
    }
}

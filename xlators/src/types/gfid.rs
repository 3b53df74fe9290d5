//! The name of an object that never changes: 16 bytes, the same on every brick of a replica set.

use std::fmt;
use std::str::FromStr;

/// A GlusterFS file id: 16 raw bytes on disk and on the wire, a lower-case UUID in text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Gfid([u8; 16]);

impl Gfid {
    /// "Not known"; never the id of an object.
    pub const NULL: Self = Self([0; 16]);
    /// The root of every volume.
    pub const ROOT: Self = Self([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

    /// From the 16 bytes of the xattr or the wire.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// From a slice of exactly 16 bytes, as dictionaries and xattrs carry it.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// A random (version 4) id from 16 random bytes.
    #[must_use]
    pub const fn from_random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Self(bytes)
    }

    /// The raw bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Whether it is [`Gfid::NULL`].
    #[must_use]
    pub fn is_null(&self) -> bool {
        *self == Self::NULL
    }

    /// Whether it is [`Gfid::ROOT`].
    #[must_use]
    pub fn is_root(&self) -> bool {
        *self == Self::ROOT
    }

    /// The inode number that GlusterFS derives from it: bytes 8 to 15 as a big-endian number, all ones for the null gfid.
    #[must_use]
    pub fn ino(&self) -> u64 {
        if self.is_null() {
            return u64::MAX;
        }
        let mut low = [0; 8];
        low.copy_from_slice(&self.0[8..]);
        u64::from_be_bytes(low)
    }

    /// The canonical text as bytes: 36 lower-case characters.
    #[must_use]
    pub fn to_text(&self) -> [u8; 36] {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; 36];
        let mut at = 0;
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                at += 1;
            }
            text[at] = HEX[usize::from(byte >> 4)];
            text[at + 1] = HEX[usize::from(byte & 15)];
            at += 2;
        }
        text
    }

    /// From canonical text (36 characters, either case).
    #[must_use]
    pub fn from_text(text: &[u8]) -> Option<Self> {
        if text.len() != 36 {
            return None;
        }
        let mut bytes = [0; 16];
        let mut at = 0;
        for (index, byte) in bytes.iter_mut().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                if text[at] != b'-' {
                    return None;
                }
                at += 1;
            }
            *byte = hex(text[at])? << 4 | hex(text[at + 1])?;
            at += 2;
        }
        Some(Self(bytes))
    }
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

impl fmt::Display for Gfid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(std::str::from_utf8(&self.to_text()).unwrap_or_default())
    }
}

impl fmt::Debug for Gfid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a UUID such as 5b0f4ad7-3c1e-4d52-9c5c-0a1b2c3d4e5f")]
pub struct NotAGfid;

impl FromStr for Gfid {
    type Err = NotAGfid;

    fn from_str(text: &str) -> Result<Self, NotAGfid> {
        Self::from_text(text.as_bytes()).ok_or(NotAGfid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn root_is_inode_one_and_null_is_all_ones() {
        assert_eq!(Gfid::ROOT.ino(), 1);
        assert_eq!(Gfid::NULL.ino(), u64::MAX);
        assert_eq!(Gfid::ROOT.to_string(), "00000000-0000-0000-0000-000000000001");
    }

    proptest! {
        #[test]
        fn text_round_trips(bytes: [u8; 16]) {
            let gfid = Gfid::from_bytes(bytes);
            prop_assert_eq!(gfid.to_string().parse::<Gfid>().unwrap(), gfid);
            prop_assert_eq!(gfid.to_string().to_uppercase().parse::<Gfid>().unwrap(), gfid);
        }

        #[test]
        fn any_text_parses_or_not_but_never_panics(text: String) {
            let _ = text.parse::<Gfid>();
        }
    }
}

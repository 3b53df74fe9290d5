//! POSIX ACLs between their two forms: the kernel's binary one (the value of `system.posix_acl_*`) and the short text of
//! `glusterfs.posix.acl`, `u::rwx,u:1000:r-x,g::r-x,m::rwx,o::---`.
//!
//! Sources: `acl(5)`, `acl_to_any_text(3)` with `TEXT_ABBREVIATE | TEXT_NUMERIC_IDS`, `acl_from_text(3)`, and
//! `linux/posix_acl_xattr.h` for the binary form.

use std::fmt::Write;

use kiln_uring::Errno;

/// Version of the binary form, little-endian, at its start.
const VERSION: u32 = 2;
const HEADER: usize = 4;
const ENTRY: usize = 8;

/// The id of an entry that is not about a named user or group.
const NO_ID: u32 = u32::MAX;

/// Most entries in a value of 64 KiB.
const MOST: usize = (65_536 - HEADER) / ENTRY;

/// Whom an entry is about. The numbers are those of the binary form; valid lists are in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub enum Tag {
    /// The owner.
    UserObj = 0x01,
    /// A named user.
    User = 0x02,
    /// The owning group.
    GroupObj = 0x04,
    /// A named group.
    Group = 0x08,
    /// Most that named users, the owning group and named groups get.
    Mask = 0x10,
    /// Everybody else.
    Other = 0x20,
}

impl Tag {
    const fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            0x01 => Self::UserObj,
            0x02 => Self::User,
            0x04 => Self::GroupObj,
            0x08 => Self::Group,
            0x10 => Self::Mask,
            0x20 => Self::Other,
            _ => return None,
        })
    }

    const fn letter(self) -> char {
        match self {
            Self::UserObj | Self::User => 'u',
            Self::GroupObj | Self::Group => 'g',
            Self::Mask => 'm',
            Self::Other => 'o',
        }
    }

    const fn is_named(self) -> bool {
        matches!(self, Self::User | Self::Group)
    }
}

/// One line of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Whom it is about.
    pub tag: Tag,
    /// The user or group; all ones for entries that name none.
    pub id: u32,
    /// Read 4, write 2, execute 1.
    pub perm: u16,
}

/// An access control list. Whether it is a valid one (each of the three base entries once, a mask where one is needed)
/// is for the kernel to say when it is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acl(Vec<Entry>);

impl Acl {
    /// The list that says what the permission bits of `mode` say.
    #[must_use]
    pub fn from_mode(mode: u32) -> Self {
        let entry = |tag, shift: u32| Entry { tag, id: NO_ID, perm: (mode >> shift & 7) as u16 };
        Self(vec![entry(Tag::UserObj, 6), entry(Tag::GroupObj, 3), entry(Tag::Other, 0)])
    }

    /// From the value of `system.posix_acl_*`.
    ///
    /// # Errors
    /// `EINVAL` for another version, length or tag than there are.
    pub fn from_binary(value: &[u8]) -> Result<Self, Errno> {
        let (version, rest) = value.split_first_chunk::<HEADER>().ok_or(Errno::INVAL)?;
        let (entries, odd) = rest.as_chunks::<ENTRY>();
        if u32::from_le_bytes(*version) != VERSION || !odd.is_empty() {
            return Err(Errno::INVAL);
        }
        let entry = |&[t0, t1, p0, p1, i0, i1, i2, i3]: &[u8; ENTRY]| {
            let tag = Tag::from_number(u16::from_le_bytes([t0, t1])).ok_or(Errno::INVAL)?;
            let id = if tag.is_named() { u32::from_le_bytes([i0, i1, i2, i3]) } else { NO_ID };
            Ok(Entry { tag, id, perm: u16::from_le_bytes([p0, p1]) & 7 })
        };
        entries.iter().map(entry).collect::<Result<_, _>>().map(Self)
    }

    /// The value of `system.posix_acl_*`.
    #[must_use]
    pub fn to_binary(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(HEADER + self.0.len() * ENTRY);
        value.extend_from_slice(&VERSION.to_le_bytes());
        for entry in &self.0 {
            value.extend_from_slice(&(entry.tag as u16).to_le_bytes());
            value.extend_from_slice(&entry.perm.to_le_bytes());
            value.extend_from_slice(&entry.id.to_le_bytes());
        }
        value
    }

    /// From text: entries `tag:id:perms` between commas or line ends, tags in full or by their first letter, ids as numbers,
    /// `perms` of `r`, `w`, `x` and `-`, anything from a `#` to the end of its line ignored. The entries get the order that the kernel
    /// wants.
    ///
    /// # Errors
    /// `EINVAL` for anything else; names of users instead of numbers too, as only the client knows which is meant.
    pub fn from_text(text: &str) -> Result<Self, Errno> {
        let mut entries = Vec::new();
        for line in text.trim_end_matches('\0').lines() {
            let line = line.split_once('#').map_or(line, |(entry, _)| entry);
            for entry in line.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
                if entries.len() == MOST {
                    return Err(Errno::INVAL);
                }
                entries.push(parse_entry(entry).ok_or(Errno::INVAL)?);
            }
        }
        entries.sort_unstable();
        Ok(Self(entries))
    }

    /// The text with abbreviated tags, numeric ids, and commas.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::with_capacity(self.0.len() * 8);
        for entry in &self.0 {
            if !text.is_empty() {
                text.push(',');
            }
            text.push(entry.tag.letter());
            text.push(':');
            if entry.tag.is_named() {
                // Writing to a string cannot fail.
                let _ = write!(text, "{}", entry.id);
            }
            text.push(':');
            for (bit, letter) in [(4, 'r'), (2, 'w'), (1, 'x')] {
                text.push(if entry.perm & bit != 0 { letter } else { '-' });
            }
        }
        text
    }

    /// Whether it has no entries, which as a default list means "none".
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn parse_entry(text: &str) -> Option<Entry> {
    let (tag, rest) = text.split_once(':')?;
    // "other:r--" and "mask:rwx" may leave their empty id out.
    let (id, perms) = rest.split_once(':').map_or(("", rest), |(id, perms)| (id.trim(), perms));
    let (plain, named) = match tag.trim() {
        "u" | "user" => (Tag::UserObj, Some(Tag::User)),
        "g" | "group" => (Tag::GroupObj, Some(Tag::Group)),
        "m" | "mask" => (Tag::Mask, None),
        "o" | "other" => (Tag::Other, None),
        _ => return None,
    };
    let (tag, id) = if id.is_empty() { (plain, NO_ID) } else { (named?, id.parse().ok()?) };
    let mut perm = 0;
    for letter in perms.trim().bytes() {
        perm |= match letter {
            b'r' => 4,
            b'w' => 2,
            b'x' => 1,
            b'-' => 0,
            _ => return None,
        };
    }
    Some(Entry { tag, id, perm })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_text_of_a_mode() {
        assert_eq!(Acl::from_mode(0o100_755).to_text(), "u::rwx,g::r-x,o::r-x");
        assert_eq!(Acl::default().to_text(), "");
    }

    /// What `setfacl -m u:1000:rw,g:50:r` makes of a file with mode 640, as `getfattr -e hex` shows it.
    #[test]
    fn the_binary_form_of_a_kernel() {
        let text = "u::rw-,u:1000:rw-,g::r--,g:50:r--,m::rw-,o::---";
        let value = Acl::from_text(text).unwrap().to_binary();
        let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "0200000001000600ffffffff02000600e803000004000400ffffffff080004003200000010000600ffffffff20000000ffffffff"
        );
        assert_eq!(Acl::from_binary(&value).unwrap().to_text(), text);
    }

    #[test]
    fn long_text_in_any_order() {
        let text = "# file: a\nother::---\nmask::rwx # all\nuser::rw-\n\ngroup:7:x, group::r--\nuser:2:rwx\n";
        assert_eq!(Acl::from_text(text).unwrap().to_text(), "u::rw-,u:2:rwx,g::r--,g:7:--x,m::rwx,o::---");
        assert_eq!(
            Acl::from_text("u::rwx,g::r,o:x,m:rw\0").unwrap().to_text(),
            "u::rwx,g::r--,m::rw-,o::--x"
        );
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for text in ["u", "u:rwz", "q::rwx", "u:alice:rwx", "m:5:rwx", "u:-1:rwx", "u:4294967296:r"] {
            assert_eq!(Acl::from_text(text).unwrap_err(), Errno::INVAL, "{text}");
        }
        for value in [
            &b""[..],
            b"\x02\0\0",
            b"\x01\0\0\0",
            b"\x02\0\0\0\x01\0\x07\0",
            b"\x02\0\0\0\x03\0\x07\0\0\0\0\0",
        ] {
            assert_eq!(Acl::from_binary(value).unwrap_err(), Errno::INVAL, "{value:?}");
        }
    }

    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        let entry = (0..6_usize, any::<u32>(), 0..8_u16).prop_map(|(tag, id, perm)| {
            let tag = [Tag::UserObj, Tag::User, Tag::GroupObj, Tag::Group, Tag::Mask, Tag::Other][tag];
            Entry { tag, id: if tag.is_named() { id } else { NO_ID }, perm }
        });
        prop::collection::vec(entry, 0..12)
    }

    proptest! {
        #[test]
        fn both_forms_round_trip(mut entries in entries()) {
            entries.sort_unstable();
            let acl = Acl(entries);
            prop_assert_eq!(&Acl::from_text(&acl.to_text()).unwrap(), &acl);
            prop_assert_eq!(&Acl::from_binary(&acl.to_binary()).unwrap(), &acl);
        }

        #[test]
        fn any_input(text: String, value: Vec<u8>) {
            let _ = Acl::from_text(&text);
            let _ = Acl::from_binary(&value);
        }
    }
}

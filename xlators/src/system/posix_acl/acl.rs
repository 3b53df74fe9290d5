//! POSIX access control lists: the kernel's binary form, evaluation, inheritance.
//!
//! The binary form of `system.posix_acl_access` and `system.posix_acl_default` (Linux's `posix_acl_xattr.h`), little-endian:
//!
//! | bytes | meaning |
//! |---|---|
//! | 4 | version, 2 |
//! | 8 per entry | tag (2), permissions (2: r 4, w 2, x 1), user or group id (4; all ones where the tag has none) |

use bitflags::bitflags;

use crate::call::Caller;
use crate::types::Iatt;

bitflags! {
    /// Permissions of one class, or what a caller wants.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Perm: u8 {
        /// Read.
        const R = 4;
        /// Write.
        const W = 2;
        /// Execute or search.
        const X = 1;
    }
}

/// Whom an entry is for. The order is the one that entries stand in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tag {
    /// The owner.
    UserObj,
    /// This user.
    User(u32),
    /// The object's group.
    GroupObj,
    /// This group.
    Group(u32),
    /// Upper bound for named users and all groups.
    Mask,
    /// Everybody else.
    Other,
}

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// For whom.
    pub tag: Tag,
    /// What they may.
    pub perm: Perm,
}

/// A list that obeys the kernel's rules: tags in order, exactly one owner, group and other, at most one mask, and a mask
/// when there is a named user or group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl(Vec<Entry>);

/// The bytes are no ACL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAcl {
    /// Neither a header nor a header and whole entries, or more entries than an extended attribute holds.
    #[error("the length is wrong")]
    Length,
    /// Not version 2.
    #[error("the version is not 2")]
    Version,
    /// A tag or permission that does not exist, or a named entry without a name.
    #[error("an entry is malformed")]
    Entry,
    /// Entries that contradict the rules of [`Acl`].
    #[error("entries are missing, repeated, or out of order")]
    Order,
}

const VERSION: u32 = 2;
const HEADER: usize = 4;
const ENTRY: usize = 8;
const NO_ID: u32 = u32::MAX;
/// `XATTR_SIZE_MAX` of Linux.
const MAX_BYTES: usize = 65_536;

impl Acl {
    /// Checks entries against the rules.
    ///
    /// # Errors
    /// [`BadAcl::Order`] or, for a named entry with the id that means none, [`BadAcl::Entry`].
    pub fn new(entries: Vec<Entry>) -> Result<Self, BadAcl> {
        if entries.iter().any(|entry| matches!(entry.tag, Tag::User(NO_ID) | Tag::Group(NO_ID))) {
            return Err(BadAcl::Entry);
        }
        let rank = |tag: Tag| match tag {
            Tag::UserObj => 0,
            Tag::User(_) => 1,
            Tag::GroupObj => 2,
            Tag::Group(_) => 3,
            Tag::Mask => 4,
            Tag::Other => 5,
        };
        let mut counts = [0_usize; 6];
        entries.iter().for_each(|entry| counts[rank(entry.tag)] += 1);
        let ordered = entries.windows(2).all(|pair| rank(pair[0].tag) <= rank(pair[1].tag));
        let [owner, users, group, groups, mask, other] = counts;
        let masked = mask == 1 || (mask == 0 && users + groups == 0);
        if ordered && owner == 1 && group == 1 && other == 1 && masked {
            Ok(Self(entries))
        } else {
            Err(BadAcl::Order)
        }
    }

    /// Reads the binary form. A header without entries means that there is no list.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, BadAcl> {
        let (header, entries) = bytes.split_first_chunk::<HEADER>().ok_or(BadAcl::Length)?;
        let (entries, []) = entries.as_chunks::<ENTRY>() else { return Err(BadAcl::Length) };
        if bytes.len() > MAX_BYTES {
            return Err(BadAcl::Length);
        }
        if u32::from_le_bytes(*header) != VERSION {
            return Err(BadAcl::Version);
        }
        if entries.is_empty() {
            return Ok(None);
        }
        let entries = entries.iter().map(decode_entry).collect::<Result<_, _>>()?;
        Self::new(entries).map(Some)
    }

    /// The binary form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + ENTRY * self.0.len());
        bytes.extend(VERSION.to_le_bytes());
        for Entry { tag, perm } in &self.0 {
            let (code, id): (u16, u32) = match *tag {
                Tag::UserObj => (0x01, NO_ID),
                Tag::User(id) => (0x02, id),
                Tag::GroupObj => (0x04, NO_ID),
                Tag::Group(id) => (0x08, id),
                Tag::Mask => (0x10, NO_ID),
                Tag::Other => (0x20, NO_ID),
            };
            bytes.extend(code.to_le_bytes());
            bytes.extend(u16::from(perm.bits()).to_le_bytes());
            bytes.extend(id.to_le_bytes());
        }
        bytes
    }

    /// The entries, in order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// Whether the list lets the caller do all of `want` on an object with these attributes (POSIX.1e, 23.1.5): the first
    /// class that the caller belongs to decides; of the groups it belongs to, one that grants everything suffices; the mask
    /// limits all but the owner and the others.
    #[must_use]
    pub fn permits(&self, caller: &Caller, iatt: &Iatt, want: Perm) -> bool {
        let mask = self.0.iter().find(|entry| entry.tag == Tag::Mask).map_or(Perm::all(), |entry| entry.perm);
        let mut in_a_group = false;
        for Entry { tag, perm } in &self.0 {
            match *tag {
                Tag::UserObj if caller.uid == iatt.uid => return perm.contains(want),
                Tag::User(id) if caller.uid == id => return (*perm & mask).contains(want),
                Tag::GroupObj if caller.in_group(iatt.gid) => in_a_group = true,
                Tag::Group(id) if caller.in_group(id) => in_a_group = true,
                Tag::Other => return !in_a_group && perm.contains(want),
                _ => continue,
            }
            // A group that the caller is in: it decides if it grants.
            if perm.contains(want) {
                return mask.contains(want);
            }
        }
        false
    }

    /// What a new object gets from this default list of its parent: the access list, and its permission bits, which are
    /// those of the list as far as `mode` asks for them. Type, set-id and sticky bits of `mode` stay.
    #[must_use]
    pub fn inherit(&self, mode: u32) -> (Self, u32) {
        let mut access = self.clone();
        let masked = access.0.iter().any(|entry| entry.tag == Tag::Mask);
        let mut bits = mode;
        for entry in &mut access.0 {
            let shift = match entry.tag {
                Tag::UserObj => 6,
                Tag::Mask => 3,
                Tag::GroupObj if !masked => 3,
                Tag::Other => 0,
                _ => continue,
            };
            entry.perm &= Perm::from_bits_truncate((mode >> shift & 7) as u8);
            bits = bits & !(7 << shift) | u32::from(entry.perm.bits()) << shift;
        }
        (access, bits)
    }
}

fn decode_entry(bytes: &[u8; ENTRY]) -> Result<Entry, BadAcl> {
    let [tag0, tag1, perm0, perm1, id @ ..] = *bytes;
    let id = u32::from_le_bytes(id);
    let tag = match u16::from_le_bytes([tag0, tag1]) {
        0x01 => Tag::UserObj,
        0x02 => Tag::User(id),
        0x04 => Tag::GroupObj,
        0x08 => Tag::Group(id),
        0x10 => Tag::Mask,
        0x20 => Tag::Other,
        _ => return Err(BadAcl::Entry),
    };
    let perm = u8::try_from(u16::from_le_bytes([perm0, perm1])).map_err(|_| BadAcl::Entry)?;
    Ok(Entry { tag, perm: Perm::from_bits(perm).ok_or(BadAcl::Entry)? })
}

/// Whether plain permission bits let the caller do all of `want`.
#[must_use]
pub fn mode_permits(caller: &Caller, iatt: &Iatt, want: Perm) -> bool {
    let shift = match () {
        () if caller.uid == iatt.uid => 6,
        () if caller.in_group(iatt.gid) => 3,
        () => 0,
    };
    Perm::from_bits_truncate((iatt.prot >> shift & 7) as u8).contains(want)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::member;

    const OWNER: u32 = 10;
    const GROUP: u32 = 20;

    fn acl(entries: &[(Tag, u8)]) -> Acl {
        let entry = |(tag, perm): &(Tag, u8)| Entry { tag: *tag, perm: Perm::from_bits_truncate(*perm) };
        Acl::new(entries.iter().map(entry).collect()).unwrap()
    }

    fn object(prot: u32) -> Iatt {
        Iatt { uid: OWNER, gid: GROUP, prot, ..Iatt::default() }
    }

    #[test]
    fn the_first_matching_class_decides() {
        let list = acl(&[
            (Tag::UserObj, 4),
            (Tag::User(11), 7),
            (Tag::User(12), 0),
            (Tag::GroupObj, 4),
            (Tag::Group(21), 2),
            (Tag::Group(22), 7),
            (Tag::Mask, 6),
            (Tag::Other, 1),
        ]);
        // uid, groups, wanted, granted
        let table: &[(u32, &[u32], u8, bool)] = &[
            (OWNER, &[1], 4, true),
            (OWNER, &[22], 2, false), // the owner's entry decides, whatever the groups grant
            (11, &[1], 6, true),
            (11, &[1], 1, false),  // the mask takes x
            (12, &[22], 4, false), // a named user's entry decides
            (99, &[GROUP], 4, true),
            (99, &[GROUP], 2, false),
            (99, &[GROUP, 21], 2, true),  // one of the groups grants
            (99, &[GROUP, 21], 6, false), // no single group grants both
            (99, &[1, 22], 6, true),
            (99, &[22], 1, false), // granted by the group, taken by the mask
            (99, &[21], 1, false), // in a group: the others' entry does not count
            (99, &[1], 1, true),
            (99, &[1], 4, false),
            (99, &[1], 0, true),
        ];
        for (uid, groups, want, granted) in table {
            let caller = member(*uid, groups);
            let verdict = list.permits(&caller, &object(0), Perm::from_bits_truncate(*want));
            assert_eq!(verdict, *granted, "uid {uid} groups {groups:?} wants {want}");
        }
    }

    #[test]
    fn mode_bits_decide_without_a_list() {
        let table: &[(u32, &[u32], u32, u8, bool)] = &[
            (OWNER, &[GROUP], 0o077, 4, false),
            (OWNER, &[1], 0o400, 4, true),
            (99, &[1, GROUP], 0o707, 4, false),
            (99, &[GROUP], 0o050, 5, true),
            (99, &[1], 0o004, 4, true),
            (99, &[1], 0o770, 1, false),
        ];
        for (uid, groups, prot, want, granted) in table {
            let verdict =
                mode_permits(&member(*uid, groups), &object(*prot), Perm::from_bits_truncate(*want));
            assert_eq!(verdict, *granted, "uid {uid} groups {groups:?} mode {prot:o} wants {want}");
        }
    }

    #[test]
    fn inheritance_combines_the_mode() {
        let minimal = acl(&[(Tag::UserObj, 7), (Tag::GroupObj, 5), (Tag::Other, 5)]);
        let (access, mode) = minimal.inherit(0o100_666);
        assert_eq!(mode, 0o100_644);
        assert_eq!(access, acl(&[(Tag::UserObj, 6), (Tag::GroupObj, 4), (Tag::Other, 4)]));

        let masked = acl(&[
            (Tag::UserObj, 7),
            (Tag::User(11), 7),
            (Tag::GroupObj, 5),
            (Tag::Mask, 7),
            (Tag::Other, 0),
        ]);
        let (access, mode) = masked.inherit(0o102_640);
        assert_eq!(mode, 0o102_640);
        // The mask stands for the mode's group bits; named entries and the group keep theirs.
        assert_eq!(
            access,
            acl(&[
                (Tag::UserObj, 6),
                (Tag::User(11), 7),
                (Tag::GroupObj, 5),
                (Tag::Mask, 4),
                (Tag::Other, 0)
            ])
        );
    }

    #[test]
    fn the_bytes_are_the_kernels() {
        let bytes = [
            2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 0xe8, 3, 0, 0, 4, 0, 4, 0, 255, 255, 255,
            255, 16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
        ];
        let list = acl(&[
            (Tag::UserObj, 6),
            (Tag::User(1000), 4),
            (Tag::GroupObj, 4),
            (Tag::Mask, 4),
            (Tag::Other, 0),
        ]);
        assert_eq!(list.encode(), bytes);
        assert_eq!(Acl::decode(&bytes), Ok(Some(list)));
    }

    #[test]
    fn broken_ones_are_refused() {
        let good = acl(&[(Tag::UserObj, 7), (Tag::GroupObj, 5), (Tag::Other, 5)]).encode();
        assert_eq!(Acl::decode(&[2, 0, 0, 0]), Ok(None));
        assert_eq!(Acl::decode(&[]), Err(BadAcl::Length));
        assert_eq!(Acl::decode(&good[..good.len() - 1]), Err(BadAcl::Length));
        let changed = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            Acl::decode(&bytes)
        };
        assert_eq!(changed(0, 1), Err(BadAcl::Version));
        assert_eq!(changed(4, 3), Err(BadAcl::Entry), "no such tag");
        assert_eq!(changed(6, 8), Err(BadAcl::Entry), "no such permission");
        assert_eq!(changed(7, 1), Err(BadAcl::Entry), "permissions beyond a byte");
        assert_eq!(changed(4, 4), Err(BadAcl::Order), "two groups, no owner");
        assert_eq!(changed(12, 2), Err(BadAcl::Entry), "a named user without a name");
        assert_eq!(changed(12, 0x10), Err(BadAcl::Order), "a mask instead of the group");
        assert_eq!(Acl::decode(&good[..12]), Err(BadAcl::Order), "only the owner");
        let named = vec![
            Entry { tag: Tag::UserObj, perm: Perm::R },
            Entry { tag: Tag::User(1), perm: Perm::R },
            Entry { tag: Tag::GroupObj, perm: Perm::R },
            Entry { tag: Tag::Other, perm: Perm::R },
        ];
        assert_eq!(Acl::new(named), Err(BadAcl::Order), "a named user needs a mask");
    }

    fn perm() -> impl Strategy<Value = Perm> {
        (0_u8..8).prop_map(Perm::from_bits_truncate)
    }

    fn any_acl() -> impl Strategy<Value = Acl> {
        let named = || prop::collection::vec((0..NO_ID, perm()), 0..6);
        (perm(), named(), perm(), named(), perm(), perm(), any::<bool>()).prop_map(
            |(owner, users, group, groups, mask, other, always_mask)| {
                let named = !users.is_empty() || !groups.is_empty();
                let mut entries = vec![Entry { tag: Tag::UserObj, perm: owner }];
                entries.extend(users.into_iter().map(|(id, perm)| Entry { tag: Tag::User(id), perm }));
                entries.push(Entry { tag: Tag::GroupObj, perm: group });
                entries.extend(groups.into_iter().map(|(id, perm)| Entry { tag: Tag::Group(id), perm }));
                if named || always_mask {
                    entries.push(Entry { tag: Tag::Mask, perm: mask });
                }
                entries.push(Entry { tag: Tag::Other, perm: other });
                Acl::new(entries).expect("built by the rules")
            },
        )
    }

    proptest! {
        #[test]
        fn the_binary_form_round_trips(list in any_acl()) {
            prop_assert_eq!(Acl::decode(&list.encode()), Ok(Some(list)));
        }

        #[test]
        fn any_bytes_decode_or_not_but_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(Some(list)) = Acl::decode(&bytes) {
                // Whatever is accepted is written back as it was, but for the ids of entries that have none.
                prop_assert_eq!(list.encode().len(), bytes.len());
                prop_assert_eq!(Acl::decode(&list.encode()), Ok(Some(list)));
            }
        }

        #[test]
        fn a_child_never_gets_more_than_the_mode_or_the_list(list in any_acl(), mode in 0_u32..0o10000) {
            let (access, bits) = list.inherit(mode);
            prop_assert_eq!(bits & !mode, 0);
            prop_assert_eq!(bits & 0o7000, mode & 0o7000);
            for (before, after) in list.entries().iter().zip(access.entries()) {
                prop_assert!(before.perm.contains(after.perm));
            }
            // Plain bits and the list agree for the owner.
            let iatt = Iatt { uid: 1, gid: 2, prot: bits, ..Iatt::default() };
            let owner = member(1, &[3]);
            for want in (0..8).map(Perm::from_bits_truncate) {
                prop_assert_eq!(access.permits(&owner, &iatt, want), mode_permits(&owner, &iatt, want));
            }
        }

        #[test]
        fn a_minimal_list_is_the_mode(prot in 0_u32..0o1000, uid in 0_u32..4, gid in 0_u32..4, want in perm()) {
            let bits = |shift: u32| Perm::from_bits_truncate((prot >> shift & 7) as u8);
            let list = Acl::new(vec![
                Entry { tag: Tag::UserObj, perm: bits(6) },
                Entry { tag: Tag::GroupObj, perm: bits(3) },
                Entry { tag: Tag::Other, perm: bits(0) },
            ]).unwrap();
            let iatt = Iatt { uid: 1, gid: 2, prot, ..Iatt::default() };
            let caller = member(uid, &[gid]);
            prop_assert_eq!(list.permits(&caller, &iatt, want), mode_permits(&caller, &iatt, want));
        }
    }
}

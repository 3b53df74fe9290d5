//! POSIX access control lists in the form of `system.posix_acl_access` and `system.posix_acl_default`, and how they and
//! the permission bits of the mode follow each other (`acl(5)`).

use super::inode::Body;
use super::state::State;
use crate::sys::{Errno, SysResult};

/// Name of the list that decides about access.
pub const ACCESS: &[u8] = b"system.posix_acl_access";
/// Name of the list that new objects in a directory start with.
pub const DEFAULT: &[u8] = b"system.posix_acl_default";

const VERSION: u32 = 2;
const HEADER: usize = 4;
const ENTRY: usize = 8;
const UNDEFINED_ID: u32 = u32::MAX;

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// Lists in the form of their attributes, by name.
type Lists = Vec<(&'static [u8], Vec<u8>)>;

#[derive(Clone, Copy, Debug)]
struct Entry {
    tag: u16,
    perm: u16,
    id: u32,
}

/// A list.
#[derive(Clone, Debug)]
struct Acl(Vec<Entry>);

impl Acl {
    /// Reads the form of the attribute; `None` when it has no entries, which stands for no list. What it says is checked
    /// by [`Acl::is_valid`] apart, since other errors come in between.
    fn parse(value: &[u8]) -> SysResult<Option<Self>> {
        if value.is_empty() {
            return Ok(None);
        }
        let (version, rest) = value.split_first_chunk::<HEADER>().ok_or(Errno::INVAL)?;
        if u32::from_le_bytes(*version) != VERSION {
            return Err(Errno::OPNOTSUPP);
        }
        let (entries, odd) = rest.as_chunks::<ENTRY>();
        if !odd.is_empty() {
            return Err(Errno::INVAL);
        }
        if entries.is_empty() {
            return Ok(None);
        }
        let entries = entries.iter().map(|&[t0, t1, p0, p1, i0, i1, i2, i3]| {
            let tag = u16::from_le_bytes([t0, t1]);
            let id = u32::from_le_bytes([i0, i1, i2, i3]);
            let id = match tag {
                USER | GROUP if id != UNDEFINED_ID => id,
                USER_OBJ | GROUP_OBJ | MASK | OTHER => UNDEFINED_ID,
                _ => return Err(Errno::INVAL),
            };
            Ok(Entry { tag, perm: u16::from_le_bytes([p0, p1]), id })
        });
        Ok(Some(Self(entries.collect::<SysResult<_>>()?)))
    }

    fn to_value(&self) -> Vec<u8> {
        let mut value = VERSION.to_le_bytes().to_vec();
        for entry in &self.0 {
            value.extend_from_slice(&entry.tag.to_le_bytes());
            value.extend_from_slice(&entry.perm.to_le_bytes());
            value.extend_from_slice(&entry.id.to_le_bytes());
        }
        value
    }

    /// Owner, named users, owning group, named groups, mask (a must with named ones), others: in this order.
    fn is_valid(&self) -> bool {
        let mut next = USER_OBJ;
        let mut named = false;
        for entry in &self.0 {
            let fits = match entry.tag {
                USER_OBJ => next == USER_OBJ,
                USER => next == USER,
                GROUP_OBJ => next == USER,
                GROUP | MASK if next != GROUP => false,
                GROUP | MASK => true,
                OTHER => next == OTHER || (next == GROUP && !named),
                _ => false,
            };
            if !fits || entry.perm & !7 != 0 {
                return false;
            }
            named |= matches!(entry.tag, USER | GROUP);
            next = match entry.tag {
                USER_OBJ | USER => USER,
                GROUP_OBJ | GROUP => GROUP,
                MASK => OTHER,
                _ => 0,
            };
        }
        next == 0
    }

    fn has(&self, tag: u16) -> bool {
        self.0.iter().any(|entry| entry.tag == tag)
    }

    /// Whether the nine permission bits say it all.
    fn is_plain(&self) -> bool {
        !self.has(USER) && !self.has(GROUP) && !self.has(MASK)
    }

    /// The tag that the group bits of the mode stand for.
    fn group_class(&self) -> u16 {
        if self.has(MASK) { MASK } else { GROUP_OBJ }
    }

    /// How far the permission bits of `tag` are shifted in a mode; `None` for entries that a mode does not show.
    fn shift(&self, tag: u16) -> Option<u32> {
        match tag {
            USER_OBJ => Some(6),
            OTHER => Some(0),
            tag if tag == self.group_class() => Some(3),
            _ => None,
        }
    }

    /// The nine permission bits it stands for.
    fn permissions(&self) -> u32 {
        self.0.iter().filter_map(|e| Some(u32::from(e.perm) << self.shift(e.tag)?)).sum()
    }

    /// Changes the entries that a mode shows: `f` gets an entry's permissions and those of `mode`.
    fn adjust(&mut self, mode: u32, f: impl Fn(u16, u16) -> u16) {
        let shifts: Vec<_> = self.0.iter().map(|entry| self.shift(entry.tag)).collect();
        for (entry, shift) in self.0.iter_mut().zip(shifts) {
            if let Some(shift) = shift {
                entry.perm = f(entry.perm, ((mode >> shift) & 7) as u16);
            }
        }
    }
}

impl State {
    /// Sets a list, or removes it with an empty one, and lets the mode follow.
    pub fn set_acl(&mut self, ino: u64, name: &[u8], value: &[u8]) -> SysResult<()> {
        let mut acl = Acl::parse(value)?;
        let inode = self.inode(ino)?;
        if matches!(inode.body, Body::Symlink(_)) {
            return Err(Errno::OPNOTSUPP);
        }
        let is_dir = matches!(inode.body, Body::Dir(_));
        if name == DEFAULT && !is_dir {
            return if acl.is_some() { Err(Errno::ACCESS) } else { Ok(()) };
        }
        if acl.as_ref().is_some_and(|list| !list.is_valid()) {
            return Err(Errno::INVAL);
        }
        if name == ACCESS
            && let Some(list) = &acl
        {
            let bits = list.permissions();
            self.update(ino, |m| m.mode = (m.mode & !0o777) | bits)?;
            acl = acl.filter(|list| !list.is_plain());
        }
        let value = acl.map(|list| list.to_value());
        self.put_xattr(ino, name, value)?;
        self.touch_change(ino)
    }

    /// Lets the access list follow a mode that was just set.
    pub fn chmod_acl(&mut self, ino: u64) -> SysResult<()> {
        let inode = self.inode(ino)?;
        let (mode, stored) = (inode.meta.mode, inode.xattrs.get(ACCESS));
        let Some(mut acl) = stored.and_then(|value| Acl::parse(value).ok().flatten()) else { return Ok(()) };
        acl.adjust(mode, |_, bits| bits);
        self.put_xattr(ino, ACCESS, Some(acl.to_value()))
    }

    /// What an object created in `dir` with `mode` starts with: its mode and its lists.
    pub fn inherit_acl(&self, dir: u64, mode: u32, is_symlink: bool) -> SysResult<(u32, Lists)> {
        let stored = self.inode(dir)?.xattrs.get(DEFAULT);
        let Some(stored) = stored.filter(|_| !is_symlink) else { return Ok((mode, Vec::new())) };
        let Some(mut acl) = Acl::parse(stored)? else { return Ok((mode, Vec::new())) };
        let mut lists = Vec::new();
        if mode & libc::S_IFMT == libc::S_IFDIR {
            lists.push((DEFAULT, stored.clone()));
        }
        acl.adjust(mode, |perm, bits| perm & bits);
        if !acl.is_plain() {
            lists.push((ACCESS, acl.to_value()));
        }
        Ok(((mode & !0o777) | acl.permissions(), lists))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        Acl(entries.iter().map(|&(tag, perm, id)| Entry { tag, perm, id }).collect()).to_value()
    }

    #[test]
    fn a_list_is_checked() {
        let u = UNDEFINED_ID;
        let minimal = value(&[(USER_OBJ, 6, u), (GROUP_OBJ, 4, u), (OTHER, 0, u)]);
        assert!(Acl::parse(&minimal).unwrap().unwrap().is_plain());
        let named = value(&[(USER_OBJ, 7, u), (USER, 6, 5), (GROUP_OBJ, 4, u), (MASK, 2, u), (OTHER, 1, u)]);
        let list = Acl::parse(&named).unwrap().unwrap();
        assert_eq!(list.permissions(), 0o721);
        assert!(!list.is_plain());
        for wrong in [
            value(&[(USER_OBJ, 6, u), (OTHER, 0, u)]),
            value(&[(USER_OBJ, 8, u), (GROUP_OBJ, 4, u), (OTHER, 0, u)]),
            value(&[(USER_OBJ, 7, u), (USER, 6, 5), (GROUP_OBJ, 4, u), (OTHER, 1, u)]),
            value(&[(USER_OBJ, 7, u), (USER, 6, u), (GROUP_OBJ, 4, u), (MASK, 7, u), (OTHER, 1, u)]),
            value(&[(GROUP_OBJ, 4, u), (USER_OBJ, 6, u), (OTHER, 0, u)]),
            value(&[(USER_OBJ, 6, u), (GROUP_OBJ, 4, u), (OTHER, 0, u), (OTHER, 0, u)]),
            minimal[..minimal.len() - 1].to_vec(),
            vec![2, 0],
        ] {
            let accepted = Acl::parse(&wrong).is_ok_and(|list| list.unwrap().is_valid());
            assert!(!accepted, "{wrong:?}");
        }
        assert!(Acl::parse(&[2, 0, 0, 0]).unwrap().is_none());
        assert_eq!(Acl::parse(&[1, 0, 0, 0]).unwrap_err(), Errno::OPNOTSUPP);
    }
}

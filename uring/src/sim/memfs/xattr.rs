//! Extended attributes and the rules of their namespaces (`xattr(7)`).

use super::acl::{ACCESS, DEFAULT};
use super::state::State;
use super::tree::Record;
use crate::sys::{Errno, SysResult, XattrFlags, XattrTarget};

/// Longest name (`XATTR_NAME_MAX`).
const NAME_MAX: usize = 255;
/// Longest value (`XATTR_SIZE_MAX`) and longest list of names (`XATTR_LIST_MAX`).
const SIZE_MAX: usize = 65_536;
/// What makes an executable run with privileges; any change of the file takes it away.
const CAPABILITY: &[u8] = b"security.capability";

const NAMESPACES: &[&[u8]] = &[b"trusted.", b"security.", b"user."];

fn is_acl(name: &[u8]) -> bool {
    name == ACCESS || name == DEFAULT
}

fn check_name(name: &[u8]) -> SysResult<()> {
    if name.is_empty() || name.len() > NAME_MAX {
        return Err(Errno::RANGE);
    }
    match NAMESPACES.iter().find(|prefix| name.starts_with(prefix)) {
        Some(prefix) if name.len() == prefix.len() => Err(Errno::INVAL),
        None if !is_acl(name) => Err(Errno::OPNOTSUPP),
        _ => Ok(()),
    }
}

/// Copies into the caller's buffer, or tells the length when that is empty.
fn give(value: &[u8], buf: &mut [u8]) -> SysResult<usize> {
    if !buf.is_empty() {
        buf.get_mut(..value.len()).ok_or(Errno::RANGE)?.copy_from_slice(value);
    }
    Ok(value.len())
}

impl State {
    pub fn xattr_target(&mut self, target: XattrTarget<'_>) -> SysResult<u64> {
        match target {
            XattrTarget::Fd(fd) => Ok(self.real_file(fd)?.ino),
            XattrTarget::At(dir, path) => self.at(dir, path.to_bytes()),
        }
    }

    /// `user.` attributes belong to files and directories; `missing` is what the others are told.
    fn check_kind(&self, ino: u64, name: &[u8], missing: Errno) -> SysResult<()> {
        let kind = self.meta(ino)?.kind();
        if name.starts_with(b"user.") && !matches!(kind, libc::S_IFREG | libc::S_IFDIR) {
            return Err(missing);
        }
        Ok(())
    }

    pub fn getxattr(&mut self, ino: u64, name: &[u8], buf: &mut [u8]) -> SysResult<usize> {
        check_name(name)?;
        self.check_kind(ino, name, Errno::NODATA)?;
        if is_acl(name) && self.meta(ino)?.kind() == libc::S_IFLNK {
            return Err(Errno::OPNOTSUPP);
        }
        give(self.inode(ino)?.xattrs.get(name).ok_or(Errno::NODATA)?, buf)
    }

    pub fn setxattr(&mut self, ino: u64, name: &[u8], value: &[u8], flags: XattrFlags) -> SysResult<()> {
        if !XattrFlags::all().contains(flags) {
            return Err(Errno::INVAL);
        }
        if value.len() > SIZE_MAX {
            return Err(Errno::TOOBIG);
        }
        check_name(name)?;
        self.check_kind(ino, name, Errno::PERM)?;
        if is_acl(name) {
            return self.set_acl(ino, name, value);
        }
        let old = self.inode(ino)?.xattrs.get(name);
        match old {
            None if flags.contains(XattrFlags::REPLACE) => return Err(Errno::NODATA),
            Some(_) if flags.contains(XattrFlags::CREATE) => return Err(Errno::EXIST),
            Some(old) if old == value => return Ok(()),
            _ => {}
        }
        self.put_xattr(ino, name, Some(value.to_vec()))?;
        self.touch_change(ino)
    }

    /// Stores or removes a value, if there is room for it; neither looks at names nor touches times.
    pub fn put_xattr(&mut self, ino: u64, name: &[u8], value: Option<Vec<u8>>) -> SysResult<()> {
        let xattrs = &self.inode(ino)?.xattrs;
        if let Some(value) = &value {
            let others = xattrs.iter().filter(|(other, _)| other.as_slice() != name);
            let used: usize = others.map(|(name, value)| name.len() + value.len()).sum();
            if used + name.len() + value.len() > self.limits.xattr_room {
                return Err(Errno::NOSPC);
            }
        }
        if value.is_some() || xattrs.contains_key(name) {
            self.change(Record::Xattr { ino, name: name.to_vec(), value });
        }
        Ok(())
    }

    pub fn listxattr(&self, ino: u64, buf: &mut [u8]) -> SysResult<usize> {
        let names = self.inode(ino)?.xattrs.keys();
        let list: Vec<u8> = names.flat_map(|name| name.iter().copied().chain([0])).collect();
        if list.len() > SIZE_MAX {
            return Err(Errno::TOOBIG);
        }
        give(&list, buf)
    }

    pub fn removexattr(&mut self, ino: u64, name: &[u8]) -> SysResult<()> {
        check_name(name)?;
        self.check_kind(ino, name, Errno::PERM)?;
        if is_acl(name) {
            return self.set_acl(ino, name, &[]);
        }
        if !self.inode(ino)?.xattrs.contains_key(name) {
            return Err(Errno::NODATA);
        }
        self.put_xattr(ino, name, None)?;
        self.touch_change(ino)
    }

    /// Takes the privileges of an executable away.
    pub fn drop_capabilities(&mut self, ino: u64) -> SysResult<()> {
        self.put_xattr(ino, CAPABILITY, None)
    }
}

//! What a directory hands down to what is made in it: its group, with the set-group-ID bit, and its default ACL. The kernel
//! does this for what is made in the directory itself; objects that are built elsewhere get it from here.

use kiln_uring::sys::{Stat, XattrTarget};
use kiln_uring::{Errno, File, SysResult};

use crate::keys;
use crate::storage::posix::Brick;

/// What a new object gets from its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Inherited {
    /// Group: the parent's when that has the set-group-ID bit, else the caller's.
    pub gid: u32,
    /// Mode, with what the ACL takes away and the set-group-ID bit of a directory.
    pub mode: u32,
    /// Access ACL, when it says more than the mode.
    pub access: Option<Vec<u8>>,
    /// Default ACL of a directory.
    pub default: Option<Vec<u8>>,
}

const ISGID: u32 = 0o2000;

/// What an object of this `mode` (with type bits) gets from a parent.
///
/// # Errors
/// Those of `getxattr(2)`, absence apart.
pub(super) fn from_parent(
    brick: &Brick,
    dir: &File,
    parent: &Stat,
    mode: u32,
    gid: u32,
) -> SysResult<Inherited> {
    let is_dir = mode & libc::S_IFMT == libc::S_IFDIR;
    let mut inherited = Inherited { gid, mode, access: None, default: None };
    if parent.mode & ISGID != 0 {
        inherited.gid = parent.gid;
        if is_dir {
            inherited.mode |= ISGID;
        }
    }
    if mode & libc::S_IFMT == libc::S_IFLNK {
        return Ok(inherited);
    }
    let mut acl = [0; 512];
    let acl = match brick.sys.getxattr(XattrTarget::Fd(dir.fd()), keys::ACL_DEFAULT, &mut acl) {
        Ok(len) => acl[..len].to_vec(),
        Err(Errno::RANGE) => {
            let mut long = vec![0; 65536];
            let len = brick.sys.getxattr(XattrTarget::Fd(dir.fd()), keys::ACL_DEFAULT, &mut long)?;
            long.truncate(len);
            long
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP) => return Ok(inherited),
        Err(errno) => return Err(errno),
    };
    if let Some((access, mode)) = masked(&acl, inherited.mode) {
        inherited.mode = mode;
        inherited.access = access;
    }
    if is_dir {
        inherited.default = Some(acl);
    }
    Ok(inherited)
}

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// The access ACL that a default ACL gives an object made with `mode`, and what is left of the mode (POSIX 1003.1e draft 17,
/// 23.3.4). No ACL when the mode says it all; `None` when `acl` is not one.
fn masked(acl: &[u8], mode: u32) -> Option<(Option<Vec<u8>>, u32)> {
    let entries = acl.strip_prefix(&2_u32.to_le_bytes())?;
    let mut access = acl.to_vec();
    let mut mode = mode;
    let mut extended = false;
    // The group class is the mask where there is one, else the owning group.
    let mut class = None;
    if entries.len() % 8 != 0 {
        return None;
    }
    for at in (4..acl.len()).step_by(8) {
        let tag = u16::from_le_bytes([acl[at], acl[at + 1]]);
        match tag {
            USER_OBJ => mode = narrowed(&mut access[at + 2], mode, 6),
            OTHER => mode = narrowed(&mut access[at + 2], mode, 0),
            USER | GROUP => extended = true,
            GROUP_OBJ => class = class.or(Some(at)),
            MASK => {
                class = Some(at);
                extended = true;
            }
            _ => return None,
        }
    }
    mode = narrowed(&mut access[class? + 2], mode, 3);
    Some((extended.then_some(access), mode))
}

/// Both an entry's permissions and those of the mode become what both grant.
fn narrowed(permissions: &mut u8, mode: u32, shift: u32) -> u32 {
    let both = u32::from(*permissions) & (mode >> shift) & 7;
    *permissions = both as u8;
    mode & !(7 << shift) | both << shift
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn acl(entries: &[(u16, u16)]) -> Vec<u8> {
        let mut bytes = 2_u32.to_le_bytes().to_vec();
        for (tag, permissions) in entries {
            bytes.extend_from_slice(&tag.to_le_bytes());
            bytes.extend_from_slice(&permissions.to_le_bytes());
            bytes.extend_from_slice(&7_u32.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn the_mask_is_narrowed_and_not_the_group() {
        let given = acl(&[(USER_OBJ, 7), (USER, 6), (GROUP_OBJ, 5), (MASK, 7), (OTHER, 4)]);
        let wanted = acl(&[(USER_OBJ, 6), (USER, 6), (GROUP_OBJ, 5), (MASK, 4), (OTHER, 4)]);
        assert_eq!(masked(&given, 0o100_644), Some((Some(wanted), 0o100_644)));
    }

    #[test]
    fn a_minimal_acl_is_just_a_mode() {
        let given = acl(&[(USER_OBJ, 7), (GROUP_OBJ, 5), (OTHER, 0)]);
        assert_eq!(masked(&given, 0o100_666), Some((None, 0o100_640)));
    }

    proptest! {
        #[test]
        fn any_bytes(bytes: Vec<u8>, mode: u32) {
            let _ = masked(&bytes, mode);
        }
    }
}

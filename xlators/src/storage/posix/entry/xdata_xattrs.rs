//! Which keys of a create's xdata become extended attributes of the new object.
//!
//! Stock tries to store every key that it does not know as a message, and stops without telling anybody at the first that
//! the file system refuses. Here the namespaces that file systems store are stored, all else is taken for a message, and
//! a failure to store fails the fop, so that nobody gets a fragment without its `trusted.ec.config`.

use std::ffi::CStr;

use kiln_uring::sys::{XattrFlags, XattrTarget};
use kiln_uring::{Errno, SysResult};

use crate::keys;
use crate::storage::posix::Brick;
use crate::storage::posix::gfid2path::Gfid2Path;
use crate::types::{Dict, Value, Xdata};

/// Keys that the brick itself is in charge of.
const OWN: &[&CStr] = &[keys::GFID, keys::MDATA, keys::VOLUME_ID];

fn is_stored(key: &CStr) -> bool {
    let bytes = key.to_bytes();
    let storable = [&b"trusted."[..], b"user.", b"security."].iter().any(|prefix| bytes.starts_with(prefix));
    storable && !OWN.contains(&key) && !Gfid2Path::is_key(bytes)
}

/// Stores them.
///
/// # Errors
/// Those of `setxattr(2)`, `EOPNOTSUPP` (a namespace that this file system does not keep) and `EEXIST` (the kernel was
/// first, with a security label) apart.
pub(super) fn store(brick: &Brick, target: XattrTarget<'_>, xdata: &Xdata) -> SysResult<()> {
    match xdata.dict() {
        Some(dict) => store_dict(brick, target, dict, XattrFlags::CREATE),
        None => Ok(()),
    }
}

/// The same for any dictionary.
///
/// # Errors
/// See [`store`].
pub(super) fn store_dict(
    brick: &Brick,
    target: XattrTarget<'_>,
    dict: &Dict,
    flags: XattrFlags,
) -> SysResult<()> {
    for (key, value) in dict.iter().filter(|(key, _)| is_stored(key)) {
        let stored = match value {
            // Text travels with its NUL, and distribute wants it back that way.
            Value::Str(text) => {
                let mut bytes = Vec::with_capacity(text.len() + 1);
                bytes.extend_from_slice(text.as_bytes());
                bytes.push(0);
                brick.sys.setxattr(target, key, &bytes, flags)
            }
            value => match value.as_bytes() {
                Some(bytes) => brick.sys.setxattr(target, key, bytes, flags),
                None => continue,
            },
        };
        match stored {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Stores the ACLs that access-control sends along.
///
/// # Errors
/// Those of `setxattr(2)`, `EOPNOTSUPP` (a file system without ACLs) apart.
pub(super) fn store_acls(brick: &Brick, target: XattrTarget<'_>, xdata: &Xdata) -> SysResult<()> {
    for key in [keys::ACL_ACCESS, keys::ACL_DEFAULT] {
        let Some(acl) = xdata.get(key).and_then(Value::as_bytes) else { continue };
        match brick.sys.setxattr(target, key, acl, XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::is_stored;

    #[test]
    fn messages_are_not_stored() {
        for stored in [c"trusted.ec.config", c"trusted.glusterfs.dht", c"user.x", c"security.selinux"] {
            assert!(is_stored(stored), "{stored:?}");
        }
        for message in [
            c"gfid-req",
            c"trusted.gfid",
            c"trusted.gfid2path.0000000000000000",
            c"system.posix_acl_access",
            c"glusterfs-internal-fop",
            c"glusterfs.inodelk-count",
            c"force-replace",
            c"gfidless-lookup",
            c"umask",
        ] {
            assert!(!is_stored(message), "{message:?}");
        }
    }
}

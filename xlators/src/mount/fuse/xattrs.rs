//! Extended attributes.

use std::ffi::CStr;

use kiln_uring::Errno;

use super::door::Door;
use super::inodes::{Retry, getattr, or_open, setattr};
use super::wire::{Reply, SetattrIn};
use crate::error::FopResult;
use crate::fop::{Fop, request};
use crate::keys;
use crate::types::{Dict, Gfid, Key, Loc, Value, Xdata};

const S_ISGID: u32 = 0o2000;
/// Name spaces that Linux knows; other keys are GlusterFS's own.
const NAMESPACES: [&[u8]; 4] = [b"user.", b"security.", b"system.", b"trusted."];

/// The value of one attribute.
pub(super) async fn get(door: &Door, gfid: Gfid, name: Key) -> FopResult<Vec<u8>> {
    let mut dict = fetch(door, gfid, Some(name.clone())).await?;
    match dict.remove(&name) {
        Some(Value::Bin(bytes)) => Ok(bytes),
        Some(value) => Ok(value.as_bytes().ok_or(Errno::NODATA)?.to_vec()),
        None => Err(Errno::NODATA.into()),
    }
}

/// The names, each ended by NUL, that the caller may see.
pub(super) async fn list(door: &Door, gfid: Gfid) -> FopResult<Vec<u8>> {
    let dict = fetch(door, gfid, None).await?;
    let privileged = door.caller().uid == 0;
    let mut names = Vec::new();
    for (name, _) in dict.iter().filter(|(name, _)| is_visible(name, privileged)) {
        names.extend_from_slice(name.to_bytes_with_nul());
    }
    Ok(names)
}

fn is_visible(name: &CStr, privileged: bool) -> bool {
    let name = name.to_bytes();
    NAMESPACES.iter().any(|space| name.starts_with(space)) && (privileged || !name.starts_with(b"trusted."))
}

async fn fetch(door: &Door, gfid: Gfid, name: Option<Key>) -> FopResult<Dict> {
    let call = door.begin(Fop::Getxattr, gfid);
    let req = request::Getxattr { loc: Loc::object(gfid), name: name.clone(), xdata: Xdata::NONE };
    let result = door.top().getxattr(&call, req).await;
    let reply = or_open(door, gfid, result, Retry::Look, async |fd| {
        let call = door.begin(Fop::Fgetxattr, gfid);
        door.top().fgetxattr(&call, request::Fgetxattr { fd, name, xdata: Xdata::NONE }).await
    });
    Ok(reply.await?.dict)
}

/// Sets one attribute; `flags` are `XATTR_CREATE` and `XATTR_REPLACE`.
pub(super) async fn set(door: &Door, gfid: Gfid, name: Key, value: Vec<u8>, flags: u32) -> FopResult<()> {
    let strip = match name.as_ref() == keys::ACL_ACCESS && door.caller().uid != 0 {
        true => mode_without_setgid(door, gfid).await?,
        false => None,
    };
    let mut dict = Dict::new();
    dict.set(name, Value::Bin(value));
    let call = door.begin(Fop::Setxattr, gfid);
    let req = request::Setxattr { loc: Loc::object(gfid), dict: dict.clone(), flags, xdata: Xdata::NONE };
    let result = door.top().setxattr(&call, req).await;
    or_open(door, gfid, result, Retry::Change, async |fd| {
        let call = door.begin(Fop::Fsetxattr, gfid);
        door.top().fsetxattr(&call, request::Fsetxattr { fd, dict, flags, xdata: Xdata::NONE }).await
    })
    .await?;
    if let Some(bits) = strip {
        // The ACL has set the permission bits meanwhile; only set-id and sticky bits are the old ones.
        let prot = getattr(door, gfid, None).await?.prot & 0o777;
        let changes = SetattrIn { mode: Some(bits & !0o777 | prot), ..SetattrIn::default() };
        setattr(door, gfid, None, changes).await?;
    }
    Ok(())
}

/// Who sets an ACL without being in the file's group takes the set-group-id bit away, as with chmod(2). The kernel leaves
/// that to the file system. The answer is the mode to be set afterwards, if any.
async fn mode_without_setgid(door: &Door, gfid: Gfid) -> FopResult<Option<u32>> {
    let iatt = getattr(door, gfid, None).await?;
    let strip = iatt.prot & S_ISGID != 0 && !door.caller().in_group(iatt.gid);
    Ok(strip.then_some(iatt.prot & !S_ISGID))
}

pub(super) async fn remove(door: &Door, gfid: Gfid, name: Key) -> FopResult<()> {
    let call = door.begin(Fop::Removexattr, gfid);
    let req = request::Removexattr { loc: Loc::object(gfid), name: name.clone(), xdata: Xdata::NONE };
    let result = door.top().removexattr(&call, req).await;
    or_open(door, gfid, result, Retry::Change, async |fd| {
        let call = door.begin(Fop::Fremovexattr, gfid);
        door.top().fremovexattr(&call, request::Fremovexattr { fd, name, xdata: Xdata::NONE }).await
    })
    .await?;
    Ok(())
}

/// What to tell somebody who has room for `size` bytes, where 0 asks how many are needed.
pub(super) fn answer(bytes: Vec<u8>, size: u32) -> FopResult<Reply> {
    match u32::try_from(bytes.len()) {
        Err(_) => Err(Errno::TOOBIG.into()),
        Ok(len) if size == 0 => Ok(Reply::XattrSize(len)),
        Ok(len) if len <= size => Ok(Reply::Bytes(bytes)),
        Ok(_) => Err(Errno::RANGE.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_probed() {
        let answer = |size| answer(vec![0; 10], size);
        assert!(matches!(answer(0), Ok(Reply::XattrSize(10))));
        assert!(matches!(answer(10), Ok(Reply::Bytes(bytes)) if bytes.len() == 10));
        assert_eq!(answer(9).unwrap_err().errno, Errno::RANGE);
    }

    #[test]
    fn only_linux_names_are_listed_and_trusted_ones_to_root() {
        assert!(is_visible(c"user.x", false) && is_visible(c"system.posix_acl_access", false));
        assert!(is_visible(c"trusted.x", true) && !is_visible(c"trusted.x", false));
        assert!(!is_visible(c"glusterfs.open-fd-count", true) && !is_visible(c"user", true));
    }
}

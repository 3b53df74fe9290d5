//! setxattr, fsetxattr.

use std::borrow::Cow;
use std::ffi::CStr;
use std::sync::Arc;

use kiln_uring::sys::XattrFlags;
use kiln_uring::{Class, Errno, SysResult};

use super::acl_text::Acl;
use super::names::{self, OnSet};
use super::raw;
use super::subject::{Given, Subject};
use crate::call::Call;
use crate::error::FopResult;
use crate::fop::{reply, request};
use crate::keys;
use crate::storage::posix::mdata::{self, Role};
use crate::storage::posix::{Attrs, Brick, Posix};
use crate::types::{Dict, IaType, MdataTimes, Value, Xdata};

/// Permission bits of a distribute link file: the sticky bit and nothing else.
const LINKTO_BITS: u32 = 0o1000;

impl Posix {
    pub(in crate::storage::posix) async fn serve_setxattr(
        &self,
        call: &Call,
        req: request::Setxattr,
    ) -> FopResult<reply::Done> {
        self.set_xattrs(call, Given::Loc(req.loc), req.dict, req.flags, req.xdata).await
    }

    pub(in crate::storage::posix) async fn serve_fsetxattr(
        &self,
        call: &Call,
        req: request::Fsetxattr,
    ) -> FopResult<reply::Done> {
        let durable = req.xdata.contains(keys::DURABLE_OP).then(|| Arc::clone(&req.fd));
        let done = self.set_xattrs(call, Given::Fd(req.fd), req.dict, req.flags, req.xdata).await?;
        if let Some(fd) = durable {
            let file = self.fd_file(&fd).await?;
            self.core.fsync(&file, false).await?;
        }
        Ok(done)
    }

    async fn set_xattrs(
        &self,
        call: &Call,
        given: Given,
        dict: Dict,
        flags: u32,
        xdata: Xdata,
    ) -> FopResult<reply::Done> {
        self.brick.check_space(call.caller(), &xdata)?;
        let times = *call.times();
        let job = move |brick: &Arc<Brick>, of: &Subject| {
            // What a lookup of a client that keeps times sends when it finds none. It comes alone.
            if let Some(Value::Mdata(given)) = dict.get(keys::SET_CTIME_MDATA) {
                merge_times(brick, of, **given)?;
                return Ok(reply::Done::default());
            }
            let before = of.attrs_before(brick)?;
            let flags = XattrFlags::from_bits_retain(flags);
            for (name, value) in dict.iter() {
                set_one(brick, of, &before, name, value, flags)?;
            }
            if xdata.is_set(keys::SYNC_BACKEND_XATTRS) {
                remove_others(brick, of, &dict)?;
            }
            let mut after = of.attrs(brick)?;
            brick.move_times(of.target(brick), &mut after, &times, Role::Own);
            let mut reply = iatts(&before, &after);
            // access-control knows the binary form only.
            for (text, stored) in
                [(keys::ACL_TEXT, keys::ACL_ACCESS), (keys::ACL_TEXT_DEFAULT, keys::ACL_DEFAULT)]
            {
                if dict.contains(text)
                    && let Ok(value) = raw::value(&*brick.sys, of.target(brick), stored)
                {
                    reply.set(stored, Value::Bin(value));
                }
            }
            Ok(reply::Done { xdata: reply.into() })
        };
        self.on_locked_subject(Class::AttrChange, given, job).await
    }
}

/// The attributes around a change, as stock tells them in every reply: distribute and md-cache look at them.
#[must_use]
pub fn iatts(before: &Attrs, after: &Attrs) -> Dict {
    let value = |attrs: &Attrs| Value::Iatt(Box::new(attrs.iatt));
    let pairs =
        [(keys::IATT_IN_XATTR, value(after)), (keys::PRESTAT, value(before)), (keys::POSTSTAT, value(after))];
    pairs.into_iter().map(|(key, value)| (Cow::Borrowed(key), value)).collect()
}

/// The bytes that an extended attribute gets from a value, as in stock: text with the NUL that ends it, numbers as text.
///
/// # Errors
/// `EINVAL` for the types that no attribute holds.
pub fn stored_bytes(value: &Value) -> Result<Cow<'_, [u8]>, Errno> {
    let ended = |mut text: String| {
        text.push('\0');
        Ok(Cow::Owned(text.into_bytes()))
    };
    match value {
        Value::Bin(bytes) => Ok(Cow::Borrowed(bytes)),
        Value::Gfid(gfid) => Ok(Cow::Borrowed(gfid.as_bytes())),
        Value::Str(text) => ended(text.clone()),
        Value::Int(number) => ended(number.to_string()),
        Value::Uint(number) => ended(number.to_string()),
        Value::Double(_) | Value::Iatt(_) | Value::Mdata(_) => Err(Errno::INVAL),
    }
}

fn set_one(
    brick: &Brick,
    of: &Subject,
    before: &Attrs,
    name: &CStr,
    value: &Value,
    flags: XattrFlags,
) -> SysResult<()> {
    let is_linkto = before.iatt.prot == LINKTO_BITS;
    match names::on_set(name) {
        OnSet::Drop => Ok(()),
        OnSet::Refuse(errno) => Err(errno),
        OnSet::AclText | OnSet::Acl if is_linkto => Ok(()),
        OnSet::AclText => set_acl_text(brick, of, before, name, value),
        OnSet::MergeTimes => {
            let given = value.as_bytes().and_then(mdata::decode).ok_or(Errno::INVAL)?;
            merge_times(brick, of, given)
        }
        OnSet::Acl | OnSet::Store => brick.sys.setxattr(of.target(brick), name, &stored_bytes(value)?, flags),
    }
}

fn set_acl_text(brick: &Brick, of: &Subject, before: &Attrs, name: &CStr, value: &Value) -> SysResult<()> {
    if before.iatt.kind == IaType::Symlink {
        return Err(Errno::OPNOTSUPP);
    }
    let acl = Acl::from_text(value.as_str().ok_or(Errno::INVAL)?)?;
    let stored = if name == keys::ACL_TEXT { keys::ACL_ACCESS } else { keys::ACL_DEFAULT };
    if !acl.is_empty() {
        return brick.sys.setxattr(of.target(brick), stored, &acl.to_binary(), XattrFlags::empty());
    }
    match brick.sys.removexattr(of.target(brick), stored) {
        Err(Errno::NODATA) => Ok(()),
        other => other,
    }
}

/// Makes `trusted.glusterfs.mdata`, or moves its times forward. The object's lock must be held.
fn merge_times(brick: &Brick, of: &Subject, given: MdataTimes) -> SysResult<()> {
    let target = of.target(brick);
    let mut held = brick.times.hold(of.gfid);
    held.forget();
    let old = match raw::value(&*brick.sys, target, keys::MDATA) {
        Ok(value) => mdata::decode(&value),
        Err(Errno::NODATA) => None,
        Err(errno) => return Err(errno),
    };
    let new = mdata::merged(old, given);
    if old == Some(new) {
        return Ok(());
    }
    brick.sys.setxattr(target, keys::MDATA, &mdata::encode(&new), XattrFlags::empty())
}

/// Removes the `user.*` attributes and ACLs that are not among those given: distribute heals a directory.
fn remove_others(brick: &Brick, of: &Subject, given: &Dict) -> SysResult<()> {
    let target = of.target(brick);
    let list = raw::list(&*brick.sys, target)?;
    for name in raw::split(&list) {
        let healed =
            name.to_bytes().starts_with(b"user.") || name == keys::ACL_ACCESS || name == keys::ACL_DEFAULT;
        if !healed || given.contains(name) {
            continue;
        }
        match brick.sys.removexattr(target, name) {
            Ok(()) | Err(Errno::NODATA) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

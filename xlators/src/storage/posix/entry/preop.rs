//! The check that distribute asks for before it makes a directory or a file: is the parent's layout still the one it knows?

use kiln_uring::sys::XattrTarget;
use kiln_uring::{Errno, File};

use crate::error::FopError;
use crate::keys;
use crate::storage::posix::Brick;
use crate::types::{Value, Xdata, dict};

/// Which fop asks: they differ when the parent has no such attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    Create,
    Mkdir,
}

/// Compares the attribute that the request names (`glusterfs.preop.parent.key`) and brings with that of the parent, and takes
/// both keys out of the request, so that the parent's layout is not stored on the child.
///
/// # Errors
/// `EIO` with `glusterfs.preop.check.failed` when they differ; for a mkdir under a parent without it, `ENODATA`.
pub(super) fn check(brick: &Brick, dir: &File, xdata: &mut Xdata, asker: Asker) -> Result<(), FopError> {
    let Some(asked) = xdata.get(keys::PREOP_PARENT_KEY) else { return Ok(()) };
    let key = asked.as_str().map(str::as_bytes).ok_or(Errno::INVAL).and_then(dict::key_from_bytes)?;
    let wanted = xdata.get(&key).and_then(Value::as_bytes).ok_or(Errno::INVAL)?.to_vec();
    let failed = || {
        let failed = [(keys::PREOP_CHECK_FAILED, Value::Int(1))];
        FopError::new(Errno::IO).with_xdata(Xdata::new(failed.into_iter().collect()))
    };
    // One more than wanted shows a longer one.
    let mut found = vec![0; wanted.len() + 1];
    match brick.sys.getxattr(XattrTarget::Fd(dir.fd()), &key, &mut found) {
        Ok(len) if found[..len] == wanted[..] => {}
        Ok(_) | Err(Errno::RANGE) => return Err(failed()),
        Err(errno) if asker == Asker::Mkdir => return Err(errno.into()),
        Err(_) => return Err(failed()),
    }
    let dict = xdata.make();
    dict.remove(&key);
    dict.remove(keys::PREOP_PARENT_KEY);
    Ok(())
}

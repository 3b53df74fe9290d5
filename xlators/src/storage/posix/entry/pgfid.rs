//! `trusted.pgfid.<parent gfid>`: how many names a non-directory has in that directory, a big-endian u32. Kept only with the
//! option `update-link-count-parent`, which quota of old volumes uses.
//!
//! Source: GlusterFS v10.3, `xlators/storage/posix/src/posix-helpers.h` (`SET_PGFID_XATTR`, `LINK_MODIFY_PGFID_XATTR`,
//! `UNLINK_MODIFY_PGFID_XATTR`).

use std::ffi::CString;

use kiln_uring::sys::{XattrFlags, XattrTarget};
use kiln_uring::{Errno, SysResult};

use crate::keys;
use crate::storage::posix::Brick;
use crate::types::Gfid;

/// Name of the attribute.
pub(super) fn key(parent: Gfid) -> CString {
    let mut key = keys::PGFID_PREFIX.to_bytes().to_vec();
    key.extend_from_slice(&parent.to_text());
    CString::new(key).unwrap_or_default()
}

impl Brick {
    /// One name more in `parent`. The object's stripe must be held, or nobody else know of the object yet.
    ///
    /// # Errors
    /// Those of `setxattr(2)`.
    pub(super) fn count_name(&self, target: XattrTarget<'_>, parent: Gfid) -> SysResult<()> {
        if !self.settings().update_link_count_parent {
            return Ok(());
        }
        let count = self.names_in(target, parent)?.saturating_add(1);
        self.sys.setxattr(target, &key(parent), &count.to_be_bytes(), XattrFlags::empty())
    }

    /// One name less in `parent`; at 0 the attribute goes. The name has gone already, so that a failure is for the log only.
    pub(super) fn uncount_name(&self, target: XattrTarget<'_>, gfid: Gfid, parent: Gfid) {
        if !self.settings().update_link_count_parent {
            return;
        }
        let counted = match self.names_in(target, parent) {
            Ok(0) => Ok(()),
            Ok(1) => self.sys.removexattr(target, &key(parent)),
            Ok(count) => {
                self.sys.setxattr(target, &key(parent), &(count - 1).to_be_bytes(), XattrFlags::empty())
            }
            Err(errno) => Err(errno),
        };
        if let Err(errno) = counted {
            tracing::warn!(%gfid, %parent, %errno, "cannot keep trusted.pgfid");
        }
    }

    /// Sets the count to what the names are, after a process was killed between a name and its count.
    ///
    /// # Errors
    /// Those of `setxattr(2)`.
    pub(super) fn recount_names(&self, target: XattrTarget<'_>, parent: Gfid, names: u32) -> SysResult<bool> {
        if !self.settings().update_link_count_parent || self.names_in(target, parent)? == names {
            return Ok(false);
        }
        match names {
            0 => self.sys.removexattr(target, &key(parent))?,
            names => self.sys.setxattr(target, &key(parent), &names.to_be_bytes(), XattrFlags::empty())?,
        }
        Ok(true)
    }

    /// The count; 0 without one, or when it is damaged.
    fn names_in(&self, target: XattrTarget<'_>, parent: Gfid) -> SysResult<u32> {
        let mut count = [0; 4];
        match self.sys.getxattr(target, &key(parent), &mut count) {
            Ok(4) => Ok(u32::from_be_bytes(count)),
            Ok(_) | Err(Errno::NODATA | Errno::RANGE) => Ok(0),
            Err(errno) => Err(errno),
        }
    }
}

//! Everything that changes names.
//!
//! # Orders
//!
//! An object is reached by its name and by its handle, and a process can be killed between any two system calls. So:
//!
//! - A new object gets everything it must have before anybody can see it, then its handle, then its name. A regular file
//!   is built without a name (`O_TMPFILE`, in its parent directory, so that the kernel hands down group and ACL), a device
//!   or a symbolic link at its handle, a directory in [`super::boot::TEMP`].
//! - A name goes first, then the handle: what is left in between is an object without a name, which nobody sees.
//! - A directory's handle is replaced atomically, after the directory has moved; the new one is made before.
//! - `trusted.gfid2path` of a new name is set before the name is there, that of an old one is removed when it is gone.
//!
//! Whatever the process leaves half done is in an intent's slot ([`super::intents`]) and is finished or undone at the next
//! start ([`recovery`]).
//!
//! # Locks
//!
//! New names need none: the kernel refuses the second `link` or `rename` of two. Who takes a name away must know which
//! object it belongs to until it is gone, so unlink, rmdir and rename hold the stripe of the name. Who decides by an
//! object's link count holds the object's stripe: link, unlink, rename over a victim.

mod create;
mod dress;
pub mod heal;
mod inherit;
mod link;
mod make;
mod pgfid;
mod preop;
pub mod recovery;
mod remove;
mod rename;
#[cfg(test)]
mod tests;
mod xdata_xattrs;

pub(super) use link::MAX_PATHS;
pub(super) use remove::QUICK_BLOCKS;

use std::ffi::{CStr, CString};
use std::sync::Arc;

use kiln_uring::sys::{RenameFlags, XattrTarget};
use kiln_uring::{AtFlags, Errno, File, RawFd, SysResult, Warmth};

use super::handle::{HandlePath, directory_target, gfid_name};
use super::mdata::Role;
use super::{Attrs, Brick, Posix};
use crate::call::{Call, CallTimes};
use crate::error::FopResult;
use crate::keys;
use crate::types::{Gfid, Iatt, Loc, Name, Xdata};

/// An entry that a fop is about: the directory, open, and the name in it.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    /// The directory.
    pub parent: Gfid,
    /// The same, open.
    pub dir: Arc<File>,
    /// The name.
    pub name: Name,
}

impl Spot {
    /// Where the entry's extended attributes are.
    pub fn target(&self) -> XattrTarget<'_> {
        XattrTarget::At(self.dir.fd(), self.name.as_c_str())
    }

    /// Key of the name's stripe.
    pub fn key(&self) -> u64 {
        super::stripes::entry_key(self.parent, self.name.as_bytes())
    }

    /// The name with its directory, as intents and handles want it.
    pub fn named(&self) -> (Gfid, &Name) {
        (self.parent, &self.name)
    }
}

impl Posix {
    /// The entry that a loc names, and whether it is in the kernel's caches.
    ///
    /// # Errors
    /// `EINVAL` without a name, `EPERM` for the housekeeping directory, `ESTALE` when the parent is gone.
    async fn spot(&self, loc: Loc) -> Result<(Spot, Warmth), Errno> {
        let Some(name) = loc.name else { return Err(Errno::INVAL) };
        if super::lookup::is_dot_glusterfs(loc.parent, &name) {
            return Err(Errno::PERM);
        }
        let dir = self.directory(loc.parent).await?;
        let warmth = self.entry_warmth(loc.parent, &dir, &name).await;
        Ok((Spot { parent: loc.parent, dir, name }, warmth))
    }

    /// Forgets the directories of fops that found them gone.
    fn after<T>(&self, parents: &[Gfid], result: FopResult<T>) -> FopResult<T> {
        if result.as_ref().is_err_and(|error| error.errno == Errno::STALE) {
            parents.iter().for_each(|parent| self.drop_directory(*parent));
        }
        result
    }

    /// `ENOSPC` when the reserve is reached and the caller is an ordinary one.
    fn has_space(&self, call: &Call, xdata: &Xdata) -> Result<(), Errno> {
        self.brick.check_space(call.caller(), xdata)
    }
}

/// The gfid that a new object shall have.
///
/// # Errors
/// `EINVAL` without one.
fn wanted_gfid(xdata: &Xdata) -> Result<Gfid, Errno> {
    let gfid = xdata.get(keys::GFID_REQ).and_then(crate::types::Value::as_gfid).ok_or(Errno::INVAL)?;
    if gfid.is_null() || gfid.is_root() { Err(Errno::INVAL) } else { Ok(gfid) }
}

/// A directory that vanished under a fop is ESTALE, not ENOENT: the caller asked for something in it.
fn in_parent(errno: Errno) -> Errno {
    if errno == Errno::NOENT { Errno::STALE } else { errno }
}

impl Brick {
    /// A parent's attributes after the fop: its times moved by the caller's clock, if the fop asks for that.
    fn parent_after(&self, gfid: Gfid, dir: &File, before: &Attrs, times: &CallTimes) -> Iatt {
        let target = XattrTarget::Fd(dir.fd());
        debug_assert_eq!(gfid, before.iatt.gfid);
        let after = self.attrs_after(target, before, times, Role::Parent, || self.sys.stat(dir.fd()));
        // The fop has happened; a parent that cannot be looked at is no reason to call it failed.
        after.map_or(before.iatt, |after| after.iatt)
    }

    /// Does something at the place of a handle; its directory is made when it is missing.
    pub(super) fn at_handle<T>(
        &self,
        gfid: Gfid,
        act: impl Fn(RawFd, &CStr) -> SysResult<T>,
    ) -> SysResult<T> {
        let handle = HandlePath::new(gfid);
        match act(self.dot.fd(), handle.as_c_str()) {
            Err(Errno::NOENT) => {}
            done => return done,
        }
        match self.sys.mkdir_at(self.dot.fd(), &handle.leaf_dir(), 0o700) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(Errno::NOENT) => {
                // Even the first level is missing, which is made at every start: somebody tidied up.
                self.sys.mkdir_at(self.dot.fd(), &handle.first_dir(), 0o700)?;
                self.sys.mkdir_at(self.dot.fd(), &handle.leaf_dir(), 0o700)?;
            }
            Err(errno) => return Err(errno),
        }
        act(self.dot.fd(), handle.as_c_str())
    }

    /// Removes a handle; one that is not there is fine.
    pub(super) fn remove_handle(&self, gfid: Gfid) -> SysResult<()> {
        match self.sys.unlink_at(self.dot.fd(), HandlePath::new(gfid).as_c_str(), AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            done => done,
        }
    }

    /// Removes a handle where a failure can only be told to the log.
    fn drop_handle(&self, gfid: Gfid) {
        if let Err(errno) = self.remove_handle(gfid) {
            tracing::warn!(%gfid, %errno, "cannot remove a handle; the next start will");
        }
    }

    /// Makes a directory's handle under a temporary name. `side` tells the two of an exchange apart.
    fn draft_dir_handle(&self, gfid: Gfid, parent: Gfid, name: &Name) -> SysResult<CString> {
        let draft = draft_name(gfid);
        let target = directory_target(parent, name);
        match self.sys.symlink_at(&target, self.temp_dir.fd(), &draft) {
            // Left by a failure; names of drafts are used under the lock of the object's name only.
            Err(Errno::EXIST) => {
                self.sys.unlink_at(self.temp_dir.fd(), &draft, AtFlags::empty())?;
                self.sys.symlink_at(&target, self.temp_dir.fd(), &draft)?;
            }
            done => done?,
        }
        Ok(draft)
    }

    /// Puts the drafted handle into its place, over an older one.
    fn place_dir_handle(&self, gfid: Gfid, draft: &CStr) -> SysResult<()> {
        self.at_handle(gfid, |dot, path| {
            self.sys.rename_at(self.temp_dir.fd(), draft, dot, path, RenameFlags::empty())
        })
    }

    /// Drops a draft that is not needed.
    fn drop_draft(&self, draft: &CStr) {
        let dropped = self.sys.unlink_at(self.temp_dir.fd(), draft, AtFlags::empty());
        if let Err(errno) = dropped
            && errno != Errno::NOENT
        {
            tracing::warn!(?draft, %errno, "cannot remove a temporary name; the next start will");
        }
    }

    /// Makes the handle of a directory say that it is `name` in `parent`, whatever it said before.
    pub(super) fn set_dir_handle(&self, gfid: Gfid, parent: Gfid, name: &Name) -> SysResult<()> {
        let draft = self.draft_dir_handle(gfid, parent, name)?;
        self.place_dir_handle(gfid, &draft).inspect_err(|_| self.drop_draft(&draft))
    }

    /// Removes the handle of a directory if it says that the directory is `name` in `parent`.
    pub(super) fn remove_dir_handle(&self, gfid: Gfid, parent: Gfid, name: &Name) {
        if self.parent_of_dir(gfid).is_ok_and(|(found, its_name)| found == parent && its_name == *name) {
            self.drop_handle(gfid);
        }
    }
}

fn draft_name(gfid: Gfid) -> CString {
    let mut name = gfid_name(gfid).into_bytes();
    name.extend_from_slice(b".handle");
    CString::new(name).unwrap_or_default()
}

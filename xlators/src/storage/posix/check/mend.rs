//! The repairs, each a few system calls. What makes them safe (that nobody serves the brick, or that stripes are held) is the
//! callers' business.

use std::ffi::CStr;
use std::sync::Arc;

use kiln_uring::sys::{AtFlags, RawFd, XattrFlags, XattrTarget};
use kiln_uring::{Errno, File, Sys, SysResult};

use crate::keys;
use crate::storage::posix::handle::{HandlePath, ROOT_TARGET, directory_target};
use crate::types::{Gfid, Name};

/// The directories that the repairs need.
#[derive(Clone, Debug)]
pub(super) struct Mender {
    pub sys: Arc<dyn Sys>,
    /// The brick's root.
    pub root: Arc<File>,
    /// `.glusterfs`.
    pub dot: Arc<File>,
}

impl Mender {
    /// Where a handle's extended attributes are.
    pub fn handle_target<'a>(&self, handle: &'a HandlePath) -> XattrTarget<'a> {
        XattrTarget::At(self.dot.fd(), handle.as_c_str())
    }

    /// Does something at the place of a handle; the directories above are made when they are missing.
    fn at_handle(&self, gfid: Gfid, act: impl Fn(RawFd, &CStr) -> SysResult<()>) -> SysResult<()> {
        let handle = HandlePath::new(gfid);
        match act(self.dot.fd(), handle.as_c_str()) {
            Err(Errno::NOENT) => {}
            done => return done,
        }
        for dir in [handle.first_dir(), handle.leaf_dir()] {
            match self.sys.mkdir_at(self.dot.fd(), &dir, 0o700) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        act(self.dot.fd(), handle.as_c_str())
    }

    /// Makes the handle of the non-directory `name`.
    pub fn link_handle(&self, gfid: Gfid, dir: &File, name: &CStr) -> SysResult<()> {
        self.at_handle(gfid, |dot, path| self.sys.link_at(dir.fd(), name, dot, path))
    }

    /// Makes the handle of the directory `name` in `parent`.
    pub fn dir_handle(&self, gfid: Gfid, parent: Gfid, name: &Name) -> SysResult<()> {
        let target = directory_target(parent, name);
        self.at_handle(gfid, |dot, path| self.sys.symlink_at(&target, dot, path))
    }

    /// Makes the handle of the root.
    pub fn root_handle(&self) -> SysResult<()> {
        self.at_handle(Gfid::ROOT, |dot, path| self.sys.symlink_at(ROOT_TARGET, dot, path))
    }

    /// Removes a handle; one that is not there is fine.
    pub fn remove_handle(&self, gfid: Gfid) -> SysResult<()> {
        let handle = HandlePath::new(gfid);
        match self.sys.unlink_at(self.dot.fd(), handle.as_c_str(), AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            done => done,
        }
    }

    /// Gives an object a gfid.
    pub fn set_gfid(&self, target: XattrTarget<'_>, gfid: Gfid) -> SysResult<()> {
        self.sys.setxattr(target, keys::GFID, gfid.as_bytes(), XattrFlags::CREATE)
    }

    /// A gfid that nothing has.
    pub fn fresh_gfid(&self) -> Gfid {
        let mut bytes = [0; 16];
        self.sys.random(&mut bytes);
        Gfid::from_random(bytes)
    }
}

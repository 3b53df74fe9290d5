//! What every new object gets before anybody can see it: owner, mode, ACLs, `trusted.gfid2path`, the attributes that the
//! request brings, `trusted.gfid`, the caller's times.

use kiln_uring::sys::{OpenFlags, Stat, XattrFlags, XattrTarget};
use kiln_uring::{Errno, File, SysResult};

use super::inherit::Inherited;
use super::{Spot, xdata_xattrs};
use crate::call::CallTimes;
use crate::keys;
use crate::storage::posix::gfid2path::Gfid2Path;
use crate::storage::posix::handle::HandlePath;
use crate::storage::posix::mdata::{self, Role};
use crate::storage::posix::{Attrs, Brick};
use crate::types::{Gfid, Iatt, MdataTimes, Xdata};

/// The bits that a change of owner takes from a non-directory.
const SET_ID: u32 = 0o6000;
const ISGID: u32 = 0o2000;

/// What is to be made.
#[derive(Clone, Debug)]
pub(super) struct New {
    /// Where.
    pub spot: Spot,
    /// Who it will be.
    pub gfid: Gfid,
    /// Owner.
    pub uid: u32,
    /// Group, unless the parent hands down another.
    pub gid: u32,
    /// Mode with type bits.
    pub mode: u32,
    /// The caller's clock.
    pub times: CallTimes,
    /// Attributes and messages.
    pub xdata: Xdata,
}

impl New {
    /// The group that it will have.
    pub fn group(&self, parent: &Stat) -> u32 {
        if parent.mode & ISGID != 0 { parent.gid } else { self.gid }
    }
}

impl Brick {
    /// Owner and mode of a file that the kernel made in its parent's directory, where it has the parent's group if that has
    /// the set-group-ID bit, and else root's.
    pub(super) fn own_file(&self, file: &File, new: &New, parent: &Stat) -> SysResult<()> {
        let group = new.group(parent);
        let made_with = if parent.mode & ISGID != 0 { parent.gid } else { 0 };
        if (new.uid, group) == (0, made_with) {
            return Ok(());
        }
        if new.mode & SET_ID == 0 {
            return self.sys.chown(file.fd(), new.uid, group);
        }
        // Not the mode that was asked for: the parent's default ACL has had its say.
        let mode = self.sys.stat(file.fd())?.mode;
        self.sys.chown(file.fd(), new.uid, group)?;
        self.sys.chmod(file.fd(), mode & 0o7777)
    }

    /// Owner, mode and inherited ACLs of something that was made elsewhere, by its path.
    pub(super) fn own_path(
        &self,
        dir: i32,
        path: &std::ffi::CStr,
        new: &New,
        from: &Inherited,
    ) -> SysResult<()> {
        if (new.uid, from.gid) != (0, 0) {
            self.sys.chown_at(dir, path, new.uid, from.gid)?;
        }
        let kind = from.mode & libc::S_IFMT;
        if kind != libc::S_IFLNK
            && ((new.uid, from.gid) != (0, 0) || kind == libc::S_IFDIR)
            && from.mode & SET_ID != 0
        {
            self.sys.chmod_at(dir, path, from.mode & 0o7777)?;
        }
        let acls = [(keys::ACL_ACCESS, &from.access), (keys::ACL_DEFAULT, &from.default)];
        for (key, acl) in acls {
            if let Some(acl) = acl {
                self.sys.setxattr(XattrTarget::At(dir, path), key, acl, XattrFlags::empty())?;
            }
        }
        Ok(())
    }

    /// The extended attributes of a new object, `trusted.gfid` last but for the times. Returns the times it has now.
    pub(super) fn dress(&self, target: XattrTarget<'_>, new: &New) -> SysResult<Option<MdataTimes>> {
        if !new.xdata.is_none() {
            xdata_xattrs::store_acls(self, target, &new.xdata)?;
        }
        let settings = self.settings();
        if new.mode & libc::S_IFMT != libc::S_IFDIR {
            let (parent, name) = new.spot.named();
            if settings.gfid2path {
                let path = Gfid2Path::new(parent, name);
                self.sys.setxattr(target, &path.key, &path.value, XattrFlags::CREATE)?;
            }
            if settings.update_link_count_parent {
                self.count_name(target, parent)?;
            }
        }
        if !new.xdata.is_none() {
            xdata_xattrs::store(self, target, &new.xdata)?;
        }
        self.sys.setxattr(target, keys::GFID, new.gfid.as_bytes(), XattrFlags::CREATE)?;
        // Another object may have had the gfid, and its inode number, before.
        self.times.hold(new.gfid).forget();
        let times = mdata::moved(None, &new.times, Role::Own).filter(|_| settings.ctime);
        if let Some(times) = &times {
            self.sys.setxattr(target, keys::MDATA, &mdata::encode(times), XattrFlags::CREATE)?;
        }
        Ok(times)
    }

    /// The attributes of what has just been made.
    pub(super) fn made_attrs(gfid: Gfid, stat: &Stat, mdata: Option<&MdataTimes>) -> Iatt {
        let mut iatt = Iatt::from_stat(gfid, stat);
        if let Some(times) = mdata {
            mdata::apply(&mut iatt, times);
        }
        iatt
    }

    /// A regular file, dressed, with its handle and without a name. It is open for reading and writing, and `fill` may put
    /// something into it before anybody sees it. Of `flags` only those count that concern the descriptor.
    ///
    /// # Errors
    /// `EEXIST` when another object has the gfid; nothing is left behind.
    pub(super) fn build_file(
        &self,
        new: &New,
        parent: &Attrs,
        flags: OpenFlags,
        fill: impl Fn(&File) -> SysResult<()>,
    ) -> SysResult<(File, Option<MdataTimes>)> {
        use std::sync::atomic::Ordering;

        if !self.lacks_tmpfile.load(Ordering::Relaxed) {
            let how =
                kiln_uring::How::new((flags & OpenFlags::APPEND) | OpenFlags::TMPFILE | OpenFlags::RDWR);
            let how = how.mode(new.mode & 0o7777);
            match self.sys.openat2(new.spot.dir.fd(), c".", how) {
                Ok(fd) => {
                    let file = File::new(std::sync::Arc::clone(&self.sys), fd);
                    self.own_file(&file, new, &parent.stat)?;
                    let times = self.dress(XattrTarget::Fd(file.fd()), new)?;
                    fill(&file)?;
                    self.at_handle(new.gfid, |dot, path| self.sys.link_fd(file.fd(), dot, path))?;
                    return Ok((file, times));
                }
                // Kernels that know the flag answer the first, others take it for O_DIRECTORY and answer the second.
                Err(Errno::OPNOTSUPP | Errno::ISDIR) => self.lacks_tmpfile.store(true, Ordering::Relaxed),
                Err(errno) => return Err(super::in_parent(errno)),
            }
        }
        self.build_file_at_handle(new, parent, flags, fill)
    }

    /// The same on file systems that make no nameless files.
    fn build_file_at_handle(
        &self,
        new: &New,
        parent: &Attrs,
        flags: OpenFlags,
        fill: impl Fn(&File) -> SysResult<()>,
    ) -> SysResult<(File, Option<MdataTimes>)> {
        let inherited = super::inherit::from_parent(self, &new.spot.dir, &parent.stat, new.mode, new.gid)?;
        let flags = (flags & OpenFlags::APPEND) | OpenFlags::RDWR | OpenFlags::CREAT | OpenFlags::EXCL;
        let how = kiln_uring::How::new(flags).mode(inherited.mode & 0o7777);
        let fd = self.at_handle(new.gfid, |dot, path| self.sys.openat2(dot, path, how))?;
        let file = File::new(std::sync::Arc::clone(&self.sys), fd);
        let handle = HandlePath::new(new.gfid);
        let finish = || -> SysResult<Option<MdataTimes>> {
            self.own_path(self.dot.fd(), handle.as_c_str(), new, &inherited)?;
            let times = self.dress(XattrTarget::Fd(file.fd()), new)?;
            fill(&file)?;
            Ok(times)
        };
        let times = finish().inspect_err(|_| self.drop_handle(new.gfid))?;
        Ok((file, times))
    }

    /// A fifo, a device, a socket or, with a target, a symbolic link, dressed, at its handle, without a name.
    ///
    /// # Errors
    /// `EEXIST` when another object has the gfid; nothing is left behind.
    pub(super) fn build_special(
        &self,
        new: &New,
        parent: &Attrs,
        make: impl Fn(i32, &std::ffi::CStr, u32) -> SysResult<()>,
    ) -> SysResult<Option<MdataTimes>> {
        let inherited = super::inherit::from_parent(self, &new.spot.dir, &parent.stat, new.mode, new.gid)?;
        self.at_handle(new.gfid, |dot, path| make(dot, path, inherited.mode))?;
        let handle = HandlePath::new(new.gfid);
        let finish = || -> SysResult<Option<MdataTimes>> {
            self.own_path(self.dot.fd(), handle.as_c_str(), new, &inherited)?;
            self.dress(XattrTarget::At(self.dot.fd(), handle.as_c_str()), new)
        };
        finish().inspect_err(|_| self.drop_handle(new.gfid))
    }
}

//! The brick: the open directories of one exported tree, and what all cores share about it.
//!
//! Everything here is blocking; which thread runs it is decided by [`super::Posix::run`].

use std::ffi::{CStr, CString};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use kiln_uring::sys::{How, OpenFlags, Resolve, Stat, Timespec, XattrFlags, XattrTarget};
use kiln_uring::{AtFlags, Errno, File, Sys, SysResult};

use super::handle::{HandlePath, parse_directory_target};
use super::intents::Intents;
use super::known_gfids::KnownGfids;
use super::known_times::{KnownTimes, Look};
use super::mdata::{self, Role};
use super::open_counts::OpenCounts;
use super::options::Settings;
use super::stripes::{Stripes, Watch};
use crate::call::{CallTimes, Caller};
use crate::keys;
use crate::types::{Gfid, Iatt, MdataTimes, Name, Xdata};

/// Name of the housekeeping directory under the brick's root.
pub const DOT_GLUSTERFS: &CStr = c".glusterfs";

/// Deepest directory that a walk by handles reaches; deeper chains are loops.
pub const MAX_DEPTH: usize = 4096;

/// See the [module](self).
#[derive(Debug)]
pub struct Brick {
    /// The kernel.
    pub sys: Arc<dyn Sys>,
    /// As the volfile names it.
    pub path: PathBuf,
    /// The brick's root.
    pub root: Arc<File>,
    /// `.glusterfs`.
    pub dot: Arc<File>,
    /// `.glusterfs/unlink`: what was unlinked while open.
    pub unlink_dir: Arc<File>,
    /// `.glusterfs/landfill`: what the janitor deletes.
    pub landfill_dir: Arc<File>,
    /// Where directories and handles are made before they get their place; empty at every start.
    pub temp_dir: Arc<File>,
    /// What jobs are about to do.
    pub intents: Intents,
    /// The machine's name, for pathinfo.
    pub host: String,
    /// Locks of names, by [`super::stripes::entry_key`].
    pub entries: Stripes,
    /// Locks of objects, by [`super::stripes::object_key`].
    pub objects: Stripes,
    /// What is known of objects' `trusted.glusterfs.mdata`, and its locks: taken last, and for a few calls only.
    pub times: KnownTimes,
    /// What is known of inodes' `trusted.gfid`.
    pub gfids: KnownGfids,
    /// The file system is nothing but the kernel's caches: no call waits for a disk.
    pub in_memory: bool,
    /// The file system makes no files without a name (`O_TMPFILE`).
    pub lacks_tmpfile: AtomicBool,
    /// Instances, one per core, that have not stopped yet.
    pub instances: AtomicUsize,
    /// Who has what open.
    pub opens: OpenCounts,
    /// The file system has less space than the reserve.
    pub full: AtomicBool,
    /// Moves when a directory's gfid may have got another directory: caches of descriptors are void then.
    pub directories_epoch: AtomicU64,
    settings: RwLock<Arc<Settings>>,
    /// Why the brick cannot serve any more.
    failed: OnceLock<String>,
    /// Copies of settings that every fop asks for.
    ctime: AtomicBool,
    o_direct: AtomicBool,
}

/// An object on the brick, as system calls can reach it.
#[derive(Clone, Debug)]
pub enum Object {
    /// A directory, open for reading.
    Dir(Arc<File>),
    /// Anything else, by its handle.
    Other(HandlePath),
    /// A file that was unlinked while open, by its name in `unlink/`.
    Parked(CString),
}

/// What is known of an object.
#[derive(Clone, Copy, Debug)]
pub struct Attrs {
    /// From the kernel, with the client's times over it.
    pub iatt: Iatt,
    /// The kernel's own.
    pub stat: Stat,
    /// `trusted.glusterfs.mdata`, when `ctime` is on and it is there.
    pub mdata: Option<MdataTimes>,
}

impl Attrs {
    /// Puts the client's times over the kernel's.
    #[must_use]
    pub fn new(gfid: Gfid, stat: Stat, mdata: Option<MdataTimes>) -> Self {
        let mut iatt = Iatt::from_stat(gfid, &stat);
        if let Some(times) = &mdata {
            mdata::apply(&mut iatt, times);
        }
        Self { iatt, stat, mdata }
    }
}

impl Brick {
    /// Puts the opened directories together; see [`super::boot::open_brick`] for how they come to be.
    #[must_use]
    pub fn new(
        sys: Arc<dyn Sys>,
        path: &Path,
        dirs: super::boot::Directories,
        intents: Intents,
        host: String,
        settings: Settings,
    ) -> Self {
        let super::boot::Directories { root, dot, unlink_dir, landfill_dir, temp_dir } = dirs;
        let in_memory = sys.statfs(root.fd()).is_ok_and(|found| super::warm::is_in_memory(found.kind));
        Self {
            in_memory,
            sys,
            path: path.to_owned(),
            root,
            dot,
            unlink_dir,
            landfill_dir,
            temp_dir,
            intents,
            host,
            entries: Stripes::default(),
            objects: Stripes::default(),
            times: KnownTimes::default(),
            gfids: KnownGfids::default(),
            lacks_tmpfile: AtomicBool::new(false),
            instances: AtomicUsize::new(0),
            opens: OpenCounts::default(),
            full: AtomicBool::new(false),
            directories_epoch: AtomicU64::new(0),
            failed: OnceLock::new(),
            ctime: AtomicBool::new(settings.ctime),
            o_direct: AtomicBool::new(settings.o_direct),
            settings: RwLock::new(Arc::new(settings)),
        }
    }

    /// The options in force.
    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other options in force.
    pub fn set_settings(&self, settings: Settings) {
        self.ctime.store(settings.ctime, Ordering::Relaxed);
        self.o_direct.store(settings.o_direct, Ordering::Relaxed);
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    /// Whether the reserve is reached.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// The brick's disk does not work: no fop is served from now on. The first reason counts.
    pub fn fail(&self, reason: String) {
        let text = format!("brick {}: {reason}", self.path.display());
        if self.failed.set(text.clone()).is_ok() {
            tracing::error!("{text}; it serves no fop any more");
        }
    }

    /// Why the brick has failed, if it has.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.failed.get().map(String::as_str)
    }

    /// Whether fops are served.
    ///
    /// # Errors
    /// `ENOTCONN` once the health check has failed.
    pub fn check_health(&self) -> SysResult<()> {
        if self.failed.get().is_some() { Err(Errno::NOTCONN) } else { Ok(()) }
    }

    /// Whether the caller may make the brick fuller.
    ///
    /// # Errors
    /// `ENOSPC` when the reserve is reached, unless GlusterFS itself asks.
    pub fn check_space(&self, caller: &Caller, xdata: &Xdata) -> SysResult<()> {
        let refused = self.is_full() && !caller.is_internal() && !xdata.contains(keys::INTERNAL_FOP);
        if refused { Err(Errno::NOSPC) } else { Ok(()) }
    }

    /// The last instance stops: nothing is under way any more, and the next start need not look for it.
    pub fn stop(&self) {
        let removed = self.intents.remove(&self.sys, &self.dot).and_then(|()| {
            match self.sys.unlink_at(self.dot.fd(), super::boot::TEMP, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
                Err(errno) => Err(errno),
            }
        });
        if let Err(errno) = removed {
            tracing::warn!(brick = %self.path.display(), %errno, "cannot remove the record of operations; the next start reads it");
        }
    }

    // --- finding objects -----------------------------------------------------------------------------------------------

    /// Opens the directory `gfid` by its handle, and makes sure that it is the one.
    ///
    /// # Errors
    /// `ENOENT` when there is no handle, or it leads nowhere; `ENOTDIR` when the object is no directory; `ESTALE` when the
    /// handle leads to another directory.
    pub fn open_dir(&self, gfid: Gfid) -> SysResult<Arc<File>> {
        if gfid.is_root() {
            return Ok(Arc::clone(&self.root));
        }
        if gfid.is_null() {
            return Err(Errno::NOENT);
        }
        let handle = HandlePath::new(gfid);
        let mut path = Vec::with_capacity(64);
        path.extend_from_slice(DOT_GLUSTERFS.to_bytes());
        path.push(b'/');
        path.extend_from_slice(handle.as_c_str().to_bytes_with_nul());
        let path = CString::from_vec_with_nul(path).map_err(|_| Errno::INVAL)?;
        // The kernel walks the chain of handles; beneath the root, whatever a damaged handle says.
        let how = How::new(OpenFlags::DIRECTORY)
            .resolve(Resolve::BENEATH | Resolve::NO_MAGICLINKS | Resolve::NO_XDEV);
        let opened = loop {
            match self.sys.openat2(self.root.fd(), &path, how) {
                // A rename elsewhere raced with the walk; the kernel cannot tell whether it stayed beneath.
                Err(Errno::AGAIN) => continue,
                other => break other,
            }
        };
        let dir = match opened {
            Ok(fd) => Arc::new(File::new(Arc::clone(&self.sys), fd)),
            Err(Errno::LOOP) => self.walk_to(gfid)?,
            Err(Errno::XDEV) => return Err(Errno::STALE),
            Err(errno) => return Err(errno),
        };
        match self.gfid_of(XattrTarget::Fd(dir.fd())) {
            Ok(found) if found == gfid => Ok(dir),
            // A symbolic link's own handle leads somewhere else: the object is no directory.
            _ if self.stat_handle(gfid).is_ok_and(|stat| stat.is_symlink() && stat.nlink > 1) => {
                Err(Errno::NOTDIR)
            }
            _ => Err(Errno::STALE),
        }
    }

    /// The same step by step, for chains of more than 40 symbolic links.
    fn walk_to(&self, gfid: Gfid) -> SysResult<Arc<File>> {
        let mut names = Vec::new();
        let mut at = gfid;
        while !at.is_root() {
            if names.len() >= MAX_DEPTH {
                return Err(Errno::LOOP);
            }
            let (parent, name) = self.parent_of_dir(at)?;
            names.push(name);
            at = parent;
        }
        let mut dir = Arc::clone(&self.root);
        for name in names.iter().rev() {
            dir = self.open_subdir(&dir, name)?;
        }
        Ok(dir)
    }

    /// Opens the directory `name` of `parent`, without following a symbolic link.
    ///
    /// # Errors
    /// Those of `openat2(2)`.
    pub fn open_subdir(&self, parent: &File, name: &Name) -> SysResult<Arc<File>> {
        let how = How::new(OpenFlags::DIRECTORY | OpenFlags::NOFOLLOW);
        let fd = self.sys.openat2(parent.fd(), name.as_c_str(), how)?;
        Ok(Arc::new(File::new(Arc::clone(&self.sys), fd)))
    }

    /// Parent and name of a directory, from its handle.
    ///
    /// # Errors
    /// `ENOENT` without a handle, `ESTALE` when it is damaged.
    pub fn parent_of_dir(&self, gfid: Gfid) -> SysResult<(Gfid, Name)> {
        let target = self.sys.readlink_at(self.dot.fd(), HandlePath::new(gfid).as_c_str())?;
        parse_directory_target(&target).ok_or(Errno::STALE)
    }

    /// `lstat` of the handle itself.
    ///
    /// # Errors
    /// `ENOENT` without a handle.
    pub fn stat_handle(&self, gfid: Gfid) -> SysResult<Stat> {
        self.sys.stat_at(self.dot.fd(), HandlePath::new(gfid).as_c_str())
    }

    /// Finds the object `gfid` and its `stat`.
    ///
    /// # Errors
    /// `ENOENT` when there is none (a handle that leads to no directory included), `ESTALE` for a damaged handle.
    pub fn object(&self, gfid: Gfid) -> SysResult<(Object, Stat)> {
        if gfid.is_root() {
            return Ok((Object::Dir(Arc::clone(&self.root)), self.sys.stat(self.root.fd())?));
        }
        if gfid.is_null() {
            return Err(Errno::NOENT);
        }
        let handle = HandlePath::new(gfid);
        let stat = self.sys.stat_at(self.dot.fd(), handle.as_c_str())?;
        // A directory's handle is a symbolic link of its own; a user's symbolic link has at least two names.
        if stat.is_symlink() && stat.nlink == 1 {
            let dir = self.open_dir(gfid)?;
            let stat = self.sys.stat(dir.fd())?;
            return Ok((Object::Dir(dir), stat));
        }
        Ok((Object::Other(handle), stat))
    }

    // --- attributes ----------------------------------------------------------------------------------------------------

    /// `trusted.gfid` of an object.
    ///
    /// # Errors
    /// `ENODATA` when it has none, `EIO` when it is not 16 bytes.
    pub fn gfid_of(&self, target: XattrTarget<'_>) -> SysResult<Gfid> {
        let mut bytes = [0; 16];
        match self.sys.getxattr(target, keys::GFID, &mut bytes) {
            Ok(16) => Ok(Gfid::from_bytes(bytes)),
            Ok(_) | Err(Errno::RANGE) => Err(Errno::IO),
            Err(errno) => Err(errno),
        }
    }

    /// The same for an entry with this `stat`, which may be known. `name` was watched since before the `stat`.
    ///
    /// # Errors
    /// See [`Brick::gfid_of`].
    pub fn gfid_of_entry(&self, target: XattrTarget<'_>, stat: &Stat, name: &Watch<'_>) -> SysResult<Gfid> {
        if let Some(gfid) = self.gfids.get(stat) {
            return Ok(gfid);
        }
        let gfid = self.gfid_of(target)?;
        self.gfids.put(stat, gfid, name);
        Ok(gfid)
    }

    /// `trusted.glusterfs.mdata` as it is on disk; a damaged one counts as none.
    ///
    /// # Errors
    /// Those of `getxattr(2)`, absence apart.
    pub fn mdata_of(&self, target: XattrTarget<'_>) -> SysResult<Option<MdataTimes>> {
        let mut bytes = [0; mdata::LEN];
        match self.sys.getxattr(target, keys::MDATA, &mut bytes) {
            Ok(len) => Ok(mdata::decode(&bytes[..len])),
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// The client's times of an object with this `stat`, when `ctime` is on: known, or read. `same` tells afterwards whether
    /// the target is still what `stat` was of.
    fn times_of(
        &self,
        gfid: Gfid,
        stat: &Stat,
        target: XattrTarget<'_>,
        same: impl FnOnce() -> bool,
    ) -> SysResult<Option<MdataTimes>> {
        if !self.ctime() {
            return Ok(None);
        }
        let look = match self.times.look(gfid, stat) {
            Look::Known(times) => return Ok(times),
            Look::Unknown(look) => look,
        };
        let times = self.mdata_of(target)?;
        if same() {
            self.times.learn(gfid, stat, times, look);
        }
        Ok(times)
    }

    /// Option `ctime`.
    #[must_use]
    pub fn ctime(&self) -> bool {
        self.ctime.load(Ordering::Relaxed)
    }

    /// Option `o-direct`.
    #[must_use]
    pub fn o_direct(&self) -> bool {
        self.o_direct.load(Ordering::Relaxed)
    }

    /// Everything about an object whose `stat` is known.
    ///
    /// # Errors
    /// Those of `getxattr(2)`.
    pub fn attrs(&self, gfid: Gfid, stat: Stat, target: XattrTarget<'_>) -> SysResult<Attrs> {
        // A name may have got another object since the `stat`; descriptors and handles keep theirs.
        let same = match target {
            XattrTarget::Fd(_) => true,
            XattrTarget::At(dir, _) => dir == self.dot.fd(),
        };
        let mdata = self.times_of(gfid, &stat, target, || same)?;
        Ok(Attrs::new(gfid, stat, mdata))
    }

    /// The same for an entry whose name was watched since before the `stat`.
    ///
    /// # Errors
    /// Those of `getxattr(2)`.
    pub fn attrs_of_entry(
        &self,
        gfid: Gfid,
        stat: Stat,
        target: XattrTarget<'_>,
        name: &Watch<'_>,
    ) -> SysResult<Attrs> {
        let mdata = self.times_of(gfid, &stat, target, || name.is_untouched())?;
        Ok(Attrs::new(gfid, stat, mdata))
    }

    /// Everything about an open object.
    ///
    /// # Errors
    /// `ESTALE` for a directory that was removed, and those of `statx(2)` and `getxattr(2)`.
    pub fn attrs_of_fd(&self, gfid: Gfid, file: &File) -> SysResult<Attrs> {
        let stat = self.sys.stat(file.fd())?;
        if stat.is_dir() && stat.nlink == 0 {
            return Err(Errno::STALE);
        }
        self.attrs(gfid, stat, XattrTarget::Fd(file.fd()))
    }

    /// Everything about an object, found anew.
    ///
    /// # Errors
    /// See [`Brick::object`].
    pub fn attrs_of(&self, gfid: Gfid, object: &Object) -> SysResult<Attrs> {
        match object {
            Object::Dir(dir) => self.attrs_of_fd(gfid, dir),
            _ => self.attrs(gfid, self.stat_object(object)?, self.target(object)),
        }
    }

    /// `stat` of an object.
    ///
    /// # Errors
    /// Those of `statx(2)`; `ESTALE` for a removed directory.
    pub fn stat_object(&self, object: &Object) -> SysResult<Stat> {
        match object {
            Object::Dir(dir) => {
                let stat = self.sys.stat(dir.fd())?;
                if stat.nlink == 0 { Err(Errno::STALE) } else { Ok(stat) }
            }
            Object::Other(handle) => self.sys.stat_at(self.dot.fd(), handle.as_c_str()),
            Object::Parked(name) => self.sys.stat_at(self.unlink_dir.fd(), name),
        }
    }

    /// Where an object's extended attributes are.
    #[must_use]
    pub fn target<'a>(&'a self, object: &'a Object) -> XattrTarget<'a> {
        match object {
            Object::Dir(dir) => XattrTarget::Fd(dir.fd()),
            Object::Other(handle) => XattrTarget::At(self.dot.fd(), handle.as_c_str()),
            Object::Parked(name) => XattrTarget::At(self.unlink_dir.fd(), name),
        }
    }

    // --- the client's times --------------------------------------------------------------------------------------------

    /// Moves the times of an object by the rules of [`mdata`], and those in `attrs` with them.
    pub fn move_times(&self, target: XattrTarget<'_>, attrs: &mut Attrs, times: &CallTimes, role: Role) {
        if role.is_moved_by(times) {
            self.change_times(target, attrs, |old| mdata::moved(old, times, role));
        }
    }

    /// Changes the times of an object to what `change` makes of them (`None`: they stay), and those in `attrs` with them.
    /// What `attrs` knows may be out of date, so the change starts from what nobody else changes meanwhile; thus two clients
    /// with different clocks do not undo each other. A failure is logged and otherwise ignored, as stock does: the operation
    /// itself has happened.
    pub fn change_times(
        &self,
        target: XattrTarget<'_>,
        attrs: &mut Attrs,
        change: impl Fn(Option<MdataTimes>) -> Option<MdataTimes>,
    ) {
        if !self.ctime() {
            return;
        }
        let mut held = self.times.hold(attrs.iatt.gfid);
        let now = held.get(attrs.stat.ino).map_or_else(|| self.mdata_of(target), Ok);
        let changed = now.and_then(|now| {
            attrs.mdata = now;
            if let Some(new) = change(now) {
                self.sys.setxattr(target, keys::MDATA, &mdata::encode(&new), XattrFlags::empty())?;
                held.put(&attrs.stat, new);
                attrs.mdata = Some(new);
            }
            Ok(())
        });
        drop(held);
        if let Some(times) = &attrs.mdata {
            mdata::apply(&mut attrs.iatt, times);
        }
        if let Err(errno) = changed {
            tracing::warn!(gfid = %attrs.iatt.gfid, %errno, "cannot store trusted.glusterfs.mdata");
        }
    }

    /// Moves the times of an object that the fop has changed, by the rules of [`mdata`], and looks at it for the reply. `before`
    /// is from before the change, and nobody has waited since; `stat` looks.
    ///
    /// # Errors
    /// Those of `stat`.
    pub fn attrs_after(
        &self,
        target: XattrTarget<'_>,
        before: &Attrs,
        times: &CallTimes,
        role: Role,
        stat: impl FnOnce() -> SysResult<Stat>,
    ) -> SysResult<Attrs> {
        let mut moved = *before;
        self.move_times(target, &mut moved, times, role);
        // Last, so that it tells the change time under which the attribute is known.
        let stat = stat()?;
        let gfid = before.iatt.gfid;
        self.times.saw(gfid, &stat);
        Ok(Attrs::new(gfid, stat, moved.mdata))
    }

    /// The present time of the brick's clock, where no client's is given.
    #[must_use]
    pub fn now(&self) -> Timespec {
        self.sys.realtime()
    }

    /// Logs what a damaged object looks like, once per gfid and kind of damage as far as memory allows.
    pub fn damaged(&self, gfid: Gfid, what: &str) {
        tracing::error!(%gfid, brick = %self.path.display(), "damaged object: {what}; `kiln check` tells more");
    }
}

//! What an open descriptor is to the brick, from open to release.

use std::cell::{Cell, RefCell};
use std::num::NonZeroUsize;
use std::rc::{Rc, Weak};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use kiln_uring::sys::{How, OpenFlags};
use kiln_uring::{Class, Core, Errno, File, Instant, SysResult, Warmth};
use lru::LruCache;

use crate::fd::FdRef;
use crate::storage::posix::entry::QUICK_BLOCKS;
use crate::storage::posix::handle::{HandlePath, gfid_name};
use crate::storage::posix::open_counts::Left;
use crate::storage::posix::{Brick, Object, Posix, stripes};
use crate::types::Gfid;

/// Files that one core keeps open for anonymous fops.
const ANONYMOUS: usize = 256;

/// An anonymous fop's file is closed after this long without another one. Short, because an open file keeps its blocks when
/// it is unlinked, and nobody counts these.
const IDLE: Duration = Duration::from_secs(1);

/// The flags of a client's open that the brick's own descriptor gets too. `O_SYNC` and `O_DSYNC` are not among them: a write
/// would then wait for the disk on the core, so [`super::write`] syncs through the ring after it instead. Neither is
/// `O_DIRECT`: see [`PosixFd::direct`].
const KEPT: OpenFlags = OpenFlags::from_bits_retain(
    OpenFlags::WRONLY.bits() | OpenFlags::RDWR.bits() | OpenFlags::APPEND.bits() | OpenFlags::TRUNC.bits(),
);

/// The flags for the brick's own descriptor when a client opens a file with `flags`: the same access mode, so that the
/// kernel refuses what the client did not open it for.
#[must_use]
pub fn kept_flags(flags: u32) -> OpenFlags {
    (OpenFlags::from_bits_retain(flags) & KEPT) | OpenFlags::NOFOLLOW
}

/// The storage layer's state of a descriptor.
#[derive(Debug)]
pub struct PosixFd {
    /// The open file, for I/O through the page cache; or the open directory, with a position of its own.
    pub file: Arc<File>,
    /// As the client opened it.
    pub flags: OpenFlags,
    /// The same file past the page cache, opened when first needed; `None` inside when the file system cannot.
    direct: OnceLock<Option<Arc<File>>>,
    /// Held while a directory is listed: the position belongs to the descriptor, which cores share.
    listing: Mutex<()>,
}

impl PosixFd {
    /// Around a file that has just been opened for a client's `flags`.
    #[must_use]
    pub fn new(file: Arc<File>, flags: u32) -> Self {
        let flags = OpenFlags::from_bits_retain(flags);
        Self { file, flags, direct: OnceLock::new(), listing: Mutex::new(()) }
    }

    /// The descriptor for I/O past the page cache, or `None` when there is none (yet: see [`PosixFd::open_direct`]).
    ///
    /// Stock switches `O_DIRECT` of its one descriptor on and off as requests come. Two requests on two cores would step on
    /// each other's toes then, so Kiln keeps two descriptors; the kernel keeps what is read and written through both of them
    /// coherent.
    #[must_use]
    pub fn direct(&self) -> Option<&Arc<File>> {
        self.direct.get()?.as_ref()
    }

    /// Whether it has been tried to open it past the page cache.
    #[must_use]
    pub fn tried_direct(&self) -> bool {
        self.direct.get().is_some()
    }

    /// Opens the file of `gfid` once more, past the page cache. When the file system cannot, or the file has lost its
    /// handle, I/O goes through the page cache.
    pub fn open_direct(&self, brick: &Arc<Brick>, gfid: Gfid) -> SysResult<()> {
        let flags = (kept_flags(self.flags.bits()) - OpenFlags::TRUNC) | OpenFlags::DIRECT;
        let opened = open_regular(brick, gfid, flags);
        let result = opened.as_ref().map(drop).map_err(|errno| *errno);
        // Whoever came first has the same.
        let _ = self.direct.set(opened.ok());
        result
    }

    /// Keeps others from listing this directory. Waits, so it is for helper threads; see [`PosixFd::try_listing`].
    pub fn listing(&self) -> MutexGuard<'_, ()> {
        self.listing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same on a core: `None` when somebody lists it now.
    #[must_use]
    pub fn try_listing(&self) -> Option<MutexGuard<'_, ()>> {
        match self.listing.try_lock() {
            Ok(guard) => Some(guard),
            Err(std::sync::TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(std::sync::TryLockError::WouldBlock) => None,
        }
    }
}

/// Hangs the open `file` of object `gfid` on the client's descriptor, and counts it as open until its release. False, and
/// nothing is counted, when the descriptor had a file already.
pub fn attach(brick: &Brick, fd: &FdRef, file: Arc<File>, gfid: Gfid) -> bool {
    let state = PosixFd::new(file, fd.flags());
    attach_state(brick, fd, state, gfid)
}

/// [`attach`] with a state that has been made already.
pub fn attach_state(brick: &Brick, fd: &FdRef, state: PosixFd, gfid: Gfid) -> bool {
    fd.bind(gfid);
    // First counted: an unlink that does not see the count would take the handle away.
    brick.opens.opened(gfid, fd.is_anonymous());
    let attached = fd.set_storage(Arc::new(state));
    if !attached {
        brick.opens.closed(gfid, fd.is_anonymous());
    }
    attached
}

/// Opens a regular file by its handle, or where it was parked when it was unlinked.
///
/// # Errors
/// `ENOENT` when it is in neither place, and those of `openat2(2)`.
pub fn open_regular(brick: &Arc<Brick>, gfid: Gfid, flags: OpenFlags) -> SysResult<Arc<File>> {
    let how = How::new(flags | OpenFlags::NOFOLLOW);
    let opened = match brick.sys.openat2(brick.dot.fd(), HandlePath::new(gfid).as_c_str(), how) {
        Err(Errno::NOENT) => brick.sys.openat2(brick.unlink_dir.fd(), &gfid_name(gfid), how),
        opened => opened,
    };
    Ok(Arc::new(File::new(Arc::clone(&brick.sys), opened?)))
}

/// Opens whatever an anonymous descriptor means: for reading and writing when that is possible.
fn open_anonymous(brick: &Arc<Brick>, gfid: Gfid) -> SysResult<Object> {
    let stat = match brick.object(gfid) {
        Ok((Object::Dir(dir), _)) => return Ok(Object::Dir(dir)),
        Ok((_, stat)) => stat,
        Err(Errno::NOENT) => brick.stat_object(&Object::Parked(gfid_name(gfid)))?,
        Err(errno) => return Err(errno),
    };
    openable(stat.mode)?;
    let file = match open_regular(brick, gfid, OpenFlags::RDWR) {
        // A read-only file system, an immutable file, a program that runs.
        Err(Errno::ROFS | Errno::PERM | Errno::ACCESS | Errno::TXTBSY) => {
            open_regular(brick, gfid, OpenFlags::empty())?
        }
        opened => opened?,
    };
    Ok(Object::Dir(file))
}

/// Whether an object of this mode can be opened.
///
/// # Errors
/// `ELOOP` for symbolic links, `EINVAL` for devices, fifos, and sockets.
pub fn openable(mode: u32) -> SysResult<()> {
    use crate::types::IaType;
    match IaType::from_mode(mode) {
        IaType::Regular | IaType::Directory => Ok(()),
        IaType::Symlink => Err(Errno::LOOP),
        _ => Err(Errno::INVAL),
    }
}

/// The files that anonymous fops of one core use.
#[derive(Debug)]
pub struct Anonymous {
    files: RefCell<LruCache<Gfid, (Arc<File>, Instant)>>,
    sweeping: Cell<bool>,
}

impl Default for Anonymous {
    fn default() -> Self {
        let files = LruCache::new(NonZeroUsize::new(ANONYMOUS).unwrap_or(NonZeroUsize::MIN));
        Self { files: RefCell::new(files), sweeping: Cell::new(false) }
    }
}

impl Anonymous {
    /// How many are open.
    pub(in crate::storage::posix) fn len(&self) -> usize {
        self.files.borrow().len()
    }

    fn get(&self, gfid: Gfid, now: Instant) -> Option<Arc<File>> {
        let mut files = self.files.borrow_mut();
        let (file, used) = files.get_mut(&gfid)?;
        *used = now;
        Some(Arc::clone(file))
    }

    fn put(self: &Rc<Self>, core: &Core, gfid: Gfid, file: &Arc<File>) {
        self.files.borrow_mut().put(gfid, (Arc::clone(file), core.now()));
        if !self.sweeping.replace(true) {
            core.spawn(sweep(core.clone(), Rc::downgrade(self)));
        }
    }

    fn forget(&self, gfid: Gfid) {
        self.files.borrow_mut().pop(&gfid);
    }

    /// Takes out what nobody has used since `IDLE` ago.
    fn take_idle(&self, now: Instant) -> Vec<Arc<File>> {
        let mut files = self.files.borrow_mut();
        let mut idle = Vec::new();
        while files.peek_lru().is_some_and(|(_, (_, used))| now - *used >= IDLE) {
            idle.extend(files.pop_lru().map(|(_, (file, _))| file));
        }
        idle
    }
}

/// Closes idle files until there is none.
async fn sweep(core: Core, files: Weak<Anonymous>) {
    loop {
        core.sleep(IDLE).await;
        let Some(files) = files.upgrade() else { return };
        let idle = files.take_idle(core.now());
        if !idle.is_empty() {
            // It may be the last close of what was unlinked.
            core.run(Class::LargeFree, Warmth::Cold, move |_| drop(idle)).await;
        }
        if files.len() == 0 {
            files.sweeping.set(false);
            return;
        }
    }
}

impl Posix {
    /// The file of a descriptor. An anonymous one is opened by its gfid.
    ///
    /// # Errors
    /// `ENOTCONN` on a failed brick, `EBADF` for a descriptor that was never opened, `ENOENT` when an anonymous one's object is gone, `ELOOP` and `EINVAL`
    /// when it cannot be opened.
    pub(in crate::storage::posix) async fn fd_file(&self, fd: &FdRef) -> Result<Arc<File>, Errno> {
        self.brick.check_health()?;
        match fd.storage::<PosixFd>() {
            Some(state) => Ok(Arc::clone(&state.file)),
            None if fd.is_anonymous() => self.anonymous_file(fd.gfid()).await,
            None => Err(Errno::BADF),
        }
    }

    async fn anonymous_file(&self, gfid: Gfid) -> Result<Arc<File>, Errno> {
        if let Some(dir) = self.cached_directory(gfid) {
            return Ok(dir);
        }
        if let Some(file) = self.anonymous.get(gfid, self.core.now()) {
            // Nobody tells us when it is unlinked.
            match self.brick.sys.stat(file.fd()) {
                Ok(stat) if stat.nlink > 0 => return Ok(file),
                _ => self.anonymous.forget(gfid),
            }
        }
        let warmth = self.object_warmth(gfid);
        let opened = self.run(Class::Open, warmth, move |brick| open_anonymous(brick, gfid)).await?;
        let Object::Dir(file) = opened else { return Err(Errno::INVAL) };
        self.anonymous.put(&self.core, gfid, &file);
        Ok(file)
    }

    /// The last holder of a descriptor lets go: what was unlinked meanwhile goes for good.
    pub(in crate::storage::posix) fn release_fd(&self, fd: &FdRef) {
        if fd.storage::<PosixFd>().is_none() {
            return;
        }
        let key = stripes::object_key(fd.gfid());
        // An unlink decides under the same lock whether it must park the file.
        let closing = match self.brick.objects.try_lock(&[key]) {
            Some(_held) => count_close(&self.brick, fd),
            None => Closing::Unknown,
        };
        match closing {
            Closing::Plain if !self.brick.settings().background_unlink => return,
            Closing::Last { is_quick: true } => return remove_parked(&self.brick, fd.gfid()),
            _ => {}
        }
        let (brick, fd) = (Arc::clone(&self.brick), Arc::clone(fd));
        let core = self.core.clone();
        self.core.spawn(async move {
            let job = move |_: &dyn kiln_uring::Sys| {
                let closing = match closing {
                    Closing::Unknown => {
                        let _held = brick.objects.lock(&[key]);
                        count_close(&brick, &fd)
                    }
                    known => known,
                };
                if let Closing::Last { .. } = closing {
                    remove_parked(&brick, fd.gfid());
                }
                // The caller has dropped its own by now: the file closes here, and its blocks are freed here.
                drop(fd);
            };
            core.run(Class::LargeFree, Warmth::Cold, job).await;
        });
    }
}

/// What a close means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    /// The file keeps its names, or others have it open.
    Plain,
    /// The last of a file that has lost its names; a core may do what is left when it is `quick`.
    Last { is_quick: bool },
    /// Somebody works on the object: to be found out where it is possible to wait.
    Unknown,
}

/// Counts one descriptor less. The object's stripe must be held.
fn count_close(brick: &Brick, fd: &FdRef) -> Closing {
    if brick.opens.closed(fd.gfid(), fd.is_anonymous()) == Left::Object {
        return Closing::Plain;
    }
    let stat = fd.storage::<PosixFd>().map(|state| brick.sys.stat(state.file.fd()));
    Closing::Last { is_quick: matches!(stat, Some(Ok(stat)) if stat.blocks <= QUICK_BLOCKS) }
}

fn remove_parked(brick: &Brick, gfid: Gfid) {
    match brick.sys.unlink_at(brick.unlink_dir.fd(), &gfid_name(gfid), kiln_uring::AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => {
            tracing::warn!(%gfid, %errno, "cannot remove what was unlinked while open; the next start will")
        }
    }
}

//! `storage/posix`: a brick on a local file system, byte for byte as GlusterFS lays it out.
//!
//! # How a fop runs
//!
//! The work of a fop is a *job*: a plain, blocking function over the [`Brick`]. [`Posix::run`] decides where it runs, by
//! the engine's placement table: on the core itself when all it needs is known to be in the kernel's caches, else on a
//! helper thread of the same core, so that one cold directory never stalls a core. Data goes through the ring. What a job
//! must know from this core's caches (the parent's descriptor, mostly) is fetched before, and what it learned is put
//! there after; jobs themselves share only the brick.
//!
//! # What is cached
//!
//! Per core: descriptors of directories and of files that anonymous fops use (two small LRUs), and hashes of what was
//! touched lately ([`warm`]). A directory's descriptor that was removed meanwhile gives itself away by its link count of 0.
//! What the kernel tells of an object is never cached, so several cores, and a restored backup, agree by construction. Of
//! `trusted.glusterfs.mdata` all cores share a table ([`known_times`]), whose entries count only under the change time that
//! the kernel tells of the inode.
//!
//! # Where things are
//!
//! | file | subject |
//! | --- | --- |
//! | `boot` | opening a brick: checks, housekeeping directories, recovery |
//! | `brick` | the open brick: objects by gfid, attributes, times |
//! | `handle`, `gfid2path`, `mdata` | the formats on disk |
//! | `known_times` | what is known of objects' `mdata` |
//! | `lookup` | lookup, stat, access, readlink |
//! | `entry/` | everything that changes names, crash-safe |
//! | `data/` | open, read, write, sync, allocate, seek, copy, checksums |
//! | `readdir` | directories |
//! | `xattr/` | extended attributes, xattrop, virtual keys, answers in xdata |
//! | `attr` | setattr |
//! | `statfs` | space and inodes |
//! | `report` | statistics for operators |
//! | `background/` | health check, space check, janitor, batched fsync |
//! | `check/` | the offline check, `kiln check` |

mod attr;
mod background;
pub mod boot;
pub mod brick;
pub mod check;
pub mod data;
mod entry;
pub mod gfid2path;
pub mod handle;
#[cfg(test)]
mod hops;
pub mod intents;
pub mod known_gfids;
pub mod known_times;
mod locked;
mod lookup;
pub mod mdata;
mod open_counts;
pub mod options;
mod readdir;
mod report;
mod statfs;
pub mod stripes;
#[cfg(test)]
pub(crate) mod testkit;
mod warm;
mod xattr;

pub(crate) use xattr::fnmatch::fnmatch;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kiln_uring::placement::place;
use kiln_uring::sys::{How, OpenFlags, Resolve, XattrTarget};
use kiln_uring::{Class, Core, Errno, File, Instant, Place, SysResult, Warmth};
use lru::LruCache;
use serde_json::{Value as Json, json};

pub use brick::{Attrs, Brick, Object};
pub use options::{OPTIONS, Settings};

use crate::fd::FdRef;
use crate::graph::Next;
use crate::intercept;
use crate::options::Options;
use crate::translator::{Children, InstanceContext, PrepareContext, Shared, Translator, TranslatorType};
use crate::types::{Gfid, Name};
use stripes::object_key;
use warm::WarmSet;

/// The row of the registry.
pub static TYPE: TranslatorType = TranslatorType {
    name: "storage/posix",
    about: "A brick on a local file system.",
    children: Children::None,
    options: OPTIONS,
    prepare,
    instance,
    renew: TranslatorType::nothing_to_renew,
    merge_stats: report::merge,
};

fn prepare(context: &PrepareContext<'_>) -> Result<Shared, String> {
    let brick = boot::open_brick(context).map_err(|error| error.to_string())?;
    Ok(Arc::new(brick))
}

/// A path of an object from the brick's root, by the shared state of a layer of this [`TYPE`]; `None` for what has none (any
/// more), and on a brick that has failed. May block: not for cores.
#[must_use]
pub fn path_of(layer: &Shared, gfid: Gfid) -> Option<Vec<u8>> {
    let brick: &Brick = layer.downcast_ref()?;
    if brick.failure().is_some() {
        return None;
    }
    let (object, stat) = brick.object(gfid).ok()?;
    xattr::paths::one(brick, gfid, brick.target(&object), stat.is_dir(), None).ok()
}

fn instance(mut context: InstanceContext<'_>) -> Result<Rc<dyn Translator>, String> {
    let brick: Arc<Brick> = context.shared()?;
    let next = context.below();
    Ok(Rc::new(Posix::new(next, context.core.clone(), brick)))
}

/// Descriptors of directories that one core keeps open.
const DIRECTORIES: usize = 1024;

/// The instance of one core.
#[derive(Debug)]
pub struct Posix {
    next: Next,
    core: Core,
    brick: Arc<Brick>,
    directories: RefCell<LruCache<Gfid, Arc<File>>>,
    directories_epoch: Cell<u64>,
    warm: RefCell<WarmSet>,
    stopped: Cell<bool>,
    anonymous: Rc<data::fd::Anonymous>,
    looks: data::looks::Looks,
    together: data::together::Together,
    batch: background::batch::Batch,
    background: background::Background,
}

impl Posix {
    fn new(next: Next, core: Core, brick: Arc<Brick>) -> Self {
        let capacity = NonZeroUsize::new(DIRECTORIES).unwrap_or(NonZeroUsize::MIN);
        let warm = RefCell::new(WarmSet::new(brick.in_memory, core.now()));
        brick.instances.fetch_add(1, Ordering::AcqRel);
        Self {
            next,
            core,
            brick,
            directories: RefCell::new(LruCache::new(capacity)),
            directories_epoch: Cell::new(0),
            warm,
            stopped: Cell::new(false),
            anonymous: Rc::default(),
            looks: data::looks::Looks::default(),
            together: data::together::Together::default(),
            batch: background::batch::Batch::default(),
            background: background::Background::default(),
        }
    }

    /// Runs a job on the brick, where the placement table and the record of what is warm say.
    async fn run<T: Send + 'static>(
        &self,
        class: Class,
        warmth: Warmth,
        job: impl FnOnce(&Arc<Brick>) -> T + Send + 'static,
    ) -> T {
        if self.is_inline(class, warmth) {
            return self.here(class, job).0;
        }
        let brick = Arc::clone(&self.brick);
        self.core.run(class, Warmth::Cold, move |_| job(&brick)).await
    }

    /// Whether a job belongs on the core.
    fn is_inline(&self, class: Class, warmth: Warmth) -> bool {
        let warmth = self.warm.borrow_mut().judge(class, warmth, || self.core.now());
        place(class, warmth) == Place::Inline
    }

    /// Runs a job on the core, with an eye on how long it takes, which it answers too (zero for jobs that are not watched).
    fn here<T>(&self, class: Class, job: impl FnOnce(&Arc<Brick>) -> T) -> (T, Duration) {
        if self.brick.in_memory || !warm::is_watched(class) {
            return (job(&self.brick), Duration::ZERO);
        }
        let start = self.core.now();
        let value = job(&self.brick);
        let end = self.core.now();
        self.warm.borrow_mut().ran_inline(end - start, end);
        (value, end - start)
    }

    /// Runs a job that looks at a name in `parent`.
    async fn look<T: Send + 'static>(
        &self,
        parent: Gfid,
        warmth: Warmth,
        job: impl FnOnce(&Arc<Brick>) -> T + Send + 'static,
    ) -> T {
        if !self.is_inline(Class::MetadataRead, warmth) {
            return self.run(Class::MetadataRead, warmth, job).await;
        }
        let (value, took) = self.here(Class::MetadataRead, job);
        self.warm.borrow_mut().looked_inline(object_key(parent), took);
        value
    }

    /// The descriptor of directory `gfid`, from this core's cache or opened.
    ///
    /// # Errors
    /// `ESTALE` when there is no such directory (any more), `ENOTDIR` when it is something else.
    async fn directory(&self, gfid: Gfid) -> Result<Arc<File>, Errno> {
        self.brick.check_health()?;
        if let Some(dir) = self.cached_directory(gfid) {
            return Ok(dir);
        }
        let warmth = if self.brick.in_memory { Warmth::Warm } else { Warmth::Cold };
        let opened = self.run(Class::Open, warmth, move |brick| brick.open_dir(gfid)).await;
        let dir = opened.map_err(|errno| if errno == Errno::NOENT { Errno::STALE } else { errno })?;
        self.keep_directory(gfid, &dir);
        Ok(dir)
    }

    /// The descriptor of directory `gfid`, if this core has it.
    fn cached_directory(&self, gfid: Gfid) -> Option<Arc<File>> {
        if gfid.is_root() {
            return Some(Arc::clone(&self.brick.root));
        }
        let epoch = self.brick.directories_epoch.load(Ordering::Acquire);
        let mut directories = self.directories.borrow_mut();
        if self.directories_epoch.replace(epoch) != epoch {
            directories.clear();
        }
        directories.get(&gfid).cloned()
    }

    fn keep_directory(&self, gfid: Gfid, dir: &Arc<File>) {
        self.directories.borrow_mut().put(gfid, Arc::clone(dir));
    }

    /// Forgets the descriptor of a directory that is gone.
    fn drop_directory(&self, gfid: Gfid) {
        self.directories.borrow_mut().pop(&gfid);
    }

    /// Whether the name, there or not, is in the kernel's caches. What nobody knows is looked at on a helper thread, once:
    /// that brings it in, and tells how the disk is.
    async fn entry_warmth(&self, parent: Gfid, dir: &Arc<File>, name: &Name) -> Warmth {
        let key = stripes::entry_key(parent, name.as_bytes());
        let now = || self.core.now();
        if self.warm.borrow_mut().of_name(object_key(parent), key, now) == Warmth::Warm {
            return Warmth::Warm;
        }
        let mut warmth = self.probe(dir.fd(), name.as_c_str());
        if warmth == Warmth::Cold {
            let (dir, name) = (Arc::clone(dir), name.clone());
            let took =
                self.run(Class::MetadataRead, warmth, move |brick| first_look(brick, &dir, &name)).await;
            if self.warm.borrow_mut().looked(object_key(parent), took, now()) {
                warmth = Warmth::Warm;
            }
        }
        // A slow one is brought in by whatever the fop does now.
        self.warm.borrow_mut().touch(key, now);
        warmth
    }

    /// The same for an object by its handle.
    fn object_warmth(&self, gfid: Gfid) -> Warmth {
        let key = object_key(gfid);
        if self.warm.borrow().of(key) == Warmth::Warm {
            return Warmth::Warm;
        }
        let warmth = self.probe(self.brick.dot.fd(), handle::HandlePath::new(gfid).as_c_str());
        self.touch_object(gfid);
        warmth
    }

    /// The core has just made or used the object: what is done with it next need not ask the kernel.
    fn touch_object(&self, gfid: Gfid) {
        self.warm.borrow_mut().touch(object_key(gfid), || self.core.now());
    }

    /// Asks the kernel. It cannot say that an absent name is in its caches.
    fn probe(&self, dir: i32, path: &std::ffi::CStr) -> Warmth {
        let how = How::new(OpenFlags::PATH | OpenFlags::NOFOLLOW).resolve(Resolve::CACHED);
        match self.brick.sys.openat2(dir, path, how) {
            Ok(fd) => {
                self.brick.sys.close(fd);
                Warmth::Warm
            }
            Err(Errno::AGAIN) => Warmth::Cold,
            Err(_) => Warmth::Warm,
        }
    }

    /// The object `gfid` for a job: a directory comes with its cached descriptor, anything else by its handle.
    async fn object(&self, gfid: Gfid) -> SysResult<Object> {
        self.brick.check_health()?;
        if let Some(dir) = self.cached_directory(gfid) {
            return Ok(Object::Dir(dir));
        }
        let warmth = self.object_warmth(gfid);
        let (object, _) = self.run(Class::MetadataRead, warmth, move |brick| brick.object(gfid)).await?;
        if let Object::Dir(dir) = &object {
            self.keep_directory(gfid, dir);
        }
        Ok(object)
    }
}

/// Looks at a name and its gfid; how long that took.
fn first_look(brick: &Brick, dir: &File, name: &Name) -> Duration {
    let start = Instant::from_nanos(brick.sys.monotonic());
    // What there is to see the fop finds out by itself.
    if brick.sys.stat_at(dir.fd(), name.as_c_str()).is_ok() {
        let _ = brick.gfid_of(XattrTarget::At(dir.fd(), name.as_c_str()));
    }
    Instant::from_nanos(brick.sys.monotonic()) - start
}

intercept! {
    impl Fops for Posix {
        async fn lookup(&self, call, req) { self.serve_lookup(call, req).await }
        async fn stat(&self, call, req) { self.serve_stat(call, req).await }
        async fn access(&self, call, req) { self.serve_access(call, req).await }
        async fn readlink(&self, call, req) { self.serve_readlink(call, req).await }

        async fn create(&self, call, req) { self.serve_create(call, req).await }
        async fn put(&self, call, req) { self.serve_put(call, req).await }
        async fn icreate(&self, call, req) { self.serve_icreate(call, req).await }
        async fn namelink(&self, call, req) { self.serve_namelink(call, req).await }
        async fn mknod(&self, call, req) { self.serve_mknod(call, req).await }
        async fn mkdir(&self, call, req) { self.serve_mkdir(call, req).await }
        async fn symlink(&self, call, req) { self.serve_symlink(call, req).await }
        async fn link(&self, call, req) { self.serve_link(call, req).await }
        async fn unlink(&self, call, req) { self.serve_unlink(call, req).await }
        async fn rmdir(&self, call, req) { self.serve_rmdir(call, req).await }
        async fn rename(&self, call, req) { self.serve_rename(call, req).await }

        async fn open(&self, call, req) { self.serve_open(call, req).await }
        async fn fstat(&self, call, req) { self.serve_fstat(call, req).await }
        async fn getxattr(&self, call, req) { self.serve_getxattr(call, req).await }
        async fn fgetxattr(&self, call, req) { self.serve_fgetxattr(call, req).await }
        async fn setxattr(&self, call, req) { self.serve_setxattr(call, req).await }
        async fn fsetxattr(&self, call, req) { self.serve_fsetxattr(call, req).await }
        async fn removexattr(&self, call, req) { self.serve_removexattr(call, req).await }
        async fn fremovexattr(&self, call, req) { self.serve_fremovexattr(call, req).await }
        async fn xattrop(&self, call, req) { self.serve_xattrop(call, req).await }
        async fn fxattrop(&self, call, req) { self.serve_fxattrop(call, req).await }
        async fn readv(&self, call, req) { self.serve_readv(call, req).await }
        async fn writev(&self, call, req) { self.serve_writev(call, req).await }
        async fn flush(&self, _call, req) { self.serve_flush(req).await }
        async fn fsync(&self, call, req) { self.serve_fsync(call, req).await }
        async fn truncate(&self, call, req) { self.serve_truncate(call, req).await }
        async fn ftruncate(&self, call, req) { self.serve_ftruncate(call, req).await }
        async fn fallocate(&self, call, req) { self.serve_fallocate(call, req).await }
        async fn discard(&self, call, req) { self.serve_discard(call, req).await }
        async fn zerofill(&self, call, req) { self.serve_zerofill(call, req).await }
        async fn seek(&self, _call, req) { self.serve_seek(req).await }
        async fn copy_file_range(&self, call, req) { self.serve_copy_file_range(call, req).await }
        async fn rchecksum(&self, _call, req) { self.serve_rchecksum(req).await }
        async fn setattr(&self, call, req) { self.serve_setattr(call, req).await }
        async fn fsetattr(&self, call, req) { self.serve_fsetattr(call, req).await }
        async fn opendir(&self, call, req) { self.serve_opendir(call, req).await }
        async fn readdir(&self, call, req) { self.serve_readdir(call, req).await }
        async fn readdirp(&self, call, req) { self.serve_readdirp(call, req).await }
        async fn statfs(&self, _call, req) { self.serve_statfs(req).await }
        async fn fsyncdir(&self, _call, req) { self.serve_fsyncdir(req).await }
    }
}

impl Drop for Posix {
    fn drop(&mut self) {
        if !self.stopped.get() {
            self.brick.instances.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Translator for Posix {
    fn reconfigure(&self, options: &Options) -> Result<(), String> {
        self.brick.set_settings(Settings::new(options));
        Ok(())
    }

    fn start(&self) {
        self.background.start(&self.core, &self.brick);
    }

    fn fini(&self) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        self.background.stop(&self.core);
        Box::pin(async {
            if !self.stopped.replace(true) && self.brick.instances.fetch_sub(1, Ordering::AcqRel) == 1 {
                self.run(Class::Background, Warmth::Cold, |brick| brick.stop()).await;
            }
        })
    }

    fn failure(&self) -> Option<String> {
        self.brick.failure().map(str::to_owned)
    }

    fn release(&self, fd: &FdRef) {
        self.release_fd(fd);
    }

    fn statedump(&self) -> Json {
        json!({
            "brick": self.brick.path,
            "directories-open": self.directories.borrow().len(),
            "files-open-for-anonymous-fops": self.anonymous.len(),
            "objects-open": self.brick.opens.objects(),
            "full": self.brick.is_full(),
            "failed": self.brick.failure(),
        })
    }

    fn stats(&self) -> Option<Box<dyn Any + Send>> {
        Some(Box::new(report::Snapshot {
            brick: Arc::clone(&self.brick),
            directories: self.directories.borrow().len(),
            anonymous: self.anonymous.len(),
        }))
    }
}

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
//! touched lately ([`warm`]). Attributes are never cached, so several cores, and a restored backup, agree by construction. A
//! directory's descriptor that was removed meanwhile gives itself away by its link count of 0.
//!
//! # Where things are
//!
//! | file | subject |
//! | --- | --- |
//! | `boot` | opening a brick: checks, housekeeping directories, recovery |
//! | `brick` | the open brick: objects by gfid, attributes, times |
//! | `handle`, `gfid2path`, `mdata` | the formats on disk |
//! | `lookup` | lookup, stat, access, readlink |
//! | `entry/` | everything that changes names, crash-safe |
//! | `data/` | open, read, write, sync, allocate, seek, copy, checksums |
//! | `readdir` | directories |
//! | `xattr/` | extended attributes, xattrop, virtual keys, answers in xdata |
//! | `attr` | setattr |
//! | `statfs` | space and inodes |
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
pub mod intents;
mod locked;
mod lookup;
pub mod mdata;
mod open_counts;
pub mod options;
mod readdir;
mod statfs;
pub mod stripes;
#[cfg(test)]
pub(crate) mod testkit;
mod warm;
mod xattr;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use kiln_uring::sys::{How, OpenFlags, Resolve};
use kiln_uring::{Class, Core, Errno, File, SysResult, Warmth};
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
use warm::WarmSet;

/// The row of the registry.
pub static TYPE: TranslatorType = TranslatorType {
    name: "storage/posix",
    about: "A brick on a local file system.",
    children: Children::None,
    options: OPTIONS,
    prepare,
    instance,
    merge_stats: TranslatorType::no_stats,
};

fn prepare(context: &PrepareContext<'_>) -> Result<Shared, String> {
    let brick = boot::open_brick(context).map_err(|error| error.to_string())?;
    Ok(Arc::new(brick))
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
    batch: background::batch::Batch,
    background: background::Background,
}

impl Posix {
    fn new(next: Next, core: Core, brick: Arc<Brick>) -> Self {
        let capacity = NonZeroUsize::new(DIRECTORIES).unwrap_or(NonZeroUsize::MIN);
        let warm = RefCell::new(WarmSet::new(core.now()));
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
            batch: background::batch::Batch::default(),
            background: background::Background::default(),
        }
    }

    /// Runs a job on the brick, where the placement table says.
    async fn run<T: Send + 'static>(
        &self,
        class: Class,
        warmth: Warmth,
        job: impl FnOnce(&Arc<Brick>) -> T + Send + 'static,
    ) -> T {
        let brick = Arc::clone(&self.brick);
        self.core.run(class, warmth, move |_| job(&brick)).await
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
        let opened = self.run(Class::Open, Warmth::Cold, move |brick| brick.open_dir(gfid)).await;
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

    /// Whether the name is in the kernel's caches: known to this core, or asked of the kernel.
    fn entry_warmth(&self, parent_gfid: Gfid, parent: &File, name: &Name) -> Warmth {
        let key = stripes::entry_key(parent_gfid, name.as_bytes());
        if self.warm.borrow().get(key) == Warmth::Warm {
            return Warmth::Warm;
        }
        let how = How::new(OpenFlags::PATH | OpenFlags::NOFOLLOW).resolve(Resolve::CACHED);
        let warmth = self.probe(parent.fd(), name.as_c_str(), how);
        // Whatever the fop does now brings it in, cold or not.
        self.warm.borrow_mut().touch(key, self.core.now());
        warmth
    }

    /// The same for an object by its handle.
    fn object_warmth(&self, gfid: Gfid) -> Warmth {
        let key = stripes::object_key(gfid);
        if self.warm.borrow().get(key) == Warmth::Warm {
            return Warmth::Warm;
        }
        let how = How::new(OpenFlags::PATH | OpenFlags::NOFOLLOW).resolve(Resolve::CACHED);
        let warmth = self.probe(self.brick.dot.fd(), handle::HandlePath::new(gfid).as_c_str(), how);
        self.warm.borrow_mut().touch(key, self.core.now());
        warmth
    }

    /// The core has just made or used the object: what is done with it next need not ask the kernel.
    fn touch_object(&self, gfid: Gfid) {
        self.warm.borrow_mut().touch(stripes::object_key(gfid), self.core.now());
    }

    fn probe(&self, dir: i32, path: &std::ffi::CStr, how: How) -> Warmth {
        match self.brick.sys.openat2(dir, path, how) {
            Ok(fd) => {
                self.brick.sys.close(fd);
                Warmth::Warm
            }
            // No negative dentry is kept on some file systems (tmpfs), where nothing is ever cold either.
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
        None
    }
}

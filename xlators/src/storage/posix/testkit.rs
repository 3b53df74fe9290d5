//! For tests: a brick, in memory or on the real kernel, under a graph that is nothing but `storage/posix`.
//!
//! ```ignore
//! let kit = Kit::new(7);
//! kit.run(async |client| {
//!     let made = client.create(create(Gfid::ROOT, "a", gfid(1))).await.unwrap();
//!     …
//! });
//! ```

#![allow(dead_code, reason = "each family of tests uses another part")]

use std::rc::Rc;
use std::sync::Arc;

use kiln_uring::sim::{MemFs, Sim};
use kiln_uring::sys::{Sys, Timespec, XattrTarget};
use kiln_uring::{Core, Errno};

use super::Brick;
use super::handle::HandlePath;
use crate::call::{Call, CallSpec, CallTimes, Caller, TimeFlags};
use crate::error::FopResult;
use crate::fd::{Fd, FdRef};
use crate::fop::{Fop, reply, request};
use crate::graph::{Blueprint, Graph};
use crate::keys;
use crate::types::{Dict, Gfid, Key, Loc, Name, Value, Xdata};
use crate::volfile::{Node, Volfile};

/// Where the brick in memory is.
pub(crate) const BRICK: &str = "/brick";

/// A simulated machine with one brick.
pub(crate) struct Kit {
    pub(crate) sim: Sim,
    /// The file system, when it is one in memory.
    pub(crate) fs: Option<Arc<MemFs>>,
    blueprint: Arc<Blueprint>,
}

impl Kit {
    /// A new brick in memory.
    pub(crate) fn new(seed: u64) -> Self {
        Self::with_options(seed, &[])
    }

    /// The same with options of `storage/posix`.
    pub(crate) fn with_options(seed: u64, options: &[(&str, &str)]) -> Self {
        let fs = MemFs::with_seed(seed);
        fs.mkdir_at(libc::AT_FDCWD, c"/brick", 0o755).unwrap();
        Self::on_fs(seed, &fs, options)
    }

    /// The brick at [`BRICK`] of a file system in memory that exists already.
    pub(crate) fn on_fs(seed: u64, fs: &Arc<MemFs>, options: &[(&str, &str)]) -> Self {
        let kit = Self::on(seed, fs.clone(), BRICK, options);
        Self { fs: Some(Arc::clone(fs)), ..kit }
    }

    /// A brick on any kernel.
    pub(crate) fn on(seed: u64, sys: Arc<dyn Sys>, path: &str, options: &[(&str, &str)]) -> Self {
        Self::try_on(seed, sys, path, options).unwrap()
    }

    /// The same, where opening the brick may fail.
    pub(crate) fn try_on(
        seed: u64,
        sys: Arc<dyn Sys>,
        path: &str,
        options: &[(&str, &str)],
    ) -> Result<Self, String> {
        let sim = Sim::with_sys(seed, sys);
        let mut all = vec![("directory", path)];
        all.extend_from_slice(options);
        let volfile = Volfile { nodes: vec![Node::new("posix", "storage/posix", &all, &[])] };
        let kernel: Arc<dyn Sys> = sim.kernel().clone();
        let blueprint = Blueprint::new(&volfile, &kernel, 1).map_err(|error| error.to_string())?;
        Ok(Self { sim, fs: None, blueprint })
    }

    /// The open brick.
    pub(crate) fn brick(&self) -> Arc<Brick> {
        Arc::clone(&self.blueprint.layers()[0].shared).downcast().unwrap()
    }

    /// What every core's graph is made from.
    pub(crate) const fn blueprint(&self) -> &Arc<Blueprint> {
        &self.blueprint
    }

    /// Runs a test on one core, as root.
    pub(crate) fn run<T>(&self, test: impl AsyncFnOnce(Client) -> T) -> T {
        self.sim.run(|core| {
            let client = Client::new(&self.blueprint, &core);
            test(client)
        })
    }

    /// Runs a test on each of `n` cores; the core is `client.core().id()`.
    pub(crate) fn run_cores<T>(&self, n: usize, test: impl AsyncFn(Client) -> T) -> Vec<T> {
        let test = &test;
        self.sim.run_cores(n, |core| {
            let client = Client::new(&self.blueprint, &core);
            async move { test(client).await }
        })
    }

    /// Stops the brick as an orderly shutdown does.
    pub(crate) fn stop(self) {
        self.run(async |client| client.graph.fini().await);
    }
}

/// Somebody who sends fops from one core.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) graph: Rc<Graph>,
    pub(crate) caller: Caller,
    pub(crate) times: CallTimes,
}

impl Client {
    pub(crate) fn new(blueprint: &Arc<Blueprint>, core: &Core) -> Self {
        let graph = Graph::new(blueprint, core).unwrap();
        Self { graph, caller: Caller { pid: 1000, ..Caller::default() }, times: CallTimes::default() }
    }

    /// The same as another user.
    pub(crate) fn user(&self, uid: u32, gid: u32) -> Self {
        Self { caller: Caller { uid, gid, ..self.caller.clone() }, ..self.clone() }
    }

    /// The same as another process (negative: one of GlusterFS's own).
    pub(crate) fn pid(&self, pid: i32) -> Self {
        Self { caller: Caller { pid, ..self.caller.clone() }, ..self.clone() }
    }

    /// The same with all time flags and this second on the caller's clock.
    pub(crate) fn at(&self, sec: i64) -> Self {
        let times =
            CallTimes { flags: TimeFlags::all(), stamp: Timespec { sec, nsec: 5 }, only_existing: false };
        Self { times, ..self.clone() }
    }

    pub(crate) fn core(&self) -> &Core {
        self.graph.core()
    }

    /// The call of a fop, for those that wind it themselves.
    pub(crate) fn begin(&self, fop: Fop) -> Call {
        let mut spec = CallSpec::internal(fop, Gfid::NULL);
        spec.caller = self.caller.clone();
        spec.times = self.times;
        self.graph.begin(spec)
    }

    /// Looks a path up from the root, step by step.
    pub(crate) async fn find(&self, path: &str) -> Result<reply::Lookup, Errno> {
        let mut at = reply::Lookup::default();
        at.iatt.gfid = Gfid::ROOT;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let loc = entry(at.iatt.gfid, part);
            at = self
                .lookup(request::Lookup { loc, xdata: Xdata::NONE })
                .await
                .map_err(|error| error.errno)?;
        }
        Ok(at)
    }
}

/// Each fop as a method of [`Client`].
macro_rules! client_fops {
    ($(#[doc = $doc:literal] $variant:ident $method:ident $number:literal $access:ident $subject:ident
        ($($arg:ident : $type:ty),*) -> $reply:ident;)*) => {
        #[allow(dead_code, reason = "one method per fop, whoever needs it")]
        impl Client {
            $(pub(crate) async fn $method(&self, req: request::$variant) -> FopResult<reply::$reply> {
                let call = self.begin(Fop::$variant);
                self.graph.top().$method(&call, req).await
            })*
        }
    };
}

crate::for_each_fop!(client_fops);

/// A gfid that tests can tell: every byte is `n`.
pub(crate) fn gfid(n: u8) -> Gfid {
    Gfid::from_bytes([n; 16])
}

/// A gfid out of a larger number.
pub(crate) fn gfid_n(n: u64) -> Gfid {
    let mut bytes = [0xab; 16];
    bytes[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    bytes[8..].copy_from_slice(&n.to_be_bytes());
    Gfid::from_bytes(bytes)
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

/// The location of a name.
pub(crate) fn entry(parent: Gfid, text: &str) -> Loc {
    Loc::entry(parent, name(text))
}

/// Xdata out of pairs.
pub(crate) fn xdata<K: Into<Key>>(pairs: impl IntoIterator<Item = (K, Value)>) -> Xdata {
    Xdata::new(pairs.into_iter().collect::<Dict>())
}

/// The xdata that every request for a new object carries.
pub(crate) fn gfid_req(gfid: Gfid) -> Xdata {
    xdata([(keys::GFID_REQ, Value::Gfid(gfid))])
}

/// An fd for a create or an open, read-write.
pub(crate) fn new_fd(gfid: Gfid) -> FdRef {
    Fd::file(gfid, libc::O_RDWR as u32, 1000)
}

pub(crate) fn create(parent: Gfid, text: &str, gfid: Gfid) -> request::Create {
    let flags = (libc::O_RDWR | libc::O_CREAT | libc::O_EXCL) as u32;
    let fd = new_fd(Gfid::NULL);
    request::Create { loc: entry(parent, text), flags, mode: 0o644, umask: 0, fd, xdata: gfid_req(gfid) }
}

pub(crate) fn mkdir(parent: Gfid, text: &str, gfid: Gfid) -> request::Mkdir {
    request::Mkdir { loc: entry(parent, text), mode: 0o755, umask: 0, xdata: gfid_req(gfid) }
}

pub(crate) fn mknod(parent: Gfid, text: &str, gfid: Gfid, mode: u32, rdev: u64) -> request::Mknod {
    request::Mknod { loc: entry(parent, text), mode, rdev, umask: 0, xdata: gfid_req(gfid) }
}

pub(crate) fn symlink(target: &str, parent: Gfid, text: &str, gfid: Gfid) -> request::Symlink {
    let target = std::ffi::CString::new(target).unwrap();
    request::Symlink { target, loc: entry(parent, text), umask: 0, xdata: gfid_req(gfid) }
}

pub(crate) fn link(old: Gfid, parent: Gfid, text: &str) -> request::Link {
    request::Link { old: Loc::object(old), new: entry(parent, text), xdata: Xdata::NONE }
}

pub(crate) fn unlink(parent: Gfid, text: &str) -> request::Unlink {
    request::Unlink { loc: entry(parent, text), flags: 0, xdata: Xdata::NONE }
}

pub(crate) fn rmdir(parent: Gfid, text: &str) -> request::Rmdir {
    request::Rmdir { loc: entry(parent, text), flags: 0, xdata: Xdata::NONE }
}

pub(crate) fn rename(old: (Gfid, &str), new: (Gfid, &str)) -> request::Rename {
    request::Rename { old: entry(old.0, old.1), new: entry(new.0, new.1), flags: 0, xdata: Xdata::NONE }
}

impl Brick {
    /// For tests: the names of an object's extended attributes, sorted.
    pub(crate) fn xattr_names(&self, target: XattrTarget<'_>) -> Vec<String> {
        let mut buf = vec![0; 65536];
        let len = self.sys.listxattr(target, &mut buf).unwrap();
        let mut names: Vec<String> = buf[..len]
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty())
            .map(|name| String::from_utf8_lossy(name).into())
            .collect();
        names.sort();
        names
    }

    /// For tests: one extended attribute of an object, found by its handle.
    pub(crate) fn xattr(&self, gfid: Gfid, key: &std::ffi::CStr) -> Option<Vec<u8>> {
        let (object, _) = self.object(gfid).unwrap();
        let mut buf = vec![0; 65536];
        let len = self.sys.getxattr(self.target(&object), key, &mut buf).ok()?;
        buf.truncate(len);
        Some(buf)
    }

    /// For tests: on-disk links of a handle, 0 without one.
    pub(crate) fn handle_links(&self, gfid: Gfid) -> u32 {
        self.sys.stat_at(self.dot.fd(), HandlePath::new(gfid).as_c_str()).map_or(0, |stat| stat.nlink)
    }
}

#[test]
fn a_brick_in_memory_opens_and_answers() {
    let kit = Kit::new(1);
    kit.run(async |client| {
        let root = client
            .lookup(request::Lookup { loc: Loc::object(Gfid::ROOT), xdata: Xdata::NONE })
            .await
            .unwrap();
        assert!(root.iatt.is_dir());
        assert_eq!(client.find("nothing").await.unwrap_err(), Errno::NOENT);
    });
}

//! One scene per way that an entry fop can go: what is there before, and the fop.

use std::ffi::CString;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use kiln_uring::sys::{AtFlags, How, OpenFlags, Sys, XattrFlags, XattrTarget};
use kiln_uring::{Buf, Errno};

use crate::error::FopError;
use crate::fd::FdRef;
use crate::fop::request;
use crate::keys;
use crate::storage::posix::handle::HandlePath;
use crate::storage::posix::testkit::*;
use crate::types::{Dict, Gfid, Value, Xdata};

const ROOT: Gfid = Gfid::ROOT;

type Before = Pin<Box<dyn Future<Output = Vec<FdRef>>>>;
type Step = Pin<Box<dyn Future<Output = Result<(), FopError>>>>;

/// A scene.
pub(super) struct Scene {
    pub name: &'static str,
    /// Makes what is there before; the descriptors stay open.
    pub before: fn(Client, Arc<dyn Sys>) -> Before,
    /// The fop.
    pub fop: fn(Client) -> Step,
}

macro_rules! scene {
    ($name:literal, |$client:ident, $sys:ident| $before:block, |$actor:ident| $fop:expr) => {
        Scene {
            name: $name,
            before: |$client, $sys| {
                Box::pin(async move {
                    let _ = (&$client, &$sys);
                    #[allow(unused_mut, reason = "most scenes open nothing")]
                    let mut fds: Vec<FdRef> = Vec::new();
                    #[allow(unused_variables, reason = "most scenes open nothing")]
                    let opened = $before;
                    fds.extend(Opened::from(opened).0);
                    fds
                })
            },
            fop: |$actor| Box::pin(async move { $fop.await.map(drop) }),
        }
    };
}

/// What `before` leaves open.
struct Opened(Vec<FdRef>);

impl From<()> for Opened {
    fn from((): ()) -> Self {
        Self(Vec::new())
    }
}

impl From<FdRef> for Opened {
    fn from(fd: FdRef) -> Self {
        Self(vec![fd])
    }
}

async fn file(client: &Client, parent: Gfid, name: &str, gfid: Gfid) -> FdRef {
    let req = create(parent, name, gfid);
    let fd = Arc::clone(&req.fd);
    client.create(req).await.unwrap();
    fd
}

/// A file that is closed again.
async fn shut(client: &Client, parent: Gfid, name: &str, gfid: Gfid) {
    client.mknod(mknod(parent, name, gfid, libc::S_IFREG | 0o640, 0)).await.unwrap();
}

async fn dir(client: &Client, parent: Gfid, name: &str, gfid: Gfid) {
    client.mkdir(mkdir(parent, name, gfid)).await.unwrap();
}

/// Runs system calls on the brick behind its back.
fn behind(sys: &Arc<dyn Sys>, act: impl FnOnce(i32)) {
    let path = CString::new(BRICK).unwrap();
    let fd = sys.openat2(libc::AT_FDCWD, &path, How::new(OpenFlags::DIRECTORY)).unwrap();
    act(fd);
    sys.close(fd);
}

fn drop_handle(sys: &Arc<dyn Sys>, gfid: Gfid) {
    behind(sys, |brick| {
        let path = format!(".glusterfs/{}", HandlePath::new(gfid).as_c_str().to_str().unwrap());
        sys.unlink_at(brick, &CString::new(path).unwrap(), AtFlags::empty()).unwrap();
    });
}

fn with_flags(mut req: request::Rename, flags: u32) -> request::Rename {
    req.flags = flags;
    req
}

fn with(xdata: Xdata, key: &'static std::ffi::CStr, value: Value) -> Xdata {
    let mut xdata = xdata;
    xdata.make().set(key, value);
    xdata
}

fn looking(parent: Gfid, name: &str, gfid: Gfid) -> request::Lookup {
    request::Lookup { loc: entry(parent, name), xdata: gfid_req(gfid) }
}

/// A default ACL: rwx for the owner and user 7, r-x for the group, nothing for others.
pub(super) fn default_acl() -> Vec<u8> {
    let mut acl = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in
        [(1_u16, 7_u16, u32::MAX), (2, 7, 7), (4, 5, u32::MAX), (16, 7, u32::MAX), (32, 0, u32::MAX)]
    {
        acl.extend_from_slice(&tag.to_le_bytes());
        acl.extend_from_slice(&permissions.to_le_bytes());
        acl.extend_from_slice(&id.to_le_bytes());
    }
    acl
}

/// A directory `d` (gfid 9) of group 50 with the set-group-ID bit and a default ACL.
async fn giving(client: &Client, sys: &Arc<dyn Sys>) {
    dir(client, ROOT, "d", gfid(9)).await;
    behind(sys, |brick| {
        sys.chown_at(brick, c"d", 40, 50).unwrap();
        sys.chmod_at(brick, c"d", 0o2775).unwrap();
        sys.setxattr(XattrTarget::At(brick, c"d"), keys::ACL_DEFAULT, &default_acl(), XattrFlags::empty())
            .unwrap();
    });
}

fn a() -> Gfid {
    gfid(0xa)
}

fn b() -> Gfid {
    gfid(0xb)
}

fn c() -> Gfid {
    gfid(0xc)
}

const FILE: u32 = libc::S_IFREG | 0o644;

/// All of them.
#[rustfmt::skip]
pub(super) fn all() -> Vec<Scene> {
    vec![
        scene!("create", |client, sys| {}, |client| client.create(create(ROOT, "f", a()))),
        scene!("create as another with attributes", |client, sys| { giving(&client, &sys).await }, |client| {
            let mut req = create(gfid(9), "f", a());
            req.mode = 0o4755;
            req.xdata = with(req.xdata, c"trusted.ec.size", Value::Bin(vec![0; 8]));
            let client = client.user(7, 8).at(1000);
            async move { client.create(req).await }
        }),
        scene!("create over what is there", |client, sys| { shut(&client, ROOT, "f", a()).await; }, |client| {
            let mut req = create(ROOT, "f", b());
            req.flags = libc::O_CREAT as u32;
            client.create(req)
        }),
        scene!("put", |client, sys| {}, |client| {
            let xattrs: Dict = [(c"user.k", Value::Bin(b"v".to_vec()))].into_iter().collect();
            let data = Buf::from_slice(b"contents");
            client.put(request::Put {
                loc: entry(ROOT, "f"), mode: 0o600, umask: 0, flags: 0, data, offset: 0, xattrs, xdata: gfid_req(a()),
            })
        }),
        scene!("mknod file", |client, sys| {}, |client| client.mknod(mknod(ROOT, "f", a(), FILE, 0))),
        scene!("mknod fifo", |client, sys| { giving(&client, &sys).await }, |client| {
            let client = client.user(7, 8).at(1000);
            async move { client.mknod(mknod(gfid(9), "f", a(), libc::S_IFIFO | 0o664, 0)).await }
        }),
        scene!("mknod device", |client, sys| {}, |client| client.mknod(mknod(ROOT, "f", a(), libc::S_IFCHR | 0o600, 5 << 32 | 7))),
        scene!("mknod socket", |client, sys| {}, |client| client.mknod(mknod(ROOT, "f", a(), libc::S_IFSOCK | 0o600, 0))),
        scene!("mknod of a gfid that exists", |client, sys| { shut(&client, ROOT, "f", a()).await; }, |client| {
            let mut req = mknod(ROOT, "g", a(), FILE, 0);
            req.xdata = with(req.xdata, keys::INTERNAL_FOP, Value::Int(1));
            client.mknod(req)
        }),
        scene!("mknod over a link file", |client, sys| {
            let mut req = mknod(ROOT, "f", b(), libc::S_IFREG | libc::S_ISVTX, 0);
            req.xdata = with(req.xdata, keys::DHT_LINKTO, Value::Str("sub-1".into()));
            client.mknod(req).await.unwrap();
        }, |client| {
            let mut req = mknod(ROOT, "f", a(), FILE, 0);
            req.xdata = with(req.xdata, keys::FORCE_REPLACE, Value::Int(1));
            client.mknod(req)
        }),
        scene!("symlink", |client, sys| {}, |client| client.symlink(symlink("../some/where", ROOT, "s", a()))),
        scene!("symlink like a handle", |client, sys| {}, |client| {
            let target = "../../00/00/00000000-0000-0000-0000-000000000001/s";
            client.symlink(symlink(target, ROOT, "s", a()))
        }),
        scene!("mkdir", |client, sys| {}, |client| client.mkdir(mkdir(ROOT, "d", a()))),
        scene!("mkdir with inheritance", |client, sys| { giving(&client, &sys).await }, |client| {
            let mut req = mkdir(gfid(9), "e", a());
            req.xdata = with(req.xdata, c"trusted.glusterfs.dht", Value::Bin(vec![1; 16]));
            let client = client.user(7, 8).at(1000);
            async move { client.mkdir(req).await }
        }),
        scene!("mkdir of a gfid that exists", |client, sys| { dir(&client, ROOT, "d", a()).await }, |client| {
            let client = client.pid(-6);
            async move { client.mkdir(mkdir(ROOT, "e", a())).await }
        }),
        scene!("link", |client, sys| { shut(&client, ROOT, "f", a()).await; }, |client| client.link(link(a(), ROOT, "g"))),
        scene!("link of a symlink", |client, sys| {
            client.symlink(symlink("x", ROOT, "s", a())).await.unwrap();
        }, |client| client.link(link(a(), ROOT, "t"))),
        scene!("unlink", |client, sys| { shut(&client, ROOT, "f", a()).await; }, |client| client.unlink(unlink(ROOT, "f"))),
        scene!("unlink one of two", |client, sys| {
            shut(&client, ROOT, "f", a()).await;
            client.link(link(a(), ROOT, "g")).await.unwrap();
        }, |client| client.unlink(unlink(ROOT, "f"))),
        scene!("unlink a symlink", |client, sys| {
            client.symlink(symlink("x", ROOT, "s", a())).await.unwrap();
        }, |client| client.unlink(unlink(ROOT, "s"))),
        scene!("rmdir", |client, sys| { dir(&client, ROOT, "d", a()).await }, |client| client.rmdir(rmdir(ROOT, "d"))),
        scene!("rename", |client, sys| { shut(&client, ROOT, "f", a()).await; }, |client| client.rename(rename((ROOT, "f"), (ROOT, "g")))),
        scene!("rename elsewhere", |client, sys| {
            shut(&client, ROOT, "f", a()).await;
            dir(&client, ROOT, "d", c()).await;
        }, |client| client.rename(rename((ROOT, "f"), (c(), "f")))),
        scene!("rename over another", |client, sys| {
            shut(&client, ROOT, "f", a()).await;
            shut(&client, ROOT, "g", b()).await;
        }, |client| client.rename(rename((ROOT, "f"), (ROOT, "g")))),
        scene!("rename over one of two", |client, sys| {
            shut(&client, ROOT, "f", a()).await;
            shut(&client, ROOT, "g", b()).await;
            client.link(link(b(), ROOT, "h")).await.unwrap();
        }, |client| client.rename(rename((ROOT, "f"), (ROOT, "g")))),
        scene!("rename over itself", |client, sys| {
            shut(&client, ROOT, "f", a()).await;
            client.link(link(a(), ROOT, "g")).await.unwrap();
        }, |client| client.rename(rename((ROOT, "f"), (ROOT, "g")))),
        scene!("rename a symlink over a file", |client, sys| {
            client.symlink(symlink("x", ROOT, "s", a())).await.unwrap();
            shut(&client, ROOT, "g", b()).await;
        }, |client| client.rename(rename((ROOT, "s"), (ROOT, "g")))),
        scene!("rename a directory", |client, sys| {
            dir(&client, ROOT, "d", a()).await;
            dir(&client, a(), "below", b()).await;
            shut(&client, b(), "f", c()).await;
        }, |client| client.rename(rename((ROOT, "d"), (ROOT, "e")))),
        scene!("rename a directory elsewhere", |client, sys| {
            dir(&client, ROOT, "d", a()).await;
            shut(&client, a(), "f", c()).await;
            dir(&client, ROOT, "e", b()).await;
        }, |client| client.rename(rename((ROOT, "d"), (b(), "below")))),
        scene!("rename a directory over an empty one", |client, sys| {
            dir(&client, ROOT, "d", a()).await;
            shut(&client, a(), "f", c()).await;
            dir(&client, ROOT, "e", b()).await;
        }, |client| client.rename(rename((ROOT, "d"), (ROOT, "e")))),
        scene!("exchange files", |client, sys| {
            shut(&client, ROOT, "f", a()).await;
            shut(&client, ROOT, "g", b()).await;
        }, |client| client.rename(with_flags(rename((ROOT, "f"), (ROOT, "g")), libc::RENAME_EXCHANGE))),
        scene!("exchange directories", |client, sys| {
            dir(&client, ROOT, "d", a()).await;
            dir(&client, a(), "below", c()).await;
            dir(&client, ROOT, "e", b()).await;
            shut(&client, b(), "f", gfid(0xd)).await;
        }, |client| client.rename(with_flags(rename((c(), "x"), (ROOT, "e")), 0).swap(a(), "below"))),
        scene!("exchange a file and a directory", |client, sys| {
            dir(&client, ROOT, "d", a()).await;
            shut(&client, a(), "f", c()).await;
            shut(&client, ROOT, "g", b()).await;
        }, |client| client.rename(with_flags(rename((ROOT, "d"), (ROOT, "g")), libc::RENAME_EXCHANGE))),
        scene!("lookup gives a gfid", |client, sys| {
            behind(&sys, |brick| sys.mknod_at(brick, c"f", FILE, 0).unwrap());
        }, |client| client.lookup(looking(ROOT, "f", a()))),
        scene!("lookup gives a directory a gfid", |client, sys| {
            behind(&sys, |brick| sys.mkdir_at(brick, c"d", 0o755).unwrap());
        }, |client| client.lookup(looking(ROOT, "d", a()))),
        scene!("lookup makes a handle", |client, sys| {
            shut(&client, ROOT, "f", a()).await;
            drop_handle(&sys, a());
        }, |client| client.lookup(looking(ROOT, "f", b()))),
        scene!("lookup makes a directory's handle", |client, sys| {
            dir(&client, ROOT, "d", a()).await;
            drop_handle(&sys, a());
        }, |client| client.lookup(looking(ROOT, "d", b()))),
    ]
}

/// Scenes with open files: the handle waits in `unlink/`, which the next start empties.
#[rustfmt::skip]
pub(super) fn with_open_files() -> Vec<Scene> {
    vec![
        scene!("unlink while open", |client, sys| { file(&client, ROOT, "f", a()).await }, |client| client.unlink(unlink(ROOT, "f"))),
        scene!("rename over an open one", |client, sys| {
            shut(&client, ROOT, "f", a()).await;
            file(&client, ROOT, "g", b()).await
        }, |client| client.rename(rename((ROOT, "f"), (ROOT, "g")))),
        scene!("rmdir with what is in it", |client, sys| {
            dir(&client, ROOT, "d", a()).await;
        }, |client| client.rmdir(request::Rmdir { loc: entry(ROOT, "d"), flags: 1, xdata: Xdata::NONE })),
    ]
}

trait Swap {
    fn swap(self, old: Gfid, name: &str) -> Self;
}

impl Swap for request::Rename {
    fn swap(mut self, old: Gfid, name: &str) -> Self {
        self.old = entry(old, name);
        self.flags = libc::RENAME_EXCHANGE;
        self
    }
}

/// What scenes expect of errors: none of them fails when nothing goes wrong.
pub(super) fn errno(result: Result<(), FopError>) -> Result<(), Errno> {
    result.map_err(|error| error.errno)
}

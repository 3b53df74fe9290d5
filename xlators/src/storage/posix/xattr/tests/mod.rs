//! The fops on extended attributes, on the file system in memory and on real ones.

mod answers;
mod arithmetic;
mod changes;
mod reads;

use std::ffi::{CStr, CString};
use std::path::Path;
use std::sync::Arc;

use kiln_uring::sys::linux::Linux;
use kiln_uring::sys::{How, OpenFlags, XattrFlags, XattrTarget};
use kiln_uring::{Errno, File};

use crate::error::FopResult;
use crate::fd::{Fd, FdRef};
use crate::fop::{reply, request};
use crate::keys;
use crate::storage::posix::Brick;
use crate::storage::posix::gfid2path::Gfid2Path;
use crate::storage::posix::handle::{HandlePath, directory_target};
use crate::storage::posix::testkit::{Client, Kit, gfid, name};
use crate::types::{Dict, Gfid, Key, Loc, Value, Xdata};

/// `/file`: regular, mode 640, content "content".
const FILE: u8 = 0x11;
/// `/link`: symbolic, to `file`.
const LINK: u8 = 0x22;
/// `/pipe`: a fifo.
const PIPE: u8 = 0x33;
/// `/dir`: a directory.
const DIR: u8 = 0x44;
/// `/dir/Sub`: a directory in it.
const SUB: u8 = 0x55;
/// `/dir/Sub/Deep`: a regular file, mode 600, empty; also `/second`.
const DEEP: u8 = 0x66;

/// A brick with these objects, as a stock brick has them: gfid, handle, gfid2path.
fn populate(brick: &Arc<Brick>) {
    let sys = &brick.sys;
    let root = XattrTarget::Fd(brick.root.fd());
    sys.setxattr(root, keys::VOLUME_ID, &[9; 16], XattrFlags::empty()).unwrap();
    let file = |dir: &File, text: &CStr, mode: u32, data: &[u8]| {
        sys.mknod_at(dir.fd(), text, libc::S_IFREG | mode, 0).unwrap();
        let fd = sys.openat2(dir.fd(), text, How::new(OpenFlags::RDWR)).unwrap();
        assert_eq!(sys.pwrite(fd, data, 0).unwrap(), data.len());
        sys.close(fd);
    };
    file(&brick.root, c"file", 0o640, b"content");
    sys.symlink_at(c"file", brick.root.fd(), c"link").unwrap();
    sys.mknod_at(brick.root.fd(), c"pipe", libc::S_IFIFO | 0o600, 0).unwrap();
    for (text, id) in [("file", FILE), ("link", LINK), ("pipe", PIPE)] {
        identify(brick, &brick.root, Gfid::ROOT, text, gfid(id));
    }
    let dir = directory(brick, &brick.root, Gfid::ROOT, "dir", gfid(DIR));
    let sub = directory(brick, &dir, gfid(DIR), "Sub", gfid(SUB));
    file(&sub, c"Deep", 0o600, b"");
    identify(brick, &sub, gfid(SUB), "Deep", gfid(DEEP));
    sys.link_at(sub.fd(), c"Deep", brick.root.fd(), c"second").unwrap();
    let other = Gfid2Path::new(Gfid::ROOT, &name("second"));
    let target = XattrTarget::At(brick.root.fd(), c"second");
    sys.setxattr(target, &other.key, &other.value, XattrFlags::CREATE).unwrap();
}

fn handle_dirs(brick: &Brick, gfid: Gfid) -> HandlePath {
    let handle = HandlePath::new(gfid);
    match brick.sys.mkdir_at(brick.dot.fd(), &handle.leaf_dir(), 0o700) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => panic!("{errno}"),
    }
    handle
}

fn identify(brick: &Brick, dir: &File, parent: Gfid, text: &str, gfid: Gfid) {
    let path = CString::new(text).unwrap();
    let target = XattrTarget::At(dir.fd(), &path);
    brick.sys.setxattr(target, keys::GFID, gfid.as_bytes(), XattrFlags::CREATE).unwrap();
    let path2 = Gfid2Path::new(parent, &name(text));
    brick.sys.setxattr(target, &path2.key, &path2.value, XattrFlags::CREATE).unwrap();
    let handle = handle_dirs(brick, gfid);
    brick.sys.link_at(dir.fd(), &path, brick.dot.fd(), handle.as_c_str()).unwrap();
}

fn directory(brick: &Arc<Brick>, dir: &File, parent: Gfid, text: &str, gfid: Gfid) -> Arc<File> {
    let path = CString::new(text).unwrap();
    brick.sys.mkdir_at(dir.fd(), &path, 0o755).unwrap();
    let target = XattrTarget::At(dir.fd(), &path);
    brick.sys.setxattr(target, keys::GFID, gfid.as_bytes(), XattrFlags::CREATE).unwrap();
    let handle = handle_dirs(brick, gfid);
    let to = directory_target(parent, &name(text));
    brick.sys.symlink_at(&to, brick.dot.fd(), handle.as_c_str()).unwrap();
    brick.open_subdir(dir, &name(text)).unwrap()
}

/// The places that keep `trusted.*` attributes: memory, and where it is allowed, a tmpfs and a disk.
fn places() -> Vec<Option<tempfile::TempDir>> {
    let mut places = vec![None];
    for parent in [Path::new("/dev/shm"), &std::env::temp_dir()] {
        let Ok(dir) = tempfile::tempdir_in(parent) else { continue };
        let path = CString::new(dir.path().as_os_str().as_encoded_bytes()).unwrap();
        let target = XattrTarget::At(libc::AT_FDCWD, &path);
        let sys = Linux::new();
        use kiln_uring::Sys as _;
        match sys.setxattr(target, c"trusted.kiln", b"x", XattrFlags::empty()) {
            Ok(()) => {
                sys.removexattr(target, c"trusted.kiln").unwrap();
                places.push(Some(dir));
            }
            Err(errno) => eprintln!("no test in {}: {errno}", parent.display()),
        }
    }
    places
}

/// Runs a test on a populated brick with these options in each of the [`places`].
fn everywhere(options: &[(&str, &str)], test: impl AsyncFn(Client, Arc<Brick>)) {
    for (seed, place) in places().iter().enumerate() {
        let kit = match place {
            None => Kit::with_options(seed as u64, options),
            Some(dir) => Kit::on(seed as u64, Linux::new(), dir.path().to_str().unwrap(), options),
        };
        let brick = kit.brick();
        populate(&brick);
        kit.run(async |client| test(client, brick).await);
    }
}

fn loc(id: u8) -> Loc {
    Loc::object(gfid(id))
}

fn bin(bytes: &[u8]) -> Value {
    Value::Bin(bytes.to_vec())
}

fn dict(pairs: &[(&'static CStr, Value)]) -> Dict {
    pairs.iter().cloned().collect()
}

fn asking(keys: &[&'static CStr]) -> Xdata {
    keys.iter().map(|key| (*key, Value::Int(0))).collect::<Dict>().into()
}

fn sorted(dict: &Dict) -> Vec<String> {
    let mut names: Vec<String> = dict.iter().map(|(key, _)| key.to_string_lossy().into()).collect();
    names.sort();
    names
}

/// What these tests do most.
trait XattrSteps {
    async fn get(&self, loc: Loc, key: &'static CStr) -> Result<Option<Value>, Errno>;
    async fn list(&self, loc: Loc) -> Vec<String>;
    async fn set(&self, loc: Loc, pairs: &[(&'static CStr, Value)]) -> Result<reply::Done, Errno>;
    async fn set_with(
        &self,
        loc: Loc,
        pairs: &[(&'static CStr, Value)],
        flags: u32,
        xdata: Xdata,
    ) -> Result<reply::Done, Errno>;
    async fn unset(&self, loc: Loc, key: &'static CStr) -> Result<reply::Done, Errno>;
    async fn open_fd(&self, id: u8) -> FdRef;
}

impl XattrSteps for Client {
    async fn get(&self, loc: Loc, key: &'static CStr) -> Result<Option<Value>, Errno> {
        let req = request::Getxattr { loc, name: Some(Key::Borrowed(key)), xdata: Xdata::NONE };
        self.getxattr(req).await.map(|mut reply| reply.dict.remove(key)).map_err(|error| error.errno)
    }

    async fn list(&self, loc: Loc) -> Vec<String> {
        sorted(&self.getxattr(request::Getxattr { loc, name: None, xdata: Xdata::NONE }).await.unwrap().dict)
    }

    async fn set(&self, loc: Loc, pairs: &[(&'static CStr, Value)]) -> Result<reply::Done, Errno> {
        self.set_with(loc, pairs, 0, Xdata::NONE).await
    }

    async fn set_with(
        &self,
        loc: Loc,
        pairs: &[(&'static CStr, Value)],
        flags: u32,
        xdata: Xdata,
    ) -> Result<reply::Done, Errno> {
        let req = request::Setxattr { loc, dict: dict(pairs), flags, xdata };
        self.setxattr(req).await.map_err(|error| error.errno)
    }

    async fn unset(&self, loc: Loc, key: &'static CStr) -> Result<reply::Done, Errno> {
        let req = request::Removexattr { loc, name: Key::Borrowed(key), xdata: Xdata::NONE };
        self.removexattr(req).await.map_err(|error| error.errno)
    }

    async fn open_fd(&self, id: u8) -> FdRef {
        let fd = Fd::file(gfid(id), libc::O_RDWR as u32, 1000);
        let req = request::Open {
            loc: loc(id),
            flags: libc::O_RDWR as u32,
            fd: Arc::clone(&fd),
            xdata: Xdata::NONE,
        };
        self.open(req).await.unwrap();
        fd
    }
}

fn errno<T: std::fmt::Debug>(result: FopResult<T>) -> Errno {
    result.unwrap_err().errno
}

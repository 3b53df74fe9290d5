//! A brick that is put together system call by system call.

use std::ffi::{CStr, CString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_uring::sim::MemFs;
use kiln_uring::sys::linux::Linux;
use kiln_uring::sys::{AtFlags, How, OpenFlags, Stat, XattrFlags, XattrTarget};
use kiln_uring::{Errno, File, Sys};

use crate::keys;
use crate::storage::posix::check::{CheckError, CheckOptions, CheckReport, check, check_path};
use crate::storage::posix::gfid2path::Gfid2Path;
use crate::storage::posix::handle::{HandlePath, ROOT_TARGET, directory_target};
use crate::types::{Gfid, Name};

pub(super) struct Bench {
    pub sys: Arc<dyn Sys>,
    pub path: PathBuf,
    pub root: Arc<File>,
    _dir: Option<tempfile::TempDir>,
}

/// Runs a test on a brick in memory and on one on the real kernel, each with nothing in it.
pub(super) fn on_both(test: impl Fn(&Bench)) {
    test(&Bench::memory());
    test(&Bench::real());
}

impl Bench {
    pub fn memory() -> Self {
        let fs = MemFs::with_seed(1);
        fs.mkdir_at(libc::AT_FDCWD, c"/brick", 0o755).unwrap();
        Self::new(fs, "/brick".into(), None)
    }

    pub fn real() -> Self {
        let dir = tempfile::Builder::new().prefix("kiln-check-").tempdir().unwrap();
        Self::new(Linux::new(), dir.path().to_owned(), Some(dir))
    }

    fn new(sys: Arc<dyn Sys>, path: PathBuf, dir: Option<tempfile::TempDir>) -> Self {
        let text = CString::new(path.to_str().unwrap()).unwrap();
        let fd = sys.openat2(libc::AT_FDCWD, &text, How::new(OpenFlags::DIRECTORY)).unwrap();
        let root = Arc::new(File::new(Arc::clone(&sys), fd));
        let bench = Self { sys, path, root, _dir: dir };
        bench.set("", keys::GFID, Gfid::ROOT.as_bytes());
        for (dir, mode) in
            [("", 0o600), ("/unlink", 0o600), ("/landfill", 0o755), ("/indices", 0o600), ("/00", 0o700)]
        {
            bench.mkdir(&format!(".glusterfs{dir}"), mode);
        }
        bench.mkdir(".glusterfs/00/00", 0o700);
        bench.symlink(ROOT_TARGET, &handle(Gfid::ROOT));
        bench
    }

    // --- system calls ----------------------------------------------------------------------------------------------

    fn at<T>(&self, path: &str, act: impl Fn(i32, &CStr) -> Result<T, Errno>) -> T {
        let text = if path.is_empty() { c".".to_owned() } else { CString::new(path).unwrap() };
        act(self.root.fd(), &text).unwrap_or_else(|errno| panic!("{path}: {errno}"))
    }

    pub fn mkdir(&self, path: &str, mode: u32) {
        self.at(path, |root, path| self.sys.mkdir_at(root, path, mode));
    }

    pub fn symlink(&self, target: &CStr, path: &str) {
        self.at(path, |root, path| self.sys.symlink_at(target, root, path));
    }

    pub fn mknod(&self, path: &str, mode: u32) {
        self.at(path, |root, path| self.sys.mknod_at(root, path, mode, 0));
    }

    pub fn link(&self, old: &str, new: &str) {
        let new = CString::new(new).unwrap();
        self.at(old, |root, old| self.sys.link_at(root, old, root, &new));
    }

    pub fn unlink(&self, path: &str) {
        self.at(path, |root, path| self.sys.unlink_at(root, path, AtFlags::empty()));
    }

    pub fn rmdir(&self, path: &str) {
        self.at(path, |root, path| self.sys.unlink_at(root, path, AtFlags::REMOVEDIR));
    }

    pub fn rename(&self, old: &str, new: &str) {
        let new = CString::new(new).unwrap();
        self.at(old, |root, old| self.sys.rename_at(root, old, root, &new, kiln_uring::RenameFlags::empty()));
    }

    pub fn set(&self, path: &str, key: &CStr, value: &[u8]) {
        self.at(path, |root, path| {
            self.sys.setxattr(XattrTarget::At(root, path), key, value, XattrFlags::empty())
        });
    }

    pub fn remove(&self, path: &str, key: &CStr) {
        self.at(path, |root, path| self.sys.removexattr(XattrTarget::At(root, path), key));
    }

    pub fn get(&self, path: &str, key: &CStr) -> Option<Vec<u8>> {
        let path = CString::new(path).unwrap();
        let mut value = vec![0; 1024];
        let len = self.sys.getxattr(XattrTarget::At(self.root.fd(), &path), key, &mut value).ok()?;
        value.truncate(len);
        Some(value)
    }

    pub fn stat(&self, path: &str) -> Option<Stat> {
        self.sys.stat_at(self.root.fd(), &CString::new(path).unwrap()).ok()
    }

    pub fn readlink(&self, path: &str) -> Vec<u8> {
        self.at(path, |root, path| self.sys.readlink_at(root, path))
    }

    // --- objects as they should be ---------------------------------------------------------------------------------

    pub fn fan_out(&self, gfid: Gfid) {
        let path = HandlePath::new(gfid);
        for dir in [path.first_dir(), path.leaf_dir()] {
            let path = CString::new(format!(".glusterfs/{}", dir.to_str().unwrap())).unwrap();
            match self.sys.mkdir_at(self.root.fd(), &path, 0o700) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => panic!("{path:?}: {errno}"),
            }
        }
    }

    /// A directory; its parent is known by the gfid of the directory's path but the last component.
    pub fn dir(&self, path: &str, gfid: Gfid) {
        self.mkdir(path, 0o755);
        self.set(path, keys::GFID, gfid.as_bytes());
        self.fan_out(gfid);
        let (parent, name) = self.place(path);
        self.symlink(&directory_target(parent, &name), &handle(gfid));
    }

    pub fn file(&self, path: &str, gfid: Gfid) {
        self.mknod(path, libc::S_IFREG | 0o644);
        self.dress(path, gfid);
    }

    pub fn dress(&self, path: &str, gfid: Gfid) {
        self.set(path, keys::GFID, gfid.as_bytes());
        self.add_path(path);
        self.fan_out(gfid);
        self.link(path, &handle(gfid));
    }

    /// One more name.
    pub fn hard_link(&self, old: &str, new: &str) {
        self.link(old, new);
        self.add_path(new);
    }

    pub fn add_path(&self, path: &str) {
        let own = self.path_of(path);
        self.set(path, &own.key, &own.value);
    }

    pub fn path_of(&self, path: &str) -> Gfid2Path {
        let (parent, name) = self.place(path);
        Gfid2Path::new(parent, &name)
    }

    fn place(&self, path: &str) -> (Gfid, Name) {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = if parent.is_empty() { "." } else { parent };
        (
            Gfid::from_slice(&self.get(parent, keys::GFID).unwrap()).unwrap(),
            Name::new(name.as_bytes()).unwrap(),
        )
    }

    // --- checks ----------------------------------------------------------------------------------------------------

    pub fn check(&self) -> CheckReport {
        check_path(&self.sys, &self.path, false).unwrap()
    }

    pub fn repair(&self) -> CheckReport {
        check_path(&self.sys, &self.path, true).unwrap()
    }

    pub fn check_with(&self, options: &CheckOptions) -> Result<CheckReport, CheckError> {
        check(&self.sys, &self.path, options, &mut |_| {})
    }

    /// Nothing is wrong.
    pub fn assert_clean(&self) {
        let report = self.check();
        assert!(report.is_clean() && report.found() == 0, "{report}");
    }
}

/// Path of a handle below the brick.
pub(super) fn handle(gfid: Gfid) -> String {
    format!(".glusterfs/{}", HandlePath::new(gfid).as_c_str().to_str().unwrap())
}

/// Something of a path for [`Path`] users.
pub(super) fn missing() -> &'static Path {
    Path::new("/nothing/is/here")
}

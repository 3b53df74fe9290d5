//! Where a case runs: one implementation of `Sys` and an empty directory on it.

use std::ffi::CStr;
use std::sync::Arc;
use std::time::Duration;

use kiln_uring::sim::MemFs;
use kiln_uring::sys::linux::Linux;
use kiln_uring::sys::{AtFlags, File, How, OpenFlags, RawFd, Stat, Sys, SysResult, XattrFlags, XattrTarget};

/// Read only, which is no flag.
pub const RDONLY: OpenFlags = OpenFlags::empty();

/// An empty directory and the kernel it is on.
pub struct Bed {
    pub sys: Arc<dyn Sys>,
    pub root: File,
    mem: Option<Arc<MemFs>>,
    _dir: Option<tempfile::TempDir>,
}

impl Bed {
    /// The real kernel.
    pub fn linux() -> Self {
        Self::real(Linux::new())
    }

    /// The real kernel without its younger calls.
    pub fn old_linux() -> Self {
        Self::real(Linux::without_young_calls())
    }

    fn real(sys: Arc<dyn Sys>) -> Self {
        rustix::process::umask(rustix::fs::Mode::empty());
        // Two levels, so that ".." leads to nothing that is anybody else's.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bed").into_os_string().into_encoded_bytes();
        let path = std::ffi::CString::new(path).unwrap();
        sys.mkdir_at(libc::AT_FDCWD, &path, 0o700).unwrap();
        let fd = sys.openat2(libc::AT_FDCWD, &path, How::new(OpenFlags::DIRECTORY)).unwrap();
        Self { root: File::new(Arc::clone(&sys), fd), sys, mem: None, _dir: Some(dir) }
    }

    /// The file system in memory.
    pub fn memfs() -> Self {
        let mem = MemFs::new();
        let sys: Arc<dyn Sys> = mem.clone();
        sys.mkdir_at(libc::AT_FDCWD, c"bed", 0o700).unwrap();
        let fd = sys.openat2(libc::AT_FDCWD, c"bed", How::new(OpenFlags::DIRECTORY)).unwrap();
        Self { root: File::new(Arc::clone(&sys), fd), sys, mem: Some(mem), _dir: None }
    }

    /// The file system in memory that it is on.
    pub fn memory(&self) -> &MemFs {
        self.mem.as_ref().expect("the bed is in memory")
    }

    /// The descriptor of the directory.
    pub fn fd(&self) -> RawFd {
        self.root.fd()
    }

    /// Whether it is on a real disk.
    pub fn is_real(&self) -> bool {
        self.mem.is_none()
    }

    /// Whether the caller may do what only root may: some cases cannot be tried otherwise.
    pub fn is_root(&self) -> bool {
        self.mem.is_some() || rustix::process::geteuid().is_root()
    }

    /// Whether the file system behaves like ext4 where others may differ.
    pub fn is_ext4(&self) -> bool {
        self.sys.statfs(self.fd()).unwrap().kind == 0xef53
    }

    /// Lets time pass, so that a time stamp taken afterwards differs from one taken before.
    pub fn tick(&self) {
        match &self.mem {
            Some(mem) => mem.advance(Duration::from_millis(20)),
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    }

    /// Opens with any rules.
    pub fn open_how(&self, path: &CStr, how: How) -> SysResult<File> {
        self.sys.openat2(self.fd(), path, how).map(|fd| File::new(Arc::clone(&self.sys), fd))
    }

    /// Opens with these flags; what gets created has mode 0644.
    pub fn open(&self, path: &CStr, flags: OpenFlags) -> SysResult<File> {
        self.open_how(path, How::new(flags).mode(0o644))
    }

    /// A new file with this content, open for reading and writing.
    pub fn file(&self, path: &CStr, content: &[u8]) -> File {
        let file = self.open(path, OpenFlags::RDWR | OpenFlags::CREAT | OpenFlags::EXCL).unwrap();
        assert_eq!(self.sys.pwrite(file.fd(), content, 0), Ok(content.len()));
        file
    }

    pub fn mkdir(&self, path: &CStr) -> SysResult<()> {
        self.sys.mkdir_at(self.fd(), path, 0o755)
    }

    pub fn symlink(&self, target: &CStr, path: &CStr) {
        self.sys.symlink_at(target, self.fd(), path).unwrap();
    }

    pub fn stat(&self, path: &CStr) -> SysResult<Stat> {
        self.sys.stat_at(self.fd(), path)
    }

    pub fn unlink(&self, path: &CStr) -> SysResult<()> {
        self.sys.unlink_at(self.fd(), path, AtFlags::empty())
    }

    pub fn rmdir(&self, path: &CStr) -> SysResult<()> {
        self.sys.unlink_at(self.fd(), path, AtFlags::REMOVEDIR)
    }

    /// Everything in a file.
    pub fn content(&self, file: &File) -> Vec<u8> {
        let mut content = vec![0; self.sys.stat(file.fd()).unwrap().size as usize];
        let mut read = 0;
        while read < content.len() {
            let flags = kiln_uring::sys::ReadFlags::empty();
            let n = self.sys.pread(file.fd(), &mut content[read..], read as u64, flags).unwrap();
            assert_ne!(n, 0, "the file ends before its size");
            read += n;
        }
        content
    }

    pub fn get(&self, target: XattrTarget<'_>, name: &CStr) -> SysResult<Vec<u8>> {
        let mut value = vec![0; self.sys.getxattr(target, name, &mut [])?];
        if value.is_empty() {
            return Ok(value);
        }
        let len = self.sys.getxattr(target, name, &mut value)?;
        value.truncate(len);
        Ok(value)
    }

    pub fn set(&self, target: XattrTarget<'_>, name: &CStr, value: &[u8]) -> SysResult<()> {
        self.sys.setxattr(target, name, value, XattrFlags::empty())
    }

    /// The names of the attributes, sorted; without what a security module adds by itself.
    pub fn list(&self, target: XattrTarget<'_>) -> SysResult<Vec<String>> {
        let mut buf = vec![0; self.sys.listxattr(target, &mut [])?];
        if !buf.is_empty() {
            let len = self.sys.listxattr(target, &mut buf)?;
            buf.truncate(len);
        }
        let names = buf.split_inclusive(|&b| b == 0).map(|name| CStr::from_bytes_with_nul(name).unwrap());
        let mut names: Vec<_> = names.map(|name| name.to_str().unwrap().to_owned()).collect();
        names.retain(|name| name != "security.selinux");
        names.sort();
        Ok(names)
    }

    /// All names in a directory, in order, taken in small steps.
    pub fn names(&self, path: &CStr) -> Vec<String> {
        let dir = self.open(path, OpenFlags::DIRECTORY).unwrap();
        let mut names = Vec::new();
        let mut offset = 0;
        loop {
            let entries = self.sys.read_dir(dir.fd(), offset, 100).unwrap();
            let Some(last) = entries.last() else { break };
            offset = last.offset;
            names.extend(entries.iter().map(|e| e.name.to_str().unwrap().to_owned()));
        }
        names.sort();
        names
    }
}

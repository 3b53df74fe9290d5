//! File operations as awaitables with owned buffers.

use std::ffi::CString;
use std::sync::Arc;

use crate::buf::Buf;
use crate::handle::{Core, Inner};
use crate::oneshot;
use crate::op::{Op, Request, StatOut};
use crate::placement::{Class, INLINE_WRITE_MAX, Place, Warmth, place};
use crate::sys::{AtFlags, Errno, File, How, ReadFlags, RenameFlags, Stat, SysResult, XattrFlags};

/// Which way file data takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataMode {
    /// Through the page cache.
    Buffered,
    /// The file was opened with O_DIRECT: memory, offset and length are aligned.
    Direct,
}

/// What the page cache had.
enum Cached {
    /// The whole answer.
    All(SysResult<usize>),
    /// This many bytes; the rest has to be fetched.
    UpTo(usize),
}

fn at(offset: u64, done: usize) -> u64 {
    // Beyond i64::MAX the kernel answers EINVAL, which is the right answer.
    offset.saturating_add(done as u64)
}

impl Core {
    /// Reads up to `buf.len()` bytes at `offset`. The buffer comes back with its length unchanged; bytes beyond the count are
    /// as they were. Fewer bytes than asked mean the end of the file, or for [`DataMode::Direct`] whatever the kernel says.
    ///
    /// Buffered: straight from the page cache when all is there; what is missing comes through the ring, and so does
    /// everything in direct mode. Dropping the future cancels; buffer and file live until the kernel is done.
    pub async fn read(
        &self,
        file: &Arc<File>,
        mut buf: Buf,
        offset: u64,
        how: DataMode,
    ) -> (SysResult<usize>, Buf) {
        let mut done = 0;
        if how == DataMode::Buffered {
            match self.read_cached(file, &mut buf, offset) {
                Cached::All(result) => return (result, buf),
                Cached::UpTo(n) => done = n,
            }
        }
        if buf.is_empty() {
            return (Ok(0), buf);
        }
        loop {
            let request = Request::Read { file: file.clone(), buf, from: done, offset: at(offset, done) };
            let (result, request) = self.submit(request).await;
            let Request::Read { buf: back, .. } = request else {
                unreachable!("a request comes back as it went")
            };
            buf = back;
            match result {
                Ok(n) => done += n as usize,
                // What was read before the error counts; the error will come again.
                Err(_) if done > 0 => return (Ok(done), buf),
                Err(errno) => return (Err(errno), buf),
            }
            // The kernel may stop short in the middle of a file. Past the page cache the rest would not be aligned.
            let ended = result == Ok(0) || how == DataMode::Direct;
            if ended || done >= buf.len() {
                return (Ok(done), buf);
            }
        }
    }

    fn read_cached(&self, file: &File, buf: &mut Buf, offset: u64) -> Cached {
        let mut done = 0;
        while done < buf.len() {
            let flags = if file.lacks_nowait() { ReadFlags::empty() } else { ReadFlags::NOWAIT };
            match self.sys().pread(file.fd(), &mut buf[done..], at(offset, done), flags) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(Errno::AGAIN) if !flags.is_empty() => return Cached::UpTo(done),
                Err(Errno::OPNOTSUPP) if !flags.is_empty() => file.set_lacks_nowait(),
                Err(Errno::INTR) => {}
                Err(_) if done > 0 => break,
                Err(errno) => return Cached::All(Err(errno)),
            }
        }
        Cached::All(Ok(done))
    }

    /// Writes the whole of `buf` at `offset`; fewer bytes than that come back only when an error (a full disk, say) stopped it
    /// midway. Short buffered writes run inline, everything else goes through the ring. Dropping the future cancels; how
    /// much was written is unknown then.
    pub async fn write(
        &self,
        file: &Arc<File>,
        mut buf: Buf,
        offset: u64,
        how: DataMode,
    ) -> (SysResult<usize>, Buf) {
        let class = match how {
            DataMode::Direct => Class::DirectWrite,
            DataMode::Buffered if buf.len() <= INLINE_WRITE_MAX || file.lacks_nowait() => {
                Class::BufferedWrite
            }
            DataMode::Buffered => Class::LargeWrite,
        };
        let inline = place(class, Warmth::Warm) == Place::Inline;
        let mut done = 0;
        while done < buf.len() {
            let result = if inline {
                self.sys().pwrite(file.fd(), &buf[done..], at(offset, done))
            } else {
                let request =
                    Request::Write { file: file.clone(), buf, from: done, offset: at(offset, done) };
                let (result, request) = self.submit(request).await;
                let Request::Write { buf: back, .. } = request else {
                    unreachable!("a request comes back as it went")
                };
                buf = back;
                result.map(|n| n as usize)
            };
            match result {
                // A kernel that writes nothing and says nothing would keep us here for ever.
                Ok(0) => break,
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                Err(_) if done > 0 => break,
                Err(errno) => return (Err(errno), buf),
            }
        }
        (Ok(done), buf)
    }

    /// `fsync(2)`, or `fdatasync(2)` when `data_only`, through the ring.
    ///
    /// # Errors
    /// Those of the call. After EIO the kernel may have thrown the data away.
    pub async fn fsync(&self, file: &Arc<File>, data_only: bool) -> SysResult<()> {
        self.simple(Request::Fsync { file: file.clone(), data_only }).await
    }

    /// `fallocate(2)` through the ring; `mode` is the kernel's `FALLOC_FL_*` bits.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn fallocate(&self, file: &Arc<File>, mode: u32, offset: u64, len: u64) -> SysResult<()> {
        self.simple(Request::Fallocate { file: file.clone(), mode, offset, len }).await
    }

    /// `ftruncate(2)` through the ring (Linux 6.9; on a helper thread before that).
    ///
    /// # Errors
    /// Those of the call.
    pub async fn ftruncate(&self, file: &Arc<File>, len: u64) -> SysResult<()> {
        self.simple(Request::Truncate { file: file.clone(), len }).await
    }

    /// `openat2(2)` through the ring: right away when the path is cached, in a kernel worker otherwise. `O_CLOEXEC` is set.
    /// If the future is dropped the file is closed again.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn openat2(&self, dir: &Arc<File>, path: CString, how: How) -> SysResult<File> {
        let (result, _) = self.submit(Request::open(dir.clone(), path, how)).await;
        result.map(|fd| File::new(self.sys().clone(), fd.cast_signed()))
    }

    /// `statx(2)` of an open file through the ring, in a kernel worker: for objects that are not in memory. The warm way is
    /// [`Core::run`] with [`Class::FdMetadata`].
    ///
    /// # Errors
    /// Those of the call.
    pub async fn stat(&self, file: &Arc<File>) -> SysResult<Stat> {
        self.stat_at(file, CString::default()).await
    }

    /// `statx(2)` of a name, not following a link in the last component; see [`Core::stat`].
    ///
    /// # Errors
    /// Those of the call.
    pub async fn stat_at(&self, dir: &Arc<File>, path: CString) -> SysResult<Stat> {
        let out = Box::new(StatOut::Stat(Stat::default()));
        let (result, request) = self.submit(Request::Stat { dir: dir.clone(), path, out }).await;
        let Request::Stat { out, .. } = request else { unreachable!("a request comes back as it went") };
        result.map(|_| out.stat())
    }

    /// `mkdirat(2)` in a kernel worker.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn mkdir_at(&self, dir: &Arc<File>, path: CString, mode: u32) -> SysResult<()> {
        self.simple(Request::Mkdir { dir: dir.clone(), path, mode }).await
    }

    /// `unlinkat(2)` in a kernel worker.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn unlink_at(&self, dir: &Arc<File>, path: CString, flags: AtFlags) -> SysResult<()> {
        self.simple(Request::Unlink { dir: dir.clone(), path, flags }).await
    }

    /// `renameat2(2)` in a kernel worker.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn rename_at(
        &self,
        old_dir: &Arc<File>,
        old: CString,
        new_dir: &Arc<File>,
        new: CString,
        flags: RenameFlags,
    ) -> SysResult<()> {
        self.simple(Request::Rename { from: (old_dir.clone(), old), to: (new_dir.clone(), new), flags }).await
    }

    /// `linkat(2)`, not following, in a kernel worker.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn link_at(
        &self,
        old_dir: &Arc<File>,
        old: CString,
        new_dir: &Arc<File>,
        new: CString,
    ) -> SysResult<()> {
        self.simple(Request::Link { from: (old_dir.clone(), old), to: (new_dir.clone(), new) }).await
    }

    /// `symlinkat(2)` in a kernel worker.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn symlink_at(&self, target: CString, dir: &Arc<File>, path: CString) -> SysResult<()> {
        self.simple(Request::Symlink { target, dir: dir.clone(), path }).await
    }

    /// `fgetxattr(2)` in a kernel worker: the value's length. An empty buffer asks for the length only.
    pub async fn getxattr(&self, file: &Arc<File>, name: CString, buf: Buf) -> (SysResult<usize>, Buf) {
        let (result, request) = self.submit(Request::GetXattr { file: file.clone(), name, buf }).await;
        let Request::GetXattr { buf, .. } = request else { unreachable!("a request comes back as it went") };
        (result.map(|n| n as usize), buf)
    }

    /// `fsetxattr(2)` in a kernel worker.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn setxattr(
        &self,
        file: &Arc<File>,
        name: CString,
        value: Buf,
        flags: XattrFlags,
    ) -> SysResult<()> {
        self.simple(Request::SetXattr { file: file.clone(), name, value, flags }).await
    }

    async fn simple(&self, request: Request) -> SysResult<()> {
        self.submit(request).await.0.map(drop)
    }

    /// Through the ring, or by a helper where the ring cannot do it.
    pub(crate) async fn submit(&self, request: Request) -> (SysResult<u32>, Request) {
        if self.0.driver.can(&request) {
            Op::submit(&self.0, request).await
        } else {
            by_helper(&self.0, request).await
        }
    }
}

async fn by_helper(core: &Inner, mut request: Request) -> (SysResult<u32>, Request) {
    let (sender, receiver) = oneshot::channel();
    let sys = core.sys.clone();
    core.help(Box::new(move |_| {
        let result = request.perform(&*sys);
        sender.send(Answer { result, request: Some(request), sys });
    }));
    match receiver.await {
        Some(mut answer) => match answer.request.take() {
            Some(request) => (answer.result, request),
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// A helper's answer; what it opened is closed again if nobody takes it.
struct Answer {
    result: SysResult<u32>,
    request: Option<Request>,
    sys: Arc<dyn crate::sys::Sys>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(request) = self.request.take() {
            request.discard(self.result, &self.sys);
        }
    }
}

//! A mounted directory, as an application uses it.
//!
//! What `io_uring` can do goes through the ring of the thread. What it cannot, or `tokio-uring` has no word for (listing a
//! directory, extended attributes), is a plain system call on a helper thread of the runtime.

use std::cell::RefCell;
use std::ffi::CStr;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_uring::Errno;
use rustix::fs::{OFlags, XattrFlags};
use tokio_uring::buf::BoundedBuf as _;
use tokio_uring::fs::{self, File, OpenOptions};

use super::{Content, Done, Found, OpError, OpenHow, Session, Target};
use crate::load::blocks::{self, Stamp, Verdict};
use crate::load::client::Fault;

/// Where memory for O_DIRECT begins.
const ALIGNMENT: usize = 4096;

/// A directory that somebody has mounted (or any other).
pub struct MountTarget {
    /// Which.
    pub dir: PathBuf,
}

impl Target for MountTarget {
    type Session = MountSession;

    fn connect(&self) -> Result<MountSession, String> {
        let unusable = |why: String| format!("{} cannot be used: {why}", self.dir.display());
        let found = std::fs::metadata(&self.dir).map_err(|error| unusable(error.to_string()))?;
        if !found.is_dir() {
            return Err(unusable("it is no directory".to_owned()));
        }
        Ok(MountSession { root: self.dir.as_path().into(), spare: RefCell::default() })
    }
}

/// One user of it.
pub struct MountSession {
    root: Arc<Path>,
    /// Buffers of reads and writes that are over.
    spare: RefCell<Vec<Vec<u8>>>,
}

/// Errors of `std` as those of the target.
fn failed(error: &io::Error) -> OpError {
    match error.raw_os_error() {
        Some(number) => OpError::Errno(Errno::from_raw_os_error(number)),
        None => OpError::Broken(Fault::new(error.to_string())),
    }
}

fn done<T>(result: io::Result<T>) -> Done<T> {
    result.map_err(|error| failed(&error))
}

/// Runs a system call that has to wait where it disturbs nobody.
async fn aside<T: Send + 'static>(call: impl FnOnce() -> io::Result<T> + Send + 'static) -> Done<T> {
    match tokio::task::spawn_blocking(call).await {
        Ok(result) => done(result),
        Err(error) => Err(OpError::Broken(Fault::new(format!("a helper thread failed: {error}")))),
    }
}

impl MountSession {
    /// A buffer with `len` bytes from an aligned place on.
    fn buffer(&self, len: usize) -> (Vec<u8>, usize) {
        let mut buffer = self.spare.borrow_mut().pop().unwrap_or_default();
        if buffer.len() < len + ALIGNMENT {
            buffer = vec![0; len + ALIGNMENT];
        }
        let at = buffer.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        (buffer, at)
    }

    fn put_back(&self, buffer: Vec<u8>) {
        self.spare.borrow_mut().push(buffer);
    }
}

fn options(how: OpenHow) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    if how.direct {
        options.custom_flags(OFlags::DIRECT.bits().cast_signed());
    }
    options
}

impl Session for MountSession {
    type Node = Arc<Path>;
    type File = File;
    type Listing = Arc<Path>;

    fn root(&self) -> Arc<Path> {
        Arc::clone(&self.root)
    }

    async fn lookup(&self, dir: &Arc<Path>, name: &str) -> Done<Found<Arc<Path>>> {
        let path = dir.join(name);
        let stat = done(fs::statx(&path).await)?;
        Ok(Found { node: path.into(), size: stat.stx_size })
    }

    async fn stat(&self, node: &Arc<Path>) -> Done {
        done(fs::statx(node).await).map(drop)
    }

    async fn make_dir(&self, dir: &Arc<Path>, name: &str) -> Done<Arc<Path>> {
        let path = dir.join(name);
        done(fs::create_dir(&path).await)?;
        Ok(path.into())
    }

    async fn remove_dir(&self, dir: &Arc<Path>, name: &str) -> Done {
        done(fs::remove_dir(dir.join(name)).await)
    }

    async fn create(&self, dir: &Arc<Path>, name: &str, how: OpenHow) -> Done<File> {
        done(options(how).create_new(true).open(dir.join(name)).await)
    }

    async fn open(&self, node: &Arc<Path>, how: OpenHow) -> Done<File> {
        done(options(how).open(node).await)
    }

    async fn close(&self, file: File) -> Done {
        done(file.close().await)
    }

    async fn read(
        &self,
        file: &File,
        offset: u64,
        len: usize,
        check: Option<Stamp>,
    ) -> Done<(usize, Verdict)> {
        let (buffer, at) = self.buffer(len);
        let (came, buffer) = file.read_at(buffer.slice(at..at + len), offset).await;
        let buffer = buffer.into_inner();
        let outcome = done(came).map(|came| {
            let data = &buffer[at..at + came.min(len)];
            (came, check.map_or(Verdict::Unchecked, |stamp| blocks::check(data, &stamp)))
        });
        self.put_back(buffer);
        outcome
    }

    async fn write(&self, file: &File, offset: u64, len: usize, content: Content<'_>) -> Done {
        let (mut buffer, at) = self.buffer(len);
        if let Some(stamp) = content {
            blocks::fill(&mut buffer[at..at + len], stamp);
        }
        let (written, buffer) = file.write_all_at(buffer.slice(at..at + len), offset).await;
        self.put_back(buffer.into_inner());
        done(written)
    }

    async fn sync(&self, file: &File) -> Done {
        done(file.sync_data().await)
    }

    async fn unlink(&self, dir: &Arc<Path>, name: &str) -> Done {
        done(fs::remove_file(dir.join(name)).await)
    }

    async fn rename(&self, dir: &Arc<Path>, old: &str, new: &str) -> Done {
        done(fs::rename(dir.join(old), dir.join(new)).await)
    }

    async fn open_dir(&self, dir: &Arc<Path>) -> Done<Arc<Path>> {
        Ok(Arc::clone(dir))
    }

    async fn list(&self, listing: &Arc<Path>) -> Done<u64> {
        let dir = Arc::clone(listing);
        aside(move || {
            let mut names = 0;
            for entry in std::fs::read_dir(&dir)? {
                entry?;
                names += 1;
            }
            Ok(names)
        })
        .await
    }

    async fn close_dir(&self, _: Arc<Path>) -> Done {
        Ok(())
    }

    async fn set_xattr(&self, node: &Arc<Path>, name: &'static CStr, value: &[u8]) -> Done {
        let (node, value) = (Arc::clone(node), value.to_vec());
        aside(move || Ok(rustix::fs::setxattr(&*node, name, &value, XattrFlags::empty())?)).await
    }

    async fn get_xattr(&self, node: &Arc<Path>, name: &'static CStr) -> Done {
        let node = Arc::clone(node);
        aside(move || {
            let mut value = [0; 1024];
            rustix::fs::getxattr(&*node, name, &mut value[..])?;
            Ok(())
        })
        .await
    }

    fn end(&self) {}
}

//! Does the disk still work?
//!
//! A time stamp goes into `.glusterfs/health_check`, onto the disk, and is read back; and the brick's path must still lead to
//! the brick. When that fails, or takes longer than `health-check-timeout`, the brick is *failed*: the log says why, every
//! fop gets ENOTCONN from then on, which is what clients of a stock brick see when their connection goes, and
//! [`Translator::failure`](crate::translator::Translator::failure) tells whoever runs the graph, who ends the process. A
//! failed brick does not recover by itself.

use std::sync::Arc;

use kiln_uring::sys::{How, OpenFlags, ReadFlags};
use kiln_uring::{Class, Core, Errno, File, Warmth};

use crate::storage::posix::Brick;

/// File of the time stamp, in `.glusterfs`.
const STAMP: &std::ffi::CStr = c"health_check";

/// Bytes of a time stamp; always the same, so that it is overwritten in place and needs no space on a full disk.
const STAMP_LEN: usize = 31;

/// The descriptor number that stands for "relative to the working directory".
const AT_FDCWD: i32 = -100;

/// Checks until the core shuts down or a check fails.
pub async fn run(core: Core, brick: Arc<Brick>) {
    while super::wait(&core, || brick.settings().health_check_interval).await {
        let at = Arc::clone(&brick);
        let checked = core.run(Class::Background, Warmth::Cold, move |_| check(&at));
        let limit = brick.settings().health_check_timeout;
        let result = if limit.is_zero() {
            checked.await
        } else {
            core.timeout(limit, checked)
                .await
                .unwrap_or_else(|_| Err(format!("the check took longer than {limit:?}")))
        };
        if let Err(reason) = result {
            return brick.fail(reason);
        }
    }
}

/// One check.
///
/// # Errors
/// A sentence for the operator.
pub fn check(brick: &Arc<Brick>) -> Result<(), String> {
    check_path(brick)?;
    match check_disk(brick) {
        // Busy, or full, is not sick.
        Ok(()) | Err((_, Errno::AGAIN | Errno::NOSPC | Errno::DQUOT)) => Ok(()),
        Err((doing, errno)) => Err(format!("cannot {doing} .glusterfs/health_check: {errno}")),
    }
}

fn check_path(brick: &Arc<Brick>) -> Result<(), String> {
    use std::os::unix::ffi::OsStrExt;
    let path = brick.path.display();
    let seen = |errno: Errno| format!("cannot reach the brick at {path}: {errno}");
    let text = std::ffi::CString::new(brick.path.as_os_str().as_bytes()).map_err(|_| seen(Errno::INVAL))?;
    let how = How::new(OpenFlags::DIRECTORY | OpenFlags::PATH);
    let there = brick.sys.openat2(AT_FDCWD, &text, how).map_err(seen)?;
    let there = File::new(Arc::clone(&brick.sys), there);
    let there = brick.sys.stat(there.fd()).map_err(seen)?;
    let ours = brick.sys.stat(brick.root.fd()).map_err(seen)?;
    if (there.dev, there.ino) == (ours.dev, ours.ino) {
        Ok(())
    } else {
        Err(format!("{path} is another directory now"))
    }
}

fn check_disk(brick: &Arc<Brick>) -> Result<(), (&'static str, Errno)> {
    let doing = |what| move |errno| (what, errno);
    let sys = &brick.sys;
    let how = How::new(OpenFlags::RDWR | OpenFlags::CREAT | OpenFlags::NOFOLLOW).mode(0o644);
    let file = sys.openat2(brick.dot.fd(), STAMP, how).map_err(doing("open"))?;
    let file = File::new(Arc::clone(sys), file);
    let now = brick.now();
    let stamp = format!("{:020}.{:09}\n", now.sec, now.nsec);
    debug_assert_eq!(stamp.len(), STAMP_LEN, "{stamp}");
    let written = sys.pwrite(file.fd(), stamp.as_bytes(), 0).map_err(doing("write"))?;
    if written != stamp.len() {
        return Err(("write", Errno::NOSPC));
    }
    sys.ftruncate(file.fd(), STAMP_LEN as u64).map_err(doing("cut"))?;
    sys.fsync(file.fd(), true).map_err(doing("sync"))?;
    let mut back = [0; STAMP_LEN];
    let read = sys.pread(file.fd(), &mut back, 0, ReadFlags::empty()).map_err(doing("read"))?;
    // Whoever writes here besides us has the brick open, too.
    if back[..read] == *stamp.as_bytes() { Ok(()) } else { Err(("read what was written to", Errno::IO)) }
}

//! What a front door needs of the machine itself and a simulation never does: mounting, unmounting, and which CPU a thread
//! runs on.

use std::ffi::CString;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags};
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

use crate::sys::Errno;

/// The CPU that this thread runs on right now.
#[must_use]
pub fn current_cpu() -> usize {
    sched_getcpu()
}

/// The CPU that thread `tid` of any process runs on, or ran on last; `None` when it is gone or hidden (`proc(5)`, field 39 of
/// `stat`).
#[must_use]
pub fn cpu_of_thread(tid: u32) -> Option<usize> {
    let stat = std::fs::read(format!("/proc/{tid}/stat")).ok()?;
    // The second field is the name in parentheses, which may hold anything.
    let after_name = stat.rsplit(|byte| *byte == b')').next()?;
    let field = after_name.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty()).nth(36)?;
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// The only CPU that this thread may run on; `None` when it may choose.
#[must_use]
pub fn pinned_cpu() -> Option<usize> {
    let set = sched_getaffinity(None).ok()?;
    let mut allowed = (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu));
    let first = allowed.next()?;
    allowed.next().is_none().then_some(first)
}

/// The kernel's number of the calling thread.
#[must_use]
pub fn thread_id() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()
}

/// How the scheduler treats a thread (`sched(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduling {
    /// `SCHED_OTHER`.
    Normal,
    /// `SCHED_BATCH`: when it wakes it does not take the CPU from whoever runs there.
    Patient,
    /// `SCHED_IDLE`: behind everything else on the machine.
    Background,
}

/// Sets how a thread of this process is scheduled; whether that is done. It is not when the thread is gone, or could not be
/// moved back from [`Scheduling::Background`] (that takes `CAP_SYS_NICE`, which a brick has).
#[must_use]
pub fn set_scheduling(tid: u32, scheduling: Scheduling) -> bool {
    let policy = match scheduling {
        Scheduling::Normal => libc::SCHED_OTHER,
        Scheduling::Patient => libc::SCHED_BATCH,
        Scheduling::Background => libc::SCHED_IDLE,
    };
    let Ok(tid) = libc::pid_t::try_from(tid) else { return false };
    let may_go_back = scheduling != Scheduling::Background || rustix::process::geteuid().is_root();
    if tid == 0 || !may_go_back {
        return false;
    }
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the parameters live through the call; a thread that is gone gives an error.
    (unsafe { libc::sched_setscheduler(tid, policy, &raw const parameters) }) == 0
}

/// Binds this thread to one CPU.
///
/// # Errors
/// `EINVAL` when the process may not run there.
pub fn pin_thread(cpu: usize) -> Result<(), Errno> {
    if cpu >= CpuSet::MAX_CPU {
        return Err(Errno::INVAL);
    }
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set)
}

/// What a FUSE mount looks like to the machine.
#[derive(Clone, Debug, Default)]
pub struct FuseMount {
    /// Source in the mount table.
    pub source: String,
    /// The type in the mount table is `fuse.<subtype>`.
    pub subtype: String,
    /// Options of the FUSE driver, such as `allow_other`.
    pub driver: Vec<String>,
    /// No writes.
    pub read_only: bool,
    /// Set-id bits count.
    pub suid: bool,
    /// Device nodes can be opened.
    pub dev: bool,
}

/// Why a FUSE mount did not come about.
#[derive(Debug, thiserror::Error)]
pub enum FuseMountError {
    /// `/dev/fuse` could not be opened.
    #[error("/dev/fuse cannot be opened: {0}")]
    Device(#[source] io::Error),
    /// `mount(2)` failed.
    #[error("mount(2) failed: {0}")]
    Mount(#[source] io::Error),
    /// `fusermount3`, which mounts for those who are not root, could not be run.
    #[error("fusermount3 cannot be run: {0}")]
    Helper(#[source] io::Error),
    /// `fusermount3` refused, in its own words.
    #[error("{0}")]
    Refused(String),
}

impl FuseMount {
    /// Mounts on `target`: directly where the process may, through the set-uid helper `fusermount3` otherwise. The
    /// descriptor is the server's end.
    ///
    /// # Errors
    /// See [`FuseMountError`].
    pub fn mount(&self, target: &Path) -> Result<OwnedFd, FuseMountError> {
        match self.mount_directly(target) {
            Err(FuseMountError::Mount(err)) if err.kind() == io::ErrorKind::PermissionDenied => {
                self.mount_by_helper(target)
            }
            // The device is for everybody, but an administrator may have seen that differently; the helper may.
            Err(FuseMountError::Device(err)) if err.kind() == io::ErrorKind::PermissionDenied => {
                self.mount_by_helper(target)
            }
            other => other,
        }
    }

    fn mount_directly(&self, target: &Path) -> Result<OwnedFd, FuseMountError> {
        let device = rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| FuseMountError::Device(errno.into()))?;
        let mut data = format!(
            "fd={},rootmode=40000,user_id={},group_id={}",
            device.as_raw_fd(),
            rustix::process::getuid().as_raw(),
            rustix::process::getgid().as_raw(),
        );
        for option in &self.driver {
            data.push(',');
            data.push_str(option);
        }
        let mut flags = MountFlags::empty();
        flags.set(MountFlags::RDONLY, self.read_only);
        flags.set(MountFlags::NOSUID, !self.suid);
        flags.set(MountFlags::NODEV, !self.dev);
        let invalid = |_| FuseMountError::Mount(Errno::INVAL.into());
        let data = CString::new(data).map_err(invalid)?;
        rustix::mount::mount(
            self.source.as_str(),
            target,
            format!("fuse.{}", self.subtype).as_str(),
            flags,
            data.as_c_str(),
        )
        .map_err(|errno| FuseMountError::Mount(errno.into()))?;
        Ok(device)
    }

    fn mount_by_helper(&self, target: &Path) -> Result<OwnedFd, FuseMountError> {
        let (ours, theirs) = UnixStream::pair().map_err(FuseMountError::Helper)?;
        let mut options = format!("fsname={},subtype={}", escape(&self.source), escape(&self.subtype));
        for option in &self.driver {
            options.push(',');
            options.push_str(option);
        }
        for (set, on, off) in
            [(self.read_only, "ro", "rw"), (self.suid, "suid", "nosuid"), (self.dev, "dev", "nodev")]
        {
            options.push(',');
            options.push_str(if set { on } else { off });
        }
        // The helper takes its end of the socket from the descriptor that the variable names: its standard input.
        let child = Command::new("fusermount3")
            .args(["-o", &options, "--"])
            .arg(target)
            .env("_FUSE_COMMFD", "0")
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(FuseMountError::Helper)?;
        let device = receive_descriptor(&ours);
        let output = child.wait_with_output().map_err(FuseMountError::Helper)?;
        match device {
            Some(device) if output.status.success() => Ok(device),
            _ => Err(FuseMountError::Refused(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        }
    }
}

/// A value of fusermount3's option list: commas and backslashes are escaped.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace(',', "\\,")
}

/// The descriptor that comes through the socket; `None` when the other end is closed without sending one.
fn receive_descriptor(socket: &UnixStream) -> Option<OwnedFd> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    loop {
        match rustix::net::recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut byte)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            Err(Errno::INTR) => {}
            Err(_) => return None,
            Ok(message) if message.flags.contains(ReturnFlags::CTRUNC) => return None,
            Ok(_) => break,
        }
    }
    control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    })
}

/// Unmounts what is mounted on `target`. `lazily`: it leaves the tree of names at once, and goes when its last user does.
///
/// # Errors
/// `EBUSY` when it is in use; `EINVAL` when nothing is mounted there; `EPERM` when neither this process nor `fusermount3`
/// may.
pub fn unmount(target: &Path, lazily: bool) -> Result<(), Errno> {
    let mut flags = UnmountFlags::NOFOLLOW;
    flags.set(UnmountFlags::DETACH, lazily);
    match rustix::mount::unmount(target, flags) {
        Err(Errno::PERM) => unmount_by_helper(target, lazily),
        other => other,
    }
}

fn unmount_by_helper(target: &Path, lazily: bool) -> Result<(), Errno> {
    let output = Command::new("fusermount3")
        .arg(if lazily { "-uz" } else { "-u" })
        .arg("--")
        .arg(target)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|_| Errno::PERM)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(match () {
        () if said.contains("busy") => Errno::BUSY,
        () if said.contains("not found in") || said.contains("not mounted") => Errno::INVAL,
        () => Errno::PERM,
    })
}

/// One line of the mount table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountEntry {
    /// Minor device number of its file system (FUSE connections are numbered by it).
    pub minor: u32,
    /// Type, such as `ext4` or `fuse.kiln`.
    pub kind: String,
}

/// What is mounted exactly on `target` (which must be absolute and free of symbolic links), the topmost if several are.
#[must_use]
pub fn mounted_on(target: &Path) -> Option<MountEntry> {
    let table = std::fs::read("/proc/self/mountinfo").ok()?;
    find_mount(&table, target.as_os_str().as_bytes())
}

fn find_mount(table: &[u8], target: &[u8]) -> Option<MountEntry> {
    table.split(|byte| *byte == b'\n').rev().find_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ');
        let device = fields.nth(2)?;
        if unescape(fields.nth(1)?) != target {
            return None;
        }
        let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
        let minor = std::str::from_utf8(device).ok()?.split_once(':')?.1.parse().ok()?;
        Some(MountEntry { minor, kind: String::from_utf8_lossy(kind).into_owned() })
    })
}

/// The mount table writes space, tab, newline and backslash as three octal digits after a backslash.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let octal = |digits: &[u8]| {
            digits.iter().try_fold(0_u32, |sum, digit| {
                matches!(digit, b'0'..=b'7').then(|| sum * 8 + u32::from(digit - b'0'))
            })
        };
        match tail
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(octal)
            .and_then(|value| u8::try_from(value).ok())
        {
            Some(byte) => {
                out.push(byte);
                rest = &tail[3..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
40 22 0:35 / /mnt/a\\040b rw,nosuid shared:7 master:2 - fuse.kiln /srv/brick rw,user_id=0\n\
41 22 0:36 / /mnt/x rw - tmpfs tmpfs rw\n\
42 22 0:37 / /mnt/x rw - fuse.kiln /srv/brick rw\n";

    #[test]
    fn the_topmost_mount_is_found() {
        let found = |path| find_mount(TABLE, path).map(|entry| (entry.minor, entry.kind));
        assert_eq!(found(b"/mnt/a b"), Some((35, "fuse.kiln".into())));
        assert_eq!(found(b"/mnt/x"), Some((37, "fuse.kiln".into())));
        assert_eq!(found(b"/"), Some((1, "ext4".into())));
        assert_eq!(found(b"/mnt"), None);
        assert_eq!(find_mount(b"garbage\n1 2\n\n", b"/"), None);
    }

    #[test]
    fn only_octal_is_unescaped() {
        assert_eq!(unescape(b"a\\134b\\011\\9x\\77"), b"a\\b\t\\9x\\77");
    }

    #[test]
    fn a_pinned_thread_knows_its_cpu() {
        let cpu = current_cpu();
        std::thread::spawn(move || {
            pin_thread(cpu).unwrap();
            assert_eq!(pinned_cpu(), Some(cpu));
            assert_eq!(
                cpu_of_thread(rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned()),
                Some(cpu)
            );
            assert_eq!(current_cpu(), cpu);
        })
        .join()
        .unwrap();
        assert_eq!(pin_thread(usize::MAX), Err(Errno::INVAL));
    }
}

//! The offline check of a brick directory, `kiln check`: does every name have a gfid, a handle and a `trusted.gfid2path`, and
//! is nothing in `.glusterfs` that belongs to no name?
//!
//! Three passes over a brick that nobody serves:
//!
//! 1. `handles` lists `.glusterfs/xx/yy/*` and remembers per gfid which inode the handle is (`ledger`): some forty bytes
//!    per object, and no system call per handle but its share of a listing.
//! 2. `walk` goes through all names below the root and compares each with what the ledger says (`object`): four system
//!    calls per file. What a lookup would mend is mended at once when that is wanted (`mend`), while its name is at hand.
//! 3. `judge` looks at what no name has asked for: orphan handles, links too many, stale `trusted.gfid2path`, and what is
//!    left in the housekeeping directories.
//!
//! When a directory cannot be read, its objects look like objects without a name; nothing is then concluded from a name that
//! was not seen.
//!
//! [`scrub`] is the gentle relative for a brick in service.

mod handles;
mod judge;
mod ledger;
mod mend;
mod object;
mod report;
pub mod scrub;
#[cfg(test)]
mod tests;
mod walk;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kiln_uring::sys::{How, OpenFlags, XattrTarget};
use kiln_uring::{Errno, File, Sys, SysResult};

pub use report::{CheckReport, Escaped, Finding, Kind, MOST_FINDINGS, Tally};

use super::boot::{self, BootError};
use super::brick::DOT_GLUSTERFS;
use crate::keys;
use crate::types::Gfid;
use ledger::Ledger;
use mend::Mender;

/// Bytes of kernel records that are listed at once.
const LISTING: usize = 64 << 10;

/// Names of extended attributes that one object can have (`XATTR_LIST_MAX`).
const KEYS: usize = 64 << 10;

/// How a brick is checked.
#[derive(Clone, Copy, Debug)]
pub struct CheckOptions {
    /// Mend what can be mended.
    pub repair: bool,
    /// Every name of a non-directory must have its `trusted.gfid2path`, and no other may be there. Off for volumes with
    /// `storage.gfid2path off` and bricks from before GlusterFS 3.12.
    pub gfid2path: bool,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self { repair: false, gfid2path: true }
    }
}

/// What the check is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Listing the handles.
    Handles,
    /// Going through the names.
    Names,
    /// Looking at what is left over.
    Rest,
}

/// How far the check is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// What it is at.
    pub phase: Phase,
    /// Handles or names looked at in this phase.
    pub done: u64,
    /// About how many there are; 0 when that is not known.
    pub total: u64,
    /// Findings so far, notes apart.
    pub findings: u64,
}

/// Why a directory cannot be checked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// It cannot be opened, or is in use.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// Nothing in it says that it is a brick.
    #[error(
        "{0}: not a brick: its root has no trusted.gfid, and there is no .glusterfs. Name the brick's root"
    )]
    NotABrick(PathBuf),
    /// A system call failed.
    #[error("{path}: cannot {doing}: {errno}")]
    Io {
        /// The brick.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why not.
        errno: Errno,
    },
}

/// Checks the brick in `dir`, which nobody may serve meanwhile. `progress` is called every now and then.
///
/// # Errors
/// When `dir` is no brick, is in use, or cannot be opened. What is wrong inside is in the report.
pub fn check(
    sys: &Arc<dyn Sys>,
    dir: &Path,
    options: &CheckOptions,
    progress: &mut dyn FnMut(&Progress),
) -> Result<CheckReport, CheckError> {
    let start = sys.monotonic();
    let root = boot::open_offline(sys, dir)?;
    let mut report = CheckReport::new(dir, options.repair);
    if let Some(dot) = open_housekeeping(sys, &root, dir, options, &mut report)? {
        let io = |errno| CheckError::Io { path: dir.into(), doing: "look at the brick's root", errno };
        let stat = sys.stat(root.fd()).map_err(io)?;
        let mender = Mender { sys: Arc::clone(sys), root, dot };
        let mut check = Check {
            dev: stat.dev,
            mender,
            options: *options,
            report,
            ledger: Ledger::default(),
            complete: true,
            wrong: Vec::new(),
            keys: vec![0; KEYS],
            progress,
            phase: Phase::Handles,
            done: 0,
        };
        check.root(&stat);
        check.handles();
        check.enter(Phase::Names);
        check.names();
        check.enter(Phase::Rest);
        check.judge();
        report = check.report;
    }
    report.elapsed = Duration::from_nanos(sys.monotonic().saturating_sub(start));
    Ok(report)
}

/// The same with the usual options, for those who do not wait in front of a terminal.
///
/// # Errors
/// See [`check`].
pub fn check_path(sys: &Arc<dyn Sys>, dir: &Path, repair: bool) -> Result<CheckReport, CheckError> {
    check(sys, dir, &CheckOptions { repair, ..CheckOptions::default() }, &mut |_| {})
}

/// Opens `.glusterfs`. When it is missing, as after a backup that left it out, a repair makes it and all handles with it;
/// without a repair there is nothing more to say, and the answer is `None`.
fn open_housekeeping(
    sys: &Arc<dyn Sys>,
    root: &Arc<File>,
    dir: &Path,
    options: &CheckOptions,
    report: &mut CheckReport,
) -> Result<Option<Arc<File>>, CheckError> {
    let io = |doing| move |errno| CheckError::Io { path: dir.into(), doing, errno };
    let held = match gfid_of(sys, XattrTarget::Fd(root.fd())) {
        Ok(Held::Gfid(found)) if found != Gfid::ROOT => {
            return Err(BootError::NotARoot { path: dir.into(), found }.into());
        }
        Err(Errno::OPNOTSUPP) => return Err(BootError::NoTrustedXattrs(dir.into()).into()),
        held => held.map_err(io("read the root's trusted.gfid"))?,
    };
    match open_dir(sys, root, DOT_GLUSTERFS) {
        Ok(dot) => {
            if held == Held::Nothing {
                // Without privileges nobody sees that there are such attributes.
                boot::check_xattrs(sys, root, dir)?;
            }
            return Ok(Some(dot));
        }
        Err(Errno::NOENT) if held == Held::Nothing => return Err(CheckError::NotABrick(dir.into())),
        Err(Errno::NOENT) => {}
        Err(errno) => return Err(io("open .glusterfs")(errno)),
    }
    let what = "there is no .glusterfs, so that nothing has a handle";
    if options.repair {
        sys.mkdir_at(root.fd(), DOT_GLUSTERFS, 0o600).map_err(io("make .glusterfs"))?;
    }
    report.add(Kind::Housekeeping, b".glusterfs", None, what.into(), options.repair);
    match options.repair {
        true => open_dir(sys, root, DOT_GLUSTERFS).map(Some).map_err(io("open .glusterfs")),
        false => Ok(None),
    }
}

/// A check under way.
struct Check<'a> {
    mender: Mender,
    /// The brick's file system.
    dev: u64,
    options: CheckOptions,
    report: CheckReport,
    ledger: Ledger,
    /// Every name of the brick has been seen.
    complete: bool,
    /// Directories whose handles say something else.
    wrong: Vec<object::WrongHandle>,
    /// Names of the extended attributes of the object at hand.
    keys: Vec<u8>,
    progress: &'a mut dyn FnMut(&Progress),
    phase: Phase,
    done: u64,
}

impl Check<'_> {
    fn enter(&mut self, phase: Phase) {
        (self.phase, self.done) = (phase, 0);
        self.tell();
    }

    /// One more handle or name has been looked at.
    fn step(&mut self) {
        self.done += 1;
        if self.done.is_multiple_of(1024) {
            self.tell();
        }
    }

    fn tell(&mut self) {
        // Most objects have one name.
        let total = if self.phase == Phase::Names { self.ledger.len() as u64 } else { 0 };
        let findings = self.report.found();
        (self.progress)(&Progress { phase: self.phase, done: self.done, total, findings });
    }

    /// Notes what is wrong and mends it, if that is wanted. True when it is in order now.
    fn found(
        &mut self,
        kind: Kind,
        path: &[u8],
        gfid: Option<Gfid>,
        what: impl Into<String>,
        mend: impl FnOnce(&Mender) -> SysResult<()>,
    ) -> bool {
        let mut what = what.into();
        let mended = self.options.repair.then(|| mend(&self.mender));
        if let Some(Err(errno)) = mended {
            what.push_str(&format!("; it cannot be mended: {errno}"));
        }
        let repaired = mended == Some(Ok(()));
        self.report.add(kind, path, gfid, what, repaired);
        repaired
    }

    /// Notes what is wrong and cannot be mended here.
    fn told(&mut self, kind: Kind, path: &[u8], gfid: Option<Gfid>, what: impl Into<String>) {
        self.report.add(kind, path, gfid, what.into(), false);
    }

    /// Something could not be looked at: names may have been missed.
    fn unreadable(&mut self, path: &[u8], errno: Errno) {
        self.complete = false;
        self.told(Kind::Unreadable, path, None, format!("it cannot be read: {errno}"));
    }

    /// Calls `each` with every name in `dir` but `.` and `..`, with its inode number.
    fn list(&mut self, dir: &File, mut each: impl FnMut(&mut Self, &std::ffi::CStr, u64)) -> SysResult<()> {
        let mut offset = 0;
        loop {
            let records = self.mender.sys.read_dir(dir.fd(), offset, LISTING)?;
            let Some(last) = records.last() else { return Ok(()) };
            offset = last.offset;
            for record in &records {
                if !matches!(record.name.to_bytes(), b"." | b"..") {
                    each(self, &record.name, record.ino);
                }
            }
        }
    }
}

/// Opens a directory without following a symbolic link and without moving its access time.
fn open_dir(sys: &Arc<dyn Sys>, parent: &File, name: &std::ffi::CStr) -> SysResult<Arc<File>> {
    let flags = OpenFlags::DIRECTORY | OpenFlags::NOFOLLOW;
    let fd = match sys.openat2(parent.fd(), name, How::new(flags | OpenFlags::NOATIME)) {
        // Only an owner may ask for that, or root.
        Err(Errno::PERM) => sys.openat2(parent.fd(), name, How::new(flags))?,
        fd => fd?,
    };
    Ok(Arc::new(File::new(Arc::clone(sys), fd)))
}

/// What an object has for a `trusted.gfid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Gfid(Gfid),
    Nothing,
    /// Not 16 bytes, or the null gfid.
    Damaged,
}

impl Held {
    fn gfid(self) -> Option<Gfid> {
        if let Self::Gfid(gfid) = self { Some(gfid) } else { None }
    }
}

/// `trusted.gfid` of an object.
fn gfid_of(sys: &Arc<dyn Sys>, target: XattrTarget<'_>) -> SysResult<Held> {
    let mut bytes = [0; 16];
    match sys.getxattr(target, keys::GFID, &mut bytes) {
        Ok(16) if bytes != [0; 16] => Ok(Held::Gfid(Gfid::from_bytes(bytes))),
        Ok(_) | Err(Errno::RANGE) => Ok(Held::Damaged),
        Err(Errno::NODATA) => Ok(Held::Nothing),
        Err(errno) => Err(errno),
    }
}

//! The check of a brick directory, `kiln check`: is every name backed by a gfid, a handle and a `trusted.gfid2path`, and is
//! nothing in `.glusterfs` that belongs to no name?
//!
//! Two walks, each in bounded memory: one over the names ([`names`]), one over the handles ([`handles`]). What is wrong is
//! listed; with `repair`, what a lookup or a start would mend is mended, under the same locks that fops take, so that the
//! same walks serve as the scrub of a running brick ([`scrub`]).

mod handles;
mod names;
pub(super) mod scrub;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_uring::{Errno, Sys};
use serde::Serialize;

use super::intents::{Found, Intents};
use super::{Brick, boot};
use crate::types::Gfid;

/// Most findings that are kept one by one; the rest is counted.
const MOST_FINDINGS: usize = 10_000;

/// What is to be checked.
#[derive(Clone, Debug)]
pub struct CheckOptions {
    /// The brick's directory.
    pub path: PathBuf,
    /// Its kernel.
    pub sys: Arc<dyn Sys>,
    /// Whether to mend.
    pub repair: bool,
    /// Whether every name of a non-directory must have its `trusted.gfid2path`; off for volumes with `gfid2path off`.
    pub gfid2path: bool,
}

impl CheckOptions {
    /// A check on the kernel `sys`, without repairs.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, sys: Arc<dyn Sys>) -> Self {
        Self { path: path.into(), sys, repair: false, gfid2path: true }
    }
}

/// How far a check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Names looked at so far.
    pub names: u64,
    /// Handles looked at so far.
    pub handles: u64,
    /// Findings so far.
    pub findings: u64,
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// An entry without `trusted.gfid`.
    NoGfid,
    /// A `trusted.gfid` that is not 16 bytes, or null.
    BadGfid,
    /// An object whose gfid has no handle.
    NoHandle,
    /// The handle of the object's gfid is another object: two objects have one gfid.
    HandleOfAnother,
    /// A directory's handle that leads elsewhere or nowhere.
    WrongDirectoryHandle,
    /// A name without its `trusted.gfid2path`.
    NoPath,
    /// A `trusted.gfid2path` of a name that is not the object's.
    StalePath,
    /// A handle of an object without names.
    OrphanHandle,
    /// A directory handle that leads to no directory of its gfid.
    DanglingHandle,
    /// Something among the handles that is none.
    NotAHandle,
    /// Non-directories have more links than there are names: some lie where only `.glusterfs` sees them.
    LinksElsewhere,
    /// A file in `unlink/`.
    Parked,
    /// A temporary name of an operation that did not end.
    Leftover,
    /// The brick's root has no gfid or not the root's, or no handle.
    BadRoot,
    /// Operations that a process was in the middle of when it ended; the next start finishes them.
    Unfinished,
    /// It cannot be looked at.
    Unreadable,
}

impl What {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::NoGfid => "no trusted.gfid",
            Self::BadGfid => "trusted.gfid is damaged",
            Self::NoHandle => "no handle",
            Self::HandleOfAnother => "the handle of its gfid is another object",
            Self::WrongDirectoryHandle => "the directory's handle is missing or names another place",
            Self::NoPath => "no trusted.gfid2path for this name",
            Self::StalePath => "a trusted.gfid2path names an entry that is not this object",
            Self::OrphanHandle => "a handle of an object without name",
            Self::DanglingHandle => "a handle of a directory that is not there",
            Self::NotAHandle => "not a handle, among the handles",
            Self::LinksElsewhere => "objects have more links than names",
            Self::Parked => "a file that was unlinked while open",
            Self::Leftover => "a temporary name of an unfinished operation",
            Self::BadRoot => "the root's gfid or handle is wrong",
            Self::Unfinished => "operations were under way when the brick's process ended",
            Self::Unreadable => "cannot be read",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Relative to the brick.
    pub path: String,
    /// The object's gfid, where it is known.
    pub gfid: Option<String>,
    /// What is wrong.
    pub what: What,
    /// More about it; mostly empty.
    pub detail: String,
    /// Whether it has been mended.
    pub repaired: bool,
}

/// What a check has found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// Directories, the root included.
    pub directories: u64,
    /// Names of non-directories.
    pub names: u64,
    /// Handles.
    pub handles: u64,
    /// How many things are wrong or were mended.
    pub total: u64,
    /// How many of them were mended.
    pub repaired: u64,
    /// The first ten thousand of them.
    pub findings: Vec<Finding>,
}

impl CheckReport {
    /// Whether the brick is whole now.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.total == self.repaired
    }
}

/// Why a brick cannot be checked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] boot::BootError),
    /// A directory that the check needs cannot be listed.
    #[error("cannot list {what}: {errno}")]
    List {
        /// Which.
        what: &'static str,
        /// Why.
        errno: Errno,
    },
}

/// Checks a brick that nobody serves.
///
/// # Errors
/// When it is not a brick, is in use, or cannot be listed.
pub fn check(options: CheckOptions, progress: &mut dyn FnMut(Progress)) -> Result<CheckReport, CheckError> {
    let brick = Arc::new(boot::open_for_check(&options.sys, &options.path)?);
    let mut inspector = Inspector::new(brick, options.repair, options.gfid2path);
    inspector.housekeeping()?;
    inspector.root();
    let mut names = names::Names::new(&inspector.brick);
    let mut handles = handles::Handles::new();
    let mut steps = 0_u32;
    loop {
        let more = names.step(&mut inspector) || handles.step(&mut inspector);
        steps = steps.wrapping_add(1);
        if steps.is_multiple_of(1024) || !more {
            progress(inspector.progress());
        }
        if !more {
            break;
        }
    }
    inspector.compare_counts();
    Ok(inspector.report)
}

/// What both walks share.
#[derive(Debug)]
pub(super) struct Inspector {
    brick: Arc<Brick>,
    repair: bool,
    gfid2path: bool,
    /// Whether the brick is being served: objects that fops are at work on are left alone.
    online: bool,
    pub(super) report: CheckReport,
    /// Stale paths that were told already: each name of a file meets them.
    told: HashSet<(Gfid, Vec<u8>)>,
    /// Paths that lead through a directory that cannot be found (yet): to be decided when all names have been seen, and the
    /// handles of directories mended.
    undecided: Vec<(String, Gfid, CString)>,
    /// The root's handle is broken, so that no directory is found by its gfid.
    root_is_lost: bool,
    /// Whether a directory's handle was wrong.
    lost_directories: bool,
    /// Names of non-directories that their handles count.
    expected_names: u64,
}

impl Inspector {
    pub(super) fn new(brick: Arc<Brick>, repair: bool, gfid2path: bool) -> Self {
        let report = CheckReport::default();
        Self {
            brick,
            repair,
            gfid2path,
            online: false,
            report,
            told: HashSet::new(),
            undecided: Vec::new(),
            lost_directories: false,
            root_is_lost: false,
            expected_names: 0,
        }
    }

    /// For a brick that is being served.
    pub(super) fn online(brick: Arc<Brick>) -> Self {
        let gfid2path = brick.settings().gfid2path;
        Self { online: true, ..Self::new(brick, true, gfid2path) }
    }

    fn progress(&self) -> Progress {
        let CheckReport { directories, names, handles, total, .. } = self.report;
        Progress { names: directories + names, handles, findings: total }
    }

    /// Notes a finding, and mends it if that is wanted and possible.
    fn found(
        &mut self,
        path: impl Into<String>,
        gfid: Gfid,
        what: What,
        detail: impl Into<String>,
        mend: impl FnOnce(&Arc<Brick>) -> Result<bool, Errno>,
    ) {
        let mut detail = detail.into();
        let mended = if self.repair { mend(&self.brick) } else { Ok(false) };
        let repaired = mended == Ok(true);
        if let Err(errno) = mended {
            if !detail.is_empty() {
                detail.push_str("; ");
            }
            detail.push_str(&format!("cannot be mended: {errno}"));
        }
        self.report.total += 1;
        self.report.repaired += u64::from(repaired);
        let path = path.into();
        if self.online {
            tracing::info!(%gfid, path, repaired, "scrub: {}", what.words());
        }
        if self.report.findings.len() < MOST_FINDINGS {
            let gfid = (!gfid.is_null()).then(|| gfid.to_string());
            self.report.findings.push(Finding { path, gfid, what, detail, repaired });
        }
    }

    /// The root's gfid and handle.
    fn root(&mut self) {
        let brick = Arc::clone(&self.brick);
        let gfid = brick.gfid_of(kiln_uring::sys::XattrTarget::Fd(brick.root.fd()));
        let path = super::handle::HandlePath::new(Gfid::ROOT);
        let target = brick.sys.readlink_at(brick.dot.fd(), path.as_c_str());
        let fits = target.is_ok_and(|target| target == super::handle::ROOT_TARGET.to_bytes());
        if gfid == Ok(Gfid::ROOT) && fits {
            return;
        }
        self.found("", Gfid::ROOT, What::BadRoot, "", |brick| match gfid {
            // As every start does.
            Ok(Gfid::ROOT) => {
                brick.remove_handle(Gfid::ROOT)?;
                brick.at_handle(Gfid::ROOT, |dot, path| {
                    brick.sys.symlink_at(super::handle::ROOT_TARGET, dot, path)
                })?;
                Ok(true)
            }
            _ => Ok(false),
        });
        self.root_is_lost = !self.repair || gfid != Ok(Gfid::ROOT);
        self.lost_directories = self.root_is_lost;
    }

    /// What must be empty in `.glusterfs` when nobody serves the brick.
    fn housekeeping(&mut self) -> Result<(), CheckError> {
        let brick = Arc::clone(&self.brick);
        match Intents::peek(&brick.sys, &brick.dot) {
            Ok(None) => {}
            Ok(Some(Found::Unfinished(intents))) if intents.is_empty() => {}
            Ok(Some(found)) => {
                let detail = match found {
                    Found::Unfinished(intents) => format!("{} operations", intents.len()),
                    _ => "the machine lost power, or a scrub did not end".into(),
                };
                self.found(".glusterfs/kiln-intents", Gfid::NULL, What::Unfinished, detail, |_| Ok(false));
            }
            Err(errno) => {
                let detail = errno.to_string();
                self.found(".glusterfs/kiln-intents", Gfid::NULL, What::Unreadable, detail, |_| Ok(false));
            }
        }
        for (name, what) in [(c"unlink", What::Parked), (boot::TEMP, What::Leftover)] {
            let dir = match names::open(&brick, &brick.dot, name) {
                Err(Errno::NOENT) => continue,
                dir => dir.map_err(|errno| CheckError::List { what: "a directory in .glusterfs", errno })?,
            };
            let text = name.to_string_lossy();
            let listed = names::list_all(&brick, &dir, |entry| {
                let path = format!(".glusterfs/{text}/{}", entry.to_string_lossy());
                let gfid = Gfid::from_text(entry.to_bytes()).unwrap_or_default();
                self.found(path, gfid, what, "", |_| Ok(false));
            });
            listed.map_err(|errno| CheckError::List { what: "a directory in .glusterfs", errno })?;
            if self.repair {
                let removed = super::entry::recovery::empty(&brick, &dir);
                let removed =
                    removed.map_err(|errno| CheckError::List { what: "a directory in .glusterfs", errno })?;
                self.report.repaired += removed as u64;
                let prefix = format!(".glusterfs/{text}/");
                let ours =
                    self.report.findings.iter_mut().filter(|finding| finding.path.starts_with(&prefix));
                ours.for_each(|finding| finding.repaired = true);
            }
        }
        Ok(())
    }

    /// Each non-directory has a link per name and one for its handle. Only where all else is right, and no feature keeps
    /// links of its own in `.glusterfs`.
    fn compare_counts(&mut self) {
        let quarantine = names::open(&self.brick, &self.brick.dot, c"quarantine").is_ok();
        if self.report.is_clean() && !quarantine && self.expected_names > self.report.names {
            let detail = format!("{} links, {} names", self.expected_names, self.report.names);
            self.found("", Gfid::NULL, What::LinksElsewhere, detail, |_| Ok(false));
        }
    }
}

/// A path for people.
fn shown(parts: &[u8]) -> String {
    String::from_utf8_lossy(parts).into_owned()
}

/// Checks the brick at `path`; for tests and tools that know nothing of a kernel.
///
/// # Errors
/// See [`check`].
pub fn check_path(sys: &Arc<dyn Sys>, path: &Path, repair: bool) -> Result<CheckReport, CheckError> {
    let options = CheckOptions { repair, ..CheckOptions::new(path, Arc::clone(sys)) };
    check(options, &mut |_| {})
}

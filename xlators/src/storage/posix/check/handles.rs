//! The walk over the handles: each belongs to an object with a name, and nothing else lies among them.

use std::collections::VecDeque;
use std::ffi::{CStr, CString};
use std::sync::Arc;

use kiln_uring::sys::{Stat, XattrTarget};
use kiln_uring::{AtFlags, Errno, File};

use super::{Inspector, What, names};
use crate::storage::posix::Brick;
use crate::storage::posix::handle::HandlePath;
use crate::storage::posix::stripes::object_key;
use crate::types::Gfid;

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Handles {
    /// First level: the next of 256.
    next: u16,
    /// Second-level directories of the present first-level one.
    leaves: VecDeque<CString>,
    first: Option<(String, Arc<File>)>,
    /// Names in the present second-level directory.
    entries: VecDeque<CString>,
    second: String,
}

impl Handles {
    /// From the first.
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at the next handle. False when there is none.
    pub fn step(&mut self, inspector: &mut Inspector) -> bool {
        if let Some(entry) = self.entries.pop_front() {
            if let Some((first, _)) = &self.first {
                inspector.handle(first, &self.second, &entry);
            }
            return true;
        }
        if let Some(leaf) = self.leaves.pop_front() {
            self.enter(inspector, &leaf);
            return true;
        }
        if self.next > 0xff {
            return false;
        }
        let first = format!("{:02x}", self.next);
        self.next += 1;
        let brick = Arc::clone(&inspector.brick);
        let path = format!(".glusterfs/{first}");
        let name = CString::new(first.as_str()).unwrap_or_default();
        match names::open(&brick, &brick.dot, &name) {
            Ok(dir) => {
                self.leaves = list(inspector, &brick, &dir, &path);
                self.first = Some((first, dir));
            }
            // Every start makes them.
            Err(Errno::NOENT) => {}
            Err(errno) => {
                inspector.found(path, Gfid::NULL, What::Unreadable, errno.to_string(), |_| Ok(false))
            }
        }
        true
    }

    fn enter(&mut self, inspector: &mut Inspector, leaf: &CStr) {
        let Some((first, dir)) = &self.first else { return };
        let brick = Arc::clone(&inspector.brick);
        let text = leaf.to_string_lossy().into_owned();
        let path = format!(".glusterfs/{first}/{text}");
        let is_hex = text.len() == 2 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match names::open(&brick, dir, leaf) {
            Ok(dir) if is_hex => {
                self.entries = list(inspector, &brick, &dir, &path);
                self.second = text;
            }
            Ok(_) | Err(Errno::NOTDIR | Errno::LOOP) => {
                inspector.found(path, Gfid::NULL, What::NotAHandle, "", |_| Ok(false));
            }
            Err(errno) => {
                inspector.found(path, Gfid::NULL, What::Unreadable, errno.to_string(), |_| Ok(false))
            }
        }
    }
}

/// All names of a directory: handles are spread over 65536 directories.
fn list(inspector: &mut Inspector, brick: &Brick, dir: &File, path: &str) -> VecDeque<CString> {
    let mut found = VecDeque::new();
    if let Err(errno) = names::list_all(brick, dir, |name| found.push_back(name.to_owned())) {
        inspector.found(path, Gfid::NULL, What::Unreadable, errno.to_string(), |_| Ok(false));
    }
    found
}

impl Inspector {
    fn handle(&mut self, first: &str, second: &str, name: &CStr) {
        let path = format!(".glusterfs/{first}/{second}/{}", name.to_string_lossy());
        let gfid = Gfid::from_text(name.to_bytes()).unwrap_or_default();
        let here = HandlePath::new(gfid);
        if gfid.is_null() || format!(".glusterfs/{}", here.as_c_str().to_string_lossy()) != path {
            return self.found(path, Gfid::NULL, What::NotAHandle, "", |_| Ok(false));
        }
        self.report.handles += 1;
        if gfid.is_root() {
            return;
        }
        match self.brick.stat_handle(gfid) {
            Ok(stat) if stat.is_dir() => {
                self.found(path, gfid, What::NotAHandle, "a directory", |_| Ok(false))
            }
            Ok(stat) if stat.nlink == 1 => self.lonely(path, gfid, &stat),
            Ok(stat) => {
                self.expected_names += u64::from(stat.nlink - 1);
                let found = self.brick.gfid_of(XattrTarget::At(self.brick.dot.fd(), here.as_c_str()));
                if found != Ok(gfid) {
                    let detail = match found {
                        Ok(other) => format!("the object's gfid is {other}"),
                        Err(errno) => format!("the object's gfid cannot be read: {errno}"),
                    };
                    self.found(path, gfid, What::HandleOfAnother, detail, |_| Ok(false));
                }
            }
            Err(Errno::NOENT) if self.online => {}
            Err(errno) => self.found(path, gfid, What::Unreadable, errno.to_string(), |_| Ok(false)),
        }
    }

    /// A handle that is the only link: a directory's, or an orphan.
    fn lonely(&mut self, path: String, gfid: Gfid, stat: &Stat) {
        let here = HandlePath::new(gfid);
        let target = XattrTarget::At(self.brick.dot.fd(), here.as_c_str());
        // A directory's handle has no attributes; a user's symbolic link has its gfid.
        let is_dir_handle = stat.is_symlink() && self.brick.gfid_of(target) == Err(Errno::NODATA);
        let what = match is_dir_handle {
            true => match self.brick.open_dir(gfid) {
                Ok(_) => return,
                // Found while the root's handle is broken, this says nothing.
                Err(Errno::NOENT | Errno::STALE | Errno::NOTDIR) if !self.root_is_lost => {
                    What::DanglingHandle
                }
                Err(_) if self.root_is_lost => return,
                Err(errno) => {
                    return self.found(path, gfid, What::Unreadable, errno.to_string(), |_| Ok(false));
                }
            },
            false => What::OrphanHandle,
        };
        // A job that makes an object has filled its slot before it makes the handle. So when the slots know nothing of a
        // handle that was seen before, the job is over, and then the object has its name.
        if self.online && self.brick.intents.is_busy(gfid) {
            return;
        }
        let ino = stat.ino;
        self.found(path, gfid, what, "", |brick| {
            let _object = brick.objects.lock(&[object_key(gfid)]);
            // A fop may have been faster.
            let still = brick.stat_handle(gfid).is_ok_and(|stat| stat.nlink == 1 && stat.ino == ino);
            if !still || (what == What::DanglingHandle && !leads_nowhere(brick, gfid)) {
                return Ok(false);
            }
            let handle = HandlePath::new(gfid);
            brick.sys.unlink_at(brick.dot.fd(), handle.as_c_str(), AtFlags::empty()).map(|()| true)
        });
    }
}

/// Whether a directory's handle leads to none, and not only because a directory on the way is being renamed. On a brick that
/// never comes to rest the answer is no.
fn leads_nowhere(brick: &Brick, gfid: Gfid) -> bool {
    for _ in 0..1000 {
        let before = brick.intents.quiet();
        if !matches!(brick.open_dir(gfid), Err(Errno::NOENT | Errno::STALE | Errno::NOTDIR)) {
            return false;
        }
        if before.is_some() && before == brick.intents.quiet() {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

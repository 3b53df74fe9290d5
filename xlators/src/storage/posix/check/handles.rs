//! The first pass: the root, and which inode each handle is.

use std::ffi::{CStr, CString};

use kiln_uring::sys::{Stat, XattrTarget};
use kiln_uring::{Errno, File};

use super::ledger::{Entry, Marks};
use super::report::Kind;
use super::{Check, Held, gfid_of, open_dir};
use crate::storage::posix::brick::DOT_GLUSTERFS;
use crate::storage::posix::handle::{HandlePath, ROOT_TARGET};
use crate::types::Gfid;

/// Permissions that `.glusterfs` gives nobody but its owner.
const OTHERS: u32 = 0o077;

impl Check<'_> {
    /// The root's own gfid and handle, and who may look into `.glusterfs`.
    pub(super) fn root(&mut self, stat: &Stat) {
        let root = XattrTarget::Fd(self.mender.root.fd());
        match gfid_of(&self.mender.sys, root) {
            Ok(Held::Gfid(_)) => {}
            Ok(Held::Nothing) => {
                self.found(Kind::Root, b"", Some(Gfid::ROOT), "the root has no trusted.gfid", |mender| {
                    mender.set_gfid(root, Gfid::ROOT)
                });
            }
            Ok(Held::Damaged) => {
                let what = "the root's trusted.gfid is null or not 16 bytes";
                self.found(Kind::Root, b"", Some(Gfid::ROOT), what, |mender| {
                    mender.sys.removexattr(root, crate::keys::GFID)?;
                    mender.set_gfid(root, Gfid::ROOT)
                });
            }
            Err(errno) => self.unreadable(b"", errno),
        }
        let marks = Marks::NAMED | Marks::DIRECTORY | Marks::HANDLE;
        *self.ledger.entry(Gfid::ROOT) = Entry { ino: stat.ino, marks, ..Entry::default() };
        self.root_handle();
        let dot = self.mender.dot.fd();
        match self.mender.sys.stat(dot) {
            Ok(stat) if stat.mode & OTHERS != 0 => {
                let mode = stat.mode & 0o7777;
                let what = format!(
                    "its mode is {mode:04o}: others than its owner can get past the directories' permissions"
                );
                self.found(Kind::Mode, DOT_GLUSTERFS.to_bytes(), None, what, |mender| {
                    mender.sys.chmod(dot, mode & !OTHERS)
                });
            }
            Ok(_) => {}
            Err(errno) => self.unreadable(DOT_GLUSTERFS.to_bytes(), errno),
        }
    }

    fn root_handle(&mut self) {
        let handle = HandlePath::new(Gfid::ROOT);
        let target = self.mender.sys.readlink_at(self.mender.dot.fd(), handle.as_c_str());
        let what = match target {
            Ok(target) if target == ROOT_TARGET.to_bytes() => return,
            Ok(target) => format!("the root's handle leads to {}", super::Escaped(&target)),
            Err(Errno::NOENT) => "the root has no handle".into(),
            Err(Errno::INVAL) => "the root's handle is no symbolic link".into(),
            Err(errno) => return self.unreadable(&handle_name(Gfid::ROOT), errno),
        };
        self.found(Kind::Root, &handle_name(Gfid::ROOT), Some(Gfid::ROOT), what, |mender| {
            mender.remove_handle(Gfid::ROOT)?;
            mender.root_handle()
        });
    }

    /// Lists all handles.
    pub(super) fn handles(&mut self) {
        for first in 0..=255_u8 {
            let first = format!("{first:02x}");
            let path = format!(".glusterfs/{first}");
            let name = CString::new(first.as_str()).unwrap_or_default();
            let dir = match open_dir(&self.mender.sys, &self.mender.dot, &name) {
                Ok(dir) => dir,
                // Every start makes what is missing of these.
                Err(Errno::NOENT) => continue,
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    self.told(Kind::Junk, path.as_bytes(), None, "it is no directory");
                    continue;
                }
                Err(errno) => {
                    self.unreadable(path.as_bytes(), errno);
                    continue;
                }
            };
            let mut seconds = Vec::new();
            if let Err(errno) = self.list(&dir, |_, name, _| seconds.push(name.to_owned())) {
                self.unreadable(path.as_bytes(), errno);
            }
            for second in seconds {
                self.leaf(&dir, &first, &second);
            }
        }
    }

    fn leaf(&mut self, parent: &File, first: &str, name: &CStr) {
        let mut path = format!(".glusterfs/{first}/").into_bytes();
        path.extend_from_slice(name.to_bytes());
        let &[a @ (b'0'..=b'9' | b'a'..=b'f'), b @ (b'0'..=b'9' | b'a'..=b'f')] = name.to_bytes() else {
            return self.told(Kind::Junk, &path, None, "its name is not two hexadecimal digits");
        };
        let dir = match open_dir(&self.mender.sys, parent, name) {
            Ok(dir) => dir,
            Err(Errno::NOTDIR | Errno::LOOP) => {
                return self.told(Kind::Junk, &path, None, "it is no directory");
            }
            Err(errno) => return self.unreadable(&path, errno),
        };
        let first = first.as_bytes();
        let listed = self.list(&dir, |check, name, ino| {
            check.step();
            let text = name.to_bytes();
            let gfid = Gfid::from_text(text).filter(|gfid| gfid.to_text() == text && !gfid.is_null());
            let what = match gfid {
                Some(gfid) if text[..2] == *first && text[2..4] == [a, b] => return check.handle(gfid, ino),
                Some(_) => "a handle in the wrong directory",
                None => "its name is not a gfid",
            };
            let mut path = path.clone();
            path.push(b'/');
            path.extend_from_slice(text);
            check.told(Kind::Junk, &path, gfid, what);
        });
        if let Err(errno) = listed {
            self.unreadable(&path, errno);
        }
    }

    fn handle(&mut self, gfid: Gfid, ino: u64) {
        self.report.handles += 1;
        if !gfid.is_root() {
            *self.ledger.entry(gfid) = Entry { ino, marks: Marks::HANDLE, ..Entry::default() };
        }
    }
}

/// A handle's path below the brick.
pub(super) fn handle_name(gfid: Gfid) -> Vec<u8> {
    [DOT_GLUSTERFS.to_bytes(), b"/", HandlePath::new(gfid).as_c_str().to_bytes()].concat()
}

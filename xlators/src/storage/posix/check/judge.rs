//! The third pass: what no name has asked for.

use std::ffi::{CStr, CString};
use std::sync::Arc;

use kiln_uring::Errno;
use kiln_uring::sys::{AtFlags, Stat, XattrTarget};

use super::ledger::{Entry, Marks};
use super::object::{PATH_VALUE, WrongHandle, hash_of};
use super::report::{Escaped, Kind};
use super::walk::Tree;
use super::{Check, Held, gfid_of, handles::handle_name, open_dir};
use crate::storage::posix::boot::TEMP;
use crate::storage::posix::gfid2path::Gfid2Path;
use crate::storage::posix::handle::HandlePath;
use crate::storage::posix::intents::{self, Found, Intents};
use crate::types::Gfid;

/// What a housekeeping directory's entries are to the check.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Store {
    /// `unlink/`: what was open when it was unlinked. The next start empties it.
    Parked,
    /// `quarantine/`: further links of objects that bit-rot detection has found bad.
    Quarantine,
    /// Where Kiln makes what gets its name later. The next start empties it.
    Temporary,
}

/// The directories in `.glusterfs` that hold links of objects, or should be empty.
const STORES: [(&CStr, Store); 3] =
    [(c"unlink", Store::Parked), (c"quarantine", Store::Quarantine), (TEMP, Store::Temporary)];

impl Check<'_> {
    /// Looks at all that is left over.
    pub(super) fn judge(&mut self) {
        self.landfill();
        for (name, store) in STORES {
            self.store(name, store);
        }
        self.intents();
        for wrong in std::mem::take(&mut self.wrong) {
            self.wrong_handle(&wrong);
        }
        // These first: what is mended may take a link too many from another object.
        self.each(is_lonely, Self::lonely);
        self.each(|entry| has_other_links(entry) || has_paths(entry), Self::suspect);
    }

    /// Does something with all entries of a sort, in the order of their gfids.
    fn each(&mut self, which: impl Fn(&Entry) -> bool, act: impl Fn(&mut Self, Gfid, &Entry)) {
        let mut chosen: Vec<(Gfid, Entry)> = self
            .ledger
            .iter()
            .filter(|(_, entry)| which(entry))
            .map(|(gfid, entry)| (*gfid, *entry))
            .collect();
        chosen.sort_unstable_by_key(|(gfid, _)| *gfid);
        chosen.iter().for_each(|(gfid, entry)| act(self, *gfid, entry));
    }

    fn suspect(&mut self, gfid: Gfid, entry: &Entry) {
        if has_other_links(entry) && self.complete {
            self.other_links(gfid, entry);
        }
        if has_paths(entry) && self.complete {
            self.stale_paths(gfid, entry);
        }
    }

    fn other_links(&mut self, gfid: Gfid, entry: &Entry) {
        let has_handle = entry.marks.contains(Marks::HANDLE);
        // A repair of another object's handle may have taken away the link too many.
        let path = HandlePath::new(gfid);
        let now = self.mender.sys.stat_at(self.mender.dot.fd(), path.as_c_str());
        let now = Entry { nlink: now.map_or(entry.nlink, |stat| stat.nlink), ..*entry };
        if has_handle && !has_other_links(&now) {
            return;
        }
        let handle = if has_handle { "a handle" } else { "no handle" };
        let what = format!("it has {} links, but {} names and {handle}", entry.nlink, entry.links);
        self.told(Kind::Links, &handle_name(gfid), Some(gfid), what);
    }

    /// A handle that no name has asked for.
    fn lonely(&mut self, gfid: Gfid, entry: &Entry) {
        let handle = HandlePath::new(gfid);
        let path = handle_name(gfid);
        let stat = match self.mender.sys.stat_at(self.mender.dot.fd(), handle.as_c_str()) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return,
            Err(errno) => return self.unreadable(&path, errno),
        };
        if stat.is_dir() {
            return self.told(Kind::Junk, &path, Some(gfid), "a directory in the place of a handle");
        }
        let own = gfid_of(&self.mender.sys, self.mender.handle_target(&handle));
        if stat.is_symlink() && stat.nlink == 1 && own == Ok(Held::Nothing) {
            // The directory may be where the walk did not get.
            if self.complete {
                let target =
                    self.mender.sys.readlink_at(self.mender.dot.fd(), handle.as_c_str()).unwrap_or_default();
                let what = format!("it leads to {}, and no directory has this gfid", Escaped(&target));
                self.found(Kind::DanglingHandle, &path, Some(gfid), what, |mender| {
                    mender.remove_handle(gfid)
                });
            }
            return;
        }
        if stat.nlink == 1 {
            let what = format!("its object has no name; {}", describe(&stat));
            self.found(Kind::OrphanHandle, &path, Some(gfid), what, |mender| mender.remove_handle(gfid));
        } else if self.complete && stat.nlink != entry.links.saturating_add(1) {
            let what = match own {
                Ok(Held::Gfid(other)) if other != gfid => {
                    format!("the object of this handle has the gfid {other}")
                }
                _ => format!("its object has {} links, but no name", stat.nlink),
            };
            // Of an object with another gfid it is one link too many, and that object's own handle is another one.
            match own {
                Ok(Held::Gfid(other)) if other != gfid => {
                    self.found(Kind::WrongHandle, &path, Some(gfid), what, |mender| {
                        mender.remove_handle(gfid)
                    });
                }
                _ => self.told(Kind::Links, &path, Some(gfid), what),
            }
        }
    }

    fn wrong_handle(&mut self, wrong: &WrongHandle) {
        let &WrongHandle { gfid, parent, ref name, ref path } = wrong;
        // Which of the two is the right one, the handle alone does not tell.
        if self.ledger.get(gfid).is_some_and(|entry| entry.marks.contains(Marks::DUPLICATE)) {
            return;
        }
        let handle = HandlePath::new(gfid);
        let what = match self.mender.sys.readlink_at(self.mender.dot.fd(), handle.as_c_str()) {
            Ok(target) => format!("the directory's handle leads to {}", Escaped(&target)),
            Err(_) => "the directory's handle is no symbolic link".into(),
        };
        let stat = self.mender.sys.stat_at(self.mender.dot.fd(), handle.as_c_str());
        if let Ok(stat) = stat
            && stat.nlink > 1
            && !stat.is_dir()
            && gfid_of(&self.mender.sys, self.mender.handle_target(&handle)) == Ok(Held::Gfid(gfid))
        {
            let what = format!("the directory has the same trusted.gfid as inode {}", stat.ino);
            return self.told(Kind::Duplicate, path, Some(gfid), what);
        }
        self.found(Kind::WrongHandle, path, Some(gfid), what, |mender| {
            mender.remove_handle(gfid)?;
            mender.dir_handle(gfid, parent, name)
        });
    }

    /// The `trusted.gfid2path`s of an object with several names, or with some that its one name has not asked for.
    fn stale_paths(&mut self, gfid: Gfid, entry: &Entry) {
        let handle = HandlePath::new(gfid);
        let path = handle_name(gfid);
        let target = self.mender.handle_target(&handle);
        let keys = match self.mender.sys.listxattr(target, &mut self.keys) {
            Ok(keys) => keys,
            Err(errno) => return self.unreadable(&path, errno),
        };
        let listed = self.keys[..keys].split(|byte| *byte == 0).filter(|key| Gfid2Path::is_key(key));
        let stale: Vec<CString> = listed
            .filter(|key| !hash_of(key).is_some_and(|hash| self.ledger.has_path(entry.ino, hash)))
            .filter_map(|key| CString::new(key).ok())
            .collect();
        for key in stale {
            let mut value = [0; PATH_VALUE];
            let len = self.mender.sys.getxattr(target, &key, &mut value).unwrap_or(0);
            let what = format!(
                "{} names {}, which is not this object",
                key.to_string_lossy(),
                Escaped(&value[..len])
            );
            self.found(Kind::StalePath, &path, Some(gfid), what, |mender| {
                mender.sys.removexattr(target, &key)
            });
        }
    }

    /// What the last process was in the middle of. Whatever that has left is found by itself.
    fn intents(&mut self) {
        let what = match Intents::peek(&self.mender.sys, &self.mender.dot) {
            Ok(None | Some(Found::Clean)) => return,
            Ok(Some(Found::Unfinished(intents))) if intents.is_empty() => return,
            Ok(Some(Found::Unfinished(intents))) => {
                format!(
                    "the brick's process ended in the middle of {} operations; its next start mends that",
                    intents.len()
                )
            }
            Ok(Some(Found::Unknown)) => {
                "the brick was not stopped in good order; its next start looks through all of it".into()
            }
            Err(errno) => format!("whether the brick was stopped in good order cannot be told: {errno}"),
        };
        self.told(Kind::NotStopped, &in_dot(intents::FILE), None, what);
    }

    // --- housekeeping --------------------------------------------------------------------------------------------------

    fn landfill(&mut self) {
        match open_dir(&self.mender.sys, &self.mender.dot, c"landfill") {
            Ok(dir) => self.walk(dir, None, Tree::Landfill, &in_dot(c"landfill")),
            Err(Errno::NOENT) => {}
            Err(errno) => self.unreadable(&in_dot(c"landfill"), errno),
        }
        if self.report.thrown_away > 0 {
            let what = format!(
                "{} objects wait for their deletion, which a brick in service does",
                self.report.thrown_away
            );
            self.told(Kind::Landfill, &in_dot(c"landfill"), None, what);
        }
    }

    fn store(&mut self, name: &CStr, store: Store) {
        let path = in_dot(name);
        let dir = match open_dir(&self.mender.sys, &self.mender.dot, name) {
            Ok(dir) => dir,
            Err(Errno::NOENT) => return,
            Err(errno) => return self.unreadable(&path, errno),
        };
        let mut names = Vec::new();
        if let Err(errno) = self.list(&dir, |_, name, _| names.push(name.to_owned())) {
            self.unreadable(&path, errno);
        }
        for name in names {
            let path = [&path, &b"/"[..], name.to_bytes()].concat();
            let Ok(stat) = self.mender.sys.stat_at(dir.fd(), &name) else { continue };
            let gfid = gfid_of(&self.mender.sys, XattrTarget::At(dir.fd(), &name)).ok().and_then(Held::gfid);
            if let Some(entry) = gfid.and_then(|gfid| self.ledger.get_mut(gfid)) {
                entry.links = entry.links.saturating_add(1);
            }
            let (kind, what) = match store {
                Store::Parked => (Kind::Parked, "it was unlinked while it was open"),
                Store::Temporary => (Kind::Leftover, "an unfinished operation has left it"),
                Store::Quarantine => continue,
            };
            let flags = if stat.is_dir() { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            let dir = Arc::clone(&dir);
            self.found(kind, &path, gfid, what, |mender| mender.sys.unlink_at(dir.fd(), &name, flags));
        }
    }
}

/// A named object whose `trusted.gfid2path`s can be compared with its names.
fn has_paths(entry: &Entry) -> bool {
    entry.marks.contains(Marks::PATHS | Marks::HANDLE)
        && !entry.marks.intersects(Marks::UNSURE | Marks::DUPLICATE)
}

/// A handle without a name.
fn is_lonely(entry: &Entry) -> bool {
    !entry.marks.intersects(Marks::NAMED | Marks::THROWN_AWAY)
}

/// A named object with links that are neither its names nor its handle.
fn has_other_links(entry: &Entry) -> bool {
    let handle = u32::from(entry.marks.contains(Marks::HANDLE));
    entry.marks.contains(Marks::NAMED)
        && !entry.marks.intersects(Marks::DIRECTORY | Marks::DUPLICATE)
        && entry.nlink != entry.links.saturating_add(handle)
}

fn describe(stat: &Stat) -> String {
    match stat.is_file() {
        true => format!("a file of {} bytes", stat.size),
        false => "no regular file".into(),
    }
}

fn in_dot(name: &CStr) -> Vec<u8> {
    [b".glusterfs/", name.to_bytes()].concat()
}

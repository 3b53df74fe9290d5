//! One name, compared with what the ledger says of its gfid.

use std::ffi::CStr;

use kiln_uring::Errno;
use kiln_uring::sys::{Stat, XattrFlags, XattrTarget};

use super::ledger::{Entry, Marks};
use super::report::Kind;
use super::walk::{Here, Todo, Tree};
use super::{Check, Held, gfid_of};
use crate::storage::posix::entry::MAX_PATHS;
use crate::storage::posix::gfid2path::Gfid2Path;
use crate::storage::posix::handle::{HandlePath, directory_target};
use crate::types::{Gfid, Name};

/// Longest value of a `trusted.gfid2path`: a gfid, a slash, a name.
pub(super) const PATH_VALUE: usize = 36 + 1 + Name::MAX;

/// One name.
struct Spot<'a> {
    here: &'a Here,
    name: Name,
    path: &'a [u8],
    stat: Stat,
}

impl Spot<'_> {
    fn target(&self) -> XattrTarget<'_> {
        XattrTarget::At(self.here.dir.fd(), self.name.as_c_str())
    }
}

/// A directory whose handle says something else. What to do about it depends on whether another directory has the same
/// gfid, which is known when all names have been seen.
pub(super) struct WrongHandle {
    pub gfid: Gfid,
    pub parent: Gfid,
    pub name: Name,
    pub path: Vec<u8>,
}

/// What a name of a non-directory is to the ledger.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// The first name of this object.
    First,
    /// One more.
    Again,
    /// Of another object with the gfid of one that is known.
    Foreign,
}

impl Check<'_> {
    /// Looks at one name; subdirectories are added to `todo`.
    pub(super) fn name(&mut self, here: &Here, name: &CStr, path: &[u8], todo: &mut Todo) {
        let stat = match self.mender.sys.stat_at(here.dir.fd(), name) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return,
            Err(errno) => return self.unreadable(path, errno),
        };
        self.step();
        if stat.dev != self.dev {
            // What it covers cannot be seen.
            self.complete = false;
            return self.told(Kind::OtherFileSystem, path, None, "another file system is mounted here");
        }
        // The kernel gives no other names.
        let Ok(cut) = Name::new(name.to_bytes()) else { return };
        let mut spot = Spot { here, name: cut, path, stat };
        let gfid = match (here.tree, stat.is_dir()) {
            (Tree::Landfill, _) => self.thrown_away(&spot),
            (Tree::Names, true) => self.directory(&mut spot),
            (Tree::Names, false) => return self.leaf_object(&mut spot),
        };
        if stat.is_dir() {
            todo.push(gfid, name);
        }
    }

    /// The gfid of an object; one without gets one, with all that belongs to it, if that is wanted.
    fn gfid(&mut self, spot: &mut Spot<'_>) -> Option<Gfid> {
        match gfid_of(&self.mender.sys, spot.target()) {
            Ok(Held::Gfid(gfid)) => Some(gfid),
            Ok(Held::Nothing) => self.adopt(spot),
            Ok(Held::Damaged) => {
                // Whose handle it was, nobody knows.
                self.complete = false;
                self.told(Kind::BadGfid, spot.path, None, "its trusted.gfid is null or not 16 bytes");
                None
            }
            Err(errno) => {
                self.unreadable(spot.path, errno);
                None
            }
        }
    }

    fn adopt(&mut self, spot: &mut Spot<'_>) -> Option<Gfid> {
        let gfid = self.mender.fresh_gfid();
        let given = self.options.repair.then_some(gfid);
        let what = if self.options.repair {
            "it had no trusted.gfid; now it has a random one"
        } else {
            "it has no trusted.gfid"
        };
        let with_paths = self.options.gfid2path;
        let mended = self.found(Kind::NoGfid, spot.path, given, what, |mender| {
            let target = spot.target();
            mender.set_gfid(target, gfid)?;
            if spot.stat.is_dir() {
                return spot.here.gfid.map_or(Ok(()), |parent| mender.dir_handle(gfid, parent, &spot.name));
            }
            mender.link_handle(gfid, &spot.here.dir, spot.name.as_c_str())?;
            if let Some(parent) = spot.here.gfid.filter(|_| with_paths) {
                let own = Gfid2Path::new(parent, &spot.name);
                mender.sys.setxattr(target, &own.key, &own.value, XattrFlags::empty())?;
            }
            Ok(())
        });
        if !mended {
            return None;
        }
        self.report.handles += 1;
        if !spot.stat.is_dir() {
            spot.stat.nlink = spot.stat.nlink.saturating_add(1);
            *self.ledger.entry(gfid) = Entry { ino: spot.stat.ino, marks: Marks::HANDLE, ..Entry::default() };
        }
        Some(gfid)
    }

    fn duplicate(&mut self, spot: &Spot<'_>, gfid: Gfid, other: u64) {
        if let Some(entry) = self.ledger.get_mut(gfid) {
            entry.marks |= Marks::DUPLICATE;
        }
        let what = format!("inode {} has the same trusted.gfid as inode {other}", spot.stat.ino);
        self.told(Kind::Duplicate, spot.path, Some(gfid), what);
    }

    // --- directories ---------------------------------------------------------------------------------------------------

    fn directory(&mut self, spot: &mut Spot<'_>) -> Option<Gfid> {
        self.report.objects += 1;
        self.report.directories += 1;
        let gfid = self.gfid(spot)?;
        let entry = self.ledger.entry(gfid);
        if entry.marks.contains(Marks::NAMED) {
            let other = entry.ino;
            self.duplicate(spot, gfid, other);
            return Some(gfid);
        }
        entry.ino = spot.stat.ino;
        entry.marks |= Marks::NAMED | Marks::DIRECTORY;
        if let Some(parent) = spot.here.gfid {
            self.directory_handle(spot, gfid, parent);
        }
        Some(gfid)
    }

    fn directory_handle(&mut self, spot: &Spot<'_>, gfid: Gfid, parent: Gfid) {
        let handle = HandlePath::new(gfid);
        let (sys, dot) = (&self.mender.sys, self.mender.dot.fd());
        let right = match sys.readlink_at(dot, handle.as_c_str()) {
            Ok(target) if target == directory_target(parent, &spot.name).to_bytes() => {
                // A symbolic link with two names is somebody's file.
                sys.stat_at(dot, handle.as_c_str()).map(|stat| stat.nlink == 1)
            }
            // No symbolic link at all.
            Ok(_) | Err(Errno::INVAL) => Ok(false),
            Err(errno) => Err(errno),
        };
        match right {
            Ok(true) => {}
            Ok(false) => {
                let (name, path) = (spot.name.clone(), spot.path.to_vec());
                self.wrong.push(WrongHandle { gfid, parent, name, path });
            }
            Err(Errno::NOENT) => {
                self.found(Kind::NoHandle, spot.path, Some(gfid), "the directory has no handle", |mender| {
                    mender.dir_handle(gfid, parent, &spot.name)
                });
            }
            Err(errno) => self.told(
                Kind::Unreadable,
                spot.path,
                Some(gfid),
                format!("its handle cannot be read: {errno}"),
            ),
        }
    }

    // --- everything else -----------------------------------------------------------------------------------------------

    fn leaf_object(&mut self, spot: &mut Spot<'_>) {
        self.report.names += 1;
        let gfid = self.gfid(spot);
        let keys = match self.mender.sys.listxattr(spot.target(), &mut self.keys) {
            Ok(keys) => keys,
            Err(errno) => return self.unreadable(spot.path, errno),
        };
        let seen = gfid.map(|gfid| self.link_handle(spot, gfid));
        if seen != Some(Seen::Again) {
            self.count(&spot.stat);
        }
        match (gfid, seen) {
            (Some(gfid), Some(seen @ (Seen::First | Seen::Again))) if self.options.gfid2path => {
                self.paths(spot, gfid, keys, seen == Seen::First);
            }
            _ => {}
        }
    }

    fn count(&mut self, stat: &Stat) {
        self.report.objects += 1;
        if stat.is_file() {
            self.report.files += 1;
            self.report.bytes = self.report.bytes.saturating_add(stat.size);
        } else {
            self.report.other += 1;
        }
    }

    /// Compares a non-directory with its handle.
    fn link_handle(&mut self, spot: &Spot<'_>, gfid: Gfid) -> Seen {
        let stat = &spot.stat;
        match self.ledger.get(gfid).copied() {
            Some(known) if known.marks.contains(Marks::NAMED) => {
                if known.ino != stat.ino {
                    self.duplicate(spot, gfid, known.ino);
                    return Seen::Foreign;
                }
                let entry = self.ledger.entry(gfid);
                entry.links = entry.links.saturating_add(1);
                entry.nlink = stat.nlink;
                Seen::Again
            }
            Some(known) if known.ino == stat.ino => self.first(spot, gfid, stat.nlink, true),
            Some(_) => self.other_handle(spot, gfid),
            None => self.missing_handle(spot, gfid),
        }
    }

    fn first(&mut self, spot: &Spot<'_>, gfid: Gfid, nlink: u32, handle: bool) -> Seen {
        let entry = self.ledger.entry(gfid);
        entry.ino = spot.stat.ino;
        entry.nlink = nlink;
        entry.links = entry.links.saturating_add(1);
        entry.marks.insert(Marks::NAMED);
        entry.marks.set(Marks::HANDLE, handle);
        Seen::First
    }

    fn missing_handle(&mut self, spot: &Spot<'_>, gfid: Gfid) -> Seen {
        let mended = self.found(Kind::NoHandle, spot.path, Some(gfid), "it has no handle", |mender| {
            mender.link_handle(gfid, &spot.here.dir, spot.name.as_c_str())
        });
        self.first(spot, gfid, spot.stat.nlink.saturating_add(u32::from(mended)), mended)
    }

    /// The listing of the handles gave another inode number.
    fn other_handle(&mut self, spot: &Spot<'_>, gfid: Gfid) -> Seen {
        let stat = &spot.stat;
        let path = HandlePath::new(gfid);
        let handle = match self.mender.sys.stat_at(self.mender.dot.fd(), path.as_c_str()) {
            Ok(handle) => handle,
            Err(Errno::NOENT) => return self.missing_handle(spot, gfid),
            Err(errno) => {
                self.unreadable(spot.path, errno);
                return self.first(spot, gfid, stat.nlink, true);
            }
        };
        // Some file systems list other numbers than they stat (overlayfs).
        if (handle.dev, handle.ino) == (stat.dev, stat.ino) {
            return self.first(spot, gfid, stat.nlink, true);
        }
        let has_names = !handle.is_dir() && handle.nlink > 1;
        if has_names && gfid_of(&self.mender.sys, self.mender.handle_target(&path)) == Ok(Held::Gfid(gfid)) {
            self.duplicate(spot, gfid, handle.ino);
            return Seen::Foreign;
        }
        let what = match handle.is_symlink() && handle.nlink == 1 {
            true => "its handle is one of a directory".into(),
            false => format!("its handle is another object, inode {}", handle.ino),
        };
        // Nothing is lost by that: the other object has names of its own, or is one that no name leads to.
        let mended = self.found(Kind::WrongHandle, spot.path, Some(gfid), what, |mender| {
            mender.remove_handle(gfid)?;
            mender.link_handle(gfid, &spot.here.dir, spot.name.as_c_str())
        });
        self.first(spot, gfid, stat.nlink.saturating_add(u32::from(mended)), mended)
    }

    // --- gfid2path -----------------------------------------------------------------------------------------------------

    /// Compares the `trusted.gfid2path`s, whose names are in `self.keys`, with this name.
    fn paths(&mut self, spot: &Spot<'_>, gfid: Gfid, keys: usize, first: bool) {
        let Some(parent) = spot.here.gfid else {
            self.ledger.entry(gfid).marks |= Marks::UNSURE;
            return;
        };
        let own = Gfid2Path::new(parent, &spot.name);
        let mut present = false;
        let mut others = Vec::new();
        for key in self.keys[..keys].split(|byte| *byte == 0).filter(|key| Gfid2Path::is_key(key)) {
            if key == own.key.as_bytes() {
                present = true;
            } else {
                others.push(hash_of(key));
            }
        }
        if present {
            self.path_value(spot, gfid, &own);
        } else if spot.stat.nlink <= MAX_PATHS {
            self.found(
                Kind::NoPath,
                spot.path,
                Some(gfid),
                "it has no trusted.gfid2path for this name",
                |mender| mender.sys.setxattr(spot.target(), &own.key, &own.value, XattrFlags::empty()),
            );
        }
        // A file with one name and its path and no other: most.
        if first && spot.stat.nlink <= 2 && others.is_empty() {
            return;
        }
        let marks = &mut self.ledger.entry(gfid).marks;
        let known = marks.contains(Marks::PATHS);
        marks.insert(Marks::PATHS);
        let ino = spot.stat.ino;
        if !first && !known {
            // At its first name nothing was there but that name's, so the others are known to be right.
            others.iter().flatten().for_each(|hash| self.ledger.add_path(ino, *hash));
        }
        self.ledger.add_path(ino, hash_of(own.key.as_bytes()).unwrap_or_default());
    }

    fn path_value(&mut self, spot: &Spot<'_>, gfid: Gfid, own: &Gfid2Path) {
        let mut value = [0; PATH_VALUE];
        match self.mender.sys.getxattr(spot.target(), &own.key, &mut value) {
            Ok(len) if value[..len] == own.value => {}
            Ok(_) | Err(Errno::RANGE) => {
                let what = format!("{} does not name it", own.key.to_string_lossy());
                self.found(Kind::WrongPath, spot.path, Some(gfid), what, |mender| {
                    mender.sys.setxattr(spot.target(), &own.key, &own.value, XattrFlags::empty())
                });
            }
            Err(errno) => self.told(
                Kind::Unreadable,
                spot.path,
                Some(gfid),
                format!("its trusted.gfid2path cannot be read: {errno}"),
            ),
        }
    }

    // --- landfill ------------------------------------------------------------------------------------------------------

    /// Something in `landfill/`: it is going to be deleted with its handle, and until then nothing is wrong with that.
    fn thrown_away(&mut self, spot: &Spot<'_>) -> Option<Gfid> {
        self.report.thrown_away += 1;
        let gfid = gfid_of(&self.mender.sys, spot.target()).ok()?.gfid()?;
        let entry = self.ledger.get_mut(gfid)?;
        entry.marks |= Marks::THROWN_AWAY;
        if !spot.stat.is_dir() {
            entry.links = entry.links.saturating_add(1);
            entry.nlink = spot.stat.nlink;
            if spot.stat.nlink > 2
                && let Some(parent) = spot.here.gfid
            {
                let own = Gfid2Path::new(parent, &spot.name);
                self.ledger.add_path(spot.stat.ino, hash_of(own.key.as_bytes()).unwrap_or_default());
            }
        }
        Some(gfid)
    }
}

/// The number at the end of a `trusted.gfid2path.…`; `None` when it is not in the exact form.
pub(super) fn hash_of(key: &[u8]) -> Option<u64> {
    let digits = key.strip_prefix(crate::keys::GFID2PATH_PREFIX.to_bytes())?;
    let lower = digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    if digits.len() != 16 || !lower {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

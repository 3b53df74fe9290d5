//! The scrub: after a power cut nobody knows what was under way, so the whole brick is gone through in the background while
//! it is in service.
//!
//! It mends what an interrupted operation can have left: handles of objects without a name, handles of directories that are
//! not there, names without a handle or `trusted.gfid2path`, and such of names that are gone. It goes by the handles, not by the tree, as names move under its feet: each handle of
//! a directory leads to a list of names, wherever the directory is by then. Whatever looks wrong is looked at again under
//! the stripes that the fops take, and left alone when a slot of the intents tells that a fop is at work on it.
//!
//! It works in batches with rests between them, so that fops hardly notice. Until it has come to its end, the intents say
//! so, and a brick that is stopped before begins again at its next start. The rest (objects without gfid, two with the same,
//! links too many) is for the offline check.

use std::collections::VecDeque;
use std::ffi::{CStr, CString};
use std::sync::Arc;
use std::time::Duration;

use kiln_uring::sys::{How, OpenFlags, Stat, XattrFlags, XattrTarget};
use kiln_uring::{Class, Core, Errno, File, Sys, SysResult, Warmth};

use crate::storage::posix::Brick;
use crate::storage::posix::background;
use crate::storage::posix::entry::{MAX_PATHS, heal};
use crate::storage::posix::gfid2path::Gfid2Path;
use crate::storage::posix::handle::HandlePath;
use crate::storage::posix::intents::Operation;
use crate::storage::posix::stripes::{entry_key, object_key};
use crate::types::{Gfid, Name};

/// Handles and names that are looked at in one go.
const BATCH: usize = 256;

/// Rest after a batch: with it at most about 20 000 a second are looked at.
const REST: Duration = Duration::from_millis(10);

/// Bytes of kernel records that are listed at once.
const LISTING: usize = 16 << 10;

/// Handles of directories that lead nowhere, and wait until those above them are judged; more are left to the next check.
const MOST_DANGLING: usize = 1 << 16;

/// Scrubs the brick, to its end or until the core stops.
pub async fn run(core: Core, brick: Arc<Brick>) {
    let path = brick.path.display().to_string();
    tracing::warn!(
        brick = path,
        "the brick was not stopped in good order; looking through it in the background"
    );
    let mut scrub = Scrub::new(Arc::clone(&brick));
    loop {
        let job = move |_: &dyn Sys| {
            let more = scrub.step(BATCH);
            (scrub, more)
        };
        let (back, more) = core.run(Class::Background, Warmth::Cold, job).await;
        scrub = back;
        if brick.check_health().is_err() || core.shutting_down() {
            return;
        }
        if !more {
            break;
        }
        if !background::sleep(&core, REST).await {
            return;
        }
    }
    brick.intents.scrubbed();
    let Summary { handles, names, orphans, dangling, made, paths, failed } = scrub.summary;
    tracing::info!(
        brick = path,
        handles,
        names,
        orphans,
        dangling,
        made,
        paths,
        failed,
        "looked through the brick"
    );
    if failed > 0 {
        tracing::warn!(
            brick = path,
            failed,
            "not everything could be looked at or mended; `kiln check` tells more"
        );
    }
}

/// What a scrub has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Handles looked at.
    pub handles: u64,
    /// Names looked at.
    pub names: u64,
    /// Handles of objects without a name, removed.
    pub orphans: u64,
    /// Handles of directories that are not there, removed.
    pub dangling: u64,
    /// Handles made or rewritten.
    pub made: u64,
    /// Instances of `trusted.gfid2path` set or removed.
    pub paths: u64,
    /// What could not be looked at or mended.
    pub failed: u64,
}

/// A directory whose names are looked at.
#[derive(Debug)]
struct Listing {
    gfid: Gfid,
    dir: Arc<File>,
    offset: u64,
    names: VecDeque<CString>,
}

/// A scrub under way.
#[derive(Debug)]
pub(super) struct Scrub {
    brick: Arc<Brick>,
    pub(super) summary: Summary,
    /// The next of the 256 first-level directories of handles.
    next: u16,
    /// Second-level ones that exist, as paths.
    leaves: Vec<CString>,
    handles: Vec<Gfid>,
    directories: Vec<Gfid>,
    listing: Option<Listing>,
    dangling: Vec<Gfid>,
    /// Names of the extended attributes of the object at hand.
    keys: Vec<u8>,
}

impl Scrub {
    pub(super) fn new(brick: Arc<Brick>) -> Self {
        Self {
            brick,
            summary: Summary::default(),
            next: 0,
            leaves: Vec::new(),
            handles: Vec::new(),
            directories: vec![Gfid::ROOT],
            listing: None,
            dangling: Vec::new(),
            keys: vec![0; super::KEYS],
        }
    }

    /// Looks at the next `budget` things. False at the end.
    pub(super) fn step(&mut self, budget: usize) -> bool {
        (0..budget).all(|_| self.one())
    }

    fn one(&mut self) -> bool {
        if let Some(mut listing) = self.listing.take() {
            if self.list(&mut listing) {
                self.listing = Some(listing);
            }
        } else if let Some(gfid) = self.directories.pop() {
            let opened = self.brick.open_dir(gfid).and_then(|dir| own_descriptor(&self.brick, &dir));
            match opened {
                Ok(dir) => self.listing = Some(Listing { gfid, dir, offset: 0, names: VecDeque::new() }),
                Err(errno) => self.note(Err(errno)),
            }
        } else if let Some(gfid) = self.handles.pop() {
            let looked = self.handle(gfid);
            self.note(looked);
        } else if let Some(path) = self.leaves.pop() {
            let listed = self.leaf(&path);
            self.note(listed);
        } else if self.next <= 0xff {
            let listed = self.first_level();
            self.note(listed);
        } else {
            return self.round();
        }
        true
    }

    /// Counts a failure. What is gone by the time that it is looked at is none.
    fn note(&mut self, result: SysResult<()>) {
        if let Err(errno) = result
            && !matches!(errno, Errno::NOENT | Errno::STALE | Errno::NOTDIR)
        {
            self.summary.failed += 1;
            tracing::debug!(brick = %self.brick.path.display(), %errno, "the scrub cannot look at something");
        }
    }

    // --- handles -------------------------------------------------------------------------------------------------------

    /// Finds the second-level directories of the next first-level one.
    fn first_level(&mut self) -> SysResult<()> {
        let first = format!("{:02x}", self.next);
        self.next += 1;
        let path = CString::new(first.as_str()).unwrap_or_default();
        let leaves = &mut self.leaves;
        each_name(&self.brick, &path, |second| {
            if let (2, Ok(second)) = (second.to_bytes().len(), second.to_str())
                && second != ".."
            {
                leaves.extend(CString::new(format!("{first}/{second}")));
            }
        })
    }

    /// Lists a directory of handles.
    fn leaf(&mut self, path: &CStr) -> SysResult<()> {
        let handles = &mut self.handles;
        each_name(&self.brick, path, |name| {
            handles
                .extend(Gfid::from_text(name.to_bytes()).filter(|gfid| !gfid.is_root() && !gfid.is_null()));
        })
    }

    fn handle(&mut self, gfid: Gfid) -> SysResult<()> {
        self.summary.handles += 1;
        let stat = self.brick.stat_handle(gfid)?;
        if stat.is_dir() {
            return Ok(());
        }
        if stat.nlink > 1 {
            // A path too many. One too few is noticed with its name.
            let paths = if self.brick.settings().gfid2path { self.path_keys(gfid)?.len() } else { 0 };
            return if paths >= stat.nlink as usize { self.drop_stale_paths(gfid) } else { Ok(()) };
        }
        if is_dir_handle(&self.brick, gfid, &stat)? {
            if self.brick.open_dir(gfid).is_ok() {
                self.directories.push(gfid);
            } else if self.dangling.len() < MOST_DANGLING {
                self.dangling.push(gfid);
            }
            return Ok(());
        }
        self.orphan(gfid)
    }

    /// A handle that is the only link of an object other than a directory.
    fn orphan(&mut self, gfid: Gfid) -> SysResult<()> {
        let _object = self.brick.objects.lock(&[object_key(gfid)]);
        let is_lonely = |stat: &Stat| stat.nlink == 1 && !stat.is_dir();
        let stat = self.brick.stat_handle(gfid)?;
        if !is_lonely(&stat) || self.brick.intents.is_busy(gfid) || self.brick.opens.get(gfid).total > 0 {
            return Ok(());
        }
        // An object in the making gets its name without this stripe, but its maker has filled a slot before the handle. So
        // when the slots know nothing of a handle that has been seen, the making is over and the name is there.
        let again = self.brick.stat_handle(gfid)?;
        if !is_lonely(&again) || again.ino != stat.ino || is_dir_handle(&self.brick, gfid, &again)? {
            return Ok(());
        }
        self.brick.remove_handle(gfid)?;
        self.summary.orphans += 1;
        tracing::info!(%gfid, size = stat.size, "removed the handle of an object without a name");
        Ok(())
    }

    /// Judges the handles of directories that lead nowhere; when one goes, those below it are next. False when none went.
    fn round(&mut self) -> bool {
        let waiting = std::mem::take(&mut self.dangling);
        let before = self.summary.dangling;
        for gfid in waiting {
            match self.dangles(gfid) {
                Ok(true) => {}
                Ok(false) => self.dangling.push(gfid),
                Err(errno) => self.note(Err(errno)),
            }
        }
        self.summary.dangling > before && !self.dangling.is_empty()
    }

    /// Removes a directory's handle if the directory is not there. False when that cannot be told (yet).
    fn dangles(&mut self, gfid: Gfid) -> SysResult<bool> {
        // With it held nobody makes, moves or removes this directory.
        let _object = self.brick.objects.lock(&[object_key(gfid)]);
        let stat = self.brick.stat_handle(gfid)?;
        if !is_dir_handle(&self.brick, gfid, &stat)? || self.brick.intents.is_busy(gfid) {
            return Ok(true);
        }
        match self.brick.parent_of_dir(gfid) {
            Ok((parent, name)) => match self.brick.open_dir(parent) {
                // It is there: something above it was on the move.
                Ok(dir) if self.brick.gfid_of(XattrTarget::At(dir.fd(), name.as_c_str())) == Ok(gfid) => {
                    return Ok(true);
                }
                Ok(_) => {}
                // Above as well: only when that is sure, not while somebody moves it.
                Err(_) if self.brick.stat_handle(parent) == Err(Errno::NOENT) => {}
                Err(_) => return Ok(false),
            },
            // Damaged, it leads nowhere either.
            Err(Errno::STALE) => {}
            Err(errno) => return Err(errno),
        }
        self.brick.remove_handle(gfid)?;
        self.summary.dangling += 1;
        tracing::info!(%gfid, "removed the handle of a directory that is not there");
        Ok(true)
    }

    // --- names ---------------------------------------------------------------------------------------------------------

    /// Looks at the next name. False when there is none.
    fn list(&mut self, listing: &mut Listing) -> bool {
        let Some(name) = listing.names.pop_front() else {
            let records = match self.brick.sys.read_dir(listing.dir.fd(), listing.offset, LISTING) {
                Ok(records) => records,
                Err(errno) => {
                    self.note(Err(errno));
                    return false;
                }
            };
            let Some(last) = records.last() else { return false };
            listing.offset = last.offset;
            let hidden = |name: &CStr| {
                matches!(name.to_bytes(), b"." | b"..")
                    || (listing.gfid.is_root() && name == crate::storage::posix::brick::DOT_GLUSTERFS)
            };
            listing.names.extend(records.into_iter().map(|record| record.name).filter(|name| !hidden(name)));
            return true;
        };
        if let Ok(name) = Name::new(name.to_bytes()) {
            let looked = self.name(listing.gfid, &listing.dir, &name);
            self.note(looked);
        }
        true
    }

    fn name(&mut self, parent: Gfid, dir: &File, name: &Name) -> SysResult<()> {
        self.summary.names += 1;
        let stat = self.brick.sys.stat_at(dir.fd(), name.as_c_str())?;
        let gfid = match self.brick.gfid_of(XattrTarget::At(dir.fd(), name.as_c_str())) {
            Ok(gfid) if !gfid.is_null() => gfid,
            // The next lookup brings one.
            Ok(_) | Err(Errno::NODATA) => return Ok(()),
            Err(errno) => return Err(errno),
        };
        if self.brick.intents.is_busy(gfid) {
            return Ok(());
        }
        if stat.is_dir() {
            if !heal::dir_handle_fits(&self.brick, gfid, parent, name)
                && heal::set_dir_handle(&self.brick, gfid, parent, dir, name)?
            {
                self.summary.made += 1;
                // It may be among those that have been passed by.
                self.directories.push(gfid);
            }
            return Ok(());
        }
        if self.brick.stat_handle(gfid) == Err(Errno::NOENT) && self.relink(gfid, parent, dir, name)? {
            self.summary.made += 1;
        }
        if self.brick.settings().gfid2path
            && stat.nlink <= MAX_PATHS
            && self.add_path(gfid, parent, dir, name)?
        {
            self.summary.paths += 1;
            // A name that has moved leaves one behind.
            self.drop_stale_paths(gfid)?;
        }
        Ok(())
    }

    /// Makes the missing handle of a non-directory, if it is still missing and the name still this object's.
    fn relink(&self, gfid: Gfid, parent: Gfid, dir: &File, name: &Name) -> SysResult<bool> {
        let _name = self.brick.entries.lock(&[entry_key(parent, name.as_bytes())]);
        let _object = self.brick.objects.lock(&[object_key(gfid)]);
        if self.brick.gfid_of(XattrTarget::At(dir.fd(), name.as_c_str())) != Ok(gfid) {
            return Ok(false);
        }
        let _intent =
            self.brick.intents.fill(Operation::Heal, [gfid, Gfid::NULL], [Some((parent, name)), None]);
        match self
            .brick
            .at_handle(gfid, |dot, path| self.brick.sys.link_at(dir.fd(), name.as_c_str(), dot, path))
        {
            Ok(()) => {
                tracing::info!(%gfid, %parent, %name, "made a missing handle");
                Ok(true)
            }
            Err(Errno::EXIST) => Ok(false),
            Err(errno) => Err(errno),
        }
    }
}

// --- gfid2path ---------------------------------------------------------------------------------------------------------

impl Scrub {
    /// Sets the missing `trusted.gfid2path` of a name, if it is still missing and the name still this object's.
    fn add_path(&self, gfid: Gfid, parent: Gfid, dir: &File, name: &Name) -> SysResult<bool> {
        let own = Gfid2Path::new(parent, name);
        let target = XattrTarget::At(dir.fd(), name.as_c_str());
        let is_missing = || match self.brick.sys.getxattr(target, &own.key, &mut []) {
            Err(Errno::NODATA) => Ok(true),
            found => found.map(|_| false),
        };
        if !is_missing()? {
            return Ok(false);
        }
        let _name = self.brick.entries.lock(&[entry_key(parent, name.as_bytes())]);
        let _object = self.brick.objects.lock(&[object_key(gfid)]);
        if self.brick.gfid_of(target) != Ok(gfid) || !is_missing()? {
            return Ok(false);
        }
        self.brick.sys.setxattr(target, &own.key, &own.value, XattrFlags::CREATE)?;
        tracing::info!(%gfid, %parent, %name, "set a missing trusted.gfid2path");
        Ok(true)
    }

    /// The keys of an object's paths.
    fn path_keys(&mut self, gfid: Gfid) -> SysResult<Vec<CString>> {
        let path = HandlePath::new(gfid);
        let target = XattrTarget::At(self.brick.dot.fd(), path.as_c_str());
        let len = self.brick.sys.listxattr(target, &mut self.keys)?;
        let keys = self.keys[..len].split(|byte| *byte == 0).filter(|key| Gfid2Path::is_key(key));
        Ok(keys.filter_map(|key| CString::new(key).ok()).collect())
    }

    /// Removes those that name something else than this object.
    fn drop_stale_paths(&mut self, gfid: Gfid) -> SysResult<()> {
        let brick = Arc::clone(&self.brick);
        // Whoever adds or removes a path or its name holds it, but for objects in the making.
        let _object = brick.objects.lock(&[object_key(gfid)]);
        let path = HandlePath::new(gfid);
        let target = XattrTarget::At(brick.dot.fd(), path.as_c_str());
        let stat = brick.stat_handle(gfid)?;
        if brick.intents.is_busy(gfid) {
            return Ok(());
        }
        for key in self.path_keys(gfid)? {
            if is_stale(&brick, target, &key, &stat)? {
                brick.sys.removexattr(target, &key)?;
                self.summary.paths += 1;
                tracing::info!(%gfid, ?key, "removed a stale trusted.gfid2path");
            }
        }
        Ok(())
    }
}

/// Whether a path names nothing, or something else than the object of `stat`. One that leads through a directory which
/// cannot be found now (somebody may be moving it) is not.
fn is_stale(brick: &Brick, target: XattrTarget<'_>, key: &CStr, stat: &Stat) -> SysResult<bool> {
    let mut value = [0; super::object::PATH_VALUE];
    let len = match brick.sys.getxattr(target, key, &mut value) {
        Err(Errno::RANGE) => return Ok(true),
        len => len?,
    };
    let Some((parent, name)) = Gfid2Path::parse(&value[..len]) else { return Ok(true) };
    if Gfid2Path::new(parent, &name).key.as_c_str() != key {
        return Ok(true);
    }
    match brick.open_dir(parent) {
        Ok(dir) => match brick.sys.stat_at(dir.fd(), name.as_c_str()) {
            Ok(entry) => Ok((entry.dev, entry.ino) != (stat.dev, stat.ino)),
            Err(Errno::NOENT) => Ok(true),
            Err(errno) => Err(errno),
        },
        Err(_) => Ok(brick.stat_handle(parent) == Err(Errno::NOENT)),
    }
}

/// Whether a handle with one link is a directory's: those have no attributes, a user's symbolic link has its gfid.
fn is_dir_handle(brick: &Brick, gfid: Gfid, stat: &Stat) -> SysResult<bool> {
    if !stat.is_symlink() || stat.nlink > 1 {
        return Ok(false);
    }
    let path = HandlePath::new(gfid);
    match brick.gfid_of(XattrTarget::At(brick.dot.fd(), path.as_c_str())) {
        Err(Errno::NODATA) => Ok(true),
        Ok(_) | Err(Errno::IO) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// All names in a directory of `.glusterfs`.
fn each_name(brick: &Brick, path: &CStr, mut each: impl FnMut(&CStr)) -> SysResult<()> {
    let how = How::new(OpenFlags::DIRECTORY | OpenFlags::NOFOLLOW);
    let dir = File::new(Arc::clone(&brick.sys), brick.sys.openat2(brick.dot.fd(), path, how)?);
    let mut offset = 0;
    loop {
        let records = brick.sys.read_dir(dir.fd(), offset, LISTING)?;
        let Some(last) = records.last() else { return Ok(()) };
        offset = last.offset;
        records.iter().for_each(|record| each(&record.name));
    }
}

/// Another descriptor of the same directory: the position in a listing is the descriptor's.
fn own_descriptor(brick: &Brick, dir: &File) -> SysResult<Arc<File>> {
    let fd = brick.sys.openat2(dir.fd(), c".", How::new(OpenFlags::DIRECTORY))?;
    Ok(Arc::new(File::new(Arc::clone(&brick.sys), fd)))
}

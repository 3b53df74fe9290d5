//! Empties `landfill/`, where directories go that were removed with all that is in them.
//!
//! What is in there has handles like everything else; they go first, so that a crash leaves nothing but what is still in
//! `landfill/`. A file that is open is parked in `unlink/`, as for any other unlink. Work is done in steps, so that a tree
//! of millions of files never takes a helper thread for long.

use std::ffi::{CStr, CString};
use std::sync::Arc;
use std::time::Duration;

use kiln_uring::sys::{AtFlags, DirEntry, RenameFlags, Stat, XattrTarget};
use kiln_uring::{Class, Core, Errno, File, SysResult, Warmth};

use crate::storage::posix::gfid2path::Gfid2Path;
use crate::storage::posix::handle::{HandlePath, gfid_name};
use crate::storage::posix::{Brick, stripes};
use crate::types::{Gfid, Name};

/// Objects that one step removes.
const STEP: usize = 256;

/// Pause between steps.
const PAUSE: Duration = Duration::from_millis(5);

/// Directories deeper than this are first moved up into `landfill/` itself: each level has a descriptor open.
const MAX_DEPTH: usize = 64;

/// Bytes of kernel records that are read at once.
const LISTING: usize = 8 << 10;

/// Empties it again and again until the core shuts down.
pub async fn run(core: Core, brick: Arc<Brick>) {
    let mut complained = false;
    while super::wait(&core, || brick.settings().janitor_sleep).await {
        while !brick.settings().disable_landfill_purge {
            let at = Arc::clone(&brick);
            let step = core.run(Class::Background, Warmth::Cold, move |_| purge(&at, STEP)).await;
            if let (Some(errno), false) = (step.failed, complained) {
                tracing::warn!(brick = %brick.path.display(), %errno, "landfill cannot be emptied");
            }
            complained = step.failed.is_some();
            if !step.more {
                break;
            }
            if !super::sleep(&core, PAUSE).await {
                return;
            }
        }
    }
}

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// There is more to remove.
    pub more: bool,
    /// The first failure; what it hit is left where it is.
    pub failed: Option<Errno>,
}

/// Removes at most about `budget` objects.
pub fn purge(brick: &Arc<Brick>, budget: usize) -> Step {
    let mut purge = Purge { brick, left: budget, failed: None };
    let emptied = purge.empty(&brick.landfill_dir, None, 0);
    let more = match emptied {
        Ok(()) => false,
        Err(Stop::Budget) => true,
        Err(Stop::Failed(errno)) => {
            purge.failed.get_or_insert(errno);
            false
        }
    };
    Step { more, failed: purge.failed }
}

struct Purge<'a> {
    brick: &'a Arc<Brick>,
    left: usize,
    failed: Option<Errno>,
}

/// Why it does not go on here.
enum Stop {
    Budget,
    Failed(Errno),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Failed(errno)
    }
}

impl Purge<'_> {
    /// Removes everything in `dir`, whose gfid is `gfid`. What fails is passed over.
    fn empty(&mut self, dir: &File, gfid: Option<Gfid>, depth: usize) -> Result<(), Stop> {
        let mut offset = 0;
        loop {
            let records = self.brick.sys.read_dir(dir.fd(), offset, LISTING)?;
            let Some(last) = records.last() else { return Ok(()) };
            offset = last.offset;
            for DirEntry { name, .. } in &records {
                if matches!(name.to_bytes(), b"." | b"..") {
                    continue;
                }
                match self.remove(dir, gfid, name, depth) {
                    Ok(()) | Err(Stop::Failed(Errno::NOENT)) => {}
                    Err(Stop::Failed(errno)) => _ = self.failed.get_or_insert(errno),
                    Err(Stop::Budget) => return Err(Stop::Budget),
                }
            }
        }
    }

    fn remove(&mut self, dir: &File, parent: Option<Gfid>, name: &CStr, depth: usize) -> Result<(), Stop> {
        if self.left == 0 {
            return Err(Stop::Budget);
        }
        let sys = &self.brick.sys;
        let stat = sys.stat_at(dir.fd(), name)?;
        let gfid = self.brick.gfid_of(XattrTarget::At(dir.fd(), name)).ok();
        if !stat.is_dir() {
            self.left -= 1;
            return Ok(self.remove_leaf(dir, parent, name, gfid)?);
        }
        let own = Name::new(name.to_bytes())?;
        let handle = gfid.zip(parent);
        if depth >= MAX_DEPTH {
            self.left -= 1;
            // It is somebody else's child from then on.
            if let Some((gfid, parent)) = handle {
                self.brick.remove_dir_handle(gfid, parent, &own);
            }
            let fresh = self.fresh_name();
            return Ok(sys.rename_at(
                dir.fd(),
                name,
                self.brick.landfill_dir.fd(),
                &fresh,
                RenameFlags::NOREPLACE,
            )?);
        }
        let inside = self.brick.open_subdir(dir, &own)?;
        self.empty(&inside, gfid, depth + 1)?;
        self.left = self.left.saturating_sub(1);
        if let Some((gfid, parent)) = handle {
            self.brick.remove_dir_handle(gfid, parent, &own);
        }
        Ok(sys.unlink_at(dir.fd(), name, AtFlags::REMOVEDIR)?)
    }

    fn remove_leaf(
        &self,
        dir: &File,
        parent: Option<Gfid>,
        name: &CStr,
        gfid: Option<Gfid>,
    ) -> SysResult<()> {
        let sys = &self.brick.sys;
        let Some(gfid) = gfid else { return sys.unlink_at(dir.fd(), name, AtFlags::empty()) };
        let _held = self.brick.objects.lock(&[stripes::object_key(gfid)]);
        let stat = sys.stat_at(dir.fd(), name)?;
        if stat.nlink > 2 {
            // It has other names: only this one goes.
            if let (Some(parent), Ok(name)) = (parent, Name::new(name.to_bytes())) {
                let key = Gfid2Path::new(parent, &name).key;
                let _ = sys.removexattr(XattrTarget::At(dir.fd(), name.as_c_str()), &key);
            }
        } else if stat.nlink == 2 {
            self.remove_handle(gfid, &stat)?;
        }
        sys.unlink_at(dir.fd(), name, AtFlags::empty())
    }

    /// Removes the handle of what is about to lose its last name, or parks what is open.
    fn remove_handle(&self, gfid: Gfid, stat: &Stat) -> SysResult<()> {
        let Brick { sys, dot, unlink_dir, opens, .. } = &**self.brick;
        let handle = HandlePath::new(gfid);
        match self.brick.stat_handle(gfid) {
            Ok(found) if found.ino == stat.ino => {}
            // The other link is another name, or the handle is another object's.
            Ok(_) | Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(errno),
        }
        if opens.get(gfid).total > 0 {
            let parked = gfid_name(gfid);
            sys.rename_at(dot.fd(), handle.as_c_str(), unlink_dir.fd(), &parked, RenameFlags::empty())
        } else {
            self.brick.remove_handle(gfid)
        }
    }

    fn fresh_name(&self) -> CString {
        let mut bytes = [0; 16];
        self.brick.sys.random(&mut bytes);
        gfid_name(Gfid::from_random(bytes))
    }
}

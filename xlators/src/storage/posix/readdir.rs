//! opendir, readdir, readdirp.
//!
//! The kernel's positions are passed through: clients that join several bricks cut low bits off them and send them back, and
//! only the kernel's own survive that (they are ordered hashes). A listing ends with the entry that would not fit any more;
//! when the directory ends before that, the reply says so at once.

use std::ffi::CStr;
use std::sync::Arc;

use kiln_uring::sys::{DirEntry, How, OpenFlags, XattrTarget};
use kiln_uring::{Class, Errno, File, SysResult, Warmth};

use super::brick::DOT_GLUSTERFS;
use super::data::fd::{PosixFd, attach};
use super::lookup::stale_errno;
use super::stripes;
use super::xattr::fill::{self, Filled};
use super::{Brick, Posix};
use crate::call::Call;
use crate::error::FopResult;
use crate::fd::FdRef;
use crate::fop::{reply, request};
use crate::keys;
use crate::types::{Gfid, IaType, Iatt, Name, Xdata};

/// What an entry counts for, besides its name and a NUL: the size of GlusterFS 10's entry in memory. Clients size the
/// buffers for their replies by it.
const ENTRY: usize = 208;

/// Longest listings, in bytes of a request, that are made on the core: about 140 names, or 35 entries with attributes.
const QUICK_NAMES: usize = 32 << 10;
const QUICK_ENTRIES: usize = 8 << 10;

/// A kernel record takes about a sixth of what its entry counts for: 32 bytes with a name of ten.
const RECORDS_PER_BUDGET: usize = 6;

/// Most that is listed at once, whatever is asked for.
const LARGEST: usize = 4 << 20;

/// Told apart from the object's own key: its attributes may be in memory when its entries are not.
const LISTED: u64 = 0x6c69_7374_6564_2100;

/// One listing on its way.
struct Listing {
    gfid: Gfid,
    offset: u64,
    budget: usize,
    /// With attributes and answers per entry.
    plus: bool,
    without_directories: bool,
    pid: i32,
    xdata: Xdata,
}

impl Posix {
    pub(super) async fn serve_opendir(&self, _: &Call, req: request::Opendir) -> FopResult<reply::Done> {
        let gfid = self.gfid_of_loc(req.loc).await?;
        let dir = self.directory(gfid).await?;
        let fd = req.fd;
        let job = move |brick: &Arc<Brick>| -> SysResult<()> {
            // Its own position, and so an open of its own.
            let own = reopen(brick, &dir)?;
            attach(brick, &fd, own, gfid);
            Ok(())
        };
        let opened = self.run(Class::Open, Warmth::Warm, job).await.map_err(stale_errno);
        if opened == Err(Errno::STALE) {
            self.drop_directory(gfid);
        }
        opened?;
        Ok(reply::Done::default())
    }

    pub(super) async fn serve_readdir(&self, call: &Call, req: request::Readdir) -> FopResult<reply::Entries> {
        let listing = Listing {
            gfid: req.fd.gfid(),
            offset: req.offset,
            budget: (req.size as usize).min(LARGEST),
            plus: false,
            without_directories: false,
            pid: call.caller().pid,
            xdata: Xdata::NONE,
        };
        self.list(req.fd, listing).await
    }

    pub(super) async fn serve_readdirp(&self, call: &Call, req: request::Readdirp) -> FopResult<reply::Entries> {
        if req.xdata.contains(keys::ANCESTRY_DENTRY) {
            return self.list_ancestors(&req.fd).await;
        }
        let listing = Listing {
            gfid: req.fd.gfid(),
            offset: req.offset,
            budget: (req.size as usize).min(LARGEST),
            plus: true,
            without_directories: req.xdata.is_set(keys::FILTER_DIRECTORIES),
            pid: call.caller().pid,
            xdata: req.xdata,
        };
        self.list(req.fd, listing).await
    }

    async fn list(&self, fd: FdRef, listing: Listing) -> FopResult<reply::Entries> {
        let dir = self.fd_file(&fd).await?;
        let key = stripes::object_key(listing.gfid) ^ LISTED;
        let quick = if listing.plus { QUICK_ENTRIES } else { QUICK_NAMES };
        let known = self.warm.borrow().get(key);
        self.warm.borrow_mut().touch(key, self.core.now());
        let Some(state) = fd.storage::<PosixFd>() else {
            // The descriptor of an anonymous fop is everybody's.
            let job = move |brick: &Arc<Brick>| listing.run(brick, &*reopen(brick, &dir)?);
            return self.run(Class::ReadDir, Warmth::Cold, job).await;
        };
        if known == Warmth::Warm && listing.budget <= quick {
            if let Some(_alone) = state.try_listing() {
                return listing.run(&self.brick, &dir);
            }
        }
        let job = move |brick: &Arc<Brick>| {
            let _alone = fd.storage::<PosixFd>().map(PosixFd::listing);
            listing.run(brick, &dir)
        };
        self.run(Class::ReadDir, Warmth::Cold, job).await
    }

    async fn list_ancestors(&self, fd: &FdRef) -> FopResult<reply::Entries> {
        let gfid = fd.gfid();
        self.fd_file(fd).await?;
        let job = move |brick: &Arc<Brick>| ancestors(brick, gfid);
        Ok(self.run(Class::ReadDir, Warmth::Cold, job).await.map_err(stale_errno)?)
    }
}

/// The same directory with a position of its own.
fn reopen(brick: &Brick, dir: &File) -> SysResult<Arc<File>> {
    let fd = brick.sys.openat2(dir.fd(), c".", How::new(OpenFlags::DIRECTORY))?;
    Ok(Arc::new(File::new(Arc::clone(&brick.sys), fd)))
}

impl Listing {
    fn run(&self, brick: &Arc<Brick>, dir: &File) -> FopResult<reply::Entries> {
        let mut reply = reply::Entries::default();
        let mut room = self.budget;
        let mut offset = self.offset;
        loop {
            let records = brick.sys.read_dir(dir.fd(), offset, room / RECORDS_PER_BUDGET)?;
            let Some(last) = records.last() else {
                reply.eof = true;
                return Ok(reply);
            };
            offset = last.offset;
            for record in records {
                let takes = ENTRY + record.name.as_bytes_with_nul().len();
                let Some(entry) = self.entry(brick, dir, record, takes <= room) else { continue };
                if takes > room {
                    // Nothing at all fits: the client would come again for ever.
                    return if reply.entries.is_empty() { Err(Errno::INVAL.into()) } else { Ok(reply) };
                }
                room -= takes;
                reply.entries.push(entry);
            }
        }
    }

    /// The entry for the client; `None` when the client shall not see it. `fully` is false when it is only asked whether.
    fn entry(&self, brick: &Arc<Brick>, dir: &File, record: DirEntry, fully: bool) -> Option<reply::Entry> {
        let DirEntry { name, ino, offset, mut kind } = record;
        if self.gfid.is_root() && name.as_c_str() == DOT_GLUSTERFS {
            return None;
        }
        let known = IaType::from_dirent(kind) != IaType::Invalid;
        if !known && (!self.plus || self.without_directories) {
            let stat = brick.sys.stat_at(dir.fd(), &name);
            kind = stat.map_or(kind, |stat| IaType::from_mode(stat.mode).to_dirent());
        }
        if self.without_directories && IaType::from_dirent(kind) == IaType::Directory {
            return None;
        }
        let mut entry = reply::Entry { name, ino, offset, kind, iatt: Iatt::default(), xdata: Xdata::NONE };
        if self.plus && fully {
            // One that vanished meanwhile, or has no gfid, goes without: the client looks it up.
            let _ = self.fill(brick, dir, &mut entry);
        }
        Some(entry)
    }

    fn fill(&self, brick: &Arc<Brick>, dir: &File, entry: &mut reply::Entry) -> SysResult<()> {
        if self.gfid.is_root() && entry.name.as_c_str() == c".." {
            // What is above the brick is nobody's business.
            entry.ino = Gfid::NULL.ino();
            entry.iatt = Iatt { gfid: Gfid::NULL, ..brick.attrs_of_fd(Gfid::ROOT, dir)?.iatt };
            return Ok(());
        }
        let here = XattrTarget::At(dir.fd(), &entry.name);
        let stat = brick.sys.stat_at(dir.fd(), &entry.name)?;
        let gfid = brick.gfid_of(here)?;
        let attrs = brick.attrs(gfid, stat, here)?;
        let name = Name::new(entry.name.as_bytes()).ok();
        let parent = name.as_ref().map(|name| (self.gfid, name));
        let filled = Filled { gfid, attrs: &attrs, target: here, pid: self.pid, parent };
        entry.xdata = fill::answer(brick, &filled, &self.xdata);
        entry.iatt = attrs.iatt;
        entry.ino = attrs.iatt.ino();
        entry.kind = attrs.iatt.kind.to_dirent();
        Ok(())
    }
}

/// The directories from the root down to `gfid`, the root under the name `/`.
fn ancestors(brick: &Arc<Brick>, gfid: Gfid) -> SysResult<reply::Entries> {
    const ROOT_NAME: &CStr = c"/";
    let mut entries = Vec::new();
    let mut at = gfid;
    loop {
        let dir = brick.open_dir(at)?;
        let iatt = brick.attrs_of_fd(at, &dir)?.iatt;
        let place = if at.is_root() { None } else { Some(brick.parent_of_dir(at)?) };
        let name = place.as_ref().map_or(ROOT_NAME, |(_, name)| name.as_c_str()).to_owned();
        let kind = iatt.kind.to_dirent();
        entries.push(reply::Entry { name, ino: iatt.ino(), offset: 0, kind, iatt, xdata: Xdata::NONE });
        match place {
            Some((parent, _)) if entries.len() < super::brick::MAX_DEPTH => at = parent,
            Some(_) => return Err(Errno::LOOP),
            None => break,
        }
    }
    entries.reverse();
    Ok(reply::Entries { entries, eof: true, xdata: Xdata::NONE })
}

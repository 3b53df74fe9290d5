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
    /// Warm when it runs on the core.
    warmth: Warmth,
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

    pub(super) async fn serve_readdir(&self, _: &Call, req: request::Readdir) -> FopResult<reply::Entries> {
        let listing = Listing {
            gfid: req.fd.gfid(),
            offset: req.offset,
            budget: (req.size as usize).min(LARGEST),
            plus: false,
            without_directories: false,
            warmth: Warmth::Cold,
            xdata: Xdata::NONE,
        };
        self.list(req.fd, listing).await
    }

    pub(super) async fn serve_readdirp(&self, _: &Call, req: request::Readdirp) -> FopResult<reply::Entries> {
        if req.xdata.contains(keys::ANCESTRY_DENTRY) {
            return self.list_ancestors(&req.fd).await;
        }
        let listing = Listing {
            gfid: req.fd.gfid(),
            offset: req.offset,
            budget: (req.size as usize).min(LARGEST),
            plus: true,
            without_directories: req.xdata.is_set(keys::FILTER_DIRECTORIES),
            warmth: Warmth::Cold,
            xdata: req.xdata,
        };
        self.list(req.fd, listing).await
    }

    async fn list(&self, fd: FdRef, listing: Listing) -> FopResult<reply::Entries> {
        let dir = self.fd_file(&fd).await?;
        let key = stripes::object_key(listing.gfid) ^ LISTED;
        let quick = if listing.plus { QUICK_ENTRIES } else { QUICK_NAMES };
        let known = self.warm.borrow().of(key);
        self.warm.borrow_mut().touch(key, || self.core.now());
        let Some(state) = fd.storage::<PosixFd>() else {
            // The descriptor of an anonymous fop is everybody's.
            let job = move |brick: &Arc<Brick>| listing.run(brick, &*reopen(brick, &dir)?);
            return self.run(Class::ReadDir, Warmth::Cold, job).await;
        };
        if known == Warmth::Warm
            && listing.budget <= quick
            && let Some(_alone) = state.try_listing()
        {
            return Listing { warmth: Warmth::Warm, ..listing }.run(&self.brick, &dir);
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
pub(super) fn reopen(brick: &Brick, dir: &File) -> SysResult<Arc<File>> {
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
        let watch = brick.entries.watch(stripes::entry_key(self.gfid, entry.name.as_bytes()));
        let stat = brick.sys.stat_at(dir.fd(), &entry.name)?;
        // `.` and `..` have other names elsewhere, which are not watched.
        let (gfid, attrs) = if matches!(entry.name.as_bytes(), b"." | b"..") {
            let gfid = brick.gfid_of(here)?;
            (gfid, brick.attrs(gfid, stat, here)?)
        } else {
            let gfid = brick.gfid_of_entry(here, &stat, &watch)?;
            (gfid, brick.attrs_of_entry(gfid, stat, here, &watch)?)
        };
        let name = Name::new(entry.name.as_bytes()).ok();
        let parent = name.as_ref().map(|name| (self.gfid, name));
        let filled = Filled { gfid, attrs: &attrs, target: here, warmth: self.warmth, parent };
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::fd::Fd;
    use crate::storage::posix::data::tests::{plant, real_kit};
    use crate::storage::posix::testkit::{Client, Kit, gfid, gfid_n, xdata};
    use crate::types::{Loc, Value};
    use kiln_uring::AtFlags;

    async fn opened(client: &Client, gfid: Gfid) -> FdRef {
        let fd = Fd::directory(gfid, 1);
        let request = request::Opendir { loc: Loc::object(gfid), fd: Arc::clone(&fd), xdata: Xdata::NONE };
        client.opendir(request).await.unwrap();
        fd
    }

    async fn page(client: &Client, fd: &FdRef, size: u32, offset: u64) -> FopResult<reply::Entries> {
        client.readdir(request::Readdir { fd: Arc::clone(fd), size, offset, xdata: Xdata::NONE }).await
    }

    fn text(entry: &reply::Entry) -> String {
        entry.name.to_str().unwrap().to_owned()
    }

    /// Lists page by page and removes some names between the pages.
    fn list_while_deleting(kit: &Kit, count: u64) {
        let brick = kit.brick();
        for n in 0..count {
            plant(&brick, &format!("name-{n}"), gfid_n(1 + n));
        }
        kit.run(async |client| {
            let fd = opened(&client, Gfid::ROOT).await;
            let mut seen = Vec::new();
            let (mut offset, mut step, mut removed) = (0, 0, BTreeSet::new());
            loop {
                let size = [700, 2000, 9000, 40_000][step % 4];
                let reply = page(&client, &fd, size, offset).await.unwrap();
                let counted: usize =
                    reply.entries.iter().map(|entry| 209 + entry.name.as_bytes().len()).sum();
                assert!(counted <= size as usize);
                seen.extend(reply.entries.iter().map(text));
                if reply.eof {
                    break;
                }
                offset = reply.entries.last().unwrap().offset;
                for n in [step as u64, count - 1 - step as u64] {
                    let name = format!("name-{n}");
                    if removed.insert(name.clone()) {
                        let name = std::ffi::CString::new(name).unwrap();
                        brick.sys.unlink_at(brick.root.fd(), &name, AtFlags::empty()).unwrap();
                    }
                }
                step += 1;
            }
            let unique: BTreeSet<_> = seen.iter().cloned().collect();
            assert_eq!(unique.len(), seen.len(), "nothing twice");
            assert!(!unique.contains(".glusterfs") && unique.contains(".") && unique.contains(".."));
            for n in 0..count {
                let name = format!("name-{n}");
                assert!(unique.contains(&name) || removed.contains(&name), "{name} was never listed");
            }
            let again = page(&client, &fd, 1 << 20, 0).await.unwrap();
            assert!(again.eof);
            assert_eq!(again.entries.len(), count as usize - removed.len() + 2);
        });
    }

    #[test]
    fn pages_survive_deletions() {
        list_while_deleting(&Kit::new(1), 300);
    }

    #[test]
    fn pages_survive_deletions_on_the_real_kernel() {
        let Some((kit, _dir)) = real_kit(2, &[]) else { return };
        list_while_deleting(&kit, 2000);
    }

    #[test]
    fn the_end_comes_with_the_last_entries_and_a_full_page_does_not_claim_it() {
        let kit = Kit::new(3);
        plant(&kit.brick(), "abc", gfid(1));
        kit.run(async |client| {
            let fd = opened(&client, Gfid::ROOT).await;
            let whole = 3 * 209 + 1 + 2 + 3;
            let reply = page(&client, &fd, whole, 0).await.unwrap();
            assert_eq!((reply.entries.len(), reply.eof), (3, true));
            let end = reply.entries[2].offset;
            let reply = page(&client, &fd, whole - 1, 0).await.unwrap();
            assert_eq!((reply.entries.len(), reply.eof), (2, false));
            let reply = page(&client, &fd, 4096, end).await.unwrap();
            assert_eq!((reply.entries.len(), reply.eof), (0, true));
            assert_eq!(page(&client, &fd, 100, 0).await.unwrap_err().errno, Errno::INVAL);
        });
    }

    #[test]
    fn entries_come_with_attributes() {
        let kit = Kit::new(4);
        let brick = kit.brick();
        plant(&brick, "f", gfid(1));
        brick.sys.mkdir_at(brick.root.fd(), c"headless", 0o755).unwrap();
        kit.run(async |client| {
            let fd = opened(&client, Gfid::ROOT).await;
            let plus = |fd: FdRef, xdata| {
                let client = client.clone();
                async move {
                    client.readdirp(request::Readdirp { fd, size: 8000, offset: 0, xdata }).await.unwrap()
                }
            };
            for _ in 0..2 {
                let reply = plus(Arc::clone(&fd), Xdata::NONE).await;
                let find = |name: &str| reply.entries.iter().find(|entry| text(entry) == name).unwrap();
                let stat = client
                    .stat(request::Stat { loc: Loc::object(gfid(1)), xdata: Xdata::NONE })
                    .await
                    .unwrap();
                assert_eq!(find("f").iatt, stat.iatt);
                assert_eq!(find("f").ino, gfid(1).ino());
                assert_eq!(find(".").iatt.gfid, Gfid::ROOT);
                assert_eq!((find("..").iatt.gfid, find("..").ino), (Gfid::NULL, u64::MAX));
                assert_eq!(find("headless").iatt, Iatt::default());
                assert_eq!(find("headless").kind, IaType::Directory.to_dirent());
                assert!(reply.eof);
            }
            let filtered = plus(Arc::clone(&fd), xdata([(keys::FILTER_DIRECTORIES, Value::Int(1))])).await;
            assert_eq!(filtered.entries.iter().map(text).collect::<Vec<_>>(), ["f"]);
            let anonymous = Fd::anonymous(Gfid::ROOT, 0, 1);
            assert_eq!(plus(anonymous, Xdata::NONE).await.entries.len(), 4);
            let chain = plus(fd, xdata([(keys::ANCESTRY_DENTRY, Value::Int(1))])).await;
            assert_eq!(chain.entries.iter().map(text).collect::<Vec<_>>(), ["/"]);
        });
    }

    #[test]
    fn two_listings_of_one_descriptor_do_not_disturb_each_other() {
        let kit = Kit::new(5);
        for n in 0..100 {
            plant(&kit.brick(), &format!("name-{n}"), gfid_n(1 + n));
        }
        kit.run(async |client| {
            let fd = opened(&client, Gfid::ROOT).await;
            let mut lists = Vec::new();
            for size in [600, 1200, 30_000, 100_000] {
                let (client, fd) = (client.clone(), Arc::clone(&fd));
                lists.push(client.core().clone().spawn_join(async move {
                    let (mut names, mut offset) = (Vec::new(), 0);
                    loop {
                        let reply = page(&client, &fd, size, offset).await.unwrap();
                        names.extend(reply.entries.iter().map(text));
                        if reply.eof {
                            return names;
                        }
                        offset = reply.entries.last().unwrap().offset;
                    }
                }));
            }
            for list in lists {
                assert_eq!(list.await.len(), 102);
            }
        });
    }
}

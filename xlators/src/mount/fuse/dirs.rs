//! Listing directories.
//!
//! Entries are always asked for with their attributes (`readdirp`), even when the kernel wants names only: the inode number
//! of a bare `readdir` is the brick's own and not the one that `stat` tells. They are asked for in batches of about the
//! room that the kernel's buffer has, which `fuser` keeps to itself and this module learns from where the buffers got full;
//! what does not fit is dropped and not kept for the next request, because attributes that are served late could undo a
//! newer size in the kernel.

use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use fuser::{FileAttr, FileType, Generation, INodeNo, ReplyDirectory, ReplyDirectoryPlus};
use kiln_uring::Errno;

use super::attr::{file_type, unknown_attr};
use super::door::Door;
use super::error::to_fuse;
use super::{forgets, names};
use crate::error::FopResult;
use crate::fd::FdRef;
use crate::fop::reply::{Entries, Entry};
use crate::fop::{Fop, request};
use crate::inode_table::ROOT_NODE;
use crate::types::{Gfid, IaType, Iatt, Loc, Name, Xdata};

/// What an entry costs in the size of a readdir fop, besides its name (the stock brick's directory record).
const FOP_ENTRY: usize = 208;
/// What an entry takes in the kernel's buffer, besides its name: `struct fuse_dirent`.
const WIRE_ENTRY: usize = 24;
/// The same with attributes: `struct fuse_direntplus`.
const WIRE_ENTRY_PLUS: usize = 152;
/// A guess at the length of names.
const NAME: usize = 24;
/// Fewest and most entries of a batch.
const FEWEST: usize = 8;
const MOST: usize = 4096;

/// How much the kernel's buffers held lately, in bytes.
#[derive(Debug)]
pub(super) struct Room(AtomicUsize);

impl Default for Room {
    fn default() -> Self {
        // A page, as older kernels have it.
        Self(AtomicUsize::new(4096))
    }
}

impl Room {
    /// The size of the next fop when `used` bytes are filled and an entry takes `entry` bytes besides its name.
    fn next_batch(&self, used: usize, entry: usize) -> u32 {
        let left = self.0.load(Ordering::Relaxed).saturating_sub(used);
        let entries = (left / (entry + NAME)).clamp(FEWEST, MOST);
        (entries * (FOP_ENTRY + NAME + 1)) as u32
    }

    /// A buffer was full with so many bytes.
    fn full_at(&self, used: usize) {
        self.0.store(used, Ordering::Relaxed);
    }
}

/// Where entries go.
#[derive(Debug)]
pub(super) enum Listing {
    Names(ReplyDirectory),
    WithAttributes(ReplyDirectoryPlus),
}

/// Whether there is space for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Space {
    Left,
    Full,
}

/// What a listing says of an entry.
#[derive(Debug)]
enum Shown {
    /// The directory itself or its parent, by inode number: the kernel neither keeps nor counts it.
    Dots(u64),
    /// With what the kernel learns of it.
    Known(Iatt),
    /// By name only.
    Bare,
    /// Not at all: it has vanished.
    Gone,
}

/// Answers one request for entries after `offset`.
pub(super) async fn list(door: &Door, fd: FdRef, offset: u64, mut listing: Listing) {
    let result = fill(door, &fd, offset, &mut listing).await;
    match (result, listing) {
        (Ok(()), Listing::Names(reply)) => reply.ok(),
        (Ok(()), Listing::WithAttributes(reply)) => reply.ok(),
        (Err(error), Listing::Names(reply)) => reply.error(to_fuse(error.errno)),
        (Err(error), Listing::WithAttributes(reply)) => reply.error(to_fuse(error.errno)),
    }
}

async fn fill(door: &Door, fd: &FdRef, offset: u64, listing: &mut Listing) -> FopResult<()> {
    let room = &door.front().room;
    let fixed = match listing {
        Listing::Names(_) => WIRE_ENTRY,
        Listing::WithAttributes(_) => WIRE_ENTRY_PLUS,
    };
    let (mut at, mut used) = (offset, 0);
    loop {
        let Entries { entries, eof, .. } = match fetch(door, fd, at, room.next_batch(used, fixed)).await {
            // What is there already is told first; the kernel comes back for the rest, and for the error.
            Err(_) if used > 0 => return Ok(()),
            result => result?,
        };
        if entries.is_empty() {
            return Ok(());
        }
        for entry in &entries {
            let shown = look(door, fd, entry).await;
            if add(door, listing, entry, &shown) == Space::Full {
                room.full_at(used);
                return Ok(());
            }
            if !matches!(shown, Shown::Gone) {
                used += (fixed + entry.name.as_bytes().len()).next_multiple_of(8);
            }
            at = entry.offset;
        }
        if eof {
            return Ok(());
        }
    }
}

async fn fetch(door: &Door, fd: &FdRef, offset: u64, size: u32) -> FopResult<Entries> {
    let call = door.begin(Fop::Readdirp, fd.gfid());
    door.top()
        .readdirp(&call, request::Readdirp { fd: FdRef::clone(fd), size, offset, xdata: Xdata::NONE })
        .await
}

fn dots(fd: &FdRef, entry: &Entry) -> Option<u64> {
    match entry.name.as_c_str() {
        name if name == c"." => Some(fd.gfid().ino()),
        // Nothing is above the volume.
        name if name == c".." && fd.gfid().is_root() => Some(ROOT_NODE),
        name if name == c".." => Some(match entry.iatt.gfid {
            Gfid::NULL => entry.ino.max(1),
            gfid => gfid.ino(),
        }),
        _ => None,
    }
}

fn is_known(iatt: &Iatt) -> bool {
    iatt.kind != IaType::Invalid && !iatt.gfid.is_null()
}

async fn look(door: &Door, fd: &FdRef, entry: &Entry) -> Shown {
    if let Some(ino) = dots(fd, entry) {
        return Shown::Dots(ino);
    }
    if is_known(&entry.iatt) {
        return Shown::Known(entry.iatt);
    }
    // It has vanished since, or something is wrong with it: then it is shown, and whoever asks for more hears what.
    let Ok(name) = Name::new(entry.name.as_bytes()) else { return Shown::Gone };
    match names::lookup(door, Loc::entry(fd.gfid(), name)).await {
        Ok(iatt) => Shown::Known(iatt),
        Err(error) if error.errno == Errno::NOENT => Shown::Gone,
        Err(_) => Shown::Bare,
    }
}

/// The kind of an entry without attributes.
fn bare_kind(entry: &Entry) -> FileType {
    file_type(IaType::from_dirent(entry.kind)).unwrap_or(FileType::RegularFile)
}

fn add(door: &Door, listing: &mut Listing, entry: &Entry, shown: &Shown) -> Space {
    let full = match listing {
        Listing::Names(reply) => {
            let (ino, kind) = match shown {
                Shown::Gone => return Space::Left,
                Shown::Dots(ino) => (*ino, FileType::Directory),
                Shown::Known(iatt) => (iatt.ino(), file_type(iatt.kind).unwrap_or_else(|| bare_kind(entry))),
                Shown::Bare => (unknown_attr(FileType::RegularFile).ino.0, bare_kind(entry)),
            };
            reply.add(INodeNo(ino), entry.offset, kind, os_name(&entry.name))
        }
        Listing::WithAttributes(reply) => {
            let bare = |ino: Option<u64>, kind| {
                let attr = unknown_attr(kind);
                (FileAttr { ino: ino.map_or(attr.ino, INodeNo), ..attr }, 0, false)
            };
            let (attr, generation, counted) = match shown {
                Shown::Gone => return Space::Left,
                Shown::Dots(ino) => bare(Some(*ino), FileType::Directory),
                Shown::Bare => bare(None, bare_kind(entry)),
                Shown::Known(iatt) => match door.front().tell(iatt) {
                    Ok((attr, generation)) => (attr, generation, true),
                    Err(_) => bare(None, bare_kind(entry)),
                },
            };
            let keep = door.front().both_timeout();
            let full =
                reply.add(attr.ino, entry.offset, os_name(&entry.name), &keep, &attr, Generation(generation));
            if full && counted {
                // The kernel does not hear of it this time.
                forgets::forget(door.front(), attr.ino.0, 1);
            }
            full
        }
    };
    if full { Space::Full } else { Space::Left }
}

fn os_name(name: &CStr) -> &OsStr {
    OsStr::from_bytes(name.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fd::Fd;

    #[test]
    fn batches_follow_the_kernels_buffer() {
        let room = Room::default();
        let entries = |room: &Room, used, wire| room.next_batch(used, wire) as usize / (FOP_ENTRY + NAME + 1);
        assert_eq!(entries(&room, 0, WIRE_ENTRY_PLUS), 4096 / 176);
        room.full_at(32_700);
        assert_eq!(entries(&room, 0, WIRE_ENTRY_PLUS), 32_700 / 176);
        assert_eq!(entries(&room, 32_700, WIRE_ENTRY_PLUS), FEWEST);
        assert_eq!(entries(&room, usize::MAX, WIRE_ENTRY), FEWEST);
        room.full_at(usize::MAX);
        assert_eq!(entries(&room, 0, WIRE_ENTRY), MOST);
    }

    #[test]
    fn the_root_is_its_own_parent() {
        let entry = |name: &CStr, gfid| Entry {
            name: name.into(),
            ino: 77,
            offset: 1,
            kind: 4,
            iatt: Iatt { gfid, kind: IaType::Directory, ..Iatt::default() },
            xdata: Xdata::NONE,
        };
        let (root, below) = (Fd::directory(Gfid::ROOT, 1), Fd::directory(Gfid::from_bytes([2; 16]), 1));
        assert_eq!(dots(&root, &entry(c"..", Gfid::from_bytes([9; 16]))), Some(ROOT_NODE));
        assert_eq!(dots(&below, &entry(c"..", Gfid::ROOT)), Some(ROOT_NODE));
        assert_eq!(dots(&below, &entry(c"..", Gfid::NULL)), Some(77));
        assert_eq!(dots(&below, &entry(c".", Gfid::NULL)), Some(below.gfid().ino()));
        assert_eq!(dots(&below, &entry(c"...", Gfid::ROOT)), None);
    }
}

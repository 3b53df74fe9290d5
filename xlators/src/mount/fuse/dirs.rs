//! Listing directories.
//!
//! Entries are always asked for with their attributes (`readdirp`), even when the kernel wants names only: the inode number
//! of a bare `readdir` is the brick's own and not the one that `stat` tells. They are asked for in batches of about what
//! the kernel's buffer holds; what does not fit is dropped and not kept for the next request, because attributes that are
//! served late could undo a newer size in the kernel.

use std::time::Duration;

use kiln_uring::Errno;

use super::attr::unknown_attr;
use super::door::Door;
use super::interrupts::interruptible;
use super::names;
use super::wire::{EntryOut, Listing, Reply, Space};
use crate::error::FopResult;
use crate::fd::FdRef;
use crate::fop::reply::{Entries, Entry};
use crate::fop::{Fop, request};
use crate::inode_table::ROOT_NODE;
use crate::types::{Gfid, IaType, Iatt, Loc, Name, Xdata};

/// What an entry costs in the size of a readdir fop, besides its name (the stock brick's directory record).
const FOP_ENTRY: usize = 208;
/// A guess at the length of names.
const NAME: usize = 24;
/// Fewest and most entries of a batch.
const FEWEST: usize = 8;
const MOST: usize = 4096;

/// The size of the next fop.
fn next_batch(listing: &Listing) -> u32 {
    let entries = (listing.left() / (listing.entry_len() + NAME)).clamp(FEWEST, MOST);
    (entries * (FOP_ENTRY + NAME + 1)) as u32
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
pub(super) async fn list(door: &Door, fd: FdRef, offset: u64, mut listing: Listing) -> FopResult<Reply> {
    fill(door, &fd, offset, &mut listing).await?;
    Ok(Reply::Bytes(listing.into_bytes()))
}

async fn fill(door: &Door, fd: &FdRef, offset: u64, listing: &mut Listing) -> FopResult<()> {
    let mut at = offset;
    loop {
        let Entries { entries, eof, .. } = match fetch(door, fd, at, next_batch(listing)).await {
            // What is there already is told first; the kernel comes back for the rest, and for the error.
            Err(_) if !listing.is_empty() => return Ok(()),
            result => result?,
        };
        if entries.is_empty() {
            return Ok(());
        }
        for entry in &entries {
            if listing.space_for(entry.name.as_bytes()) == Space::Full {
                return Ok(());
            }
            let shown = look(door, fd, entry).await;
            add(door, listing, entry, &shown);
            at = entry.offset;
        }
        if eof {
            return Ok(());
        }
    }
}

async fn fetch(door: &Door, fd: &FdRef, offset: u64, size: u32) -> FopResult<Entries> {
    let call = door.begin(Fop::Readdirp, fd.gfid());
    let req = request::Readdirp { fd: FdRef::clone(fd), size, offset, xdata: Xdata::NONE };
    // Not the listing as a whole: entries that have been added are counted, and the kernel has to hear of them.
    interruptible(door, door.top().readdirp(&call, req)).await
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
fn bare_kind(entry: &Entry) -> IaType {
    match IaType::from_dirent(entry.kind) {
        IaType::Invalid => IaType::Regular,
        kind => kind,
    }
}

/// An entry that the kernel does not count.
fn uncounted(ino: Option<u64>, kind: IaType) -> EntryOut {
    let mut attr = unknown_attr(kind);
    attr.ino = ino.unwrap_or(attr.ino);
    EntryOut { node: 0, generation: 0, keep_name: Duration::ZERO, keep_attr: Duration::ZERO, attr }
}

fn add(door: &Door, listing: &mut Listing, entry: &Entry, shown: &Shown) {
    let (out, kind) = match shown {
        Shown::Gone => return,
        Shown::Dots(ino) => (uncounted(Some(*ino), IaType::Directory), IaType::Directory),
        Shown::Bare => (uncounted(None, bare_kind(entry)), bare_kind(entry)),
        Shown::Known(iatt) if listing.is_plus() => match door.front().tell(iatt) {
            Ok(out) => (out, iatt.kind),
            Err(_) => (uncounted(None, bare_kind(entry)), bare_kind(entry)),
        },
        Shown::Known(iatt) => (uncounted(Some(iatt.ino()), iatt.kind), iatt.kind),
    };
    listing.add(entry.name.as_bytes(), entry.offset, kind.to_dirent().into(), &out);
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    use super::*;
    use crate::fd::Fd;

    #[test]
    fn batches_follow_the_kernels_buffer() {
        let entries = |limit, plus| next_batch(&Listing::new(limit, plus)) as usize / (FOP_ENTRY + NAME + 1);
        assert_eq!(entries(4096, true), 4096 / 176);
        assert_eq!(entries(32_768, true), 32_768 / 176);
        assert_eq!(entries(0, true), FEWEST);
        assert_eq!(entries(u32::MAX, false), MOST);
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

//! What jobs are about to do to names, written down where the end of this process does not reach.
//!
//! An entry operation is several system calls, and a process can be killed between any two of them. The orders are such that
//! what is left is never worse than a name too few or an object without a name, but somebody has to find and mend that, and
//! a scan of a brick with millions of files takes minutes. So every job that changes names fills a *slot* before its first
//! step and empties it after its last: which operation, on which objects, under which names. The slots are words of a
//! mapped file, `.glusterfs/kiln-intents`; filling one costs no system call. At the next start
//! [`super::entry::recovery`] looks at the objects and names of the slots that are not empty, and at nothing else.
//!
//! The page cache outlives the process, not the machine: after a power loss the slots are worth nothing. The file's header
//! tells the machine's boot; when it is another, the whole brick is scrubbed in the background
//! ([`super::check::scrub`]). The file is removed at an orderly stop.
//!
//! Where blocks of a mapped file may be allocated anew when they are written (btrfs, bcachefs, ZFS), a full file system would kill
//! the process; there the slots are in memory only, and an end without a stop leads to a scrub.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use kiln_uring::sys::{How, OpenFlags, SharedWords};
use kiln_uring::{AtFlags, Errno, File, Sys, SysResult};

use crate::types::{Gfid, Name};

/// The file's name in `.glusterfs`.
pub const FILE: &std::ffi::CStr = c"kiln-intents";

/// Words of a slot: the word of the operation, four gfids, two names of 255 bytes.
const SLOT: usize = 80;
/// Slots; a job that finds none free waits for one.
const SLOTS: usize = 511;
/// The header takes the place of one more.
const WORDS: usize = (SLOTS + 1) * SLOT;
/// First word of the header.
const MAGIC: u64 = u64::from_le_bytes(*b"KILNINT1");
/// Value of the second word when an earlier process has left a scrub unfinished.
const SCRUB_PENDING: u64 = 1;

/// File systems (`statfs`) that may allocate when a mapped page is written: btrfs, bcachefs, ZFS.
const COPY_ON_WRITE: [u64; 3] = [0x9123_683e, 0xca45_1a4e, 0x2fc1_2fc1];

/// What a job does. The numbers are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Operation {
    /// A new object other than a directory.
    Make = 1,
    /// A new directory.
    Mkdir = 2,
    /// One more name.
    Link = 3,
    /// One name less.
    Unlink = 4,
    /// A directory less.
    Rmdir = 5,
    /// A name moves, or two change places.
    Rename = 6,
    /// An object gets a missing gfid or handle.
    Heal = 7,
}

impl Operation {
    const ALL: [Self; 7] =
        [Self::Make, Self::Mkdir, Self::Link, Self::Unlink, Self::Rmdir, Self::Rename, Self::Heal];
}

/// What is in a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// What.
    pub operation: Operation,
    /// On which objects; null where there is none.
    pub gfids: [Gfid; 2],
    /// Under which names.
    pub names: [Option<(Gfid, Name)>; 2],
}

/// What the file told about the process before this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It stopped in good order, or there was none.
    Clean,
    /// It ended in the middle of this.
    Unfinished(Vec<Intent>),
    /// The machine lost power, or the file is damaged: anything may be unfinished.
    Unknown,
}

/// The slots.
#[derive(Debug)]
pub struct Intents {
    words: Arc<SharedWords>,
    /// One bit per slot that is in use.
    used: [AtomicU64; SLOTS.div_ceil(64)],
    /// Where the next search begins.
    next: AtomicUsize,
}

/// A filled slot; dropping it empties it.
#[derive(Debug)]
#[must_use = "the intent ends when this is dropped"]
pub struct Filled<'a> {
    intents: &'a Intents,
    slot: usize,
}

impl Intents {
    /// Opens the slots of a brick by its `.glusterfs`, and reads what is in them. What was found stays in the file until
    /// [`Intents::begin_anew`].
    ///
    /// # Errors
    /// Those of opening, filling and mapping the file.
    pub fn open(sys: &Arc<dyn Sys>, dot: &File) -> SysResult<(Self, Found)> {
        let (opened, is_new) = open_file(sys, dot);
        let file = match opened {
            Err(errno) if is_full(errno) => return Ok((Self::unrecorded(errno), Found::Clean)),
            file => file?,
        };
        let unknown = if is_new { Found::Clean } else { Found::Unknown };
        if COPY_ON_WRITE.contains(&sys.statfs(file.fd())?.kind) {
            return Ok((Self::in_memory(), unknown));
        }
        if sys.stat(file.fd())?.size < (WORDS * 8) as u64 {
            match fill(sys, &file, WORDS * 8) {
                // A full brick must start, or nobody could make room on it. The file, however short, tells of it.
                Err(errno) if is_full(errno) => return Ok((Self::unrecorded(errno), unknown)),
                filled => filled?,
            }
            // Without its name a power loss would leave nothing that tells of it.
            sys.fsync(file.fd(), false)?;
            sys.fsync(dot.fd(), false)?;
        }
        let this = Self::around(sys.map_shared(file.fd(), WORDS)?);
        let found = if is_new { Found::Clean } else { this.read(boot_id(sys)) };
        Ok((this, found))
    }

    fn unrecorded(errno: Errno) -> Self {
        tracing::warn!(%errno, "no room for the record of operations: after a crash the whole brick will be looked through");
        Self::in_memory()
    }

    /// Slots that do not outlive this process.
    fn in_memory() -> Self {
        Self::around(Arc::new(SharedWords::simulated(WORDS)))
    }

    fn around(words: Arc<SharedWords>) -> Self {
        Self { words, used: Default::default(), next: AtomicUsize::new(0) }
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        // Every caller stays within `WORDS`, which is how much is mapped.
        &self.words.words()[at]
    }

    fn read(&self, boot: [u64; 2]) -> Found {
        let header: [u64; 4] = std::array::from_fn(|at| self.word(at).load(Ordering::Acquire));
        if header[0] != MAGIC || header[1] == SCRUB_PENDING || header[2..] != boot {
            return Found::Unknown;
        }
        let filled = (0..SLOTS).filter(|slot| self.word(first_word(*slot)).load(Ordering::Acquire) != 0);
        let mut intents = Vec::new();
        for slot in filled {
            match self.decode(slot) {
                Some(intent) => intents.push(intent),
                None => return Found::Unknown,
            }
        }
        Found::Unfinished(intents)
    }

    /// Reads the slots of a brick that nobody serves, without changing anything; `None` without the file.
    ///
    /// # Errors
    /// Those of opening and mapping the file.
    pub fn peek(sys: &Arc<dyn Sys>, dot: &File) -> SysResult<Option<Found>> {
        let fd = match sys.openat2(dot.fd(), FILE, How::new(OpenFlags::RDWR | OpenFlags::NOFOLLOW)) {
            Err(Errno::NOENT) => return Ok(None),
            fd => fd?,
        };
        let file = File::new(Arc::clone(sys), fd);
        if sys.stat(file.fd())?.size < (WORDS * 8) as u64 {
            return Ok(Some(Found::Unknown));
        }
        let this = Self::around(sys.map_shared(file.fd(), WORDS)?);
        Ok(Some(this.read(boot_id(sys))))
    }

    /// Empties all slots, for this boot of the machine. `scrub` tells that the brick is not known to be whole until
    /// [`Intents::scrubbed`].
    pub fn begin_anew(&self, sys: &Arc<dyn Sys>, scrub: bool) {
        for slot in 0..SLOTS {
            self.word(first_word(slot)).store(0, Ordering::Release);
        }
        let boot = boot_id(sys);
        self.word(2).store(boot[0], Ordering::Relaxed);
        self.word(3).store(boot[1], Ordering::Relaxed);
        self.word(1).store(if scrub { SCRUB_PENDING } else { 0 }, Ordering::Relaxed);
        self.word(0).store(MAGIC, Ordering::Release);
    }

    /// The scrub has come to its end.
    pub fn scrubbed(&self) {
        self.word(1).store(0, Ordering::Release);
    }

    /// Whether the brick is known to be whole, apart from what the slots tell.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.word(1).load(Ordering::Acquire) != SCRUB_PENDING
    }

    /// Removes the file, at an orderly stop. It stays when a scrub has not come to its end.
    ///
    /// # Errors
    /// Those of `unlinkat(2)`.
    pub fn remove(&self, sys: &Arc<dyn Sys>, dot: &File) -> SysResult<()> {
        if !self.is_trusted() {
            return Ok(());
        }
        match sys.unlink_at(dot.fd(), FILE, AtFlags::empty()) {
            // There was no room for it.
            Err(Errno::NOENT) => Ok(()),
            removed => removed,
        }
    }

    /// Writes down what the caller is about to do; it is done, or undone, when the answer is dropped.
    pub fn fill(
        &self,
        operation: Operation,
        gfids: [Gfid; 2],
        names: [Option<(Gfid, &Name)>; 2],
    ) -> Filled<'_> {
        let slot = self.claim();
        let first = first_word(slot);
        let mut at = first + 1;
        let mut put = |bytes: &[u8]| {
            for chunk in bytes.chunks(8) {
                let mut word = [0; 8];
                word[..chunk.len()].copy_from_slice(chunk);
                self.word(at).store(u64::from_le_bytes(word), Ordering::Relaxed);
                at += 1;
            }
        };
        for gfid in gfids {
            put(gfid.as_bytes());
        }
        let mut lengths = [0_u8; 2];
        for (name, length) in names.into_iter().zip(&mut lengths) {
            let Some((parent, name)) = name else { continue };
            put(parent.as_bytes());
            put(name.as_bytes());
            *length = name.as_bytes().len() as u8;
        }
        let operation = [operation as u8, lengths[0], lengths[1], 0, 0, 0, 0, 0];
        // Last: a slot whose first word is set is complete.
        self.word(first).store(u64::from_le_bytes(operation), Ordering::Release);
        Filled { intents: self, slot }
    }

    fn decode(&self, slot: usize) -> Option<Intent> {
        let first = first_word(slot);
        let [operation, len_a, len_b, ..] = self.word(first).load(Ordering::Acquire).to_le_bytes();
        let operation = Operation::ALL.into_iter().find(|known| *known as u8 == operation)?;
        let mut at = first + 1;
        let mut take = |len: usize| {
            let words = at..at + len.div_ceil(8);
            at = words.end;
            let mut bytes: Vec<u8> =
                words.flat_map(|at| self.word(at).load(Ordering::Relaxed).to_le_bytes()).collect();
            bytes.truncate(len);
            bytes
        };
        let gfids = [Gfid::from_slice(&take(16))?, Gfid::from_slice(&take(16))?];
        let mut name = |len: u8| match len {
            0 => Some(None),
            len => {
                let parent = Gfid::from_slice(&take(16))?;
                Some(Some((parent, Name::new(&take(usize::from(len))).ok()?)))
            }
        };
        Some(Intent { operation, gfids, names: [name(len_a)?, name(len_b)?] })
    }

    /// Whether a job of this process is at work on `gfid` now.
    #[must_use]
    pub fn is_busy(&self, gfid: Gfid) -> bool {
        let wanted: [u64; 2] = std::array::from_fn(|half| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&gfid.as_bytes()[half * 8..half * 8 + 8]);
            u64::from_le_bytes(bytes)
        });
        (0..SLOTS).map(first_word).any(|first| {
            let holds =
                |at| [0, 1].iter().all(|half| self.word(at + half).load(Ordering::Relaxed) == wanted[*half]);
            self.word(first).load(Ordering::Acquire) != 0 && (holds(first + 1) || holds(first + 3))
        })
    }

    fn claim(&self) -> usize {
        loop {
            // Cores and helpers start their searches at different places, so that they rarely meet.
            let start = self.next.fetch_add(1, Ordering::Relaxed);
            for step in 0..self.used.len() {
                let index = (start + step) % self.used.len();
                let slots = (SLOTS - index * 64).min(64) as u32;
                let free = !self.used[index].load(Ordering::Relaxed) & (u64::MAX >> (64 - slots));
                if free == 0 {
                    continue;
                }
                let bit = free.trailing_zeros();
                if self.used[index].fetch_or(1 << bit, Ordering::Acquire) & (1 << bit) == 0 {
                    return index * 64 + bit as usize;
                }
            }
            // Hundreds of jobs at once; each is short, and none waits for a slot while it has one.
            std::thread::yield_now();
        }
    }
}

impl Drop for Filled<'_> {
    fn drop(&mut self) {
        self.intents.word(first_word(self.slot)).store(0, Ordering::Release);
        self.intents.used[self.slot / 64].fetch_and(!(1 << (self.slot % 64)), Ordering::Release);
    }
}

const fn first_word(slot: usize) -> usize {
    (slot + 1) * SLOT
}

/// Opens the file; whether it had to be made for that.
fn open_file(sys: &Arc<dyn Sys>, dot: &File) -> (SysResult<File>, bool) {
    let open = |flags| {
        let how = How::new(OpenFlags::RDWR | OpenFlags::NOFOLLOW | flags).mode(0o600);
        sys.openat2(dot.fd(), FILE, how).map(|fd| File::new(Arc::clone(sys), fd))
    };
    match open(OpenFlags::empty()) {
        Err(Errno::NOENT) => (open(OpenFlags::CREAT | OpenFlags::EXCL), true),
        opened => (opened, false),
    }
}

fn is_full(errno: Errno) -> bool {
    matches!(errno, Errno::NOSPC | Errno::DQUOT)
}

/// Writes zeros, so that every block is there and written once.
fn fill(sys: &Arc<dyn Sys>, file: &File, len: usize) -> SysResult<()> {
    let zeros = [0; 4096];
    let mut at = 0;
    while at < len {
        at += sys.pwrite(file.fd(), &zeros[..zeros.len().min(len - at)], at as u64)?;
    }
    Ok(())
}

/// Which boot of the machine this is; zero where nobody knows.
fn boot_id(sys: &Arc<dyn Sys>) -> [u64; 2] {
    let mut text = [0; 36];
    let read =
        sys.openat2(libc::AT_FDCWD, c"/proc/sys/kernel/random/boot_id", How::default()).and_then(|fd| {
            let file = File::new(Arc::clone(sys), fd);
            sys.pread(file.fd(), &mut text, 0, kiln_uring::sys::ReadFlags::empty())
        });
    let id = if read == Ok(36) { Gfid::from_text(&text).unwrap_or_default() } else { Gfid::NULL };
    let half = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&id.as_bytes()[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    [half(0), half(8)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_uring::sim::MemFs;

    fn open(sys: &Arc<dyn Sys>) -> (Intents, Found) {
        let fd = sys.openat2(libc::AT_FDCWD, c"/", How::new(OpenFlags::DIRECTORY)).unwrap();
        Intents::open(sys, &File::new(Arc::clone(sys), fd)).unwrap()
    }

    #[test]
    fn slots_outlive_the_process_and_not_the_machine() {
        let fs = MemFs::new();
        let sys: Arc<dyn Sys> = fs.clone();
        let (intents, found) = open(&sys);
        assert_eq!(found, Found::Clean);
        intents.begin_anew(&sys, false);
        let long = Name::new(&[b'n'; 255]).unwrap();
        let short = Name::new(b"x").unwrap();
        let (a, b) = (Gfid::from_bytes([1; 16]), Gfid::from_bytes([2; 16]));
        let names = [Some((a, &long)), Some((b, &short))];
        std::mem::forget(intents.fill(Operation::Rename, [b, a], names));
        std::mem::forget(intents.fill(Operation::Make, [a, Gfid::NULL], [Some((Gfid::ROOT, &long)), None]));
        drop(intents.fill(Operation::Unlink, [a, a], names));
        assert!(intents.is_busy(a) && intents.is_busy(b) && !intents.is_busy(Gfid::from_bytes([3; 16])));
        let expected = Found::Unfinished(vec![
            Intent {
                operation: Operation::Rename,
                gfids: [b, a],
                names: [Some((a, long.clone())), Some((b, short))],
            },
            Intent {
                operation: Operation::Make,
                gfids: [a, Gfid::NULL],
                names: [Some((Gfid::ROOT, long)), None],
            },
        ]);
        let mut found = open(&sys).1;
        if let Found::Unfinished(intents) = &mut found {
            intents.sort_by_key(|intent| intent.operation != Operation::Rename);
        }
        assert_eq!(found, expected);
        let cut: Arc<dyn Sys> = fs.crash(1);
        assert_eq!(open(&cut).1, Found::Unknown);
    }

    #[test]
    fn all_slots_can_be_used_and_come_back() {
        let sys: Arc<dyn Sys> = MemFs::new();
        let (intents, _) = open(&sys);
        for _ in 0..2 {
            let all: Vec<_> =
                (0..SLOTS).map(|_| intents.fill(Operation::Heal, [Gfid::ROOT; 2], [None, None])).collect();
            let mut slots: Vec<usize> = all.iter().map(|filled| filled.slot).collect();
            slots.sort_unstable();
            assert_eq!(slots, (0..SLOTS).collect::<Vec<_>>());
        }
        assert!(!intents.is_busy(Gfid::ROOT));
    }

    #[test]
    fn a_full_brick_starts_and_is_looked_through_after_a_crash() {
        let fs = MemFs::new();
        let sys: Arc<dyn Sys> = fs.clone();
        fs.set_capacity(3, 1000);
        let (intents, found) = open(&sys);
        assert_eq!(found, Found::Clean);
        intents.begin_anew(&sys, false);
        drop(intents.fill(Operation::Make, [Gfid::ROOT; 2], [None, None]));
        fs.set_capacity(1000, 1000);
        assert_eq!(open(&sys).1, Found::Unknown);
    }

    #[test]
    fn a_scrub_that_did_not_end_is_remembered() {
        let sys: Arc<dyn Sys> = MemFs::new();
        let (intents, _) = open(&sys);
        intents.begin_anew(&sys, true);
        assert_eq!(open(&sys).1, Found::Unknown);
        intents.scrubbed();
        assert_eq!(open(&sys).1, Found::Unfinished(vec![]));
    }
}

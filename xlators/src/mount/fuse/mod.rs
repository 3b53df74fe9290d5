//! `mount/fuse`: a graph as a directory of this machine.
//!
//! ```text
//!  process ── system call ──▶ kernel ──┬── /dev/fuse ───────────▶ core: read, task ──▶ graph
//!                               ▲      └── the CPU's queue ─────▶ core: slot ────────▶   │
//!                               └──────────────── answer, by the same core ◀─────────────┘
//! ```
//!
//! The cores serve the mount themselves; no other thread takes part. Each waits in its ring for requests on a descriptor
//! of its own ([`device`]), and, where the kernel offers FUSE over io_uring, in the slots of the queue of its CPU
//! ([`slots`]). A request is decoded ([`wire`]), enters the graph as a fop ([`serve`], and from there [`names`],
//! [`inodes`], [`files`], [`dirs`], [`xattrs`], [`locks`]), and what came of it is told to the kernel ([`reply`]).
//!
//! `fuser` shakes hands with the kernel ([`session`]) and names its flags. Its own session would read requests on threads
//! that do nothing else, and every request would take two wakes more than it needs: on two virtual CPUs a mount that was
//! served so reached half the rate of libfuse's passthrough example (`docs/performance.md`). It also answers interrupts
//! by itself, and keeps the size of directory buffers, the kind of locks and the generation of handles to itself.
//!
//! **Objects.** The kernel names an object by a node id; here it is the inode number that users see, which is half of the gfid
//! ([`crate::inode_table`]). Each reply that names an object (lookup, create, mkdir, mknod, symlink, link, each entry of a
//! readdirplus but `.` and `..`) counts one, and the kernel's forgets count down. What it has forgotten is passed on to the
//! layers in batches ([`forgets`]).
//!
//! **Open files** are numbers in a bounded table; the last close releases them in every layer. A file without a name is
//! found through whatever holds it open ([`open_files`]).
//!
//! **Who may.** The request names the caller's user, group and thread; the other groups are read from `/proc` for fops
//! that a layer may refuse ([`groups`]). With ACLs (the default) or `default_permissions` the kernel checks too, before it
//! asks. The umask is left to the graph when it has `features/access-control`, because a default ACL replaces it, and
//! applied by the kernel otherwise.
//!
//! **Times.** Fops carry the flags of a stock client ([`times`]), so that `trusted.glusterfs.mdata` follows where an object
//! has it; none is made.
//!
//! **Caching.** Attributes and names may be kept for a second, as by the stock client: changes that come through another
//! door of the same brick are seen with that delay. Pages of a file are dropped when an open finds another size or mtime.
//!
//! **Locks** go down only when a layer keeps them. Otherwise the kernel does, which is right for a brick that has this one
//! mount and no other client. Flocks come as POSIX locks of another owner over the whole file, which is how GlusterFS
//! sends them on as well.
//!
//! **Interrupts** end waits and reads, not changes ([`interrupts`]).
//!
//! Opcodes that are not served are answered with ENOSYS, after which the kernel does without (`statx` with birth times,
//! `O_TMPFILE`, `bmap`, `ioctl`, `poll`). `fuser` reports through the `log` crate; the binary routes that into `tracing`.

mod attr;
mod device;
mod dirs;
mod door;
mod error;
mod files;
mod forgets;
mod front;
mod groups;
mod inodes;
mod interrupts;
mod lanes;
mod locks;
mod names;
mod open_files;
mod options;
mod reply;
mod serve;
mod session;
mod slots;
mod times;
mod wire;
mod xattrs;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use kiln_uring::{Errno, Remote, Sys, host};

pub use door::{install, uninstall};
pub use error::MountError;
pub use options::{MountConfig, Transport};

use front::Front;
use lanes::Lanes;
use options::Offers;
use session::{Alive, State};

/// Decodes a request as if it came from the kernel, in one piece and in two, and tells it in words. For fuzzing.
#[cfg(any(test, feature = "testing"))]
#[must_use]
pub fn decode(bytes: &[u8]) -> String {
    let whole = wire::Header::of_message(bytes).map(|(header, args)| header.operation(args));
    let (head, rest) = bytes.split_at(bytes.len().min(40));
    let (fixed, rest) = rest.split_at(rest.len().min(128));
    let halves = wire::Header::of_slot(head, fixed, rest).map(|(header, args)| header.operation(args));
    format!("{whole:?} {halves:?}")
}

/// How long a core may take to say that it serves.
const CORE_ANSWER: Duration = Duration::from_secs(10);
/// How often a busy mount is tried again before it is detached lazily: a process that has just ended may still be closing.
const BUSY_TRIES: u32 = 10;
/// Between looks at something that nobody signals.
const PAUSE: Duration = Duration::from_millis(20);

/// Numbers of mounts, counted down from the top so that they differ from those of network clients.
static NEXT_CLIENT: AtomicU64 = AtomicU64::new(u64::MAX);

/// A mount that is served. Dropping the last handle unmounts it.
#[derive(Clone, Debug)]
pub struct Mount {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    front: Arc<Front>,
    path: PathBuf,
    state: Arc<State>,
    over_ring: bool,
}

/// How an unmount went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmounted {
    /// The session has ended and every request is answered.
    Clean,
    /// Somebody still used it: no new user finds it, and every request so far is answered. Those who have something open
    /// there get ENOTCONN once this process ends.
    Detached,
    /// Requests were still in flight when the time was up.
    Undrained(usize),
}

/// Figures of a mount, for dumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MountView {
    /// Objects that the kernel remembers.
    pub nodes: usize,
    /// Open files and directories.
    pub open: usize,
    /// Requests in flight.
    pub in_flight: usize,
    /// They come over io_uring, not through `/dev/fuse`.
    pub over_ring: bool,
}

impl Mount {
    /// Mounts, and serves from `cores`, on each of which a graph has been [installed](install).
    ///
    /// # Errors
    /// See [`MountError`]; nothing is mounted then.
    pub fn start(config: MountConfig, cores: &[Remote]) -> Result<Self, MountError> {
        let path = check_mountpoint(&config.mountpoint)?;
        let Asked { offers, lanes, ring, sys } = ask_cores(cores)?;
        let client = NEXT_CLIENT.fetch_sub(1, Ordering::Relaxed);
        let front = Front::new(config, offers, client, lanes);
        let device = front
            .config
            .to_mount()
            .mount(&path)
            .map_err(|error| MountError::of_mount(path.clone(), error))?;
        let state = Arc::new(State::default());
        let serve = || {
            let ours = device.try_clone().map_err(|source| MountError::Handshake { source })?;
            let over_ring = session::shake_hands(&front, device, ring)?;
            session::start(&front, ours, &sys, over_ring, &Alive::new(&front, &state))?;
            Ok(over_ring)
        };
        let over_ring = match serve() {
            Ok(over_ring) => over_ring,
            Err(error) => {
                // What has been started ends by itself once nothing is mounted any more.
                let _ = host::unmount(&path, true);
                return Err(error);
            }
        };
        let transport = if over_ring { "io_uring" } else { "/dev/fuse" };
        tracing::info!(mountpoint = %path.display(), cores = front.lanes.len(), transport, "mounted");
        Ok(Self { inner: Arc::new(Inner { front, path, state, over_ring }) })
    }

    /// Where it is mounted, free of symbolic links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Waits until the session has ended: by [`Mount::unmount`] or by an unmount from outside.
    pub fn wait(&self) {
        self.inner.state.wait();
    }

    /// Whether the session has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.inner.state.has_ended()
    }

    /// Unmounts, lazily when it is in use, and waits until every request in flight is answered, for as long as
    /// [`MountConfig::drain`] says.
    ///
    /// # Errors
    /// The kernel's reason when it could not be unmounted at all; it is then served on.
    pub fn unmount(&self) -> Result<Unmounted, Errno> {
        self.inner.unmount()
    }

    /// Figures.
    #[must_use]
    pub fn view(&self) -> MountView {
        let front = &self.inner.front;
        MountView {
            nodes: front.nodes.len(),
            open: front.files.len(),
            in_flight: front.lanes.total(),
            over_ring: self.inner.over_ring,
        }
    }
}

impl Inner {
    fn unmount(&self) -> Result<Unmounted, Errno> {
        let deadline = Instant::now() + self.front.config.drain;
        if self.state.has_ended() {
            return Ok(self.drained(deadline, Unmounted::Clean));
        }
        let mut result = host::unmount(&self.path, false);
        for _ in 1..BUSY_TRIES {
            if result != Err(Errno::BUSY) {
                break;
            }
            thread::sleep(PAUSE);
            result = host::unmount(&self.path, false);
        }
        match result {
            // Nothing is mounted there any more: somebody was faster.
            Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {
                self.state.wait_until(deadline);
                Ok(self.drained(deadline, Unmounted::Clean))
            }
            Err(Errno::BUSY) => {
                tracing::warn!(mountpoint = %self.path.display(), "in use: detached, and gone when its last user goes");
                host::unmount(&self.path, true)?;
                let ended = self.state.wait_until(Instant::now() + PAUSE);
                Ok(self.drained(deadline, if ended { Unmounted::Clean } else { Unmounted::Detached }))
            }
            Err(errno) => Err(errno),
        }
    }

    fn drained(&self, deadline: Instant, outcome: Unmounted) -> Unmounted {
        match drain(&self.front, deadline) {
            0 => outcome,
            left => Unmounted::Undrained(left),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !self.state.has_ended()
            && let Err(errno) = self.unmount()
        {
            tracing::error!(mountpoint = %self.path.display(), %errno, "could not be unmounted");
        }
    }
}

/// Waits until no request is in flight; the number of those that are when the time is up.
fn drain(front: &Front, deadline: Instant) -> usize {
    loop {
        let left = front.lanes.total();
        if left == 0 || Instant::now() >= deadline {
            return left;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// The mount point without symbolic links, if something can be mounted there.
///
/// # Errors
/// See [`MountError`].
pub fn check_mountpoint(path: &Path) -> Result<PathBuf, MountError> {
    let of_path = |error| MountError::of_path(path.to_owned(), error);
    // A dead mount cannot be resolved, but its line in the table is as it was written.
    let real = path.canonicalize().map_err(of_path)?;
    if !real.metadata().map_err(of_path)?.is_dir() {
        return Err(MountError::NotADirectory { path: path.to_owned() });
    }
    match host::mounted_on(&real) {
        Some(entry) => Err(MountError::Busy { path: real, kind: entry.kind }),
        None => Ok(real),
    }
}

/// What the cores say of themselves.
struct Asked {
    offers: Offers,
    lanes: Lanes,
    /// All their rings can carry FUSE.
    ring: bool,
    sys: Arc<dyn Sys>,
}

/// Asks every core whether it serves, what its graph offers, and where it runs.
fn ask_cores(cores: &[Remote]) -> Result<Asked, MountError> {
    let (sender, receiver) = mpsc::channel();
    for (index, remote) in cores.iter().enumerate() {
        let sender = sender.clone();
        // A core that has stopped does not answer, which is noticed below.
        let _ = remote.post(move |core| {
            let offers = door::installed().map(|graph| Offers::of(&graph));
            let here = (host::pinned_cpu(), core.carries_fuse(), Arc::clone(core.sys()));
            let _ = sender.send((index, offers, here));
        });
    }
    drop(sender);
    let mut answers = vec![None; cores.len()];
    let deadline = Instant::now() + CORE_ANSWER;
    while let Ok((index, offers, here)) =
        receiver.recv_timeout(deadline.saturating_duration_since(Instant::now()))
    {
        answers[index] = offers.map(|offers| (offers, here));
    }
    let mut lanes = Vec::with_capacity(cores.len());
    let mut common = None;
    for (core, (answer, remote)) in answers.into_iter().zip(cores).enumerate() {
        let (offers, (cpu, carries, sys)) = answer.ok_or(MountError::NoGraph { core })?;
        lanes.push((remote.clone(), cpu));
        // All graphs are made from one blueprint, so their offers are the same.
        let (_, ring, _) = common.get_or_insert((offers, true, sys));
        *ring &= carries;
    }
    let (offers, ring, sys) = common.ok_or(MountError::NoGraph { core: 0 })?;
    Ok(Asked { offers, lanes: Lanes::new(lanes), ring, sys })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_directories_that_nothing_is_mounted_on() {
        let dir = tempfile::tempdir().unwrap();
        let check = |path: &Path| check_mountpoint(path);
        assert!(matches!(check(&dir.path().join("missing")), Err(MountError::Missing { .. })));
        let file = dir.path().join("file");
        std::fs::write(&file, b"").unwrap();
        assert!(matches!(check(&file), Err(MountError::NotADirectory { .. })));
        assert!(matches!(check(&file.join("below")), Err(MountError::NotADirectory { .. })));
        assert!(matches!(check(Path::new("/proc")), Err(MountError::Busy { kind, .. }) if kind == "proc"));
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        assert_eq!(check(&link).unwrap(), dir.path().canonicalize().unwrap());
    }

    #[test]
    fn a_mount_needs_cores() {
        let dir = tempfile::tempdir().unwrap();
        let started = Mount::start(MountConfig::new(dir.path()), &[]);
        assert!(matches!(started, Err(MountError::NoGraph { core: 0 })));
    }
}

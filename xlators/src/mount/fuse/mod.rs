//! `mount/fuse`: a graph as a directory of this machine.
//!
//! ```text
//!  process ── system call ──▶ kernel ── /dev/fuse ──▶ session thread ── mailbox ──▶ core ──▶ graph
//!                               ▲                       (translates)              (a task)     │
//!                               └───────────────────── reply, written by the core ◀────────────┘
//! ```
//!
//! A *session thread* reads a request, turns it into arguments of its own ([`session`]) and posts it to a core ([`door`]);
//! which one, [`lanes`] decides. There it becomes a task that enters the graph as a fop ([`names`], [`inodes`], [`files`],
//! [`dirs`], [`xattrs`], [`locks`]), and the core itself writes the answer ([`reply`]).
//!
//! **Objects.** The kernel names an object by a node id. That is the inode number users see, which is half of the gfid
//! ([`crate::inode_table`]); `fuser` offers no way to make the two differ. Each reply that names an object (lookup, create,
//! mkdir, mknod, symlink, link, each entry of a readdirplus but `.` and `..`) counts one, and the kernel's forgets count
//! down. What it has forgotten is passed on to the layers in batches ([`forgets`]).
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
//! mount and no other client.
//!
//! # What `fuser` 0.18 does not let through
//!
//! - *Interrupts.* `fuser` answers FUSE_INTERRUPT with ENOSYS by itself, whereupon the kernel stops sending it and a process
//!   waits for its answer, signals or not (a request that no session thread has read yet is still withdrawn by a fatal
//!   signal). Requests end by themselves, so that costs nobody more than the duration of a fop; only a waiting lock, which
//!   needs a layer that keeps locks, can last. Looking at `/dev/fuse` in front of `fuser` would take a copy of every
//!   request through a socket.
//! - Which kind of lock it is: flocks come as POSIX locks of another owner over the whole file, which is how GlusterFS
//!   sends them on as well.
//! - The size of the kernel's directory buffers ([`dirs`] learns it).
//! - Opcodes newer than protocol 7.40 are answered with ENOSYS, after which the kernel does without (`statx` with
//!   birth times, `O_TMPFILE`).
//!
//! `fuser` reports through the `log` crate; the binary routes that into `tracing`.

mod attr;
mod dirs;
mod door;
mod error;
mod files;
mod forgets;
mod front;
mod groups;
mod inodes;
mod lanes;
mod locks;
mod names;
mod open_files;
mod options;
mod reply;
mod session;
mod times;
mod xattrs;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use kiln_uring::{Errno, Remote, host};

pub use door::{install, uninstall};
pub use error::MountError;
pub use options::MountConfig;

use door::Ticket;
use front::Front;
use lanes::Lanes;
use options::Offers;
use session::Session;

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
    session: Arc<SessionState>,
}

/// How the session goes.
#[derive(Debug, Default)]
struct SessionState {
    ended: Mutex<bool>,
    changed: Condvar,
}

impl SessionState {
    fn end(&self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    fn has_ended(&self) -> bool {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        while !*ended {
            ended = self.changed.wait(ended).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn wait_until(&self, deadline: Instant) -> bool {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if *ended || left.is_zero() {
                return *ended;
            }
            ended = self.changed.wait_timeout(ended, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
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
}

impl Mount {
    /// Mounts, and serves from `cores`, on each of which a graph has been [installed](install).
    ///
    /// # Errors
    /// See [`MountError`]; nothing is mounted then.
    pub fn start(config: MountConfig, cores: &[Remote]) -> Result<Self, MountError> {
        let path = check_mountpoint(&config.mountpoint)?;
        let (offers, lanes) = ask_cores(cores)?;
        let client = NEXT_CLIENT.fetch_sub(1, Ordering::Relaxed);
        let front = Front::new(config, offers, client, lanes);
        let device = front
            .config
            .to_mount()
            .mount(&path)
            .map_err(|error| MountError::of_mount(path.clone(), error))?;
        let handler = Session::new(Arc::clone(&front));
        let settings = front.config.to_session();
        let session = fuser::Session::from_fd(handler, device, settings.acl, settings)
            .map_err(|source| MountError::Handshake { source });
        let state = Arc::new(SessionState::default());
        let started = session.and_then(|session| {
            let (front, state) = (Arc::clone(&front), Arc::clone(&state));
            let run = move || run(session, &front, &state);
            thread::Builder::new()
                .name("fuse-mount".into())
                .spawn(run)
                .map_err(|source| MountError::Thread { source })
        });
        if let Err(error) = started {
            // The server's end is closed by now, so nobody can be using it.
            let _ = host::unmount(&path, true);
            return Err(error);
        }
        tracing::info!(mountpoint = %path.display(), cores = front.lanes.len(), "mounted");
        Ok(Self { inner: Arc::new(Inner { front, path, session: state }) })
    }

    /// Where it is mounted, free of symbolic links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Waits until the session has ended: by [`Mount::unmount`] or by an unmount from outside.
    pub fn wait(&self) {
        self.inner.session.wait();
    }

    /// Whether the session has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.inner.session.has_ended()
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
        MountView { nodes: front.nodes.len(), open: front.files.len(), in_flight: front.lanes.total() }
    }
}

impl Inner {
    fn unmount(&self) -> Result<Unmounted, Errno> {
        let deadline = Instant::now() + self.front.config.drain;
        if self.session.has_ended() {
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
                self.session.wait_until(deadline);
                Ok(self.drained(deadline, Unmounted::Clean))
            }
            Err(Errno::BUSY) => {
                tracing::warn!(mountpoint = %self.path.display(), "in use: detached, and gone when its last user goes");
                host::unmount(&self.path, true)?;
                let ended = self.session.wait_until(Instant::now() + PAUSE);
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
        if !self.session.has_ended()
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

/// The life of a session, on a thread of its own.
fn run(session: fuser::Session<Session>, front: &Arc<Front>, state: &SessionState) {
    if let Err(error) = session.run() {
        tracing::error!(%error, "the FUSE session ended badly");
    }
    // Nobody will close these any more.
    let left = front.files.drain();
    if !left.is_empty() {
        Ticket::internal(front).serve(move |door| async move {
            left.iter().for_each(|fd| door.graph.release(fd));
        });
    }
    forgets::deliver(front);
    drain(front, Instant::now() + front.config.drain);
    state.end();
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

/// Asks every core whether it serves, what its graph offers, and where it runs.
fn ask_cores(cores: &[Remote]) -> Result<(Offers, Lanes), MountError> {
    let (sender, receiver) = mpsc::channel();
    for (index, remote) in cores.iter().enumerate() {
        let sender = sender.clone();
        // A core that has stopped does not answer, which is noticed below.
        let _ = remote.post(move |_| {
            let offers = door::installed().map(|graph| Offers::of(&graph));
            let _ = sender.send((index, offers, host::pinned_cpu()));
        });
    }
    drop(sender);
    let mut answers = vec![None; cores.len()];
    let deadline = Instant::now() + CORE_ANSWER;
    while let Ok((index, offers, cpu)) =
        receiver.recv_timeout(deadline.saturating_duration_since(Instant::now()))
    {
        answers[index] = offers.map(|offers| (offers, cpu));
    }
    let mut lanes = Vec::with_capacity(cores.len());
    let mut common = Offers::default();
    for (core, (answer, remote)) in answers.into_iter().zip(cores).enumerate() {
        // All graphs are made from one blueprint, so their offers are the same.
        let (offers, cpu) = answer.ok_or(MountError::NoGraph { core })?;
        common = offers;
        lanes.push((remote.clone(), cpu));
    }
    if lanes.is_empty() {
        return Err(MountError::NoGraph { core: 0 });
    }
    Ok((common, Lanes::new(lanes)))
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

//! The life of a session: the handshake, the cores that serve it, and its end.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use fuser::{Filesystem, InitFlags, KernelConfig, Request};
use kiln_uring::fuse::{self, Device};
use kiln_uring::{Core, Sys};

use super::error::MountError;
use super::front::Front;
use super::options::{Transport, negotiate};
use super::{device, slots};

/// What `fuser` serves: the handshake.
struct Handshake {
    front: Arc<Front>,
    /// The cores' rings can carry the session.
    ring: bool,
    /// The kernel has agreed to that.
    agreed: Arc<AtomicBool>,
}

impl Filesystem for Handshake {
    fn init(&mut self, _: &Request, kernel: &mut KernelConfig) -> io::Result<()> {
        negotiate(&self.front.config, self.front.offers, kernel);
        if self.ring && kernel.add_capabilities(InitFlags::FUSE_OVER_IO_URING).is_ok() {
            self.agreed.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Shakes hands over the descriptor of a fresh mount. Whether requests will come over io_uring.
pub(super) fn shake_hands(front: &Arc<Front>, device: OwnedFd, ring: bool) -> Result<bool, MountError> {
    let transport = front.config.transport;
    let agreed = Arc::new(AtomicBool::new(false));
    let ring = ring && transport != Transport::Device;
    let handler = Handshake { front: Arc::clone(front), ring, agreed: Arc::clone(&agreed) };
    let settings = front.config.to_session();
    fuser::Session::from_fd(handler, device, settings.acl, settings)
        .map_err(|source| MountError::Handshake { source })?;
    let agreed = agreed.load(Ordering::Relaxed);
    if transport == Transport::Ring && !agreed {
        return Err(MountError::NoRing);
    }
    Ok(agreed)
}

/// How the session goes. It has ended when nothing holds an [`Alive`] of it any more.
#[derive(Debug, Default)]
pub(super) struct State {
    ended: Mutex<bool>,
    changed: Condvar,
}

impl State {
    fn end(&self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    pub(super) fn has_ended(&self) -> bool {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wait(&self) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        while !*ended {
            ended = self.changed.wait(ended).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(super) fn wait_until(&self, deadline: Instant) -> bool {
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

/// Held by everything that serves the session.
#[derive(Clone, Debug)]
pub(super) struct Alive {
    _last: Arc<Last>,
}

/// Ends the session when dropped.
#[derive(Debug)]
struct Last {
    front: Arc<Front>,
    state: Arc<State>,
}

impl Alive {
    pub(super) fn new(front: &Arc<Front>, state: &Arc<State>) -> Self {
        Self { _last: Arc::new(Last { front: Arc::clone(front), state: Arc::clone(state) }) }
    }
}

impl Drop for Last {
    fn drop(&mut self) {
        // Nobody will close these any more, nor forget what it knows.
        let left = self.front.files.drain();
        if !left.is_empty() {
            let release = move |_: &Core| {
                if let Some(graph) = super::door::installed() {
                    left.iter().for_each(|fd| graph.release(fd));
                }
            };
            // A core that has stopped has no layers to tell.
            let _ = self.front.lanes.remote(0).post(release);
        }
        super::forgets::deliver(&self.front);
        self.state.end();
    }
}

/// Has every core serve.
pub(super) fn start(
    front: &Arc<Front>,
    device: OwnedFd,
    sys: &Arc<dyn Sys>,
    over_ring: bool,
    alive: &Alive,
) -> Result<(), MountError> {
    let first = Device::new(device, sys).map_err(|errno| MountError::Handshake { source: errno.into() })?;
    let queues = if over_ring { fuse::queues().unwrap_or(0) } else { 0 };
    for lane in 0..front.lanes.len() {
        let own = if lane == 0 { Ok(first.clone()) } else { first.sibling() };
        let own = own.map_err(|errno| MountError::Handshake { source: errno.into() })?;
        let cpus: Vec<u16> =
            (0..queues).filter(|cpu| front.lanes.of_cpu(usize::from(*cpu)) == lane).collect();
        let (front, alive) = (Arc::clone(front), alive.clone());
        let begin = {
            let front = Arc::clone(&front);
            move |core: &Core| {
                for cpu in cpus {
                    slots::start(core, &front, lane, &own, cpu, &alive);
                }
                // What is not for the queues of CPUs comes this way: forgets, interrupts, and everything without them.
                core.spawn(device::read_requests(core.clone(), Arc::clone(&front), lane, own, alive));
            }
        };
        front.lanes.remote(lane).post(begin).map_err(|_| MountError::NoGraph { core: lane })?;
    }
    Ok(())
}

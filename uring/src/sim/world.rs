//! The simulated machine's clock and agenda: what completes when, drawn from the seed.

use std::cell::{Cell, RefCell};
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::faults::Kernel;
use super::rng::Rng;
use crate::buf::{Buf, RECEIVE_SIZE};
use crate::handle::Inner;
use crate::helper::HelperJob;
use crate::op::Request;
use crate::sys::{Errno, RawFd, SysResult};
use crate::time::Instant;

/// Something that will happen.
pub(crate) enum Action {
    /// Operation `key` of a core comes back.
    Complete { core: usize, key: usize },
    /// A helper of a core gets to a job.
    Help { core: usize, job: HelperJob },
}

struct Event {
    at: Instant,
    order: u64,
    action: Action,
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// How long simulated operations take: uniform between both ends, and one in 32 takes sixteen times as long.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    /// Shortest.
    pub min: Duration,
    /// Longest, but for the slow ones.
    pub max: Duration,
}

impl Default for Latency {
    fn default() -> Self {
        Self { min: Duration::from_micros(2), max: Duration::from_micros(200) }
    }
}

/// What all cores of one simulated run share.
pub(crate) struct World {
    pub(crate) kernel: Arc<Kernel>,
    pub(crate) rng: RefCell<Rng>,
    pub(crate) latency: Cell<Latency>,
    events: RefCell<BinaryHeap<Reverse<Event>>>,
    /// Operations that wait for a change of a socket: core, key, socket.
    parked: RefCell<Vec<(usize, usize, RawFd)>>,
    order: Cell<u64>,
    fingerprint: Cell<u64>,
}

impl World {
    pub(crate) fn new(kernel: Arc<Kernel>, seed: u64) -> Self {
        Self {
            kernel,
            rng: RefCell::new(Rng::new(seed)),
            latency: Cell::default(),
            events: RefCell::default(),
            parked: RefCell::default(),
            order: Cell::new(0),
            fingerprint: Cell::new(0xcbf2_9ce4_8422_2325),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.kernel.now()
    }

    /// Mixes a decision into the fingerprint of the run.
    pub(crate) fn note(&self, what: [u64; 3]) {
        let mut hash = self.fingerprint.get();
        for word in what.into_iter().chain([self.now().as_nanos()]) {
            hash = (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
        }
        self.fingerprint.set(hash);
    }

    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint.get()
    }

    fn schedule(&self, action: Action) {
        let Latency { min, max } = self.latency.get();
        let mut rng = self.rng.borrow_mut();
        let spread = u64::try_from(max.saturating_sub(min).as_nanos()).unwrap_or(u64::MAX).saturating_add(1);
        let mut takes = min + Duration::from_nanos(rng.below(spread));
        if rng.below(32) == 0 {
            takes *= 16;
        }
        self.order.set(self.order.get() + 1);
        let event = Event { at: self.now() + takes, order: self.order.get(), action };
        self.events.borrow_mut().push(Reverse(event));
    }

    /// When the next event happens, or something arrives on the network.
    pub(crate) fn next(&self) -> Option<Instant> {
        let event = self.events.borrow().peek().map(|event| event.0.at);
        event.into_iter().chain(self.kernel.network().next()).min()
    }

    /// Lets arrive what is due on the network; operations that wait for a socket with news are tried again.
    pub(crate) fn carry(&self) {
        for fd in self.kernel.network().deliver(self.now()) {
            self.note([4, u64::from(fd.cast_unsigned()), 0]);
            let woken = self.parked.borrow_mut().extract_if(.., |parked| parked.2 == fd).collect::<Vec<_>>();
            for (core, key, _) in woken {
                self.schedule(Action::Complete { core, key });
            }
        }
    }

    fn park(&self, core: usize, key: usize, fd: RawFd) {
        self.parked.borrow_mut().push((core, key, fd));
    }

    /// Whether the operation was parked.
    fn unpark(&self, core: usize, key: usize) -> bool {
        let mut parked = self.parked.borrow_mut();
        let found = parked.iter().position(|&(c, k, _)| (c, k) == (core, key));
        found.map(|index| parked.swap_remove(index)).is_some()
    }

    /// Takes the next event if it is due.
    pub(crate) fn due(&self) -> Option<Action> {
        let now = self.now();
        let mut events = self.events.borrow_mut();
        if events.peek()?.0.at > now {
            return None;
        }
        let Reverse(event) = events.pop()?;
        match event.action {
            Action::Complete { core, key } => self.note([1, core as u64, key as u64]),
            Action::Help { core, .. } => self.note([2, core as u64, event.order]),
        }
        Some(event.action)
    }

    /// Forgets everything that was to come.
    pub(crate) fn forget(&self) {
        self.parked.borrow_mut().clear();
        let events = self.events.take();
        drop(events);
    }
}

/// One core's connection to the world: the simulated driver.
pub(crate) struct Port {
    pub(crate) world: Rc<World>,
    /// Operations that a cancellation reached in time.
    cancelled: RefCell<Vec<usize>>,
    /// Operations on sockets that are to end, in time or not.
    ending: RefCell<Vec<usize>>,
}

/// Takes `key` out of a list, if it is in there.
fn strike(list: &RefCell<Vec<usize>>, key: usize) -> bool {
    let mut list = list.borrow_mut();
    let found = list.iter().position(|&it| it == key);
    found.map(|index| list.swap_remove(index)).is_some()
}

impl Port {
    pub(crate) fn new(world: Rc<World>) -> Self {
        Self { world, cancelled: RefCell::default(), ending: RefCell::default() }
    }

    pub(crate) fn start(&self, core: &Inner, key: usize) {
        self.world.schedule(Action::Complete { core: core.shared.id, key });
    }

    pub(crate) fn help(&self, core: &Inner, job: HelperJob) {
        self.world.schedule(Action::Help { core: core.shared.id, job });
    }

    /// Half of the cancellations come in time, the others find that the operation was under way. One that waits for a
    /// socket is always in time.
    pub(crate) fn cancel(&self, core: &Inner, key: usize) {
        let socket = core.ops.borrow_mut().request(key).is_some_and(|request| request.socket().is_some());
        if socket {
            self.ending.borrow_mut().push(key);
        }
        let waits = self.world.unpark(core.shared.id, key);
        if waits {
            self.start(core, key);
        }
        if waits || self.world.rng.borrow_mut().below(2) == 0 {
            self.cancelled.borrow_mut().push(key);
        }
    }

    /// Whether the operation that comes back now was cancelled instead of performed.
    pub(crate) fn take_cancelled(&self, key: usize) -> bool {
        strike(&self.cancelled, key)
    }

    /// Tries an operation on a socket: its answer, and whether it goes on; `None` while it has to wait.
    pub(crate) fn attempt(
        &self,
        core: &Inner,
        key: usize,
        fd: RawFd,
    ) -> Option<(SysResult<u32>, Option<Buf>, bool)> {
        let (result, buf, standing) = {
            let mut ops = core.ops.borrow_mut();
            let request = ops.request(key)?;
            let standing = request.is_standing();
            let (result, buf) = match request {
                Request::Receive { file, .. } => self.receive(core, file.fd()),
                other => (other.perform(&*core.sys), None),
            };
            (result, buf, standing)
        };
        let ending = self.ending.borrow().contains(&key);
        if result == Err(Errno::AGAIN) {
            if ending {
                return Some((Err(Errno::CANCELED), None, false));
            }
            self.world.park(core.shared.id, key, fd);
            return None;
        }
        let last = result == Ok(0) && buf.is_some();
        // The kernel may end a standing operation at any time.
        let more = standing && result.is_ok() && !last && !ending && !self.world.rng.borrow_mut().chance(60);
        Some((result, buf, more))
    }

    /// A receive into a buffer of the driver, of which there is none now and then.
    fn receive(&self, core: &Inner, fd: RawFd) -> (SysResult<u32>, Option<Buf>) {
        if self.world.rng.borrow_mut().chance(60) {
            return (Err(Errno::NOBUFS), None);
        }
        let mut buf = core.pool.take(RECEIVE_SIZE).unwrap_or_else(|| Buf::heap(RECEIVE_SIZE));
        match core.sys.net().recv(fd, &mut buf) {
            Ok(n) => (Ok(n as u32), Some(buf)),
            Err(errno) => (Err(errno), None),
        }
    }

    /// The operation has given its last answer.
    pub(crate) fn forget(&self, key: usize) {
        strike(&self.ending, key);
    }
}

//! The real driver: one io_uring, used by the one thread that made it.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use io_uring::squeue::Entry128;
use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{cqueue, opcode, types};

use super::setup::register;
use super::{Provided, Uring, sqe};
use crate::buf::{Arena, Buf};
use crate::handle::Inner;
use crate::helper::{HelperJob, Helpers};
use crate::op::{Request, from_raw};

/// The number of the bell's poll; operations have smaller ones in their low half.
const BELL: u64 = u64::MAX;
/// The number of cancellations, whose own answers say nothing.
const CANCEL: u64 = u64::MAX - 1;

/// How long a core whose bell does not work sleeps at most.
const DEAF_LOOK: Duration = Duration::from_millis(1);

/// What a completion says.
#[derive(Clone, Copy)]
struct Answer {
    token: u64,
    result: i32,
    flags: u32,
}

/// The ring of one core, and its helper threads.
pub(crate) struct Ring {
    ring: RefCell<Uring>,
    /// Entries that found the submission queue full, in order.
    backlog: RefCell<VecDeque<Entry128>>,
    /// Completions being delivered; kept for its memory.
    answers: RefCell<Vec<Answer>>,
    helpers: RefCell<Option<Helpers>>,
    /// Dropped after the ring, which reads it.
    provided: Option<Provided>,
    /// The memory of the pool.
    arena: Option<Arc<Arena>>,
    /// Whether it is registered, as buffer 0; not known before the first operation that would profit.
    registered: OnceCell<bool>,
    /// Opcodes that the kernel has, as bits.
    opcodes: u128,
    bell: Option<RawFd>,
    bell_armed: Cell<bool>,
}

/// What [`Ring`] is made of.
pub(crate) struct RingParts {
    pub(crate) ring: Uring,
    pub(crate) helpers: Helpers,
    /// Registered with the ring.
    pub(crate) provided: Option<Provided>,
    pub(crate) arena: Option<Arc<Arena>>,
    /// Opcodes to submit; the others go to helpers. Zero when descriptors mean nothing to the real kernel.
    pub(crate) opcodes: u128,
    pub(crate) bell: Option<RawFd>,
}

impl Ring {
    pub(crate) fn new(parts: RingParts) -> Self {
        let RingParts { ring, helpers, provided, arena, opcodes, bell } = parts;
        Self {
            ring: RefCell::new(ring),
            backlog: RefCell::default(),
            answers: RefCell::default(),
            helpers: RefCell::new(Some(helpers)),
            provided,
            arena,
            registered: OnceCell::new(),
            opcodes,
            bell,
            bell_armed: Cell::new(false),
        }
    }

    pub(super) const fn can(&self, request: &Request) -> bool {
        self.has(sqe::opcode(request))
    }

    const fn has(&self, opcode: u8) -> bool {
        self.opcodes & (1 << opcode) != 0
    }

    /// Multishot accept came with Linux 5.19, and so did `IORING_OP_SOCKET`, which can be asked for.
    pub(super) const fn accepts_many(&self) -> bool {
        self.has(opcode::Socket::CODE)
    }

    /// Multishot receive came with Linux 6.0, and so did `IORING_OP_SEND_ZC`.
    pub(super) const fn receives_many(&self) -> bool {
        self.has(opcode::SendZc::CODE)
    }

    /// Whether commands of drivers can be submitted (Linux 5.19).
    pub(super) const fn carries_commands(&self) -> bool {
        self.has(opcode::UringCmd80::CODE)
    }

    pub(super) const fn provided(&self) -> Option<&Provided> {
        self.provided.as_ref()
    }

    pub(super) fn start(&self, core: &Inner, key: usize) {
        let mut ops = core.ops.borrow_mut();
        let Some(token) = ops.token(key) else { return };
        let Some(request) = ops.request(key) else { return };
        let fixed = self.is_fixed(request);
        let entry = sqe::entry(request, fixed).user_data(token);
        drop(ops);
        self.push(entry);
    }

    /// Whether the request moves file data to or from the pool's memory, and the ring knows that.
    fn is_fixed(&self, request: &Request) -> bool {
        let (Request::Read { buf, .. } | Request::Write { buf, .. }) = request else { return false };
        let Some(arena) = self.arena.as_ref().filter(|arena| buf.belongs_to(arena)) else { return false };
        *self.registered.get_or_init(|| self.register(arena))
    }

    fn register(&self, arena: &Arc<Arena>) -> bool {
        match register(&self.ring.borrow(), arena) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!("reads and writes past the page cache cost more than they need: {error}");
                false
            }
        }
    }

    pub(super) fn cancel(&self, core: &Inner, key: usize) {
        if let Some(token) = core.ops.borrow().token(key) {
            self.push(Entry128::from(opcode::AsyncCancel::new(token).build()).user_data(CANCEL));
        }
    }

    pub(super) fn help(&self, job: HelperJob) {
        if let Some(helpers) = &*self.helpers.borrow() {
            helpers.submit(job);
        }
    }

    /// Lets the helpers finish and joins them.
    pub(crate) fn stop_helpers(&self) {
        let helpers = self.helpers.take();
        drop(helpers);
    }

    fn push(&self, entry: Entry128) {
        let mut backlog = self.backlog.borrow_mut();
        if !backlog.is_empty() {
            backlog.push_back(entry);
            return;
        }
        let mut ring = self.ring.borrow_mut();
        if !offer(&mut ring, &entry) {
            // Full: hand over what is there. If the kernel refuses for now, the rest waits here.
            let _ = ring.submit();
            if !offer(&mut ring, &entry) {
                backlog.push_back(entry);
            }
        }
    }

    /// Keeps a poll on the bell, so that a ring of it ends a wait.
    pub(crate) fn arm_bell(&self) {
        let Some(bell) = self.bell else { return };
        if self.bell_armed.replace(true) {
            return;
        }
        let poll = opcode::PollAdd::new(types::Fd(bell), libc::POLLIN as u32).multi(true);
        self.push(Entry128::from(poll.build()).user_data(BELL));
    }

    fn flush_backlog(&self) {
        let mut backlog = self.backlog.borrow_mut();
        let mut ring = self.ring.borrow_mut();
        while let Some(entry) = backlog.front() {
            if !offer(&mut ring, entry) {
                break;
            }
            backlog.pop_front();
        }
    }

    /// Hands new entries to the kernel and lets it post completions, without waiting. No system call when there is neither.
    pub(crate) fn submit(&self) {
        self.flush_backlog();
        let mut ring = self.ring.borrow_mut();
        let sq = ring.submission();
        let idle = sq.is_empty() && !sq.taskrun() && !sq.cq_overflow();
        drop(sq);
        if idle {
            return;
        }
        if let Err(error) = ring.submit() {
            complain(&error);
        }
    }

    /// The same, then waits for a completion, for at most `limit`.
    pub(crate) fn wait(&self, mut limit: Option<Duration>) {
        if !self.bell_armed.get() {
            limit = Some(limit.map_or(DEAF_LOOK, |limit| limit.min(DEAF_LOOK)));
        }
        self.flush_backlog();
        let mut ring = self.ring.borrow_mut();
        if !ring.completion().is_empty() {
            // There is work; only hand over what is new.
            if let Err(error) = ring.submit() {
                complain(&error);
            }
            return;
        }
        let result = match limit {
            None => ring.submit_and_wait(1),
            Some(limit) => {
                let limit = Timespec::from(limit);
                ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&limit))
            }
        };
        if let Err(error) = result {
            complain(&error);
        }
    }

    /// Whether completions wait to be taken.
    pub(crate) fn has_completions(&self) -> bool {
        !self.ring.borrow_mut().completion().is_empty()
    }

    /// Delivers all completions; how many there were.
    pub(crate) fn reap(&self, core: &Inner) -> usize {
        // Collected first, because delivering one may submit or cancel another.
        let mut answers = self.answers.take();
        answers.extend(self.ring.borrow_mut().completion().map(|entry| Answer {
            token: entry.user_data(),
            result: entry.result(),
            flags: entry.flags(),
        }));
        let n = answers.len();
        for answer in answers.drain(..) {
            self.deliver(core, answer);
        }
        self.answers.replace(answers);
        n
    }

    fn deliver(&self, core: &Inner, answer: Answer) {
        match answer.token {
            CANCEL => {}
            BELL => {
                if answer.result < 0 {
                    // Not armed again, which might go on for ever; `wait` looks around every now and then instead.
                    self.bell_armed.set(false);
                    tracing::error!(result = answer.result, "the kernel does not watch the core's eventfd");
                } else if !cqueue::more(answer.flags) {
                    self.bell_armed.set(false);
                    self.silence_bell();
                    self.arm_bell();
                }
            }
            token => {
                let result = from_raw(answer.result);
                let buf = self.picked(answer.flags, result.unwrap_or(0));
                let key = core.ops.borrow().key(token);
                match key {
                    Some(key) => core.answer(key, result, buf, cqueue::more(answer.flags)),
                    None => tracing::error!(token, "the kernel answered an operation that does not exist"),
                }
            }
        }
    }

    /// The buffer that the kernel picked for an answer of `len` bytes.
    fn picked(&self, flags: u32, len: u32) -> Option<Buf> {
        let provided = self.provided.as_ref()?;
        let id = cqueue::buffer_select(flags)?;
        let buf = provided.picked(id, len as usize);
        if buf.is_none() {
            tracing::error!(id, "the kernel picked a buffer that does not exist");
        }
        buf
    }

    /// Takes the count out of the eventfd. Only needed before a new poll, which would find it readable at once: the standing
    /// poll reports each ring of the bell by itself.
    fn silence_bell(&self) {
        if let Some(bell) = self.bell {
            // SAFETY: the descriptor belongs to the core's `Shared`, which lives longer than its ring.
            let bell = unsafe { std::os::fd::BorrowedFd::borrow_raw(bell) };
            let _ = rustix::io::read(bell, &mut [0_u8; 8]);
        }
    }
}

/// Puts an entry into the submission queue; false when that is full.
fn offer(ring: &mut Uring, entry: &Entry128) -> bool {
    // SAFETY: what the entry points to belongs to a request in the op table, which keeps it in place until the completion
    // with this number has been taken (or for ever, when the kernel never answers).
    unsafe { ring.submission().push(entry) }.is_ok()
}

/// Errors of entering the ring. None of them loses anything: what was not taken stays in the queue.
fn complain(error: &io::Error) {
    match error.raw_os_error() {
        // The wait ended by its limit or a signal; the kernel wants its completions taken first, or is short of memory.
        Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => {}
        _ => {
            tracing::error!(%error, "entering the ring failed");
            // Not a busy loop, whatever is wrong.
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

//! From calls to fops and back.
//!
//! [`fops`] decodes the arguments of each procedure into a request of the translator API and says how its reply is written
//! ([`shapes`]). What is the same for all of them is here: the order of checks, the task, the room that it takes.

mod fops;
mod shapes;
mod translate;

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;

use kiln_uring::{Buf, Errno};

use super::auth::is_privileged;
use super::connection::{Bound, Connection};
use super::door::Brick;
use super::gate::Cost;
use super::handshake;
use super::stats::bump;
use crate::call::{Call, CallSpec, CallTimes, Caller, TimeFlags, internal_pid};
use crate::fop::Fop;
use crate::graph::Next;
use crate::protocol::rpc::credential::Credential;
use crate::protocol::rpc::message::{self, Accept, Denial, denial};
use crate::protocol::rpc::programs::{self, dump, fops as wire, portmap};
use crate::protocol::xdr::Wire;
use crate::translator::Wound;
use crate::types::{Gfid, LockOwner};
use shapes::Shape;

/// What a request costs besides its payload: its task and a short reply.
const BASE: usize = 1024;
/// Most locks of one client that wait at a time.
const MOST_WAITING: usize = 16_384;
/// Longest read that is served; longer ones are short.
const LONGEST_READ: u32 = 256 << 20;
/// Most bytes of entries in one reply.
const LONGEST_LIST: u32 = 4 << 20;

/// A call that has come.
pub(super) struct Arrival<'a> {
    pub(super) call: message::Call<'a>,
    /// The record, with the payload unless that came separately.
    pub(super) record: &'a [u8],
    /// The payload of a large write.
    pub(super) payload: Option<Buf>,
    /// The room that was taken for it before.
    pub(super) admitted: Option<Cost>,
}

/// What a write takes.
pub(super) const fn cost_of_write(payload: usize) -> Cost {
    Cost { requests: 1, bytes: BASE + payload }
}

/// Serves a call, once there is room for it.
pub(super) async fn serve(connection: &Rc<Connection>, arrival: Arrival<'_>) {
    let Arrival { call, record, payload, admitted } = arrival;
    let arguments = record.get(call.arguments..).unwrap_or_default();
    let program = (call.program, call.version);
    let room = match (admitted, program) {
        (Some(cost), (wire::PROGRAM, wire::VERSION)) => {
            return serve_fop(connection, &call, arguments, payload, cost);
        }
        (Some(cost), _) => Room { connection, cost },
        (None, (wire::PROGRAM, wire::VERSION)) => {
            let cost = fops::cost(call.procedure, arguments);
            connection.admit(cost).await;
            return serve_fop(connection, &call, arguments, payload, cost);
        }
        (None, _) => {
            // Pings, too, have to be taken by whoever sends them.
            let cost = Cost { requests: 0, bytes: BASE };
            connection.admit(cost).await;
            Room { connection, cost }
        }
    };
    let allowed = connection.door.settings().allow_insecure || is_privileged(&connection.peer);
    let answered = match call.program {
        dump::PROGRAM if call.version == dump::VERSION => {
            handshake::serve_dump(connection, call.xid, call.procedure, arguments)
        }
        _ if !allowed => {
            bump(&connection.stats.refused, 1);
            connection.outbox.record(&denial(call.xid, Denial::RejectedCredential));
            connection.flush();
            return;
        }
        programs::handshake::PROGRAM if call.version == programs::handshake::VERSION => {
            handshake::serve_handshake(connection, call.xid, call.procedure, arguments).await
        }
        portmap::PROGRAM if call.version == portmap::VERSION => {
            handshake::serve_portmap(connection, call.xid, call.procedure, arguments)
        }
        dump::PROGRAM | programs::handshake::PROGRAM | portmap::PROGRAM | wire::PROGRAM => {
            Err(Accept::ProgramMismatch)
        }
        _ => Err(Accept::ProgramUnavailable),
    };
    match answered {
        Ok(()) => {
            if !connection.greeted.replace(true) {
                connection.seat.heard();
            }
            // The reply is in the outbox, and pays when it is sent.
            connection.outbox.charge(room.hand_over());
            connection.flush();
        }
        Err(accept) => connection.refuse(call.xid, accept),
    }
}

/// Room that is given back unless somebody else answers for it.
struct Room<'a> {
    connection: &'a Connection,
    cost: Cost,
}

impl Room<'_> {
    fn hand_over(mut self) -> Cost {
        std::mem::take(&mut self.cost)
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.connection.leave(self.cost);
    }
}

fn serve_fop(
    connection: &Rc<Connection>,
    call: &message::Call<'_>,
    arguments: &[u8],
    payload: Option<Buf>,
    cost: Cost,
) {
    let ticket = Ticket {
        connection: Rc::clone(connection),
        xid: call.xid,
        cost: Cell::new(cost),
        answered: Cell::new(false),
        urgent: Cell::new(false),
    };
    let Some(bound) = connection.bound.get() else {
        return ticket.refuse(if call.procedure == wire::procedure::RELEASE {
            Accept::SystemError
        } else {
            Accept::GarbageArguments
        });
    };
    connection.stats.called(call.procedure);
    let job = Job { ticket, bound, credential: &call.credential };
    fops::serve(job, call.procedure, arguments, payload);
}

/// The duty to answer a call. The answer of an interrupt is urgent: when a client has the answer of the lock first, one of
/// its two threads that receive waits for that of the interrupt, and with two such locks both of them do, for ever. One that is dropped without an answer, because its task panicked, is answered with a system
/// error.
pub(super) struct Ticket {
    connection: Rc<Connection>,
    xid: u32,
    cost: Cell<Cost>,
    answered: Cell<bool>,
    /// Its answer goes before those that are not sent yet.
    urgent: Cell<bool>,
}

impl Ticket {
    /// Answers with a body.
    fn answer<'a>(&self, body: &impl Wire<'a>) {
        self.answer_with(body, None);
    }

    /// Answers with a body and the bytes of a read.
    fn answer_with<'a>(&self, body: &impl Wire<'a>, data: Option<Buf>) {
        self.answered.set(true);
        match data {
            None if self.urgent.get() => self.connection.outbox.reply_first(self.xid, body),
            data => self.connection.outbox.reply(self.xid, body, data),
        }
        self.connection.outbox.charge(self.cost.take());
        self.connection.flush();
    }

    /// The number of an object as the client knows it.
    fn seen_ino(&self, ino: u64) -> u64 {
        let root = self.connection.outbox.root();
        if ino == root.ino() { Gfid::ROOT.ino() } else { ino }
    }

    fn count_failure(&self) {
        bump(&self.connection.stats.failed, 1);
    }

    fn refuse(&self, accept: Accept) {
        self.answered.set(true);
        self.connection.refuse(self.xid, accept);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.answered.get() && !self.connection.end.is_set() {
            self.connection.refuse(self.xid, Accept::SystemError);
        }
        self.connection.leave(self.cost.take());
    }
}

/// A call of a bound client whose arguments are being decoded.
struct Job<'a> {
    ticket: Ticket,
    bound: &'a Bound,
    credential: &'a Credential<'a>,
}

/// How a fop is wound.
type Wind<R, P> = for<'a> fn(&'a Next, &'a Call, R) -> Wound<'a, P>;

impl Job<'_> {
    /// Who asks, as the options want it.
    fn caller(&self) -> Caller {
        let Credential { pid, uid, gid, groups, owner, .. } = *self.credential;
        let settings = self.ticket.connection.door.settings();
        let client = self.ticket.connection.client;
        let lock_owner = LockOwner::new(owner);
        let exempt = pid == internal_pid::NO_ROOT_SQUASH;
        if settings.all_squash && !exempt {
            let (uid, gid) = (settings.anonuid, settings.anongid);
            return Caller { uid, gid, groups: Box::default(), pid, lock_owner, client };
        }
        let squash = settings.root_squash && !exempt;
        let user = |id: u32| if squash && id == 0 { settings.anonuid } else { id };
        let group = |id: u32| if squash && id == 0 { settings.anongid } else { id };
        let groups = groups.iter().map(group).collect();
        Caller { uid: user(uid), gid: group(gid), groups, pid, lock_owner, client }
    }

    fn times(&self) -> CallTimes {
        let flags = u16::try_from(self.credential.flags).unwrap_or(0);
        CallTimes {
            flags: TimeFlags::from_bits_truncate(flags),
            stamp: self.credential.time,
            only_existing: false,
        }
    }

    fn spec(&self, fop: Fop, subject: Gfid) -> CallSpec {
        CallSpec {
            fop,
            subject,
            caller: self.caller(),
            times: self.times(),
            unique: u64::from(self.ticket.xid),
        }
    }

    /// Winds a fop in a task of its own and answers with its reply.
    fn run<R: 'static, P: 'static>(
        self,
        fop: Fop,
        subject: Gfid,
        request: Result<R, Errno>,
        wind: Wind<R, P>,
        shape: &'static Shape<P>,
    ) {
        match request {
            Ok(request) => self.launch(fop, subject, false, move |task| task.wind(request, wind, shape)),
            Err(errno) => (shape.fail)(errno.into(), &self.ticket),
        }
    }

    /// The same for a fop that may wait for other clients.
    fn run_waiting<R: 'static, P: 'static>(
        self,
        fop: Fop,
        subject: Gfid,
        request: Result<R, Errno>,
        wind: Wind<R, P>,
        shape: &'static Shape<P>,
    ) {
        let full = self.ticket.connection.waiting() >= MOST_WAITING;
        match request {
            Ok(_) if full => (shape.fail)(Errno::NOLCK.into(), &self.ticket),
            Ok(request) => self.launch(fop, subject, true, move |task| task.wind(request, wind, shape)),
            Err(errno) => (shape.fail)(errno.into(), &self.ticket),
        }
    }

    /// Starts the task of a fop.
    fn launch<F: Future<Output = ()> + 'static>(
        self,
        fop: Fop,
        subject: Gfid,
        waits: bool,
        work: impl FnOnce(Task) -> F + 'static,
    ) {
        let connection = Rc::clone(&self.ticket.connection);
        let door = Rc::clone(&connection.door);
        let (brick, mut spec, ticket) = (Rc::clone(&self.bound.brick), self.spec(fop, subject), self.ticket);
        let groups = door.settings().groups.filter(|_| !spec.caller.is_internal());
        if let Some(keep) = groups {
            let user = (spec.caller.uid, spec.caller.gid);
            match door.names.known_groups(door.core.now(), user) {
                Some(groups) => spec.caller.groups = (*groups).into(),
                None => {
                    return connection.run(waits, async move {
                        spec.caller.groups = (*door.names.groups(&door.core, user, keep).await).into();
                        work(Task { brick, call: door.graph.begin(spec), ticket }).await;
                    });
                }
            }
        }
        connection.run(waits, work(Task { brick, call: door.graph.begin(spec), ticket }));
    }
}

/// A fop under way.
struct Task {
    brick: Rc<Brick>,
    call: Call,
    ticket: Ticket,
}

impl Task {
    async fn wind<R: 'static, P: 'static>(self, request: R, wind: Wind<R, P>, shape: &'static Shape<P>) {
        match wind(&self.brick.next, &self.call, request).await {
            Ok(reply) => (shape.ok)(reply, &self.ticket),
            Err(error) => (shape.fail)(error, &self.ticket),
        }
    }
}

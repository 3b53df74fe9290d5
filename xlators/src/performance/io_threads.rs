//! `performance/io-threads`: what GlusterFS does for itself yields to what users want.
//!
//! GlusterFS hands fops to threads by priority. Kiln has no such threads: an operation that must wait waits in the kernel's
//! ring, and waiting costs nothing. What remains is the least priority, for fops of internal clients (self-heal, rebalance:
//! a negative pid, but that of distribute's own small operations). Of these only `least-prio-threads` are under way at a
//! time, and each lets all that is runnable on its core go first. The fops of users pass as they are.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use kiln_uring::Core;
use serde_json::{Value as Json, json};

use crate::call::{Call, Caller, internal_pid};
use crate::fop::{Access, Fop, FopSet, reply, request};
use crate::graph::Next;
use crate::handoff::{Giver, Taker, handoff};
use crate::options::{OptionKind, OptionSpec, Options};
use crate::translator::{
    Children, Fops, InstanceContext, PrepareContext, Shared, Translator, TranslatorType, Wound,
};

/// `performance/io-threads`.
pub static TYPE: TranslatorType = TranslatorType {
    name: "performance/io-threads",
    about: "Lets GlusterFS's own traffic yield to that of users",
    children: Children::One,
    options: OPTIONS,
    prepare,
    instance,
    renew: TranslatorType::nothing_to_renew,
    merge_stats: TranslatorType::no_stats,
};

const NO_THREADS: &str =
    "no threads wait for the disk here: the number of operations under way is not limited by them";

const fn threads(name: &'static str, about: &'static str) -> OptionSpec {
    OptionSpec::new(name, OptionKind::Int(1, 64), "16", about).ignored(NO_THREADS)
}

const OPTIONS: &[OptionSpec] = &[
    threads("thread-count", "Threads of all priorities."),
    threads("high-prio-threads", "Threads for opens, lookups and the like."),
    threads("normal-prio-threads", "Threads for locks and changes of names and attributes."),
    threads("low-prio-threads", "Threads for reads, writes and syncs."),
    OptionSpec::new(
        "least-prio-threads",
        OptionKind::Int(1, 64),
        "1",
        "Operations of internal clients that are under way at a time, over all cores but at least one on each.",
    ),
    OptionSpec::new(
        "enable-least-priority",
        OptionKind::Bool,
        "on",
        "Whether operations of internal clients yield to those of users.",
    ),
    OptionSpec::new(
        "idle-time",
        OptionKind::Int(1, 0x7fff_ffff),
        "120",
        "Seconds after which an idle thread ends.",
    )
    .ignored(NO_THREADS),
    OptionSpec::new(
        "watchdog-secs",
        OptionKind::Int(0, i64::MAX),
        "0",
        "Seconds after which a stuck queue gets a thread.",
    )
    .ignored("there is no queue for threads that could be stuck; debug/io-stats shows slow fops"),
    OptionSpec::new(
        "cleanup-disconnected-reqs",
        OptionKind::Bool,
        "off",
        "Whether queued operations of clients that are gone are dropped.",
    )
    .ignored("what waits for a client that is gone is always dropped"),
    OptionSpec::new("pass-through", OptionKind::Bool, "false", "Whether the layer does nothing."),
];

/// How many cores share the limit.
#[derive(Debug)]
struct Cores(usize);

fn prepare(context: &PrepareContext<'_>) -> Result<Shared, String> {
    Ok(std::sync::Arc::new(Cores(context.cores.max(1))))
}

fn instance(mut context: InstanceContext<'_>) -> Result<Rc<dyn Translator>, String> {
    let cores = context.shared::<Cores>()?.0;
    let layer = IoThreads {
        next: context.below(),
        core: context.core.clone(),
        cores,
        yields: Cell::new(false),
        slots: Slots::default(),
    };
    layer.configure(context.options);
    Ok(Rc::new(layer))
}

/// A number of places, and those who wait for one, first come first.
#[derive(Debug, Default)]
struct Slots {
    limit: Cell<usize>,
    taken: Cell<usize>,
    waiting: RefCell<VecDeque<Giver<()>>>,
}

/// A place.
struct Slot<'a>(&'a Slots);

/// Waits for a place, which it may get at the very moment when nobody waits any more.
struct Waiting<'a> {
    slots: &'a Slots,
    taker: Taker<()>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.taker.abandon().is_some() {
            self.slots.leave();
        }
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Slots {
    async fn enter(&self) -> Slot<'_> {
        if self.taken.get() < self.limit.get() {
            self.taken.set(self.taken.get() + 1);
            return Slot(self);
        }
        let (giver, taker) = handoff();
        self.waiting.borrow_mut().push_back(giver);
        let mut waiting = Waiting { slots: self, taker };
        (&mut waiting.taker).await;
        // The place came with the answer; what is dropped here has nothing left to abandon.
        Slot(self)
    }

    fn leave(&self) {
        self.taken.set(self.taken.get() - 1);
        self.fill();
    }

    /// Gives free places to those who wait.
    fn fill(&self) {
        while self.taken.get() < self.limit.get() {
            let Some(next) = self.waiting.borrow_mut().pop_front() else { return };
            if next.give(()).is_ok() {
                self.taken.set(self.taken.get() + 1);
            }
        }
    }
}

/// The layer on one core.
#[derive(Debug)]
pub struct IoThreads {
    next: Next,
    core: Core,
    cores: usize,
    yields: Cell<bool>,
    slots: Slots,
}

/// Whether the caller's fops have the least priority.
const fn is_least(caller: &Caller) -> bool {
    caller.is_internal() && caller.pid != internal_pid::NO_ROOT_SQUASH
}

/// Fops that take no place: they do not touch the disk, and a lock may be waited for.
fn is_free(fop: Fop) -> bool {
    fop.info().access == Access::Lock || fop == Fop::Flush
}

impl IoThreads {
    fn configure(&self, options: &Options) {
        self.yields.set(options.bool("enable-least-priority") && !options.bool("pass-through"));
        let limit = usize::try_from(options.int("least-prio-threads")).unwrap_or(1);
        self.slots.limit.set((limit / self.cores).max(1));
        self.slots.fill();
    }

    async fn turn(&self) -> Slot<'_> {
        let slot = self.slots.enter().await;
        self.core.yield_now().await;
        slot
    }
}

macro_rules! methods {
    ($(#[doc = $doc:literal] $variant:ident $method:ident $number:literal $access:ident $subject:ident
        ($($arg:ident : $type:ty),*) -> $reply:ident;)*) => {
        impl Fops for IoThreads {
            fn next(&self) -> &Next {
                &self.next
            }

            fn intercepts(&self) -> FopSet {
                Fop::ALL.into_iter().filter(|fop| !is_free(*fop)).collect()
            }

            $(fn $method<'a>(&'a self, call: &'a Call, req: request::$variant) -> Wound<'a, reply::$reply> {
                if !self.yields.get() || !is_least(call.caller()) {
                    return self.next.$method(call, req);
                }
                Wound::new(call, async move {
                    let _slot = self.turn().await;
                    self.next.$method(call, req).await
                })
            })*
        }
    };
}

crate::for_each_fop!(methods);

impl Translator for IoThreads {
    fn reconfigure(&self, options: &Options) -> Result<(), String> {
        self.configure(options);
        Ok(())
    }

    fn statedump(&self) -> Json {
        let waiting = self.slots.waiting.borrow().len();
        match (self.slots.taken.get(), waiting) {
            (0, 0) => Json::Null,
            (running, waiting) => json!({ "least_priority": { "running": running, "waiting": waiting } }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kiln_uring::sim::Sim;

    use super::*;
    use crate::testing::{Rig, internal, root};
    use crate::types::{Gfid, Loc, Xdata};

    const LAYER: &str = "performance/io-threads";

    async fn stat(rig: &Rig, caller: Caller) {
        let call = rig.call(Fop::Stat, caller);
        let req = request::Stat { loc: Loc::object(Gfid::ROOT), xdata: Xdata::NONE };
        rig.top().stat(&call, req).await.unwrap();
    }

    /// How many stats of that caller are done after a while, if ten begin at once and each takes a millisecond.
    async fn done_after(core: &Core, rig: &Rc<Rig>, caller: &Caller, while_: Duration) -> usize {
        let done = Rc::new(Cell::new(0));
        let tasks: Vec<_> = (0..10)
            .map(|_| {
                let (rig, caller, done) = (Rc::clone(rig), caller.clone(), Rc::clone(&done));
                core.spawn(async move {
                    stat(&rig, caller).await;
                    done.set(done.get() + 1);
                })
            })
            .collect();
        core.sleep(while_).await;
        // Some wait, some are under way: all are dropped.
        tasks.into_iter().for_each(|task| core.abort(task));
        done.get()
    }

    #[test]
    fn internal_traffic_is_limited_and_users_are_not() {
        Sim::new(1).run(async |core| {
            let rig = Rc::new(Rig::new(&core, &[(LAYER, &[])]));
            rig.brick.delay(Fop::Stat, Duration::from_millis(1));
            let window = Duration::from_micros(3500);
            let distribute = Caller { pid: internal_pid::NO_ROOT_SQUASH, ..root() };
            for _ in 0..3 {
                assert_eq!(done_after(&core, &rig, &root(), window).await, 10);
                assert_eq!(done_after(&core, &rig, &distribute, window).await, 10);
                assert_eq!(done_after(&core, &rig, &internal(0), window).await, 3);
                assert!(rig.graph.layers()[1].statedump().is_null(), "nothing stays taken");
            }
            rig.reconfigure(&[(LAYER, &[("least-prio-threads", "2")])]).unwrap();
            assert_eq!(done_after(&core, &rig, &internal(0), window).await, 6);
            for off in [("enable-least-priority", "off"), ("pass-through", "on")] {
                rig.reconfigure(&[(LAYER, &[off])]).unwrap();
                assert_eq!(done_after(&core, &rig, &internal(0), window).await, 10);
            }
        });
    }

    #[test]
    fn locks_take_no_place() {
        Sim::new(2).run(async |core| {
            let rig = Rig::new(&core, &[(LAYER, &[])]);
            let set = rig.graph.layers()[1].intercepts();
            for fop in [Fop::Lk, Fop::Inodelk, Fop::Fentrylk, Fop::Flush, Fop::Ipc] {
                assert!(!set.contains(fop), "{fop}");
            }
            assert!(set.contains(Fop::Writev) && set.contains(Fop::Lookup));
        });
    }
}

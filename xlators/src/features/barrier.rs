//! `features/barrier`: holds acknowledgements back while a snapshot is taken.
//!
//! While it is on, fops that a client takes as done once they are answered (removals, renames, truncations, syncs, and
//! synchronous writes) are performed, but their successful answers wait until it is off, or until `barrier-timeout` has
//! passed. So a snapshot of the brick that is taken meanwhile has everything that any client believes to be safe.
//!
//! It is switched by its option, or by the management of the brick through [`gates`].

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kiln_uring::sys::OpenFlags;
use kiln_uring::{Core, Instant};
use serde_json::{Value as Json, json};

use crate::call::Call;
use crate::fop::{Fop, FopSet, reply, request};
use crate::graph::{Blueprint, Next};
use crate::handoff::{Giver, handoff};
use crate::options::{OptionKind, OptionSpec, Options};
use crate::translator::{
    Children, Fops, InstanceContext, PrepareContext, Shared, Translator, TranslatorType, Wound,
};

/// `features/barrier`.
pub static TYPE: TranslatorType = TranslatorType {
    name: "features/barrier",
    about: "Holds acknowledgements back while a snapshot is taken",
    children: Children::One,
    options: OPTIONS,
    prepare,
    instance,
    renew: TranslatorType::nothing_to_renew,
    merge_stats: TranslatorType::no_stats,
};

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new("barrier", OptionKind::Bool, "disable", "Whether acknowledgements are held back."),
    OptionSpec::new(
        "barrier-timeout",
        OptionKind::Time(0, 360),
        "120",
        "How long they are held back at most; the barrier is off then.",
    ),
];

/// The barrier is on, or off, already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the barrier is in that state already")]
pub struct Already;

/// One hold, from on to off.
#[derive(Debug)]
struct Hold {
    until: Instant,
    held: Vec<Giver<()>>,
}

#[derive(Debug, Default)]
struct State {
    hold: Option<Hold>,
    timeout: Duration,
    /// What the option said last.
    option: bool,
}

/// The barrier of one brick, the same on all cores.
#[derive(Debug, Default)]
pub struct Gate {
    /// Whether there is a hold: all that a fop looks at while there is none.
    on: AtomicBool,
    state: Mutex<State>,
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether acknowledgements are held back.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Acquire)
    }

    /// Switches it on or off. A hold that is over its time counts as off.
    ///
    /// # Errors
    /// [`Already`] when there is nothing to switch.
    pub fn switch(&self, on: bool, now: Instant) -> Result<(), Already> {
        let mut state = self.state();
        self.end(&mut state, |hold| hold.until <= now);
        if on == state.hold.is_some() {
            return Err(Already);
        }
        if on {
            let until = now + state.timeout;
            state.hold = Some(Hold { until, held: Vec::new() });
            self.on.store(true, Ordering::Release);
        } else {
            self.end(&mut state, |_| true);
        }
        tracing::info!(on, "the barrier is switched");
        Ok(())
    }

    /// Ends the hold if `over` says so: all that is held goes on.
    fn end(&self, state: &mut State, over: impl FnOnce(&Hold) -> bool) {
        if state.hold.as_ref().is_some_and(over) {
            self.on.store(false, Ordering::Release);
            for giver in state.hold.take().map(|hold| hold.held).unwrap_or_default() {
                // Somebody who does not wait any more needs no acknowledgement.
                let _ = giver.give(());
            }
        }
    }

    fn configure(&self, options: &Options, now: Instant) {
        let on = options.bool("barrier");
        let mut state = self.state();
        state.timeout = options.time("barrier-timeout");
        // Every core brings the same news, and the hold may have ended since: only a change counts.
        if std::mem::replace(&mut state.option, on) != on {
            drop(state);
            // The management may have switched it before.
            let _ = self.switch(on, now);
        }
    }

    /// Waits until nothing is held back.
    async fn pass(&self, core: &Core) {
        let (taker, rest) = {
            let mut state = self.state();
            let Some(hold) = &mut state.hold else { return };
            let (giver, taker) = handoff();
            hold.held.push(giver);
            (taker, hold.until - core.now())
        };
        if core.timeout(rest, taker).await.is_err() {
            let now = core.now();
            self.end(&mut self.state(), |hold| {
                let over = hold.until <= now;
                if over {
                    tracing::warn!(held = hold.held.len(), "the barrier was on for too long and is off now");
                }
                over
            });
        }
    }
}

/// The barriers of a graph, for the management of the brick.
pub fn gates(blueprint: &Blueprint) -> impl Iterator<Item = Arc<Gate>> + '_ {
    let barriers = blueprint.layers().iter().filter(|layer| layer.kind.name == TYPE.name);
    barriers.filter_map(|layer| Arc::clone(&layer.shared).downcast().ok())
}

fn prepare(context: &PrepareContext<'_>) -> Result<Shared, String> {
    let gate = Gate::default();
    gate.state().timeout = context.options.time("barrier-timeout");
    Ok(Arc::new(gate))
}

fn instance(mut context: InstanceContext<'_>) -> Result<Rc<dyn Translator>, String> {
    let gate = context.shared::<Gate>()?;
    gate.configure(context.options, context.core.now());
    Ok(Rc::new(Barrier { next: context.below(), core: context.core.clone(), gate }))
}

/// The layer on one core.
#[derive(Debug)]
pub struct Barrier {
    next: Next,
    core: Core,
    gate: Arc<Gate>,
}

/// Whether a write is answered only when it is safe.
fn is_synchronous(req: &request::Writev) -> bool {
    let flags = OpenFlags::from_bits_retain(req.flags | req.fd.flags());
    flags.intersects(OpenFlags::SYNC | OpenFlags::DSYNC)
}

macro_rules! hold {
    ($($variant:ident $method:ident $reply:ident |$req:ident| $holds:expr;)*) => {
        impl Fops for Barrier {
            fn next(&self) -> &Next {
                &self.next
            }

            fn intercepts(&self) -> FopSet {
                FopSet::EMPTY $(.with(Fop::$variant))*
            }

            $(fn $method<'a>(&'a self, call: &'a Call, $req: request::$variant) -> Wound<'a, reply::$reply> {
                if !$holds {
                    return self.next.$method(call, $req);
                }
                Wound::new(call, async move {
                    let answer = self.next.$method(call, $req).await?;
                    if self.gate.is_on() {
                        self.gate.pass(&self.core).await;
                    }
                    Ok(answer)
                })
            })*
        }
    };
}

hold! {
    Rmdir rmdir Removed |req| true;
    Unlink unlink Removed |req| true;
    Rename rename Renamed |req| true;
    Truncate truncate Changed |req| true;
    Ftruncate ftruncate Changed |req| true;
    Removexattr removexattr Done |req| true;
    Fremovexattr fremovexattr Done |req| true;
    Fsync fsync Changed |req| true;
    Writev writev Written |req| is_synchronous(&req);
}

impl Translator for Barrier {
    fn reconfigure(&self, options: &Options) -> Result<(), String> {
        self.gate.configure(options, self.core.now());
        Ok(())
    }

    fn statedump(&self) -> Json {
        match &self.gate.state().hold {
            None => Json::Null,
            Some(hold) => {
                json!({ "held": hold.held.len(), "rest_ms": (hold.until - self.core.now()).as_millis() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use kiln_uring::sim::Sim;
    use kiln_uring::{Buf, Errno};

    use super::*;
    use crate::fd::Fd;
    use crate::testing::{Rig, entry, gfid, user};
    use crate::types::{Gfid, Xdata};

    const LAYER: &str = "features/barrier";
    const ON: &[(&str, &str)] = &[("barrier", "enable")];

    fn unlink(rig: &Rc<Rig>, core: &Core) -> Rc<Cell<bool>> {
        let done = Rc::new(Cell::new(false));
        let (rig, mark) = (Rc::clone(rig), Rc::clone(&done));
        core.spawn(async move {
            let call = rig.call(Fop::Unlink, user(1));
            let req = request::Unlink { loc: entry(Gfid::ROOT, "x"), flags: 0, xdata: Xdata::NONE };
            mark.set(rig.top().unlink(&call, req).await.is_ok());
        });
        done
    }

    #[test]
    fn what_is_done_is_answered_when_the_barrier_is_off() {
        Sim::new(1).run(async |core| {
            let rig = Rc::new(Rig::new(&core, &[(LAYER, &[])]));
            let moment = Duration::from_millis(5);
            for switch in [true, false] {
                let before = unlink(&rig, &core);
                core.sleep(moment).await;
                assert!(before.get());
                let gate = gates(&rig.blueprint).next().unwrap();
                match switch {
                    true => gate.switch(true, core.now()).unwrap(),
                    false => rig.reconfigure(&[(LAYER, ON)]).unwrap(),
                }
                assert_eq!(gate.switch(true, core.now()), Err(Already));
                rig.brick.take_fops();
                let held = unlink(&rig, &core);
                core.sleep(moment).await;
                assert!(!held.get());
                assert_eq!(rig.brick.take_fops(), [Fop::Unlink], "it is done all the same");
                assert_eq!(rig.graph.layers()[1].statedump()["held"], 1);
                match switch {
                    true => gate.switch(false, core.now()).unwrap(),
                    false => rig.reconfigure(&[(LAYER, &[])]).unwrap(),
                }
                assert_eq!(gate.switch(false, core.now()), Err(Already));
                core.sleep(moment).await;
                assert!(held.get());
            }
        });
    }

    #[test]
    fn it_ends_by_itself_and_concerns_synchronous_writes_only() {
        Sim::new(2).run(async |core| {
            let rig = Rc::new(Rig::new(&core, &[(LAYER, ON)]));
            let write = async |flags: OpenFlags| {
                let call = rig.call(Fop::Writev, user(1));
                let fd = Fd::file(gfid(1), flags.bits(), 1);
                let data = Buf::from_slice(b"x");
                let req = request::Writev { fd, data, offset: 0, flags: 0, xdata: Xdata::NONE };
                core.timeout(Duration::from_secs(10), rig.top().writev(&call, req)).await.is_ok()
            };
            assert!(write(OpenFlags::RDWR).await);
            assert!(!write(OpenFlags::SYNC).await && !write(OpenFlags::DSYNC).await);
            let held = unlink(&rig, &core);
            // A failure is no acknowledgement.
            rig.brick.fail(Fop::Fsync, Errno::IO);
            let call = rig.call(Fop::Fsync, user(1));
            let req = request::Fsync { fd: Fd::file(gfid(1), 0, 1), data_only: false, xdata: Xdata::NONE };
            assert_eq!(rig.top().fsync(&call, req).await.unwrap_err().errno, Errno::IO);
            core.sleep(Duration::from_secs(95)).await;
            assert!(!held.get());
            core.sleep(Duration::from_secs(10)).await;
            assert!(held.get());
            let gate = gates(&rig.blueprint).next().unwrap();
            assert!(!gate.is_on());
            // A hold that nobody waited in is over in time, too.
            gate.switch(true, core.now()).unwrap();
            core.sleep(Duration::from_secs(121)).await;
            gate.switch(true, core.now()).unwrap();
        });
    }
}

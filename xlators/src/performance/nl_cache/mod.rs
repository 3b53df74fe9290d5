//! `performance/nl-cache`: remembers which names are not there.
//!
//! Searching a file along a path of directories asks mostly for names that do not exist, and clients do not remember those
//! for each other. This layer answers such lookups from memory. It stands directly above `storage/posix`: everything that
//! makes a name on the brick must pass through it, and layers that decide who may look, or that count locks, must be above.
//!
//! Each core has its own names ([`absent`]), so a probe takes no lock and hops to no other core. What makes them right on all
//! cores is shared ([`fences`]): names and directories hash to stripes, each a counter of the fops that could have made
//! names in it. A fop that may make a name *closes* its stripe before it goes down and *opens* it after it has ended, and
//! each changes the counter. An absent name is stored with its counter as it was before the brick was asked, if that is
//! still the same with the answer and no fop was under way; it is believed only while the counter is what it was. So
//!
//! - a lookup that overlaps a create of the same name, in whatever order their replies come and on whichever cores they
//!   run, leaves nothing behind;
//! - when a create is answered, all cores have forgotten the name, without a message to any;
//! - a name that shares its stripe is asked for once more than needed.
//!
//! The other design was an owner core per directory with invalidations that are acknowledged before a create is answered:
//! a create then waits for the slowest core, and a lookup on another core than the owner's costs a hop, many times what the
//! brick's own answer costs. One table behind locks would do, but every lookup of all cores would write to its cache lines;
//! the stripes are written by creates only. Measured by `cargo bench --bench nl_cache`, see `docs/performance.md`.
//!
//! A fop whose client goes away may still be on its way in a helper thread. Its stripe stays closed until that job has ended
//! ([`Core::under_way`]), which the core that it ran on looks after.
//!
//! # What is kept, and what is not
//!
//! - Only `ENOENT` of a lookup by name is kept. After an `unlink`, `rmdir` or the `rename` of a directory the old name is
//!   known to be absent, too. (After the rename of a file it is not: renaming one of two names of a file to the other does
//!   nothing, and succeeds.)
//! - `rmdir`, and a `rename` that replaces an empty directory, drop what is known of the directory that goes: lookups in it
//!   are `ESTALE` from then on, which tells a client to look at the path again. Which directory that is, the layer asks before.
//! - The answer has no attributes of the parent, which would have to be asked for: what takes the time of an
//!   absent name is not the name. On the wire they are zeros then; GlusterFS's clients do not read them in a failed
//!   lookup, and neither does the mount.
//! - Lookups whose xdata might have an answer for an absent name are neither answered nor learnt from ([`harmless`]).
//! - Finding a name, by a lookup or in a listing, that is believed to be absent, means that somebody goes around the layer:
//!   all cores forget it, and `contradictions` counts it.

mod absent;
mod fences;
mod fops;
mod harmless;
mod stats;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use kiln_uring::{Core, Instant, UnderWay};
use serde_json::Value as Json;

use self::absent::{Absent, Entry};
use self::fences::{Fences, Spot, Stamp};
use self::stats::{Counters, Snapshot};
use crate::fop::Fop;
use crate::graph::Next;
use crate::options::{OptionKind, OptionSpec, Options};
use crate::translator::{
    Children, Event, InstanceContext, PrepareContext, Shared, Translator, TranslatorType,
};
use crate::types::{Gfid, Name};

/// `performance/nl-cache`.
pub static TYPE: TranslatorType = TranslatorType {
    name: "performance/nl-cache",
    about: "Remembers which names are not there",
    children: Children::One,
    options: OPTIONS,
    prepare,
    instance,
    renew: TranslatorType::nothing_to_renew,
    merge_stats: stats::merge,
};

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "nl-cache-limit",
        OptionKind::Size(0, u64::MAX),
        "16MB",
        "Memory for absent names, over all cores; those of the directory that was not asked for longest go first.",
    ),
    OptionSpec::new(
        "nl-cache-timeout",
        OptionKind::Time(0, u64::MAX),
        "0",
        "How long an absent name is believed, in seconds; 0 is for as long as it is true, which a brick knows.",
    ),
    OptionSpec::new("pass-through", OptionKind::Bool, "false", "Whether all lookups go to the brick."),
    OptionSpec::new(
        "nl-cache-positive-entry",
        OptionKind::Bool,
        "false",
        "Whether names that are there are remembered, too.",
    )
    .ignored("a name that is there has to be looked at anyhow, for its attributes"),
    OptionSpec::new("nl-cache", OptionKind::Bool, "off", "Whether clients have the layer in their graph.")
        .ignored("the layer works where a volfile has it; see pass-through"),
];

/// What the instances share.
#[derive(Debug)]
struct Common {
    fences: Fences,
    cores: usize,
}

fn prepare(context: &PrepareContext<'_>) -> Result<Shared, String> {
    Ok(Arc::new(Common { fences: Fences::default(), cores: context.cores.max(1) }))
}

fn instance(mut context: InstanceContext<'_>) -> Result<Rc<dyn Translator>, String> {
    let common = context.shared::<Common>()?;
    let next = context.below();
    let layer = NlCache {
        locks_below: next.receiver(Fop::Entrylk).is_some(),
        next,
        core: context.core.clone(),
        known_at: Cell::new(common.fences.read(Fences::EVERYTHING)),
        common,
        absent: RefCell::new(Absent::new(0)),
        off: Cell::new(false),
        timeout: Cell::new(Duration::ZERO),
        left: RefCell::default(),
        counters: Counters::default(),
    };
    layer.configure(context.options);
    Ok(Rc::new(layer))
}

/// The layer on one core.
#[derive(Debug)]
pub struct NlCache {
    next: Next,
    core: Core,
    common: Arc<Common>,
    /// The stripe of everything as it was when the first of the names was stored.
    known_at: Cell<Stamp>,
    absent: RefCell<Absent>,
    off: Cell<bool>,
    timeout: Cell<Duration>,
    locks_below: bool,
    /// Stripes of fops that nobody waits for any more, with the jobs that may still be theirs, in order.
    left: RefCell<VecDeque<(UnderWay, Spot)>>,
    counters: Counters,
}

/// What has to be the same with the answer as before the question, for an absent name to be stored.
#[derive(Clone, Copy, Debug)]
struct Ticket {
    spot: Spot,
    name: Stamp,
    parent: Stamp,
    everything: Stamp,
}

/// What a fop has closed. Dropped before [`Closed::open`], because the client is gone, it is opened when nothing of the fop
/// can happen any more.
#[derive(Debug)]
struct Closed<'a> {
    layer: &'a NlCache,
    spot: Option<Spot>,
    /// The fop may remove a directory, and nobody will see whether it was the one that it was expected to be.
    removes: bool,
    over: bool,
}

impl Closed<'_> {
    /// The fop removes what it finds.
    fn removing(mut self) -> Self {
        self.removes = true;
        self
    }

    /// The fop has ended.
    fn open(mut self) {
        self.over = true;
        if let Some(spot) = self.spot {
            self.layer.fences().open(spot);
        }
    }
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let jobs = self.layer.core.under_way();
        let mut left = self.layer.left.borrow_mut();
        if self.removes {
            self.layer.fences().close(Fences::EVERYTHING);
            left.push_back((jobs.clone(), Fences::EVERYTHING));
        }
        if let Some(spot) = self.spot {
            left.push_back((jobs, spot));
        }
        Counters::add(&self.layer.counters.abandoned);
    }
}

impl NlCache {
    fn configure(&self, options: &Options) {
        let limit = usize::try_from(options.size("nl-cache-limit")).unwrap_or(usize::MAX);
        self.timeout.set(options.time("nl-cache-timeout"));
        self.off.set(options.bool("pass-through"));
        let mut absent = self.absent.borrow_mut();
        absent.set_limit(limit / self.common.cores);
        if self.off.get() {
            absent.clear();
        }
    }

    fn fences(&self) -> &Fences {
        &self.common.fences
    }

    /// The time, when anybody minds.
    fn now(&self) -> Instant {
        if self.timeout.get().is_zero() { Instant::default() } else { self.core.now() }
    }

    /// Forgets everything, if all had to since the last time; whether names may be believed again.
    fn catch_up(&self) -> bool {
        let everything = self.fences().read(Fences::EVERYTHING);
        if self.known_at.replace(everything) != everything {
            self.absent.borrow_mut().clear();
        }
        everything.is_quiet()
    }

    /// Whether the name is known to be absent.
    fn is_absent(&self, parent: Gfid, name: &Name) -> bool {
        if !self.catch_up() {
            return false;
        }
        let mut absent = self.absent.borrow_mut();
        let Some((directory, entry)) = absent.find(parent, name.as_bytes()) else { return false };
        if directory != self.fences().read(Fences::directory(parent)) {
            absent.forget(parent);
            return false;
        }
        let timeout = self.timeout.get();
        if entry.stamp == self.fences().read(Fences::name(parent, name.as_bytes()))
            && (timeout.is_zero() || self.core.now().saturating_since(entry.since) < timeout)
        {
            return true;
        }
        absent.remove(parent, name.as_bytes());
        Counters::add(&self.counters.outdated);
        false
    }

    /// Before the brick is asked for a name: none while a fop is under way that may make it.
    fn ticket(&self, parent: Gfid, name: &Name) -> Option<Ticket> {
        if self.off.get() || parent.is_null() {
            return None;
        }
        self.open_left();
        let fences = self.fences();
        let spot = Fences::name(parent, name.as_bytes());
        let ticket = Ticket {
            spot,
            name: fences.read(spot),
            parent: fences.read(Fences::directory(parent)),
            everything: fences.read(Fences::EVERYTHING),
        };
        let stamps = [ticket.name, ticket.parent, ticket.everything];
        stamps.iter().all(|stamp| stamp.is_quiet()).then_some(ticket)
    }

    /// Stores a name that the brick has found absent after the ticket was drawn.
    fn learn(&self, parent: Gfid, name: &Name, ticket: Ticket) {
        let fences = self.fences();
        self.catch_up();
        if self.off.get()
            || fences.read(ticket.spot) != ticket.name
            || fences.read(Fences::directory(parent)) != ticket.parent
            || self.known_at.get() != ticket.everything
        {
            Counters::add(&self.counters.raced);
            return;
        }
        let entry = Entry { stamp: ticket.name, since: self.now() };
        self.absent.borrow_mut().insert(parent, ticket.parent, name.as_bytes(), entry);
    }

    /// The same for a name that was removed: only in a directory that absent names are looked for in, so that removing a
    /// tree does not push out what others know.
    fn learn_removed(&self, parent: Gfid, name: &Name, ticket: Option<Ticket>) {
        let known = self.absent.borrow().knows(parent);
        if let (true, Some(ticket)) = (known, ticket) {
            self.learn(parent, name, ticket);
        }
    }

    /// The name was found.
    fn seen(&self, parent: Gfid, name: &[u8]) {
        let mut absent = self.absent.borrow_mut();
        let Some((directory, entry)) = absent.find(parent, name) else { return };
        absent.remove(parent, name);
        let spot = Fences::name(parent, name);
        let believed = directory == self.fences().read(Fences::directory(parent))
            && entry.stamp == self.fences().read(spot)
            && self.known_at.get() == self.fences().read(Fences::EVERYTHING);
        if believed {
            // Unless the answer was older than what is known, which does not matter.
            self.fences().touch(spot);
            Counters::add(&self.counters.contradictions);
        }
    }

    /// A fop that may make this name goes down.
    fn close_name(&self, parent: Gfid, name: &Name) -> Closed<'_> {
        if self.absent.borrow_mut().remove(parent, name.as_bytes()) {
            Counters::add(&self.counters.invalidations);
        }
        self.close(Fences::name(parent, name.as_bytes()))
    }

    /// A fop goes down after which nothing may be known of this directory.
    fn close_directory(&self, gfid: Gfid) -> Closed<'_> {
        self.absent.borrow_mut().forget(gfid);
        self.close(Fences::directory(gfid))
    }

    fn close_nothing(&self) -> Closed<'_> {
        Closed { layer: self, spot: None, removes: false, over: false }
    }

    fn close(&self, spot: Spot) -> Closed<'_> {
        self.open_left();
        self.fences().close(spot);
        Closed { layer: self, spot: Some(spot), removes: false, over: false }
    }

    /// Opens the stripes of fops that nobody waits for any more, and that can do nothing any more.
    fn open_left(&self) {
        let mut left = self.left.borrow_mut();
        while let Some((_, spot)) = left.front().filter(|(jobs, _)| jobs.is_over()) {
            self.fences().open(*spot);
            left.pop_front();
        }
    }

    fn snapshot(&self) -> Snapshot {
        let absent = self.absent.borrow();
        self.counters.snapshot(&absent, self.left.borrow().len())
    }
}

impl Translator for NlCache {
    fn reconfigure(&self, options: &Options) -> Result<(), String> {
        self.configure(options);
        Ok(())
    }

    fn notify(&self, event: &Event) {
        if matches!(event, Event::ChildDown(_)) {
            self.fences().touch(Fences::EVERYTHING);
        }
    }

    fn statedump(&self) -> Json {
        self.open_left();
        self.snapshot().to_json()
    }

    fn stats(&self) -> Option<Box<dyn Any + Send>> {
        self.open_left();
        Some(Box::new(self.snapshot()))
    }
}

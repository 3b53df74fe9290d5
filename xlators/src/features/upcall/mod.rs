//! `features/upcall`: tells clients that another one changed what they may have cached.
//!
//! The object's [owner core](crate::owner) remembers which clients used it lately, and when somebody changes it, sends all
//! others an [`Invalidation`]. Off, which is the default, fops pass as they are. On, each use of an object costs a message to
//! its owner, but for clients that this core has announced a moment ago.
//!
//! Who is remembered is bounded in time (`cache-invalidation-timeout`) and in number; a record that must go early takes
//! leave with "forget the object", so that no client keeps what nobody watches.

mod fops;
mod watchers;

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use kiln_uring::{Core, Instant};
use lru::LruCache;
use serde_json::{Value as Json, json};

use crate::call::Call;
use crate::graph::Next;
use crate::options::{OptionKind, OptionSpec, Options};
use crate::owner::{OwnerKey, Owners};
use crate::translator::{
    Children, Event, InstanceContext, PrepareContext, Shared, Translator, TranslatorType,
};
use crate::types::{Dict, Gfid, Key};
use crate::upcall::{Invalidation, Stale, Upcall as Message, UpcallEvent, Upcalls};

use watchers::Watchers;

/// `features/upcall`.
pub static TYPE: TranslatorType = TranslatorType {
    name: "features/upcall",
    about: "Tells clients what others changed under their caches",
    children: Children::One,
    options: OPTIONS,
    prepare,
    instance,
    renew: TranslatorType::nothing_to_renew,
    merge_stats: TranslatorType::no_stats,
};

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "cache-invalidation",
        OptionKind::Bool,
        "off",
        "Whether clients are told when another one changes what they used.",
    ),
    OptionSpec::new(
        "cache-invalidation-timeout",
        OptionKind::Int(0, 600),
        "60",
        "Seconds after its last use of an object for which a client is told.",
    ),
];

/// Clients with objects that one core remembers to have announced.
const ANNOUNCED: NonZeroUsize = NonZeroUsize::new(1 << 16).expect("it is not zero");

/// What all cores share.
#[derive(Debug)]
struct Common {
    key: OwnerKey,
    /// Extended attributes that clients cache and want to be told of.
    xattrs: RwLock<Dict>,
}

/// Most names of extended attributes that are remembered.
const MOST_XATTRS: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Config {
    on: bool,
    timeout: Duration,
}

impl Config {
    fn new(options: &Options) -> Self {
        let seconds = u64::try_from(options.int("cache-invalidation-timeout")).unwrap_or(60);
        Self { on: options.bool("cache-invalidation"), timeout: Duration::from_secs(seconds) }
    }
}

fn prepare(context: &PrepareContext<'_>) -> Result<Shared, String> {
    Ok(Arc::new(Common { key: OwnerKey::new(context.cores), xattrs: RwLock::default() }))
}

fn instance(mut context: InstanceContext<'_>) -> Result<Rc<dyn Translator>, String> {
    let common = context.shared::<Common>()?;
    let config = Config::new(context.options);
    let home = Home {
        watchers: RefCell::new(Watchers::default()),
        timeout: Cell::new(config.timeout),
        upcalls: context.upcalls.clone(),
    };
    Ok(Rc::new(Upcall {
        next: context.below(),
        owners: Owners::new(&common.key, context.core, home),
        common,
        config: Cell::new(config),
        announced: RefCell::new(LruCache::new(ANNOUNCED)),
    }))
}

/// One core's objects, and who used them.
#[derive(Debug)]
struct Home {
    watchers: RefCell<Watchers>,
    timeout: Cell<Duration>,
    upcalls: Upcalls,
}

impl Home {
    /// A client used the object.
    fn used(&self, core: &Core, gfid: Gfid, client: u64) {
        let evicted = self.watchers.borrow_mut().used(gfid, client, core.turn_time(), self.timeout.get());
        if let Some((gfid, clients)) = evicted {
            self.send(gfid, &clients, &Invalidation { stale: Stale::FORGET, ..Invalidation::default() });
        }
    }

    /// A client changed the object.
    fn changed(&self, core: &Core, gfid: Gfid, client: Option<u64>, what: &Invalidation) {
        let others = self.watchers.borrow_mut().others(gfid, client, core.turn_time(), self.timeout.get());
        self.send(gfid, &others, what);
        match client {
            Some(client) if !what.stale.contains(Stale::FORGET) => self.used(core, gfid, client),
            _ => {}
        }
    }

    /// The object is no more: all are told, and it is forgotten.
    fn gone(&self, core: &Core, gfid: Gfid) {
        let what = Invalidation { stale: Stale::FORGET, ..Invalidation::default() };
        self.changed(core, gfid, None, &what);
        self.watchers.borrow_mut().forget(gfid);
    }

    fn send(&self, gfid: Gfid, clients: &[u64], what: &Invalidation) {
        for client in clients {
            let event = Invalidation { expires: self.timeout.get(), ..what.clone() };
            let event = UpcallEvent::CacheInvalidation(Box::new(event));
            self.upcalls.send(Message { client: *client, gfid, event });
        }
    }
}

/// The layer on one core.
#[derive(Debug)]
pub struct Upcall {
    next: Next,
    owners: Owners<Home>,
    common: Arc<Common>,
    config: Cell<Config>,
    /// When this core last told an owner that a client uses an object.
    announced: RefCell<LruCache<(Gfid, u64), Instant>>,
}

impl Upcall {
    const fn is_on(&self) -> bool {
        self.config.get().on
    }

    /// The caller uses the object, and may cache what it learns.
    fn used(&self, call: &Call, gfid: Gfid) {
        if gfid.is_null() {
            return;
        }
        let client = call.caller().client;
        let now = self.owners.core().turn_time();
        // The owner remembers for a quarter longer than it is asked to, so that not every use needs a message.
        let pause = self.config.get().timeout / 4;
        let fresh = match self.announced.borrow_mut().get_mut(&(gfid, client)) {
            Some(last) if now - *last < pause => true,
            Some(last) => {
                *last = now;
                false
            }
            None => false,
        };
        if !fresh {
            self.announced.borrow_mut().put((gfid, client), now);
            self.owners.post(gfid, move |home, core| home.used(core, gfid, client));
        }
    }

    /// The caller changed the object.
    fn changed(&self, call: &Call, gfid: Gfid, what: Invalidation) {
        if gfid.is_null() {
            return;
        }
        let client = Some(call.caller().client);
        self.owners.post(gfid, move |home, core| home.changed(core, gfid, client, &what));
    }

    /// The object has no name any more.
    fn gone(&self, gfid: Gfid) {
        if !gfid.is_null() {
            self.owners.post(gfid, move |home, core| home.gone(core, gfid));
        }
    }

    /// Clients tell which extended attributes they cache.
    fn register(&self, names: &Dict) {
        let mut known = self.common.xattrs.write().unwrap_or_else(PoisonError::into_inner);
        for (name, value) in names.iter() {
            if known.len() < MOST_XATTRS || known.contains(name) {
                known.set(name.to_owned(), value.clone());
            }
        }
    }

    /// Of these attributes those that clients cache.
    fn cached<'a>(&self, names: impl Iterator<Item = &'a std::ffi::CStr>) -> Vec<Key> {
        let known = self.common.xattrs.read().unwrap_or_else(PoisonError::into_inner);
        let is_cached = |name: &std::ffi::CStr| {
            known.iter().any(|(known, _)| match known.to_bytes().strip_suffix(b"*") {
                Some(prefix) => name.to_bytes().starts_with(prefix),
                None => known == name,
            })
        };
        names.filter(|name| is_cached(name)).map(|name| name.to_owned().into()).collect()
    }
}

impl Translator for Upcall {
    fn reconfigure(&self, options: &Options) -> Result<(), String> {
        let config = Config::new(options);
        let before = self.config.replace(config);
        let home = self.owners.mine();
        home.timeout.set(config.timeout);
        if before != config {
            // With other times nothing that was announced counts; off, nobody is watched.
            self.announced.borrow_mut().clear();
        }
        if !config.on {
            *home.watchers.borrow_mut() = Watchers::default();
        }
        Ok(())
    }

    fn notify(&self, event: &Event) {
        if let Event::ClientGone(client) = *event
            && self.is_on()
        {
            self.owners.everywhere(move |home, _| home.watchers.borrow_mut().drop_client(client));
        }
    }

    fn statedump(&self) -> Json {
        let watchers = self.owners.mine().watchers.borrow();
        if watchers.is_empty() { Json::Null } else { json!({ "watched": watchers.len() }) }
    }
}

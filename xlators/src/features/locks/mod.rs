//! `features/locks`: POSIX and flock locks, and the locks that GlusterFS's clients take for themselves (inodelk, entrylk).
//!
//! Locks live in memory, by gfid, on the object's [owner core](crate::owner); with one core, or on the owner itself, taking
//! one is a plain call. All locks of a client go when it is gone ([`Event::ClientGone`]), those of a process when it
//! closes the file (flush), those of a descriptor when that is released.
//!
//! | module | subject |
//! | --- | --- |
//! | [`state`] | the locks as plain data |
//! | [`home`] | one core's locks, and those who wait there |
//! | [`ask`] | requests from any core, and how a wait that is dropped leaves no trace |
//! | [`presence`] | which objects may have locks at all, so that nobody asks in vain |
//! | [`requests`] | the lock fops |
//! | [`guards`] | fops that locks can hold up: mandatory locking, removals |
//! | [`counts`] | counts asked for in xdata |
//! | [`clear`] | locks cleared by an administrator |
//! | [`moving`] | locks that move to another descriptor or brick |
//! | [`dump`] | the statedump |
//! | [`fops`] | which fop does what |

mod ask;
mod clear;
mod counts;
mod dump;
mod fops;
mod guards;
pub mod home;
mod moving;
mod options;
pub mod presence;
mod requests;
pub mod state;

#[cfg(test)]
mod tests;

use std::any::Any;
use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use crate::call::Call;
use crate::fd::FdRef;
use crate::graph::{LayerId, Next};
use crate::options::Options;
use crate::owner::{OwnerKey, Owners};
use crate::translator::{
    Children, Event, InstanceContext, PrepareContext, Shared, Translator, TranslatorType,
};

use home::{Figures, Home};
use options::Config;
use presence::Presence;
use state::Holder;
use state::table::Table;

/// `features/locks`.
pub static TYPE: TranslatorType = TranslatorType {
    name: "features/locks",
    about: "POSIX and flock locks, and the locks of GlusterFS's own clients",
    children: Children::One,
    options: options::OPTIONS,
    prepare,
    instance,
    renew: TranslatorType::nothing_to_renew,
    merge_stats,
};

/// What one core hands in.
struct Snapshot(usize, Figures);

/// See [`TranslatorType::merge_stats`]: by core, because each has the locks of its own objects.
fn merge_stats(parts: Vec<Box<dyn Any + Send>>) -> Json {
    let parts = parts.into_iter().filter_map(|part| part.downcast::<Snapshot>().ok());
    let cores: Map<String, Json> = parts
        .map(|part| {
            let Snapshot(core, figures) = *part;
            let [posix, inodelk, entrylk] = figures.locks;
            let told = json!({
                "locks": { "posix": posix, "inodelk": inodelk, "entrylk": entrylk },
                "waiting": figures.waiting,
                "granted": figures.granted,
                "contended": figures.contended,
            });
            (core.to_string(), told)
        })
        .collect();
    if cores.is_empty() { Json::Null } else { json!({ "cores": cores }) }
}

/// What all cores share.
#[derive(Debug)]
struct Common {
    key: OwnerKey,
    presence: Arc<Presence>,
}

fn prepare(context: &PrepareContext<'_>) -> Result<Shared, String> {
    Ok(Arc::new(Common { key: OwnerKey::new(context.cores), presence: Arc::default() }))
}

fn instance(mut context: InstanceContext<'_>) -> Result<Rc<dyn Translator>, String> {
    let common = context.shared::<Common>()?;
    let config = Config::new(context.options);
    let table = Table::new(Arc::clone(&common.presence), config.settings);
    let home = Home::new(table, context.upcalls.clone());
    Ok(Rc::new(Locks {
        next: context.below(),
        layer: context.layer,
        owners: Owners::new(&common.key, context.core, home),
        common,
        config: Cell::new(config),
        tickets: Cell::new(0),
    }))
}

/// The layer on one core.
#[derive(Debug)]
pub struct Locks {
    next: Next,
    layer: LayerId,
    owners: Owners<Home>,
    common: Arc<Common>,
    config: Cell<Config>,
    tickets: Cell<u64>,
}

impl Locks {
    const fn owners(&self) -> &Owners<Home> {
        &self.owners
    }

    fn presence(&self) -> &Presence {
        &self.common.presence
    }

    const fn config(&self) -> Config {
        self.config.get()
    }
}

fn holder(call: &Call) -> Holder {
    Holder { client: call.caller().client, owner: call.caller().lock_owner.clone() }
}

impl Translator for Locks {
    fn reconfigure(&self, options: &Options) -> Result<(), String> {
        let config = Config::new(options);
        self.config.set(config);
        self.owners.mine().table().borrow_mut().set_settings(config.settings);
        Ok(())
    }

    fn notify(&self, event: &Event) {
        if let Event::ClientGone(client) = *event {
            self.owners.everywhere(move |home, core| home.drop_client(core, client));
        }
    }

    fn release(&self, fd: &FdRef) {
        self.release_locks(fd);
    }

    fn fini(&self) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        let (objects, waiters) = {
            let home = self.owners.mine();
            (home.table().borrow().len(), home.waiters())
        };
        if objects > 0 {
            tracing::info!(objects, waiters, "the brick stops with locks that clients hold; they are gone");
        }
        Box::pin(std::future::ready(()))
    }

    fn stats(&self) -> Option<Box<dyn Any + Send>> {
        Some(Box::new(Snapshot(self.owners.core().id(), self.owners.mine().figures())))
    }

    fn statedump(&self) -> Json {
        self.dump()
    }
}

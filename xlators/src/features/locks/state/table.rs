//! The locks of all objects that one core owns.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kiln_uring::Instant;

use super::object::{Kind, Object};
use super::{Effects, Scene, Settings};
use crate::features::locks::presence::Presence;
use crate::types::Gfid;

/// Most locks and waits of all objects, and most objects that one client has locks on: more are refused, so that memory
/// stays bounded whatever clients do.
const MOST: usize = 1 << 20;
const MOST_OF_CLIENT: usize = 1 << 16;

const KINDS: [Kind; 3] = [Kind::Posix, Kind::Inode, Kind::Entry];

#[derive(Debug, Default)]
struct Known {
    object: Object,
    /// Clients in whose set it is.
    clients: Vec<u64>,
    /// Locks of each kind, as the presence has them.
    published: [usize; 3],
}

/// See the [module](self).
#[derive(Debug)]
pub struct Table {
    objects: HashMap<Gfid, Known>,
    /// Where each client has, or had, something.
    clients: HashMap<u64, HashSet<Gfid>>,
    /// What clients call themselves, for dumps and migration.
    names: HashMap<u64, Box<str>>,
    presence: Arc<Presence>,
    settings: Settings,
    /// Locks and waits of all objects.
    total: usize,
    /// The same by kind.
    counts: [usize; 3],
}

impl Table {
    /// Without locks.
    #[must_use]
    pub fn new(presence: Arc<Presence>, settings: Settings) -> Self {
        let (objects, clients, names, counts) = Default::default();
        Self { objects, clients, names, presence, settings, total: 0, counts }
    }

    /// Takes new options over.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Does something with an object's locks. `client` is who may hold something there afterwards.
    pub fn with<R>(
        &mut self,
        gfid: Gfid,
        client: Option<u64>,
        now: Instant,
        effects: &mut Effects,
        work: impl FnOnce(&mut Object, &mut Scene<'_>) -> R,
    ) -> R {
        let known = self.objects.entry(gfid).or_default();
        if let Some(client) = client.filter(|client| !known.clients.contains(client)) {
            known.clients.push(client);
            self.clients.entry(client).or_default().insert(gfid);
        }
        let mut scene = Scene { gfid, now, settings: self.settings, effects };
        let result = work(&mut known.object, &mut scene);
        for ((kind, published), all) in KINDS.into_iter().zip(&mut known.published).zip(&mut self.counts) {
            let count = known.object.count(kind);
            self.presence.publish(gfid, kind, *published, count);
            self.total = (self.total + count).saturating_sub(*published);
            *all = (*all + count).saturating_sub(*published);
            *published = count;
        }
        if known.object.is_empty() {
            self.drop_object(gfid);
        }
        result
    }

    /// Whether the client may not have a lock on one more object, or nobody any more lock at all.
    #[must_use]
    pub fn is_full(&self, client: u64, gfid: Gfid) -> bool {
        self.total >= MOST
            || self
                .clients
                .get(&client)
                .is_some_and(|objects| objects.len() >= MOST_OF_CLIENT && !objects.contains(&gfid))
    }

    fn drop_object(&mut self, gfid: Gfid) {
        let Some(known) = self.objects.remove(&gfid) else { return };
        for client in known.clients {
            if let Some(objects) = self.clients.get_mut(&client) {
                objects.remove(&gfid);
                if objects.is_empty() {
                    self.clients.remove(&client);
                }
            }
        }
    }

    /// Locks and waits of all objects, by kind: POSIX, inodelk, entrylk.
    #[must_use]
    pub const fn counts(&self) -> [usize; 3] {
        self.counts
    }

    /// An object that has locks.
    #[must_use]
    pub fn get(&self, gfid: Gfid) -> Option<&Object> {
        self.objects.get(&gfid).map(|known| &known.object)
    }

    /// All objects that have locks.
    pub fn iter(&self) -> impl Iterator<Item = (Gfid, &Object)> {
        self.objects.iter().map(|(gfid, known)| (*gfid, &known.object))
    }

    /// How many objects have locks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether no object has locks.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// A client is gone with all its locks and waits.
    pub fn drop_client(&mut self, client: u64, now: Instant, effects: &mut Effects) {
        self.names.remove(&client);
        let objects = self.clients.remove(&client).unwrap_or_default();
        for gfid in objects {
            if let Some(known) = self.objects.get_mut(&gfid) {
                known.clients.retain(|known| *known != client);
            }
            self.with(gfid, None, now, effects, |object, scene| object.drop_client(client, scene));
        }
    }

    /// Remembers what a client calls itself.
    pub fn name_client(&mut self, client: u64, name: &str) {
        if self.names.get(&client).is_none_or(|known| **known != *name) {
            self.names.insert(client, name.into());
        }
    }

    /// What a client calls itself; empty when it has not said so.
    #[must_use]
    pub fn client_name(&self, client: u64) -> &str {
        self.names.get(&client).map_or("", |name| name)
    }
}

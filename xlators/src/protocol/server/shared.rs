//! What the cores share of one server.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use kiln_uring::net::Address;

use super::ServeConfig;
use super::names::NameService;
use super::options::Settings;
use super::strangers::Strangers;

/// The file whose presence encrypts GlusterFS's management connections.
const SECURE_ACCESS: &str = "/var/lib/glusterd/secure-access";
/// Bits of a client's number that tell its core.
const CORE_BITS: u32 = 10;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Shared {
    settings: RwLock<Arc<Settings>>,
    /// Memory for requests and replies on each core.
    pub(super) memory_per_core: usize,
    /// Names this process to its clients.
    pub(super) uuid: String,
    /// Whether the management port is encrypted where the bricks' is, as every daemon of GlusterFS decides it at its start.
    pub(super) secure_management: bool,
    /// Asks for groups and hosts.
    pub(super) names: Arc<NameService>,
    serving: OnceLock<Serving>,
    next_client: AtomicU64,
    /// Connections of each core.
    loads: Vec<AtomicUsize>,
    /// Those of them that will keep it busy: a client's connection for volfiles does not.
    weights: Vec<AtomicUsize>,
    /// Connections that have not shaken hands.
    strangers: Mutex<Strangers>,
    /// When a connection was last turned away with a line in the log.
    pub(super) last_refusal: Mutex<Option<kiln_uring::Instant>>,
}

/// What is known once it listens.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) config: ServeConfig,
    /// With the ports that the kernel chose.
    pub(super) addresses: Vec<Address>,
}

impl Shared {
    pub(super) fn new(settings: Settings, memory_per_core: usize, uuid: String, cores: usize) -> Self {
        Self {
            settings: RwLock::new(Arc::new(settings)),
            memory_per_core,
            uuid,
            secure_management: Path::new(SECURE_ACCESS).exists(),
            names: Arc::default(),
            serving: OnceLock::new(),
            next_client: AtomicU64::new(1),
            loads: (0..cores.max(1)).map(|_| AtomicUsize::new(0)).collect(),
            weights: (0..cores.max(1)).map(|_| AtomicUsize::new(0)).collect(),
            strangers: Mutex::default(),
            last_refusal: Mutex::new(None),
        }
    }

    pub(super) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_settings(&self, settings: Settings) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    /// It listens now. Once per process life.
    pub(super) fn serve(&self, serving: Serving) {
        let _ = self.serving.set(serving);
    }

    pub(super) fn serving(&self) -> Option<&Serving> {
        self.serving.get()
    }

    /// Connections that there may be.
    pub(super) fn most_connections(&self) -> usize {
        let descriptors = self.serving().and_then(|serving| serving.config.descriptors);
        let most = descriptors.map_or(usize::MAX, |all| all - all / 4);
        self.settings().connections.min(most)
    }

    /// A number for a client of `core`, never given before.
    fn client_number(&self, core: usize) -> u64 {
        let number = self.next_client.fetch_add(1, Ordering::Relaxed);
        number << CORE_BITS | (core as u64 & ((1 << CORE_BITS) - 1))
    }

    /// The core that serves a client.
    pub(super) const fn core_of(client: u64) -> usize {
        (client & ((1 << CORE_BITS) - 1)) as usize
    }

    /// Connections in all.
    pub(super) fn connections(&self) -> usize {
        self.loads.iter().map(|load| load.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn strangers(&self) -> MutexGuard<'_, Strangers> {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more on `core`, a stranger yet; taken back when the result is dropped.
    pub(super) fn enter(self: &Arc<Self>, core: usize) -> Seat {
        let core = core.min(self.loads.len() - 1);
        self.loads[core].fetch_add(1, Ordering::Relaxed);
        self.weights[core].fetch_add(1, Ordering::Relaxed);
        let client = self.client_number(core);
        self.strangers().came(client);
        Seat { shared: Arc::clone(self), core, client, light: AtomicBool::new(false) }
    }

    /// The core with the fewest connections that matter; of several, the one with the fewest at all, then with the least to do.
    pub(super) fn idlest(&self, busy: impl Fn(usize) -> usize) -> usize {
        let load = |core: usize| {
            let [weight, load] =
                [&self.weights, &self.loads].map(|counts| counts[core].load(Ordering::Relaxed));
            (weight, load, busy(core))
        };
        (0..self.loads.len()).min_by_key(|core| load(*core)).unwrap_or(0)
    }
}

/// A place of a connection on a core.
#[derive(Debug)]
pub(super) struct Seat {
    shared: Arc<Shared>,
    core: usize,
    /// The number of its client, never given before.
    pub(super) client: u64,
    light: AtomicBool,
}

impl Seat {
    /// A first call was understood.
    pub(super) fn heard(&self) {
        self.shared.strangers().spoke(self.client);
    }

    /// The client has shaken hands, and keeps its place from now on.
    pub(super) fn settle(&self) {
        self.set_light(false);
        self.shared.strangers().left(self.client);
    }

    /// Says whether the connection is one that its core hardly notices.
    pub(super) fn set_light(&self, light: bool) {
        let weight = &self.shared.weights[self.core];
        match (self.light.swap(light, Ordering::Relaxed), light) {
            (false, true) => _ = weight.fetch_sub(1, Ordering::Relaxed),
            (true, false) => _ = weight.fetch_add(1, Ordering::Relaxed),
            _ => {}
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.set_light(true);
        self.shared.strangers().left(self.client);
        self.shared.loads[self.core].fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::OPTIONS;
    use super::*;
    use crate::options::Options;

    #[test]
    fn connections_for_volfiles_do_not_push_others_together() {
        let settings = Settings::load(&Options::new(OPTIONS, []).unwrap()).unwrap();
        let shared = Arc::new(Shared::new(settings, 1, String::new(), 2));
        let enter = || shared.enter(shared.idlest(|_| 0));
        // A mount makes one connection for its volfile and then one for its data.
        let mount = || {
            let volfiles = enter();
            volfiles.set_light(true);
            (volfiles, enter())
        };
        let mounts = [mount(), mount(), mount(), mount()];
        let data = |core| mounts.iter().filter(|(_, data)| data.core == core).count();
        assert_eq!((data(0), data(1)), (2, 2));
        assert_eq!(shared.connections(), 8);
        mounts[0].0.settle();
        drop(mounts);
        assert_eq!(shared.connections(), 0);
        assert!(shared.strangers().is_empty());
        assert!(shared.weights.iter().all(|weight| weight.load(Ordering::Relaxed) == 0));
    }
}

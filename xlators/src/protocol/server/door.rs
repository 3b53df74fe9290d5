//! One core's side of the server: its graph, its bricks, its connections.

use std::cell::{Ref, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use kiln_uring::net::Address;
use kiln_uring::{Core, File};
use serde_json::{Value as Json, json};

use super::TYPE;
use super::connection::Connection;
use super::gate::Gate;
use super::intake::Intake;
use super::link::{Inlet, Outlet};
use super::names::Names;
use super::options::Settings;
use super::presence::farewell;
use super::report::Tally;
use super::shared::{Seat, Shared};
use super::signal::{Signal, race};
use super::tls::{self, Identity};
use super::volfile;
use crate::graph::{Graph, LayerId, Next};

thread_local! {
    static DOOR: RefCell<Option<Rc<Door>>> = const { RefCell::new(None) };
}

/// How often connections are looked after.
const ROUND: Duration = Duration::from_secs(1);
/// How long a connection may be silent before its first call, and take to agree on TLS.
const GREETING: Duration = Duration::from_secs(30);
/// How long a client may leave its replies untaken while others wait for the memory.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// Why strangers are closed while places are short.
const CROWDED: &str = "it has not shaken hands, and others need its place";
/// At most so often a refused connection is worth a line in the log.
const REFUSALS: Duration = Duration::from_secs(5);

/// A layer that clients can be bound to.
#[derive(Debug)]
pub(super) struct Brick {
    pub(super) name: String,
    pub(super) next: Next,
    /// The volume that it belongs to, where storage/posix is told.
    pub(super) volume_id: Option<String>,
}

/// See the [module](self).
pub(super) struct Door {
    pub(super) core: Core,
    pub(super) graph: Rc<Graph>,
    pub(super) shared: Arc<Shared>,
    /// Those of `shared`, at hand for every request without its lock.
    settings: RefCell<Arc<Settings>>,
    pub(super) bricks: Vec<Rc<Brick>>,
    /// Memory of all connections of this core.
    pub(super) gate: Gate,
    pub(super) tally: Tally,
    pub(super) names: Names,
    connections: RefCell<BTreeMap<u64, Rc<Connection>>>,
    /// What ends those that do not agree on TLS yet.
    agreeing: RefCell<BTreeMap<u64, Rc<Signal>>>,
    stopping: Signal,
}

/// Makes `graph` the one that clients reach on this core, if there is a `protocol/server` in it. Call it on the core's own
/// thread, before the server starts.
pub fn install(graph: &Rc<Graph>) {
    DOOR.set(Door::new(graph).map(Rc::new));
    if let Some(door) = installed() {
        door.carry_upcalls();
        let core = door.core.clone();
        core.spawn(door.look_after());
    }
}

/// Takes the graph of this core away, before the core stops.
pub fn uninstall() {
    if let Some(door) = DOOR.take() {
        door.stop(Duration::ZERO);
    }
}

pub(super) fn installed() -> Option<Rc<Door>> {
    DOOR.with_borrow(Clone::clone)
}

impl Door {
    fn new(graph: &Rc<Graph>) -> Option<Self> {
        let blueprint = graph.blueprint();
        let (_, server) =
            blueprint.layers().iter().enumerate().rev().find(|(_, layer)| layer.kind.name == TYPE.name)?;
        let shared: Arc<Shared> = Arc::clone(&server.shared).downcast().ok()?;
        let bricks = server.children.iter().map(|child| {
            Rc::new(Brick {
                name: blueprint.name_of(*child).to_owned(),
                next: graph.entry(*child),
                volume_id: volume_of(graph, *child),
            })
        });
        Some(Self {
            core: graph.core().clone(),
            bricks: bricks.collect(),
            gate: Gate::new(usize::MAX, shared.memory_per_core),
            settings: RefCell::new(shared.settings()),
            names: Names::new(Arc::clone(&shared.names)),
            shared,
            graph: Rc::clone(graph),
            tally: Tally::default(),
            connections: RefCell::default(),
            agreeing: RefCell::default(),
            stopping: Signal::default(),
        })
    }

    /// The brick of that name.
    pub(super) async fn stop_asked(&self) {
        self.stopping.wait().await;
    }

    pub(super) fn brick(&self, name: &str) -> Option<&Rc<Brick>> {
        self.bricks.iter().find(|brick| brick.name == name)
    }

    /// Serves an accepted connection.
    pub(super) fn welcome(self: &Rc<Self>, socket: File, local: Address, seat: Seat) {
        if self.stopping.is_set() {
            return;
        }
        let stream = self.core.stream(socket);
        // A peer that is gone already has no address.
        let Ok(peer) = stream.peer_address() else { return };
        let local = stream.local_address().unwrap_or(local);
        let (receiver, sender) = stream.split();
        let Some(config) = self.encryption(&local) else {
            self.serve(peer, local, Inlet::Plain(receiver), Outlet::Plain(sender), None, seat);
            return;
        };
        let door = Rc::clone(self);
        self.core.spawn(async move {
            let end = Rc::new(Signal::default());
            door.agreeing.borrow_mut().insert(seat.client, Rc::clone(&end));
            let accepting = Box::pin(door.core.timeout(GREETING, tls::accept(&config, receiver, sender)));
            let agreed = race(end.wait(), accepting).await;
            door.agreeing.borrow_mut().remove(&seat.client);
            match agreed {
                Ok(()) if door.stopping.is_set() => {}
                Ok(()) => door.turn_away(&peer, CROWDED),
                Err(Err(_)) => door.turn_away(&peer, "it took too long to agree on TLS"),
                Err(Ok(Err(why))) => door.turn_away(&peer, &why),
                Err(Ok(Ok((receiver, sender, identity)))) => {
                    let (receiver, sender) = (Box::new(receiver), Box::new(sender));
                    door.serve(peer, local, Inlet::Tls(receiver), Outlet::Tls(sender), Some(identity), seat);
                }
            }
        });
    }

    /// How connections to `local` are encrypted, if they are. Unix sockets never are. The management port follows a switch
    /// of its own where there is another port for the bricks.
    pub(super) fn encryption(&self, local: &Address) -> Option<tls::Config> {
        let config = self.shared.settings().tls.clone()?;
        let Address::Ip(_) = local else { return None };
        let is_open = !self.shared.secure_management
            && self.shared.serving().is_some_and(|serving| volfile::is_management(serving, local));
        (!is_open).then_some(config)
    }

    fn serve(
        self: &Rc<Self>,
        peer: Address,
        local: Address,
        receiver: Inlet,
        sender: Outlet,
        identity: Option<Identity>,
        seat: Seat,
    ) {
        if self.stopping.is_set() {
            return;
        }
        let connection = Connection::new(self, peer, local, sender, identity, seat);
        self.tally.accepted();
        let door = Rc::clone(self);
        self.connections.borrow_mut().insert(connection.client, Rc::clone(&connection));
        self.core.spawn(async move {
            let end = Rc::clone(&connection);
            let intake = Intake::new(Rc::clone(&connection), receiver);
            if let Ok(why) = race(Box::pin(intake.run()), end.end.wait()).await {
                connection.finish(why);
            }
            Rc::clone(&connection).wind_up().await;
            door.tally.gone(&connection);
            door.connections.borrow_mut().remove(&connection.client);
        });
    }

    /// Tells, now and then, that connections are turned away.
    pub(super) fn turn_away(&self, peer: &dyn std::fmt::Display, why: &str) {
        self.tally.turned_away();
        let now = self.core.now();
        let mut last = self.shared.last_refusal.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| now - last >= REFUSALS) {
            *last = Some(now);
            tracing::warn!("a connection from {peer} is closed: {why}");
        }
    }

    /// The connection of a client.
    pub(super) fn connection(&self, client: u64) -> Option<Rc<Connection>> {
        self.connections.borrow().get(&client).cloned()
    }

    /// All of them. In a list of its own, as whatever is done with them may end some.
    fn all(&self) -> Vec<Rc<Connection>> {
        self.connections.borrow().values().cloned().collect()
    }

    /// Closes the connection of a stranger, whose place somebody else gets. Whoever has shaken hands meanwhile stays.
    pub(super) fn evict(&self, client: u64) {
        if let Some(agreeing) = self.agreeing.borrow().get(&client) {
            agreeing.set();
        } else if let Some(connection) = self.connection(client)
            && connection.bound.get().is_none()
        {
            self.turn_away(&connection.peer, CROWDED);
            connection.evict();
        }
    }

    /// What `f` says of each connection.
    pub(super) fn each_connection<T>(&self, mut f: impl FnMut(&Connection) -> T) -> Vec<T> {
        self.connections.borrow().values().map(|connection| f(connection)).collect()
    }

    /// Takes no connections any more and closes those that there are: requests under way are answered, and clients have
    /// about `patience` to become silent.
    pub(super) fn stop(&self, patience: Duration) {
        self.stopping.set();
        self.agreeing.borrow().values().for_each(|end| end.set());
        for connection in self.all() {
            if patience.is_zero() {
                connection.finish("the server stops");
            } else {
                self.core.spawn(farewell(connection, patience));
            }
        }
    }

    /// What the options say now.
    pub(super) fn settings(&self) -> Ref<'_, Settings> {
        Ref::map(self.settings.borrow(), |settings| &**settings)
    }

    /// Takes new settings over, and gives every connection the limits that are in force now.
    pub(super) fn apply_settings(&self) {
        let settings = self.shared.settings();
        self.settings.replace(Arc::clone(&settings));
        self.names.clear();
        self.all()
            .iter()
            .for_each(|connection| connection.gate.set_limits(settings.requests, settings.client_memory));
    }

    async fn look_after(self: Rc<Self>) {
        while race(self.stopping.wait(), self.core.sleep(ROUND)).await.is_err() {
            let now = self.core.now();
            let wanted = self.gate.is_wanted();
            for connection in self.all() {
                if !connection.greeted.get() && now - connection.since > GREETING {
                    connection.finish("it said nothing");
                } else if wanted && connection.sending_for().is_some_and(|time| time > PATIENCE) {
                    tracing::warn!(client = %connection.name(), "others wait for the memory of replies that it does not take: closing");
                    connection.finish("it does not take its replies");
                } else if wanted && connection.expected.get().is_some_and(|time| now > time) {
                    tracing::warn!(client = %connection.name(), "others wait for the memory of a request that does not come: closing");
                    connection.finish("its request does not come");
                }
            }
        }
    }

    pub(super) fn to_json(&self) -> Json {
        let in_use = self.gate.in_use();
        let connections = self.connections.borrow();
        let shown: Vec<Json> = connections.values().map(|connection| connection.to_json()).collect();
        json!({ "requests": in_use.requests, "bytes": in_use.bytes, "clients": shown })
    }
}

/// The volume id that a storage/posix below `layer` was given.
fn volume_of(graph: &Graph, layer: LayerId) -> Option<String> {
    let layer = graph.blueprint().layers().get(usize::from(layer.0))?;
    let options = layer.options();
    if let Some((_, id)) = options.explicit().find(|(key, _)| *key == "volume-id") {
        return Some(id.to_owned());
    }
    layer.children.iter().find_map(|child| volume_of(graph, *child))
}

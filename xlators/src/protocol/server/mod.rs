//! `protocol/server`: clients' connections in front of a graph.
//!
//! ```text
//!  client ── TCP ──▶ intake ── record ──▶ dispatch ── a task per request ──▶ graph
//!    ▲              (decodes)                                                  │
//!    └───────────── outbox ◀── reply, gathered with others, sent in one go ◀───┘
//! ```
//!
//! The node stands at the top of a volfile, on one or more bricks. [`Server::start`] listens; the first core accepts and gives
//! each connection to the core with the fewest, which serves it to its end: no request changes the core. Everything about a
//! client (its descriptors, its requests, its room in memory) belongs to that core and needs no lock.
//!
//! **Push-back.** A request takes room (a place, and the bytes of its payload and of its reply) from its connection and from
//! its core before it is served, and gives it back when its reply has been handed to the kernel. While there is no room the
//! connection is not read, so a client that sends without reading stops itself. Locks that wait for other clients take no room,
//! or they could keep out the very request that they wait for; there is a limit to their number. Clients that keep room which
//! others wait for are closed after some seconds; and a quarter of the memory is for those who hold little, who do not even wait
//! that long.
//!
//! **Places.** There are so many connections at most. When all places are taken, newcomers get those of connections that have
//! not shaken hands; clients that are bound to a brick keep theirs.
//!
//! | module | subject |
//! | --- | --- |
//! | [`options`] | options |
//! | [`shared`] | what the cores share |
//! | [`door`] | one core's side |
//! | [`listen`], [`strangers`] | accepting and spreading; whose place is given away when there are no more |
//! | [`connection`] | one client, and its end |
//! | [`presence`] | what clients hear of its coming and going |
//! | [`intake`], [`outbox`] | receiving and sending |
//! | [`link`], [`tls`] | plain and encrypted connections |
//! | [`gate`] | room |
//! | [`handshake`], [`auth`], [`volfile`] | who may, and what clients are told |
//! | [`names`] | hosts and groups, from the system's name services |
//! | [`dispatch`] | from calls to fops and back |
//! | [`upcalls`] | what layers tell clients |
//! | [`stats`], [`report`] | counters of a client, and what operators are told |

mod auth;
mod connection;
mod dispatch;
mod door;
mod gate;
mod handshake;
mod intake;
mod link;
mod listen;
mod names;
mod options;
mod outbox;
mod presence;
mod report;
mod shared;
mod signal;
mod stats;
mod strangers;
mod tls;
mod upcalls;
mod volfile;

#[cfg(test)]
mod tests;

use std::any::Any;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use kiln_uring::net::{Address, Listener};
use kiln_uring::{Errno, Remote};
use serde_json::Value as Json;

pub use door::{install, uninstall};
pub use report::{ClientReport, clients};

use crate::graph::{Blueprint, Layer, Next};
use crate::intercept;
use crate::options::Options;
use crate::translator::{
    Children, InstanceContext, PrepareContext, Shared as AnyShared, Translator, TranslatorType,
};
use crate::types::Gfid;
use door::installed;
use options::Settings;
use shared::{Serving, Shared};

/// `protocol/server`.
pub static TYPE: TranslatorType = TranslatorType {
    name: "protocol/server",
    about: "Serves clients over the network",
    children: Children::Many,
    options: options::OPTIONS,
    prepare,
    instance,
    renew: TranslatorType::nothing_to_renew,
    merge_stats: report::merge,
};

fn prepare(context: &PrepareContext<'_>) -> Result<AnyShared, String> {
    let mut random = [0; 16];
    context.sys.random(&mut random);
    let uuid = Gfid::from_random(random).to_string();
    let memory = Settings::memory_per_core(context.options, context.cores);
    let settings = Settings::load(context.options)?;
    Ok(Arc::new(Shared::new(settings, memory, uuid, context.cores)))
}

fn instance(mut context: InstanceContext<'_>) -> Result<Rc<dyn Translator>, String> {
    let shared = context.shared::<Shared>()?;
    // What enters here and not through a connection belongs to the first brick.
    let next = if context.links.is_empty() { Next::default() } else { context.links.swap_remove(0) };
    Ok(Rc::new(Top { next, shared }))
}

/// The node itself, which no fop of a client passes: they enter below it.
struct Top {
    next: Next,
    shared: Arc<Shared>,
}

intercept! {
    impl Fops for Top {}
}

impl Translator for Top {
    fn reconfigure(&self, options: &Options) -> Result<(), String> {
        self.shared.set_settings(Settings::load(options)?);
        if let Some(door) = installed() {
            door.apply_settings();
        }
        Ok(())
    }

    fn statedump(&self) -> Json {
        installed().map_or(Json::Null, |door| door.to_json())
    }

    fn stats(&self) -> Option<Box<dyn Any + Send>> {
        Some(Box::new(report::Totals::of(&*installed()?)))
    }
}

/// What a server is to do besides what its volfile says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServeConfig {
    /// Where it listens; what the volfile says when empty.
    pub listen: Vec<Address>,
    /// Volumes whose volfile it hands out to clients: their name, and the brick that they consist of.
    pub volumes: Vec<(String, String)>,
    /// Descriptors that the process may have: connections take at most three quarters of them, so that bricks can open
    /// files. `None` is no limit.
    pub descriptors: Option<usize>,
    /// Whether clients with a volfile from here let applications wait while the brick is away.
    pub client_pause: bool,
}

/// Why a server does not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The graph has no such node.
    #[error("the volfile has no protocol/server")]
    NoServer,
    /// The volfile names an address that is none.
    #[error("{text} is no address to listen at")]
    BadAddress {
        /// As it stands there.
        text: String,
    },
    /// It cannot listen there.
    #[error("cannot listen at {address}: {errno}")]
    Listen {
        /// The address.
        address: Address,
        /// Why.
        errno: Errno,
    },
    /// A core has stopped.
    #[error("a core does not answer")]
    CoreLost,
}

/// A server that listens. It goes on until [`Server::stop`].
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    cores: Vec<Remote>,
    addresses: Vec<Address>,
}

/// How long a core may take to say that it listens.
const CORE_ANSWER: Duration = Duration::from_secs(10);

/// The `protocol/server` node of a graph.
fn layer_of(blueprint: &Blueprint) -> Option<&Layer> {
    blueprint.layers().iter().rev().find(|layer| layer.kind.name == TYPE.name)
}

impl Server {
    /// Listens, and serves from `cores`, on each of which the graph has been [installed](install).
    ///
    /// # Errors
    /// See [`ServeError`]; nothing listens then.
    pub fn start(blueprint: &Blueprint, config: ServeConfig, cores: &[Remote]) -> Result<Self, ServeError> {
        let layer = layer_of(blueprint).ok_or(ServeError::NoServer)?;
        let shared: Arc<Shared> = Arc::clone(&layer.shared).downcast().map_err(|_| ServeError::NoServer)?;
        let wanted = if config.listen.is_empty() {
            vec![address_of(&layer.options())?]
        } else {
            config.listen.clone()
        };
        let first = cores.first().ok_or(ServeError::CoreLost)?;
        let (sender, receiver) = mpsc::channel();
        let posted = first.post(move |core| {
            let Some(door) = installed() else { return };
            core.spawn(async move {
                let result = open_all(&door, wanted).await;
                let told = result.as_ref().map_or_else(
                    |error| Err(error.clone()),
                    |open| Ok(open.iter().map(|(_, address)| address.clone()).collect::<Vec<_>>()),
                );
                // Nobody waits any more: then nobody listens.
                if sender.send(told).is_err() {
                    return;
                }
                let core = door.core.clone();
                for (listener, address) in result.into_iter().flatten() {
                    core.spawn(listen::accept(Rc::clone(&door), listener, address));
                }
            });
        });
        posted.map_err(|_| ServeError::CoreLost)?;
        let addresses = receiver.recv_timeout(CORE_ANSWER).map_err(|_| ServeError::CoreLost)??;
        for address in &addresses {
            tracing::info!("listening at {address}");
        }
        shared.serve(Serving { config, addresses: addresses.clone() });
        Ok(Self { shared, cores: cores.to_vec(), addresses })
    }

    /// Where it listens, with the ports that the kernel chose.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Connections at present.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections()
    }

    /// Listens no more, lets requests under way end, and closes the connections; waits for that for at most `patience`. False
    /// when some were left.
    #[must_use]
    pub fn stop(&self, patience: Duration) -> bool {
        // What is left of it is for requests that take their time.
        let grace = patience / 2;
        for core in &self.cores {
            // A core that has stopped has no connections.
            let _ = core.post(move |_| {
                if let Some(door) = installed() {
                    door.stop(grace);
                }
            });
        }
        let deadline = Instant::now() + patience;
        while self.connections() > 0 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
        self.connections() == 0
    }
}

/// Listens at all addresses or at none.
async fn open_all(
    door: &door::Door,
    addresses: Vec<Address>,
) -> Result<Vec<(Listener, Address)>, ServeError> {
    let options = door.shared.settings().listening();
    let mut open = Vec::with_capacity(addresses.len());
    for address in addresses {
        let failed = |errno| ServeError::Listen { address: address.clone(), errno };
        let listener = listen::listen(door, &address, &options).await.map_err(failed)?;
        let bound = listener.local_address().map_err(failed)?;
        open.push((listener, bound));
    }
    Ok(open)
}

/// The address that the options of the node name.
fn address_of(options: &Options) -> Result<Address, ServeError> {
    let text = |key: &str| options.text(key).filter(|text| !text.is_empty());
    if let Some(path) = text("transport.socket.listen-path") {
        return Ok(Address::Unix(PathBuf::from(path)));
    }
    let family = options.text("transport.address-family").unwrap_or("inet");
    let port = text("transport.socket.listen-port").or_else(|| text("listen-port")).unwrap_or("24007");
    let ip = match text("transport.socket.bind-address") {
        Some("localhost") if family.starts_with("inet6") => IpAddr::V6(Ipv6Addr::LOCALHOST),
        Some("localhost") => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Some(text) => text.parse().map_err(|_| ServeError::BadAddress { text: text.into() })?,
        None if family.starts_with("inet6") => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    let port = port.parse().map_err(|_| ServeError::BadAddress { text: port.into() })?;
    Ok(Address::Ip(SocketAddr::new(ip, port)))
}

//! Many clients on several cores, in an order that a seed decides.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kiln_uring::sim::Sim;
use kiln_uring::{Core, Errno};

use crate::call::{CallSpec, CallTimes, Caller};
use crate::fd::Fd;
use crate::fop::{Fop, request};
use crate::graph::{Blueprint, Graph};
use crate::testing::{Brick, gfid};
use crate::translator::Event;
use crate::types::{EntrylkCmd, Flock, Gfid, IaType, LkCmd, Loc, LockOwner, LockType, Xdata};
use crate::volfile::{Node, Volfile};

const CORES: usize = 3;
const OBJECTS: u8 = 4;
const CLIENTS_PER_CORE: u64 = 3;

/// Who is in which critical section, as the clients see it: what the locks must make exclusive.
#[derive(Default)]
struct Referee {
    inside: HashMap<(Gfid, &'static str), Vec<(u64, bool)>>,
    entered: usize,
}

impl Referee {
    fn enter(&mut self, place: (Gfid, &'static str), client: u64, exclusive: bool) {
        let inside = self.inside.entry(place).or_default();
        let alone = inside.is_empty() || (!exclusive && inside.iter().all(|(_, exclusive)| !exclusive));
        assert!(alone, "client {client} enters {place:?} while {inside:?} are inside");
        inside.push((client, exclusive));
        self.entered += 1;
    }

    fn leave(&mut self, place: (Gfid, &'static str), client: u64) {
        let inside = self.inside.get_mut(&place).unwrap();
        let at = inside.iter().position(|(known, _)| *known == client).unwrap();
        inside.remove(at);
    }
}

/// A client that locks, works, and releases, or gives up waiting, many times over.
struct Client {
    id: u64,
    graph: Rc<Graph>,
    core: Core,
    referee: Arc<Mutex<Referee>>,
}

#[derive(Clone, Copy)]
enum Kind {
    Posix,
    Inode,
    Entry,
}

impl Client {
    fn random(&self, below: u64) -> u64 {
        self.core.random_u64() % below
    }

    async fn lock(&self, kind: Kind, object: Gfid, exclusive: bool, unlock: bool) -> Result<(), Errno> {
        let owner = LockOwner::new(&[1; 8]);
        let caller = Caller { client: self.id, pid: 1, lock_owner: owner, ..Caller::default() };
        let spec = CallSpec { fop: Fop::Lk, subject: object, caller, times: CallTimes::default(), unique: 0 };
        let call = self.graph.begin(spec);
        let wait = self.random(3) != 0;
        let kind_of = match (unlock, exclusive) {
            (true, _) => LockType::Unlock,
            (false, true) => LockType::Write,
            (false, false) => LockType::Read,
        };
        let flock = Flock { kind: kind_of, ..Flock::default() };
        let cmd = if wait { LkCmd::SetWait } else { LkCmd::Set };
        let top = self.graph.top();
        let (domain, xdata) = ("d".to_owned(), Xdata::NONE);
        let done = match kind {
            Kind::Posix => {
                let fd = Fd::anonymous(object, 2, 1);
                top.lk(&call, request::Lk { fd, cmd, flock, xdata }).await.map(drop)
            }
            Kind::Inode => {
                let loc = Loc::object(object);
                top.inodelk(&call, request::Inodelk { loc, domain, cmd, flock, xdata }).await.map(drop)
            }
            Kind::Entry => {
                let cmd = match (unlock, wait) {
                    (true, _) => EntrylkCmd::Unlock,
                    (false, true) => EntrylkCmd::Lock,
                    (false, false) => EntrylkCmd::TryLock,
                };
                let (loc, kind) = (Loc::object(object), LockType::Write);
                let req = request::Entrylk { loc, domain, name: None, cmd, kind, xdata };
                top.entrylk(&call, req).await.map(drop)
            }
        };
        done.map_err(|error| error.errno)
    }

    async fn round(&self) {
        let (kind, name) =
            [(Kind::Posix, "posix"), (Kind::Inode, "inode"), (Kind::Entry, "entry")][self.random(3) as usize];
        let object = gfid(1 + self.random(OBJECTS.into()) as u8);
        let exclusive = matches!(kind, Kind::Entry) || self.random(2) == 0;
        let limit = Duration::from_micros(1 + self.random(200));
        match self.core.timeout(limit, self.lock(kind, object, exclusive, false)).await {
            // It gave up, at whatever moment that was.
            Err(_) => return,
            Ok(Err(errno)) => return assert_eq!(errno, Errno::AGAIN),
            Ok(Ok(())) => {}
        }
        let place = (object, name);
        self.referee.lock().unwrap().enter(place, self.id, exclusive);
        self.core.sleep(Duration::from_micros(self.random(30))).await;
        self.referee.lock().unwrap().leave(place, self.id);
        if self.random(10) == 0 {
            // It forgets to release: that is what the end of the client is for.
            self.graph.notify(&Event::ClientGone(self.id));
        } else {
            self.lock(kind, object, exclusive, true).await.unwrap();
        }
    }
}

fn blueprint(sys: &Arc<dyn kiln_uring::Sys>) -> Arc<Blueprint> {
    let nodes = vec![
        Node::new("leaf", "testing/leaf", &[], &[]),
        Node::new("locks", "features/locks", &[], &["leaf"]),
    ];
    let blueprint = Blueprint::new(&Volfile { nodes }, sys, CORES).unwrap();
    let brick: Arc<Brick> = Arc::clone(&blueprint.layers()[0].shared).downcast().unwrap();
    for byte in 1..=OBJECTS {
        brick.put(gfid(byte), IaType::Regular, 0o644, 0, 0);
    }
    blueprint
}

fn play(seed: u64) -> usize {
    let sim = Sim::new(seed);
    let shared: Mutex<Option<Arc<Blueprint>>> = Mutex::new(None);
    let referee = Arc::new(Mutex::new(Referee::default()));
    let dumps = sim.run_cores(CORES, |core| {
        let blueprint = Arc::clone(shared.lock().unwrap().get_or_insert_with(|| blueprint(core.sys())));
        let graph = Graph::new(&blueprint, &core).unwrap();
        let referee = Arc::clone(&referee);
        async move {
            let tasks: Vec<_> = (0..CLIENTS_PER_CORE)
                .map(|index| {
                    let client = Client {
                        id: core.id() as u64 * 100 + index,
                        graph: Rc::clone(&graph),
                        core: core.clone(),
                        referee: Arc::clone(&referee),
                    };
                    core.spawn_join(async move {
                        for _ in 0..25 {
                            client.round().await;
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await;
            }
            // What is on its way to the owners arrives. The clients stay: all that they hold no more must be gone.
            core.sleep(Duration::from_millis(20)).await;
            graph.layers()[1].statedump()
        }
    });
    assert!(dumps.iter().all(serde_json::Value::is_null), "seed {seed}: locks are left: {dumps:?}");
    referee.lock().unwrap().entered
}

#[test]
fn nobody_meets_another_in_an_exclusive_section_and_nothing_is_left() {
    let entered: usize = (0..40).map(play).sum();
    assert!(entered > 2000, "only {entered} sections were entered");
}

/// Everybody wants one lock, on all cores, and waits for as long as it takes: all get it.
#[test]
fn every_waiter_gets_its_turn() {
    for seed in 100..120 {
        let sim = Sim::new(seed);
        let shared: Mutex<Option<Arc<Blueprint>>> = Mutex::new(None);
        let order = Arc::new(Mutex::new(Vec::new()));
        sim.run_cores(CORES, |core| {
            let blueprint = Arc::clone(shared.lock().unwrap().get_or_insert_with(|| blueprint(core.sys())));
            let graph = Graph::new(&blueprint, &core).unwrap();
            let order = Arc::clone(&order);
            async move {
                let done = Rc::new(RefCell::new(0));
                for index in 0..5 {
                    let (graph, order) = (Rc::clone(&graph), Arc::clone(&order));
                    let (core, done, id) = (core.clone(), Rc::clone(&done), core.id() as u64 * 100 + index);
                    core.clone().spawn(async move {
                        let caller = Caller {
                            client: id,
                            pid: 1,
                            lock_owner: LockOwner::new(&[1]),
                            ..Caller::default()
                        };
                        let spec = CallSpec {
                            fop: Fop::Lk,
                            subject: gfid(1),
                            caller,
                            times: CallTimes::default(),
                            unique: 0,
                        };
                        let call = graph.begin(spec);
                        let lk = |kind| request::Lk {
                            fd: Fd::anonymous(gfid(1), 2, 1),
                            cmd: LkCmd::SetWait,
                            flock: Flock { kind, ..Flock::default() },
                            xdata: Xdata::NONE,
                        };
                        graph.top().lk(&call, lk(LockType::Write)).await.unwrap();
                        order.lock().unwrap().push(id);
                        core.sleep(Duration::from_micros(5)).await;
                        graph.top().lk(&call, lk(LockType::Unlock)).await.unwrap();
                        *done.borrow_mut() += 1;
                    });
                }
                while *done.borrow() < 5 {
                    core.sleep(Duration::from_micros(100)).await;
                }
                core.sleep(Duration::from_millis(5)).await;
            }
        });
        assert_eq!(order.lock().unwrap().len(), CORES * 5, "seed {seed}");
    }
}
